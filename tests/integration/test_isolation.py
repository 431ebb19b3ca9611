"""Isolation: the walk finds no byte of another scope, and would find one if there were any."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from reliability.isolation.callers import Registry
from reliability.isolation.routes import ROUTES, Asked
from reliability.isolation.walk import Report, ask, counted_queries, walk
from reliability.isolation.world import World, built
from sleep_runtime.core.access import ROOT, AccessRole, Caller, Grant, Rights
from sleep_runtime.core.errors import Forbidden, NotFound
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import SeenJournal, SeenLedger
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.serve.roles import NEEDS, admit
from sleep_runtime.stores import journal_reader, sqlite
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal_reader import SqliteJournalReader, SqliteSeenJournal
from sleep_runtime.stores.ledger import SqliteLedgerReader, schema, seen
from sleep_runtime.stores.ledger.seen import SqliteSeenLedger
from sleep_runtime.telemetry.metrics import Metrics, Row

SEED = 1
RUNS, NOTE, SEARCH = ("GET", "/v1/runs"), ("GET", "/v1/notes/{note_id}"), ("POST", "/v1/search")


class Built(NamedTuple):
    world: World
    queries: list[int]

    def walk(self, *only: tuple[str, str]) -> Report:
        return walk(self.world, self.queries, seed=SEED, only=only)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with counted_queries() as count, built(tmp_path_factory.mktemp("world"), SEED) as world:
        yield Built(world, count)


# ---------------------------------------------------------------------------- the walk


def test_a_walk_over_every_route_finds_no_byte_of_another_scope(site: Built) -> None:
    report = site.walk()
    assert report.routes_walked == len(ROUTES)
    assert report.told == []
    assert (report.leaks, report.broken) == (0, 0)
    assert min(report.statuses[one] for one in ("200", "403", "404", "422")) > 0


def everything(*_: Any, **__: Any) -> sa.ColumnElement[bool]:
    return sa.true()


PLANTED: dict[str, tuple[Any, str, Callable[..., Any], tuple[str, str]]] = {
    "a query without the rights": (SqliteSeenLedger, "_within", everything, RUNS),
    "notes of everybody": (seen, "shown", everything, NOTE),
    "whole notes from above": (seen, "note_columns", lambda _: list(schema.notes.c), NOTE),
    "whole notes from memory": (Rights, "note", lambda _, note: note, SEARCH),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_the_walk_finds_a_planted_bug(
    site: Built, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    where, name, instead, route = PLANTED[bug]
    monkeypatch.setattr(where, name, instead)
    report = site.walk(route)
    assert report.leaks_by_kind.get("answer", 0) > 0


def test_the_walk_finds_a_refusal_that_asks_a_store_first(
    site: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a scope exists must not be told by what it costs to refuse it."""
    require = Caller.require

    def late(self: Caller, role: AccessRole, scope: Scope | None) -> None:
        site.world.running.ledger.seen_by(Rights()).knows(scope or Scope("acme"))
        require(self, role, scope)

    monkeypatch.setattr(Caller, "require", late)
    assert site.walk(RUNS).leaks_by_kind["asked"] > 0


@pytest.mark.parametrize("route", [SEARCH, RUNS, ("GET", "/v1/status"), ("GET", "/v1/reviews")])
def test_a_handler_that_forgets_to_ask_gives_nothing_away(
    site: Built, monkeypatch: pytest.MonkeyPatch, route: tuple[str, str]
) -> None:
    """Isolation is the stores': without any refusal at a scope, still nothing foreign is shown."""
    monkeypatch.setattr(Caller, "require", lambda *_: None)
    assert "answer" not in site.walk(route).leaks_by_kind


# ---------------------------------------------------------------------------- roles


def test_every_route_has_its_role_and_one_without_is_open_to_nobody() -> None:
    assert NEEDS.keys() == ROUTES.keys(), "the walk checks that these are all there are"
    with pytest.raises(Forbidden):
        admit(ROOT, "GET", "/v1/forgotten")


@pytest.mark.parametrize("route", sorted(NEEDS), ids=str)
def test_a_route_refuses_who_has_not_its_role(site: Built, route: tuple[str, str]) -> None:
    need, registry = NEEDS[route], Registry()
    person = site.world.of_tier(Tier.INDIVIDUAL)[0]
    others = frozenset(AccessRole) - {AccessRole.ADMIN, *({need.role} if need.role else ())}
    lacking = others - ({AccessRole.CURATE} if need.role is AccessRole.READ else frozenset())
    app = site.world.running.app(authenticate=registry)
    asked = Asked(route[0], route[1], b'{"scope": "%s"}' % str(person).encode())
    for caller in (
        Caller(name="lacking", grants=(Grant(scope=None, roles=lacking),)),
        Caller(name="nobody", grants=()),
    ):
        answer = asyncio.run(ask(app, asked, registry, caller, site.queries))
        assert (answer.status == 403) is (need.role is not None), answer


def test_no_metric_is_labelled_with_a_scope() -> None:
    table = [row for row in vars(Metrics).values() if isinstance(row, Row)]
    labels = {label for row in table for label in row.labels}
    assert labels
    assert not labels & {"scope", "org", "team", "user", "person", "session"}


# ---------------------------------------------------------------------------- every query

NOW = datetime.fromisoformat("2030-01-01T00:00:00+00:00")


class Names(NamedTuple):
    """A stranger's things."""

    scope: Scope
    note: str
    run: str
    review: str
    event: str


def undoing(ledger: SeenLedger, names: Names) -> list[Any]:
    with pytest.raises(NotFound):
        ledger.undoing(names.run, now=NOW)
    return []


def reworded(ledger: SeenLedger, names: Names) -> list[str]:
    whole = Whole.ledger.undoing(names.run, now=NOW)
    return ledger.reworded(whole)


