"""What every actor of a night answers while it works: where it runs, as ``status`` shows it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import ray

from sleep_runtime.actors.idle import policy_of

CONTROL = "control"
"""The concurrency group of methods that must be answered while the actor works."""


@dataclass(frozen=True)
class Whereabouts:
    """The node, host and process of an actor, and the scheduling policy it runs at.

    ``free_gpu_bytes`` is what its GPUs had free before it took any; None when nobody knows.
    """

    node: str
    host: str
    pid: int
    policy: str
    free_gpu_bytes: int | None = None


def answering(kind: type, threads: int) -> Any:
    """A remote class that answers its ``CONTROL`` methods in threads of their own."""
    remote: Any = ray.remote
    return remote(concurrency_groups={CONTROL: threads})(kind)


def here() -> Whereabouts:
    """Where this process runs. Inside an actor."""
    return Whereabouts(
        node=ray.get_runtime_context().get_node_id(),
        host=socket.gethostname(),
        pid=os.getpid(),
        policy=policy_of(),
    )
