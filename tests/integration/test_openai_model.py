"""OpenAIChatModel against a real local HTTP server that misbehaves in every way we know."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import pytest

from sleep_runtime.core.errors import EngineUnavailable, InvalidConfig
from sleep_runtime.core.event import EventKind, Role, Trust
from sleep_runtime.core.observation import SessionInput, Turn, Usage
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.core.scope import Scope
from sleep_runtime.engines.breaker import Breaker
from sleep_runtime.engines.llm import LlmEngine
from sleep_runtime.engines.openai import OpenAIChatModel

KEY = "sk-very-secret-0123456789"
WAIT_S = 20.0
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"word": {"type": "string", "maxLength": 40}},
    "required": ["word"],
    "additionalProperties": False,
}


class Handler(BaseHTTPRequestHandler):
    """One request, answered by the server's behaviour."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.enter(self.path, said)
        try:
            self.server.behave(self, said)
        except OSError:
            self.close_connection = True
        finally:
            self.server.leave()

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def json(self, status: int, value: Any, **headers: str) -> None:
        self.reply(status, json.dumps(value).encode(), **headers)

    def complete(self, content: Any, finish: str = "stop", **message: Any) -> None:
        choice = {"finish_reason": finish, "message": {"content": content, **message}}
        usage = {"prompt_tokens": 11, "completion_tokens": 7}
        self.json(200, {"choices": [choice], "usage": usage})

    def good(self, said: Said) -> None:
        self.complete(json.dumps({"word": said["messages"][-1]["content"][:40]}))

    def log_message(self, *args: Any) -> None:
        """Quiet."""


Said: TypeAlias = dict[str, Any]
Behaviour: TypeAlias = Callable[[Handler, Said], None]