class Whole:
    """The readers of everything, to compare with."""

    ledger: SqliteLedgerReader
    count: int


LEDGER: dict[str, Callable[[SeenLedger, Names], Any]] = {
    "knows": lambda ledger, names: ledger.knows(names.scope),
    "versions": lambda ledger, names: ledger.versions([names.scope])[names.scope],
    "notes": lambda ledger, names: [
        *ledger.notes([names.scope]),
        *ledger.notes(within=names.scope.org, statuses=list(NoteStatus), after=""),
        *ledger.notes([names.scope], as_of=NOW),
    ],
    "note": lambda ledger, names: ledger.note(names.note),
    "history": lambda ledger, names: ledger.history(names.note),
    "dossiers": lambda ledger, names: ledger.dossiers(names.scope),
    "evidence": lambda ledger, names: ledger.evidence(names.note),
    "run": lambda ledger, names: ledger.run(names.run),
    "runs": lambda ledger, names: ledger.runs(names.scope),
    "deltas": lambda ledger, names: ledger.deltas(names.run),
    "proposals": lambda ledger, names: ledger.proposals(names.run),
    "undoing": undoing,
    "reworded": reworded,
    "reviews": lambda ledger, names: ledger.reviews(names.scope),
    "review": lambda ledger, names: ledger.review(names.review),
    "erasure": lambda ledger, _: ledger.erasure("erasure_1"),
    "erasures": lambda ledger, names: ledger.erasures(names.scope),
    "due": lambda ledger, names: [
        one for one in ledger.due(NOW, limit=99) if names.scope.org.covers(one.scope)
    ],
    "next_due": lambda ledger, names: ledger.next_due(names.scope),
    "pending": lambda ledger, names: ledger.pending(names.scope).scopes,
    "leases": lambda ledger, names: ledger.leases(NOW, names.scope),
    "counts": lambda ledger, names: sum(ledger.counts(names.scope).values()),
    "generation": lambda ledger, _: ledger.generation() - Whole.ledger.generation(),
}
JOURNAL: dict[str, Callable[[SeenJournal, Names], Any]] = {
    "events": lambda events, names: events.events(names.scope.org, [names.event]),
    "knows": lambda events, names: events.knows(names.scope),
    "count": lambda events, _: events.count() == Whole.count,
}
# Of these nothing is asked of the store, or a number of the whole runtime.
NO_QUERY = {"knows", "versions", "generation", "reworded"}


def methods(port: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(port, inspect.isfunction) if name[0] != "_"}


def test_the_questions_that_requests_may_ask_are_all_tried_here() -> None:
    assert methods(SeenLedger) == LEDGER.keys() == methods(SqliteSeenLedger)
    assert methods(SeenJournal) == JOURNAL.keys() == methods(SqliteSeenJournal)


@pytest.fixture(scope="module")
def names(site: Built) -> Names:
    stranger = site.world.of_tier(Tier.INDIVIDUAL)[-1]
    ledger = site.world.running.ledger
    dossier = next(one for one in ledger.dossiers(stranger) if one.evidence)
    (review, *_) = ledger.reviews(stranger)
    changed = next(run for run in ledger.runs(stranger) if ledger.deltas(run.id))
    event = dossier.evidence[0].event_id
    return Names(stranger, dossier.note.id, changed.id, review.id, event)


@pytest.mark.parametrize("question", [*LEDGER, *(f"journal.{name}" for name in JOURNAL)])
def test_every_query_carries_the_rights_and_gives_nothing_of_a_stranger(
    site: Built, names: Names, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    person = site.world.of_tier(Tier.INDIVIDUAL)[0]
    rights, statements = Rights(within=(person,)), list[str]()
    opened = sqlite.connect_reader

    def traced(path: Path) -> sqlite3.Connection:
        connection = opened(path)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite, "connect_reader", traced)
    paths = DataDir(site.world.running.settings.data_dir)
    with SqliteLedgerReader(paths.ledger_path) as whole:
        events = SqliteJournalReader(paths.journal_path)
        Whole.ledger, Whole.count = whole, events.count()
        statements.clear()
        if question.startswith("journal."):
            found = JOURNAL[question.removeprefix("journal.")](events.seen_by(rights), names)
        else:
            found = LEDGER[question](whole.seen_by(rights), names)
        events.close()
    asked = [text for text in statements if text.lstrip().upper().startswith(("SELECT", "WITH"))]
    assert not found
    if question.removeprefix("journal.") not in NO_QUERY:
        assert asked
        assert all(f"'{person}/'" in text for text in asked), asked


def test_what_is_held_in_memory_is_shown_as_the_queries_show_it(site: Built) -> None:
    """Two ways to the same note: ``Rights.note``, and the columns of the ledger's queries."""
    ledger = site.world.running.ledger
    for scope in site.world.scopes:
        rights = Rights(within=(scope,))
        by_query = {note.id: note for note in ledger.seen_by(rights).notes()}
        in_memory = (rights.note(note) for note in ledger.notes())
        assert by_query == {note.id: note for note in in_memory if note is not None}
        assert len(by_query) < len(ledger.notes())


def test_two_conditions_on_scopes_are_one() -> None:
    """The journal spells out what the ledger's schema does; both are the same range."""
    column: sa.ColumnElement[str] = sa.column("scope")
    rights = Rights(within=(Scope("acme"), Scope("globex/lab/gus")))

    def sql(condition: sa.ColumnElement[bool]) -> str:
        return str(condition.compile(compile_kwargs={"literal_binds": True}))

    assert sql(journal_reader._covered(column, rights)) == sql(schema.covered(column, rights))
    assert sql(schema.covered(column, Rights(within=()))) == "false"
