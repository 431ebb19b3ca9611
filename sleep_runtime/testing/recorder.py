"""CaptureRecorder: a runtime for the tests of code that uses ``sleep_runtime.client``.

It keeps the contract suite of the real one (``testing/contracts/runtime.py``) and needs nothing
but httpx:

    recorder = CaptureRecorder([lesson("note-1", "use adjusted EBITDA", scope="acme")])
    client = Client(transport=recorder, options=Options(spool_dir=tmp_path))
    …
    assert recorder.events[0]["text"] == "use adjusted EBITDA"
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from sleep_runtime.testing.recorded import BadEvent, Refusal, parse

OPEN, CLOSE = "<sleep-context>", "</sleep-context>"
CHARS_A_TOKEN = 4
Fault = Callable[[httpx.Request], httpx.Response]
Body = dict[str, Any]


def lesson(note_id: str, statement: str, *, scope: str, **fields: Any) -> Body:
    """A note in the public JSON contract, active unless ``fields`` say otherwise."""
    return {
        "id": note_id, "statement": statement, "kind": "convention",
        "tier": ("org", "team", "individual")[scope.count("/")], "scope": scope,
        "subject": "", "aspect": "", "value": "", "applies_when": "", "about": {},
        "status": "active", "confidence": 0.8,
        "support": {"events": 1, "sessions": 1, "people": 1, "days": 1},
        "helpful": 0, "harmful": 0, "valid_from": "2026-01-01T00:00:00+00:00", "valid_to": None,
        "recorded_at": "2026-01-01T00:00:00+00:00", "superseded_by": None, "revision": 1,
        "evidence": [], "reason": "", **fields,
    }  # fmt: skip


class CaptureRecorder(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """An httpx transport that answers as a runtime does, and keeps what it got. Thread-safe.

    It learns nothing: searches and contexts give the ``notes`` it was made with that the reader's
    scope may see, whatever the query. ``fail`` makes the next requests fail.
    """

    def __init__(self, notes: Sequence[Mapping[str, Any]] = ()) -> None:
        self._lock = threading.Lock()
        self._notes = [dict(note) for note in notes]
        self._events: dict[tuple[str, str], Body] = {}
        self._faults: list[Fault] = []
        self.requests: list[httpx.Request] = []

    @property
    def events(self) -> list[Body]:
        """Every event once, in order of arrival."""
        with self._lock:
            return list(self._events.values())

    def fail(self, *faults: int | Exception | Fault) -> None:
        """What becomes of the next requests, one each: a status, an error, or what a call says."""
        with self._lock:
            self._faults += [_fault(fault) for fault in faults]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        with self._lock:
            self.requests.append(request)
            fault = self._faults.pop(0) if self._faults else None
            if fault is None:
                return self._answer(request)
        return fault(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return self.handle_request(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        url = urlsplit(str(request.url))
        path = unquote(url.path)
        try:
            if request.method == "POST":
                return self._post(path, request.content)
            params = {name: values[-1] for name, values in parse_qs(url.query).items()}
            return httpx.Response(200, json=self._get(path, params))
        except Refusal as refusal:
            return httpx.Response(refusal.status, json={"error": refusal.body})

    def _post(self, path: str, content: bytes) -> httpx.Response:
        if path == "/v1/events":
            return httpx.Response(200, json=self._capture(content))
        body = _object(content)
        match path:
            case "/v1/feedback":
                return httpx.Response(202, json=self._feedback(body))
            case "/v1/search":
                hits = [{"note": note, "score": 1.0} for note in self._seen(body)]
                return httpx.Response(200, json={"hits": hits[: body.get("k") or 10]})
            case "/v1/context":
                return httpx.Response(200, json=self._context(body))
        raise Refusal(404, "path", f"POST {path}: Not Found")

    def _get(self, path: str, params: Mapping[str, str]) -> Body:
        if path == "/healthz":
            return {"status": "ok"}
        if path == "/v1/notes":
            return self._page(params)
        note_id = path.removeprefix("/v1/notes/")
        found = [note for note in self._notes if note["id"] == note_id]
        if not found:
            raise Refusal(404, "id", f"there is no note {note_id!r}")
        return {"note": found[0], "history": found, "excerpts": [], "counted": {}}

    # ------------------------------------------------------------------ captures

    def _capture(self, content: bytes) -> Body:
        if not content.strip():
            raise Refusal(422, "body", "is empty")
        counts = {"accepted": 0, "duplicates": 0}
        rejected = []
        for index, line in enumerate(_lines(content)):
            try:
                counts[self._keep(parse(line))] += 1
            except BadEvent as problem:
                rejected.append({"index": index, "error": str(problem)})
        return {**counts, "rejected": rejected}

    def _keep(self, event: Body) -> str:
        key = (event["scope"].split("/")[0], event["id"])
        if key not in self._events:
            self._events[key] = event
            return "accepted"
        if self._events[key] != event:
            raise BadEvent("id: was used before with other content")
        return "duplicates"

    def _feedback(self, body: Body) -> Body:
        self._known(body)
        if not isinstance(body.get("note"), str) or not isinstance(body.get("helpful"), bool):
            raise Refusal(422, "note", "Field required")
        event = {
            "id": body.get("id") or f"fb-{len(self._events)}",
            "ts": body.get("ts") or "2026-01-01T00:00:00Z",
            "scope": body["scope"],
            "session": body.get("session", "feedback"),
            "kind": "feedback",
            "role": "human",
            "text": body.get("text", ""),
            "data": {"note": body["note"], "helpful": body["helpful"]},
        }
        return self._capture(json.dumps(event).encode())

    # ------------------------------------------------------------------ reads

    def _known(self, body: Body) -> str:
        scope = str(body.get("scope") or "")
        orgs = {org for org, _ in self._events} | {n["scope"].split("/")[0] for n in self._notes}
        if scope.split("/", maxsplit=1)[0] not in orgs:
            raise Refusal(404, "scope", f"nothing is known of {scope!r} or its organisation")
        return scope

    def _seen(self, body: Body) -> list[Body]:
        """Notes on the way from the reader's scope up to its organisation."""
        if not isinstance(body.get("query"), str):
            raise Refusal(422, "query", "Field required")
        reader = f"{self._known(body)}/"
        active = [note for note in self._notes if note["status"] == "active"]
        return [note for note in active if reader.startswith(f"{note['scope']}/")]

    def _context(self, body: Body) -> Body:
        lines: list[str] = []
        used: list[str] = []
        budget = (body.get("budget_tokens") or 800) * CHARS_A_TOKEN
        for note in self._seen(body):
            line = f"- {note['statement']}"
            if sum(map(len, lines)) + len(line) > budget:
                break
            lines.append(line)
            used.append(note["id"])
        text = "\n".join([OPEN, *lines, CLOSE]) if lines else ""
        compiler = body.get("compiler") or "markdown"
        tokens = len(text) // CHARS_A_TOKEN
        return {"text": text, "notes": used, "compiler": compiler, "tokens": tokens}

    def _page(self, params: Mapping[str, str]) -> Body:
        scope, status = params.get("scope", ""), params.get("status", "active")
        if scope:
            self._known({"scope": scope})
        found = sorted(
            (
                note
                for note in self._notes
                if (not scope or f"{note['scope']}/".startswith(f"{scope}/"))
                and status in ("all", note["status"])
                and note["id"] > params.get("after", "")
            ),
            key=lambda note: str(note["id"]),
        )
        limit = int(params.get("limit", "100"))
        more = found[limit - 1]["id"] if len(found) > limit else None
        return {"notes": found[:limit], "next": more}


def _fault(fault: int | Exception | Fault) -> Fault:
    if isinstance(fault, int):
        error = {"field": "", "reason": f"made to answer {fault}", "mend": ""}
        return lambda _: httpx.Response(fault, json={"error": error})
    if isinstance(fault, Exception):

        def raising(_: httpx.Request) -> httpx.Response:
            raise fault

        return raising
    return fault


def _lines(content: bytes) -> list[bytes]:
    """The events of a body: an array, one object, or NDJSON, as the real thing takes them."""
    try:
        found = json.loads(content)
    except ValueError:
        return [line for line in content.split(b"\n") if line.strip()]
    if isinstance(found, list):
        return [json.dumps(item).encode() for item in found]
    return [content]


def _object(content: bytes) -> Body:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise Refusal(422, "body", f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refusal(422, "body", "is no object")
    return found
