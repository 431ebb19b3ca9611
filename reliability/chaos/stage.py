"""The stage: the real runtime, working without a pause while one wound after another is done to it.

Each wound has a day of its own: an organisation whose agents capture while the runtime is hurt.
When it answers again, that day is brought to its end, and what was learned from it is held against
what an undisturbed runtime learns from the same day.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Self

import httpx
import psutil

from reliability.chaos import days, facts, invariants
from reliability.chaos.disk import small_disk
from reliability.chaos.facts import Kept, Usage
from reliability.chaos.load import QUESTION, Captor, Searcher
from reliability.chaos.nursery import Unable
from reliability.living import NotUp, Runtime, start, stop
from sleep_runtime.compose.cluster import of_its_own
from sleep_runtime.config import Settings

LEASE_S = 3.0
BACK_S = 150.0
NIGHT_S = 200.0
ASK_S = 0.4
STILL = QUESTION["scope"].partition("/")[0]
DISK_MIB = 1024

SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "SLEEP_LOG__LEVEL": "warning",
    "SLEEP_RAY__NUM_CPUS": "2",
    "SLEEP_SCHEDULER__TICK_S": "0.2",
    "SLEEP_SCHEDULER__LEASE_TTL_S": str(LEASE_S),
    "SLEEP_SCHEDULER__HEARTBEAT_S": "0.5",
    "SLEEP_SCHEDULER__SETTLE_S": "0.5",
    "SLEEP_POLICY__TRIGGERS__CADENCE_S": "1",
    "SLEEP_POLICY__TRIGGERS__BACKLOG_EVENTS": "4",
    "SLEEP_POLICY__TRIGGERS__COOLDOWN_S": "0",
    "SLEEP_POOL__BUSY_ABOVE": "1",
    "SLEEP_POOL__HYSTERESIS_S": "0.5",
    "SLEEP_POOL__BACKOFF_S": "0.5",
    "SLEEP_POOL__MAX_BACKOFF_S": "2",
}
"""Short leases and nights without a pause: in a minute here happens what else takes a day."""


class Stage:
    """A runtime, its load, and what is known of it. A context manager."""

    def __init__(self, home: Path, undisturbed: Callable[[int], frozenset[Any]]) -> None:
        self.home = home
        self.armed = home / "failpoints"
        self.acked: set[Kept] = set()
        self.usage: dict[str, list[Usage]] = defaultdict(list)
        self.own_disk = False
        self._undisturbed = undisturbed
        self._environment = {**SETTINGS, "SLEEP_FAILPOINTS": f"file:{self.armed}"}
        self.runtime: Runtime
        self.searcher: Searcher

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            (self.home / "data").mkdir(mode=0o700)
            with contextlib.suppress(Unable):
                opening.enter_context(small_disk(self.home / "data", mib=DISK_MIB))
                self.own_disk = True
            self.start()
            opening.callback(self._end)
            self.live_still()
            self._closing = opening.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.close()

    def _end(self) -> None:
        """Stop what runs. Raises ``AssertionError`` when it does not stop in order."""
        self.searcher.stop()
        if self.runtime.process.poll() is None:
            code = stop(self.runtime)
            assert code == 0, f"up ended with {code} when it was asked to stop"

    def start(self) -> None:
        """Bring the runtime up, on the data it has, and search again."""
        self.runtime = start(self.home, **self._environment)
        self._environment["SLEEP_HTTP__PORT"] = self.runtime.environment["SLEEP_HTTP__PORT"]
        self.searcher = Searcher(self.runtime)
        self.searcher.start()

    def live_still(self) -> None:
        """A day that nothing happens to: what the searcher asks for afterwards."""
        sessions = days.day(0, STILL)
        captor = Captor(self.runtime, STILL, sessions, Random(0), again=0.0)
        captor.start()
        self._wait(lambda: captor.done, "the agents to deliver", BACK_S, captor)
        self._wait(lambda: self._quiet(captor), "the first night to end", NIGHT_S, captor, ASK_S)
        self.acked |= captor.acked
        learned = standing(facts.ledger(self.data_dir), STILL)
        if wrong := invariants.same_store(learned, self._undisturbed(0)):
            raise NotUp(f"before anything was hurt: {wrong[0]}")

    def restart(self, below: list[psutil.Process]) -> None:
        """Start a runtime anew that ended; what is left of the old one's processes is killed."""
        self.searcher.stop()
        _, left = psutil.wait_procs(below, timeout=15)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=15)
        self.runtime.http.close()
        self.start()

    @property
    def data_dir(self) -> Path:
        return self.runtime.data_dir

    def processes(self, name: str) -> list[psutil.Process]:
        """The living processes of the runtime of that kind. Raises ``Unable`` when none is."""
        found = self.runtime.processes(name)
        if not found:
            raise Unable(f"no process {name}")
        return found

    def begin(self, number: int, dice: Random, *, again: float = 0.15) -> Captor:
        """A new organisation's agents begin to work."""
        org = f"wound{number}"
        sessions = list(days.day(number % days.KINDS, org))
        dice.shuffle(sessions)
        captor = Captor(self.runtime, org, sessions, dice, again=again)
        captor.start()
        return captor

    def begin_again(self, captor: Captor, dice: Random) -> Captor:
        """Other agents deliver the same day, in another order."""
        again = Captor(self.runtime, captor.org, captor.sessions(dice), dice, again=0.5)
        again.start()
        return again

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = BACK_S) -> None:
        """Wait for a condition. Raises ``AssertionError``."""
        give_up = time.monotonic() + timeout_s
        while not _holds(condition):
            if time.monotonic() > give_up:
                raise AssertionError(f"waited {timeout_s:g} s for {what}")
            time.sleep(0.02)

    def cluster(self) -> tuple[str, str]:
        """The address of its Ray, and the namespace of its actors."""
        told = json.loads((self.data_dir / "runtime.json").read_text("utf-8"))
        settings = Settings(data_dir=self.data_dir.absolute())
        return told["ray_address"], of_its_own(settings).ray.namespace

    def settle(self, number: int, captor: Captor) -> tuple[list[str], float]:
        """Wait until all is well again. Returns what is wrong, and how long it took to answer."""
        began = time.monotonic()
        wrong: list[str] = []
        sent = captor.sent

        def answers() -> bool:
            return self._answers() and (captor.sent > sent or captor.done)

        try:
            self._wait(answers, "an ack and an answer", BACK_S, captor)
            back_s = time.monotonic() - began
            self._wait(lambda: captor.done, "the agents to deliver", BACK_S, captor)
            self._wait(lambda: self._quiet(captor), "the nights to end", NIGHT_S, captor, ASK_S)
        except NotUp as late:
            wrong.append(str(late))
            back_s = time.monotonic() - began
        finally:
            captor.stop()
            self.acked |= captor.acked
        wrong += self._check(number, whole=not wrong)
        return wrong, back_s

    def lost_and_doubled(self) -> tuple[int, int]:
        """Of all events acked so far: how many are not in the journal, how many more than once."""
        kept = facts.journal(self.data_dir).kept
        return len(self.acked - set(kept)), len(kept) - len(set(kept))

    def sample(self) -> None:
        """Note what each process holds now."""
        try:
            living = [psutil.Process(self.runtime.process.pid), *self.runtime.processes("ray::")]
        except psutil.NoSuchProcess:
            return  # it ended, which is told already
        for process in living:
            try:
                name = f"{process.cmdline()[0][:40]} {process.pid}"
                self.usage[name].append(Usage(process.num_fds(), process.memory_info().rss))
            except (psutil.NoSuchProcess, psutil.AccessDenied, IndexError):
                continue

    def _wait(
        self,
        condition: Callable[[], bool],
        what: str,
        timeout_s: float,
        captor: Captor,
        every_s: float = 0.05,
    ) -> None:
        give_up = time.monotonic() + timeout_s
        while not _holds(condition):
            if self.runtime.process.poll() is not None:
                raise NotUp(f"the runtime ended: {self._log()}")
            if time.monotonic() > give_up:
                answers = f"captured {dict(captor.answers)}, searched {dict(self.searcher.answers)}"
                raise NotUp(f"waited {timeout_s:g} s for {what}; {answers}; {self._log()}")
            time.sleep(every_s)

    def _log(self) -> str:
        return self.runtime.log.read_text(errors="replace")[-1500:]

    def _answers(self) -> bool:
        """Whether it is ready and answers a search."""
        http = self.runtime.http
        return (
            http.get("/readyz", timeout=10).status_code == 200
            and http.post("/v1/search", json=QUESTION, timeout=10).status_code == 200
        )

    def _quiet(self, captor: Captor) -> bool:
        """Whether nothing of the organisation is pending, under way or on its way to the index."""
        self.runtime.http.post("/v1/runs", json={"scope": captor.org}).raise_for_status()
        status = self.runtime.status(captor.org)
        return bool(status["quiet"]) and not any(status["pending"].values())

    def _check(self, number: int, *, whole: bool) -> list[str]:
        org = f"wound{number}"
        journal, ledger = facts.journal(self.data_dir), facts.ledger(self.data_dir)
        now = datetime.now(UTC)
        wrong = [
            *invariants.acked_once(self.acked, journal.kept),
            *invariants.heads_agree(journal.heads, journal.by_scope),
            *invariants.success_has_effect(ledger),
            *invariants.nothing_doubled(ledger),
            *invariants.nothing_contradicts(ledger.newest()),
            *invariants.leases_end(ledger.leases, now=now, ttl_s=LEASE_S, slack_s=1.0),
            *invariants.nothing_grows(self.usage),
        ]
        if not whole:
            return wrong
        own = {scope: n for scope, n in journal.by_scope.items() if scope.startswith(f"{org}/")}
        learned = standing(ledger, org)
        wrong += invariants.each_event_read_once(ledger, own)
        wrong += invariants.same_store(learned, self._undisturbed(number % days.KINDS))
        wrong += self._freed(org)
        return [*wrong, *self._reconciled()]

    def _freed(self, org: str) -> list[str]:
        """Whether the scopes of a quiet organisation are free before a lease's time has passed."""
        give_up = time.monotonic() + LEASE_S + 1.0
        while True:
            leases = [
                lease
                for lease in facts.ledger(self.data_dir).leases
                if lease.scope.partition("/")[0] == org
            ]
            wrong = invariants.leases_free(leases, now=datetime.now(UTC), owners=())
            if not wrong or time.monotonic() > give_up:
                return wrong
            time.sleep(0.2)

    def _reconciled(self) -> list[str]:
        """Whether index and ledger agree after ``reconcile``: a second one finds nothing to do."""
        try:
            self._reconcile()
            left = self._reconcile()
        except httpx.HTTPError as error:
            return [f"reconcile failed: {error}"]
        return [f"reconcile leaves {left}"] if any(left.values()) else []

    def _reconcile(self) -> dict[str, int]:
        answer = self.runtime.http.post("/v1/index/reconcile")
        answer.raise_for_status()
        found: dict[str, int] = answer.json()
        return found


def standing(ledger: facts.Facts, org: str) -> frozenset[Any]:
    """What is in force or waits in an organisation, without its name. How copies below it folded
    depends on when nights began, so what is no longer in view is left out."""
    return frozenset(
        (
            note.scope.partition("/")[2],
            note.status,
            note.statement,
            tuple(event.removeprefix(f"{org}-") for event in note.evidence),
        )
        for note in ledger.newest()
        if note.status in ("active", "candidate") and note.scope.partition("/")[0] == org
    )


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except (httpx.HTTPError, KeyError, ValueError, psutil.Error):
        return False
