"""Alerts and dashboard ask for metrics that exist, by labels they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sleep_runtime.core.run import RunState
from sleep_runtime.telemetry.metrics import Metrics, Row

FOLDER = Path(__file__).parents[2] / "monitoring"
RULES = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
TABLE = {row.name: row for row in vars(Metrics).values() if isinstance(row, Row)}
_NAME = re.compile(r"\bsleep_\w+")
_SUFFIX = re.compile(r"_(?:bucket|sum|count)$")
_BY = re.compile(r"\bby \(([^)]*)\)")
_STATE = re.compile(r'state="(\w+)"')


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def row_of(name: str) -> Row[object] | None:  # type: ignore[type-var]
    """The row of the table that a series of the page belongs to."""
    if name in TABLE:
        return TABLE[name]
    bare = TABLE.get(_SUFFIX.sub("", name))
    return bare if bare is not None and bare.kind == "histogram" else None


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_series_exists_and_has_the_labels_it_is_summed_by(expression: str) -> None:
    found = [row_of(name) for name in _NAME.findall(expression)]
    assert all(found), expression
    labels = {label for row in found if row for label in row.labels} | {"le"}
    asked = {name.strip() for by in _BY.findall(expression) for name in by.split(",")}
    assert asked <= labels, expression
    assert set(_STATE.findall(expression)) <= {state.value for state in RunState}


def test_every_recorded_series_that_is_asked_for_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = set(re.findall(r"\bsleep:[\w:]+", " ".join(expressions())))
    assert asked <= recorded


def test_an_alert_says_what_is_wrong_and_what_to_look_at() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "warn")
        assert set(alert["annotations"]) == {"summary", "description"}


def test_the_dashboard_shows_every_metric_but_the_size_of_requests() -> None:
    shown = {_SUFFIX.sub("", name) for name in _NAME.findall(json.dumps(DASHBOARD))}
    shown |= set(_NAME.findall(json.dumps(DASHBOARD)))
    missing = TABLE.keys() - shown
    assert missing <= {
        "sleep_capture_batch_events",
        "sleep_observations_total",
        "sleep_pins_total",
    }, sorted(missing)


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
