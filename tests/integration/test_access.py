"""Whose word it is: scopes and trust of a key, from a request to what a night makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from daylight import ADJUSTED, ANA, BEN, DAY, PORT, TEAM, World, event, runtime, scripted, settings
from starlette.testclient import TestClient

from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.core.access import AccessRole
from sleep_runtime.core.event import Role, StoredEvent, Trust
from sleep_runtime.core.keys import NewKey
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.observation import SessionInput
from sleep_runtime.core.ports import Engine
from sleep_runtime.core.scope import Scope
from sleep_runtime.engines.prefilter import thinned
from sleep_runtime.serve.access import Authenticator
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.keys import KeyReader, KeyStore
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.engine import ScriptedEngine

CAPTURE, READ, ADMIN = AccessRole.CAPTURE, AccessRole.READ, AccessRole.ADMIN
RULE = "From now on always use adjusted EBITDA in every deck."


class Door(World):
    """A world that asks for keys."""

    http: TestClient
    keys: KeyStore

    def key(self, *roles: AccessRole, scope: Scope | None = TEAM, speaks: Trust) -> dict[str, str]:
        """The headers of a new key."""
        new = NewKey(name="test", scope=scope, roles=frozenset(roles), speaks=speaks)
        secret = self.keys.create(new, self.clock.now()).secret.get_secret_value()
        return {"authorization": f"Bearer {secret}"}

    def tell(self, who: dict[str, str], *events: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post("/v1/events", json=list(events), headers=who)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def stored(self, scope: Scope) -> Sequence[StoredEvent]:
        """What the journal has of this scope."""
        journal = self.running.journal_reader
        found: Sequence[StoredEvent] = journal.read(
            scope, after=0, upto=journal.last_seq(), limit=100
        )
        return found

    def trusts(self, scope: Scope) -> list[Trust]:
        return [item.trust for item in self.stored(scope)]


@contextmanager
def door_of(path: Path, engine: Engine | None) -> Iterator[Door]:
    clock = ManualClock()
    keys = KeyStore(DataDir(path).ensure().access_path)
    keys.create(NewKey(name="first", scope=None, roles=frozenset({ADMIN})), clock.now())
    running = runtime(path, clock, engine) if engine else Embedded(settings(path), clock=clock)
    with (
        running,
        closing(KeyReader(keys.path, look_every_s=0.0)) as known,
        TestClient(running.app(Authenticator(known, clock))) as http,
    ):
        made = Door(running, clock)
        made.http, made.keys = http, keys
        yield made


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with door_of(tmp_path, scripted()) as made:
        yield made


def test_nothing_but_probes_answers_without_a_key(door: Door) -> None:
    page = door.http.get("/openapi.json", headers=door.key(READ, scope=None, speaks=Trust.AGENT))
    for path, methods in page.json()["paths"].items():
        for method in methods:
            answer = door.http.request(method, path.replace("{", "").replace("}", ""))
            if path in ("/healthz", "/readyz"):
                assert answer.status_code == 200
                continue
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["field"] == "authorization"
    for path in ("/openapi.json", "/metrics", "/", "/docs", "/v2/x"):
        assert door.http.get(path).status_code == 401, path
    assert page.json()["paths"]["/healthz"]["get"]["security"] == []
    assert page.json()["security"] == [{"key": []}]


def test_metrics_are_for_those_who_may_read_everywhere(door: Door) -> None:
    for who, status in (
        (door.key(READ, scope=None, speaks=Trust.AGENT), 200),
        (door.key(ADMIN, scope=None, speaks=Trust.AGENT), 200),
        (door.key(READ, speaks=Trust.AGENT), 403),
        (door.key(CAPTURE, scope=None, speaks=Trust.AGENT), 403),
    ):
        assert door.http.get("/metrics", headers=who).status_code == status


def test_events_of_a_foreign_scope_are_refused_and_those_beside_them_kept(door: Door) -> None:
    who = door.key(CAPTURE, speaks=Trust.HUMAN)
    now = door.clock.now()
    foreign = [Scope("acme"), Scope("acme/retail/dan"), Scope("acme/bankingx"), Scope("globex")]
    sent = [
        event(ANA, "one", now),
        *(event(scope, "foreign", now) for scope in foreign),
        event(BEN, "two", now),
        event(foreign[3], "again", now),
    ]
    answer = door.tell(who, *sent)
    assert answer["accepted"] == 2
    assert [item["index"] for item in answer["rejected"]] == [1, 2, 3, 4, 6]
    said = {item["error"] for item in answer["rejected"]}
    assert len(said) == 4
    for scope in foreign:
        assert any(f"scope: this key may not capture at '{scope}'" in one for one in said)
    assert not door.trusts(Scope("acme/retail/dan"))
    lines = b"\n".join(json.dumps(one).encode() for one in sent)
    ndjson = {**who, "content-type": "application/x-ndjson"}
    again = door.http.post("/v1/events", content=lines, headers=ndjson).json()
    assert (again["accepted"], again["duplicates"], len(again["rejected"])) == (0, 2, 5)


@pytest.mark.parametrize("speaks", list(Trust))
def test_trust_is_the_roles_but_never_more_than_the_keys(door: Door, speaks: Trust) -> None:
    who = door.key(CAPTURE, speaks=speaks)
    roles = [Role.HUMAN, Role.AGENT, Role.SYSTEM, Role.TOOL]
    now = door.clock.now()
    door.tell(who, *(event(ANA, f"as {role}", now, role=role.value) for role in roles))
    wanted = {
        Trust.HUMAN: [Trust.HUMAN, Trust.AGENT, Trust.AGENT, Trust.UNTRUSTED],
        Trust.AGENT: [Trust.AGENT, Trust.AGENT, Trust.AGENT, Trust.UNTRUSTED],
        Trust.UNTRUSTED: [Trust.UNTRUSTED] * 4,
    }
    assert door.trusts(ANA) == wanted[speaks]


def test_a_payload_cannot_say_whose_word_it_is(door: Door) -> None:
    who = door.key(CAPTURE, speaks=Trust.AGENT)
    for name in ("trust", "speaks", "caller"):
        answer = door.tell(who, event(ANA, "x", door.clock.now(), **{name: "human"}))
        assert answer["accepted"] == 0
        assert "is not a field of an event" in answer["rejected"][0]["error"]


# ---------------------------------------------------------------------------- nights


def correct(door: Door, speaks: Trust, *people: Scope, sessions: int = 3) -> None:
    """The same standing correction, on several days, as if it were a person's."""
    who = door.key(CAPTURE, speaks=speaks)
    for _ in range(sessions):
        door.clock.advance(DAY)
        for scope in people:
            said = event(scope, RULE, door.clock.now(), kind="correction")
            assert door.tell(who, said)["accepted"] == 1
    door.clock.advance(DAY)
    door.running.nights()


