"""The table of log events: a log line is one of these names with fields."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class LogEvent(StrEnum):
    """A log event's name, ``noun.happened``, and in ``meaning`` what it says."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    # the runtime
    RUNTIME_STARTING = "runtime.starting", "a stage of the start began"
    RUNTIME_READY = "runtime.ready", "every part answers"
    RUNTIME_DRAINING = "runtime.draining", "no new work is taken, running work ends"
    RUNTIME_STOPPED = "runtime.stopped", "every part has ended"
    CONFIG_LOADED = "config.loaded", "the settings this process works with"
    OWNER_STARTED = "owner.started", "an actor that owns a file is ready"
    OWNER_AWAY = "owner.away", "the actor that owns a file did not answer; the call is repeated"
    ACTOR_STARTED = "actor.started", "an actor is ready"
    ACTOR_AWAY = "actor.away", "an actor did not answer"
    ACTOR_STOPPED = "actor.stopped", "an actor was asked to end"
    POOL_STATE = "pool.state", "the idle pool is in another state than before"
    POOL_ENGINE = "pool.engine", "one engine of the idle pool was made, closed, aborted or removed"
    POOL_YIELDED = "pool.yielded", "the idle pool gave its bundle to live work"
    POOL_BLIND = "pool.blind", "the cluster does not say what waits; the idle pool stays as it is"
    POOL_STUCK = "pool.stuck", "a bundle was given back and is not free yet"
    PRIORITY_REFUSED = "priority.refused", "the system did not grant the scheduling priority"

    # capture
    CAPTURE_TAKEN = "capture.taken", "a batch of events is on the disk"
    CAPTURE_REFUSED = "capture.refused", "events of a batch were refused"
    CAPTURE_OVERLOADED = "capture.overloaded", "the journal's queue is full"
    JOURNAL_FULL = "journal.full", "no space is left for events"
    REQUEST_FAILED = "request.failed", "a request was answered with an error of ours"

    # access
    AUDIT_MISSED = "audit.missed", "a read or a refusal could not be entered into the audit log"
    AUTH_TOKEN_REFUSED = "auth.token_refused", "a token of the identity provider proves nothing"
    AUTH_KEYS_AWAY = "auth.keys_away", "the identity provider's keys could not be fetched"

    # presentation
    SEARCH_DEGRADED = "search.degraded", "a part of search cannot be used; the others answer"
    COMPILER_REFUSED = "compiler.refused", "an installed compiler cannot be used; the others work"

    # the night
    TICK_FAILED = "tick.failed", "the scheduler could not look for due nights"
    NIGHT_DUE = "night.due", "a scope's night is due and was handed to its tier"
    NIGHT_REQUESTED = "night.requested", "somebody asked for a night"
    NIGHT_POSTPONED = "night.postponed", "a scope is not considered due for a while"
    LEASE_BUSY = "lease.busy", "another owner works on the scope"
    LEASE_LOST = "lease.lost", "the scope was taken over; this owner writes no more"
    RUN_PLANNED = "run.planned", "a run has its input"
    RUN_RESUMED = "run.resumed", "a run that stood still goes on"
    RUN_STEPPED = "run.stepped", "a run reached its next state"
    RUN_YIELDED = "run.yielded", "a run gave its place back and will go on later"
    RUN_FAILED = "run.failed", "an error nobody foresaw stopped a run; it is tried again later"
    RUN_ABANDONED = "run.abandoned", "a run was given up, with the reason"
    RUN_INTERRUPTED = "run.interrupted", "a run broke off; the next tick takes it up"
    RUN_DONE = "run.done", "a run is projected"
    RUN_WITHOUT_EFFECT = "run.without_effect", "night after night input changes nothing"
    RUN_STOPPED = "run.stopped", "a breaker kept notes that a night would have lost"
    BUDGET_SPENT = "budget.spent", "a run used up what it, its organisation or a night may use"
    BUDGET_HOLDS = "budget.holds", "nights wait until there is room in a budget again"
    BUDGET_FREE = "budget.free", "nights that waited for a budget may start again"

    # erasure
    ERASURE_STEPPED = "erasure.stepped", "a step of an erasure is done"
    ERASURE_DONE = "erasure.done", "an erasure is over and its receipt is kept"
    ERASURE_FAILED = "erasure.failed", "an erasure could not go on; it is tried again later"
    ERASURE_HITS = "erasure.hits", "the scan after an erasure found what should be gone"

    # engines
    ENGINE_PROBLEM = "engine.problem", "an answer was unusable and changes nothing"
    ENGINE_UNAVAILABLE = "engine.unavailable", "the model cannot be reached"
    ENGINE_LOADED = "engine.loaded", "the model is in memory and answers"
    ENGINE_NO_SLEEP = "engine.no_sleep", "the engine cannot give its memory back and stay"
    ENGINE_RETRIED = "engine.retried", "a call to the model is repeated"

    # the index
    PROJECTED = "index.projected", "outbox marks were applied to the index and cleared"
    PROJECT_FAILED = "index.project_failed", "marks stay for the next attempt"
    INDEX_RECONCILED = "index.reconciled", "index and ledger were compared and made equal"
    INDEX_REBUILT = "index.rebuilt", "readers use a new generation of the index"
    INDEX_STUCK = "index.stuck", "the index does not come back; its owner ends and starts again"
    INDEX_BROKEN = "index.broken", "the index could not be read; searches are exact"

    # tests of failure
    FAILPOINT_HIT = "failpoint.hit", "a fail point that was armed on purpose fired"
