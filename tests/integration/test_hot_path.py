"""The public HTTP contract, endpoint by endpoint, over an embedded runtime."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from daylight import (
    ADJUSTED,
    ANA,
    BEN,
    DAN,
    DAY,
    PORT,
    REPORTED,
    SCRIPT,
    TEAM,
    TERSE,
    VERDICTS,
    World,
    claim,
    event,
    runtime,
)
from starlette.testclient import TestClient

from sleep_runtime.core.errors import EngineError
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.tokens import EstimatedTokens
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.engine import Line, ScriptedEngine

GUS = Scope("globex/lab/gus")
CODE = claim("the vault door code is blue heron")
LATER = claim("always use diluted shares")
SEEN_BY = {
    ANA: (ADJUSTED.statement, PORT.statement),
    BEN: (ADJUSTED.statement, TERSE.statement),
    DAN: (REPORTED.statement,),
    GUS: (CODE.statement,),
}
NOTE_FIELDS = {
    *("id", "statement", "kind", "tier", "scope", "subject", "aspect", "value", "applies_when"),
    *("status", "confidence", "support", "helpful", "harmful", "valid_from", "valid_to"),
    *("recorded_at", "superseded_by", "revision", "evidence", "reason"),
}
NDJSON = {"content-type": "application/x-ndjson"}


class Site(World):
    """A world with its HTTP surface."""

    http: TestClient


@contextmanager
def site(data_dir: Path, overrides: Mapping[str, Any] | None = None) -> Iterator[Site]:
    clock = ManualClock()
    script = {**SCRIPT, CODE.statement: [Line(CODE)], LATER.statement: [Line(LATER)]}
    engine = ScriptedEngine(script, VERDICTS)
    with runtime(data_dir, clock, engine, overrides) as running, TestClient(running.app()) as http:
        made = Site(running, clock, engine)
        made.http = http
        yield made


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What ``SEEN_BY`` says was learned. Tests read it, or write to organisations of their own."""
    with site(tmp_path_factory.mktemp("learned")) as made:
        learn(made)
        yield made


