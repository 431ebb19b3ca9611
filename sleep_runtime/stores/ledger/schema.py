"""The tables of the ledger, as SQLAlchemy Core metadata. ``stores/migrations`` creates them.

Instants are integer microseconds since the epoch, UTC. JSON is canonical text and only ever read
whole: what a query needs is a column. Scopes are paths in binary order, so everything below
``acme`` lies between ``acme/`` and ``acme0`` (``0`` follows ``/``). There are no foreign keys:
the one writer puts referring rows into the same transaction, and batch migrations stay simple.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from sleep_runtime.core.access import Rights
from sleep_runtime.core.ids import canonical_json
from sleep_runtime.core.note import ONCE_IN_FORCE
from sleep_runtime.core.scope import Scope, Tier

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Exact microseconds since the epoch. Raises ``ValueError`` for a naive datetime."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no timezone: instants are UTC")
    return (instant - _EPOCH) // _MICROSECOND


def from_us(value: int) -> datetime:
    """The UTC datetime of so many microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """A UTC datetime stored as integer microseconds."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else to_us(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_us(value)


class Json(TypeDecorator[Any]):
    """A JSON value stored as canonical text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:  # noqa: ARG002
        return canonical_json(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        return json.loads(value)


def _text(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, **options)


def _integer(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, **options)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, Json, nullable=False)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, Instant, nullable=nullable)


metadata = sa.MetaData()

observations = sa.Table(
    "observations",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    _text("id", unique=True),
    _text("scope"),
    # The scopes above, spelled out: the observations of a whole organisation after a cursor
    # are then one index range in order of seq, as those of one person are.
    _text("org"),
    _text("team"),
    _text("session"),
    _text("person"),
    _instant("ts"),
    _json("claim"),
    _text("durability"),
    _text("trust"),
    _json("evidence"),
    _text("feedback_on"),
    sa.Column("helpful", sa.Boolean),
    sa.Index("ix_observations_scope", "scope", "seq"),
    sa.Index("ix_observations_team", "team", "seq"),
    sa.Index("ix_observations_org", "org", "seq"),
    sqlite_autoincrement=True,
)

pins = sa.Table(
    "pins",
    metadata,
    _text("run_id", primary_key=True),
    _text("step", primary_key=True),
    _text("key", primary_key=True),
    _json("output"),
    _json("usage"),
)

notes = sa.Table(
    "notes",
    metadata,
    _text("note_id", primary_key=True),
    _integer("revision", primary_key=True),
    _text("scope"),
    _text("status"),
    _json("claim"),
    sa.Column("confidence", sa.Float, nullable=False),
    _json("support"),
    _text("trust"),
    _integer("helpful"),
    _integer("harmful"),
    _instant("valid_from"),
    _instant("valid_to", nullable=True),
    _instant("recorded_at"),
    _text("superseded_by"),
    _json("evidence"),
    _text("reason"),
    sa.Index("ix_notes_scope_recorded_at", "scope", "recorded_at"),
)

newest = sa.Table(
    "newest",
    metadata,
    _text("note_id", primary_key=True),
    _integer("revision"),
    _text("scope"),
    _text("status"),
    sa.Index("ix_newest_scope_status", "scope", "status"),
)

scope_versions = sa.Table(
    "scope_versions",
    metadata,
    _text("scope", primary_key=True),
    _integer("version"),
)

note_evidence = sa.Table(
    "note_evidence",
    metadata,
    _text("note_id", primary_key=True),
    _text("event_id", primary_key=True),
    _text("observation_id", primary_key=True),
    _text("scope"),
    _text("session"),
    _text("person"),
    _instant("ts"),
    _text("trust"),
    sa.Column("weight", sa.Float, nullable=False),
    _integer("vote"),
    sa.Column("undone", sa.Boolean, nullable=False),
    # The run that brought it: taking that run back takes this back.
    _text("run_id"),
    sa.Index("ix_note_evidence_run_id", "run_id"),
)

