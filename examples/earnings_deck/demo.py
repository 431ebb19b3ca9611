"""One day, one night, one morning, on this machine: ``scripts/demo`` runs this.

Starts a runtime with a fresh data directory, replays the trail over HTTP, lets the night happen,
shows what the next agent gets, and compares it with the gold answers. Exit code 0 only when all
of it is right; 1 when something is wrong, said in words; 130 when interrupted. The runtime is
stopped in every case.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import report
from check import check, check_context
from rich.console import Console
from rig import (
    QUIET_TIMEOUT_S,
    READY_TIMEOUT_S,
    Api,
    DemoFailed,
    RuntimeProcess,
    free_port,
    wait_until,
)

HERE = Path(__file__).resolve().parent
SCRATCH = HERE.parents[1] / ".demo"
ORG = "acme"
READER = "acme/banking/ben"
QUESTION = "build the Northwind earnings deck"
COMPILERS = ("markdown", "budget")
BUDGET_TOKENS = 400
BATCH = 100


class Demo:
    """The flow, with the stopwatch and the problems found on the way."""

    def __init__(self, console: Console, runtime: RuntimeProcess, api: Api) -> None:
        self.console = console
        self.runtime = runtime
        self.api = api
        self.gold: dict[str, Any] = json.loads((HERE / "gold.json").read_text("utf-8"))
        self.seconds: dict[str, float] = {}
        self.problems: list[str] = []

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the phase."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start

    def play(self) -> None:
        """All phases in turn; problems are collected, not raised."""
        with self.timed("start"):
            self.wait_ready()
        with self.timed("day"):
            self.day()
        with self.timed("night"):
            self.night()
        with self.timed("morning"):
            self.morning()

    def wait_ready(self) -> None:
        """Wait for /readyz, with a limit; a runtime that died or hangs shows its own words."""
        self.console.print(f"Starting the runtime at {self.api.url} (log: {self.runtime.log})")

        def done() -> bool:
            return self.runtime.exit_code() is not None or self.api.ready()

        with self.console.status("starting") as status:
            in_time = wait_until(
                done,
                timeout_s=READY_TIMEOUT_S,
                tick=lambda spent: status.update(f"starting, {spent:.0f} s"),
            )
        code = self.runtime.exit_code()
        if code is not None:
            raise DemoFailed(f"the runtime ended with exit code {code}:\n{self.runtime.tail()}")
        if not in_time:
            limit = f"{READY_TIMEOUT_S:.0f} s"
            raise DemoFailed(f"the runtime is not ready after {limit}:\n{self.runtime.tail()}")

    def day(self) -> None:
        """Replay the trail in the order of arrival."""
        rows = (HERE / "events.ndjson").read_bytes().splitlines()
        report.heading(self.console, "The day", "three analysts and their agents build a deck")
        accepted = duplicates = 0
        rejected: list[dict[str, Any]] = []
        ack_ms = []
        for first in range(0, len(rows), BATCH):
            start = time.monotonic()
            answer = self.api.capture(rows[first : first + BATCH])
            ack_ms.append((time.monotonic() - start) * 1000)
            accepted += answer["accepted"]
            duplicates += answer["duplicates"]
            rejected += answer["rejected"]
        report.show_day(self.console, [json.loads(row) for row in rows])
        self.console.print(
            f"\n  {len(rows)} delivered in {len(ack_ms)} batches, {accepted} durable, "
            f"{duplicates} delivered twice, {len(rejected)} refused; "
            f"an ack took {sorted(ack_ms)[len(ack_ms) // 2]:.0f} ms (median)"
        )
        self._judge_day(accepted, duplicates, rejected)

    def _judge_day(self, accepted: int, duplicates: int, rejected: list[dict[str, Any]]) -> None:
        events = self.gold["events"]
        again = self.gold["deliveries"] - events
        if (accepted, duplicates) != (events, again):
            self.problems.append(
                f"capture: {accepted} accepted and {duplicates} duplicates, "
                f"expected {events} and {again}"
            )
        self.problems += [f"capture: refused {item['error']}" for item in rejected[:5]]

    def night(self) -> None:
        """Ask for the night, wait until it is quiet, show what happened."""
        report.heading(self.console, "The night", "what was proposed, rejected and written")
        self.api.request_night(ORG)
        with self.console.status("consolidating") as status:
            quiet = wait_until(
                lambda: bool(self.api.status(ORG)["quiet"]),
                timeout_s=QUIET_TIMEOUT_S,
                tick=lambda spent: status.update(f"consolidating, {spent:.0f} s"),
            )
        runs = self.api.runs(ORG)
        notes = self.api.notes(ORG)
        report.show_runs(self.console, runs)
        report.show_left_out(self.console, runs)
        report.show_rejected(self.console, runs)
        report.show_written(self.console, runs, notes)
        if not quiet:
            raise DemoFailed(
                f"the night is not over after {QUIET_TIMEOUT_S:.0f} s:\n{self.runtime.tail()}"
            )
        self.problems += [
            f"run of {item['run']['scope']} was abandoned: {item['run']['reason']}"
            for item in runs
            if item["run"]["state"] == "abandoned"
        ]

    def morning(self) -> None:
        """Show the notes and what the next agent gets, and compare both with the gold."""
        notes = self.api.notes(ORG)
        active = [note for note in notes if note["status"] == "active"]
        report.heading(self.console, "The morning", f"{len(active)} active notes")
        for note in sorted(active, key=lambda note: (note["scope"].count("/"), note["scope"])):
            report.show_note(self.console, self.api.note(note["id"]))
        report.heading(self.console, "The next agent", f'{READER} asks: "{QUESTION}"')
        report.show_search(self.console, self.api.search(READER, QUESTION, k=5))
        for compiler in COMPILERS:
            answer = self.api.context(READER, QUESTION, compiler=compiler, budget=BUDGET_TOKENS)
            report.show_context(self.console, answer)
            found = check_context(answer["text"], self.gold, READER)
            self.problems += [f"{compiler}: {problem}" for problem in found]
        self.problems += check(notes, self.gold)

    def stop(self) -> None:
        """Stop the runtime and say so. A second Ctrl-C does not leave it running."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            pid = self.runtime.pid
            with self.timed("stop"):
                self.api.close()
                self.runtime.stop()
        finally:
            signal.signal(signal.SIGINT, before)
        self.console.print(f"\nThe runtime (pid {pid}) is stopped.")
        trouble = self.runtime.trouble
        if trouble and not any(trouble in problem for problem in self.problems):
            self.problems.append(trouble)

    def verdict(self) -> int:
        """Print what is wrong, or that nothing is."""
        report.show_seconds(self.console, self.seconds)
        if not self.problems:
            lessons = len(self.gold["lessons"])
            self.console.print(f"All right: {lessons} lessons, each once and where it belongs.")
            return 0
        report.show_problems(self.console, self.problems)
        return 1