def learn(made: Site) -> None:
    for who, said in SEEN_BY.items():
        made.say(who, *said)
    made.clock.advance(DAY)
    made.running.nights()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def error_of(answer: Any, status: int) -> dict[str, str]:
    """The error of an answer, in the one shape errors have."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    found: dict[str, str] = answer.json()["error"]
    assert set(found) == {"field", "reason", "mend"}
    assert found["reason"]
    return found


def message(number: int, **fields: Any) -> dict[str, Any]:
    """A small event of somebody whom ``learned`` does not know."""
    base = event(Scope("initech/ops/ann"), "hello", ManualClock().now(), session="s")
    return {**base, "id": f"m{number}", **fields}


def statements(answer: Any) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {hit["note"]["statement"] for hit in answer.json()["hits"]}


# ---------------------------------------------------------------------------- capture


def test_events_are_counted_and_an_event_sent_again_is_a_duplicate(fresh: Site) -> None:
    first = fresh.http.post("/v1/events", json=[message(1), message(2)])
    assert first.status_code == 200
    assert first.json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    again = fresh.http.post("/v1/events", json=[message(2), message(3)])
    assert again.json() == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert fresh.running.journal_reader.count() == 3


def test_what_was_acked_is_in_the_journal_as_it_was_sent(fresh: Site) -> None:
    sent = message(1, about={"account": "northwind"}, data={"page": 3}, text="ünïcode ✓")
    fresh.http.post("/v1/events", json=sent)
    (stored,) = fresh.running.journal_reader.events(Scope("initech"), ["m1"])
    assert stored.event.model_dump(mode="json", exclude={"agent", "ts"}) == {
        name: value for name, value in sent.items() if name != "ts"
    }


def test_a_scope_may_be_an_object_or_a_path(fresh: Site) -> None:
    parts = {"org": "initech", "team": "ops", "user": "ann"}
    answer = fresh.http.post("/v1/events", json=[message(1), {**message(2), "scope": parts}])
    assert answer.json()["accepted"] == 2
    head = fresh.running.journal_reader.head(Scope("initech/ops/ann"))
    assert head is not None
    assert head.events == 2


def test_bad_events_are_refused_by_index_and_the_good_ones_are_kept(fresh: Site) -> None:
    fresh.http.post("/v1/events", json=message(1, text="the first"))
    batch = [
        message(2, kind="gossip"),
        message(3),
        message(1, text="another"),
        message(4, role="king"),
        message(5),
    ]
    answer = fresh.http.post("/v1/events", json=batch).json()
    assert (answer["accepted"], answer["duplicates"]) == (2, 0)
    refused = {item["index"]: item["error"] for item in answer["rejected"]}
    assert list(refused) == [0, 2, 3]
    assert refused[0].startswith("kind: ")
    assert refused[2].startswith("id: was used before")
    assert refused[3].startswith("role: ")
    assert all(reason.endswith(")") for reason in refused.values()), "each names its mend"


def test_gzipped_ndjson_is_taken_and_a_broken_line_costs_only_itself(fresh: Site) -> None:
    lines = [json.dumps(message(1)), "{oops", json.dumps(message(2))]
    answer = fresh.http.post(
        "/v1/events",
        content=gzip.compress("\n".join(lines).encode()),
        headers={**NDJSON, "content-encoding": "gzip"},
    ).json()
    assert answer["accepted"] == 2
    assert [item["index"] for item in answer["rejected"]] == [1]


@pytest.mark.parametrize("body", [b"", b"[{", b"7", b'"text"', b"\xff\xfe"])
def test_a_body_that_is_no_events_is_422_with_a_mend(learned: Site, body: bytes) -> None:
    error = error_of(learned.http.post("/v1/events", content=body), 422)
    assert error["field"] == "body"


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_over_the_limit_is_413(tmp_path: Path, packed: bool) -> None:
    with site(tmp_path, {"http.max_body_bytes": 2000}) as made:
        body = json.dumps([message(n) for n in range(100)]).encode()
        headers = {"content-encoding": "gzip"} if packed else {}
        if packed:
            body = gzip.compress(body)
            assert len(body) < 2000
        error = error_of(made.http.post("/v1/events", content=body, headers=headers), 413)
        assert error["field"] == "body"
        assert "smaller" in error["mend"]
        assert made.running.journal_reader.count() == 0


# ---------------------------------------------------------------------------- bad weather


def test_an_overloaded_journal_is_429_with_retry_after_and_nothing_acked(tmp_path: Path) -> None:
    with site(tmp_path, {"journal.max_pending": 2}) as made:
        answer = made.http.post("/v1/events", json=[message(n) for n in range(3)])
        assert "retry" in error_of(answer, 429)["mend"]
        assert int(answer.headers["retry-after"]) >= 1
        assert made.running.journal_reader.count() == 0
        assert made.http.post("/v1/events", json=message(1)).json()["accepted"] == 1


def test_a_store_that_fails_is_503_with_retry_after(fresh: Site) -> None:
    fresh.running.journal.close()
    answer = fresh.http.post("/v1/events", json=message(1))
    assert error_of(answer, 503)["mend"]
    assert int(answer.headers["retry-after"]) >= 1


def test_a_full_disk_is_507_and_nothing_is_acked(fresh: Site) -> None:
    journal: Any = fresh.running.journal
    journal._connection.execute("PRAGMA max_page_count=1")
    big = [message(n, text="x" * 4000) for n in range(20)]
    answer = fresh.http.post("/v1/events", json=big)
    assert "make room" in error_of(answer, 507)["mend"]
    assert fresh.running.journal_reader.count() == 0
    journal._connection.execute("PRAGMA max_page_count=100000")
    assert fresh.http.post("/v1/events", json=big).json()["accepted"] == 20


# ---------------------------------------------------------------------------- search, context


def test_search_gives_whole_notes_best_first(learned: Site) -> None:
    answer = learned.http.post("/v1/search", json={"scope": str(ANA), "query": "staging port"})
    hits = answer.json()["hits"]
    assert hits[0]["note"]["statement"] == PORT.statement
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    for hit in hits:
        assert set(hit) == {"note", "score"}
        assert set(hit["note"]) >= NOTE_FIELDS
        assert set(hit["note"]["support"]) >= {"events", "sessions", "people"}


def test_search_gives_at_most_k_and_refuses_what_is_no_k(learned: Site) -> None:
    one = learned.http.post("/v1/search", json={"scope": str(ANA), "query": "EBITDA", "k": 1})
    assert len(one.json()["hits"]) == 1
    for k in (0, -1, 10**6):
        body = {"scope": str(ANA), "query": "EBITDA", "k": k}
        assert error_of(learned.http.post("/v1/search", json=body), 422)["field"] == "k"


def test_search_as_of_finds_what_was_in_force_then(fresh: Site) -> None:
    fresh.say(ANA, REPORTED.statement)
    fresh.running.nights()
    before = fresh.clock.now().isoformat()
    fresh.clock.advance(DAY)
    fresh.say(ANA, ADJUSTED.statement)
    fresh.running.nights()
    body = {"scope": str(ANA), "query": "EBITDA"}
    now = statements(fresh.http.post("/v1/search", json=body))
    then = statements(fresh.http.post("/v1/search", json={**body, "as_of": before}))
    both = statements(fresh.http.post("/v1/search", json={**body, "include_superseded": True}))
    assert (now, then) == ({ADJUSTED.statement}, {REPORTED.statement})
    assert both == now | then


@pytest.mark.parametrize("path", ["/v1/search", "/v1/context"])
def test_a_query_too_long_is_refused_before_it_is_searched(learned: Site, path: str) -> None:
    for chars, status, field in ((5_000, 422, "query"), (1_000_000, 413, "body")):
        answer = learned.http.post(path, json={"scope": str(ANA), "query": "x" * chars})
        assert error_of(answer, status)["field"] == field
        assert len(answer.content) < 1000


def test_without_its_model_the_hot_path_captures_and_searches_by_words(
    fresh: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(texts: Sequence[str]) -> list[bytes]:
        raise EngineError("the weights are not those of the model", field="embedder.weights")

    learn(fresh)
    monkeypatch.setattr(fresh.running.embedder, "embed", refuse)
    answer = fresh.http.post("/v1/search", json={"scope": str(ANA), "query": "EBITDA", "k": 1})
    assert statements(answer) == {ADJUSTED.statement}
    assert fresh.http.post("/v1/events", json=[message(901)]).json()["accepted"] == 1
    assert 'sleep_search_degraded_total{part="embedder"}' in fresh.http.get("/metrics").text


def test_nobody_sees_the_notes_of_others(learned: Site) -> None:
    sees_only_its_own(learned)


def test_nobody_sees_the_notes_of_others_through_the_index(tmp_path: Path) -> None:
    """The same for scopes that are too large to be searched in memory."""
    with site(tmp_path, {"index.exact_limit": 0}) as made:
        learn(made)
        sees_only_its_own(made)
        body = {"scope": str(ANA), "query": PORT.statement}
        assert PORT.statement in statements(made.http.post("/v1/search", json=body))


def sees_only_its_own(made: Site) -> None:
    """Whatever is asked: a reader gets user, team and org, and nothing from beside or below."""
    everything = {statement for said in SEEN_BY.values() for statement in said}
    for who, said in SEEN_BY.items():
        for query in ("", *everything):
            body = {"scope": str(who), "query": query}
            for history in (False, True):
                search = {**body, "k": 100, "include_superseded": history}
                assert statements(made.http.post("/v1/search", json=search)) <= set(said)
            for compiler in ("markdown", "budget"):
                text = _context(made, {**body, "compiler": compiler})["text"]
                assert not [other for other in everything.difference(said) if other in text]


def test_a_team_reader_sees_the_team_but_not_its_people(learned: Site) -> None:
    body = {"scope": str(TEAM), "query": "staging port, bullet points, EBITDA", "k": 100}
    assert statements(learned.http.post("/v1/search", json=body)) == {ADJUSTED.statement}


def _context(made: Site, body: dict[str, Any]) -> dict[str, Any]:
    answer = made.http.post("/v1/context", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("compiler", ["markdown", "budget"])
@pytest.mark.parametrize("budget", [16, 40, 800])
def test_context_keeps_its_budget_and_names_its_notes(
    learned: Site, compiler: str, budget: int
) -> None:
    body = {"scope": str(ANA), "query": "EBITDA", "budget_tokens": budget, "compiler": compiler}
    found = _context(learned, body)
    assert found["compiler"] == compiler
    assert EstimatedTokens().count(found["text"]) <= found["tokens"] <= budget
    for note_id in found["notes"]:
        note = learned.http.get(f"/v1/notes/{note_id}").json()["note"]
        assert note["statement"] in found["text"]
    assert budget < 800 or len(found["notes"]) == 2


def test_context_without_a_compiler_uses_the_default_one(learned: Site) -> None:
    found = _context(learned, {"scope": str(ANA), "query": "EBITDA"})
    assert set(found) >= {"text", "notes", "compiler"}
    assert found["compiler"] == "markdown"


def test_an_unknown_compiler_is_404_and_lists_the_known_ones(learned: Site) -> None:
    body = {"scope": str(ANA), "query": "x", "compiler": "nope"}
    error = error_of(learned.http.post("/v1/context", json=body), 404)
    assert error["field"] == "compiler"
    assert "budget" in error["mend"]
    assert "markdown" in error["mend"]


# ---------------------------------------------------------------------------- what is asked wrongly

ASKING: dict[str, Callable[[TestClient, str], Any]] = {
    "search": lambda http, scope: http.post("/v1/search", json={"scope": scope, "query": "x"}),
    "context": lambda http, scope: http.post("/v1/context", json={"scope": scope, "query": "x"}),
    "notes": lambda http, scope: http.get("/v1/notes", params={"scope": scope}),
    "runs": lambda http, scope: http.post("/v1/runs", json={"scope": scope}),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_an_unknown_scope_is_404(learned: Site, ask: Callable[[TestClient, str], Any]) -> None:
    error = error_of(ask(learned.http, "nobody/here"), 404)
    assert error["field"] == "scope"
    assert "spelling" in error["mend"]


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
@pytest.mark.parametrize("scope", ["a/b/c/d", "../x", "a b", "a//b"])
def test_what_is_no_scope_is_422(
    learned: Site, ask: Callable[[TestClient, str], Any], scope: str
) -> None:
    assert error_of(ask(learned.http, scope), 422)["field"].startswith("scope")


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/v1/search", {"query": None}, "query"),
        ("/v1/search", {"query": "x" * 5000}, "query"),
        ("/v1/search", {"as_of": "2026-01-01T00:00:00"}, "as_of"),
        ("/v1/search", {"kk": 3}, "kk"),
        ("/v1/context", {"budget_tokens": 1}, "budget_tokens"),
        ("/v1/context", {"budget_tokens": "many"}, "budget_tokens"),
    ],
)
def test_a_wrong_field_is_422_and_named(
    learned: Site, path: str, change: dict[str, Any], field: str
) -> None:
    body = {"scope": str(ANA), "query": "x", **change}
    error = error_of(learned.http.post(path, json=body), 422)
    assert error["field"] == field
    assert error["mend"]


def test_a_body_that_is_not_json_is_422(learned: Site) -> None:
    answer = learned.http.post(
        "/v1/search", content=b'{"scope": ', headers={"content-type": "application/json"}
    )
    assert "not JSON" in error_of(answer, 422)["reason"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/search", b"\xff", 422),
        ("POST", "/v1/search", b"[" * 50_000, 422),
        ("POST", "/v1/search", b"[" * 100_000, 413),
        ("GET", "/v1/nowhere", b"", 404),
        ("DELETE", "/v1/search", b"", 405),
    ],
    ids=["not UTF-8", "nested too deep", "too large", "no such path", "no such method"],
)
def test_what_the_framework_refuses_has_the_same_shape(
    learned: Site, method: str, path: str, body: bytes, status: int
) -> None:
    headers = {"content-type": "application/json"}
    error_of(learned.http.request(method, path, content=body, headers=headers), status)


# ---------------------------------------------------------------------------- notes


def test_notes_are_listed_at_and_below_a_scope_page_by_page(learned: Site) -> None:
    whole = learned.http.get("/v1/notes", params={"scope": "acme", "status": "all"}).json()
    assert whole["next"] is None
    assert all(note["scope"].split("/")[0] == "acme" for note in whole["notes"])
    paged: list[Any] = []
    after: str | None = ""
    while after is not None:
        params: dict[str, Any] = {"scope": "acme", "status": "all", "limit": 2, "after": after}
        page = learned.http.get("/v1/notes", params=params).json()
        assert 0 < len(page["notes"]) <= 2
        paged += page["notes"]
        after = page["next"]
    assert paged == whole["notes"]
    assert len(paged) > 3


def test_notes_are_active_ones_unless_another_status_is_asked_for(learned: Site) -> None:
    active = learned.http.get("/v1/notes", params={"scope": "acme"}).json()["notes"]
    assert {note["status"] for note in active} == {"active"}
    retired = learned.http.get("/v1/notes", params={"scope": "acme", "status": "retired"}).json()
    assert {note["status"] for note in retired["notes"]} == {"retired"}
    error = error_of(learned.http.get("/v1/notes", params={"status": "lost"}), 422)
    assert error["field"] == "status"
    assert "quarantined" in error["mend"]


def test_a_note_says_why(learned: Site) -> None:
    (listed,) = learned.http.get("/v1/notes", params={"scope": str(DAN)}).json()["notes"]
    found = learned.http.get(f"/v1/notes/{listed['id']}").json()
    assert found["note"] == listed
    assert [revision["revision"] for revision in found["history"]] == [1]
    assert all(revision["reason"] for revision in found["history"])
    (excerpt,) = found["excerpts"]
    assert excerpt["event_id"] in listed["evidence"]
    assert excerpt["text"] == REPORTED.statement
    assert set(excerpt) >= {"event_id", "ts", "role", "kind", "text"}


def test_an_excerpt_is_redacted(fresh: Site) -> None:
    fresh.say(ANA, f"{PORT.statement} and my mail is ana@example.com")
    fresh.running.nights()
    (note,) = fresh.notes(ANA)
    (excerpt,) = fresh.http.get(f"/v1/notes/{note.id}").json()["excerpts"]
    assert "ana@example.com" not in excerpt["text"]
    assert PORT.statement in excerpt["text"]


@pytest.mark.parametrize("path", ["/v1/notes/note_none", "/v1/runs/run_none"])
def test_what_does_not_exist_is_404(learned: Site, path: str) -> None:
    assert error_of(learned.http.get(path), 404)["field"] == "id"


# ---------------------------------------------------------------------------- feedback


def test_feedback_is_durable_idempotent_and_weighed_by_the_next_night(fresh: Site) -> None:
    fresh.say(ANA, ADJUSTED.statement)
    fresh.running.nights()
    (note,) = fresh.notes(ANA)
    now = fresh.clock.now().isoformat()
    body = {"scope": str(ANA), "note": note.id, "helpful": True, "ts": now}
    first = fresh.http.post("/v1/feedback", json=body)
    assert first.status_code == 202
    assert first.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    second = fresh.http.post("/v1/feedback", json=body)
    assert (second.status_code, second.json()["duplicates"]) == (202, 1)
    assert fresh.notes(ANA) == [note], "the hot path never learns"
    fresh.clock.advance(DAY)
    fresh.running.nights()
    (after,) = fresh.notes(ANA)
    assert (after.helpful, after.harmful) == (1, 0)
    assert after.support == note.support


def test_the_same_feedback_id_with_another_vote_is_refused(fresh: Site) -> None:
    fresh.say(ANA, ADJUSTED.statement)
    body = {"scope": str(ANA), "note": "note_1", "helpful": True, "id": "f1"}
    body["ts"] = fresh.clock.now().isoformat()
    assert fresh.http.post("/v1/feedback", json=body).status_code == 202
    answer = fresh.http.post("/v1/feedback", json={**body, "helpful": False})
    error = error_of(answer, 422)
    assert (error["field"], error["reason"][:15]) == ("id", "was used before")
    assert error["mend"].startswith("the first event stays")


def test_feedback_without_a_verdict_is_422(learned: Site) -> None:
    body = {"scope": str(ANA), "note": "note_1"}
    assert error_of(learned.http.post("/v1/feedback", json=body), 422)["field"] == "helpful"


# ---------------------------------------------------------------------------- nights


def test_a_night_can_be_asked_for_and_tells_what_it_did(fresh: Site) -> None:
    fresh.http.post("/v1/events", json=event(ANA, ADJUSTED.statement, fresh.clock.now()))
    asked = fresh.http.post("/v1/runs", json={"scope": "acme"})
    assert asked.status_code == 202
    assert asked.json()["requested"] == [str(ANA)]
    assert asked.json()["at"]
    runs = fresh.http.get("/v1/runs", params={"scope": str(ANA)}).json()["runs"]
    (run,) = runs
    assert (run["state"], run["trigger"], run["scope"]) == ("projected", "manual", str(ANA))
    found = fresh.http.get(f"/v1/runs/{run['id']}").json()
    assert found["run"] == run
    (delta,) = found["deltas"]
    assert delta["kind"] == "add"
    assert delta["reason"]
    (judged,) = found["proposals"]
    assert judged["proposal"]["claim"]["statement"] == ADJUSTED.statement
    assert judged["critique"]["worth"] == "keep"


def test_status_tells_what_is_pending_and_when_it_is_quiet(fresh: Site) -> None:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = fresh.http.get("/v1/status").json()
        return found

    fresh.say(ANA, ADJUSTED.statement)
    fresh.tick()
    waiting = status()
    assert waiting["journal"]["events"] == 1
    assert waiting["pending"]["events"] == 1
    assert waiting["next"]["scope"] == str(ANA)
    assert waiting["quiet"], "what is due tonight is not under way now"
    fresh.running.scheduler.request(None)
    assert not status()["quiet"]
    fresh.running.nights()
    done = status()
    assert done["quiet"]
    assert done["notes"]["active"] == 1
    assert done["last_run"]["reason"]
    assert (done["awake"], done["outbox"]) == ([], 0)


# ---------------------------------------------------------------------------- index, health


def test_the_index_can_be_reconciled_and_rebuilt(learned: Site) -> None:
    generation = learned.running.ledger.generation()
    assert learned.http.post("/v1/index/reconcile").json()["repaired"] == 0
    rebuilt = learned.http.post("/v1/index/rebuild").json()
    assert rebuilt["generation"] == generation + 1
    active = learned.http.get("/v1/notes").json()["notes"]
    assert rebuilt["notes"] == len(active)


def test_health_readiness_and_metrics_answer(learned: Site) -> None:
    assert learned.http.get("/healthz").json() == {"status": "ok"}
    assert learned.http.get("/readyz").json() == {"ready": True}
    metrics = learned.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "# TYPE" in metrics.text


# ---------------------------------------------------------------------------- the description


def test_the_description_covers_every_endpoint_and_every_reference_resolves(
    learned: Site,
) -> None:
    page = learned.http.get("/openapi.json").json()
    assert page["openapi"].startswith("3.")
    assert {
        ("post", "/v1/events"),
        ("post", "/v1/search"),
        ("post", "/v1/context"),
        ("get", "/v1/notes"),
        ("get", "/v1/notes/{note_id}"),
        ("post", "/v1/feedback"),
        ("post", "/v1/runs"),
        ("get", "/v1/runs"),
        ("get", "/v1/runs/{run_id}"),
        ("get", "/v1/status"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    } <= {(method, path) for path, item in page["paths"].items() for method in item}
    names = [op["operationId"] for item in page["paths"].values() for op in item.values()]
    assert len(names) == len(set(names))
    references = set(_references(page))
    assert "#/components/schemas/Event" in references
    for reference in references:
        assert _resolved(page, reference), reference


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _resolved(page: Any, reference: str) -> Any:
    root, *steps = reference.split("/")
    assert root == "#", f"{reference} points outside"
    for step in steps:
        page = page.get(step.replace("~1", "/").replace("~0", "~"), {})
    return page
