"""What ``up`` does when the hot path or the cluster is taken away under it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from head import OPEN, Head, head
from living import Runtime, event, start, stop

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Head]:
    with head(tmp_path) as running:
        yield running


def delete_our_application(cluster: Head) -> None:
    cluster.python(
        "from ray import serve\n"
        "names = [n for n in serve.status().applications if n.startswith('sleep-runtime')]\n"
        "assert len(names) == 1, names\n"
        "serve.delete(names[0])"
    )


def ended(runtime: Runtime, timeout_s: float) -> int:
    """The exit code of an ``up`` that ends by itself."""
    runtime.http.close()
    return runtime.process.wait(timeout=timeout_s)


def test_a_hot_path_that_somebody_deleted_is_named_and_ends_the_runtime_in_order(
    cluster: Head, tmp_path: Path
) -> None:
    runtime = start(tmp_path, SLEEP_RAY__ADDRESS=cluster.address, **OPEN)
    assert runtime.capture(event(1, "lost"))["accepted"] == 1
    delete_our_application(cluster)
    status = runtime.cli("status", "--url", runtime.url)
    assert status.returncode == 1
    assert "no sleep-runtime is deployed on it" in status.stderr
    assert ended(runtime, 120) == 1, "a supervisor starts it again only when it failed"
    said = runtime.log.read_text()
    assert "was deleted from Serve by somebody" in said
    assert "Traceback" not in said
    assert not (runtime.data_dir / "runtime.json").exists()
    assert not [title for title in cluster.titles() if "JournalOwner" in title]
    again = start(tmp_path, **{**runtime.environment, "SLEEP_RAY__ADDRESS": cluster.address})
    try:
        assert again.status("lost")["pending"]["events"] == 1, "what was acked is lost"
    finally:
        assert stop(again) == 0


def test_a_cluster_that_is_gone_ends_the_runtime_and_loses_no_event(
    cluster: Head, tmp_path: Path
) -> None:
    runtime = start(tmp_path, SLEEP_RAY__ADDRESS=cluster.address, **OPEN)
    assert runtime.capture(event(1, "gone"))["accepted"] == 1
    cluster.kill()
    assert runtime.cli("status").returncode == 1
    assert ended(runtime, 120) == 1
    said = runtime.log.read_text()
    assert "the cluster does not answer" in said, said[-3000:]
    with head(tmp_path / "data", environment={**OPEN}) as other:
        again = start(tmp_path, SLEEP_RAY__ADDRESS=other.address, **OPEN)
        try:
            assert again.status("gone")["pending"]["events"] == 1, "what was acked is lost"
        finally:
            assert stop(again) == 0


def test_a_node_that_loses_its_raylet_ends_the_runtime_before_anybody_waits_for_long(
    tmp_path: Path,
) -> None:
    runtime = start(tmp_path)
    assert runtime.capture(event(1, "raylet"))["accepted"] == 1
    below = psutil.Process(runtime.process.pid).children(recursive=True)
    next(process for process in below if process.name() == "raylet").kill()
    assert ended(runtime, 110) == 1
    said = runtime.log.read_text()
    assert "the node that holds the stores is gone" in said, said[-3000:]
    again = start(tmp_path)
    try:
        assert again.status("raylet")["pending"]["events"] == 1, "what was acked is lost"
    finally:
        assert stop(again) == 0
