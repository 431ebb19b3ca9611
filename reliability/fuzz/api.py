"""The HTTP interface against its own description: schemathesis, on a small real store.

Requests are made from ``/openapi.json``, right ones and wrong ones. Every answer must have a status
and a shape that the description names, and none may be a 5xx that was not meant.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient

from reliability.fuzz.target import Tried
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import load
from sleep_runtime.core.review import Ruling
from sleep_runtime.serve.front import Front
from sleep_runtime.testing.embedder import HashEmbedder

SCOPES = ("acme", "acme/banking", "acme/banking/ana")
SAID = (
    "always use adjusted EBITDA in the deck, not reported EBITDA",
    "from now on, put the totals on top of every table",
)
CHECKED = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "response_headers_conformance"),
)
_PHASES = (Phase.generate, Phase.shrink)


@dataclass
class Answers:
    """What came back: statuses by operation, and 5xx among them."""

    statuses: Counter[str] = field(default_factory=Counter)
    server_errors: int = 0


@contextmanager
def store(folder: Path) -> Iterator[Front]:
    """An application over a store with a few events, notes, runs and a review or two."""
    chosen = load(
        None,
        {"data_dir": str(folder), "scheduler.settle_s": 0.0, "policy.curation.mode": "review"},
        {},
    ).settings
    with Embedded(chosen, embedder=HashEmbedder()) as running:
        app = running.app()
        with TestClient(app) as http:
            http.post("/v1/events", json=list(_events())).raise_for_status()
            running.nights()
        yield app


def _events() -> Iterator[dict[str, Any]]:
    for who in ("ana", "ben", "cleo"):
        for session in range(2):
            for place, said in enumerate(SAID):
                yield {
                    "id": f"{who}-{session}-{place}",
                    "ts": datetime(2026, 11, 20 + session, 9, place, tzinfo=UTC).isoformat(),
                    "scope": f"acme/banking/{who}",
                    "session": f"{who}-{session}",
                    "kind": "correction",
                    "role": "human",
                    "text": said,
                    "about": {"account": "northwind"},
                }


@dataclass(frozen=True)
class Way:
    """One way to make requests to an operation."""

    label: str
    operation: Any
    mode: GenerationMode


def page_of(app: Front) -> dict[str, Any]:
    """The description that the application gives of itself."""
    with TestClient(app) as http:
        page: dict[str, Any] = http.get("/openapi.json").json()
    return page


def ways(app: Front, page: dict[str, Any]) -> list[list[Way]]:
    """For every operation: as it is described, against that, and with ids that this store has."""
    with TestClient(app) as http:
        notes = http.get("/v1/notes", params={"status": "all"}).json()["notes"]
        known = {
            "note_id": [note["id"] for note in notes],
            "decision": [ruling.value for ruling in Ruling],
            "run_id": [run["id"] for run in http.get("/v1/runs").json()["runs"]],
            "review_id": [one["id"] for one in http.get("/v1/reviews").json()["reviews"]],
            "scope": list(SCOPES),
        }
        known["note"] = known["note_id"]
    plain, leading = _operations(app, page), _operations(app, _narrowed(page, known))
    return [
        [
            Way(name, operation, GenerationMode.POSITIVE),
            Way(f"{name}, wrong", operation, GenerationMode.NEGATIVE),
            Way(f"{name}, known", leading[name], GenerationMode.POSITIVE),
        ]
        for name, operation in plain.items()
    ]


def _operations(app: Front, page: dict[str, Any]) -> dict[str, Any]:
    loaded = schemathesis.openapi.from_dict(page)
    loaded.app = app
    found: list[Any] = list(loaded.get_all_operations())
    return {operation.label: operation for operation in (each.ok() for each in found)}


def _narrowed(page: dict[str, Any], known: dict[str, list[str]]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(page))
    for item in made["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if known.get(parameter["name"]):
                    parameter["schema"] = {"enum": known[parameter["name"]]}
    for schema in made["components"]["schemas"].values():
        for name in schema.get("properties", {}).keys() & known.keys():
            schema["properties"][name] = {"enum": known[name]}
    return made


def run(way: Way, *, seeded: int, inputs: int, answers: Answers) -> Tried:
    """So many requests made in one way. The same seed, the same."""
    tried = Tried()
    strategy = way.operation.as_strategy(generation_mode=way.mode)
    _ask(strategy, way, seeded, inputs, answers, tried)
    return tried


def _ask(strategy: Any, way: Way, seeded: int, inputs: int, answers: Answers, tried: Tried) -> None:
    checks = [CHECKS.get_one(name) for name in CHECKED]

    @seed(seeded)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=_PHASES,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
    )
    @given(strategy)
    def ask(case: Any) -> None:
        tried.inputs += 1
        answer = case.call()
        answers.statuses[f"{way.operation.label} {answer.status_code}"] += 1
        if answer.status_code >= 500:
            answers.server_errors += 1
        elif answer.status_code >= 400:
            tried.refused += 1
            _check_error(answer)
        case.validate_response(answer, checks=checks)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the framework's client, about odd requests
        try:
            ask()
        except Unsatisfiable:  # nothing about it can be wrong
            return
        except FailureGroup as group:
            tried.failures += [f"{way.label}: {one.title}: {one}" for one in group.exceptions]
        except Exception as error:  # noqa: BLE001 - whatever the application let through
            tried.failures.append(f"{way.label}: {type(error).__name__}: {error}")


def _check_error(answer: Any) -> None:
    told = json.loads(answer.content)["error"]
    assert set(told) == {"field", "reason", "mend"}, told
    assert told["reason"], told
    assert told["mend"], told
