"""Random histories against a simple model: how the state machines of the contracts are run.

By default a run is derandomised: the same histories every time, so that CI is steady. With
``MACHINE_EXAMPLES`` (how many histories) and ``MACHINE_SEED`` in the environment it goes on
elsewhere; a failure prints what reproduces it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

ENV_EXAMPLES, ENV_SEED = "MACHINE_EXAMPLES", "MACHINE_SEED"
_MEMORY = Path("/dev/shm")  # noqa: S108 - only where files are made faster, by a safe name


def run_machine(
    machine: type[RuleBasedStateMachine], *, examples: int, steps: int, shrink: bool = True
) -> None:
    """Run so many histories of at most so many steps; raises what the machine raises.

    Without ``shrink`` a failure is raised as it was found: for tests that plant one.
    """
    more = os.environ.get(ENV_EXAMPLES)
    if more:
        hypothesis.seed(int(os.environ.get(ENV_SEED, "0")))(machine)
    phases = [Phase.generate] + [Phase.shrink] * shrink
    profile = settings(
        max_examples=max(int(more or 0), examples),
        stateful_step_count=steps,
        derandomize=not more,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=profile)


class Folder:
    """A place for the files of one history, in memory where the machine has such a place."""

    def __init__(self) -> None:
        place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
        self.path = Path(tempfile.mkdtemp(prefix="machine-", dir=place))
        self._count = 0

    def new(self) -> Path:
        """A new empty directory in it."""
        self._count += 1
        made = self.path / str(self._count)
        made.mkdir()
        return made

    def copy(self, files: Path) -> Path:
        """What a crash would leave: the files of a directory as they are now, in a new one."""
        made = self.new()
        for file in files.iterdir():
            if not file.name.endswith("-shm"):  # SQLite's memory dies with the machine
                shutil.copyfile(file, made / file.name)
        return made

    def remove(self) -> None:
        shutil.rmtree(self.path)
