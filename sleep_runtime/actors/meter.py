"""Counts what nights do, in the metrics of the process that does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sleep_runtime.consolidation.breakers import QUARTER
from sleep_runtime.consolidation.budget import PREFIX
from sleep_runtime.consolidation.effect import WITHOUT_EFFECT, had_input, top_reasons
from sleep_runtime.core.errors import BudgetSpent
from sleep_runtime.core.observation import Distillation
from sleep_runtime.core.ports import Engine
from sleep_runtime.core.proposal import Delta, Judgement
from sleep_runtime.core.run import Run
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import METRICS

log = get_logger(__name__)
_REFUSED = ("drop.", "wait.")


def night(run: Run, *, seconds: float) -> None:
    """Count a run as it was left, what it did not keep by code, and how long it took."""
    tier = run.scope.tier.label
    METRICS.runs.labels(run.state.value, tier, run.trigger.value).inc()
    METRICS.night_seconds.labels(tier).observe(seconds)
    METRICS.observations.labels(tier).inc(run.counts.get("observations", 0))
    for name, count in run.counts.items():
        if name.startswith(_REFUSED):
            METRICS.dropped.labels(name).inc(count)


def budget_spent(run: Run, spent: BudgetSpent) -> None:
    """Say and count which limit made a run yield."""
    METRICS.budget_spent.labels(spent.field.removeprefix(PREFIX)).inc()
    log.warning(
        LogEvent.BUDGET_SPENT, scope=run.scope, run=run.id, limit=spent.field, reason=spent.reason
    )


def committed(run: Run, *, limit: int) -> None:
    """Say and count that a breaker stopped the run, or that it ends a row of ``limit`` nights
    with input and without effect."""
    tier = run.scope.tier.label
    nights = run.counts.get(WITHOUT_EFFECT, 0)
    if nights >= limit and had_input(run):
        METRICS.without_effect.labels(tier).inc()
        log.warning(
            LogEvent.RUN_WITHOUT_EFFECT,
            scope=run.scope,
            run=run.id,
            nights=nights,
            reasons=top_reasons(run.counts),
        )
    if run.counts.get(QUARTER):
        METRICS.breakers.labels(QUARTER.removeprefix("breaker."), tier).inc()
        log.warning(LogEvent.RUN_STOPPED, scope=run.scope, run=run.id, reason=run.reason)


def deltas(committed: Sequence[Delta]) -> None:
    """Count committed changes."""
    for delta in committed:
        METRICS.deltas.labels(delta.kind.value, delta.note.scope.tier.label).inc()


@contextmanager
def engine_calls(engine: Engine, step: str) -> Iterator[None]:
    """Count what the engine uses inside the block."""
    before = engine.usage
    yield
    used = engine.usage
    METRICS.engine_calls.labels(engine.name, step).inc(used.calls - before.calls)
    METRICS.engine_tokens.labels(engine.name, "input").inc(used.input_tokens - before.input_tokens)
    METRICS.engine_tokens.labels(engine.name, "output").inc(
        used.output_tokens - before.output_tokens
    )


def problems(engine: Engine, step: str, answers: Sequence[Distillation | Judgement]) -> None:
    """Count answers that will be pinned, and those among them that were unusable."""
    METRICS.pins.labels(step).inc(len(answers))
    METRICS.engine_problems.labels(engine.name, step).inc(
        sum(1 for answer in answers if answer.problem)
    )
