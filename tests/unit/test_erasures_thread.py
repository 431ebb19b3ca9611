"""The thread that carries out erasures takes up what it finds, and what a store refused, again."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from sleep_runtime.actors.erasures import Erasures
from sleep_runtime.core.erasure import Erasure, Target
from sleep_runtime.core.errors import StoreBusy
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.eraser import Eraser

WAIT_S = 10.0
TARGET = Target(scope=Scope("acme"))


class Scripted:
    """Stands where an ``Eraser`` would: fails so many times, then works."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked: list[Target] = []
        self.resumed = threading.Semaphore(0)
        self.failed = threading.Semaphore(0)

    def request(self, target: Target) -> Erasure:
        self.asked.append(target)
        return cast("Erasure", "asked")

    def resume(self) -> list[Erasure]:
        if self.failures:
            self.failures -= 1
            self.failed.release()
            raise StoreBusy("a reader holds on")
        self.resumed.release()
        return []


def start(eraser: Scripted, try_again_s: float) -> Erasures:
    made = Erasures(cast("Eraser", eraser), try_again_s=try_again_s)
    made.start()
    return made


def test_it_begins_with_what_an_earlier_process_left_and_goes_on_when_asked() -> None:
    eraser = Scripted(failures=0)
    running = start(eraser, try_again_s=3600)
    assert eraser.resumed.acquire(timeout=WAIT_S)
    running.ask(TARGET)
    assert eraser.resumed.acquire(timeout=WAIT_S)
    assert eraser.asked == [TARGET]
    running.stop(WAIT_S)
    assert not running._thread.is_alive()


@pytest.mark.parametrize("failures", [1, 3])
def test_what_a_store_refused_is_tried_again_by_itself(failures: int) -> None:
    eraser = Scripted(failures)
    running = start(eraser, try_again_s=0.01)
    for _ in range(failures):
        assert eraser.failed.acquire(timeout=WAIT_S)
    assert eraser.resumed.acquire(timeout=WAIT_S)
    running.stop(WAIT_S)
