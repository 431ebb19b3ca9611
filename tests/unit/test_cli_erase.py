"""``erase``: it asks first, follows until it is over, and tells by its exit code what is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sleep_runtime.cli import erase as command
from sleep_runtime.cli.main import main

Ask = Callable[..., tuple[int, str, str]]
RECEIPT: dict[str, Any] = {
    "id": "erasure_1",
    "scope": "acme/banking/ana",
    "kind": "scope",
    "state": "done",
    "done": True,
    "removed": {"events": 3, "notes": 1},
    "kept": [
        {
            "note": "note_1",
            "scope": "acme/banking",
            "status": "candidate",
            "support_before": {"people": 2},
            "support_after": {"people": 1},
            "reworded": True,
            "why": "somebody else said it too",
        }
    ],
    "exports": [{"path": "/x", "reached": True}],
    "backups": [{"path": "/y", "reached": False, "mend": "sleep-runtime erase --again …"}],
    "scan": {"files": 9, "bytes": 1234, "erased_hits": 0, "where": []},
}
UNDER_WAY = {"id": "erasure_1", "state": "removed", "done": False, "removed": {}}
LEFT = {**RECEIPT, "scan": {**RECEIPT["scan"], "erased_hits": 2, "where": ["ledger.sqlite:7"]}}


class Runtime:
    """Answers with one after the other of what it was given, and remembers the requests."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        status, body = self.answers.pop(0)
        return httpx.Response(status, json=body)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made, real = Runtime(), httpx.Client

    def fake(**options: Any) -> httpx.Client:
        return real(**{**options, "transport": httpx.MockTransport(made)})

    monkeypatch.setattr(httpx, "Client", fake)
    monkeypatch.setattr(command, "ASK_EVERY_S", 0.0)
    monkeypatch.setenv("SLEEP_URL", "http://127.0.0.1:1")
    return made


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(*args: str) -> tuple[int, str, str]:
        code = main(["erase", *args])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_it_follows_an_erasure_until_its_receipt_and_prints_that(
    ask: Ask, runtime: Runtime
) -> None:
    runtime.answers = [(202, UNDER_WAY), (200, UNDER_WAY), (200, RECEIPT)]
    code, out, _ = ask("acme/banking/ana", "--session", "a b/c", "--yes")
    assert code == 0
    paths = [(one.method, one.url.path) for one in runtime.asked]
    assert paths == [
        ("DELETE", "/v1/subjects/acme/banking/ana"),
        *[("GET", "/v1/erasures/erasure_1")] * 2,
    ]
    assert dict(runtime.asked[0].url.params) == {"session": "a b/c"}
    for told in (
        "erasure_1  scope acme/banking/ana: erased",
        "removed: events 3, notes 1",
        "kept note_1 of acme/banking: somebody else said it too, people 2 -> 1, in other words",
        "export /x: mended",
        "backup /y: NOT REACHED, mend: sleep-runtime erase --again …",
        "scan: 9 files, 1234 bytes, 0 hits",
    ):
        assert told in out


def test_what_is_left_is_exit_code_1_and_says_where(ask: Ask, runtime: Runtime) -> None:
    runtime.answers = [(200, LEFT), (200, LEFT)]
    code, out, _ = ask("acme/banking/ana", "--yes")
    assert code == 1
    assert "LEFT at ledger.sqlite:7" in out
    code, out, _ = ask("acme/banking/ana", "--yes", "--json")
    assert (code, json.loads(out)) == (1, LEFT)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["acme"], "say --yes"),
        ([], "SCOPE: is missing"),
        (["a//b", "--yes"], "is empty"),
        (["acme", "--session", "", "--yes"], "--session: is empty"),
        (["acme", "--session", "s", "--event", "e", "--yes"], "two erasures"),
        (["acme", "--again", "x"], "takes --in DIR and no SCOPE"),
        (["--again", "x"], "takes --in DIR and no SCOPE"),
    ],
)
def test_what_cannot_be_understood_erases_nothing(
    args: list[str], said: str, ask: Ask, runtime: Runtime
) -> None:
    code, out, err = ask(*args)
    assert (code, out, runtime.asked) == (2, "", [])
    assert said in err


@pytest.mark.parametrize(("answer", "asked"), [("y", 1), ("n", 0), ("", 0)])
def test_a_person_is_asked_once(
    answer: str, asked: int, ask: Ask, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    runtime.answers = [(200, RECEIPT)]
    ask("acme/banking/ana")
    assert len(runtime.asked) == asked


def test_a_directory_that_is_no_store_is_said(ask: Ask, tmp_path: Path) -> None:
    code, _, err = ask("acme", "--in", str(tmp_path), "--yes")
    assert code == 1
    assert "does not exist" in err