# What evidence was before a run changed it. New evidence was nothing before and is not in here.
evidence_changes = sa.Table(
    "evidence_changes",
    metadata,
    _text("run_id", primary_key=True),
    _text("note_id", primary_key=True),
    _text("event_id", primary_key=True),
    _text("observation_id", primary_key=True),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Column("undone", sa.Boolean, nullable=False),
)

note_vectors = sa.Table(
    "note_vectors",
    metadata,
    _text("note_id", primary_key=True),
    _integer("revision"),
    _text("model"),
    sa.Column("vector", sa.LargeBinary, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    _text("id", primary_key=True),
    _text("scope"),
    _integer("number"),
    _text("trigger"),
    _text("requested"),
    _text("state"),
    sa.Column("stood_at", sa.Text),
    _integer("epoch"),
    _text("owner"),
    _instant("planned_at"),
    _instant("updated_at"),
    _integer("journal_after"),
    _integer("journal_upto"),
    _integer("observations_after"),
    _integer("observations_upto"),
    _integer("max_observations"),
    _integer("folds"),
    _integer("reviews"),
    _json("counts"),
    _json("usage"),
    sa.Column("seconds", sa.Float, nullable=False),
    _json("spent_before"),
    _integer("attempts"),
    _text("reason"),
    _json("undoes"),
    _text("undone_by"),
    sa.Index("ix_runs_scope_number", "scope", "number", unique=True),
    sa.Index("ix_runs_state", "state", "scope"),
    sa.Index("ix_runs_planned_at", "planned_at"),
)

deltas = sa.Table(
    "deltas",
    metadata,
    _text("run_id", primary_key=True),
    _integer("ordinal", primary_key=True),
    _text("kind"),
    _text("note_id"),
    _integer("revision"),
    _text("scope"),
    _text("code"),
    _text("reason"),
    _instant("at"),
    sa.Column("restores", sa.BigInteger, nullable=True),
    sa.Index("ix_deltas_note_id", "note_id", "revision"),
)

reviews = sa.Table(
    "reviews",
    metadata,
    _text("id", primary_key=True),
    _text("scope"),
    _text("kind"),
    _json("question"),
    _text("run_id"),
    _instant("created_at"),
    _text("state"),
    sa.Column("decision", sa.Text),
    _text("by"),
    _instant("at", nullable=True),
    _text("applied_by"),
    sa.Index("ix_reviews_scope", "scope", "state"),
    sa.Index("ix_reviews_state", "state", "created_at"),
)

# What people said of two claims: the newest word on a pair holds, in the order of seq.
verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    _text("org"),
    _text("pair_key"),
    _json("left"),
    _json("right"),
    _text("verdict"),
    _text("by"),
    sa.Column("score", sa.Float, nullable=False),
    _text("reason"),
    _instant("at"),
    sa.Index("ix_verdicts_org", "org", "seq"),
    sqlite_autoincrement=True,
)

# What an engine answered about a pair in a scope: it is not asked again.
judgements = sa.Table(
    "judgements",
    metadata,
    _text("scope", primary_key=True),
    _text("engine", primary_key=True),
    _text("pair_key", primary_key=True),
    _text("verdict"),
    sa.Column("score", sa.Float, nullable=False),
    _text("reason"),
    _instant("at"),
)

proposals = sa.Table(
    "proposals",
    metadata,
    _text("run_id", primary_key=True),
    _integer("ordinal", primary_key=True),
    _json("proposal"),
    _json("critique"),
)

cursors = sa.Table(
    "cursors",
    metadata,
    _text("scope", primary_key=True),
    _integer("journal"),
    _integer("observations"),
)

leases = sa.Table(
    "leases",
    metadata,
    _text("scope", primary_key=True),
    _text("owner"),
    _integer("epoch"),
    _instant("expires_at"),
)

