"""What the Serve of a cluster says of itself: where it listens, and what is deployed on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray

from sleep_runtime.config import Settings
from sleep_runtime.core.errors import RuntimeUnavailable

ANSWER_S = 10.0
_CONTROLLER = ("SERVE_CONTROLLER_ACTOR", "serve")
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised here, bound when configured


@dataclass(frozen=True)
class Application:
    """An application of Serve: its route prefix, None while it has none, and its status."""

    route_prefix: str | None
    status: str


@dataclass(frozen=True)
class ServeState:
    """Where the Serve of a cluster listens, and its applications by name."""

    host: str
    port: int
    applications: Mapping[str, Application]

    def check(self, settings: Settings) -> None:
        """Raise ``RuntimeUnavailable`` when we cannot take our place behind this Serve."""
        http = settings.http
        if self.port != http.port:
            raise RuntimeUnavailable(
                f"Serve runs on this cluster already and listens at {self.host}:{self.port}",
                field="http.port",
                mend=f"set SLEEP_HTTP__PORT={self.port}; it takes our routes in beside the others",
            )
        if self.host != http.host and self.host not in _EVERYWHERE:
            raise RuntimeUnavailable(
                f"Serve runs on this cluster already and listens at {self.host} only",
                field="http.host",
                mend=f"set SLEEP_HTTP__HOST={self.host}",
            )
        for name, application in sorted(self.applications.items()):
            if application.route_prefix == http.route_prefix and name != app_name(settings):
                raise RuntimeUnavailable(
                    f"the application {name} of this cluster has the route {http.route_prefix}",
                    field="http.route_prefix",
                    mend="two applications of one cluster need two prefixes: "
                    "set SLEEP_HTTP__ROUTE_PREFIX, such as /second",
                )


def serve_state() -> ServeState | None:
    """What the Serve of this cluster says of itself; None when there is none.

    Raises ``RayError`` when its controller does not answer.
    """
    name, namespace = _CONTROLLER
    try:
        controller: Any = ray.get_actor(name, namespace=namespace)
    except ValueError:
        return None
    said: Any = ray.get(controller.get_serve_instance_details.remote(), timeout=ANSWER_S)
    return read_state(said)


def read_state(details: Mapping[str, Any]) -> ServeState:
    """The ``ServeInstanceDetails`` of a controller, as a mapping."""
    http = details["http_options"]
    return ServeState(
        host=str(http.get("host") or "127.0.0.1"),
        port=int(http.get("port") or 8000),
        applications={
            name: Application(each.get("route_prefix"), str(each["status"]))
            for name, each in details["applications"].items()
        },
    )


def app_name(settings: Settings) -> str:
    """The name of our application in Serve."""
    return settings.ray.namespace
