"""The governor, rung by rung: what it does, and how it says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from pool_world import Arrival, PoolWorld, Site, Weather

from sleep_runtime.consolidation.governor import (
    IDLE_LOOK_S,
    WAITING_LOOK_S,
    WIND_DOWN_S,
    backoff_s,
    decide,
    desired,
    within,
)
from sleep_runtime.core.policy import PoolPolicy
from sleep_runtime.core.pool import (
    IDLE_LABELS,
    Ask,
    Backlog,
    Decision,
    Demand,
    EnginePhase,
    EngineView,
    Memory,
    NodeView,
    PoolState,
    Snapshot,
)

NOW = 10_000.0
AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
POLICY = PoolPolicy(
    gpus_per_engine=1,
    max_engines=3,
    tokens_per_engine=1_000,
    hot_p99_ms=100,
    max_queued=5,
    min_free_gpu_bytes=1_000,
)
WORK = Backlog(scopes=3, tokens=900)
NODE = NodeView("n", {"GPU": 1.0}, {"GPU": 0.0, "CPU": 0.0, "idle_pool": 0.0}, IDLE_LABELS)
SPENT = Memory(seen_s=NOW, day="2026-11-26", gpu_seconds=7_200.0)
FRESH = Memory()
QUIET = Demand()
CLAIM = "live work waits for GPU 1"
PRESSED = Demand(hot_p99_ms=250.0)
SLOW = "the hot path's p99 is 250 ms"
OUTSIDE = "outside quiet hours (22:00-06:00 UTC)"
ASKED = Demand(asks=(Ask({"GPU": 1.0}),))


def engine(phase: str, age_s: float = 0.0, index: int = 0, **more: Any) -> EngineView:
    return EngineView(index, EnginePhase(phase), NOW - age_s, node="n", **more)


def look(
    *engines: EngineView,
    demand: Demand = QUIET,
    backlog: Backlog = WORK,
    memory: Memory = FRESH,
    nodes: Sequence[NodeView] = (NODE,),
    now: datetime = AT,
    **policy: Any,
) -> Decision:
    snapshot = Snapshot(NOW, now, demand, engines, tuple(nodes), backlog, memory)
    return decide(snapshot, PoolPolicy.model_validate(POLICY.model_dump() | policy))


def pressed(lasted_s: float) -> Memory:
    return Memory(pressed_since_s=NOW - lasted_s, calm_since_s=None)


def done(decision: Decision) -> str:
    return " ".join(f"{action.kind}:{action.engine}" for action in decision.actions)


NIGHT_ONLY: dict[str, Any] = {"quiet_hours": ("22:00-06:00",)}
DRAINS: dict[str, Any] = {"drain_s": 2.0}
RUNGS: list[tuple[str, Decision, str, str, str]] = [
    # what is the case, the decision, its actions, the state and the reason that people read
    ("nothing to do", look(backlog=Backlog()), "", "asleep", "nothing is due"),
    ("work", look(), "create:0", "waiting for a node", ""),
    ("much work", look(backlog=Backlog(9, 2_500)), "create:0 create:1 create:2", "waiting", ""),
    ("a free index", look(engine("open", index=1), backlog=Backlog(9, 2_000)), "create:0", "o", ""),
    ("loads", look(engine("starting")), "", "starting", ""),
    ("works", look(engine("open", in_flight=2)), "", "open", ""),
    ("idle", look(engine("open"), backlog=Backlog()), "", "open", ""),
    (
        "idle for long",
        look(engine("open"), backlog=Backlog(), memory=Memory(idle_since_s=NOW - 60)),
        "remove:0",
        "asleep",
        "nothing is due",
    ),
    (
        "a node is asked for in vain",
        look(engine("waiting"), backlog=Backlog(), memory=Memory(idle_since_s=NOW - 10)),
        "remove:0",
        "asleep",
        "nothing is due",
    ),
    (
        "one too many: what is not loaded goes",
        look(engine("open"), engine("starting", index=1), memory=Memory(idle_since_s=NOW - 60)),
        "remove:1",
        "open",
        "",
    ),
    (
        "claimed",
        look(engine("open", in_flight=1), demand=ASKED),
        "close:0 abort:0 remove:0",
        "held",
        CLAIM,
    ),
    ("claimed idle", look(engine("open"), demand=ASKED), "close:0 remove:0", "held back", CLAIM),
    ("claimed loading", look(engine("starting"), demand=ASKED), "remove:0", "held back", CLAIM),
    ("drains", look(engine("open", in_flight=1), demand=ASKED, **DRAINS), "close:0", "clos", CLAIM),
    (
        "still drains",
        look(engine("closed", 1.9, in_flight=1), demand=ASKED, **DRAINS),
        "",
        "closed",
        CLAIM,
    ),
    (
        "drained long enough",
        look(engine("closed", 2.0, in_flight=1), demand=ASKED, **DRAINS),
        "abort:0 remove:0",
        "held back",
        CLAIM,
    ),
    (
        "live work waited for another engine's drain",
        look(
            engine("open", in_flight=1),
            demand=ASKED,
            memory=Memory(claimed_since_s=NOW - 2, calm_since_s=None),
            **DRAINS,
        ),
        "close:0 abort:0 remove:0",
        "held back",
        CLAIM,
    ),
    (
        "what was just given back is not asked for twice",
        look(engine("open", 10), demand=ASKED, memory=Memory(given=(("n", NOW - 0.9),))),
        "",
        "open",
        "",
    ),
    (
        "what was given back a while ago was not enough",
        look(engine("open", 10), demand=ASKED, memory=Memory(given=(("n", NOW - 1.0),))),
        "close:0 remove:0",
        "held back",
        CLAIM,
    ),
    (
        "an engine has come since",
        look(engine("starting", 0.5), demand=ASKED, memory=Memory(given=(("n", NOW - 0.9),))),
        "remove:0",
        "held back",
        CLAIM,
    ),
    (
        "asked by name",
        look(engine("waiting"), demand=Demand(asked_until_s=NOW + 60)),
        "remove:0",
        "held back",
        "it was asked to give way",
    ),
    (
        "asked by name, long ago gone",
        look(demand=Demand(asked_until_s=NOW + 60)),
        "",
        "held back",
        "it was asked to give way",
    ),
    ("asked until now", look(demand=Demand(asked_until_s=NOW)), "create:0", "waiting", ""),
    (
        "its node is taken",
        look(engine("open"), nodes=[replace(NODE, draining=True)]),
        "close:0 remove:0",
        "held back",
        "its node is taken away",
    ),
    (
        "memory is short",
        look(engine("open"), demand=Demand(free_gpu_bytes=999)),
        "close:0 remove:0",
        "held back",
        "live work needs GPU memory: 999 bytes are free",
    ),
    (
        "memory is short, and no engine is there",
        look(demand=Demand(free_gpu_bytes=999)),
        "",
        "held back",
        "live work needs GPU memory: 999 bytes are free",
    ),
    ("memory is enough", look(demand=Demand(free_gpu_bytes=1_000)), "create:0", "waiting", ""),
    ("pressure", look(engine("open", in_flight=1), demand=PRESSED), "close:0", "closed", SLOW),
    (
        "a queue",
        look(engine("open"), demand=Demand(queued=6)),
        "close:0",
        "closed",
        "6 requests wait at the hot path",
    ),
    ("no pressure yet", look(engine("open"), demand=Demand(queued=5)), "", "open", ""),
    ("pressure on what loads", look(engine("starting"), demand=PRESSED), "", "starting", ""),
    ("pressure on what waits", look(engine("waiting"), demand=PRESSED), "remove:0", "held", SLOW),
    (
        "pressure below half the grace",
        look(engine("closed"), demand=PRESSED, memory=pressed(2.4)),
        "",
        "closed",
        SLOW,
    ),
    (
        "pressure for half the grace",
        look(engine("closed", in_flight=1), demand=PRESSED, memory=pressed(2.5)),
        "abort:0",
        "closed",
        SLOW,
    ),
    (
        "opened into pressure",
        look(engine("open", in_flight=1), demand=PRESSED, memory=pressed(2.5)),
        "close:0 abort:0",
        "closed",
        SLOW,
    ),
    (
        "pressure for all the grace",
        look(engine("paused"), demand=PRESSED, memory=pressed(5)),
        "remove:0",
        "held back",
        SLOW,
    ),
    (
        "pressure on what loads for all the grace",
        look(engine("starting"), demand=PRESSED, memory=pressed(5)),
        "remove:0",
        "held back",
        SLOW,
    ),
    (
        "not yet calm",
        look(engine("closed"), memory=Memory(calm_since_s=NOW - 9.9)),
        "",
        "closed",
        "live work must be calm for a while",
    ),
    ("calm", look(engine("closed"), memory=Memory(calm_since_s=NOW - 10)), "admit:0", "open", ""),
    ("calm, paused", look(engine("paused")), "admit:0", "open", ""),
    (
        "calm, but lately yielded",
        look(engine("closed"), memory=Memory(not_before_s=NOW + 1, held_back=SLOW)),
        "",
        "closed",
        SLOW,
    ),
    (
        "shut for longer than an engine may idle",
        look(engine("paused", 60), memory=Memory(not_before_s=NOW + 1, held_back=SLOW)),
        "remove:0",
        "held back",
        SLOW,
    ),
    (
        "held back",
        look(memory=Memory(not_before_s=NOW + 1, held_back="it died")),
        "",
        "held back",
        "it died",
    ),
    (
        "an old reason is not told of new trouble",
        look(memory=Memory(not_before_s=NOW - 99, held_back="it died"), demand=PRESSED),
        "",
        "held back",
        SLOW,
    ),
    (
        "it would be claimed at once",
        look(nodes=[replace(NODE, free={"GPU": 1, "CPU": 1, "idle_pool": 1})], demand=ASKED),
        "",
        "held back",
        CLAIM,
    ),
    ("died", look(engine("dead", problem="no such model")), "remove:0", "held", "no such model"),
    ("died of nothing", look(engine("dead")), "remove:0", "held back", "it died"),
    (
        "no node",
        look(engine("waiting", 601)),
        "remove:0",
        "held back",
        "no node came in 600 s",
    ),
    ("a node in time", look(engine("waiting", 600)), "", "waiting for a node", ""),
    (
        "does not load",
        look(engine("starting", 901)),
        "remove:0",
        "held back",
        "it did not load in 900 s",
    ),
    (
        "hangs",
        look(engine("open", silent_s=301.0, in_flight=1)),
        "remove:0",
        "held back",
        "it gave no sign for 300 s",
    ),
    ("by day, nothing held", look(**NIGHT_ONLY), "", "asleep", OUTSIDE),
    ("by day, idle", look(engine("open"), **NIGHT_ONLY), "close:0 remove:0", "asleep", OUTSIDE),
    ("by day", look(engine("open", in_flight=1), **NIGHT_ONLY), "close:0", "closed", OUTSIDE),
    ("winds down", look(engine("closed", 59, in_flight=1), **NIGHT_ONLY), "", "closed", OUTSIDE),
    (
        "wound down",
        look(engine("closed", WIND_DOWN_S, in_flight=1), **NIGHT_ONLY),
        "abort:0 remove:0",
        "asleep",
        OUTSIDE,
    ),
    (
        "by day and under pressure",
        look(engine("open", in_flight=1), demand=PRESSED, **NIGHT_ONLY),
        "close:0",
        "closed",
        OUTSIDE,
    ),
    (
        "by day and under pressure for half the grace",
        look(engine("open", in_flight=1), demand=PRESSED, memory=pressed(2.5), **NIGHT_ONLY),
        "close:0 abort:0",
        "closed",
        OUTSIDE,
    ),
    (
        "what pressure aborts has nothing to do",
        look(
            engine("closed", in_flight=1),
            demand=PRESSED,
            memory=replace(pressed(2.5), idle_since_s=NOW - 60),
            backlog=Backlog(),
        ),
        "abort:0 remove:0",
        "asleep",
        "nothing is due",
    ),
    ("by day no way back", look(engine("closed", in_flight=1), **NIGHT_ONLY), "", "clo", OUTSIDE),
    ("off", look(enabled=False), "", "off", "the pool is switched off"),
    (
        "the day is used up",
        look(memory=SPENT, max_gpu_hours_per_day=2),
        "",
        "asleep",
        "2 GPU-hours of this day are used",
    ),
    ("not used up", look(memory=SPENT, max_gpu_hours_per_day=2.1), "create:0", "waiting", ""),
    (
        "a new day",
        look(memory=SPENT, max_gpu_hours_per_day=2, now=AT + timedelta(days=1)),
        "create:0",
        "waiting for a node",
        "",
    ),
    (
        "blind",
        look(engine("dead"), demand=Demand(known=False)),
        "",
        "blind",
        "the cluster does not say what waits",
    ),
]


@pytest.mark.parametrize(("case", "decision", "actions", "state", "reason"), RUNGS)
def test_every_rung(case: str, decision: Decision, actions: str, state: str, reason: str) -> None:
    assert done(decision) == actions, case
    assert decision.state.startswith(state), case
    assert decision.reason == reason, case


def test_every_state_is_shown() -> None:
    assert {decision.state for _, decision, *_ in RUNGS} == set(PoolState)


def test_an_action_says_why_and_whether_live_work_waits() -> None:
    reasons = {
        (action.kind.value, action.live, action.reason)
        for decision in (
            look(),
            look(engine("closed")),
            look(engine("open"), demand=ASKED),
            look(engine("open"), backlog=Backlog(), memory=Memory(idle_since_s=NOW - 60)),
            look(engine("open"), **NIGHT_ONLY),
            look(engine("paused", 61), memory=Memory(not_before_s=NOW + 1)),
        )
        for action in decision.actions
    }
    assert reasons == {
        ("create", False, "there is work for it"),
        ("admit", False, "live work is calm"),
        ("close", True, CLAIM),
        ("remove", True, CLAIM),
        ("remove", False, "there is nothing for it to do"),
        ("close", False, OUTSIDE),
        ("remove", False, OUTSIDE),
        ("remove", False, "live work was not calm for 60 s"),
    }


@pytest.mark.parametrize(
    ("decision", "look_s"),
    [
        (look(backlog=Backlog()), IDLE_LOOK_S),
        (look(), WAITING_LOOK_S),
        (look(engine("open")), POLICY.watch_s),
        (look(engine("open"), watch_s=1.0, grace_s=2.0), 0.2),
        (look(engine("waiting"), grace_s=1.0), 0.1),
        (look(demand=Demand(known=False), grace_s=1.0), 0.1),
        (look(memory=Memory(not_before_s=NOW + 2)), WAITING_LOOK_S),
        (look(memory=Memory(not_before_s=NOW + 0.01)), WAITING_LOOK_S),
        (look(memory=Memory(not_before_s=NOW + 900)), WAITING_LOOK_S),
        (look(backlog=Backlog(), memory=Memory(not_before_s=NOW + 900)), IDLE_LOOK_S),
    ],
)
def test_when_it_looks_again(decision: Decision, look_s: float) -> None:
    assert decision.look_again_s == pytest.approx(look_s)


@pytest.mark.parametrize(
    ("scopes", "tokens", "engines"),
    [(0, 9_000, 0), (1, 0, 1), (9, 1_000, 1), (9, 1_001, 2), (2, 9_000, 2), (9, 99_000, 3)],
)
def test_engines_by_backlog(scopes: int, tokens: int, engines: int) -> None:
    assert desired(Snapshot(NOW, AT, backlog=Backlog(scopes, tokens)), POLICY) == engines


@pytest.mark.parametrize(
    ("hours", "at", "inside"),
    [
        ((), "12:00", True),
        (("22:00-06:00",), "22:00", True),
        (("22:00-06:00",), "05:59", True),
        (("22:00-06:00",), "06:00", False),
        (("22:00-06:00",), "21:59", False),
        (("01:00-02:00", "12:00-13:00"), "12:30", True),
        (("01:00-02:00", "12:00-13:00"), "02:00", False),
    ],
)
def test_quiet_hours(hours: tuple[str, ...], at: str, *, inside: bool) -> None:
    assert within(hours, time.fromisoformat(at)) is inside


def test_back_off_doubles_up_to_its_end() -> None:
    waits = [backoff_s(times, POLICY) for times in (0, 1, 2, 3, 7, 8, 10_000)]
    assert waits == [10, 10, 20, 40, 640, 900, 900]


YIELDED = Memory(yields=3, yielded_s=NOW - 60, not_before_s=NOW - 20, calm_since_s=-math.inf)
FAILED = Memory(failures=3, failed_s=NOW - 60, not_before_s=NOW - 20)


@pytest.mark.parametrize(
    ("case", "decision", "yields", "failures", "wait_s"),
    [
        ("a first yield", look(engine("open"), demand=ASKED), 1, 0, 10),
        ("one more", look(engine("open"), demand=ASKED, memory=YIELDED), 4, 0, 80),
        ("pressure counts", look(engine("open"), demand=PRESSED, memory=YIELDED), 4, 0, 80),
        (
            "several at once are one",
            look(engine("open"), engine("open", index=1), demand=replace(ASKED, asked_until_s=1e9)),
            1,
            0,
            10,
        ),
        (
            "another while it stays away lengthens it",
            look(engine("open"), demand=ASKED, memory=replace(YIELDED, not_before_s=NOW + 5)),
            3,
            0,
            40,
        ),
        (
            "the last was long ago",
            look(engine("open"), demand=ASKED, memory=replace(YIELDED, yielded_s=NOW - 1_801)),
            1,
            0,
            10,
        ),
        ("a first failure", look(engine("dead")), 0, 1, 10),
        ("one more failure", look(engine("dead"), memory=FAILED), 0, 4, 80),
        ("a node with two", look(engine("dead"), engine("dead", index=1)), 0, 1, 10),
        (
            "an hour of good work",
            look(engine("dead"), memory=replace(FAILED, failed_s=NOW - 3_600)),
            0,
            1,
            10,
        ),
        ("nothing to do", look(engine("open"), **NIGHT_ONLY), 0, 0, -NOW),
    ],
)
def test_what_it_remembers_of_trouble(
    case: str, decision: Decision, yields: int, failures: int, wait_s: float
) -> None:
    memory = decision.memory
    assert (memory.yields, memory.failures) == (yields, failures), case
    assert memory.not_before_s == NOW + wait_s, case


def test_gpu_time_is_counted_from_midnight() -> None:
    midnight = AT.replace(hour=0) + timedelta(seconds=5)
    memory = replace(SPENT, seen_s=NOW - 60, day="2026-11-25")
    held = (engine("open"), engine("paused", index=1), engine("waiting", index=2))
    decision = look(*held, memory=memory, now=midnight)
    assert decision.memory.gpu_seconds == pytest.approx(2 * 5)
    assert decision.memory.day == "2026-11-26"
    same_day = look(*held, memory=replace(SPENT, seen_s=NOW - 60))
    assert same_day.memory.gpu_seconds == pytest.approx(7_200 + 2 * 60)


def test_time_since_the_start_of_the_clock() -> None:
    """Pressure that began at 0.0 began, too."""
    memory = Memory(pressed_since_s=0.0, calm_since_s=None)
    snapshot = Snapshot(5.0, AT, PRESSED, (EngineView(0, EnginePhase.PAUSED, 0.0, "n"),))
    assert done(decide(replace(snapshot, memory=memory, backlog=WORK), POLICY)) == "remove:0"


@pytest.mark.parametrize("lag_s", [0.0, 0.3, 0.8])
def test_one_ask_takes_one_engine_though_the_cluster_is_slow_to_say(lag_s: float) -> None:
    policy = POLICY.model_copy(update={"max_engines": 2, "watch_s": 0.1})
    weather = Weather(
        work=((0.0, 100_000),),
        arrivals=(Arrival(20.0, Ask({"GPU": 1.0}, IDLE_LABELS), 60.0),),
    )
    site = Site(live=(), most_idle=2, lag_s=lag_s)
    world = PoolWorld(policy, weather, site).run(30.0)
    removed = [
        action
        for _, decision in world.decisions
        for action in decision.actions
        if action.kind == "remove"
    ]
    assert len(removed) == 1
    assert not world.waiting
