from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from sleep_runtime.core.errors import InvalidConfig
from sleep_runtime.telemetry import failpoint as fp
from sleep_runtime.telemetry import log as logs
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.metrics import TABLE, Metrics, Sample, merge, render, snapshot

PACKAGE = Path(fp.__file__).parents[1]


def sources() -> Iterator[str]:
    for path in PACKAGE.rglob("*.py"):
        yield path.read_text("utf-8")


# ---------------------------------------------------------------------------- log


@pytest.fixture
def json_log() -> Iterator[logs.Log]:
    logs.configure("debug", "json")
    yield logs.get_logger("tests")
    logs.configure()


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    captured = capsys.readouterr()
    assert captured.out == "", "logs must leave stdout to data"
    line: dict[str, object] = json.loads(captured.err.splitlines()[-1])
    return line


def test_a_line_is_an_event_name_with_fields(
    json_log: logs.Log, capsys: pytest.CaptureFixture[str]
) -> None:
    json_log.bind(epoch=3).info(LogEvent.RUN_PLANNED, scope="acme/banking", run="run_1")
    line = last_line(capsys)
    assert line.pop("ts")
    assert line == {
        "event": "run.planned",
        "level": "info",
        "module": "tests",
        "epoch": 3,
        "scope": "acme/banking",
        "run": "run_1",
    }


def test_an_unknown_event_name_is_refused(json_log: logs.Log) -> None:
    with pytest.raises(ValueError, match=r"run\.exploded"):
        json_log.info("run.exploded")  # type: ignore[arg-type]


def test_every_event_used_in_the_package_is_in_the_table() -> None:
    used = {name for text in sources() for name in re.findall(r"\bLogEvent\.([A-Z_]+)\b", text)}
    assert used, "the package logs nothing"
    assert used <= set(LogEvent.__members__)


def test_every_event_has_a_name_of_two_parts_and_a_meaning() -> None:
    for event in LogEvent:
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", event), event
        assert event.meaning
    assert pickle.loads(pickle.dumps(LogEvent.RUN_DONE)) is LogEvent.RUN_DONE


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": "hush-hush"},
        {"authorization": "hush-hush"},
        {"request": {"headers": [{"Authorization": "hush-hush"}]}},
        {"key": SecretStr("hush-hush")},
        {"reason": "401 for Bearer hush-hush"},
        {"reason": "key sk-hush-hush1234 was refused"},
        {"url": "http://user:hush-hush@db/x"},
    ],
)
def test_secrets_are_never_logged(
    json_log: logs.Log, capsys: pytest.CaptureFixture[str], fields: dict[str, object]
) -> None:
    json_log.info(LogEvent.ENGINE_PROBLEM, **fields)
    text = json.dumps(last_line(capsys))
    assert "hush" not in text
    assert "***" in text


def test_secrets_in_a_traceback_are_masked(
    json_log: logs.Log, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        raise OSError("http://user:hush@db")
    except OSError:
        json_log.exception(LogEvent.TICK_FAILED)
    text = json.dumps(last_line(capsys))
    assert "OSError" in text
    assert "hush" not in text


def test_counts_of_tokens_are_not_taken_for_secrets(
    json_log: logs.Log, capsys: pytest.CaptureFixture[str]
) -> None:
    json_log.info(LogEvent.BUDGET_SPENT, input_tokens=12, max_tokens=10)
    line = last_line(capsys)
    assert (line["input_tokens"], line["max_tokens"]) == (12, 10)


def test_bound_fields_end_with_their_block(
    json_log: logs.Log, capsys: pytest.CaptureFixture[str]
) -> None:
    with logs.bound(run="run_1"):
        json_log.info(LogEvent.RUN_STEPPED)
        assert last_line(capsys)["run"] == "run_1"
    json_log.info(LogEvent.RUN_STEPPED)
    assert "run" not in last_line(capsys)


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "console")
    try:
        log = logs.get_logger("tests")
        log.info(LogEvent.RUN_DONE)
        assert capsys.readouterr().err == ""
        log.warning(LogEvent.LEASE_LOST, scope="acme")
        assert "lease.lost" in capsys.readouterr().err
    finally:
        logs.configure()


# ---------------------------------------------------------------------------- metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def test_names_carry_the_prefix_and_the_suffix_of_their_kind() -> None:
    for row in TABLE.values():
        assert re.fullmatch(r"sleep_[a-z_]+", row.name)
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert (row.kind == "histogram") == bool(row.buckets)
        assert row.help.endswith("."), row.name
        assert "scope" not in row.labels, "a label for each scope would never stop growing"


def test_every_row_can_be_made_once_and_is_made_when_used(metrics: Metrics) -> None:
    assert list(metrics.registry.collect()) == []
    for name, row in vars(Metrics).items():
        if row in TABLE.values():
            assert getattr(metrics, name) is getattr(metrics, name)
    assert len(list(metrics.registry.collect())) == len(TABLE)


def test_every_metric_used_in_the_package_is_in_the_table() -> None:
    used = {name for text in sources() for name in re.findall(r"\bMETRICS\.([a-z_]+)\b", text)}
    assert used, "the package counts nothing"
    assert used - {"registry", "collector"} <= {n for n in vars(Metrics) if n[0] != "_"}


