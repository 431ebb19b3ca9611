"""What the governor promises in any weather, over random traces of a small cluster."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pool_world import NIGHT, Arrival, PoolWorld, Site, Span, Weather

from sleep_runtime.consolidation.claims import claimed, fits, selects
from sleep_runtime.consolidation.governor import WIND_DOWN_S, decide, desired, within
from sleep_runtime.core.policy import PoolPolicy
from sleep_runtime.core.pool import (
    IDLE_LABELS,
    ActionKind,
    Ask,
    Decision,
    EnginePhase,
    EngineView,
    NodeView,
    Snapshot,
)

TRACE_S = 90.0
HOUR_S = 3600.0

POLICY = PoolPolicy(
    gpus_per_engine=1,
    cpus_per_engine=1,
    max_engines=2,
    tokens_per_engine=1_000,
    grace_s=2.0,
    hysteresis_s=2.0,
    backoff_s=2.0,
    max_backoff_s=16.0,
    idle_timeout_s=4.0,
    node_timeout_s=15.0,
    start_timeout_s=20.0,
    silence_s=30.0,
    hot_p99_ms=100.0,
    watch_s=0.3,
)


def spans(most: int = 2, longest: float = 20.0) -> st.SearchStrategy[tuple[Span, ...]]:
    times = st.floats(0, TRACE_S, allow_nan=False).map(lambda at: round(at, 1))
    lengths = st.floats(0.1, longest).map(lambda length: round(length, 1))
    one = st.tuples(times, lengths).map(lambda pair: (pair[0], round(pair[0] + pair[1], 1)))
    return st.lists(one, max_size=most).map(tuple)


ASKS = st.builds(
    Ask,
    st.sampled_from(
        [
            {"GPU": 1.0},
            {"GPU": 1.0, "CPU": 1.0},
            {"CPU": 2.0},
            {"GPU": 2.0},
            {"CPU": 1.0},
            {"GPU": 8.0},
        ]
    ),
    st.sampled_from([{}, {"pool": "idle"}, {"pool": "live"}, {"pool": "!live"}]),
)
ARRIVALS = st.lists(
    st.builds(
        Arrival,
        st.floats(0, TRACE_S).map(lambda at: round(at, 1)),
        ASKS,
        st.floats(0.5, 15).map(lambda stay: round(stay, 1)),
    ),
    max_size=12,
).map(tuple)
SITES = st.sampled_from(
    [
        Site(),
        Site(live=({"GPU": 2.0, "CPU": 4.0},), most_idle=1),
        Site(live=(), idle={"GPU": 2.0, "CPU": 4.0, "idle_pool": 2.0}, most_idle=2),
        Site(node_delay_s=0.0, load_s=0.3, job_s=4.0),
    ]
)
POLICIES = st.builds(
    lambda drain_s, watch_s, engines, hours: POLICY.model_copy(
        update={
            "drain_s": drain_s,
            "watch_s": watch_s,
            "max_engines": engines,
            "quiet_hours": hours,
        }
    ),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.2, 0.4, 1.0]),
    st.integers(1, 3),
    st.sampled_from([(), ("22:02-22:01",), ("22:01-22:00",)]),
)
"""With hours, nights are shut for one minute: the second of a trace, or its first."""
WEATHERS = st.builds(
    Weather,
    arrivals=ARRIVALS,
    work=st.lists(
        st.tuples(st.floats(0, TRACE_S).map(lambda at: round(at, 1)), st.integers(1, 40)),
        min_size=1,
        max_size=4,
    ).map(lambda work: tuple((at, 100 * jobs) for at, jobs in work)),
    pressure=spans(4, 6.0),
    blind=spans(),
    asked=spans(1),
    no_quota=spans(1, 40.0),
    drains=st.lists(st.integers(0, int(TRACE_S)).map(float), max_size=2).map(tuple),
    bad_start=spans(1),
    bad_work=spans(1),
    pounce=spans(1, 60.0).map(lambda found: found[0] if found else (0.0, 0.0)),
)

# A trace takes a tenth of a second: explaining a failure line by line would take minutes.
quick = settings(
    max_examples=int(os.environ.get("GOVERNOR_TRACES", "30")),
    deadline=None,
    derandomize="GOVERNOR_TRACES" not in os.environ,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)


def checked(snapshot: Snapshot, policy: PoolPolicy) -> Decision:
    """Decides, and holds the decision against what must be true of every single one."""
    decision = decide(snapshot, policy)
    assert decision.look_again_s > 0
    if not snapshot.demand.known:
        assert decision.actions == ()
        assert decision.state == "blind"
        return decision
    by_index = {engine.index: engine for engine in snapshot.engines}
    kinds: dict[int, list[ActionKind]] = {}
    for action in decision.actions:
        assert action.reason
        kinds.setdefault(action.engine, []).append(action.kind)
    for index, done in kinds.items():
        assert done in ALLOWED, f"engine {index}: {done}"
        if done == [ActionKind.CREATE]:
            assert index not in by_index
            assert index < policy.max_engines
            assert snapshot.backlog.scopes > 0, "a node without backlog"
        else:
            assert index in by_index
    count = len(by_index) - sum(ActionKind.REMOVE in done for done in kinds.values())
    created = sum(ActionKind.CREATE in done for done in kinds.values())
    assert not created or count + created <= desired(snapshot, policy)
    if not decision.actions and round(snapshot.now_s * 10) % 8:
        return decision
    again = decide(after(snapshot, decision), policy)
    assert again.actions == (), f"{decision.actions} then {again.actions}"
    assert again.state == decision.state
    return decision


C, A, R = ActionKind.CLOSE, ActionKind.ABORT, ActionKind.REMOVE
ALLOWED = (
    *([ActionKind.CREATE], [ActionKind.ADMIT]),
    *([C], [A], [R], [C, A], [C, R], [A, R], [C, A, R]),
)
"""What one decision may do to one engine, in this order."""


def after(snapshot: Snapshot, decision: Decision) -> Snapshot:
    """The same moment with everything done."""
    engines = {engine.index: engine for engine in snapshot.engines}
    to = {C: EnginePhase.CLOSED, A: EnginePhase.PAUSED, ActionKind.ADMIT: EnginePhase.OPEN}
    for action in decision.actions:
        if action.kind is ActionKind.CREATE:
            fresh = EngineView(action.engine, EnginePhase.WAITING, snapshot.now_s)
            engines[action.engine] = fresh
        elif action.kind is R:
            engines.pop(action.engine)
        else:
            engine = engines[action.engine]
            flying = 0 if action.kind is A else engine.in_flight
            phase = to[action.kind]
            engines[action.engine] = replace(
                engine, phase=phase, since_s=snapshot.now_s, in_flight=flying
            )
    return replace(snapshot, engines=tuple(engines.values()), memory=decision.memory)


@quick
@given(POLICIES, WEATHERS, SITES)
def test_in_any_weather(policy: PoolPolicy, weather: Weather, site: Site) -> None:
    """Grace, single decisions, accounts and liveness of one trace: a trace costs most to run."""
    world = PoolWorld(policy, weather, site, decide=checked)
    calm_s = max(TRACE_S, weather.calm_from_s())
    world.run(calm_s)
    assert world.longest_wait_s <= policy.grace_s + 1e-6
    assert len(world.opened_s) <= most_opens(policy, calm_s, weather)

    world.run(calm_s + drains_within_s(policy, weather, site))
    assert world.tokens == 0, "the backlog does not drain"
    world.run(world.now_s + policy.idle_timeout_s + policy.hysteresis_s + site.node_idle_s + 3)
    assert not world.engines
    assert not [name for name in world.nodes if name.startswith("idle")], "a node is held"
    assert decide(world.snapshot(), policy).state == "asleep"

    seen = world.memory.gpu_seconds
    look_s = 0.5 + site.step_s
    assert seen == pytest.approx(sum(world.gpu_seconds.values()), abs=world.moves * look_s + 1)


def drains_within_s(policy: PoolPolicy, weather: Weather, site: Site) -> float:
    """Longest from the last trouble to the end of the backlog, with one engine at work."""
    away = policy.max_backoff_s + policy.hysteresis_s
    stuck = policy.node_timeout_s + policy.max_backoff_s
    start = site.node_delay_s + site.load_s
    jobs = sum(tokens for _, tokens in weather.work) / 100
    waits = sum(each.stays_s for each in weather.arrivals)
    return away + stuck + start + jobs * (site.job_s + site.step_s) + waits + 70


def most_increments(policy: PoolPolicy, window_s: float) -> int:
    """How often one kind of trouble can double, or restart, its back-off within a window.

    A row of such troubles has m = ceil(log2(max / first)) waits shorter than the longest. A new
    row begins only after twice the longest without one; the other waits are the longest.
    """
    longest = policy.max_backoff_s
    short = math.ceil(math.log2(longest / policy.backoff_s))
    rows = 1 + math.floor(window_s / (2 * longest))
    return short * rows + math.floor(window_s / longest) + 1


def most_opens(policy: PoolPolicy, window_s: float, weather: Weather) -> int:
    """Between two openings of an engine lies a yield, a failure, or the end of work or hours."""
    ends = len(weather.work) + len(policy.quiet_hours)
    each = 1 + 2 * most_increments(policy, window_s) + ends
    return policy.max_engines * each


LONG = POLICY.model_copy(
    update={
        "max_engines": 1,
        "backoff_s": 10.0,
        "max_backoff_s": 900.0,
        "hysteresis_s": 10.0,
        "grace_s": 5.0,
        "watch_s": 1.0,
        "idle_timeout_s": 60.0,
    }
)
POUNCE = Weather(work=((0.0, 10_000_000),), pounce=(0.0, HOUR_S))
QUICK_SITE = Site(node_delay_s=1.0, load_s=1.0, node_idle_s=1e9, step_s=1.0)
FLICKER = Weather(
    work=((0.0, 10_000_000),),
    pressure=tuple((25.0 * turn, 25.0 * turn + 2.0) for turn in range(144)),
)
CRASHES = Weather(
    work=((0.0, 10_000_000),),
    bad_work=tuple((15.0 * turn + 14.0, 15.0 * turn + 15.0) for turn in range(240)),
)
HOSTILE = {"pounce": POUNCE, "flicker": FLICKER, "crashes": CRASHES}


@pytest.mark.parametrize("watch_s", [0.2, 1.0])
@pytest.mark.parametrize("drain_s", [0.0, 0.7])
def test_work_that_would_take_long_keeps_nobody_waiting(drain_s: float, watch_s: float) -> None:
    policy = POLICY.model_copy(update={"grace_s": 1.4, "drain_s": drain_s, "watch_s": watch_s})
    weather = Weather(work=((0.0, 100_000),), pounce=(0.0, 120.0))
    world = PoolWorld(policy, weather, Site(job_s=60.0, load_s=2.2), decide=checked).run(120.0)
    assert len(world.opened_s) > 2
    assert drain_s <= world.longest_wait_s <= policy.grace_s


def opens_in_the_worst_hour(world: PoolWorld) -> int:
    return max(
        (
            sum(1 for other, _ in world.opened_s if at <= other < at + HOUR_S)
            for at, _ in world.opened_s
        ),
        default=0,
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_hour_opens_the_pool_a_few_times(name: str) -> None:
    world = PoolWorld(LONG, HOSTILE[name], QUICK_SITE).run(HOUR_S)
    opens = opens_in_the_worst_hour(world)
    assert 2 <= opens <= 1 + most_increments(LONG, HOUR_S)


@pytest.mark.parametrize("name", HOSTILE)
def test_without_back_off_the_bound_does_not_hold(name: str) -> None:
    def eager(snapshot: Snapshot, policy: PoolPolicy) -> Decision:
        decision = decide(snapshot, policy)
        return replace(decision, memory=replace(decision.memory, not_before_s=0.0))

    world = PoolWorld(LONG, HOSTILE[name], QUICK_SITE, decide=eager).run(HOUR_S)
    assert opens_in_the_worst_hour(world) > 1 + most_increments(LONG, HOUR_S)


@pytest.mark.parametrize("start", [NIGHT, datetime(2026, 3, 28, 22, 0, tzinfo=ZoneInfo("UTC"))])
def test_quiet_hours_and_the_accounts_of_two_days(start: datetime) -> None:
    """Over a midnight of the policy's zone, once before the clocks change."""
    policy = POLICY.model_copy(
        update={"timezone": "Europe/Zurich", "quiet_hours": ("23:00-00:30",), "watch_s": 1.0}
    )
    weather = Weather(work=((0.0, 10_000_000),))
    world = PoolWorld(policy, weather, Site(job_s=200.0, step_s=1.0), start=start, decide=checked)
    world.run(1.6 * HOUR_S)
    zone = ZoneInfo("Europe/Zurich")
    ended = None
    days: Counter[str] = Counter()
    for snapshot, decision in world.decisions:
        days[decision.memory.day] = round(decision.memory.gpu_seconds)
        if within(policy.quiet_hours, snapshot.now.astimezone(zone).time()):
            ended = None
            continue
        ended = snapshot.now_s if ended is None else ended
        late = snapshot.now_s - ended > WIND_DOWN_S + policy.watch_s
        assert not (late and snapshot.engines)
        assert not [e for e in decision.actions if e.kind is ActionKind.CREATE]
    assert len(days) == 2
    for day, spent in days.items():
        assert spent == pytest.approx(world.gpu_seconds[day], abs=0.6 * world.moves + 2)
        assert (spent > 0) == (world.gpu_seconds[day] > 0)


