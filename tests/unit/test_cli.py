from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

from benchmarks.waiting import free_port
from sleep_runtime import __version__
from sleep_runtime.cli import capture, client, doctor, output, process
from sleep_runtime.cli.checks import Check
from sleep_runtime.cli.client import Client, find_url
from sleep_runtime.cli.consolidate import wait_until_quiet
from sleep_runtime.cli.event_file import Line, batches, read_events
from sleep_runtime.cli.main import main
from sleep_runtime.cli.store import note_from_public
from sleep_runtime.config import Settings
from sleep_runtime.core.errors import InvalidInput, Overloaded, RuntimeUnavailable
from sleep_runtime.core.note import Note, NoteStatus, Support
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.datadir import DataDir

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

# ---------------------------------------------------------------------------- a fake runtime


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    body: Any
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class FakeRuntime:
    """Answers what it is told to and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.routes: dict[tuple[str, str], Callable[[Request], Answer] | list[Answer]] = {}
        self.url = ""

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """Give these answers in turn, the last one for good."""
        self.routes[method, path] = list(answers)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        route = self.routes.get((request.method, request.path))
        if route is None:
            return Answer({"error": {"field": "id", "reason": "not here", "mend": "look"}}, 404)
        if callable(route):
            return route(request)
        return route.pop(0) if len(route) > 1 else route[0]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRuntime]:
    fake = FakeRuntime()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(parts.query))
            body = self.rfile.read(size)
            answer = fake.answer(Request(self.command, parts.path, query, body, headers))
            raw = (
                answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            self.send_response(answer.status)
            for name, value in (("content-length", str(len(raw))), *answer.headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = handle_any  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("SLEEP_URL", fake.url)
    yield fake
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine, and signals as they were."""
    for name in [name for name in os.environ if name.startswith("SLEEP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


class Output(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Output]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: str) -> Output:
        code = main(args)
        captured = capsys.readouterr()
        return Output(code, captured.out, captured.err)

    return call


def a_note(name: str = "note_1", **changes: Any) -> Note:
    claim = Claim(
        statement="Use adjusted EBITDA for Northwind.",
        kind=NoteKind.CONVENTION,
        subject="figures",
        aspect="measure",
        value="adjusted EBITDA",
        about={"account": "northwind"},
    )
    fields: dict[str, Any] = {
        "id": name,
        "scope": Scope("acme/banking"),
        "claim": claim,
        "status": NoteStatus.ACTIVE,
        "confidence": 0.91,
        "support": Support(events=3, sessions=3, people=2, days=2),
        "valid_from": NOW,
        "recorded_at": NOW,
        "evidence": ("e1", "e2", "e3"),
        "reason": "two people said it",
    }
    return Note(**(fields | changes))


def a_run(name: str = "run_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "scope": "acme/banking",
        "number": 4,
        "trigger": "manual",
        "state": "projected",
        "stood_at": None,
        "planned_at": NOW.isoformat(),
        "updated_at": (NOW + timedelta(seconds=5)).isoformat(),
        "journal": {"after": 0, "upto": 12},
        "observations": {"after": 0, "upto": 0},
        "counts": {"events": 12, "drop.one_off": 3, "drop.noise": 0},
        "usage": {"calls": 2, "input_tokens": 10, "output_tokens": 5},
        "attempts": 1,
        "reason": "",
    } | changes


def a_status(**changes: Any) -> dict[str, Any]:
    return {
        "version": "9.9",
        "started_at": NOW.isoformat(),
        "engine": "extractive",
        "journal": {"events": 12},
        "notes": {"active": 2, "candidate": 1, "retired": 0},
        "awake": [],
        "pending": {"scopes": 0, "events": 0, "tokens": 0, "observations": 0, "folds": 0},
        "next": None,
        "last_run": None,
        "outbox": 0,
        "pool": {"state": "asleep", "reason": "nothing is due", "engines": [], "where": {}},
        "index": {"generation": 1},
        "quiet": True,
    } | changes


# ---------------------------------------------------------------------------- the command


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sleep_runtime.cli.main import main; assert main(['--help']) == 0;"
        "heavy = ('ray', 'chromadb', 'pydantic', 'sqlalchemy', 'httpx', 'numpy', 'fastapi');"
        "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "consolidate" in done.stdout


def test_version_is_the_package_s(run: Run) -> None:
    assert run("--version") == (0, f"sleep-runtime {__version__}\n", "")


@pytest.mark.parametrize("later", ["undo"])
def test_what_does_not_exist_yet_is_absent(run: Run, later: str) -> None:
    result = run(later)
    assert result.code == 2
    assert "No such command" in result.err


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("serch",), "search"),
        (("search", "x"), "--scope"),
        (("search", "x", "--scope", "a//b"), "scope.team: is empty"),
        (("search", "x", "--scope", "a", "--as-of", "noon"), "--as-of: 'noon' is not a date"),
        (("config", "show", "--set", "http.port"), "--set: 'http.port' is not KEY=VALUE"),
        (("status", "--url", "nonsense"), "--url: 'nonsense' is not an address"),
        (("notes", "list", "--status", "gone"), "gone"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run: Run, args: Sequence[str], word: str) -> None:
    result = run(*args)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith("error: ")
    assert word in result.err


