"""Where the ``sleep-runtime`` command starts. The client is installed without the runtime."""

from __future__ import annotations

import sys
from collections.abc import Sequence

FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, or say in one line what to install first; the exit code."""
    try:
        from sleep_runtime.cli.main import main as run
    except ModuleNotFoundError as problem:
        if problem.name is None or problem.name.partition(".")[0] == "sleep_runtime":
            raise
        sys.stderr.write(
            f"error: only the client is installed here, without {problem.name} "
            '(pip install "sleep-runtime[runtime]")\n'
        )
        return FAILED
    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
