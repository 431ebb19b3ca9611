"""What an answer means, when it is tried again, and that every event arrives once."""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sleep_runtime.client.buffer import Buffer, BufferLimits
from sleep_runtime.client.courier import Courier, Pace
from sleep_runtime.client.retry import MAX_RETRY_AFTER_S, Circuit
from sleep_runtime.client.spool import Spool
from sleep_runtime.client.stats import Tally
from sleep_runtime.client.wire import (
    Apart,
    Ask,
    Later,
    Outcome,
    Reply,
    Taken,
    Unreachable,
    judge,
)

URL = "http://runtime"


def reply(status: int, body: object, retry_after: str = "") -> Reply:
    return Reply(status, json.dumps(body).encode(), retry_after)


def error(status: int, retry_after: str = "") -> Reply:
    body = {"error": {"field": "body", "reason": "is bad", "mend": ""}}
    return reply(status, body, retry_after)


TAKEN = {"accepted": 1, "duplicates": 1, "rejected": [{"index": 2, "error": "kind: no"}]}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (reply(200, TAKEN), Taken(1, 1, ((2, "kind: no"),))),
        (reply(200, {"accepted": 3, "duplicates": 1, "rejected": []}), Later),
        (reply(200, TAKEN | {"rejected": [{"index": 7, "error": ""}]}), Later),
        (Reply(200, b"<html>please log in</html>"), Later),
        (reply(302, {}), Later),
        (error(413), Apart),
        (Reply(413, b"<html>nginx</html>"), Apart),
        (error(422), Apart),
        (error(400), Apart),
        (Reply(400, b"<html>a proxy</html>"), Later),
        (error(404), Later),
        (error(500), Later),
        (error(507), Later),
    ],
)  # fmt: skip
def test_only_an_answer_of_a_runtime_that_accounts_for_every_event_settles_a_batch(
    answer: Reply, outcome: Outcome | type[Outcome]
) -> None:
    found = judge(answer, 3)
    assert type(found) is outcome if isinstance(outcome, type) else found == outcome


@pytest.mark.parametrize(
    ("status", "header", "after_s", "lasting"),
    [
        (429, "7", 7.0, False),
        (503, "1.5", 1.5, False),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", None, False),
        (503, "nan", None, False),
        (500, "", None, False),
        (401, "", None, True),
        (403, "", None, True),
        (404, "", None, True),
    ],
)
def test_what_waits_says_how_long(
    status: int, header: str, after_s: float | None, lasting: bool
) -> None:
    found = judge(error(status, header), 1)
    assert isinstance(found, Later)
    assert (found.retry_after_s, found.lasting) == (after_s, lasting)


def test_waits_double_to_a_limit_with_half_of_them_random() -> None:
    circuit = Circuit(0.5, 30.0, random.Random(1))
    waits = []
    for _ in range(60):
        circuit.failed(0.0)
        waits.append(circuit.until)
    for number, wait in enumerate(waits):
        whole = min(30.0, 0.5 * 2**number)
        assert whole / 2 <= wait <= whole
    again = Circuit(0.5, 30.0, random.Random(1))
    again.failed(0.0)
    assert again.until == waits[0]


def test_a_runtime_is_not_asked_before_it_wants_to_be_but_within_five_minutes() -> None:
    circuit = Circuit(0.5, 30.0, random.Random(1))
    circuit.failed(100.0, retry_after_s=7.0)
    assert 107.0 <= circuit.until <= 107.7
    assert circuit.is_open(106.9)
    circuit.failed(100.0, retry_after_s=1e9)
    assert circuit.until <= 100.0 + MAX_RETRY_AFTER_S * 1.1
    circuit.succeeded()
    assert not circuit.is_open(100.0)


# ---------------------------------------------------------------------------- once, whatever comes