@pytest.mark.parametrize("speaks", [Trust.AGENT, Trust.UNTRUSTED])
def test_a_standing_correction_sent_by_an_agents_key_is_nobodys_rule(
    tmp_path: Path, speaks: Trust
) -> None:
    with door_of(tmp_path, None) as door:
        correct(door, speaks, ANA, BEN)
        notes = door.notes(TEAM) + door.notes(ANA) + door.notes(BEN)
        assert not [note for note in notes if note.trust is Trust.HUMAN]
        assert not [note for note in notes if note.status is NoteStatus.ACTIVE]


def test_the_same_correction_by_a_persons_key_is_a_rule(tmp_path: Path) -> None:
    with door_of(tmp_path, None) as door:
        correct(door, Trust.HUMAN, ANA, BEN)
        (note,) = door.notes(TEAM, NoteStatus.ACTIVE)
        assert note.trust is Trust.HUMAN
        assert "adjusted EBITDA" in note.claim.statement


def test_a_scripted_engine_cannot_make_a_persons_word_of_an_agents(door: Door) -> None:
    """Whatever an engine makes of it: trust comes from the turn it cites."""
    who = door.key(CAPTURE, speaks=Trust.AGENT)
    for _ in range(4):
        door.clock.advance(DAY)
        door.tell(who, event(ANA, ADJUSTED.statement, door.clock.now(), kind="correction"))
        door.tell(who, event(ANA, PORT.statement, door.clock.now()))
    door.clock.advance(DAY)
    door.running.nights()
    assert door.active(ANA) == [PORT.statement], "a fact may be noticed, a convention may not"
    assert {note.trust for note in door.notes(ANA)} == {Trust.AGENT}


