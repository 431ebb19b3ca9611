"""Rows to nouns and nouns to rows, one pair of functions a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from sleep_runtime.core.erasure import Erasure
from sleep_runtime.core.note import Evidence, Note
from sleep_runtime.core.observation import Observation, Usage
from sleep_runtime.core.ports import NoteVector, Pin
from sleep_runtime.core.proposal import CommittedDelta, Critique, Delta, Judgement, Proposal
from sleep_runtime.core.review import RememberedVerdict, Review
from sleep_runtime.core.run import CursorRange, Lease, Run, Schedule
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import Bucket, Cost
from sleep_runtime.stores.ledger import schema

Row = sa.Row[Any]
Values = dict[str, Any]
T = TypeVar("T")

SCHEDULE_FIELDS = tuple(Schedule.model_fields)


def observation_values(observation: Observation) -> Values:
    """A row of ``observations``; the ledger gives it its seq."""
    lineage = [str(scope) for scope in reversed(observation.scope.lineage())]
    return {
        "id": observation.id,
        "scope": lineage[-1],
        "org": lineage[0],
        "team": lineage[1] if len(lineage) > 1 else "",
        "session": observation.session,
        "person": observation.person,
        "ts": observation.ts,
        "claim": observation.claim.model_dump(mode="json"),
        "durability": observation.durability.value,
        "trust": observation.trust.value,
        "evidence": list(observation.evidence),
        "feedback_on": observation.feedback_on,
        "helpful": observation.helpful,
    }


def observation(row: Row) -> Observation:
    """An observation with its seq."""
    values = row._asdict()
    del values["org"], values["team"]
    return Observation(**values)


def note_values(note: Note) -> Values:
    """A row of ``notes``: one revision."""
    return {
        "note_id": note.id,
        "revision": note.revision,
        "scope": str(note.scope),
        "status": note.status.value,
        "claim": note.claim.model_dump(mode="json"),
        "confidence": note.confidence,
        "support": note.support.model_dump(mode="json"),
        "trust": note.trust.value,
        "helpful": note.helpful,
        "harmful": note.harmful,
        "valid_from": note.valid_from,
        "valid_to": note.valid_to,
        "recorded_at": note.recorded_at,
        "superseded_by": note.superseded_by,
        "evidence": list(note.evidence),
        "reason": note.reason,
    }


def note(row: Row) -> Note:
    """One revision of a note."""
    values = row._asdict()
    return Note(id=values.pop("note_id"), **values)


def evidence_values(note_id: str, evidence: Evidence, run_id: str) -> Values:
    """A row of ``note_evidence``, brought by a run."""
    return {
        "note_id": note_id,
        "event_id": evidence.event_id,
        "observation_id": evidence.observation_id,
        "scope": str(evidence.scope),
        "session": evidence.session,
        "person": evidence.person,
        "ts": evidence.ts,
        "trust": evidence.trust.value,
        "weight": evidence.weight,
        "vote": evidence.vote,
        "undone": evidence.undone,
        "run_id": run_id,
    }


def evidence(row: Row) -> Evidence:
    """Evidence, apart from the note it is for."""
    values = row._asdict()
    del values["note_id"], values["run_id"]
    return Evidence(**values)


def vector_values(vector: NoteVector) -> Values:
    """A row of ``note_vectors``."""
    return vector.model_dump()


def vector(row: Row) -> NoteVector:
    """A note's embedding."""
    return NoteVector(**row._asdict())


def pin_values(run_id: str, step: str, pin: Pin) -> Values:
    """A row of ``pins``."""
    return {
        "run_id": run_id,
        "step": step,
        "key": pin.key,
        "output": pin.output,
        "usage": pin.usage.model_dump(mode="json"),
    }


def pin(row: Row) -> Pin:
    """One model output and what it cost."""
    return Pin(key=row.key, output=row.output, usage=row.usage)


def run_values(run: Run) -> Values:
    """A row of ``runs``, but for ``max_observations``, which only planning sets."""
    return {
        "id": run.id,
        "scope": str(run.scope),
        "number": run.number,
        "trigger": run.trigger.value,
        "requested": run.requested,
        "state": run.state.value,
        "stood_at": run.stood_at.value if run.stood_at else None,
        "epoch": run.epoch,
        "owner": run.owner,
        "planned_at": run.planned_at,
        "updated_at": run.updated_at,
        "journal_after": run.journal.after,
        "journal_upto": run.journal.upto,
        "observations_after": run.observations.after,
        "observations_upto": run.observations.upto,
        "folds": run.folds,
        "reviews": run.reviews,
        "counts": run.counts,
        "usage": run.usage.model_dump(mode="json"),
        "seconds": run.seconds,
        "spent_before": run.spent_before.model_dump(mode="json"),
        "attempts": run.attempts,
        "reason": run.reason,
        "undoes": list(run.undoes),
        "undone_by": run.undone_by,
    }