def test_a_days_gpu_hours_are_kept_to() -> None:
    policy = POLICY.model_copy(update={"max_gpu_hours_per_day": 0.1, "watch_s": 1.0})
    site = Site(job_s=200.0, step_s=1.0)
    world = PoolWorld(policy, Weather(work=((0.0, 10_000_000),)), site, decide=checked)
    world.run(3 * HOUR_S)
    over_s = policy.max_engines * (WIND_DOWN_S + 2 * policy.watch_s)
    assert [360 <= spent <= 360 + over_s for spent in world.gpu_seconds.values()] == [True, True]


NODES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans(), st.booleans()), max_size=4
)
PHASES = st.sampled_from([phase for phase in EnginePhase if phase is not EnginePhase.WAITING])


@settings(quick, max_examples=200)
@given(NODES, st.lists(st.tuples(PHASES, st.integers(0, 3)), max_size=6), st.lists(ASKS), st.data())
def test_no_more_is_claimed_than_helps_and_in_no_order(
    shapes: list[tuple[int, int, bool, bool]],
    crew: list[tuple[EnginePhase, int]],
    asks: list[Ask],
    data: st.DataObject,
) -> None:
    bundle = POLICY.bundle
    nodes = [
        NodeView(
            f"n{number}",
            {},
            {"GPU": float(gpus), "CPU": float(cpus), "idle_pool": 0.0},
            IDLE_LABELS if idle else {"pool": "live"},
            draining,
        )
        for number, (gpus, cpus, idle, draining) in enumerate(shapes)
    ]
    engines = [
        EngineView(index, phase, 0.0, f"n{node}") for index, (phase, node) in enumerate(crew)
    ]
    found = claimed(asks, nodes, engines, bundle)
    other = data.draw(
        st.tuples(st.permutations(asks), st.permutations(nodes), st.permutations(engines))
    )
    assert found == claimed(other[0], other[1], other[2], bundle)
    if len(asks) == 1:
        assert len(found) == fewest(asks[0], nodes, engines)