class Listening(ScriptedEngine):
    """Remembers what it was given to read."""

    heard: list[SessionInput]

    def distil(self, sessions: Any) -> Any:
        self.heard = [*getattr(self, "heard", []), *sessions]
        return super().distil(sessions)


@pytest.mark.parametrize(
    ("speaks", "role"),
    [(Trust.HUMAN, Role.HUMAN), (Trust.AGENT, Role.AGENT), (Trust.UNTRUSTED, Role.TOOL)],
)
def test_an_engine_hears_whoever_was_let_in(tmp_path: Path, speaks: Trust, role: Role) -> None:
    """What engines read by role, who is a person in a prompt among it, is who sent it."""
    engine = Listening({})
    with door_of(tmp_path, engine) as door:
        who = door.key(CAPTURE, speaks=speaks)
        door.tell(who, event(ANA, RULE, door.clock.now(), kind="correction"))
        door.clock.advance(DAY)
        door.running.nights()
    heard = [turn.role for session in getattr(engine, "heard", []) for turn in session.turns]
    assert heard == ([] if role is Role.TOOL else [role]), "a tool's session teaches nothing"
    for session in getattr(engine, "heard", []):
        assert bool(thinned(session)) is (speaks is Trust.HUMAN)


# ---------------------------------------------------------------------------- feedback


@pytest.fixture
def learned(door: Door) -> str:
    """The id of a note that a person's word put in force."""
    door.say(ANA, ADJUSTED.statement)
    door.clock.advance(DAY)
    door.running.nights()
    (note,) = door.notes(ANA, NoteStatus.ACTIVE)
    return note.id


def vote(door: Door, who: dict[str, str], note: str, session: str) -> Any:
    body = {"scope": str(ANA), "note": note, "helpful": False, "session": session}
    return door.http.post("/v1/feedback", json=body, headers=who)


@pytest.mark.parametrize(
    ("speaks", "harmful"), [(Trust.HUMAN, 1), (Trust.AGENT, 0), (Trust.UNTRUSTED, 0)]
)
def test_feedback_weighs_as_much_as_the_key(
    door: Door, learned: str, speaks: Trust, harmful: int
) -> None:
    who = door.key(CAPTURE, speaks=speaks)
    answer = vote(door, who, learned, "s1")
    assert answer.status_code == 202
    door.clock.advance(DAY)
    door.running.nights()
    note = door.running.ledger.note(learned)
    assert note is not None
    assert note.harmful == harmful
    assert note.status is NoteStatus.ACTIVE
    voted = door.stored(ANA)[-1]
    assert voted.trust is speaks
    assert voted.event.role is (Role.HUMAN if speaks is Trust.HUMAN else Role.AGENT)


def test_feedback_outside_the_keys_scope_is_refused(door: Door, learned: str) -> None:
    elsewhere = door.key(CAPTURE, scope=Scope("acme/retail"), speaks=Trust.HUMAN)
    reader = door.key(READ, speaks=Trust.HUMAN)
    for who, field in ((elsewhere, "scope"), (reader, "key")):
        answer = vote(door, who, learned, "s1")
        assert answer.status_code == 403
        assert answer.json()["error"]["field"] == field


def test_excerpts_say_whose_word_they_are(door: Door) -> None:
    door.tell(door.key(CAPTURE, speaks=Trust.AGENT), event(ANA, PORT.statement, door.clock.now()))
    for _ in range(3):
        door.clock.advance(DAY)
        door.tell(
            door.key(CAPTURE, speaks=Trust.AGENT), event(ANA, PORT.statement, door.clock.now())
        )
    door.running.nights()
    (note,) = door.notes(ANA, NoteStatus.ACTIVE)
    reader = door.key(READ, speaks=Trust.AGENT)
    excerpts = door.http.get(f"/v1/notes/{note.id}", headers=reader).json()["excerpts"]
    assert {(one["role"], one["trust"]) for one in excerpts} == {("human", "agent")}
