"""Every state of a run, every write in it, a death at every edge; and bugs that are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reliability.run_states import Explorer, Wrong
from sleep_runtime.core.errors import SleepRuntimeError
from sleep_runtime.core.run import RunState
from sleep_runtime.stores.ledger import leases, observations, outbox, runs
from sleep_runtime.testing.contracts.machines import Folder

# What was explored when this was written. A step that is new has to be explored as well.
STATES, EDGES, DEATHS, REFUSED = 355, 1166, 2474, 7717


@pytest.mark.timeout(300)
def test_every_state_of_a_run_keeps_its_promises() -> None:
    folder = Folder()
    try:
        found = Explorer(folder.path).explore()
    finally:
        folder.remove()
    assert found.seen == set(RunState)
    assert found.states >= STATES
    assert found.edges >= EDGES
    assert found.deaths >= DEATHS
    assert found.refused >= REFUSED
    assert sorted(found.digests) == ["learned", "observed", "read"]
    assert len(set(found.digests.values())) == 3


def _nothing(*_: Any, **__: Any) -> int:
    return 0


def _whatever_epoch(check: Callable[..., Any]) -> Callable[..., Any]:
    def only_the_owner(tx: Any, lease: Any) -> Any:
        row = tx.execute(leases._FIND, {"of": str(lease.scope)}).first()
        return check(tx, lease.model_copy(update={"epoch": row.epoch}))

    return only_the_owner


def _always(stands_at: Callable[..., Any]) -> Callable[..., Any]:
    def at(run: Any, state: RunState) -> bool:
        return True if state is RunState.GENERATED else bool(stands_at(run, state))

    return at


def _in_front(found: Callable[..., Any]) -> Callable[..., Any]:
    """As if the observations were a transaction of their own."""

    def store(tx: Any, new: Any) -> Any:
        done = found(tx, new)
        tx.exec_driver_sql("COMMIT")
        tx.exec_driver_sql("BEGIN IMMEDIATE")
        return done

    return store


@pytest.mark.parametrize(
    ("module", "name", "bug"),
    [
        (leases, "check", _whatever_epoch),
        (runs, "stands_at", _always),
        (outbox, "mark", lambda _: _nothing),
        (runs, "move_cursors", lambda _: _nothing),
        (observations, "store", _in_front),
    ],
)
def test_a_planted_bug_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    bug: Callable[[Any], Any],
) -> None:
    monkeypatch.setattr(module, name, bug(getattr(module, name)))
    with pytest.raises((Wrong, SleepRuntimeError)):
        Explorer(tmp_path).explore()
