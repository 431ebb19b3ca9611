"""``doctor``: is this machine, or this cluster, fit to run the runtime?"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleep_runtime.cli import options, process
from sleep_runtime.cli.checks import Check, State
from sleep_runtime.cli.client import read_runtime_file
from sleep_runtime.cli.doctor_engine import engine_gpus, pool_fits, vllm_checks
from sleep_runtime.cli.output import emit, out, table
from sleep_runtime.core.errors import SleepRuntimeError

if TYPE_CHECKING:
    from sleep_runtime.config import Settings

PACKAGES = ("ray", "chromadb", "onnxruntime", "tokenizers", "sqlalchemy", "alembic", "fastapi")
RAY_VERSION = "2.60.0"
MIN_FREE_BYTES = 500_000_000
LOW_FREE_BYTES = 5_000_000_000
MIN_OPEN_FILES = 4096
_FORGETFUL = frozenset({"tmpfs", "ramfs"})
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph"})


def doctor(
    *,
    as_json: options.Json = False,
    config: options.Config = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="A", help="Check this Ray cluster, too.")
    ] = None,
    sets: options.Set = None,
) -> None:
    """Check whether this machine, or this cluster, is fit to run the runtime.

    Exit code 1 when something is missing.
    """
    given = [*(sets or []), *([f"ray.address={address}"] if address else [])]
    settings = options.load_settings(config, given).settings.absolute()
    checks = examine(settings)
    if as_json:
        emit({"checks": [check._asdict() for check in checks]})
    else:
        out(table(("CHECK", "", "FOUND", "MEND"), _rows(checks)))
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)


def _rows(checks: Sequence[Check]) -> list[tuple[str, str, str, str]]:
    return [(check.name, check.state, check.detail, check.mend) for check in checks]


def examine(settings: Settings) -> list[Check]:
    """Every check, in the order in which a first start would meet its subject."""
    steps: tuple[Callable[[], Check], ...] = (
        lambda: python_version(sys.version_info[:2]),
        lambda: packages(PACKAGES),
        ray_version,
        model_weights,
        lambda: writable(settings.data_dir),
        lambda: free_space(shutil.disk_usage(_existing(settings.data_dir)).free),
        lambda: file_system(_existing(settings.data_dir)),
        lambda: open_files(resource.getrlimit(resource.RLIMIT_NOFILE)),
        idle_priority,
    )
    checks = [step() for step in steps]
    return checks + (on_cluster(settings) if settings.ray.address else alone(settings))


def alone(settings: Settings) -> list[Check]:
    """What a runtime with a Ray of its own needs of this machine besides."""
    policy, chosen = settings.pool, settings.ray
    cpus = chosen.num_cpus or os.cpu_count() or 1
    gpus = _gpus() if chosen.num_gpus is None else chosen.num_gpus
    checks = [port_free(settings), pool_fits(policy, cpus, gpus)]
    if settings.engine.kind == "vllm":
        checks.append(engine_gpus(settings.engine, policy))
        checks += vllm_checks(settings.engine, policy.gpus_per_engine)
    return checks


def on_cluster(settings: Settings) -> list[Check]:
    """What it needs of the cluster at ``ray.address``."""
    from sleep_runtime.cli.doctor_cluster import examine_cluster

    return examine_cluster(settings)


def _gpus() -> int:
    """The GPUs that a Ray started here would find."""
    try:
        from ray._private.accelerators import get_accelerator_manager_for_resource
    except ImportError:  # without Ray, which is a finding of its own
        return 0
    manager = get_accelerator_manager_for_resource("GPU")
    return int(manager.get_current_node_num_accelerators()) if manager else 0


def python_version(version: tuple[int, ...]) -> Check:
    """Only what the package is tested with."""
    found = f"{platform.python_implementation()} {'.'.join(map(str, version))}"
    if (3, 11) <= version < (3, 14):
        return Check("python", "ok", found)
    return Check("python", "fail", found, "use Python 3.11, 3.12 or 3.13")


def packages(names: Sequence[str]) -> Check:
    """All of them load: an installed package may still miss a library."""
    broken = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from loading is the finding
            broken.append(f"{name} ({error})")
    if broken:
        return Check("packages", "fail", ", ".join(broken), "pip install 'sleep-runtime[runtime]'")
    return Check("packages", "ok", f"{len(names)} can be imported")


def ray_version() -> Check:
    """Ray's behaviour is relied on in detail, so another version is worth a warning."""
    try:
        found = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return Check("ray", "fail", "not installed", f"pip install 'ray[serve]=={RAY_VERSION}'")
    if found == RAY_VERSION:
        return Check("ray", "ok", found)
    mend = f"tested with {RAY_VERSION} only: pip install 'ray[serve]=={RAY_VERSION}'"
    return Check("ray", "warn", found, mend)


