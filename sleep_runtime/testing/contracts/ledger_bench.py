"""Material for tests of a ledger: small nouns, and a bench with the moves of a night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sleep_runtime.core.event import Trust
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.note import Evidence, Note, NoteStatus, Support
from sleep_runtime.core.observation import Claim, Durability, NoteKind, Observation
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.ports import Commit, LedgerReader, LedgerWriter
from sleep_runtime.core.proposal import Critique, Delta, DeltaKind, Proposal, Relation, Worth
from sleep_runtime.core.run import Lease, Run, Trigger
from sleep_runtime.core.scope import Scope

ORG = Scope("acme")
TEAM = Scope("acme/banking")
ANA = Scope("acme/banking/ana")
BEN = Scope("acme/banking/ben")
NEXT_DOOR = Scope("acme-labs/banking")
T0 = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
POLICY = TriggerPolicy(backlog_events=50, backlog_tokens=10_000, cooldown_s=600)
COOL = timedelta(seconds=POLICY.cooldown_s)
SECOND = timedelta(seconds=1)


def claim(text: str = "Use adjusted EBITDA.") -> Claim:
    """A convention in these words."""
    return Claim(statement=text, kind=NoteKind.CONVENTION, subject="figures", aspect="basis")


def observation(name: str, scope: Scope = ANA) -> Observation:
    """One person's observation; the id is the name."""
    return Observation(
        id=name,
        scope=scope,
        session=f"session-{name}",
        person=str(scope),
        ts=T0,
        claim=claim(f"Lesson {name}."),
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        evidence=(f"event-{name}",),
    )


def evidence(name: str = "a", weight: float = 1.0, vote: int = 0) -> Evidence:
    """What one event says for a note."""
    return Evidence(
        event_id=f"event-{name}",
        observation_id=name,
        scope=ANA,
        session=f"session-{name}",
        person=str(ANA),
        ts=T0,
        trust=Trust.HUMAN,
        weight=weight,
        vote=vote,
    )


def note(
    note_id: str = "note_1",
    *,
    scope: Scope = ANA,
    revision: int = 1,
    status: NoteStatus = NoteStatus.ACTIVE,
    at: datetime = T0,
) -> Note:
    """A small note."""
    return Note(
        id=note_id,
        scope=scope,
        claim=claim(),
        status=status,
        confidence=0.75,
        support=Support(events=1, sessions=1, people=1, days=1),
        valid_from=T0,
        recorded_at=at,
        revision=revision,
        evidence=("event-a",),
        reason="said once, with standing intent",
    )


def delta(what: Note, kind: DeltaKind = DeltaKind.ADD, because: Sequence[Evidence] = ()) -> Delta:
    """A change of one note."""
    return Delta(
        kind=kind, note=what, evidence=tuple(because), code="stated", reason="a person said so"
    )


def judged(name: str = "p1", scope: Scope = ANA) -> tuple[Proposal, Critique]:
    """A proposal with its critique."""
    proposal = Proposal(
        id=name,
        scope=scope,
        claim=claim(),
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        observations=("a",),
        evidence=(evidence(),),
    )
    critique = Critique(
        proposal_id=name, relation=Relation.NEW, worth=Worth.KEEP, code="new", reason="unheard of"
    )
    return proposal, critique


@dataclass(frozen=True)
class LedgerBench:
    """A ledger opened with ``POLICY``, and the moves that tests make with it."""

    writer: LedgerWriter
    reader: LedgerReader

    def heads(self, scope: Scope, events: int, *, now: datetime = T0, tokens: int = 0) -> None:
        head = ScopeHead(scope=scope, last_seq=events, events=events, tokens=tokens or events)
        self.writer.note_heads([head], watermark=events, now=now)

    def lease(self, scope: Scope = ANA, owner: str = "tier-1", now: datetime = T0) -> Lease:
        lease = self.writer.acquire(scope, owner, now=now, ttl_s=60)
        assert lease is not None
        return lease

    def try_plan(
        self,
        lease: Lease,
        *,
        upto: int = 0,
        now: datetime = T0,
        requested: str | None = None,
        max_observations: int = 100,
    ) -> Run | None:
        return self.writer.plan(
            lease,
            now=now,
            trigger=Trigger.CADENCE if requested is None else Trigger.MANUAL,
            requested=requested or "",
            journal_upto=upto,
            max_observations=max_observations,
        )

    def plan(
        self,
        lease: Lease,
        *,
        upto: int = 0,
        now: datetime = T0,
        requested: str | None = None,
        max_observations: int = 100,
    ) -> Run:
        run = self.try_plan(
            lease, upto=upto, now=now, requested=requested, max_observations=max_observations
        )
        assert run is not None
        return run

    def generate(
        self, lease: Lease, run: Run, names: str, *, events: int = 0, now: datetime = T0
    ) -> Run:
        """One observation for each letter of ``names``."""
        found = [observation(name, run.scope) for name in names]
        return self.writer.generated(
            lease, run.id, found, events=events, tokens=events, counts={"seen": 1}, now=now
        )

    def reflect(self, lease: Lease, run: Run, now: datetime = T0) -> Run:
        return self.writer.reflected(
            lease, run.id, [judged(scope=run.scope)], counts={"new": 1}, now=now
        )

    def night(
        self,
        scope: Scope = ANA,
        names: str = "",
        *,
        upto: int = 0,
        commit: Commit | None = None,
        now: datetime = T0,
        requested: str | None = None,
        max_observations: int = 100,
    ) -> Run:
        """A whole run under a lease of its own; ``upto`` journal events, one token each."""
        lease = self.lease(scope, now=now)
        run = self.plan(
            lease, upto=upto, now=now, requested=requested, max_observations=max_observations
        )
        self.generate(lease, run, names, events=run.journal.upto - run.journal.after, now=now)
        self.reflect(lease, run, now=now)
        self.writer.commit(lease, run.id, commit or Commit(), now=now)
        done = self.writer.projected(run.id, now=now)
        self.writer.release(lease)
        return done

    def due(self, now: datetime) -> list[Scope]:
        return [schedule.scope for schedule in self.reader.due(now, limit=100)]
