"""One caller's limits: rates, requests at once, and sizes, each told with when to come back."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.core.access import ROOT, Caller, KeyLimits
from sleep_runtime.core.errors import LimitReached
from sleep_runtime.serve.bare import SMALL, respond
from sleep_runtime.serve.bodies import Bodies, Limit
from sleep_runtime.serve.errors import answer_of
from sleep_runtime.serve.front import Front
from sleep_runtime.serve.limits import Bucket, Limiter

Given = list[tuple[float, int]]


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def caller(name: str = "ana", **limits: Any) -> Caller:
    return Caller(name=name, grants=ROOT.grants, limits=KeyLimits(**limits))


def limited(time: Time, **limits: Any) -> tuple[Limiter, Caller]:
    return Limiter(now=time), caller(**limits)


def refused(limiter: Limiter, who: Caller) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        limiter.enter(who, "/v1/search")
    return caught.value


# ---------------------------------------------------------------------------- the bucket


@given(
    st.floats(0.1, 1000.0),
    st.floats(0.1, 100.0),
    st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 50)), max_size=60),
)
def test_no_span_of_time_gives_more_than_the_rate_and_what_was_saved(
    per_s: float, burst_s: float, asked: Given
) -> None:
    bucket, now = Bucket(per_s, burst_s), 0.0
    saved = max(per_s * burst_s, 1.0)
    taken: Given = []
    for pause, count in asked:
        now += pause
        if bucket.take(count, now) == 0.0:
            taken.append((now, count))
        for at, (begin, _) in enumerate(taken):
            given_out = sum(n for _, n in taken[at:])
            # The last may be larger than all that can be saved: it is paid off afterwards.
            over = max(0.0, max((n for _, n in taken[at:]), default=0) - saved)
            assert given_out <= saved + per_s * (now - begin) + over + 1e-6


@given(st.floats(0.1, 1000.0), st.floats(0.1, 100.0), st.lists(st.integers(1, 200), max_size=30))
def test_who_waits_as_told_is_let_in(per_s: float, burst_s: float, counts: list[int]) -> None:
    bucket, now = Bucket(per_s, burst_s), 0.0
    for count in counts:
        if wait_s := bucket.take(count, now):
            assert bucket.take(count, now + wait_s / 2) > 0, "it need not have waited so long"
            now += wait_s + 1e-6
            assert bucket.take(count, now) == 0.0


def test_what_was_charged_afterwards_is_paid_off_before_the_next() -> None:
    bucket = Bucket(10.0, 1.0)
    assert bucket.take(1, 0.0) == 0.0
    bucket.charge(100, 0.0)
    assert bucket.take(1, 0.0) == pytest.approx(9.2)


# ---------------------------------------------------------------------------- the limiter


def test_a_rate_refuses_with_its_name_and_when_there_is_room_again() -> None:
    time = Time()
    limiter, ana = limited(time, requests_per_s=2, burst_s=2)
    for _ in range(4):
        use = limiter.enter(ana, "/v1/search")
        assert use is not None
        use.leave()
    error = refused(limiter, ana)
    assert error.field == "limits.requests_per_s"
    assert error.retry_after_s == pytest.approx(0.5)
    assert answer_of(error).status == 429
    assert answer_of(error).headers["Retry-After"] == "1"
    assert "0.5 s" in error.mend
    time.now += 0.5
    limiter.enter(ana, "/v1/search")
    limiter.enter(caller("ben", requests_per_s=2), "/v1/search")  # has a bucket of his own


def test_a_slow_rate_says_whole_seconds_rounded_up() -> None:
    limiter, ana = limited(Time(), requests_per_s=0.4, burst_s=1)
    limiter.enter(ana, "/v1/search")
    assert answer_of(refused(limiter, ana)).headers["Retry-After"] == "3"


def test_an_error_of_a_limit_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(LimitReached("full", field="f", mend="m", retry_after_s=7)))
    assert (error.reason, error.field, error.mend, error.retry_after_s) == ("full", "f", "m", 7)


def test_requests_at_once_are_counted_until_they_leave() -> None:
    limiter, ana = limited(Time(), max_concurrent=2)
    first = limiter.enter(ana, "/v1/search")
    limiter.enter(ana, "/v1/notes")
    assert refused(limiter, ana).field == "limits.max_concurrent"
    assert first is not None
    first.leave()
    limiter.enter(ana, "/v1/search")


def test_a_refused_request_holds_no_place() -> None:
    time = Time()
    limiter, ana = limited(time, max_concurrent=1, requests_per_s=1, burst_s=1)
    use = limiter.enter(ana, "/v1/search")
    assert use is not None
    use.leave()
    assert refused(limiter, ana).field == "limits.requests_per_s"
    time.now += 1
    assert limiter.enter(ana, "/v1/search") is not None


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_never_refused(path: str) -> None:
    limiter, ana = limited(Time(), max_concurrent=1, requests_per_s=0.001)
    for _ in range(5):
        assert limiter.enter(ana, path) is None


def test_who_has_no_limits_gets_the_default_ones_and_who_has_keeps_them() -> None:
    limiter = Limiter(KeyLimits(max_concurrent=1), now=Time())
    limiter.enter(caller(), "/v1/search")
    assert refused(limiter, caller()).field == "limits.max_concurrent"
    own = caller("ben", max_concurrent=3)
    for _ in range(3):
        limiter.enter(own, "/v1/search")
    refused(limiter, own)


def test_nothing_is_kept_of_callers_without_limits() -> None:
    limiter = Limiter(KeyLimits(), now=Time())
    assert limiter.enter(ROOT, "/v1/search") is None
    assert limiter.body(ROOT, SMALL) is SMALL
    limiter.events(ROOT, 10**9)
    limiter.question(ROOT)
    limiter.looked(ROOT, 10**9)
    assert not limiter._known
    assert limiter.enter(caller(), "/v1/search") is None, "equal to none is none"


def test_new_limits_of_a_key_apply_at_once() -> None:
    limiter, ana = limited(Time(), requests_per_s=1, burst_s=1)
    limiter.enter(ana, "/v1/search")
    refused(limiter, ana)
    limiter.enter(caller(requests_per_s=50), "/v1/search")
    limiter.enter(caller(requests_per_s=50), "/v1/search")


def test_a_key_that_is_read_again_goes_on_with_what_it_has_used() -> None:
    limiter, ana = limited(Time(), requests_per_s=1, burst_s=1)
    limiter.enter(ana, "/v1/search")
    refused(limiter, caller(requests_per_s=1, burst_s=1))


def test_replicas_share_a_limit() -> None:
    each = [Limiter(replicas=4, now=Time()) for _ in range(4)]
    ana = caller(requests_per_s=4, burst_s=2, max_concurrent=6)
    let_in = 0
    for limiter in each:
        for _ in range(20):
            try:
                use = limiter.enter(ana, "/v1/search")
            except LimitReached:
                break
            assert use is not None
            use.leave()
            let_in += 1
    assert let_in == 8
    limiter = Limiter(replicas=4, now=Time())
    many = caller(max_concurrent=6)
    limiter.enter(many, "/v1/search")
    limiter.enter(many, "/v1/search")
    refused(limiter, many)


def test_callers_are_bounded_and_the_silent_ones_forgotten_first() -> None:
    limiter = Limiter(now=Time(), max_callers=3)
    for name in ("a", "b", "c", "a", "d"):
        limiter.enter(caller(name, requests_per_s=10), "/v1/search")
    assert list(limiter._known) == ["c", "a", "d"]


def test_sizes_are_narrowed_and_never_widened() -> None:
    limiter = Limiter(now=Time())
    most = CaptureLimits(max_body_bytes=1000, max_events=100, max_text_chars=500)
    small = caller(max_body_bytes=10, max_batch_events=5, max_text_chars=50)
    assert limiter.body(small, Limit(1000, "less")).bytes == 10
    assert limiter.capture(small, most) == CaptureLimits(
        max_body_bytes=10, max_events=5, max_text_chars=50
    )
    large = caller("ben", max_body_bytes=10**9, max_batch_events=10**9, max_text_chars=10**9)
    assert limiter.body(large, Limit(1000, "less")).bytes == 1000
    assert limiter.capture(large, most) == most


def test_events_that_are_refused_cost_nothing() -> None:
    limiter, ana = limited(Time(), events_per_s=10, burst_s=1)
    limiter.events(ana, 8)
    with pytest.raises(LimitReached) as caught:
        limiter.events(ana, 3)
    assert caught.value.field == "limits.events_per_s"
    limiter.events(ana, 2)


def test_a_question_costs_what_it_looked_at_and_is_paid_off_before_the_next() -> None:
    time = Time()
    limiter, ana = limited(time, query_cost_per_s=100, burst_s=1)
    limiter.question(ana)
    limiter.looked(ana, 600)
    with pytest.raises(LimitReached) as caught:
        limiter.question(ana)
    assert caught.value.field == "limits.query_cost_per_s"
    assert caught.value.retry_after_s == pytest.approx(5.01)
    time.now += 5.02
    limiter.question(ana)


# ---------------------------------------------------------------------------- at the front


class Site:
    """A front whose one hot endpoint waits until it is let go."""

    def __init__(self, who: Caller, limiter: Limiter) -> None:
        self.limit = Limit(1000, "less")
        self.read = 0
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.front = Front(
            self.app,
            {"/v1/events": self},
            Bodies(1.0, 10**6),
            authenticate=lambda headers, path: who,
            limiter=limiter,
        )

    async def __call__(self, caller: Caller, headers: Any, raw: bytes) -> bytes:
        self.reached.set()
        await self.go.wait()
        return b"{}"

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"{}")

    async def ask(self, body: bytes, path: str = "/v1/events", length: str = "") -> Any:
        sent: list[Any] = []

        async def receive() -> Any:
            self.read += 1
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-length", length.encode())] if length else []
        await self.front(
            {"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send
        )
        return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])


def test_a_refused_request_is_told_before_its_body_is_read() -> None:
    async def run() -> None:
        site = Site(caller(requests_per_s=1, burst_s=1), Limiter(now=Time()))
        site.go.set()
        assert (await site.ask(b"x"))[0] == 200
        before = site.read
        status, headers, answer = await site.ask(b"x")
        assert (status, headers[b"retry-after"]) == (429, b"1")
        assert answer["error"]["field"] == "limits.requests_per_s"
        assert (await site.ask(b"x", "/v1/notes"))[0] == 429, "every endpoint counts"
        assert site.read == before

    asyncio.run(run())


def test_places_are_held_while_an_answer_is_made_and_given_back_whatever_happens() -> None:
    async def run() -> None:
        site = Site(caller(max_concurrent=1, max_body_bytes=5), Limiter(now=Time()))
        first = asyncio.ensure_future(site.ask(b"x"))
        await site.reached.wait()
        assert (await site.ask(b"x"))[0] == 429
        site.go.set()
        assert (await first)[0] == 200
        assert (await site.ask(b"123456"))[0] == 413
        assert (await site.ask(b"12345"))[0] == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("length", "status"),
    [("1001", 413), ("9" * 5000, 413), ("1000", 200), ("x", 200), ("²", 200), ("", 200)],
)
def test_a_body_that_says_it_is_too_large_is_not_read(length: str, status: int) -> None:
    async def run() -> None:
        site = Site(ROOT, Limiter())
        site.go.set()
        assert (await site.ask(b"x", length=length))[0] == status
        assert site.read == (status == 200)

    asyncio.run(run())
