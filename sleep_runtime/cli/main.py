"""The ``sleep-runtime`` command. Exit codes: 0 done, 1 failed, 2 not understood.

Nothing heavy is imported before a command needs it: ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from sleep_runtime import __version__
from sleep_runtime.cli import (
    audit,
    backup,
    capture,
    client,
    consolidate,
    doctor,
    erase,
    keys,
    lifecycle,
    notes,
    output,
    pool,
    retrieval,
    review,
    runs,
    settings,
    status,
    store,
)
from sleep_runtime.core.errors import InvalidScope, SleepRuntimeError

FAILED, USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="sleep-runtime",
    help="Agents act by day; at night the runtime distils what they did into what the next one "
    "should know.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command("up")(lifecycle.up)
app.command("down")(lifecycle.down)
app.command("status")(status.status)
app.command("capture")(capture.capture)
app.command("consolidate")(consolidate.consolidate)
app.command("search")(retrieval.search)
app.command("context")(retrieval.context)
app.add_typer(notes.app, name="notes")
app.add_typer(runs.app, name="runs")
app.add_typer(review.app, name="review")
app.add_typer(pool.app, name="pool")
app.command("export")(store.export)
app.command("erase")(erase.erase)
app.command("reconcile")(store.reconcile)
app.command("rebuild")(store.rebuild)
app.add_typer(keys.app, name="keys")
app.add_typer(backup.app, name="backup")
app.command("restore")(backup.restore)
app.add_typer(settings.app, name="config")
app.add_typer(audit.app, name="audit")
app.command("doctor")(doctor.doctor)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - the signature is typer's
    if asked:
        output.out(f"sleep-runtime {__version__}")
        raise typer.Exit(0)


@app.callback()
def root(
    *,
    version: Annotated[  # noqa: ARG001 - its callback reads it
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="KEY", help="Who asks. Default: SLEEP_API_KEY, else this machine's."
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,  # noqa: ARG001 - ``main`` reads it
) -> None:
    """Options of every command stand before its name."""
    client.GIVEN_KEY.set(key)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. Errors are printed, never raised."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(args=args, prog_name="sleep-runtime", standalone_mode=False)
    except Exception as problem:
        if "--debug" in args[:1]:
            raise
        return _tell(problem)
    except KeyboardInterrupt:
        output.say("interrupted")
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _tell(problem: Exception) -> int:
    if isinstance(problem, (InvalidScope, output.WrongUsage)):
        output.error(problem)
        return USAGE
    if isinstance(problem, SleepRuntimeError):
        output.error(problem)
        return FAILED
    if isinstance(problem, BrokenPipeError):
        sys.stderr.close()
        return FAILED
    usage = getattr(problem, "format_message", None)
    if usage is not None:
        return _tell_usage(str(usage()), int(getattr(problem, "exit_code", USAGE)))
    output.error(f"{type(problem).__name__}: {problem} (sleep-runtime --debug … shows where)")
    return FAILED


def _tell_usage(message: str, code: int) -> int:
    """The parser's own complaint; a group without a command complains with its whole help."""
    if "\n" in message:
        output.say(message)
    else:
        output.error(f"{message.rstrip('.')} (see: sleep-runtime --help)")
    return code


if __name__ == "__main__":
    sys.exit(main())