def fewest(ask: Ask, nodes: list[NodeView], engines: list[EngineView]) -> int:
    """By brute force: the fewest engines of any one node, or none where that does not help."""
    counts = []
    for node in nodes:
        if node.draining or not selects(ask.labels, node.labels):
            continue
        here = sum(1 for engine in engines if engine.node == node.id)
        for count in range(here + 1):
            room = {
                name: node.free.get(name, 0.0) + count * POLICY.bundle.get(name, 0.0)
                for name in ("GPU", "CPU", "idle_pool")
            }
            if fits(ask.resources, room):
                counts.append(count)
    return min(counts, default=0)


@settings(quick, max_examples=15)
@given(WEATHERS, SITES, st.integers(0, 2**16))
def test_a_decision_depends_on_no_order(weather: Weather, site: Site, seed: int) -> None:
    shuffled = random.Random(seed)

    def mixed(snapshot: Snapshot, policy: PoolPolicy) -> Decision:
        decision = decide(snapshot, policy)
        asks = snapshot.demand.asks
        other = replace(
            snapshot,
            engines=tuple(shuffled.sample(snapshot.engines, len(snapshot.engines))),
            nodes=tuple(shuffled.sample(snapshot.nodes, len(snapshot.nodes))),
            demand=replace(snapshot.demand, asks=tuple(shuffled.sample(asks, len(asks)))),
        )
        assert decide(other, policy) == decision == decide(snapshot, policy)
        return decision

    PoolWorld(POLICY, weather, site, decide=mixed).run(40)
