"""Agents that capture without a pause, and send an event again until it was acked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx
from living import Runtime, event

from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.journal_reader import SqliteJournalReader

PAUSE_S = 0.1
PATIENCE_S = 90.0
ANSWER_S = 45.0
BROKEN = 0
"""Stands for a status where the connection broke or was refused."""


@dataclass
class Crowd:
    """So many clients in threads, from ``with`` to its end; then ``acked`` is complete.

    ``answers`` counts statuses; ``acks`` are the instants of acks; ``unacked`` are events for which
    ``PATIENCE_S`` was not enough, and those given up because the crowd was told to ``leave``.
    """

    runtime: Runtime
    org: str
    size: int = 8
    acked: set[str] = field(default_factory=set)
    unacked: set[str] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)
    said: dict[int, str] = field(default_factory=dict)
    acks: list[float] = field(default_factory=list)
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._left = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(self.size)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        if kind is not None:
            self._left.set()
        for thread in self._threads:
            thread.join(PATIENCE_S + ANSWER_S)
        assert not [thread for thread in self._threads if thread.is_alive()]
        self.acks.sort()

    def leave(self) -> None:
        """Do not try again what is refused from now on."""
        self._over.set()
        self._left.set()

    def wait_acks(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until so many more events were acked."""
        goal = len(self.acks) + count
        self.runtime.wait(lambda: len(self.acks) >= goal, f"{goal} acks", timeout_s)

    def longest_gap_s(self) -> float:
        """The longest time in which nobody got an ack."""
        return max(b - a for a, b in zip(self.acks, self.acks[1:], strict=False))

    def _work(self, client: int) -> None:
        with httpx.Client(
            base_url=self.runtime.url, timeout=ANSWER_S, auth=self.runtime.sign
        ) as http:
            number = client * 1_000_000
            while not self._over.is_set():
                number += 1
                self._deliver(http, number)

    def _deliver(self, http: httpx.Client, number: int) -> None:
        body = [event(number, self.org)]
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            if self._send(http, body):
                with self._lock:
                    self.acked.add(str(body[0]["id"]))
                    self.acks.append(time.monotonic())
                return
            if self._left.is_set():
                break
            time.sleep(PAUSE_S)
        with self._lock:
            self.unacked.add(str(body[0]["id"]))

    def _send(self, http: httpx.Client, body: list[dict[str, object]]) -> bool:
        began = time.monotonic()
        try:
            answer = http.post("/v1/events", json=body)
            status, text = answer.status_code, answer.text
        except httpx.TransportError as error:
            status, text = BROKEN, type(error).__name__
        took_s = time.monotonic() - began
        with self._lock:
            self.answers[status] += 1
            self.said.setdefault(status, text)
            self.slowest_s = max(self.slowest_s, took_s)
        if status != 200:
            return False
        told = answer.json()
        assert told["accepted"] + told["duplicates"] == 1, told
        return True


def kept(runtime: Runtime, org: str) -> list[str]:
    """The ids of every event of the organisation's people in the journal, in its order."""
    reader = SqliteJournalReader(runtime.data_dir / "journal.sqlite")
    scope = Scope(f"{org}/team/ana")
    try:
        found = list[str]()
        after, last = 0, reader.last_seq()
        while page := reader.read(scope, after=after, upto=last, limit=5000):
            found += [stored.event.id for stored in page]
            after = page[-1].seq
        return found
    finally:
        reader.close()


def kept_once(runtime: Runtime, crowd: Crowd) -> None:
    """Fail unless every acked event is in the journal, once, and nothing that nobody sent."""
    found = kept(runtime, crowd.org)
    assert len(found) == len(set(found))
    lost = crowd.acked - set(found)
    assert not lost, f"{len(lost)} acked events are lost: {sorted(lost)[:5]}"
    assert set(found) <= crowd.acked | crowd.unacked