class Server(ThreadingHTTPServer):
    """Counts what it is asked. ``released`` ends every hanging answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave: Behaviour = Handler.good
        self.said: list[Said] = []
        self.paths: list[str] = []
        self.released = threading.Event()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def enter(self, path: str, said: Said) -> None:
        with self._lock:
            self.paths.append(path)
            self.said.append(said)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def leave(self) -> None:
        with self._lock:
            self.at_once -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news here."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.released.set()
            running.shutdown()
            thread.join(WAIT_S)


Make: TypeAlias = Callable[..., OpenAIChatModel]


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def make(server: Server, waits: list[float]) -> Iterator[Make]:
    made: list[OpenAIChatModel] = []

    def build(base_url: str = "", **options: Any) -> OpenAIChatModel:
        options = {"api_key": KEY, "sleep": waits.append, **options}
        made.append(OpenAIChatModel(base_url or server.url, "tiny", **options))
        return made[-1]

    yield build
    server.released.set()
    for model in made:
        model.close()


def question(text: str = "hello") -> ChatRequest:
    messages = (("system", "say the word"), ("user", text))
    return ChatRequest(id=text, messages=messages, json_schema=SCHEMA, max_output_tokens=50)


def ask(model: OpenAIChatModel) -> ChatAnswer:
    (answer,) = model.chat([question()])
    return answer


def status(code: int, said: Any = None, **headers: str) -> Behaviour:
    body = {"error": {"message": said or f"status {code}"}}
    return lambda handler, _: handler.json(code, body, **headers)


# ---------------------------------------------------------------------------- when all is well


def test_a_question_is_asked_with_a_strict_schema_and_no_randomness(
    server: Server, make: Make
) -> None:
    answer = ask(make(seed=3))
    assert answer.object == {"word": "hello"}
    assert answer.usage == Usage(calls=1, input_tokens=11, output_tokens=7)
    (said,) = server.said
    assert server.paths == ["/v1/chat/completions"]
    assert said["response_format"]["json_schema"]["strict"] is True
    assert said["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (said["model"], said["temperature"], said["seed"]) == ("tiny", 0, 3)
    assert said["max_tokens"] == 50


def test_never_more_questions_in_flight_than_allowed(server: Server, make: Make) -> None:
    together = threading.Barrier(3)

    def meet(handler: Handler, said: Said) -> None:
        together.wait(WAIT_S)
        handler.good(said)

    server.behave = meet
    answers = make(max_concurrency=3).chat([question(str(n)) for n in range(12)])
    assert [answer.object for answer in answers] == [{"word": str(n)} for n in range(12)]
    assert server.most_at_once == 3


def test_an_engine_works_over_a_real_server(server: Server, make: Make) -> None:
    item = {
        "lines": ["H1"],
        "quote": "use tabs",
        "statement": "Use tabs in makefiles.",
        "kind": "convention",
        "subject": "makefiles",
        "aspect": "indentation",
        "value": "tabs",
        "applies_when": "",
        "durability": "standing",
    }
    found = json.dumps({"reasoning": "a rule", "items": [item]})
    server.behave = lambda handler, _: handler.complete(found)
    turn = Turn(
        event_id="e1",
        ts=datetime(2026, 1, 5, tzinfo=UTC),
        role=Role.HUMAN,
        kind=EventKind.MESSAGE,
        trust=Trust.HUMAN,
        text="please use tabs in makefiles from now on",
    )
    session = SessionInput(scope=Scope("acme/web/ana"), session="s", turns=(turn,))
    engine = LlmEngine(make())
    (got,) = engine.distil([session])
    assert [draft.evidence for draft in got.drafts] == [("e1",)]
    assert engine.usage == Usage(calls=1, input_tokens=11, output_tokens=7)


# ---------------------------------------------------------------------------- useless answers


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("I think the word is hello.", "not valid JSON"),
        ('{"word": "hel', "not valid JSON"),
        ('{"word": NaN}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"word": ' + "9" * 5000 + "}", "not valid JSON"),
        ('["word"]', "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"word": 1}', "outside its schema: answer.word is not of type string"),
        ('{"word": "a", "other": 1}', "outside its schema: answer has keys"),
        ('{"word": "' + "x" * 41 + '"}', "outside its schema: answer.word length is above 40"),
        ('{"word": "\\ud800"}', "not valid Unicode"),
        ("", "empty answer"),
        (None, "empty answer"),
        (["hello"], "empty answer"),
    ],
)
def test_a_useless_answer_is_a_problem_and_is_not_asked_again(
    server: Server, make: Make, content: Any, problem: str
) -> None:
    server.behave = lambda handler, _: handler.complete(content)
    answer = ask(make())
    assert answer.object is None
    assert problem in answer.problem
    assert answer.usage == Usage(calls=1, input_tokens=11, output_tokens=7)
    assert len(server.said) == 1


@pytest.mark.parametrize(
    ("finish", "problem"), [("length", "output limit"), ("content_filter", "content filter")]
)
def test_an_answer_that_was_cut_short_is_not_used_even_if_it_parses(
    server: Server, make: Make, finish: str, problem: str
) -> None:
    server.behave = lambda handler, _: handler.complete('{"word": "hello"}', finish)
    assert problem in ask(make()).problem


@pytest.mark.parametrize("choices", [[], [None], [{}], [{"message": "x"}], [7]])
def test_a_completion_without_a_message_is_a_problem(
    server: Server, make: Make, choices: Any
) -> None:
    server.behave = lambda handler, _: handler.json(200, {"choices": choices, "usage": "none"})
    answer = ask(make())
    assert answer.problem
    assert answer.usage == Usage(calls=1)


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": -5, "completion_tokens": True}])
def test_usage_that_is_none_counts_nothing(server: Server, make: Make, usage: Any) -> None:
    choice = {"finish_reason": "stop", "message": {"content": '{"word": "a"}'}}
    server.behave = lambda handler, _: handler.json(200, {"choices": [choice], "usage": usage})
    assert ask(make()).usage == Usage(calls=1)


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"word": "a"}\n```',
        '<think>{"word": "b"}?</think>\n{"word": "a"}',
        ' {"word":"a"} ',
    ],
)
def test_wrapping_that_models_put_around_json_is_taken_off(
    server: Server, make: Make, content: str
) -> None:
    server.behave = lambda handler, _: handler.complete(content)
    assert ask(make()).object == {"word": "a"}


def test_an_endless_answer_is_cut_off(server: Server, make: Make) -> None:
    def flood(handler: Handler, _: Said) -> None:
        handler.send_response_only(200)
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        while not handler.server.released.is_set():
            handler.wfile.write(b" " * 65536)

    server.behave = flood
    answer = ask(make(max_response_bytes=100_000))
    assert "larger than 100000 bytes" in answer.problem


# ---------------------------------------------------------------------------- dialects


def refusing(*forms: str) -> Behaviour:
    def behave(handler: Handler, said: Said) -> None:
        if said.get("response_format", {"type": "plain"})["type"] in forms:
            handler.json(400, {"error": {"message": "response_format is not supported"}})
        else:
            handler.good(said)

    return behave


@pytest.mark.parametrize(
    ("refused", "form"),
    [(["json_schema"], "json_object"), (["json_schema", "json_object"], "plain")],
)
def test_a_server_without_schemas_is_asked_plainer_and_that_is_remembered(
    server: Server, make: Make, refused: list[str], form: str
) -> None:
    server.behave = refusing(*refused)
    model = make()
    assert ask(model).object == {"word": "hello"}
    assert len(server.said) == len(refused) + 1
    assert ask(model).object == {"word": "hello"}
    assert len(server.said) == len(refused) + 2
    last = server.said[-1]
    assert last.get("response_format", {"type": "plain"})["type"] == form
    assert json.dumps(SCHEMA["properties"]["word"]["maxLength"]) in last["messages"][0]["content"]


def test_parameters_a_server_names_as_unsupported_are_left_out(server: Server, make: Make) -> None:
    def modern(handler: Handler, said: Said) -> None:
        for param in ("max_tokens", "temperature", "seed"):
            if param in said:
                error = {"message": f"Unsupported parameter: {param}", "param": param}
                return handler.json(400, {"error": error})
        return handler.good(said)

    server.behave = modern
    assert ask(make()).object == {"word": "hello"}
    assert server.said[-1]["max_completion_tokens"] == 50
    assert server.said[-1]["response_format"]["type"] == "json_schema"


def test_one_refused_question_is_a_problem_and_spoils_no_other(server: Server, make: Make) -> None:
    def picky(handler: Handler, said: Said) -> None:
        if "too long" in said["messages"][-1]["content"]:
            return handler.json(400, {"error": "maximum context length is 4096 tokens"})
        return handler.good(said)

    server.behave = picky
    model = make(max_concurrency=1)
    first, second = model.chat([question("too long"), question("fine")])
    assert "maximum context length" in first.problem
    assert second.object == {"word": "fine"}
    assert server.said[-1]["response_format"]["type"] == "json_schema"


def test_a_server_that_refuses_every_question_is_unavailable(server: Server, make: Make) -> None:
    server.behave = status(400, "Model Not Exist")
    with pytest.raises(EngineUnavailable, match="refuses every question: Model Not Exist"):
        ask(make())


# ---------------------------------------------------------------------------- unavailable


def unavailable(model: OpenAIChatModel, questions: int = 1) -> EngineUnavailable:
    with pytest.raises(EngineUnavailable) as caught:
        model.chat([question(str(n)) for n in range(questions)])
    error = caught.value
    assert error.field.startswith("engine.")
    assert error.reason
    assert error.mend
    return error


def test_a_closed_port_is_unavailable(make: Make, waits: list[float]) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        error = unavailable(make(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", retries=2))
    assert error.field == "engine.base_url"
    assert "cannot be connected to" in error.reason
    assert len(waits) == 2


def test_an_unknown_host_is_unavailable(make: Make) -> None:
    error = unavailable(make("http://no-such-host.invalid/v1"))
    assert (error.field, "no-such-host.invalid" in error.reason) == ("engine.base_url", True)


@pytest.mark.parametrize(
    ("code", "said", "field"),
    [
        (401, "bad key", "engine.api_key"),
        (403, "not yours", "engine.api_key"),
        (404, "The model `tiny` does not exist", "engine.model"),
        (404, "Not Found", "engine.base_url"),
        (405, "", "engine.base_url"),
    ],
)
def test_a_wrong_setup_is_unavailable_at_once(
    server: Server, make: Make, code: int, said: str, field: str
) -> None:
    server.behave = status(code, said)
    assert unavailable(make(max_concurrency=1), questions=9).field == field
    assert len(server.said) == 1


@pytest.mark.parametrize("code", [500, 502, 503, 529])
def test_a_server_that_keeps_failing_is_unavailable_after_its_retries(
    server: Server, make: Make, waits: list[float], code: int
) -> None:
    server.behave = status(code)
    error = unavailable(make(retries=3, max_concurrency=1), questions=50)
    assert f"HTTP {code}" in error.reason
    # Four tries of the first question and the one that asks whether anything works.
    assert len(server.said) == 5
    assert len(waits) == 3
    assert waits == sorted(waits)


def test_a_failure_that_passes_is_asked_again(server: Server, make: Make) -> None:
    def recover(handler: Handler, said: Said) -> None:
        if len(handler.server.said) < 3:
            handler.json(503, {})
        else:
            handler.good(said)

    server.behave = recover
    answer = ask(make(retries=2))
    assert answer.object == {"word": "hello"}
    assert answer.usage.calls == 3


def test_a_question_the_server_chokes_on_is_a_problem_when_it_answers_others(
    server: Server, make: Make
) -> None:
    def choke(handler: Handler, said: Said) -> None:
        if "poison" in said["messages"][-1]["content"]:
            handler.json(500, {"error": "boom"})
        else:
            handler.good(said)

    server.behave = choke
    first, second, third = make().chat([question("a"), question("poison"), question("c")])
    assert (first.object, third.object) == ({"word": "a"}, {"word": "c"})
    assert "HTTP 500" in second.problem
    assert second.usage.calls == 4


def test_a_server_that_dies_in_a_batch_leaves_no_question_answered_with_no_change(
    server: Server, make: Make
) -> None:
    def die(handler: Handler, said: Said) -> None:
        if len(handler.server.said) <= 5:
            handler.good(said)
        else:
            handler.json(500, {})

    server.behave = die
    error = unavailable(make(max_concurrency=2), questions=40)
    usage = getattr(error, "usage", None)
    assert isinstance(usage, Usage)
    assert usage.input_tokens == 5 * 11
    assert len(server.said) < 20


def _hang(handler: Handler, _: Said) -> None:
    handler.server.released.wait(WAIT_S)
    handler.close_connection = True


def _drip(handler: Handler, _: Said) -> None:
    handler.send_response_only(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.server.released.wait(0.02):
        handler.wfile.write(b" ")


def _hang_up(handler: Handler, _: Said) -> None:
    handler.close_connection = True


def _garbage(handler: Handler, _: Said) -> None:
    handler.wfile.write(b"\x00\xffnot http at all\r\n\r\n")
    handler.close_connection = True


def _half(handler: Handler, _: Said) -> None:
    handler.send_response_only(200)
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def _web_page(handler: Handler, _: Said) -> None:
    handler.reply(200, b"<html>Please log in</html>", Content_Type="text/html")


def _other_json(handler: Handler, _: Said) -> None:
    handler.json(200, {"error": {"message": "upstream"}})


def _not_utf8(handler: Handler, _: Said) -> None:
    handler.reply(200, b'{"choices": "\xff\xfe"}')


@pytest.mark.parametrize(
    "behave", [_hang, _drip, _hang_up, _garbage, _half, _web_page, _other_json, _not_utf8]
)
def test_a_server_that_never_gives_a_completion_is_unavailable_in_bounded_time(
    server: Server, make: Make, behave: Behaviour
) -> None:
    server.behave = behave
    unavailable(make(timeout_s=0.2, retries=1), questions=3)


def test_an_answer_that_comes_byte_by_byte_has_the_same_time_as_any(
    server: Server, make: Make
) -> None:
    server.behave = _drip
    assert "no answer within 0.2 s" in unavailable(make(timeout_s=0.2, retries=0)).reason


def test_a_redirect_is_not_followed(server: Server, make: Make) -> None:
    server.behave = lambda handler, _: handler.reply(307, b"", Location="/v1/elsewhere")
    assert "HTTP 307" in unavailable(make()).reason
    assert set(server.paths) == {"/v1/chat/completions"}


def test_a_batch_ends_at_its_deadline(server: Server, make: Make) -> None:
    server.behave = _hang
    error = unavailable(make(timeout_s=1.0, deadline_s=0.3, retries=0), questions=20)
    assert error.field in ("engine.timeout_s", "engine.base_url")


# ---------------------------------------------------------------------------- waiting


def test_retry_after_is_honoured(server: Server, make: Make, waits: list[float]) -> None:
    def busy(handler: Handler, said: Said) -> None:
        if len(handler.server.said) == 1:
            handler.json(429, {}, Retry_After="7")
        else:
            handler.good(said)

    server.behave = busy
    assert ask(make()).object == {"word": "hello"}
    assert waits == [7.0]


def test_retry_after_as_a_date_is_measured_by_the_servers_clock(
    server: Server, make: Make, waits: list[float]
) -> None:
    def busy(handler: Handler, said: Said) -> None:
        if len(handler.server.said) == 1:
            now, then = "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:09 GMT"
            handler.json(503, {}, Date=now, Retry_After=then)
        else:
            handler.good(said)

    server.behave = busy
    assert ask(make()).object == {"word": "hello"}
    assert waits == [9.0]


def test_a_wait_beyond_the_bound_is_given_back_at_once(
    server: Server, make: Make, waits: list[float]
) -> None:
    server.behave = status(429, Retry_After="3600")
    assert "HTTP 429" in unavailable(make(max_retry_after_s=30.0, timeout_s=9000.0)).reason
    assert waits == []
    assert len(server.said) == 1


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "Thu, 99 Foo", "٣"])
def test_a_senseless_retry_after_is_ignored(
    server: Server, make: Make, waits: list[float], value: str
) -> None:
    server.behave = lambda handler, _: handler.json(
        429, {}, Retry_After=value.encode().decode("latin-1")
    )
    unavailable(make(retries=1))
    assert len(waits) == 1
    assert waits[0] < 1.0


def test_the_breaker_stops_asking_a_dead_server(server: Server, make: Make) -> None:
    now = [0.0]
    server.behave = status(500)
    breaker = Breaker(threshold=2, monotonic=lambda: now[0])
    model = make(retries=0, breaker=breaker)
    for _ in range(2):
        unavailable(model)
    asked = len(server.said)
    assert "not asked" in unavailable(model).reason
    assert len(server.said) == asked
    server.behave = Handler.good
    now[0] += 1000.0
    assert ask(model).object == {"word": "hello"}


# ---------------------------------------------------------------------------- the key


@pytest.mark.parametrize("code", [400, 401, 404, 422, 429, 500])
def test_the_key_is_sent_but_never_said(
    server: Server, make: Make, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    seen: list[str] = []

    def echo(handler: Handler, _: Said) -> None:
        seen.append(handler.headers["Authorization"])
        handler.json(code, {"error": {"message": f"you sent {seen[-1]} for tiny"}})

    server.behave = echo
    model = make()
    with caplog.at_level(logging.DEBUG):
        error = unavailable(model)
    assert set(seen) == {f"Bearer {KEY}"}
    shown = f"{error} {error!r} {model!r} {vars(error)} {caplog.text}"
    assert KEY not in shown


def test_what_a_server_says_is_one_short_line(server: Server, make: Make) -> None:
    server.behave = status(400, "a\x1b[2J\n" + "b" * 10_000)
    reason = unavailable(make()).reason
    assert reason.isprintable()
    assert len(reason) < 400


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_url": "localhost:8000"}, "engine.base_url"),
        ({"base_url": "ftp://host/v1"}, "engine.base_url"),
        ({"base_url": "http://"}, "engine.base_url"),
        ({"base_url": "http://user:pass@host/v1"}, "engine.base_url"),
        ({"base_url": "http://[::1"}, "engine.base_url"),
        ({"model": " "}, "engine.model"),
        ({"api_key": f"{KEY}\n"}, "engine.api_key"),
        ({"api_key": "clé"}, "engine.api_key"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_is_asked(
    changes: dict[str, str], field: str
) -> None:
    values: dict[str, Any] = {"base_url": "http://host/v1", "model": "m", "api_key": "", **changes}
    with pytest.raises(InvalidConfig) as caught:
        OpenAIChatModel(**values)
    assert caught.value.field == field
    assert KEY not in str(caught.value)
    assert "pass" not in str(caught.value)
