"""The table of metrics, and how the values of many processes become one page.

Each process counts in its own registry. Only the process that serves HTTP is scraped, so the
others hand over a ``snapshot`` when asked and ``merge`` sums them. Gauges are summed too: each of
them is therefore set by one process only, or means a share of a whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast, overload

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric as Family

Kind = Literal["counter", "gauge", "histogram"]
C = TypeVar("C", bound=Counter | Gauge | Histogram)

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SLOW_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_SIZES = (1, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 100_000)


class Row(Generic[C]):
    """One row of the table. As an attribute of ``Metrics`` it is the collector, made when used.

    ``buckets`` are upper bounds in the metric's unit.
    """

    def __init__(
        self,
        kind: type[C],
        name: str,
        help: str,  # noqa: A002 - the word of the text format
        labels: tuple[str, ...] = (),
        buckets: tuple[float, ...] = (),
    ) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.buckets = buckets
        self._make: Any = kind

    @property
    def kind(self) -> Kind:
        kinds: dict[type, Kind] = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
        return kinds[self._make]

    @overload
    def __get__(self, owner: None, kind: type[Metrics]) -> Row[C]: ...

    @overload
    def __get__(self, owner: Metrics, kind: type[Metrics]) -> C: ...

    def __get__(self, owner: Metrics | None, kind: type[Metrics]) -> Row[C] | C:
        return self if owner is None else owner.collector(self)

    def make(self, into: CollectorRegistry) -> C:
        """A new collector of this row in a registry."""
        extra = {"buckets": self.buckets} if self.buckets else {}
        return cast("C", self._make(self.name, self.help, self.labels, registry=into, **extra))


class Metrics:
    """The table, and its collectors in one registry, made when first used, in any thread.

    ``metrics.search_seconds.time()``, ``metrics.runs.labels("projected", "team", "cadence").inc()``
    """

    # capture
    capture_events = Row(
        Counter,
        "sleep_capture_events_total",
        "Events by what became of them: accepted, duplicate, rejected or conflict.",
        ("outcome",),
    )
    capture_batch_events = Row(
        Histogram, "sleep_capture_batch_events", "Events in one request.", (), _SIZES
    )
    journal_append_seconds = Row(
        Histogram, "sleep_journal_append_seconds", "From parsed to durable.", (), _FAST_S
    )
    journal_queue_events = Row(Gauge, "sleep_journal_queue_events", "Events waiting for the disk.")
    overloaded = Row(
        Counter,
        "sleep_overloaded_total",
        "Refusals because too much waits: at the journal, or in a replica.",
        ("queue",),
    )

    # access
    auth_refused = Row(
        Counter,
        "sleep_auth_refused_total",
        "Requests refused because it is not known who asks: key, token, or missing.",
        ("what",),
    )

    # retrieval
    search_seconds = Row(Histogram, "sleep_search_seconds", "One search.", (), _FAST_S)
    context_seconds = Row(Histogram, "sleep_context_seconds", "One context.", (), _FAST_S)
    search_degraded = Row(
        Counter,
        "sleep_search_degraded_total",
        "Searches answered without a part: embedder (by words alone) or index (from the ledger).",
        ("part",),
    )

    # the night
    runs = Row(Counter, "sleep_runs_total", "Runs that ended.", ("state", "tier", "trigger"))
    night_seconds = Row(
        Histogram, "sleep_night_seconds", "One run from lease to end.", ("tier",), _SLOW_S
    )
    observations = Row(Counter, "sleep_observations_total", "Observations distilled.", ("tier",))
    deltas = Row(Counter, "sleep_deltas_total", "Committed changes of notes.", ("kind", "tier"))
    without_effect = Row(
        Counter,
        "sleep_runs_without_effect_total",
        "Runs that ended a row of nights with input and without any change.",
        ("tier",),
    )
    breakers = Row(
        Counter, "sleep_breakers_total", "Nights a breaker stopped.", ("breaker", "tier")
    )
    budget_spent = Row(
        Counter,
        "sleep_budget_spent_total",
        "Runs that yielded because a budget is spent, by the limit below policy.budget.",
        ("limit",),
    )
    held_tenants = Row(
        Gauge,
        "sleep_held_tenants",
        "Organisations whose nights wait for room in a budget of their own or of all.",
    )
    dropped = Row(Counter, "sleep_dropped_total", "What a night did not keep, by code.", ("code",))
    pins = Row(Counter, "sleep_pins_total", "Model outputs remembered.", ("step",))
    lease_lost = Row(Counter, "sleep_lease_lost_total", "Scopes taken over while held.")
    pending_events = Row(Gauge, "sleep_pending_events", "Events that no night has read.", ("tier",))
    pending_observations = Row(
        Gauge, "sleep_pending_observations", "Observations that no night has weighed.", ("tier",)
    )

    backlog_age_seconds = Row(
        Gauge, "sleep_backlog_age_seconds", "How long the oldest pending thing has waited."
    )

    # engines
    engine_calls = Row(Counter, "sleep_engine_calls_total", "Questions asked.", ("engine", "step"))
    engine_tokens = Row(
        Counter, "sleep_engine_tokens_total", "Tokens, input and output.", ("engine", "direction")
    )
    engine_problems = Row(
        Counter, "sleep_engine_problems_total", "Unusable answers.", ("engine", "step")
    )

    engine_together = Row(
        Histogram,
        "sleep_engine_together",
        "Calls of nights that one engine worked on, counted as each began.",
        (),
        (1, 2, 4, 8, 16, 32, 64),
    )

    # the idle pool
    pool_state = Row(
        Gauge, "sleep_pool_state", "1 for the state the idle pool is in, else 0.", ("state",)
    )
    pool_engines = Row(Gauge, "sleep_pool_engines", "Engines asked for, starting or open.")
    pool_created = Row(Counter, "sleep_pool_created_total", "Engines asked for.")
    pool_removed = Row(
        Counter,
        "sleep_pool_removed_total",
        "Engines removed: yield, because live work came first, or other.",
        ("why",),
    )
    pool_yield_seconds = Row(
        Histogram,
        "sleep_pool_yield_seconds",
        "From seeing that live work waits to the bundle being free.",
        (),
        _FAST_S,
    )
    pool_failures = Row(Gauge, "sleep_pool_failures", "Starts of an engine that failed in a row.")
    pool_gpu_seconds = Row(
        Counter, "sleep_pool_gpu_seconds_total", "Time the idle pool held GPUs, times GPUs."
    )

    held_back_seconds = Row(
        Counter,
        "sleep_held_back_seconds_total",
        "Time that threads of nights waited because live work wanted the processors.",
    )

    # the index
    outbox_marks = Row(Gauge, "sleep_outbox_marks", "Notes waiting to be projected.")
    projected = Row(Counter, "sleep_projected_total", "Notes projected into the index.")

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def collector(self, row: Row[C]) -> C:
        """The row's collector in this registry."""
        made = self._made.get(row.name)
        if made is None:
            with self._lock:
                if row.name not in self._made:
                    self._made[row.name] = row.make(self.registry)
                made = self._made[row.name]
        return cast("C", made)


