"""The runtime on Ray: owners, idle pool and night watch as actors, the hot path on Serve.

``start`` brings it up on a local Ray of its own or on a given cluster; ``Running.stop`` drains it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError

from sleep_runtime import __version__
from sleep_runtime.actors.cluster import control_store
from sleep_runtime.actors.idle_pool import remove_groups
from sleep_runtime.actors.night_watch import NightWatch
from sleep_runtime.actors.owners import IndexOwner, JournalOwner, LedgerOwner, cause_of
from sleep_runtime.compose import nights
from sleep_runtime.compose.access import prepare_keys
from sleep_runtime.compose.cold import check_same_age, make_embedder
from sleep_runtime.compose.front import (
    DRAIN_S,
    check_port,
    check_proxy,
    free_ports,
    proxy_program,
    start_hot_path,
    start_proxy,
    stop_hot_path,
)
from sleep_runtime.compose.placement import control_node, pinned
from sleep_runtime.compose.proxy import (
    HAPROXY_PROGRAM,
    MAX_CONNECTIONS,
    PROXY_ENVIRONMENT,
    PROXY_PORTS,
    READY_TIMEOUT,
    max_connections,
    open_files,
    replica_ports,
)
from sleep_runtime.compose.proxy import remarks as proxy_remarks
from sleep_runtime.compose.ray_token import private_token
from sleep_runtime.compose.replica import Owners
from sleep_runtime.compose.serve_state import app_name
from sleep_runtime.compose.watch import (
    LOOK_EVERY_S,
    Kind,
    Trouble,
    Watch,
    look,
)
from sleep_runtime.config import Settings
from sleep_runtime.core.errors import RuntimeUnavailable, SleepRuntimeError
from sleep_runtime.core.ids import digest
from sleep_runtime.core.pool import IDLE_LABELS, IDLE_RESOURCE
from sleep_runtime.stores.datadir import DataDir, write_atomically
from sleep_runtime.telemetry.log import configure

Progress = Callable[[str], None]

READY_TIMEOUT_S = 120.0
CLOSE_TIMEOUT_S = 20.0

# Ray starts its workers at nice 15, where any ordinary process would crush the hot path. Cold
# work lowers itself instead, inside its own actors.
# Ray collects what waits for resources once a second; the idle pool has to see it sooner.
# Few malloc arenas keep many-threaded workers from holding on to memory they freed.
RAY_ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "50",
    "MALLOC_ARENA_MAX": "2",
    **PROXY_ENVIRONMENT,
}

# Ray says on every start that a local cluster asks for a token, which is what we want of it.
_QUIETER = {
    "ray": logging.WARNING,
    "ray.serve": logging.WARNING,
    "ray._private.authentication.authentication_token_setup": logging.ERROR,
}


@dataclass
class Running:
    """A runtime that is up. ``wait`` blocks until a signal asks to stop; ``stop`` drains."""

    url: str
    settings: Settings
    owners: Owners
    _closing: contextlib.ExitStack
    remarks: Sequence[str] = ()
    """What does not keep it from running and is worth telling whoever started it."""
    _lost: Trouble | None = None

    def wait(self) -> str:
        """Block until SIGINT or SIGTERM. Returns the signal's name. Main thread only.

        Raises ``RuntimeUnavailable`` when the cluster, the owners or the hot path are gone and
        nothing brought them back within ``watch.PATIENCE_S``.
        """
        asked: list[str] = []
        stop = threading.Event()

        def on_signal(number: int, _: object) -> None:
            asked.append(signal.Signals(number).name)
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        watch = Watch(self._look(), stop.set)
        watch.start()
        while not stop.wait(LOOK_EVERY_S) and not watch.hangs():
            continue
        watch.stop()
        if asked:
            return asked[0]
        self._lost = watch.lost or watch.hangs()
        if self._lost is None:  # the look that hung ended at this very moment
            return self.wait()
        raise self._lost.error()

    def _look(self) -> Callable[[], list[Trouble]]:
        owners = self.owners
        named = {
            "journal": owners.journal,
            "ledger": owners.ledger,
            "index": owners.index,
            "night watch": owners.watch,
        }
        node = ray.get_runtime_context().get_node_id()
        return partial(look, named, app_name(self.settings), control_store(), node)

    def stop(self, progress: Progress) -> None:
        """Take no more requests, let nights under way finish, flush the stores, leave Ray.

        A night that does not finish in time resumes from its pins at the next start.
        """
        with self._closing:
            if self._lost is not None and self._lost.kind is Kind.CLUSTER:
                progress("the cluster is gone: nothing can be drained")
                return
            progress("draining requests")
            stop_hot_path(self.settings)
            progress("waiting for nights under way")
            close_owners(self.owners)
            progress("stopped")


def close_owners(owners: Owners) -> None:
    """Close the owners in the order that lets each finish what the ones before it started.

    One that is gone is passed over. Raises ``RuntimeUnavailable``, after all of them, when one
    did not close.
    """
    problem: RayError | None = None
    for owner, args in (
        (owners.watch, (DRAIN_S,)),
        (owners.index, ()),
        (owners.ledger, ()),
        (owners.journal, ()),
    ):
        try:
            ray.get(owner.close.remote(*args), timeout=CLOSE_TIMEOUT_S + DRAIN_S)
        except ActorDiedError:
            continue
        except RayError as error:
            problem = problem or error
        ray.kill(owner)
    if problem is not None:
        raise RuntimeUnavailable(
            f"an owner did not close in time: {problem}",
            mend="nothing acked is lost: start it again",
        )


def start(settings: Settings, *, progress: Progress) -> Running:
    """Bring the runtime up; returns when it is ready for requests.

    Raises ``StoreBusy`` when another runtime has the data directory, ``StoreTooNew`` when a
    newer version wrote it, ``RuntimeUnavailable`` when Ray or the port cannot be had.
    """
    settings = of_its_own(settings.absolute())
    configure(settings.log.level, settings.log.format)
    paths = DataDir(settings.data_dir).ensure()
    closing = contextlib.ExitStack()
    try:
        closing.enter_context(paths.lock("runtime"))
        prepare_keys(settings, datetime.now(UTC))
        if not settings.ray.address:
            check_port(settings)
        progress("starting Ray")
        _connect(settings)
        closing.callback(ray.shutdown)
        if settings.ray.address:
            check_proxy(settings)
        node = control_node()
        told = proxy_remarks(node) if settings.ray.address else ()
        _clear_leftovers()
        with _leaving_nothing(settings):
            progress("opening the stores")
            owners = _start_owners(settings, node)
            progress("starting the hot path")
            start_hot_path(settings, owners, node)
            progress("starting the night watch")
            _opened(owners.index, owners.watch)
    except BaseException:
        closing.close()
        raise
    prefix = settings.http.route_prefix.rstrip("/")
    url = f"http://{_reachable(settings.http.host)}:{settings.http.port}{prefix}"
    _announce(paths, url, closing)
    return Running(url, settings, owners, closing, remarks=told)


def of_its_own(settings: Settings) -> Settings:
    """Give each data directory a namespace of its own: owners are found by name, and those of
    another directory must never be taken for ours."""
    name = f"{settings.ray.namespace}-{digest(str(settings.data_dir))[:8]}"
    return settings.model_copy(update={"ray": settings.ray.model_copy(update={"namespace": name})})


def _clear_leftovers() -> None:
    """End what a runtime that was killed left on a cluster: it works by settings of yesterday.

    The directory's lock is ours, so nobody uses these actors any more.
    """
    for name in ray.util.list_named_actors():
        ray.kill(ray.get_actor(name))
    remove_groups()


@contextlib.contextmanager
def _leaving_nothing(settings: Settings) -> Iterator[None]:
    """Take away what a start that fails has put on the cluster already: its actors are detached."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(RayError, RuntimeUnavailable, TimeoutError):
            stop_hot_path(settings)
            _clear_leftovers()
        raise


