"""The benchmarks' harness: quantiles, and the one shape of a result."""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

HARNESS = Path(__file__).resolve().parents[2] / "benchmarks" / "harness.py"
NUMBERS = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30)


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_harness", HARNESS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


harness: Any = _load()


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.05, 7.0),
        ([3.0, 1.0, 2.0], 0.0, 1.0),
        ([3.0, 1.0, 2.0], 1.0, 3.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([0.0, 10.0], 0.05, 0.5),
        ([0.0, 10.0, 20.0], 0.75, 15.0),
        (list(range(101)), 0.99, 99.0),
    ],
)
def test_quantile_interpolates_between_sorted_values(
    values: list[float], share: float, expected: float
) -> None:
    assert harness.quantile(values, share) == pytest.approx(expected)


@settings(deadline=None)  # the machine may be busy
@given(values=NUMBERS)
def test_the_middle_quantile_is_the_median(values: list[float]) -> None:
    assert harness.quantile(values, 0.5) == pytest.approx(statistics.median(values), abs=1e-3)


@settings(deadline=None)  # the machine may be busy
@given(values=NUMBERS, low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_quantile_stays_within_the_values_and_grows_with_its_share(
    values: list[float], low: float, high: float
) -> None:
    low, high = sorted((low, high))
    slack = 1e-6 * (1 + max(map(abs, values)))
    first, second = harness.quantile(values, low), harness.quantile(values, high)
    assert min(values) - slack <= first <= second + slack <= max(values) + 2 * slack


def filled() -> Any:
    results = harness.Results("spine")
    for value in (1.0, 2.0, 3.0, 4.0, 100.0):
        results.add("capture p50", value, "ms")
    results.add("night", 12.34567, "s")
    return results


def test_a_report_has_one_shape() -> None:
    report = filled().report()
    assert set(report) == {"bench", "machine", "load", "n", "results"}
    assert report["bench"] == "spine"
    assert report["n"] == 1, "as many as the thinnest of its rows"
    assert list(report["results"]) == ["capture p50", "night"]
    row = report["results"]["capture p50"]
    assert row == {"median": 3.0, "p05": 1.2, "p95": 80.8, "unit": "ms", "n": 5}
    assert report["results"]["night"]["median"] == 12.35, "four digits, no false precision"
    assert json.loads(json.dumps(report)) == report


def test_a_report_of_nothing_is_empty_and_no_error() -> None:
    report = harness.Results("nothing").report()
    assert (report["n"], report["results"]) == (0, {})


def test_the_machine_is_named_with_what_a_reader_needs_to_compare() -> None:
    named = harness.machine()
    for part in ("cores", "GB", "Python 3."):
        assert part in named


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many repetitions the benchmark was asked for."""
    monkeypatch.setattr(sys, "argv", ["bench", "--json", "-n", "3"])
    return []


def test_the_command_line_puts_one_json_object_on_stdout(
    asked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(results: Any, repetitions: int) -> None:
        asked.append(repetitions)
        harness.say("measuring")
        results.add("night", 1.5, "s")

    assert harness.main("spine", measure) == 0
    out, err = capsys.readouterr()
    assert asked == [3]
    assert json.loads(out)["results"]["night"]["median"] == 1.5
    assert "measuring" in err, "talk goes to stderr"
