"""``runs undo`` and ``review``: what is sent, what is printed, and how a refusal reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from sleep_runtime.cli.main import main
from sleep_runtime.cli.reasons import in_words

Answer = tuple[int, dict[str, Any]]
Ask = Callable[..., tuple[int, str, str]]

RUN = {
    "id": "run_9",
    "number": 9,
    "scope": "acme/banking",
    "trigger": "undo",
    "state": "committed",
}
UNDO: dict[str, Any] = {
    "target": "run_1",
    "scope": "acme/banking",
    "undoes": ["run_2", "run_1"],
    "later": [{"run": "run_2", "number": 2, "notes": ["note_1"]}],
    "changes": [
        {
            "kind": "restore",
            "restores": 1,
            "note": {"id": "note_1", "status": "candidate", "statement": "Use EBITDA."},
        },
        {
            "kind": "retire",
            "restores": 0,
            "note": {"id": "note_2", "status": "retired", "statement": "Use bullets."},
        },
    ],
    "folded": [{"scope": "acme/banking/ana", "note": "note_3", "into": "note_1"}],
    "run": None,
}
REVIEW: dict[str, Any] = {
    "id": "review_1",
    "scope": "acme/banking",
    "kind": "conflict",
    "notes": [
        {"id": "note_1", "statement": "Use adjusted EBITDA."},
        {"id": "note_2", "statement": "Use reported EBITDA."},
    ],
    "wanted": None,
    "reason": "it cannot be told which holds",
    "takes": ["same", "keep-left"],
    "run": "run_1",
    "created_at": "2026-11-22T09:00:00+00:00",
    "state": "open",
    "decision": None,
    "by": "",
    "at": None,
    "applied_by": None,
}


class Runtime:
    """Answers each request with what it was given, and remembers the requests."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Answer] = {}
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        status, body = self.answers[request.method, request.url.path]
        return httpx.Response(status, json=body)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made, real = Runtime(), httpx.Client

    def fake(**options: Any) -> httpx.Client:
        return real(**{**options, "transport": httpx.MockTransport(made)})

    monkeypatch.setattr(httpx, "Client", fake)
    monkeypatch.setenv("SLEEP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("USER", "eve")
    return made


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(*args: str) -> tuple[int, str, str]:
        code = main(args)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_dry_run_tells_what_would_change_and_that_more_is_needed(
    ask: Ask, runtime: Runtime
) -> None:
    runtime.answers["POST", "/v1/runs/run_1/undo"] = 200, UNDO
    code, out, err = ask("runs", "undo", "run_1", "--dry-run")
    assert code == 0
    assert json.loads(runtime.asked[0].content) == {"dry_run": True, "cascade": False}
    assert out.startswith("would undo run_2, run_1 of acme/banking\n")
    for told in (
        "later: run_2 (night 2) built on note_1",
        "restore    note_1: candidate, as at revision 1",
        "retire     note_2: retired, was not there",
        "comes back note_3 of acme/banking/ana, which had folded into note_1",
    ):
        assert told in out
    assert "--cascade" in err


def test_an_undo_names_its_own_run(ask: Ask, runtime: Runtime) -> None:
    runtime.answers["POST", "/v1/runs/run_1/undo"] = 200, {**UNDO, "run": RUN}
    code, out, err = ask("runs", "undo", "run_1", "--cascade")
    assert (code, err) == (0, "")
    assert json.loads(runtime.asked[0].content) == {"dry_run": False, "cascade": True}
    assert out.startswith("run_9 undid run_2, run_1 of acme/banking\n")
    _, out, _ = ask("runs", "undo", "run_1", "--cascade", "--json")
    assert json.loads(out) == {**UNDO, "run": RUN}


def test_a_refused_undo_is_one_line_with_its_mend(ask: Ask, runtime: Runtime) -> None:
    error = {"field": "cascade", "reason": "later nights built on it: run_2", "mend": "--cascade"}
    runtime.answers["POST", "/v1/runs/run_1/undo"] = 409, {"error": error}
    assert ask("runs", "undo", "run_1") == (
        1,
        "",
        "error: cascade: later nights built on it: run_2 (--cascade)\n",
    )


def test_the_queue_says_what_is_asked_and_what_may_be_answered(ask: Ask, runtime: Runtime) -> None:
    runtime.answers["GET", "/v1/reviews"] = 200, {"reviews": [REVIEW]}
    code, out, _ = ask("review", "list", "--scope", "acme")
    assert code == 0
    assert dict(runtime.asked[0].url.params) == {"scope": "acme", "state": "open", "limit": "100"}
    for told in (
        "review_1  acme/banking, conflict",
        "because it cannot be told which holds",
        "left  note_1: Use adjusted EBITDA.",
        "right note_2: Use reported EBITDA.",
        "decide: same, keep-left",
    ):
        assert told in out
    _, out, _ = ask("review", "list", "--json")
    assert json.loads(out) == {"reviews": [REVIEW]}


def test_an_empty_queue_prints_no_data(ask: Ask, runtime: Runtime) -> None:
    runtime.answers["GET", "/v1/reviews"] = 200, {"reviews": []}
    assert ask("review", "list") == (0, "", "nothing waits for a person here\n")


@pytest.mark.parametrize(("more", "by"), [((), "eve"), (("--by", "kim"), "kim")])
def test_a_decision_is_sent_with_who_decides(
    ask: Ask, runtime: Runtime, more: tuple[str, ...], by: str
) -> None:
    decided = {**REVIEW, "state": "resolved", "decision": "keep-left", "by": by}
    runtime.answers["POST", "/v1/reviews/review_1"] = 200, {"review": decided}
    code, out, _ = ask("review", "resolve", "review_1", "--decision", "keep-left", *more)
    assert code == 0
    assert json.loads(runtime.asked[0].content) == {"decision": "keep-left", "by": by}
    assert f"{by} decided keep-left" in out


def test_an_unknown_decision_is_wrong_usage_and_asks_nobody(ask: Ask, runtime: Runtime) -> None:
    code, out, err = ask("review", "resolve", "review_1", "--decision", "maybe")
    assert (code, out, runtime.asked) == (2, "", [])
    assert "keep-left" in err


def test_the_commands_decisions_and_states_are_those_of_the_runtime() -> None:
    from sleep_runtime.cli import review
    from sleep_runtime.core.review import ReviewState, Ruling

    assert [one.value for one in review.Decision] == [one.value for one in Ruling]
    assert [one.value for one in review.State] == [*(one.value for one in ReviewState), "all"]


def test_a_code_without_words_of_its_own_is_still_readable() -> None:
    assert in_words("drop.one_off") == "dropped: said for this once only"
    assert in_words("drop.some_new_code") == "drop: some new code"
