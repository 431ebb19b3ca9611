"""Load on a runtime while it is hurt: one thread captures a day, another one searches."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

import httpx

from reliability.chaos.days import Session
from reliability.chaos.facts import Kept
from reliability.living import Runtime

PAUSE_S = 0.05
ANSWER_S = 20.0
QUESTION = {"scope": "still/red/ana", "query": "where does the legend go"}
"""Asked all the time, of an organisation whose one day is over."""
BROKEN = 0
"""Stands for a status where the connection broke or was refused."""


class Captor:
    """Delivers sessions one after the other until each was acked, and again now and then.

    ``acked`` is what it got an ack for. A session is one request; one whose answer does not come is
    sent again, as often as it takes. Those that ``again`` allows are sent twice or more though they
    were acked.
    """

    def __init__(
        self, runtime: Runtime, org: str, sessions: Sequence[Session], dice: Random, *, again: float
    ) -> None:
        self.acked: set[Kept] = set()
        self.answers: Counter[int] = Counter()
        self._runtime, self.org, self._dice, self._again = runtime, org, dice, again
        self._sessions = list(sessions)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="captor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def sent(self) -> int:
        """How many of its events were acked so far."""
        return len(self.acked)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def sessions(self, dice: Random) -> list[Session]:
        """What it delivers, in another order."""
        return dice.sample(self._sessions, k=len(self._sessions))

    def stop(self) -> None:
        """Give up what was not acked yet."""
        self._over.set()
        self._thread.join(2 * ANSWER_S)

    def _work(self) -> None:
        with httpx.Client(
            base_url=self._runtime.url, timeout=ANSWER_S, auth=self._runtime.sign
        ) as http:
            for at, session in enumerate(self._sessions):
                self._deliver(http, session)
                while self._dice.random() < self._again and not self._over.is_set():
                    self._deliver(http, self._dice.choice(self._sessions[: at + 1]))

    def _deliver(self, http: httpx.Client, session: Session) -> None:
        while not self._over.is_set():
            if self._send(http, session):
                self.acked |= {Kept(self.org, event["id"]) for event in session.events}
                self._over.wait(PAUSE_S)
                return
            self._over.wait(2 * PAUSE_S)

    def _send(self, http: httpx.Client, session: Session) -> bool:
        try:
            answer = http.post("/v1/events", json=list(session.events))
        except httpx.TransportError:
            self.answers[BROKEN] += 1
            return False
        self.answers[answer.status_code] += 1
        if answer.status_code != 200:
            return False
        told = answer.json()
        return bool(told["accepted"] + told["duplicates"] == len(session.events))


class Searcher:
    """Searches without a pause; ``answered`` grows with every answer it gets."""

    def __init__(self, runtime: Runtime) -> None:
        self.answers: Counter[int] = Counter()
        self._runtime = runtime
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="searcher", daemon=True)

    @property
    def answered(self) -> int:
        return self.answers[200]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(2 * ANSWER_S)

    def _work(self) -> None:
        with httpx.Client(
            base_url=self._runtime.url, timeout=ANSWER_S, auth=self._runtime.sign
        ) as http:
            while not self._over.wait(PAUSE_S):
                try:
                    status = http.post("/v1/search", json=QUESTION).status_code
                except httpx.TransportError:
                    status = BROKEN
                self.answers[status] += 1
                if status != 200:
                    time.sleep(PAUSE_S)
