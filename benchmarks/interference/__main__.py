"""Interference: whether capture and search are slower while nights run at full tilt.

A runtime is up in this process; ``wrk`` posts single events of 1 KB, then distinct searches, from
another one, closed loop at concurrency 8. Windows come in pairs, one with consolidation off (the
idle pool is given away) and one under a condition, in alternating order:

- ``null``: off as well: what the machine alone does to a ratio;
- ``extractive``: on, with the built-in engine and a backlog that outlasts the window;
- ``unheld``: the same, but nights do not hold back while the machine is busy
  (``pool.busy_above`` is 1): what the lowest priority alone is worth;
- ``equal``: that, with the cold processes lifted to normal priority: the control that shows that
  harm would be seen;
- ``vllm``: on, with vLLM on processors; skipped, with the reason, where it is not installed.

A pair in which consolidation went idle is discarded, counted, and measured again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster_rig import rig
from benchmarks.harness import Results, say, show
from benchmarks.interference.findings import UNHELD, Findings, rounds
from benchmarks.interference.stage import SETTINGS, Stage
from benchmarks.interference.words import write_lines
from benchmarks.waiting import bearer
from benchmarks.wrk import Client, program
from sleep_runtime.testing.vllm import small_environment

HELD = ("null", "extractive")
CONDITIONS = (*HELD, *UNHELD, "vllm")
MIN_NOTES = 200


@contextmanager
def _staged(options: argparse.Namespace, home: Path, name: str, **more: Any) -> Iterator[Stage]:
    with rig(data_dir=str(home / "data"), **SETTINGS, **more) as up:
        client = Client(up.running.url, home, bearer(home / "data"))
        yield Stage(up, client, name, options.seconds, options.backlog, options.seed)


def _vllm_settings() -> dict[str, Any]:
    """Settings of a small vLLM engine by dotted key; its environment is set here as well."""
    environment = small_environment()
    mine = {name: value for name, value in environment.items() if name.startswith("SLEEP_")}
    os.environ.update({name: value for name, value in environment.items() if name not in mine})
    return {
        name.removeprefix("SLEEP_").lower().replace("__", "."): value
        for name, value in mine.items()
    }


def measure(options: argparse.Namespace, findings: Findings) -> None:
    """Every condition that was asked for, on the store the first runtime leaves."""
    held = [name for name in HELD if name in options.conditions]
    unheld = [name for name in UNHELD if name in options.conditions]
    settings: dict[str, Any] | None = None
    if "vllm" in options.conditions:
        try:
            settings = _vllm_settings()
        except pytest.skip.Exception as missing:
            findings.skipped["vllm"] = str(missing)
            say(f"without vllm: {missing}")
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        write_lines(home, options.seed)
        with _staged(options, home, "e") as stage:
            say("learning what is searched")
            stage.prepare()
            findings.notes["at first"] = stage.notes()
            if stage.notes() < MIN_NOTES:
                raise RuntimeError(f"{stage.notes()} notes are too few to search")
            rounds(stage, held, options.n, findings)
            findings.notes["at last"] = stage.notes()
        if unheld:
            with _staged(options, home, "u", **{"pool.busy_above": 1.0}) as stage:
                stage.off()
                rounds(stage, unheld, options.n, findings)
        if settings is not None:
            with _staged(options, home, "v", **settings) as stage:
                stage.off()
                rounds(stage, ["vllm"], options.n, findings)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench interference")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("-n", type=int, default=9, help="pairs of each condition")
    parser.add_argument("--seconds", type=int, default=5, help="length of a window")
    parser.add_argument("--backlog", type=int, default=20_000, help="events pending when it is on")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    program()  # before anything is started
    findings = Findings(Results("interference"))
    measure(options, findings)
    more = {**findings.outcome(), "seconds": options.seconds}
    show(findings.results, as_json=options.json, more=more)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
