"""The short way from a replica to the journal: a Unix socket beside Ray.

An actor call costs both ends more than parsing, writing and answering an event together. So what
is captured goes over a socket of the machine, on which replicas and the journal's owner live
anyhow; Ray starts the owner, starts it again, and tells replicas where it listens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import struct
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from sleep_runtime.actors.journal_wire import (
    HEAD,
    MAX_FRAME_BYTES,
    answer,
    read_question,
)
from sleep_runtime.stores.journal import Answer, SqliteJournal
from sleep_runtime.telemetry.failpoint import failpoint
from sleep_runtime.telemetry.metrics import METRICS

MAX_LINES = 256
SEND_TIMEOUT_S = 5
STOP_POLL_S = 0.05
# What the kernel takes for the name of a socket, less than a byte for its end.
_MAX_NAME_BYTES = 100


class JournalSocket:
    """Listens in ``folder`` and appends what replicas send. A thread a connection.

    ``path`` is where: in the folder, or in a new one of the system's place for temporary files if
    the name would be too long for a socket. Only this user may connect.
    """

    def __init__(self, journal: SqliteJournal, folder: Path) -> None:
        self._folder = folder
        self.path = _place(folder)
        self.path.unlink(missing_ok=True)  # of an owner that was killed
        self._server = _Server(journal, self.path)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_S,), name="journal-socket"
        )
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Take no more lines and hang up on those there are. Answers on their way are sent."""
        self._server.shutdown()
        self._server.server_close()
        self.path.unlink(missing_ok=True)
        if self.path.parent != self._folder:
            self.path.parent.rmdir()


def _place(folder: Path) -> Path:
    path = folder / "journal.sock"
    if len(os.fsencode(path)) > _MAX_NAME_BYTES:
        path = Path(tempfile.mkdtemp(prefix="sleep-")) / path.name
    return path


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, journal: SqliteJournal, path: Path) -> None:
        self.journal = journal
        self.lines: set[socket.socket] = set()
        old = os.umask(0o177)  # between bind and chmod others could connect
        try:
            super().__init__(str(path), _Line)
        finally:
            os.umask(old)

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002 - the base's signature
        return len(self.lines) < MAX_LINES

    def server_close(self) -> None:
        super().server_close()
        for line in list(self.lines):
            with contextlib.suppress(OSError):  # it hung up by itself
                line.shutdown(socket.SHUT_RD)


class _Line(socketserver.StreamRequestHandler):
    """One replica's line. Questions are read here, answers written in the journal's thread."""

    server: _Server
    request: socket.socket

    def setup(self) -> None:
        super().setup()
        # The journal's thread writes the answers: a replica that does not read must not hold it.
        patience = struct.pack("ll", SEND_TIMEOUT_S, 0)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        self._turn = threading.Lock()
        self.server.lines.add(self.request)

    def handle(self) -> None:
        while (body := _read_frame(cast("BinaryIO", self.rfile))) is not None:
            try:
                number, batches = read_question(body)
            except (ValueError, TypeError):  # not of us, or not of this version
                return
            failpoint("journal.append.before")
            began = time.perf_counter()
            self.server.journal.submit_each(batches, partial(self._answer, number, began))

    def finish(self) -> None:
        self.server.lines.discard(self.request)
        super().finish()

    def _answer(self, number: int, began: float, answers: Sequence[Answer]) -> None:
        failpoint("journal.append.after")
        METRICS.journal_append_seconds.observe(time.perf_counter() - began)
        with self._turn, contextlib.suppress(OSError):
            try:
                self.request.sendall(answer(number, answers))
            except OSError:
                # Half an answer would be read as another one: who waits is told by the hang-up,
                # and sends the same ids again.
                self.request.shutdown(socket.SHUT_RDWR)


def _read_frame(file: BinaryIO) -> bytes | None:
    """The body of the next frame; None when the line ended."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (size,) = HEAD.unpack(head)
    if size > MAX_FRAME_BYTES:
        return None
    body = file.read(size)
    return body if len(body) == size else None
