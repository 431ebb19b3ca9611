"""Policy: every number a decision depends on, with its unit in its name.

These models are sections of the configuration; decisions take them as arguments.
"""

from __future__ import annotations

import re
import zoneinfo
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sleep_runtime.core.pool import IDLE_RESOURCE, MAX_ENGINES
from sleep_runtime.core.scope import Scope, Tier

LEAST_CROWD = 2
"""So many people, or teams, are behind whatever climbs: the k of k-anonymity, never less."""
MAX_WINDOW_S = 31 * 86_400.0
"""Spending is kept this long, and an hour more."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _of_a_person(scope: Scope) -> Scope:
    if scope.tier is not Tier.INDIVIDUAL:
        raise ValueError(f'"{scope}" names no person: write it as "org/team/user"')
    return scope


PersonScope = Annotated[Scope, AfterValidator(_of_a_person)]


class TriggerPolicy(_Section):
    """When a scope's night is due."""

    cadence_s: float = Field(default=4 * 3600.0, gt=0, description="a night at least this often")
    jitter: float = Field(
        default=0.1, ge=0, le=0.5, description="share of the cadence by which scopes are spread"
    )
    backlog_events: int = Field(default=500, gt=0, description="pending events that start a night")
    backlog_tokens: int = Field(
        default=200_000, gt=0, description="pending tokens that start a night"
    )
    cooldown_s: float = Field(
        default=600.0, ge=0, description="shortest time between two nights of one scope"
    )
    fade_s: float = Field(
        default=7 * 86_400.0,
        gt=0,
        description="a scope with notes and no news is looked at this often, so that they fade",
    )
    zero_effect_nights: int = Field(
        default=3,
        ge=1,
        description="nights with input and without any change, in a row, that are worth a warning",
    )


class GeneratePolicy(_Section):
    """What the Generator reads and how much of it."""

    max_turn_chars: int = Field(
        default=4000, gt=0, description="longer turns are cut in the middle"
    )
    max_session_turns: int = Field(
        default=200, gt=0, description="longer sessions are read in parts of this many turns"
    )
    context_turns: int = Field(
        default=6, ge=0, description="turns before the part that are read along, not distilled"
    )
    max_drafts_per_session: int = Field(default=20, gt=0)
    max_statement_words: int = Field(default=40, gt=0)


class SignalPolicy(_Section):
    """When a lesson has enough behind it, and how belief grows and fades."""

    standing_people: int = Field(
        default=1, ge=1, description="people needed for a lesson said with standing intent"
    )
    recurring_sessions: int = Field(
        default=2, ge=1, description="sessions needed for a lesson said without standing intent"
    )
    agent_sessions: int = Field(
        default=3, ge=1, description="sessions needed for a pattern only agents noticed"
    )
    prior_for: float = Field(default=1.0, gt=0, description="alpha of the Beta prior")
    prior_against: float = Field(default=1.0, gt=0, description="beta of the Beta prior")
    half_life_days: float = Field(default=90.0, gt=0, description="evidence halves in this time")
    retire_below: float = Field(default=0.2, ge=0, le=1, description="confidence floor")
    candidate_days: float = Field(
        default=60.0, gt=0, description="a candidate nobody says again in this time is retired"
    )


class TierPolicy(_Section):
    """When an observation climbs.

    Below two, what one person said would be shown to everybody around them: no configuration
    goes there.
    """

    team_people: int = Field(
        default=2, ge=LEAST_CROWD, description="distinct people for a team note, two at least"
    )
    org_people: int = Field(
        default=3, ge=LEAST_CROWD, description="distinct people for an org note, two at least"
    )
    org_teams: int = Field(
        default=2, ge=LEAST_CROWD, description="distinct teams for an org note, two at least"
    )
    departed: tuple[PersonScope, ...] = Field(
        default=(),
        description="people who left, as org/team/user: their words speak for nothing any more",
    )


