"""What Serve's HAProxy has to find in its environment, and what Ray had in it when it started.

Serve reads these variables in each of its processes, so they are set before Ray starts, on every
node: here for a Ray of our own, in ``cluster/`` for one that we join.
"""

from __future__ import annotations

import os
import resource
import zlib
from collections.abc import Mapping

import ray
from ray.exceptions import RayError

from sleep_runtime.compose.placement import pinned

# HAProxy takes several times what Serve's own proxy does, and what it hands on is answered in the
# replica's loop, not in a thread beside it: nothing of ours blocks that loop.
#
# It lets go of clients that do not go on sending or reading, which hold a place at a replica, and
# of a replica that says nothing for longer than rebuilding an index takes. Serve looks after it
# every second and has it again after three looks. It knows within a second that a replica wants
# to leave, so none has to stay open half a minute for it.
HA_PROXY = "RAY_SERVE_ENABLE_HA_PROXY"
PROXY_ENVIRONMENT = {
    HA_PROXY: "1",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "20",
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "660",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
}
# Serve listens here as well. Each Ray of a machine needs ports of its own: the last one is shared
# with whoever asks for it, and what one runtime was sent would be taken by another.
PROXY_PORTS = (
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
)
_REPLICA_PORTS = (
    "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT",
)
# Below what systems give to outgoing connections. A port rests for minutes after its replica.
_FIRST_PORT, _PORTS_OF_ONE, _RANGES = 20_000, 100, 120
HAPROXY_PROGRAM = "RAY_SERVE_HAPROXY_BINARY_PATH"
READY_TIMEOUT = "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"
SLOW = "Serve's own proxy answers, which takes a fraction of the requests that HAProxy does"
DEFAULTS = "HAProxy runs with some of Ray's own settings, which are slower to mend and to let go"
ANSWER_S = 30.0
MAX_CONNECTIONS = "RAY_SERVE_HAPROXY_MAXCONN"
MOST_CONNECTIONS = 16_384
# HAProxy does not start when it may not have two files a connection and two a splicing pipe, of
# which it makes a quarter as many, and some for itself.
_FILES_OF_FOUR = 10
_FILES_OF_ITS_OWN = 500


def max_connections(open_files: int) -> int:
    """How many clients may be connected where a process may have ``open_files`` open."""
    return max(1, min(MOST_CONNECTIONS, (open_files - _FILES_OF_ITS_OWN) * 4 // _FILES_OF_FOUR))


def replica_ports(name: str) -> dict[str, str]:
    """Where the replicas of the Ray of this name listen.

    HAProxy goes on sending to the port of a replica that died, for as long as Serve has not seen
    it: until then no replica of another Ray of the machine must listen there.
    """
    first = _FIRST_PORT + zlib.crc32(name.encode()) % _RANGES * _PORTS_OF_ONE
    return dict(zip(_REPLICA_PORTS, (str(first), str(first + _PORTS_OF_ONE - 1)), strict=True))


def open_files() -> int:
    """How many files a process of ours may have open, were it to ask."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS * _FILES_OF_FOUR if hard == resource.RLIM_INFINITY else hard


def lacking(environment: Mapping[str, str]) -> list[str]:
    """The variables of the proxy that a process of Ray with this environment does not have.

    One that is set to something else is somebody's choice, but for the switch itself.
    """
    on = environment.get(HA_PROXY) == PROXY_ENVIRONMENT[HA_PROXY]
    missing = [name for name in PROXY_ENVIRONMENT if name != HA_PROXY and name not in environment]
    return missing if on else [HA_PROXY, *missing]


def remarks(node: str) -> list[str]:
    """What to tell whoever starts the runtime on a cluster about the proxy of its Serve.

    Asks a worker of ``node``, at most ``ANSWER_S``: it has what Ray was started with.
    """
    asked = ray.remote(_lacking_here).options(num_cpus=0, max_retries=0, **pinned(node)).remote()
    try:
        missing: list[str] = ray.get(asked, timeout=ANSWER_S)
    except RayError as error:
        return [f"a worker of this node did not say what Ray was started with: {error}"]
    if not missing:
        return []
    what = SLOW if HA_PROXY in missing else DEFAULTS
    values = " ".join(f"{name}={PROXY_ENVIRONMENT[name]}" for name in missing)
    return [f"{what} (before ray start, on every node: export {values})"]


def _lacking_here() -> list[str]:
    return lacking(os.environ)