def test_snapshots_of_two_processes_sum_to_one_page() -> None:
    one, two = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    for metrics, seconds in ((one, 0.004), (two, 0.3)):
        metrics.capture_events.labels("accepted").inc(3)
        metrics.search_seconds.observe(seconds)
        metrics.journal_queue_events.set(5)
    two.capture_events.labels("duplicate").inc()
    crossed = pickle.loads(pickle.dumps([snapshot(one.registry), snapshot(two.registry)]))
    page = merge(crossed).decode()
    families = {f.name: f for f in text_string_to_metric_families(page)}
    events = {s.labels["outcome"]: s.value for s in families["sleep_capture_events"].samples}
    assert events == {"accepted": 6, "duplicate": 1}
    assert families["sleep_journal_queue_events"].samples[0].value == 10
    search = families["sleep_search_seconds"]
    assert search.type == "histogram"
    assert {s.labels["le"]: s.value for s in search.samples if s.name.endswith("bucket")}[
        "0.005"
    ] == 1
    assert next(s.value for s in search.samples if s.name.endswith("_count")) == 2
    assert "_created" not in page


def test_the_page_is_in_the_order_of_the_table(metrics: Metrics) -> None:
    metrics.projected.inc()
    metrics.capture_events.labels("accepted").inc()
    families = [f.name for f in text_string_to_metric_families(render(metrics.registry).decode())]
    assert families == ["sleep_capture_events", "sleep_projected"]


def test_samples_of_a_stranger_and_awkward_labels_survive_merging() -> None:
    strange = [Sample("other_total", {"path": 'a"b\\c\nd'}, 1.0, "counter")]
    family = next(iter(text_string_to_metric_families(merge([strange, strange]).decode())))
    assert (family.samples[0].labels["path"], family.samples[0].value) == ('a"b\\c\nd', 2)


# ---------------------------------------------------------------------------- fail points


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    fp.arm("")


@pytest.mark.usefixtures("disarmed")
def test_raise_fires_on_its_visit_only() -> None:
    fp.arm("run.leased=raise@2")
    fp.failpoint("run.leased")
    fp.failpoint("run.planned.before")
    with pytest.raises(fp.FailpointHit, match=r"run\.leased"):
        fp.failpoint("run.leased")
    fp.failpoint("run.leased")


@pytest.mark.usefixtures("disarmed")
def test_an_unregistered_name_is_refused_when_any_is_armed() -> None:
    fp.arm("run.leased=raise@9")
    with pytest.raises(InvalidConfig, match=r"run\.nowhere: is not a fail point"):
        fp.failpoint("run.nowhere")


def test_unarmed_fail_points_do_nothing() -> None:
    fp.failpoint("run.leased")


@pytest.mark.parametrize(
    "spec", ["nowhere=kill", "run.leased", "run.leased=explode", "run.leased=kill@0", "=kill"]
)
def test_a_specification_that_cannot_be_read_is_refused(spec: str) -> None:
    with pytest.raises(InvalidConfig, match="SLEEP_FAILPOINTS"):
        fp.parse(spec)


@pytest.mark.parametrize(
    ("action", "code"), [("kill", -signal.SIGKILL), ("exit:3", 3), ("exit", 1), ("kill@2", 0)]
)
def test_the_environment_arms_a_process_and_it_dies_as_told(action: str, code: int) -> None:
    program = (
        "from sleep_runtime.telemetry.failpoint import failpoint; failpoint('journal.append.after')"
    )
    environ = {"SLEEP_FAILPOINTS": f"journal.append.after={action}"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, check=False)
    assert done.returncode == code


@pytest.mark.usefixtures("disarmed")
def test_a_file_hurts_one_process_once_and_only_at_the_place_it_names(tmp_path: Path) -> None:
    armed = tmp_path / "failpoints"
    fp.arm(f"file:{armed}")
    fp.failpoint("run.leased")  # there is no file yet
    armed.write_text("run.leased=raise")
    fp.failpoint("run.planned.before")
    assert armed.exists(), "another place took it away"
    with pytest.raises(fp.FailpointHit, match=r"run\.leased"):
        fp.failpoint("run.leased")
    assert not list(tmp_path.iterdir())
    fp.failpoint("run.leased")
    with pytest.raises(InvalidConfig, match=r"run\.nowhere: is not a fail point"):
        fp.failpoint("run.nowhere")


def test_a_process_that_stopped_itself_goes_on_when_it_is_continued() -> None:
    program = (
        "from sleep_runtime.telemetry.failpoint import failpoint; failpoint('run.leased'); print(1)"
    )
    environ = {"SLEEP_FAILPOINTS": "run.leased=stop"}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE
    ) as hanging:
        _, status = os.waitpid(hanging.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        hanging.send_signal(signal.SIGCONT)
        out, _ = hanging.communicate(timeout=30)
    assert (hanging.returncode, out) == (0, b"1\n")


def test_every_fail_point_in_the_package_is_registered() -> None:
    used = {
        name for text in sources() for name in re.findall(r'\bfailpoint\(\s*"([a-z_.]+)"', text)
    }
    assert used, "the package has no fail points"
    assert used <= set(fp.NAMES)