def play_and_stop(demo: Demo) -> None:
    """Play; whatever ends it, the runtime is stopped, and a failure is one of the problems."""
    try:
        demo.play()
    except DemoFailed as failure:
        demo.problems.append(str(failure))
    finally:
        demo.stop()


def run(console: Console, command: list[str], *, keep: bool) -> int:
    """Play the demo in a fresh directory, which is removed when all was right."""
    SCRATCH.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="run-", dir=SCRATCH))
    port = free_port()
    runtime = RuntimeProcess(command, home / "data", port, home / "runtime.log")
    demo = Demo(console, runtime, Api(port, home / "data"))
    try:
        with runtime:
            play_and_stop(demo)
    except KeyboardInterrupt:
        if not keep:
            shutil.rmtree(home)
        raise
    code = demo.verdict()
    if code == 0 and not keep:
        shutil.rmtree(home)
    else:
        console.print(f"Data and log are kept in {home}")
    return code


def main() -> int:
    """Read the arguments; turn SIGTERM into the same orderly end as Ctrl-C."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep the data directory afterwards")
    parser.add_argument(
        "--runtime",
        default=str(Path(sys.executable).with_name("sleep-runtime")),
        help='the command to which "up" is added',
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = report.make_console()
    try:
        return run(console, shlex.split(args.runtime), keep=args.keep)
    except DemoFailed as failure:
        console.print(f"demo: {failure}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
