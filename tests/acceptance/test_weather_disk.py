"""A disk that is slow, stuck or full: late or refused in bounded time, and no ack is lost."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from crowd import Crowd, kept, kept_once
from living import Runtime, event, start, stop

from sleep_runtime.testing.needs import missing, program, small_disk

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

MAX_PENDING = 40
ACK_TIMEOUT_S = 30.0
STUCK_S = 100
SEARCH_S = 2.0


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    home = tmp_path_factory.mktemp("runtime")
    with small_disk(home / "data", mib=192):
        running = start(home, SLEEP_JOURNAL__MAX_PENDING=str(MAX_PENDING))
        yield running
        assert stop(running) == 0


@contextlib.contextmanager
def slow_disk(runtime: Runtime, home: Path, delay_s: float) -> Iterator[None]:
    """Every fsync of the journal's owner takes so much longer, while the block runs."""
    (owner,) = runtime.processes("JournalOwner")
    log = home / "strace.log"
    inject = f"inject=fsync,fdatasync:delay_enter={int(delay_s * 1e6)}"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [program("strace"), "-f", "-p", str(owner.pid), "-e", "trace=fsync,fdatasync",
             "-e", inject, "-o", str(home / "calls.log")],
            stderr=file,
        ) as tracer,
    ):  # fmt: skip
        try:
            give_up = time.monotonic() + 10
            while "attached" not in log.read_text():
                if tracer.poll() is not None:
                    missing(f"strace may not attach: {log.read_text()}")
                assert time.monotonic() < give_up, "strace did not attach"
                time.sleep(0.02)
            yield
        finally:
            # Not asked: it would wait for a process that was killed in the middle of a delay. What
            # lives goes on by itself.
            tracer.kill()


def search_s(runtime: Runtime, org: str) -> float:
    """How long a search takes."""
    began = time.monotonic()
    asked = {"scope": f"{org}/team/ana", "query": "which day"}
    runtime.http.post("/v1/search", json=asked).raise_for_status()
    return time.monotonic() - began


def error_of(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


def test_on_a_slow_disk_acks_come_late_and_searches_do_not(
    runtime: Runtime, tmp_path: Path
) -> None:
    assert runtime.capture(event(0, "slowdisk"))["accepted"] == 1
    with Crowd(runtime, "slowdisk") as crowd:
        with slow_disk(runtime, tmp_path, 0.3):
            crowd.wait_acks(40)
            searched_s = max(search_s(runtime, "slowdisk") for _ in range(10))
            late_s = crowd.slowest_s
        crowd.wait_acks(200, timeout_s=20)  # full speed again
    print(f"acks in up to {late_s:.2f} s, searches in up to {searched_s:.2f} s; {crowd.answers}")
    assert late_s > 0.3, "the disk was not slow"
    assert set(crowd.answers) == {200}
    assert searched_s < SEARCH_S
    crowd.acked.add("slowdisk-0")
    kept_once(runtime, crowd)


def test_an_owner_that_is_killed_before_its_fsync_has_acked_nothing_of_it(
    runtime: Runtime, tmp_path: Path
) -> None:
    with Crowd(runtime, "halfway") as crowd:
        with slow_disk(runtime, tmp_path, 0.5):
            crowd.wait_acks(16)
            for owner in runtime.processes("JournalOwner"):
                owner.kill()
        crowd.wait_acks(100)
    print(f"{crowd.answers}, nobody acked for {crowd.longest_gap_s():.1f} s")
    assert set(crowd.answers) == {200, 503}
    kept_once(runtime, crowd)


def test_a_stuck_fsync_is_refused_in_bounded_time_and_sent_again(
    runtime: Runtime, tmp_path: Path
) -> None:
    assert runtime.capture(event(0, "stuck"))["accepted"] == 1
    numbers = range(1, MAX_PENDING + 21)
    with slow_disk(runtime, tmp_path, STUCK_S), ThreadPoolExecutor(len(numbers)) as threads:
        began = time.monotonic()
        asked = [threads.submit(capture_once, runtime, number) for number in numbers]
        assert search_s(runtime, "stuck") < SEARCH_S
        answers = [each.result(ACK_TIMEOUT_S + 20) for each in asked]
        took_s = time.monotonic() - began
        assert search_s(runtime, "stuck") < SEARCH_S
    late = [answer for answer in answers if answer.status_code == 503]
    full = [answer for answer in answers if answer.status_code == 429]
    print(f"{len(late)} refused after {took_s:.1f} s, {len(full)} at once")
    assert (len(late), len(full)) == (MAX_PENDING, 20)
    assert took_s < ACK_TIMEOUT_S + 5
    assert "gave no answer in time" in error_of(late[0])["reason"]
    assert "send it again" in error_of(late[0])["mend"]
    assert "retry in a second" in error_of(full[0])["mend"]
    assert late[0].headers["retry-after"] == full[0].headers["retry-after"] == "1"
    again = runtime.capture(*(event(number, "stuck") for number in [*numbers][:MAX_PENDING]))
    assert again["accepted"] + again["duplicates"] == MAX_PENDING
    assert not again["rejected"]
    found = kept(runtime, "stuck")
    assert len(found) == len(set(found)) >= MAX_PENDING + 1


def capture_once(runtime: Runtime, number: int) -> httpx.Response:
    return httpx.post(
        f"{runtime.url}/v1/events",
        json=[event(number, "stuck")],
        timeout=ACK_TIMEOUT_S + 15,
        auth=runtime.sign,
    )


def test_a_full_disk_is_said_and_survived(runtime: Runtime) -> None:
    ballast = runtime.data_dir / "ballast"
    assert runtime.capture(event(0, "full"))["accepted"] == 1
    with Crowd(runtime, "full") as crowd:
        crowd.wait_acks(50)
        fill(ballast)
        runtime.wait(lambda: crowd.answers[507] > 20, "the disk to be full")
        searched_s = search_s(runtime, "full")
        before = len(crowd.acked)
        ballast.unlink()
        crowd.wait_acks(50, timeout_s=20)
    print(f"searched in {searched_s:.2f} s, {before} acked before, {crowd.answers}, {crowd.said}")
    assert set(crowd.answers) == {200, 507}
    assert "no space is left" in crowd.said[507]
    assert '"field": "data_dir"' in crowd.said[507]
    assert "make room" in crowd.said[507]
    assert searched_s < SEARCH_S
    crowd.acked.add("full-0")
    kept_once(runtime, crowd)


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 2**20):
            continue