class ReflectPolicy(_Section):
    """How claims are short-listed and compared."""

    shortlist: int = Field(default=8, gt=0, description="nearest claims compared with a new one")
    wordings: int = Field(
        default=6, gt=0, description="wordings of one note that a new claim is compared with"
    )
    sure: float = Field(
        default=0.8,
        ge=0.5,
        le=1,
        description="share from which on the store's statistics answer without the engine",
    )
    min_cosine: float = Field(default=0.35, ge=-1, le=1, description="below it, never compared")


class CurationPolicy(_Section):
    """Who decides what is in force."""

    mode: Literal["auto", "review"] = Field(
        default="auto",
        description="auto: the night decides; review: nothing comes into force or ends without a "
        "person",
    )


class BreakerPolicy(_Section):
    """What one night may take out of view by its own decision."""

    max_loss: float = Field(
        default=0.25, ge=0, le=1, description="share of a scope's active notes a night may end"
    )
    min_notes: int = Field(
        default=4, ge=1, description="scopes with fewer active notes have no breaker"
    )


class WindowBudget(_Section):
    """What may be used in the window. Null: as much as there is."""

    max_calls: int | None = Field(default=None, gt=0, description="engine calls")
    max_tokens: int | None = Field(default=None, gt=0, description="input and output tokens")
    max_gpu_seconds: float | None = Field(default=None, gt=0, description="seconds of GPUs held")
    max_seconds: float | None = Field(
        default=None, gt=0, description="wall clock, summed over nights"
    )


class BudgetPolicy(_Section):
    """What one run may use before it yields, and what tenants and all nights together may use."""

    max_calls: int = Field(default=2000, gt=0, description="engine calls")
    max_tokens: int = Field(default=2_000_000, gt=0, description="input and output tokens")
    max_seconds: float = Field(default=3600.0, gt=0, description="wall clock")
    max_gpu_seconds: float | None = Field(
        default=None, ge=0, description="seconds of GPUs held; null or 0: no limit"
    )
    max_events: int = Field(default=20_000, gt=0, description="journal events read by one run")
    max_observations: int = Field(default=5_000, gt=0, description="observations taken by one run")
    max_deltas: int = Field(
        default=500, gt=0, description="notes one run changes; the rest waits for the next run"
    )
    window_s: float = Field(
        default=86_400.0,
        ge=3600,
        le=MAX_WINDOW_S,
        description="how far back tenant and night count what was used, in whole hours",
    )
    tenant: WindowBudget = WindowBudget()
    night: WindowBudget = WindowBudget()


def _orgs_only(weights: dict[Scope, int]) -> dict[Scope, int]:
    for scope in weights:
        if scope.tier is not Tier.ORG:
            raise ValueError(f'"{scope}" is no organisation: weights are for whole ones')
    return weights


class FairnessPolicy(_Section):
    """How nights are shared out when several organisations wait."""

    weights: Annotated[
        dict[Scope, Annotated[int, Field(ge=1, le=1000)]], AfterValidator(_orgs_only)
    ] = Field(
        default={},
        description="nights an organisation gets for each one of the others; 1 if not named",
    )


_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)")


def _span(text: str) -> str:
    match = _HOURS.fullmatch(text)
    if match is None or (match[3] == "24" and match[4] != "00"):
        raise ValueError(f'"{text}" is no span of the day: write it as "22:00-06:00"')
    if (match[1], match[2]) == (match[3], match[4]):
        raise ValueError(f'"{text}" is empty: leave quiet_hours out for the whole day')
    return text


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise ValueError(f'"{name}" is no time zone: write it as "Europe/Zurich"') from error
    return name


Hours = Annotated[str, AfterValidator(_span)]
Zone = Annotated[str, AfterValidator(_zone)]