def test_every_problem_of_the_configuration_is_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("htp: 1\nlogg: 2\n")
    result = run("config", "show", "--config", "c.yaml")
    assert result.code == 1
    assert result.err.splitlines() == [
        "error: htp: is not a setting, file c.yaml:1 (did you mean http?)",
        "error: logg: is not a setting, file c.yaml:2 (did you mean log?)",
    ]


def test_debug_raises_and_without_it_a_bug_is_one_line(
    run: Run, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.on("GET", "/v1/status", Answer({"version": "1"}))
    result = run("status")
    assert result.code == 1
    assert re.fullmatch(r"error: KeyError: .*--debug.*\n", result.err)
    with pytest.raises(KeyError):
        main(["--debug", "status"])


# ---------------------------------------------------------------------------- finding the runtime


@pytest.mark.parametrize(
    "args", [("status",), ("search", "x", "--scope", "a"), ("notes", "list"), ("reconcile",)]
)
def test_nothing_up_is_one_line_with_the_mend_and_exit_1(run: Run, args: Sequence[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = run(*args, "--url", url)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"error: no runtime answers at {url} (start one with: sleep-runtime up)\n"


def test_url_is_found_by_flag_then_environment_then_file_then_config(
    runtime: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    assert find_url(settings) == "http://127.0.0.1:8377"
    (tmp_path / "runtime.json").write_text('{"url": "http://127.0.0.1:9"}')
    assert find_url(settings) == "http://127.0.0.1:9"
    with client.connect(None, None) as found:
        assert found.url == runtime.url
    with client.connect("http://127.0.0.1:8", None) as found:
        assert found.url == "http://127.0.0.1:8"


def test_the_runtime_file_is_the_one_the_data_directory_names(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "d")
    assert client.runtime_file(settings) == DataDir(settings.data_dir).runtime_file


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    run: Run, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    runtime.on("GET", "/v1/status", Answer(a_status()))
    assert run("status").code == 0


# ---------------------------------------------------------------------------- the client


def test_overload_is_waited_out_as_retry_after_says(runtime: FakeRuntime) -> None:
    busy = Answer({}, 429, (("retry-after", "3"),))
    down = Answer({}, 503, (("retry-after", "86400"),))
    odd = Answer({}, 503, (("retry-after", "Mon, 01 Jan 2035 00:00:00 GMT"),))
    runtime.on("GET", "/v1/status", busy, down, odd, Answer(a_status()))
    waits: list[float] = []
    with Client(runtime.url, sleep=waits.append) as http:
        assert http.get("/v1/status")["quiet"]
    assert waits == [3.0, client.MAX_WAIT_S, 1.0]


@pytest.mark.parametrize(("status", "kind"), [(429, Overloaded), (503, RuntimeUnavailable)])
def test_waiting_for_an_overloaded_runtime_is_bounded(
    runtime: FakeRuntime, status: int, kind: type[Exception]
) -> None:
    runtime.on("GET", "/v1/status", Answer({"error": {"reason": "full"}}, status))
    waits: list[float] = []
    with Client(runtime.url, sleep=waits.append) as http, pytest.raises(kind, match="full"):
        http.get("/v1/status")
    assert len(waits) == client.MAX_TRIES - 1


def test_an_error_of_the_runtime_is_told_with_field_reason_and_mend(
    run: Run, runtime: FakeRuntime
) -> None:
    result = run("notes", "show", "note_x")
    assert (result.code, result.err) == (1, "error: id: not here (look)\n")


def test_a_stranger_on_the_port_is_not_taken_for_the_runtime(
    run: Run, runtime: FakeRuntime
) -> None:
    runtime.on("GET", "/v1/status", Answer(b"<html>"))
    assert "is not a sleep-runtime" in run("status").err


def test_a_serve_without_our_application_is_told_from_a_thing_that_is_not_there(
    run: Run, runtime: FakeRuntime
) -> None:
    runtime.on("GET", "/v1/status", Answer(b"Path '/v1/status' not found.", 404))
    result = run("status")
    assert result.code == 1
    assert "no sleep-runtime is deployed on it" in result.err


# ---------------------------------------------------------------------------- event files


def lines_of(raw: bytes) -> list[tuple[int, Any]]:
    return [(line.number, json.loads(line.raw)) for line in read_events(io.BytesIO(raw))]


PRETTY = b'\n[\n  {"id": "a",\n   "t": "x\\ny"},\n  {"id": "b"}\n,\n 7]\n'


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_events_are_read_with_the_line_they_start_on(pack: Callable[[bytes], bytes]) -> None:
    assert lines_of(pack(b'{"id":"a"}\n\n \r\n{"id":"b"}')) == [(1, {"id": "a"}), (4, {"id": "b"})]
    assert lines_of(pack(PRETTY)) == [(3, {"id": "a", "t": "x\ny"}), (5, {"id": "b"}), (7, 7)]
    assert lines_of(pack(b"\xef\xbb\xbf[]")) == []
    assert lines_of(pack(b"")) == []


def test_an_array_larger_than_every_buffer_is_read_whole() -> None:
    events = [{"id": f"e{n}", "text": "é" * (n * 37 % 90_000)} for n in range(300)]
    raw = json.dumps(events, ensure_ascii=False).encode()
    assert [event for _, event in lines_of(raw)] == events


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'[{"id":1}\n', "line 2: the array is not closed"),
        (b'[{"id":1}\n{"id":2}]', "line 2: ',' is missing"),
        (b'[\n{"id":}]', "line 2: Expecting value"),
        (b'[\n"\xff"]', "is not UTF-8"),
        (gzip.compress(b'{"id":1}\n' * 1000)[:-20], "gzip data is damaged"),
        (b"\x1f\x8bnonsense", "gzip data is damaged"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_file_that_breaks_off_says_where(raw: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(told)):
        list(read_events(io.BytesIO(raw)))


def test_a_line_without_end_is_skipped_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sleep_runtime.cli.event_file.MAX_EVENT_BYTES", 100)
    found = list(read_events(io.BytesIO(b"1\n" + b"x" * 200_000 + b"\n2\n" + b"y" * 101)))
    assert [(line.number, line.raw) for line in found] == [(1, b"1"), (2, b""), (3, b"2"), (4, b"")]
    assert "larger than 100 bytes" in found[1].problem


def test_requests_are_bounded_by_events_and_by_bytes() -> None:
    lines = [Line(n, b"x" * 10) for n in range(10)]
    sizes = [len(batch) for batch in batches(lines, max_events=4, max_bytes=1000)]
    assert sizes == [4, 4, 2]
    assert [len(b) for b in batches(lines, max_events=100, max_bytes=33)] == [3, 3, 3, 1]
    assert [len(b) for b in batches(lines, max_events=100, max_bytes=1)] == [1] * 10


def test_events_before_the_break_are_handed_out() -> None:
    groups = batches(read_events(io.BytesIO(b"[1,2,")), max_events=9, max_bytes=99)
    assert [line.raw for line in next(groups)] == [b"1", b"2"]
    with pytest.raises(InvalidInput, match="line 1"):
        next(groups)


# ---------------------------------------------------------------------------- capture


def take_events(request: Request) -> Answer:
    """Accept what is new; events that say ``bad`` are refused, ``again`` are duplicates."""
    rows = [json.loads(line) for line in request.body.split(b"\n")]
    rejected = [
        {"index": n, "error": f"line {n + 1}: kind: is bad"}
        for n, row in enumerate(rows)
        if row.get("bad")
    ]
    again = sum(1 for row in rows if row.get("again"))
    accepted = len(rows) - len(rejected) - again
    return Answer({"accepted": accepted, "duplicates": again, "rejected": rejected})


def write_events(path: Path, count: int, **marks: set[int]) -> Path:
    rows = [
        json.dumps({"id": f"e{n}"} | {mark: True for mark, which in marks.items() if n in which})
        for n in range(1, count + 1)
    ]
    path.write_text("\n".join(rows))
    return path


def test_capture_sums_answers_and_names_refused_lines(
    run: Run, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.routes["POST", "/v1/events"] = take_events
    file = write_events(tmp_path / "day.ndjson", 1203, bad={7, 1200}, again={2})
    result = run("capture", str(file))
    assert result.code == 1
    assert result.err.splitlines() == ["line 7: kind: is bad", "line 1200: kind: is bad"]
    assert result.out.startswith("accepted 1200, duplicates 1, rejected 2 in ")
    assert len(runtime.requests) == 3
    assert {r.headers["content-type"] for r in runtime.requests} == {"application/x-ndjson"}
    assert "transfer-encoding" not in runtime.requests[0].headers


def test_capture_of_good_events_exits_0_and_speaks_json(
    run: Run, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.routes["POST", "/v1/events"] = take_events
    file = write_events(tmp_path / "day.ndjson", 10)
    result = run("capture", str(file), "--batch", "4", "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json | {"seconds": 0} == {
        "accepted": 10,
        "duplicates": 0,
        "rejected": [],
        "rejected_count": 0,
        "seconds": 0,
    }
    assert len(runtime.requests) == 3


def test_capture_reads_standard_input(
    run: Run, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.routes["POST", "/v1/events"] = take_events
    stdin = io.TextIOWrapper(io.BytesIO(gzip.compress(b'[{"id":"a"},{"id":"b"}]')))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("capture", "-").out.startswith("accepted 2,")
    assert not stdin.closed


def test_a_request_that_is_too_large_is_halved_until_one_event_is_to_blame(
    run: Run, runtime: FakeRuntime, tmp_path: Path
) -> None:
    def limited(request: Request) -> Answer:
        if b"huge" in request.body:
            return Answer({"error": {"field": "body", "reason": "is too large", "mend": ""}}, 413)
        return take_events(request)

    runtime.routes["POST", "/v1/events"] = limited
    file = write_events(tmp_path / "day.ndjson", 9, huge={6})
    result = run("capture", str(file))
    assert result.code == 1
    assert result.err == "line 6: body: is too large\n"
    assert result.out.startswith("accepted 8, duplicates 0, rejected 1")


def test_capture_that_breaks_off_says_what_was_kept(
    run: Run, runtime: FakeRuntime, tmp_path: Path
) -> None:
    full = Answer({"error": {"field": "", "reason": "disk is full", "mend": "free some"}}, 507)
    runtime.on("POST", "/v1/events", Answer({"accepted": 4, "duplicates": 0, "rejected": []}), full)
    result = run("capture", str(write_events(tmp_path / "d", 8)), "--batch", "4")
    assert result.code == 1
    first, last = result.err.splitlines()
    assert first.startswith("stopped: accepted 4, duplicates 0, rejected 0")
    assert last == "error: disk is full (free some)"


def test_many_refusals_do_not_flood_the_terminal(
    run: Run, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.routes["POST", "/v1/events"] = take_events
    file = write_events(tmp_path / "day", 1500, bad=set(range(1501)))
    result = run("capture", str(file), "--json")
    assert len(result.err.splitlines()) == capture.SHOWN_REJECTIONS + 1
    assert result.json["rejected_count"] == 1500
    assert len(result.json["rejected"]) == capture.KEPT_REJECTIONS


def test_a_missing_file_is_told_before_anything_is_sent(run: Run, runtime: FakeRuntime) -> None:
    result = run("capture", "nowhere.ndjson")
    assert result.code == 1
    assert result.err.startswith("error: nowhere.ndjson: cannot be read: No such file")
    assert runtime.requests == []


# ---------------------------------------------------------------------------- readers


def test_search_asks_with_defaults_of_the_config_and_prints_hits(
    run: Run, runtime: FakeRuntime
) -> None:
    hit = {"note": a_note().public(), "score": 0.8123}
    runtime.on("POST", "/v1/search", Answer({"hits": [hit]}))
    result = run("search", "which figures?", "--scope", "acme/banking/ana", "--as-of", "2026-11-22")
    assert runtime.requests[0].json == {
        "scope": "acme/banking/ana",
        "query": "which figures?",
        "k": Settings().search.k,
        "as_of": "2026-11-22T00:00:00+00:00",
    }
    assert result.code == 0
    assert "0.81  Use adjusted EBITDA for Northwind." in result.out
    assert "note_1  acme/banking  convention, confidence 0.91" in result.out
    argv = ("search", "q", "--scope", "a", "-k", "3", "--include-superseded", "--json")
    assert run(*argv).json == {"hits": [hit]}
    assert runtime.requests[1].json == {
        "scope": "a",
        "query": "q",
        "k": 3,
        "include_superseded": True,
    }


def test_a_search_without_hits_leaves_stdout_empty(run: Run, runtime: FakeRuntime) -> None:
    runtime.on("POST", "/v1/search", Answer({"hits": []}))
    assert run("search", "x", "--scope", "a") == (0, "", "no note answers this\n")


def test_context_prints_only_the_prompt_on_stdout(run: Run, runtime: FakeRuntime) -> None:
    answer = {"text": "Know this.", "notes": ["n"], "compiler": "budget", "tokens": 3}
    runtime.on("POST", "/v1/context", Answer(answer))
    result = run("context", "q", "--scope", "a", "--compiler", "budget", "--budget", "50")
    assert result == (0, "Know this.\n", "1 notes, 3 tokens, budget\n")
    assert runtime.requests[0].json["budget_tokens"] == 50
    assert run("context", "q", "--scope", "a", "--json").json == answer
    assert runtime.requests[1].json["compiler"] == Settings().compiler.name


def test_notes_list_follows_the_pages(run: Run, runtime: FakeRuntime) -> None:
    notes = [a_note(f"note_{n}").public() for n in range(3)]
    runtime.on(
        "GET",
        "/v1/notes",
        Answer({"notes": notes[:2], "next": "note_1"}),
        Answer({"notes": notes[2:], "next": None}),
    )
    result = run("notes", "list", "--scope", "acme", "--status", "all", "--json")
    assert result.json == {"notes": notes}
    first, second = (request.query for request in runtime.requests)
    assert (first["scope"], first["status"], "after" in first) == ("acme", "all", False)
    assert second["after"] == "note_1"


def test_notes_list_is_bounded_and_reads_as_a_table(run: Run, runtime: FakeRuntime) -> None:
    notes = [a_note(f"note_{n}").public() for n in range(2)]
    runtime.on("GET", "/v1/notes", Answer({"notes": notes, "next": "note_1"}))
    lines = run("notes", "list", "--limit", "2").out.splitlines()
    assert len(runtime.requests) == 1
    assert lines[0].split() == ["ID", "SCOPE", "KIND", "STATUS", "CONF", "STATEMENT"]
    assert lines[1].endswith("Use adjusted EBITDA for Northwind.")
    assert len(lines) == 3


def test_notes_show_says_what_how_sure_from_whom_and_why(run: Run, runtime: FakeRuntime) -> None:
    first = a_note(confidence=0.5, reason="a person said it")
    excerpt = {
        "event_id": "e1",
        "ts": NOW.isoformat(),
        "role": "human",
        "kind": "correction",
        "text": "use adjusted\nEBITDA please",
    }
    found = {
        "note": a_note(revision=2).public(),
        "history": [first.public(), a_note(revision=2).public()],
        "excerpts": [excerpt],
    }
    runtime.on("GET", "/v1/notes/note_1", Answer(found))
    text = run("notes", "show", "note_1").out
    for said in (
        "Use adjusted EBITDA for Northwind.",
        "confidence:    0.91",
        "3 events, 3 sessions, 2 people",
        "evidence (1 of 3 events)",
        "use adjusted EBITDA please",
        "because a person said it",
        "because two people said it",
    ):
        assert said in text
    assert run("notes", "show", "note_1", "--json").json == found
    assert run("notes", "history", "note_1", "--json").json == {"history": found["history"]}
    assert "because a person said it" in run("notes", "history", "note_1").out


def test_runs_list_says_why_nothing_happened(run: Run, runtime: FakeRuntime) -> None:
    runtime.on("GET", "/v1/runs", Answer({"runs": [a_run(reason="nothing stands out")]}))
    lines = run("runs", "list").out.splitlines()
    assert lines[1].endswith("manual   projected  nothing stands out; events 12, drop: one off 3")
    assert run("runs", "list", "--json").json["runs"][0]["id"] == "run_1"


def test_runs_show_explains_counts_changes_and_critiques(run: Run, runtime: FakeRuntime) -> None:
    delta = {"kind": "add", "note_id": "note_1", "revision": 1, "reason": "two people"}
    proposal = {
        "proposal": {"claim": {"statement": "Use adjusted EBITDA."}},
        "critique": {"worth": "keep", "relation": "new", "target": "", "reason": "recurs"},
    }
    found = {"run": a_run(), "deltas": [delta], "proposals": [proposal]}
    runtime.on("GET", "/v1/runs/run_1", Answer(found))
    text = run("runs", "show", "run_1").out
    for said in (
        "night 4 of acme/banking",
        "       3  dropped: said for this once only",
        "add        note_1 revision 1",
        "because two people",
        "keep, new: recurs",
        "Use adjusted EBITDA.",
    ):
        assert said in text
    assert run("runs", "show", "run_1", "--json").json == found


# ---------------------------------------------------------------------------- status, consolidate


def test_status_says_what_is_awake_pending_next_and_why(run: Run, runtime: FakeRuntime) -> None:
    due = datetime.now(UTC) + timedelta(hours=3, minutes=5, seconds=20)
    runtime.on(
        "GET",
        "/v1/status",
        Answer(
            a_status(
                awake=[{"scope": "acme/banking", "owner": "x", "epoch": 1, "state": "generated"}],
                pending={"scopes": 2, "events": 35, "tokens": 900, "observations": 4, "folds": 0},
                next={"scope": "acme", "due_at": due.isoformat(), "trigger": "cadence"},
                last_run=a_run(reason="nothing recurred"),
            )
        ),
    )
    result = run("status")
    rows = dict(line.split(":", 1) for line in result.out.splitlines())
    rows = {name: value.strip() for name, value in rows.items()}
    assert result.code == 0
    assert rows["up"].startswith(runtime.url)
    assert rows["awake"] == "acme/banking (generated)"
    assert rows["pending"] == "35 events (about 900 tokens), 4 observations at 2 scopes"
    assert rows["notes"] == "active 2, candidate 1"
    assert rows["idle pool"] == "asleep; nothing is due"
    assert rows["next night"].startswith("in 3 h 5 min (")
    assert rows["next night"].endswith("for acme, cadence")
    assert "nothing recurred; events 12, drop: one off 3 [run_1]" in rows["last night"]
    assert run("status", "--json").json["url"] == runtime.url


def test_status_names_a_spent_budget_and_when_there_is_room(run: Run, runtime: FakeRuntime) -> None:
    until = datetime.now(UTC) + timedelta(hours=2, minutes=3, seconds=20)
    spent = {
        "limit": "policy.budget.tenant.max_tokens",
        "org": "acme",
        "reason": "acme has used 120 of 100 tokens in 24 h",
        "until": until.isoformat(),
    }
    runtime.on("GET", "/v1/status", Answer(a_status(budgets=[spent])))
    (line,) = (line for line in run("status").out.splitlines() if line.startswith("budget:"))
    assert "acme has used 120 of 100 tokens in 24 h (policy.budget.tenant.max_tokens)" in line
    assert line.endswith("in 2 h 3 min")


def test_status_of_a_quiet_runtime(run: Run, runtime: FakeRuntime) -> None:
    runtime.on("GET", "/v1/status", Answer(a_status()))
    text = run("status", "--scope", "acme").out
    assert runtime.requests[0].query == {"scope": "acme"}
    assert "pending:    nothing" in text
    assert "not due: nothing is pending" in text


def test_consolidate_lists_what_is_due(run: Run, runtime: FakeRuntime) -> None:
    runtime.on("POST", "/v1/runs", Answer({"requested": ["acme/b"], "at": NOW.isoformat()}, 202))
    assert run("consolidate", "--scope", "acme") == (0, "acme/b\n", "1 scopes are due now\n")
    assert runtime.requests[0].json == {"scope": "acme"}


def test_consolidate_wait_polls_until_quiet_and_shows_this_night_only(
    run: Run, runtime: FakeRuntime
) -> None:
    runtime.on("POST", "/v1/runs", Answer({"requested": ["acme"], "at": NOW.isoformat()}, 202))
    busy = a_status(quiet=False)
    runtime.on("GET", "/v1/status", Answer(busy), Answer(busy), Answer(a_status()))
    before = (NOW - timedelta(hours=1)).isoformat()
    runs = [a_run("run_2"), a_run("run_1"), a_run("run_0", updated_at=before)]
    runtime.on("GET", "/v1/runs", Answer({"runs": runs}))
    for name in ("run_1", "run_2"):
        deltas = [{"kind": "add"}, {"kind": "add"}, {"kind": "retire"}]
        runtime.on("GET", f"/v1/runs/{name}", Answer({"run": {}, "deltas": deltas}))
    result = run("consolidate", "--wait", "--json")
    assert result.code == 0
    assert [night["id"] for night in result.json["runs"]] == ["run_1", "run_2"]
    assert result.json["runs"][0]["written"] == {"add": 2, "retire": 1}
    lines = run("consolidate", "--wait").out.splitlines()
    assert lines[0].split() == ["SCOPE", "STATE", "WRITTEN", "WHAT", "HAPPENED"]
    assert "add 2, retire 1" in lines[1]


def test_a_night_that_did_not_end_well_exits_1(run: Run, runtime: FakeRuntime) -> None:
    runtime.on("POST", "/v1/runs", Answer({"requested": ["acme"], "at": NOW.isoformat()}, 202))
    runtime.on("GET", "/v1/status", Answer(a_status()))
    runtime.on("GET", "/v1/runs", Answer({"runs": [a_run(state="abandoned", reason="broken")]}))
    runtime.on("GET", "/v1/runs/run_1", Answer({"deltas": []}))
    result = run("consolidate", "--wait")
    assert result.code == 1
    assert "abandoned  nothing  broken" in result.out


def test_waiting_for_a_night_is_bounded(runtime: FakeRuntime) -> None:
    runtime.on("GET", "/v1/status", Answer(a_status(quiet=False)))
    clock = {"now": 0.0}

    def sleep(seconds: float) -> None:
        clock["now"] += seconds

    with (
        Client(runtime.url) as http,
        pytest.raises(RuntimeUnavailable, match=r"not over after 30 s.*goes on by itself"),
    ):
        wait_until_quiet(http, {}, timeout_s=30, sleep=sleep, now=lambda: clock["now"])
    assert clock["now"] >= 30
    assert len(runtime.requests) < 40


# ---------------------------------------------------------------------------- the store


def test_a_note_survives_its_public_json() -> None:
    note = a_note(valid_to=NOW, superseded_by="note_2", helpful=2, status=NoteStatus.SUPERSEDED)
    assert note_from_public(json.loads(json.dumps(note.public()))) == note


def test_export_writes_the_notes_of_all_pages_and_twice_changes_nothing(
    run: Run, runtime: FakeRuntime, tmp_path: Path
) -> None:
    first = Answer({"notes": [a_note("note_1").public()], "next": "note_1"})
    second = Answer({"notes": [a_note("note_2").public()], "next": None})
    runtime.on("GET", "/v1/notes", first, second, first, second)
    to = tmp_path / ".context"
    assert run("export", "--to", str(to), "--json").json["written"] > 2
    texts = {path: path.read_bytes() for path in to.rglob("*") if path.is_file()}
    assert sum(b"adjusted EBITDA" in text for text in texts.values()) >= 2
    again = run("export", "--to", str(to), "--json").json
    assert (again["written"], again["removed"]) == (0, 0)
    assert {path: path.read_bytes() for path in to.rglob("*") if path.is_file()} == texts


@pytest.mark.parametrize("what", ["reconcile", "rebuild"])
def test_repairing_the_index_reports_numbers(run: Run, runtime: FakeRuntime, what: str) -> None:
    runtime.on("POST", f"/v1/index/{what}", Answer({"missing": 2, "stale": 0}))
    assert run(what) == (0, f"{what}: missing 2\n", "")
    assert run(what, "--json").json == {"missing": 2, "stale": 0}


# ---------------------------------------------------------------------------- config


def test_config_show_names_sources_and_masks_secrets(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text("log:\n  level: debug\n")
    monkeypatch.setenv("SLEEP_ENGINE__API_KEY", "hush")
    result = run("config", "show", "--config", "c.yaml", "--set", "http.port=9", "--json")
    assert result.code == 0
    assert result.json["http.port"] == {"value": 9, "source": "flag"}
    assert result.json["log.level"] == {"value": "debug", "source": "file c.yaml:2"}
    assert result.json["engine.api_key"]["source"] == "env SLEEP_ENGINE__API_KEY"
    text = run("config", "show").out
    assert "hush" not in result.out + text
    assert re.search(r"^ray\.num_cpus +null +default$", text, re.MULTILINE)


def test_config_schema_is_json(run: Run) -> None:
    assert run("config", "schema").json["properties"]["data_dir"]["format"] == "path"


# ---------------------------------------------------------------------------- up and down


class FakeRunning:
    def __init__(self, wait: Callable[[], None]) -> None:
        self.url = "http://127.0.0.1:1"
        self.wait = wait
        self.stopped = 0
        self.remarks = ("HAProxy is off (export it)",)

    def stop(self, progress: Callable[[str], None]) -> None:
        progress("closing")
        self.stopped += 1


def fake_cluster(monkeypatch: pytest.MonkeyPatch, start: Callable[..., FakeRunning]) -> None:
    package = types.ModuleType("sleep_runtime.compose")
    module = types.ModuleType("sleep_runtime.compose.cluster")
    vars(module)["start"] = start
    monkeypatch.setitem(sys.modules, "sleep_runtime.compose", package)
    monkeypatch.setitem(sys.modules, "sleep_runtime.compose.cluster", module)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_shows_stages_and_one_line_and_drains_on_a_signal(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int, tmp_path: Path
) -> None:
    seen: list[Settings] = []

    def wait() -> None:
        os.kill(os.getpid(), number)
        threading.Event().wait(10)

    running = FakeRunning(wait)

    def start(settings: Settings, *, progress: Callable[[str], None]) -> FakeRunning:
        seen.append(settings)
        progress("starting Ray")
        return running

    fake_cluster(monkeypatch, start)
    result = run("up", "--address", "ray:6379", "--set", "http.port=9")
    assert (result.code, running.stopped) == (0, 1)
    assert result.out.startswith("sleep-runtime is up: http://127.0.0.1:1 ")
    assert len(result.out.splitlines()) == 1
    assert [line.split("s  ")[-1] for line in result.err.splitlines()] == [
        "loading",
        "starting Ray",
        "warning: HAProxy is off (export it)",
        "draining…",
        "closing",
        "down",
    ]
    assert (seen[0].ray.address, seen[0].http.port) == ("ray:6379", 9)
    assert seen[0].data_dir == tmp_path / ".sleep"


def test_up_that_fails_is_one_line_and_exit_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(settings: Settings, *, progress: Callable[[str], None]) -> FakeRunning:
        raise RuntimeUnavailable("port is taken", field="http.port", mend="choose another")

    fake_cluster(monkeypatch, start)
    result = run("up")
    assert result.code == 1
    assert result.err.splitlines()[-1] == "error: http.port: port is taken (choose another)"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait(10)


def write_runtime_file(tmp_path: Path, pid: int, started_at: datetime) -> None:
    (tmp_path / ".sleep").mkdir(exist_ok=True)
    text = json.dumps({"pid": pid, "url": "http://x", "started_at": started_at.isoformat()})
    (tmp_path / ".sleep" / "runtime.json").write_text(text)


def test_down_stops_the_process_of_the_runtime_file(
    run: Run, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    write_runtime_file(tmp_path, sleeper.pid, datetime.now(UTC))
    result = run("down")
    assert (result.code, result.out) == (0, f"stopped http://x (pid {sleeper.pid})\n")
    assert sleeper.wait(10) == -signal.SIGTERM
    assert run("down").code == 1


def test_down_leaves_a_stranger_with_the_same_pid_alone(
    run: Run, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    write_runtime_file(tmp_path, sleeper.pid, datetime.now(UTC) - timedelta(hours=1))
    result = run("down")
    assert result.code == 1
    assert "no runtime is up in" in result.err
    assert sleeper.poll() is None


def test_down_with_nothing_up_exits_1(run: Run) -> None:
    result = run("down")
    assert (result.code, result.out) == (1, "")
    assert "sleep-runtime up" in result.err


def test_up_refuses_a_data_directory_that_is_in_use(
    run: Run, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    write_runtime_file(tmp_path, sleeper.pid, datetime.now(UTC))
    result = run("up")
    assert result.code == 1
    assert f"a runtime is up already at http://x (pid {sleeper.pid})" in result.err


@pytest.mark.parametrize("pid", [0, 1, -1, "7", None, True, 2**22 + 1])
def test_a_nonsense_pid_is_never_signalled(pid: object) -> None:
    assert not process.is_alive({"pid": pid, "started_at": "never"})


# ---------------------------------------------------------------------------- doctor


def test_doctor_of_this_machine_finds_nothing_broken(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("json",))
    monkeypatch.setattr(doctor, "model_weights", lambda: Check("model", "ok", "fake"))
    monkeypatch.setenv("SLEEP_HTTP__PORT", str(free_port()))
    result = run("doctor", "--json")
    states = {check["name"]: check["state"] for check in result.json["checks"]}
    assert states["python"] == states["data dir"] == states["port"] == "ok"
    assert result.code == int("fail" in states.values())


def test_doctor_fails_on_a_taken_port_and_says_the_mend(
    run: Run, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ())
    monkeypatch.setattr(doctor, "model_weights", lambda: Check("model", "ok", "fake"))
    monkeypatch.setenv("SLEEP_HTTP__PORT", runtime.url.rpartition(":")[2])
    result = run("doctor")
    assert result.code == 1
    assert re.search(r"^port +fail .*in use +choose SLEEP_HTTP__PORT$", result.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("check", "state"),
    [
        (doctor.python_version((3, 10)), "fail"),
        (doctor.python_version((3, 13)), "ok"),
        (doctor.packages(["json", "no_such_package"]), "fail"),
        (doctor.free_space(1), "fail"),
        (doctor.free_space(doctor.MIN_FREE_BYTES), "warn"),
        (doctor.free_space(10**12), "ok"),
        (doctor.open_files((256, 256)), "fail"),
        (doctor.open_files((1024, 4096)), "warn"),
        (doctor.open_files((65536, 65536)), "ok"),
        (doctor.writable(Path("/proc/nowhere")), "fail"),
    ],
)
def test_doctor_judges_each_finding(check: Check, state: str) -> None:
    assert check.state == state
    assert bool(check.mend) == (state != "ok")


def test_the_file_system_is_the_one_of_the_nearest_mount() -> None:
    mounts = [("/", "ext4"), ("/dev/shm", "tmpfs"), ("/dev/shmoo", "nfs")]
    assert doctor.file_system_kind(Path("/dev/shm/x"), mounts) == "tmpfs"
    assert doctor.file_system_kind(Path("/home/x"), mounts) == "ext4"
    assert doctor.file_system_kind(Path("/x"), []) == ""


# ---------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "now"),
        (12, "in 12 s"),
        (-90, "2 min ago"),
        (11_100, "in 3 h 5 min"),
        (-7200, "2 h ago"),
        (183_600, "in 2 d 3 h"),
    ],
)
def test_times_are_told_as_people_say_them(seconds: float, said: str) -> None:
    ts = (NOW + timedelta(seconds=seconds)).isoformat()
    assert output.relative(ts, NOW) == said