def _reachable(host: str) -> str:
    """How a client on this machine writes the address the server listens on."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - recognised here, bound only when configured
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _connect(settings: Settings) -> None:
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(level)
    chosen = settings.ray
    common: dict[str, Any] = {
        "namespace": chosen.namespace,
        "log_to_driver": settings.log.level == "debug",
        "logging_level": "warning",
    }
    try:
        if chosen.address:
            ray.init(address=chosen.address, **common)
            return
        _set_environment({**RAY_ENVIRONMENT, **_proxy_environment(settings)})
        private_token(Path.home() / ".ray" / "auth_token")
        ray.init(
            address="local",
            num_cpus=chosen.num_cpus,
            num_gpus=chosen.num_gpus,
            resources={IDLE_RESOURCE: settings.pool.max_engines},
            labels=dict(IDLE_LABELS),
            include_dashboard=chosen.dashboard,
            dashboard_host="127.0.0.1",
            object_store_memory=chosen.object_store_bytes,
            **common,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RuntimeUnavailable(
            f"Ray cannot be reached or started: {error}",
            field="ray.address",
            mend="leave it empty for a local Ray, or check that the cluster is up",
        ) from error


_set_by_us: set[str] = set()


def _proxy_environment(settings: Settings) -> dict[str, str]:
    """What differs from runtime to runtime, and from machine to machine."""
    ports = (str(port) for port in free_ports(len(PROXY_PORTS)))
    return {
        **dict(zip(PROXY_PORTS, ports, strict=True)),
        **replica_ports(settings.ray.namespace),
        MAX_CONNECTIONS: str(max_connections(open_files())),
        HAPROXY_PROGRAM: str(proxy_program(settings)),
        READY_TIMEOUT: "30",  # on a busy machine our program may take longer than Serve's patience
    }


def _set_environment(wanted: Mapping[str, str]) -> None:
    """For Ray, which is started by this process; what a person has set stays."""
    for name, value in wanted.items():
        if name not in os.environ or name in _set_by_us:
            os.environ[name] = value
            _set_by_us.add(name)


# ---------------------------------------------------------------------------- actors


def _start_owners(settings: Settings, node: str) -> Owners:
    data_dir = str(settings.data_dir)
    place = pinned(node)
    prepare = partial(configure, settings.log.level, settings.log.format)
    journal = _actor(settings, JournalOwner, "journal", place, concurrency=4).remote(
        prepare,
        data_dir,
        max_batch=settings.journal.max_batch,
        max_pending=settings.journal.max_pending,
        max_pending_bytes=settings.journal.max_pending_bytes,
    )
    ledger = _actor(settings, LedgerOwner, "ledger", place, concurrency=4).remote(
        prepare, data_dir, settings.policy.triggers
    )
    start_proxy(settings)
    _opened(journal, ledger)
    check_same_age(settings)
    index = _actor(settings, IndexOwner, "index", place, concurrency=16).remote(
        prepare, data_dir, ledger, partial(make_embedder, settings), settings.index.buckets
    )
    watch = _actor(settings, NightWatch, "night-watch", place, concurrency=16).remote(
        partial(nights.make_scheduler, settings, ledger),
        partial(nights.make_tiers, settings, ledger, index, place),
        partial(nights.make_keeper, settings, ledger),
        tick_s=settings.scheduler.tick_s,
        catch_up=partial(nights.catch_up, settings, index),
        make_eraser=partial(nights.make_eraser, settings, journal, ledger, index),
    )
    return Owners(journal=journal, ledger=ledger, index=index, watch=watch)


def _actor(
    settings: Settings, kind: type, name: str, place: dict[str, Any], *, concurrency: int = 1
) -> Any:
    return ray.remote(kind).options(
        name=name,
        namespace=settings.ray.namespace,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        num_cpus=0,
        max_concurrency=concurrency,
        **place,
    )


def _opened(*owners: Any) -> None:
    """Wait until these actors are ready. What one raised while opening comes out as it was."""
    give_up = time.monotonic() + READY_TIMEOUT_S
    pause = threading.Event()
    for owner in owners:
        while not _stands(owner):
            if time.monotonic() > give_up:
                raise RuntimeUnavailable(
                    f"a part did not answer in {READY_TIMEOUT_S:g} s",
                    mend="look at the logs under the Ray session directory",
                )
            pause.wait(0.1)


def _stands(owner: Any) -> bool:
    """Whether the actor says it is ready; one that is being restarted is not yet."""
    try:
        return bool(ray.get(owner.ready.remote(), timeout=READY_TIMEOUT_S))
    except ActorUnavailableError:
        return False
    except (RayTaskError, ActorDiedError) as error:
        raise _cause(error) from None


def _cause(error: BaseException) -> BaseException:
    """Our own error at the bottom of what Ray wrapped around it, else Ray's in words."""
    found = cause_of(error)
    if isinstance(found, SleepRuntimeError):
        return found
    return RuntimeUnavailable(str(error), mend="look at the logs under the Ray session directory")


def _announce(paths: DataDir, url: str, closing: contextlib.ExitStack) -> None:
    """Leave a note in the data directory, by which commands find the runtime."""
    write_atomically(
        paths.runtime_file,
        json.dumps(
            {
                "pid": os.getpid(),
                "url": url,
                "version": __version__,
                "started_at": datetime.now(UTC).isoformat(),
                "ray_address": ray.get_runtime_context().gcs_address,
            }
        ),
    )
    closing.callback(paths.runtime_file.unlink, missing_ok=True)