TABLE: dict[str, Row[Any]] = {
    row.name: row for row in vars(Metrics).values() if isinstance(row, Row)
}

METRICS = Metrics()
"""The metrics of this process."""


class Sample(NamedTuple):
    """One value of one process, small and plain: it crosses a process boundary."""

    name: str
    labels: dict[str, str]
    value: float
    kind: str


def registry() -> CollectorRegistry:
    """The registry of this process."""
    return METRICS.registry


def render(of: CollectorRegistry) -> bytes:
    """One registry as Prometheus text."""
    return merge([snapshot(of)])


def snapshot(of: CollectorRegistry) -> list[Sample]:
    """Every value of a registry. Creation times are left out: they cannot be summed."""
    return [
        Sample(sample.name, dict(sample.labels), sample.value, family.type)
        for family in of.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


def merge(snapshots: Iterable[Sequence[Sample]]) -> bytes:
    """Sum snapshots of several processes into Prometheus text, in the order of the table."""
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    kinds: dict[str, str] = {}
    for sample in (sample for one in snapshots for sample in one):
        key = (sample.name, tuple(sample.labels.items()))
        sums[key] = sums.get(key, 0.0) + sample.value
        kinds[sample.name] = sample.kind
    families: dict[str, Family] = {}
    for (name, labels), value in sums.items():
        family = families.setdefault(_base(name, kinds[name]), _family(name, kinds[name]))
        family.add_sample(name, dict(labels), value)
    return generate_latest(_Page(families))


class _Page(CollectorRegistry):
    """Families that are ready, in the order of the table; foreign ones last."""

    def __init__(self, families: dict[str, Family]) -> None:
        super().__init__()
        order = {_base(row.name, row.kind): place for place, row in enumerate(TABLE.values())}
        names = sorted(families, key=lambda name: (order.get(name, len(order)), name))
        self._families = [families[name] for name in names]

    def collect(self) -> Iterable[Family]:
        return self._families


def _base(name: str, kind: str) -> str:
    """The family of a sample: its name without what the kind adds."""
    if kind == "counter":
        return name.removesuffix("_total")
    if kind == "histogram":
        for suffix in ("_bucket", "_count", "_sum"):
            if name.endswith(suffix):
                return name.removesuffix(suffix)
    return name


def _family(name: str, kind: str) -> Family:
    base = _base(name, kind)
    row = next((r for r in TABLE.values() if _base(r.name, r.kind) == base), None)
    return Family(base, row.help if row else base, kind)