class PoolPolicy(_Section):
    """The idle pool: how much it takes, when, and how fast it gives it back."""

    enabled: bool = Field(default=True, description="false: no night runs, all else does")
    gpus_per_engine: float = Field(
        default=0.0, ge=0, description="GPUs of one engine; 0 means it runs on processors"
    )
    cpus_per_engine: float = Field(
        default=1.0, ge=0, description="processors of one engine, at the lowest priority"
    )
    max_engines: int = Field(default=1, ge=1, le=MAX_ENGINES, description="engines at one time")
    tokens_per_engine: int = Field(
        default=2_000_000, gt=0, description="tokens of backlog that ask for one more engine"
    )
    grace_s: float = Field(
        default=5.0, gt=0, description="longest that live work waits for what the pool holds"
    )
    drain_s: float = Field(
        default=0.0,
        ge=0,
        description="what is under way gets this long to end while live work waits; half of "
        "grace_s at most",
    )
    hysteresis_s: float = Field(
        default=10.0, gt=0, description="live work must be calm this long before nights go on"
    )
    backoff_s: float = Field(
        default=10.0, gt=0, description="first wait after the pool was taken back; doubles"
    )
    max_backoff_s: float = Field(default=900.0, gt=0, description="longest of those waits")
    idle_timeout_s: float = Field(
        default=60.0, ge=0, description="an engine without work gives its node back after this"
    )
    node_timeout_s: float = Field(
        default=600.0, gt=0, description="longest wait for a node of the pool"
    )
    start_timeout_s: float = Field(
        default=900.0, gt=0, description="longest that an engine may take to load"
    )
    silence_s: float = Field(
        default=300.0, gt=0, description="an engine that gives no sign for this long is ended"
    )
    engine_memory_bytes: int | None = Field(
        default=None,
        ge=2**30,
        description="memory an engine may allocate; null: no bound but the machine's",
    )
    tier_memory_bytes: int | None = Field(
        default=8 * 2**30, ge=2**30, description="memory a tier's actor may allocate, likewise"
    )
    quiet_hours: tuple[Hours, ...] = Field(
        default=(), description='when nights may run, as ["22:00-06:00"]; empty: at any time'
    )
    timezone: Zone = Field(default="UTC", description="of quiet_hours and of a day")
    max_gpu_hours_per_day: float | None = Field(
        default=None, ge=0, description="GPU-hours the pool may hold a day; null: no limit"
    )
    hot_p99_ms: float | None = Field(
        default=None,
        gt=0,
        description="the hot path's p99 from which on the pool gives way; null: not looked at",
    )
    max_queued: int | None = Field(
        default=None,
        ge=0,
        description="requests waiting at the hot path from which on the pool gives way; null: "
        "not looked at",
    )
    min_free_gpu_bytes: int | None = Field(
        default=None,
        gt=0,
        description="free memory of a shared GPU below which the pool gives way; null: not "
        "looked at",
    )
    busy_above: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of a machine's processors in live use from which on nights there hold "
        "back; 1: never",
    )
    busy_share: float = Field(
        default=0.02,
        gt=0,
        le=1,
        description="how much of one processor a thread of a night takes then",
    )
    watch_s: float = Field(
        default=0.03, gt=0, le=1, description="time between two looks at live work at night"
    )

    @model_validator(mode="after")
    def _drains_within_grace(self) -> Self:
        if self.drain_s > self.grace_s / 2:
            raise ValueError("drain_s is more than half of grace_s: live work would wait too long")
        if self.backoff_s > self.max_backoff_s:
            raise ValueError("backoff_s is more than max_backoff_s")
        return self

    @property
    def bundle(self) -> dict[str, float]:
        """What one engine's placement group asks for."""
        asked = {"CPU": self.cpus_per_engine, "GPU": self.gpus_per_engine, IDLE_RESOURCE: 1.0}
        return {name: amount for name, amount in asked.items() if amount > 0}


class Policy(_Section):
    """All of it."""

    triggers: TriggerPolicy = TriggerPolicy()
    generate: GeneratePolicy = GeneratePolicy()
    signal: SignalPolicy = SignalPolicy()
    tiers: TierPolicy = TierPolicy()
    reflect: ReflectPolicy = ReflectPolicy()
    curation: CurationPolicy = CurationPolicy()
    breakers: BreakerPolicy = BreakerPolicy()
    budget: BudgetPolicy = BudgetPolicy()
    fairness: FairnessPolicy = FairnessPolicy()