def run(row: Row) -> Run:
    """A run, its two ranges put together."""
    values = row._asdict()
    del values["max_observations"]
    for name in ("journal", "observations"):
        after, upto = values.pop(f"{name}_after"), values.pop(f"{name}_upto")
        values[name] = CursorRange(after=after, upto=upto)
    return Run(**values)


def delta_values(run: Run, ordinal: int, delta: Delta, restores: int | None = None) -> Values:
    """A row of ``deltas``, at the instant the run was committed."""
    return {
        "run_id": run.id,
        "ordinal": ordinal,
        "kind": delta.kind.value,
        "note_id": delta.note.id,
        "revision": delta.note.revision,
        "scope": str(delta.note.scope),
        "code": delta.code,
        "reason": delta.reason,
        "at": run.updated_at,
        "restores": restores,
    }


def delta(row: Row) -> CommittedDelta:
    """A delta as the ledger remembers it."""
    return CommittedDelta(**row._asdict())


def judged_values(run_id: str, ordinal: int, judged: tuple[Proposal, Critique]) -> Values:
    """A row of ``proposals``: a proposal beside its critique."""
    proposal, critique = judged
    return {
        "run_id": run_id,
        "ordinal": ordinal,
        "proposal": proposal.model_dump(mode="json"),
        "critique": critique.model_dump(mode="json"),
    }


def judged(row: Row) -> tuple[Proposal, Critique]:
    """A proposal and its critique."""
    return Proposal(**row.proposal), Critique(**row.critique)


def schedule_values(schedule: Schedule) -> Values:
    """A row of ``schedules``, but for the ledger's own ``not_before``."""
    return {
        **{name: getattr(schedule, name) for name in SCHEDULE_FIELDS},
        "scope": str(schedule.scope),
        "trigger": schedule.trigger.value if schedule.trigger else None,
    }


def schedule(row: Row) -> Schedule:
    """A schedule without the ledger's own columns."""
    mapping = row._asdict()
    return Schedule(**{name: mapping[name] for name in SCHEDULE_FIELDS})


def review_values(review: Review) -> Values:
    """A row of ``reviews``."""
    return {
        **review.model_dump(mode="json", exclude={"created_at", "at"}),
        "kind": review.question.kind.value,
        "created_at": review.created_at,
        "at": review.at,
    }


def review(row: Row) -> Review:
    """A question and its answer."""
    values = row._asdict()
    del values["kind"]
    return Review(**values)


def verdict_values(verdict: RememberedVerdict) -> Values:
    """A row of ``verdicts``; the ledger gives it its seq."""
    return {**verdict.model_dump(mode="json", exclude={"at"}), "at": verdict.at}


def verdict(row: Row) -> RememberedVerdict:
    """What a person said of a pair."""
    values = row._asdict()
    del values["seq"]
    return RememberedVerdict(**values)


def judgement_values(
    scope: Scope, engine: str, key: str, judgement: Judgement, at: datetime
) -> Values:
    """A row of ``judgements``."""
    return {
        "scope": str(scope),
        "engine": engine,
        "pair_key": key,
        "verdict": judgement.verdict.value,
        "score": judgement.score,
        "reason": judgement.reason,
        "at": at,
    }


def judgement(row: Row) -> Judgement:
    """An engine's answer, apart from the pair."""
    return Judgement(verdict=row.verdict, score=row.score, reason=row.reason)


def spending_values(org: str, hour: datetime, cost: Cost) -> Values:
    """A row of ``spending``."""
    return {"org": org, "hour": hour, "seconds": cost.seconds, **cost.usage.model_dump()}


def bucket(row: Row) -> Bucket:
    """What one organisation's nights cost in one hour."""
    values = row._asdict()
    org, hour, seconds = (values.pop(name) for name in ("org", "hour", "seconds"))
    return Bucket(org=org, hour=hour, cost=Cost(usage=Usage(**values), seconds=seconds))


def erasure_values(erasure: Erasure) -> Values:
    """A row of ``erasures``."""
    return {
        **erasure.model_dump(exclude={"state", "scope"}),
        "scope": str(erasure.scope),
        "state": erasure.state.value,
    }


def erasure(row: Row) -> Erasure:
    """An erasure as the ledger remembers it."""
    return Erasure(**row._asdict())


def lease(row: Row) -> Lease:
    """A lease as it is stored, whether alive or not."""
    return Lease(**row._asdict())


NEWEST_NOTES = schema.notes.join(
    schema.newest,
    sa.and_(
        schema.notes.c.note_id == schema.newest.c.note_id,
        schema.notes.c.revision == schema.newest.c.revision,
    ),
)


def batches(items: Sequence[T], size: int = 1000) -> Iterator[Sequence[T]]:
    """Slices small enough for the driver's limit of parameters in one statement."""
    return (items[start : start + size] for start in range(0, len(items), size))
