"""Whether there is a place for us behind a Serve that runs already."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sleep_runtime.compose.serve_state import read_state
from sleep_runtime.config import Settings, load
from sleep_runtime.core.errors import RuntimeUnavailable


def settings(**overrides: Any) -> Settings:
    return load(environ={}, overrides={"http.port": 8377, **overrides}).settings


def details(host: str = "127.0.0.1", port: int = 8377, **routes: str) -> dict[str, Any]:
    return {
        "http_options": {"host": host, "port": port},
        "applications": {
            name: {"route_prefix": route, "status": "RUNNING"} for name, route in routes.items()
        },
    }


@pytest.mark.parametrize(
    "found",
    [
        details(),
        details(host="0.0.0.0"),
        details(chat="/chat"),
        {**details(), "applications": {"going": {"route_prefix": None, "status": "DELETING"}}},
    ],
)
def test_there_is_a_place(found: dict[str, Any]) -> None:
    read_state(found).check(settings())


def test_our_own_application_is_not_in_our_way() -> None:
    own = settings().ray.namespace
    found = details()
    found["applications"] = {own: {"route_prefix": "/", "status": "RUNNING"}}
    read_state(found).check(settings())


@pytest.mark.parametrize(
    ("found", "field", "mend"),
    [
        (details(port=8000), "http.port", "SLEEP_HTTP__PORT=8000"),
        (details(host="10.0.0.1"), "http.host", "SLEEP_HTTP__HOST=10.0.0.1"),
        (details(other="/"), "http.route_prefix", "SLEEP_HTTP__ROUTE_PREFIX, such as /second"),
    ],
)
def test_where_there_is_none_the_setting_is_named(
    found: dict[str, Any], field: str, mend: str
) -> None:
    with pytest.raises(RuntimeUnavailable, match=re.escape(mend)) as refusal:
        read_state(found).check(settings())
    assert refusal.value.field == field
