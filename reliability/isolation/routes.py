"""What is asked of each route: every parameter that names a thing, with every thing there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any, NamedTuple
from urllib.parse import urlencode

from reliability.isolation.world import World
from sleep_runtime.core.access import AccessRole, Caller
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.scope import Scope

NOWHERE = Scope("nowhere/at/all")


class Asked(NamedTuple):
    """One request. ``twin``: the same about a thing that does not exist; ``names``: the two."""

    method: str
    path: str
    body: bytes = b""
    twin: str = ""
    names: tuple[str, str] = ("", "")

    def about_nothing(self) -> Asked:
        """The twin: only the name is another."""
        name, other = self.names
        body = self.body.replace(name.encode(), other.encode())
        return self._replace(path=self.twin, body=body, twin="", names=("", ""))


@dataclass
class Things:
    """What there is to name, of every scope."""

    world: World
    scopes: list[Scope]
    notes: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    reviews: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, world: World) -> Things:
        """Of each scope a note in every status, some runs and a review."""
        ledger = world.running.ledger
        found = cls(world, [*world.scopes, NOWHERE])
        for scope in world.scopes:
            for status in NoteStatus:
                of_status = ledger.notes([scope], statuses=[status], limit=1)
                found.notes += [note.id for note in of_status]
            runs = [run for run in ledger.runs(scope, limit=1000) if run.scope == scope]
            found.runs += [run.id for run in (*runs[:1], *runs[-1:])]
            found.reviews += [one.id for one in ledger.reviews(scope) if one.scope == scope][:1]
        return found


Route = Callable[[Things, Caller], Iterator[Asked]]


def _get(path: str, **query: object) -> Asked:
    given = {name: value for name, value in query.items() if value is not None}
    return Asked("GET", f"{path}?{urlencode(given)}" if given else path)


def _post(path: str, body: Any) -> Asked:
    return Asked("POST", path, json.dumps(body).encode())


def _about(asked: Asked, name: str, other: str) -> Asked:
    """With its twin: a request about something of the same form that does not exist."""
    return asked._replace(twin=asked.path.replace(name, other), names=(name, other))


def _unlike(name: str) -> str:
    """A name of the same kind and length that nothing has."""
    return name[: -len(name) // 2] + "x" * (len(name) - len(name[: -len(name) // 2]))


def search(things: Things, _caller: Caller) -> Iterator[Asked]:
    now = things.world.clock.now()
    instants = (None, now - timedelta(days=2), now + timedelta(days=400))
    for scope, as_of, old in product(things.scopes, instants, (False, True)):
        body: dict[str, Any] = {"scope": scope, "query": "show the figures", "k": 100}
        body |= {"include_superseded": old, **({"as_of": as_of.isoformat()} if as_of else {})}
        yield _about(_post("/v1/search", body), str(scope), _unlike(scope))
    for scope in things.scopes:
        yield _post("/v1/search", {"scope": scope, "query": "", "k": 10**6})
    yield _post("/v1/search", {"scope": "/", "query": things.notes[0]})
    yield Asked("POST", "/v1/search", b"{broken")


def context(things: Things, _caller: Caller) -> Iterator[Asked]:
    for scope, compiler in product(things.scopes, (None, "markdown", "plain", things.notes[0])):
        body: dict[str, Any] = {"scope": scope, "query": "figures", "budget_tokens": 4000}
        asked = _post("/v1/context", body | ({"compiler": compiler} if compiler else {}))
        yield _about(asked, str(scope), _unlike(scope))


def notes(things: Things, _caller: Caller) -> Iterator[Asked]:
    for scope, status in product((None, *things.scopes), ("active", "all", "candidate", "odd")):
        asked = _get("/v1/notes", scope=scope, status=status, limit=1000)
        yield _about(asked, *_as_query(scope)) if scope else asked
    for after, limit in product(("", "~", *things.notes[::5]), (0, 1, 3)):
        yield _get("/v1/notes", status="all", after=after, limit=limit)


def note(things: Things, _caller: Caller) -> Iterator[Asked]:
    yield _get("/v1/notes/%27%20OR%201=1")
    for note_id in (*things.notes, "note_unknown", things.runs[0]):
        yield _about(_get(f"/v1/notes/{note_id}"), note_id, _unlike(note_id))


def runs(things: Things, _caller: Caller) -> Iterator[Asked]:
    for scope, limit in product((None, *things.scopes), (1, 500)):
        asked = _get("/v1/runs", scope=scope, limit=limit)
        yield _about(asked, *_as_query(scope)) if scope else asked


def run(things: Things, _caller: Caller) -> Iterator[Asked]:
    for run_id in (*things.runs, "run_unknown", things.notes[0]):
        yield _about(_get(f"/v1/runs/{run_id}"), run_id, _unlike(run_id))


def status(things: Things, _caller: Caller) -> Iterator[Asked]:
    yield _get("/v1/status")
    for scope in things.scopes:
        yield _about(_get("/v1/status", scope=scope), *_as_query(scope))


def reviews(things: Things, _caller: Caller) -> Iterator[Asked]:
    for scope, state in product((None, *things.scopes), ("open", "all", "shut")):
        yield _get("/v1/reviews", scope=scope, state=state, limit=1000)
    yield _get("/v1/reviews", limit=1)


def resolve(things: Things, caller: Caller) -> Iterator[Asked]:
    """What the caller may decide is asked for in words that are no decision."""
    for review_id in (*things.reviews, "review_unknown"):
        path = f"/v1/reviews/{review_id}"
        review = things.world.running.ledger.review(review_id)
        theirs = review is not None and caller.may(AccessRole.CURATE, review.scope)
        for decision in ("perhaps",) if theirs else ("perhaps", "keep-left"):
            asked = _post(path, {"decision": decision, "by": "somebody else"})
            yield _about(asked, review_id, _unlike(review_id))


def undo(things: Things, caller: Caller) -> Iterator[Asked]:
    """What the caller may undo is only looked at."""
    for run_id in (*things.runs, "run_unknown"):
        run = things.world.running.ledger.run(run_id)
        theirs = run is not None and caller.may(AccessRole.CURATE, run.scope)
        for dry_run in (True,) if theirs else (True, False):
            asked = _post(f"/v1/runs/{run_id}/undo", {"dry_run": dry_run, "cascade": True})
            yield _about(asked, run_id, _unlike(run_id))


def start(things: Things, caller: Caller) -> Iterator[Asked]:
    """Nights are asked for where the caller may not, and where nothing waits."""
    for scope in (*things.scopes, None):
        if not caller.may(AccessRole.CURATE, scope):
            asked = _post("/v1/runs", {"scope": scope})
            yield _about(asked, str(scope), _unlike(scope)) if scope else asked


def erase(things: Things, caller: Caller) -> Iterator[Asked]:
    """Erasures are asked for where the caller may not, and of nothing that there is."""
    for scope in things.scopes:
        if not caller.may(AccessRole.ADMIN, scope):
            asked = Asked("DELETE", f"/v1/subjects/{scope}", b"")
            yield _about(asked, str(scope), _unlike(scope))


def erasures(things: Things, _caller: Caller) -> Iterator[Asked]:
    yield _get("/v1/erasures")
    for scope in things.scopes:
        yield _about(_get("/v1/erasures", scope=scope), *_as_query(scope))


def feedback(things: Things, _caller: Caller) -> Iterator[Asked]:
    for scope, note_id in product(things.scopes, things.notes[::8]):
        body = {"scope": scope, "note": note_id, "helpful": True, "ts": _now(things)}
        yield _post("/v1/feedback", body)


def events(things: Things, _caller: Caller) -> Iterator[Asked]:
    """Bad ones, and ids that others have used."""
    for scope in things.scopes:
        known = next(
            name for name, one in things.world.aviary.all.items() if one.what == "event id"
        )
        yield _post("/v1/events", [_event(things, scope, id=known, text="mine"), {"scope": scope}])
        yield _post("/v1/events", [_event(things, scope, kind="gossip")])


def nothing(method: str, path: str, body: Any = None) -> Route:
    """A route that names nothing."""

    def ask(_things: Things, _caller: Caller) -> Iterator[Asked]:
        yield Asked(method, path, b"" if body is None else json.dumps(body).encode())

    return ask


def _as_query(scope: Scope) -> tuple[str, str]:
    quoted = [urlencode({"": name})[1:] for name in (str(scope), _unlike(scope))]
    return quoted[0], quoted[1]


def _now(things: Things) -> str:
    return things.world.clock.now().isoformat()


def _event(things: Things, scope: Scope, **fields: Any) -> dict[str, Any]:
    base = {"id": "mine", "ts": _now(things), "scope": scope, "session": "mine"}
    return base | {"kind": "message", "role": "human", "text": "hello"} | fields


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/v1/search"): search,
    ("POST", "/v1/context"): context,
    ("GET", "/v1/notes"): notes,
    ("GET", "/v1/notes/{note_id}"): note,
    ("GET", "/v1/runs"): runs,
    ("GET", "/v1/runs/{run_id}"): run,
    ("GET", "/v1/status"): status,
    ("GET", "/v1/reviews"): reviews,
    ("POST", "/v1/reviews/{review_id}"): resolve,
    ("POST", "/v1/runs/{run_id}/undo"): undo,
    ("POST", "/v1/runs"): start,
    ("GET", "/v1/pool"): nothing("GET", "/v1/pool"),
    ("POST", "/v1/pool/yield"): nothing("POST", "/v1/pool/yield", {"seconds": 0}),
    ("POST", "/v1/index/reconcile"): nothing("POST", "/v1/index/reconcile"),
    ("POST", "/v1/index/rebuild"): nothing("POST", "/v1/index/rebuild"),
    ("GET", "/metrics"): nothing("GET", "/metrics"),
    ("GET", "/healthz"): nothing("GET", "/healthz"),
    ("GET", "/readyz"): nothing("GET", "/readyz"),
    ("DELETE", "/v1/subjects/{scope}"): erase,
    ("GET", "/v1/erasures"): erasures,
    ("GET", "/v1/erasures/{erasure_id}"): nothing("GET", "/v1/erasures/erasure_unknown"),
    ("POST", "/v1/feedback"): feedback,
    ("POST", "/v1/events"): events,
}
"""By method and path as the description of the application has them; what writes comes last."""
