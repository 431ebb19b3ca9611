"""Whether what ``start`` put on the cluster is still there.

Ray and Serve bring back what dies. What somebody deleted they do not, and a cluster that is gone
brings nothing back: then the runtime has to end and say so, so that whoever supervises it starts it
anew from the stores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from sleep_runtime.actors.cluster import is_alive
from sleep_runtime.actors.owners import in_words
from sleep_runtime.compose.serve_state import serve_state
from sleep_runtime.core.errors import RuntimeUnavailable

LOOK_EVERY_S = 5.0
ANSWER_S = 10.0
HANGS_S = 40.0
"""A look that takes this long waits for a cluster that does not answer."""

_STARTS_AGAIN = "start it again: nothing acked is lost"


class Kind(StrEnum):
    """What can be wrong, by who could put it right."""

    CLUSTER = "cluster"
    """The control store does not answer. Ray ends a process that finds it away for a minute."""
    DELETED = "deleted"
    """Somebody took it away for good: nothing brings it back."""
    AILING = "ailing"
    """It died or is silent: Ray or Serve bring it back."""


PATIENCE_S: Mapping[Kind, float] = {Kind.CLUSTER: 30.0, Kind.DELETED: 10.0, Kind.AILING: 120.0}
"""How long each may last before the runtime ends."""


@dataclass(frozen=True)
class Trouble:
    """One part of the runtime that is not as it should be, in words."""

    kind: Kind
    part: str
    reason: str

    def error(self) -> RuntimeUnavailable:
        """What ``up`` ends with."""
        return RuntimeUnavailable(self.reason, field=self.part, mend=_STARTS_AGAIN)


class Patience:
    """How long each trouble lasts. Holds no clock: ``now_s`` is any monotonic one."""

    def __init__(self, patience_s: Mapping[Kind, float] = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._since_s: dict[tuple[Kind, str], float] = {}

    def overdue(self, troubles: Sequence[Trouble], now_s: float) -> Trouble | None:
        """The first trouble that lasts for longer than its kind may; one that ended is forgotten.

        ``troubles`` are all there are at this moment.
        """
        seen = {(each.kind, each.part): each for each in troubles}
        self._since_s = {key: self._since_s.get(key, now_s) for key in seen}
        for key, since_s in self._since_s.items():
            if now_s - since_s >= self._patience_s[key[0]]:
                return seen[key]
        return None


def look(owners: Mapping[str, Any], application: str, client: Any, node: str) -> list[Trouble]:
    """Every trouble there is now. Each question to the cluster is bounded by ``ANSWER_S``.

    ``node`` is the id of the one that holds the stores. Without it nothing comes back, though the
    control store goes on answering.
    """
    try:
        client.internal_kv_exists(b"sleep-runtime", timeout=ANSWER_S)
        if not is_alive(client, node, timeout_s=ANSWER_S):
            return [Trouble(Kind.CLUSTER, "ray", "the node that holds the stores is gone")]
    except (RayError, RuntimeError, OSError) as error:
        return [Trouble(Kind.CLUSTER, "ray", f"the cluster does not answer: {_line(error)}")]
    troubles = _troubles_of_owners(owners)
    found = _trouble_of_application(application)
    return [*troubles, found] if found else troubles


def _troubles_of_owners(owners: Mapping[str, Any]) -> list[Trouble]:
    asked = {owner.ready.remote(): name for name, owner in owners.items()}
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    troubles = [
        Trouble(Kind.AILING, asked[ref], f"the {asked[ref]} gives no sign") for ref in silent
    ]
    for ref in done:
        name = asked[ref]
        try:
            ray.get(ref)
        except ActorDiedError:
            troubles.append(Trouble(Kind.DELETED, name, f"the {name} was ended by somebody"))
        except RayError as error:
            reason = f"the {name} does not answer: {in_words(error)}"
            troubles.append(Trouble(Kind.AILING, name, reason))
    return troubles


def _trouble_of_application(application: str) -> Trouble | None:
    try:
        state = serve_state()
    except RayError as error:
        reason = f"Serve's controller does not answer: {_line(error)}"
        return Trouble(Kind.AILING, "serve", reason)
    if state is None:
        return Trouble(Kind.DELETED, "serve", "Serve was shut down by somebody")
    found = state.applications.get(application)
    if found is None or found.status in ("NOT_STARTED", "DELETING"):
        reason = f"the application {application} was deleted from Serve by somebody"
        return Trouble(Kind.DELETED, "serve", reason)
    if found.status in ("UNHEALTHY", "DEPLOY_FAILED"):
        reason = f"Serve says that the application {application} is {found.status}"
        return Trouble(Kind.AILING, "serve", reason)
    return None


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


class Watch:
    """Looks every ``every_s`` from a thread of its own, so that a look that hangs is seen too.

    ``lost`` is what ended the runtime, None while all is well. ``wake`` is called with it, once.
    """

    def __init__(
        self,
        look: Callable[[], list[Trouble]],
        wake: Callable[[], object],
        *,
        every_s: float = LOOK_EVERY_S,
        patience: Patience | None = None,
        hangs_s: float = HANGS_S,
    ) -> None:
        self.lost: Trouble | None = None
        self._look, self._wake, self._every_s, self._hangs_s = look, wake, every_s, hangs_s
        self._patience = patience or Patience()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._began_s: float | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Does not wait for a look that hangs."""
        self._stop.set()

    def hangs(self) -> Trouble | None:
        """The trouble that a look under way for too long is; None when none is."""
        began_s = self._began_s
        if began_s is None or time.monotonic() - began_s < self._hangs_s:
            return None
        reason = f"the cluster does not answer: a look takes longer than {self._hangs_s:g} s"
        return Trouble(Kind.CLUSTER, "ray", reason)

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self._began_s = time.monotonic()
            try:
                troubles = self._look()
            except Exception as error:  # noqa: BLE001 - whatever keeps it from looking is told
                reason = f"the cluster cannot be asked: {_line(error)}"
                troubles = [Trouble(Kind.CLUSTER, "ray", reason)]
            self._began_s = None
            self.lost = self._patience.overdue(troubles, time.monotonic())
            if self.lost is not None:
                self._wake()
                return