@dataclass
class Server:
    """A runtime as far as captures go: idempotent by id, refuses what starts with bad."""

    got: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    weather: str = "up"
    asked: int = 0

    def __call__(self, ask: Ask, timeout_s: float) -> Reply:
        self.asked += 1
        lines = ask.content.split(b"\n")
        if self.weather == "down":
            raise Unreachable("refused")
        if self.weather == "busy":
            return error(503, "1")
        if self.weather == "locked":
            return error(401)
        if self.weather == "narrow" and len(lines) > 1:
            return error(413)
        counts: dict[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": []}
        for index, line in enumerate(lines):
            name = json.loads(line)["id"]
            if name.startswith("bad"):
                self.refused[name] = self.refused.get(name, 0) + 1
                counts["rejected"].append({"index": index, "error": "text: is bad"})
                continue
            counts["duplicates" if name in self.got else "accepted"] += 1
            self.got[name] = self.got.get(name, 0) + (name not in self.got)
        if self.weather == "torn":
            raise Unreachable("the answer got lost")
        return reply(200, counts)


class OneProcess:
    """A courier with its buffer and spool, worked by hand."""

    def __init__(self, server: Server, directory: Path, clock: Any, *, most: int = 8) -> None:
        self.tally = Tally()
        self.spool = Spool(directory, URL, max_bytes=1 << 20, fsync=False)
        self.buffer = Buffer(BufferLimits(most, 1 << 20, 3), wake=lambda: None, spill=lambda: None)
        self.courier = Courier(
            self.buffer, self.spool, server,
            pace=Pace(3, 1 << 20, 0.2, 10.0), circuit=Circuit(0.5, 30.0, random.Random(1)),
            tally=self.tally, clock=clock,
        )  # fmt: skip


class Arriving(RuleBasedStateMachine):
    """Captures, work, bad weather, ends and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.server = Server()
        self.now = 0.0
        self.count = 0
        self.kept: set[str] = set()
        self.bad: set[str] = set()
        self.in_memory: set[str] = set()

    @initialize()
    def begin(self) -> None:
        self.process = OneProcess(self.server, Path(self.place.name), lambda: self.now)

    @rule(good=st.integers(0, 4), bad=st.integers(0, 1))
    def capture(self, good: int, bad: int) -> None:
        for number in range(good + bad):
            self.count += 1
            name = f"{'good' if number < good else 'bad'}-{self.count}"
            if self.process.buffer.put(json.dumps({"id": name}).encode()):
                (self.kept if number < good else self.bad).add(name)

    @rule(weather=st.sampled_from(["up", "down", "busy", "locked", "narrow", "torn"]))
    def turn(self, weather: str) -> None:
        self.server.weather = weather

    @rule(all_due=st.booleans(), passing=st.sampled_from([0.0, 0.3, 40.0]))
    def work(self, all_due: bool, passing: float) -> None:
        self.now += passing
        self.process.courier.work(all_due=all_due)

    @rule()
    def spill(self) -> None:
        self.process.courier.put_away()

    @rule()
    def restart_in_order(self) -> None:
        self.process.courier.put_away()
        self.process.spool.close()
        self.begin()

    @precondition(lambda self: not len(self.process.buffer))
    @rule()
    def die_and_restart(self) -> None:
        self.process.spool.forked()  # what the kernel does: locks go, files stay as they are
        self.begin()

    @rule()
    def live_beside_another(self) -> None:
        other = OneProcess(self.server, Path(self.place.name), lambda: self.now)
        other.courier.work(all_due=True)
        other.spool.close()

    @invariant()
    def nothing_arrives_twice(self) -> None:
        assert all(times == 1 for times in self.server.got.values())

    def teardown(self) -> None:
        with self.place:
            self.process.courier.put_away()
            self.process.spool.close()
            self.server.weather = "up"
            self.begin()
            for _ in range(self.count + 5):
                self.now += 400.0
                self.process.courier.work(all_due=True)
            assert set(self.server.got) == self.kept
            assert set(self.server.refused) == self.bad
            self.process.spool.close()
            assert not list(Path(self.place.name).rglob("*-*.*"))


TestArriving = Arriving.TestCase
TestArriving.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


# ---------------------------------------------------------------------------- single decisions


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def process(server: Server, tmp_path: Path, clock: list[float]) -> OneProcess:
    return OneProcess(server, tmp_path, lambda: clock[0])


def put(process: OneProcess, *names: str) -> None:
    for name in names:
        assert process.buffer.put(json.dumps({"id": name}).encode())


def test_a_batch_goes_when_it_is_large_or_old(
    server: Server, process: OneProcess, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sleep_runtime.client.buffer.time.monotonic", lambda: clock[0])
    put(process, "a", "b")
    process.courier.work()
    assert not server.got
    assert process.courier.wait_s() == pytest.approx(0.2)
    put(process, "c")
    assert process.courier.wait_s() == 0.0
    process.courier.work()
    assert set(server.got) == {"a", "b", "c"}
    put(process, "d")
    clock[0] += 0.2
    process.courier.work()
    assert "d" in server.got


def test_a_dead_runtime_is_asked_once_and_everything_waits_on_the_disk(
    server: Server, process: OneProcess, tmp_path: Path
) -> None:
    server.weather = "down"
    for number in range(20):
        put(process, f"e{number}")
        process.courier.work(all_due=True)
    assert server.asked == 1
    assert process.tally.spooled == 20
    assert len(process.buffer) == 0
    assert "refused" in process.tally.last_error


def test_a_batch_too_large_is_halved_until_it_is_taken_and_a_bad_one_gets_its_letter(
    server: Server, process: OneProcess
) -> None:
    server.weather = "narrow"
    put(process, "a", "bad-b", "c")
    process.courier.work(all_due=True)
    assert set(server.got) == {"a", "c"}
    letters = (process.spool.directory / "rejected.ndjson").read_text().splitlines()
    assert [json.loads(line)["event"] for line in letters] == [{"id": "bad-b"}]
    assert json.loads(letters[0])["reason"] == "text: is bad"
    assert (process.tally.sent, process.tally.rejected, process.tally.spooled) == (2, 1, 0)


def test_an_event_that_is_too_large_by_itself_is_refused_for_good(process: OneProcess) -> None:
    process.courier._send = lambda ask, timeout_s: error(413)
    put(process, "a", "b")
    process.courier.work(all_due=True)
    assert (process.tally.rejected, process.tally.spooled) == (2, 0)
    assert process.spool.waiting_since is None


def test_a_busy_runtime_is_left_alone_as_long_as_it_asks(
    server: Server, process: OneProcess, clock: list[float]
) -> None:
    server.weather = "busy"  # Retry-After: 1
    put(process, "a")
    process.courier.work(all_due=True)
    assert 1.0 <= process.courier.circuit.until <= 1.1
    server.weather = "up"
    for clock[0] in (0.3, 0.6, 0.99):
        process.courier.work()
    assert server.asked == 1
    clock[0] = 1.1
    process.courier.work()
    assert set(server.got) == {"a"}


def test_a_refused_key_keeps_everything_and_says_so(server: Server, process: OneProcess) -> None:
    server.weather = "locked"
    put(process, "a")
    process.courier.work(all_due=True)
    assert process.tally.spooled == 1
    assert process.tally.last_error.startswith("refused the key")
    assert process.courier.circuit.until >= 15.0  # it does not mend itself in a second
    server.weather = "up"
    process.courier.circuit.try_now()
    process.courier.work(all_due=True)
    assert set(server.got) == {"a"}
    assert process.tally.last_error == ""