def model_weights() -> Check:
    """The embedder loads, which checks the weights' digest, and embeds one text."""
    try:
        from sleep_runtime.engines.embedder import MiniLmEmbedder

        embedder = MiniLmEmbedder()
        embedder.embed(["is anybody there?"])
    except ImportError as error:
        return Check("model", "fail", str(error), "pip install 'sleep-runtime[runtime]'")
    except SleepRuntimeError as error:
        return Check("model", "fail", error.reason, error.mend)
    return Check("model", "ok", embedder.model)


def writable(data_dir: Path) -> Check:
    """A file can be written and synced where the data is or will be."""
    place = _existing(data_dir)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        mend = "choose another SLEEP_DATA_DIR, or change its owner"
        return Check("data dir", "fail", f"{place}: {error.strerror}", mend)
    missing = "" if place == data_dir else ", will be made"
    return Check("data dir", "ok", f"{data_dir}{missing}")


def free_space(free_bytes: int) -> Check:
    """Room for the journal to grow."""
    found = f"{free_bytes / 1e9:.1f} GB free"
    if free_bytes < MIN_FREE_BYTES:
        return Check("disk", "fail", found, "free some space: a full disk refuses events")
    state: State = "warn" if free_bytes < LOW_FREE_BYTES else "ok"
    return Check("disk", state, found, "little for a journal that only grows" * (state == "warn"))


def file_system(place: Path) -> Check:
    """A local disk: others forget, or do not keep locks and syncs apart."""
    kind = file_system_kind(place, _mounts())
    if kind in _FORGETFUL:
        return Check("file system", "warn", kind, "it is gone after a restart: use a disk")
    if kind in _REMOTE:
        return Check("file system", "warn", kind, "locks and fsync are unsafe there: use a disk")
    return Check("file system", "ok", kind or "unknown")


def file_system_kind(place: Path, mounts: Sequence[tuple[str, str]]) -> str:
    """The type of the longest (mount point, type) that holds this place; empty when unknown."""
    holding = [item for item in mounts if place.is_relative_to(item[0])]
    return max(holding, key=lambda item: len(item[0]), default=("", ""))[1]


def _mounts() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    except OSError:
        return []
    return [(parts[1], parts[2]) for parts in (line.split() for line in lines) if len(parts) > 2]


def port_free(settings: Settings) -> Check:
    """Nobody else listens where the runtime will."""
    where = f"{settings.http.host}:{settings.http.port}"
    known = read_runtime_file(settings)
    if known and process.is_alive(known):
        return Check("port", "ok", f"the runtime of this data directory is up at {known['url']}")
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.http.host, settings.http.port))
        except OSError as error:
            return Check("port", "fail", f"{where}: {error.strerror}", "choose SLEEP_HTTP__PORT")
    return Check("port", "ok", f"{where} is free")


def open_files(limits: tuple[int, int]) -> Check:
    """Ray keeps many files open. ``limits`` is (soft, hard)."""
    soft, hard = limits
    if soft == resource.RLIM_INFINITY or soft >= MIN_OPEN_FILES:
        return Check("open files", "ok", "unlimited" if soft < 0 else str(soft))
    state: State = "warn" if soft >= MIN_OPEN_FILES // 4 else "fail"
    return Check("open files", state, f"{soft} (hard limit {hard})", f"ulimit -n {MIN_OPEN_FILES}")


def idle_priority() -> Check:
    """Nights run at SCHED_IDLE, which only Linux has."""
    if hasattr(os, "SCHED_IDLE"):
        return Check("priority", "ok", "SCHED_IDLE for nights")
    return Check("priority", "warn", "no SCHED_IDLE here", "nights run at nice 19 instead")


def _existing(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