schedules = sa.Table(
    "schedules",
    metadata,
    _text("scope", primary_key=True),
    _integer("events_seen"),
    _integer("events_done"),
    _integer("tokens_seen"),
    _integer("tokens_done"),
    _integer("observations_seen"),
    _integer("observations_done"),
    _integer("folds"),
    _integer("reviews"),
    _text("requested"),
    _instant("pending_since", nullable=True),
    _instant("last_run_at", nullable=True),
    _instant("due_at", nullable=True),
    sa.Column("trigger", sa.Text),
    _instant("not_before", nullable=True),
    sa.Index("ix_schedules_due_at", "due_at", "scope"),
)

# What nights cost. Names organisations and nothing of what they say; not part of what is learned.
spending = sa.Table(
    "spending",
    metadata,
    _text("org", primary_key=True),
    sa.Column("hour", Instant, primary_key=True, nullable=False),
    _integer("calls"),
    _integer("input_tokens"),
    _integer("output_tokens"),
    _integer("cached_tokens"),
    sa.Column("gpu_seconds", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Index("ix_spending_hour", "hour", "org"),
)

# What somebody asked to be gone. Names a scope, and nothing of what was in it.
erasures = sa.Table(
    "erasures",
    metadata,
    _text("id", primary_key=True),
    _text("scope"),
    _text("kind"),
    _text("named"),
    _text("salt"),
    _text("state"),
    _integer("upto"),
    _instant("requested_at"),
    _instant("updated_at"),
    _json("counts"),
    _json("receipt"),
    sa.Index("ix_erasures_state", "state", "requested_at"),
    sa.Index("ix_erasures_scope", "scope"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    _text("note_id", primary_key=True),
    _integer("revision"),
)

meta = sa.Table(
    "meta",
    metadata,
    _text("key", primary_key=True),
    _integer("value"),
)


def under(column: sa.ColumnElement[str], scope: Scope) -> sa.ColumnElement[bool]:
    """``column`` is this scope or lies below it: one index probe and one index range."""
    path = str(scope)
    return sa.or_(column == path, sa.and_(column >= f"{path}/", column < f"{path}0"))


def covered(column: sa.ColumnElement[str], rights: Rights) -> sa.ColumnElement[bool]:
    """Everything of the scope in ``column`` may be seen; true for the rights to everything."""
    if rights.within is None:
        return sa.true()
    return sa.or_(sa.false(), *(under(column, scope) for scope in rights.within))


def shown(
    scope: sa.ColumnElement[str], status: sa.ColumnElement[str], rights: Rights
) -> sa.ColumnElement[bool]:
    """A note of this scope and status may be read: it is covered, or in force above."""
    if rights.within is None:
        return sa.true()
    in_force = status.in_([one.value for one in ONCE_IN_FORCE])
    above = sa.and_(scope.in_([str(one) for one in rights.above]), in_force)
    return sa.or_(covered(scope, rights), above)


def note_columns(rights: Rights) -> list[sa.ColumnElement[Any]]:
    """The columns of ``notes``: bare, as ``Note.bare``, where only the lesson may be read."""
    if rights.within is None:
        return list(notes.c)
    whole = covered(notes.c.scope, rights)
    bare: dict[str, Any] = {"evidence": [], "reason": "", "superseded_by": ""}
    return [
        sa.case((whole, c), else_=sa.literal(bare[c.name], c.type)).label(c.name)
        if c.name in bare
        else c
        for c in notes.c
    ]


def observed_below(scope: Scope) -> sa.ColumnElement[bool]:
    """Observations of this scope and those below: one index range, in order of seq."""
    return observing(scope.tier) == str(scope)


def observing(tier: Tier) -> sa.Column[str]:
    """The column of ``observations`` that holds the path of a scope of this tier."""
    return {
        Tier.ORG: observations.c.org,
        Tier.TEAM: observations.c.team,
        Tier.INDIVIDUAL: observations.c.scope,
    }[tier]
