"""Counts what nights do, in the metrics of the process that does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sleep_runtime.core.observation import Distillation
from sleep_runtime.core.ports import Engine
from sleep_runtime.core.proposal import Delta, Judgement
from sleep_runtime.core.run import Run
from sleep_runtime.telemetry.metrics import METRICS

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
