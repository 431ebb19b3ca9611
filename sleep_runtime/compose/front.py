"""The hot path on Serve: its port, its proxy, its replicas.

On a Ray that is not ours Serve may run already, for others or for a runtime that was killed. Then
its proxy holds the port, and we take our place behind it.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from sleep_runtime.compose import haproxy
from sleep_runtime.compose.placement import replica_pinned
from sleep_runtime.compose.replica import Owners, build_replica_app
from sleep_runtime.compose.serve_state import app_name, serve_state
from sleep_runtime.config import Settings
from sleep_runtime.core.errors import RuntimeUnavailable
from sleep_runtime.serve.errors import RETRY_AFTER_S
from sleep_runtime.serve.front import Front
from sleep_runtime.stores.datadir import DataDir

DRAIN_S = 10.0
# How soon Serve sees that a replica is gone; until then requests wait for it.
LOOK_AT_REPLICA_S = 1.0
# A line for each request, with a look at the file's size, costs as much as parsing an event.
_LOGGING = {"log_level": "WARNING", "enable_access_log": False}


def check_port(settings: Settings) -> None:
    """Raise ``RuntimeUnavailable`` when the port cannot be had."""
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.http.host, settings.http.port))
        except OSError as error:
            raise RuntimeUnavailable(
                f"{settings.http.host}:{settings.http.port} cannot be had: {error.strerror}",
                field="http.port",
                mend="stop what listens there, or set SLEEP_HTTP__PORT",
            ) from None


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens on at this moment."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]


def proxy_program(settings: Settings) -> Path:
    """Write what Serve starts as HAProxy on a Ray of our own. Returns its path."""
    http = settings.http
    limits = haproxy.Limits(
        ongoing=http.max_ongoing_requests,
        queued=http.max_queued_requests,
        request_s=http.body_timeout_s,
        retry_after_s=RETRY_AFTER_S,
    )
    return haproxy.write_program(DataDir(settings.data_dir).path, limits)


def check_proxy(settings: Settings) -> None:
    """The same on a cluster we joined, where the proxy of its Serve may hold the port for us.

    Raises ``RuntimeUnavailable`` when that proxy listens elsewhere, or another application has
    our route: before anything of ours is started.
    """
    try:
        found = serve_state()
    except RayError as error:
        raise RuntimeUnavailable(
            f"the Serve of this cluster does not answer: {error}",
            field="ray.address",
            mend="wait until its controller is up again, or end it: serve shutdown",
        ) from None
    if found is None:
        check_port(settings)
        return
    found.check(settings)


def start_proxy(settings: Settings) -> None:
    """Start Serve and its proxy where there is none; returns at once."""
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": settings.http.host, "port": settings.http.port},
        logging_config=_LOGGING,
    )


def start_hot_path(settings: Settings, owners: Owners, node: str) -> None:
    """Deploy the replicas on the node of the stores; returns when they answer.

    Raises ``RuntimeUnavailable`` when another application of the cluster has our routes.
    """
    http = settings.http

    def build() -> Front:  # Serve tells a builder from an application by its being a function
        return build_replica_app(settings, owners)

    ingress = serve.ingress(build)(_HotPath)
    hot_path: Any = serve.deployment(
        ingress,
        name="HotPath",
        num_replicas=http.replicas,
        max_ongoing_requests=http.max_ongoing_requests,
        max_queued_requests=http.max_queued_requests,
        ray_actor_options={"num_cpus": 0, **replica_pinned(node)},
        backpressure_config={"status_code": 503, "retry_after_s": RETRY_AFTER_S},
        graceful_shutdown_timeout_s=DRAIN_S,
        health_check_period_s=LOOK_AT_REPLICA_S,
        logging_config=_LOGGING,
    )
    try:
        serve.run(hot_path.bind(), name=app_name(settings), route_prefix=http.route_prefix)
    except RayServeException as error:
        raise RuntimeUnavailable(
            f"Serve refused the hot path: {error}",
            field="http.route_prefix",
            mend="two applications of one cluster need two prefixes: set SLEEP_HTTP__ROUTE_PREFIX",
        ) from None


def stop_hot_path(settings: Settings) -> None:
    """Take no more requests and let those under way end."""
    with contextlib.suppress(RayServeException):  # Serve has ended before us
        serve.delete(app_name(settings))


class _HotPath:
    """The Serve ingress; everything it does is in the application it wraps."""
