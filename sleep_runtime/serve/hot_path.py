"""HotPath: what a request may do. Capture, search, context, notes, runs, health, metrics.

Nothing here learns: the hot path appends to the journal and reads what nights have written. It
runs in Serve replicas; blocking reads go to threads, so that one slow search delays nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.core.access import Rights
from sleep_runtime.core.erasure import Erasure, Target
from sleep_runtime.core.errors import InvalidInput, NotFound
from sleep_runtime.core.event import Trust
from sleep_runtime.core.journal import AppendResult, JournalRow
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.ports import (
    Clock,
    Compiler,
    Embedder,
    JournalViews,
    LedgerViews,
    Nearest,
    ScoredNote,
    SeenLedger,
    SpentBudget,
)
from sleep_runtime.core.review import Review, Ruling
from sleep_runtime.core.run import Run, RunState
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Undoing
from sleep_runtime.present.registry import get_compiler
from sleep_runtime.present.search import Searcher
from sleep_runtime.serve.audit import Auditor
from sleep_runtime.serve.latency import LatencyWindow
from sleep_runtime.serve.limits import Limiter

EXCERPT_CHARS = 500
MAX_EXCERPTS = 20


@dataclass(frozen=True)
class HotPathParts:
    """What the hot path works with. The callables reach the owners of the stores.

    ``request_night`` makes a scope due now; ``repair`` does ``reconcile`` or ``rebuild``.
    ``undo`` takes a run back, with leave to cascade and vectors of what comes back reworded;
    ``resolve`` keeps a decision; ``nearest`` says what waiting notes lack; ``spent`` names the
    budgets that keep nights from starting; ``gather_metrics`` returns Prometheus text of all
    processes. ``pool`` is the state of the idle pool, and ``give_way`` takes it from nights for so
    many seconds. ``latency`` is filled with the durations of requests. A body has ``body_s``
    seconds to come, and all of them together ``max_bodies_bytes`` in memory.
    """

    append: Callable[[Sequence[JournalRow]], Awaitable[AppendResult]]
    request_night: Callable[[Scope | None], Awaitable[list[Scope]]]
    repair: Callable[[str], Awaitable[dict[str, int]]]
    undo: Callable[[str, bool, Mapping[str, bytes]], Awaitable[Undoing]]
    resolve: Callable[[str, Ruling, str], Awaitable[Review]]
    erase: Callable[[Target], Awaitable[Erasure]]
    nearest: Callable[[Sequence[Dossier]], list[Nearest]]
    spent: Callable[[datetime], list[SpentBudget]]
    gather_metrics: Callable[[], Awaitable[bytes]]
    ready: Callable[[], Awaitable[bool]]
    pool: Callable[[], Awaitable[dict[str, Any]]]
    give_way: Callable[[float], Awaitable[dict[str, Any]]]
    journal: JournalViews
    ledger: LedgerViews
    searcher: Searcher
    forgetter: Closing
    embedder: Embedder
    compilers: dict[str, Compiler]
    redact: Callable[[str], str]
    clock: Clock
    engine_name: str
    version: str
    started_at: datetime
    auditor: Auditor
    limits: CaptureLimits = field(default_factory=CaptureLimits)
    limiter: Limiter = field(default_factory=Limiter)
    default_compiler: str = "markdown"
    default_k: int = 10
    max_k: int = 100
    default_budget_tokens: int = 800
    latency: LatencyWindow | None = None
    body_s: float = 10.0
    max_bodies_bytes: int = 256 * 2**20


class Closing(Protocol):
    """Something that runs until it is closed."""

    def close(self) -> None: ...


class Reader:
    """The blocking reads behind the endpoints. Every method may be called from any thread.

    ``rights`` are those of whoever asks: the stores show nothing else. That they may ask at a
    scope has been settled before.
    """

    def __init__(self, parts: HotPathParts) -> None:
        self._parts = parts

    def known(self, rights: Rights, scope: Scope) -> None:
        """Raise ``NotFound`` for a scope of whose organisation nothing was ever seen."""
        parts = self._parts
        if parts.ledger.seen_by(rights).knows(scope) or parts.journal.seen_by(rights).knows(scope):
            return
        raise NotFound(
            f"nothing is known of {str(scope)!r} or its organisation",
            field="scope",
            mend="check the spelling, or capture events there first",
        )

    def search(
        self,
        rights: Rights,
        scope: Scope,
        query: str,
        *,
        k: int | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
        looked: Callable[[int], None] | None = None,
    ) -> list[ScoredNote]:
        most = self._parts.max_k
        if k is not None and k > most:
            raise InvalidInput(
                f"{k} is more than one search gives",
                field="k",
                mend=f"ask for at most {most}, or raise search.max_k",
            )
        hits = self._parts.searcher.search(
            scope,
            query,
            k=k or self._parts.default_k,
            as_of=as_of,
            include_superseded=include_superseded,
            rights=rights,
            looked=looked,
        )
        if not hits:  # whoever sees a note is known: nearly every search is spared the question
            self.known(rights, scope)
        return hits

    def context(
        self,
        rights: Rights,
        scope: Scope,
        query: str,
        *,
        budget_tokens: int | None,
        compiler: str | None,
        looked: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        chosen = get_compiler(self._parts.compilers, compiler or self._parts.default_compiler)
        hits = self.search(rights, scope, query, k=self._parts.max_k, looked=looked)
        compiled = chosen.compile(
            hits, query=query, budget_tokens=budget_tokens or self._parts.default_budget_tokens
        )
        return compiled.model_dump()

    def notes(
        self,
        rights: Rights,
        scope: Scope | None,
        status: NoteStatus | None,
        *,
        limit: int,
        after: str,
    ) -> dict[str, Any]:
        if scope is not None:
            self.known(rights, scope)
        found = self._parts.ledger.seen_by(rights).notes(
            within=scope,
            statuses=[status] if status else None,
            limit=limit + 1,
            after=after,
        )
        page = found[:limit]
        more = page[-1].id if len(found) > limit else None
        return {"notes": [note.public() for note in page], "next": more}

    def note(self, rights: Rights, note_id: str) -> dict[str, Any]:
        seen = self._parts.ledger.seen_by(rights)
        note = seen.note(note_id)
        if note is None:
            raise NotFound(f"there is no note {note_id!r}", field="id", mend="list them first")
        evidence = seen.evidence(note_id)
        return {
            "note": note.public(),
            "history": [revision.public() for revision in seen.history(note_id)],
            "excerpts": self._excerpts(rights, note, evidence),
            "counted": _counted(evidence),
        }

    def _excerpts(
        self, rights: Rights, note: Note, evidence: Sequence[Evidence]
    ) -> list[dict[str, Any]]:
        """Of a note from above, what is of the reader's own part of the tree."""
        said = note.evidence or [item.event_id for item in evidence if item.weight > 0]
        journal = self._parts.journal.seen_by(rights)
        stored = journal.events(note.scope.org, said[:MAX_EXCERPTS])
        return [
            {
                "event_id": item.event.id,
                "ts": item.event.ts.isoformat(),
                "role": item.event.role.value,
                "trust": item.trust.value,
                "kind": item.event.kind.value,
                "session": item.event.session,
                "text": self._parts.redact(item.event.text)[:EXCERPT_CHARS],
            }
            for item in stored
        ]

    def runs(self, rights: Rights, scope: Scope | None, *, limit: int) -> list[dict[str, Any]]:
        if scope is not None:
            self.known(rights, scope)
        found = self._parts.ledger.seen_by(rights).runs(scope, limit=limit)
        return [run_json(run) for run in found]

    def find_run(self, rights: Rights, run_id: str) -> Run:
        """The run. Raises ``NotFound``, in the same words whether it is not there or not shown."""
        run = self._parts.ledger.seen_by(rights).run(run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id!r}", field="id", mend="list them first")
        return run

    def run(self, rights: Rights, run_id: str) -> dict[str, Any]:
        run = self.find_run(rights, run_id)
        seen = self._parts.ledger.seen_by(rights)
        return {
            "run": run_json(run),
            "nearest": [
                {"note": one.note.public(), "missing": one.missing, "needs": one.needs}
                for one in self._parts.nearest(seen.dossiers(run.scope))
            ],
            "deltas": [delta.model_dump(mode="json") for delta in seen.deltas(run_id)],
            "proposals": [
                {
                    "proposal": proposal.model_dump(mode="json"),
                    "critique": critique.model_dump(mode="json"),
                }
                for proposal, critique in seen.proposals(run_id)
            ],
        }

    def status(self, rights: Rights, scope: Scope | None) -> dict[str, Any]:
        """What is awake, pending and next, and why the last night did what it did."""
        if scope is not None:
            self.known(rights, scope)
        parts, now = self._parts, self._parts.clock.now()
        seen = parts.ledger.seen_by(rights)
        unfinished = [
            run
            for run in seen.runs(scope, unfinished=True, limit=100)
            if run.state is not RunState.YIELDED  # it rests until it is due again
        ]
        leases = seen.leases(now, scope)
        runs = {run.scope: run for run in unfinished}
        last = seen.runs(scope, limit=1)
        following = seen.next_due(scope)
        counts = seen.counts(scope)
        spent = [one for one in parts.spent(now) if one.holds(scope)]
        told = [one for each in spent if (one := each.seen_by(rights)) is not None]
        return {
            "version": parts.version,
            "started_at": parts.started_at.isoformat(),
            "engine": parts.engine_name,
            "journal": {"events": parts.journal.seen_by(rights).count()},
            "notes": {
                status.value: counts.get(f"notes.{status.value}", 0) for status in NoteStatus
            },
            "awake": [
                {
                    "scope": str(lease.scope),
                    "owner": lease.owner,
                    "epoch": lease.epoch,
                    "run": runs[lease.scope].id if lease.scope in runs else None,
                    "state": runs[lease.scope].state.value if lease.scope in runs else "planning",
                }
                for lease in leases
            ],
            "pending": seen.pending(scope).model_dump(),
            "next": {
                "scope": str(following.scope),
                "due_at": following.due_at.isoformat(),
                "trigger": following.trigger.value if following.trigger else None,
            }
            if following and following.due_at
            else None,
            "budgets": [one.model_dump(mode="json") for one in told],
            "last_run": run_json(last[0]) if last else None,
            "outbox": counts.get("outbox", 0),
            "reviews": {"open": counts.get("reviews.open", 0)},
            "index": {"generation": seen.generation()},
            "quiet": not (leases or unfinished or _starting(seen, scope, spent, now)),
        }


def _starting(
    seen: SeenLedger, scope: Scope | None, held: Sequence[SpentBudget], now: datetime
) -> bool:
    """Whether something is due at or below the scope that none of ``held`` holds back."""
    if not held:
        following = seen.next_due(scope)
        return bool(following and following.due_at and following.due_at <= now)
    if scope is not None or any(one.org is None for one in held):
        return False
    orgs = [one.org for one in held if one.org is not None]
    return bool(seen.due(now, limit=1, without=orgs))


def _counted(evidence: Sequence[Evidence]) -> dict[str, Any]:
    """Who and what is behind a note: what counts for it, and how much was taken back."""
    said = [item for item in evidence if item.weight > 0 and not item.undone]
    days = sorted({item.ts.date().isoformat() for item in said})
    return {
        "people": sorted({item.person for item in said if item.trust is Trust.HUMAN}),
        "sessions": sorted({item.session for item in said}),
        "days": days,
        "undone": sum(1 for item in evidence if item.undone),
    }


def run_json(run: Run) -> dict[str, Any]:
    """A run in the public JSON contract."""
    return {**run.model_dump(mode="json"), "tier": run.scope.tier.label}
