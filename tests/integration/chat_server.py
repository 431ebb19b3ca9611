"""An OpenAI-compatible server on this machine that answers well, or badly in one chosen way."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_S = 20.0
_LINE = re.compile(r"^(H\d+): ((?:always|never) .*)$", re.MULTILINE)


def lesson(label: str, text: str) -> dict[str, Any]:
    """What a good model finds in a line that starts with always or never."""
    said = {"statement": text, "subject": "", "aspect": "", "value": "", "applies_when": ""}
    return {
        **said,
        "lines": [label],
        "quote": text,
        "kind": "convention",
        "durability": "standing",
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = said["messages"][-1]["content"]
        status, answer = self.server.answer(question)
        body = json.dumps(answer).encode()
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


class ChatServer(ThreadingHTTPServer):
    """``mode`` says how it answers; ``answers_left`` is how many before it fails with a 503.

    Modes: ``good``, ``nonsense`` (no JSON), ``schema`` (another object), ``empty``, ``length``
    (cut off). ``asked`` holds the questions that were answered, in order of arrival.
    """

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.mode = "good"
        self.answers_left = 10**9
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def answer(self, question: str) -> tuple[int, dict[str, Any]]:
        with self._lock:
            if self.answers_left <= 0:
                return 503, {"error": {"message": "down for maintenance"}}
            self.answers_left -= 1
            self.asked.append(question)
        content, finish = self._content(question), "stop"
        if self.mode == "length":
            content, finish = content[: len(content) // 2], "length"
        choice = {"finish_reason": finish, "message": {"content": content}}
        usage = {"prompt_tokens": 11, "completion_tokens": 7}
        return 200, {"choices": [choice], "usage": usage}

    def _content(self, question: str) -> str:
        if self.mode == "nonsense":
            return "Sure! Here is what I found: { always"
        if self.mode == "schema":
            return json.dumps({"lessons": ["always do as I say"]})
        if self.mode == "empty":
            return ""
        if question.startswith("<notes>"):
            return json.dumps({"reasoning": "Two things.", "verdict": "unrelated"})
        items = [lesson(label, text) for label, text in _LINE.findall(question)]
        return json.dumps({"reasoning": "As said.", "items": items})


@contextmanager
def serving(port: int = 0) -> Iterator[ChatServer]:
    """The server, answering from its own threads while the block runs."""
    with ChatServer(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(WAIT_S)
