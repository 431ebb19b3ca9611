"""What a running runtime opens to others, and that Ray's part of it asks for the token."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from living import Runtime

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

# Ray opens these on every interface whatever it is told, and they ask for its token; the node's
# agent opens one more, for its own metrics.
RAYS_OWN = ("gcs_server", "raylet", "ray::", "python")
LOOPBACK = ("127.0.0.1", "::1")
STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level="error")
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(3)
"""


def family(runtime: Runtime) -> dict[int, psutil.Process]:
    up = psutil.Process(runtime.process.pid)
    return {one.pid: one for one in (up, *up.children(recursive=True))}


def listening(runtime: Runtime) -> list[tuple[str, str, int]]:
    """(process, address, port) of everything the runtime listens on."""
    ours = family(runtime)
    return [
        (ours[one.pid].name(), one.laddr.ip, one.laddr.port)
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.pid in ours and one.laddr
    ]


def test_beyond_loopback_only_ray_listens_and_none_of_it_is_ours(runtime: Runtime) -> None:
    found = listening(runtime)
    http = int(runtime.url.rpartition(":")[2])
    assert ("haproxy", "127.0.0.1", http) in found
    for name, address, port in found:
        if address in LOOPBACK:
            continue
        assert name.startswith(RAYS_OWN), f"{name} listens on {address}:{port}"
        assert port != 8265, "Ray's dashboard is on"
    ours = [(name, at) for name, at, _ in found if name == "haproxy"]
    assert ours
    assert {at for _, at in ours} == {"127.0.0.1"}


def test_whoever_has_no_token_gets_nothing_of_ray(runtime: Runtime) -> None:
    address = json.loads((runtime.data_dir / "runtime.json").read_text())["ray_address"]
    environment = {**runtime.environment, "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}
    stranger = subprocess.run(
        [sys.executable, "-c", STRANGER, address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert stranger.returncode == 3, stranger.stdout + stranger.stderr
    assert runtime.http.get("/readyz").status_code == 200


def test_what_opens_doors_is_for_its_owner_only(runtime: Runtime) -> None:
    home = Path(runtime.environment.get("HOME", str(Path.home())))
    for path in (
        home / ".ray" / "auth_token",
        runtime.data_dir / "local.key",
        runtime.data_dir / "access.sqlite",
        runtime.data_dir / "journal.sock",
    ):
        if path.exists():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE(runtime.data_dir.stat().st_mode) == 0o700
