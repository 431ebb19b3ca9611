"""OpenAIChatModel: a writing model behind any OpenAI-compatible server (vLLM, Ollama, hosted).

Three things can go wrong with a question, and they end differently:

- The model's answer is unusable (no JSON, outside the schema, cut off): a ``problem`` in its place.
- The server cannot be used (refused, no such host, no such model, rate limited): every question of
  the batch is left open by ``EngineUnavailable``, so that nothing is mistaken for "no change".
- The server fails or refuses, and it may be because of this question (5xx, 400, no answer in time,
  no completion): after the retries a one-token question decides. Answered: a ``problem``. Not:
  unavailable.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, TypeAlias

import httpx

from sleep_runtime.core.errors import InvalidConfig
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.engines import openai_wire as wire
from sleep_runtime.engines.answers import BatchLost
from sleep_runtime.engines.breaker import Backoff, Breaker

_GRACE_S = 5.0
_URL = "engine.base_url"
_PING = ChatRequest(id="ping", messages=(("user", "ping"),), json_schema={}, max_output_tokens=1)


class _Blame(Enum):
    SERVER = auto()  # it passes, with time
    SETUP = auto()  # it does not pass by itself
    UNSURE = auto()  # the server's fault, or this question's


@dataclass(frozen=True)
class _Failure:
    blame: _Blame
    reason: str
    setting: str = _URL
    mend: str = "is the server up, and is engine.base_url its API root (it often ends in /v1)?"
    retry_after_s: float | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class _Refusal:
    """A 400: the server does not take the question as it was asked."""

    param: str
    said: str


_Outcome: TypeAlias = ChatAnswer | _Failure
_NOT_ASKED = _Failure(
    _Blame.SERVER,
    "had no time left for all questions of the batch",
    setting="engine.timeout_s",
    mend="raise engine.timeout_s, or engine.max_concurrency if the server has room",
)
_STOPPED = _Failure(_Blame.SERVER, "failed on another question of the batch first")


class _Batch:
    """One call of ``chat``: its deadline, and the failure that ends it for all its threads."""

    def __init__(
        self,
        limit_s: float,
        *,
        sleep: Callable[[float], None] | None,
        monotonic: Callable[[], float],
    ) -> None:
        self.limit_s = limit_s
        self.monotonic = monotonic
        self._sleep = sleep
        self._deadline_s = monotonic() + limit_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.cause: _Failure | None = None

    def left_s(self) -> float:
        return 0.0 if self._over.is_set() else self._deadline_s - self.monotonic()

    def pause(self, seconds: float) -> bool:
        """Wait, if there is time for it; False when the batch is over instead."""
        if seconds >= self.left_s():
            return False
        if self._sleep is not None:
            self._sleep(seconds)
        else:
            self._over.wait(seconds)
        return self.left_s() > 0

    def end(self, cause: _Failure | None = None) -> None:
        with self._lock:
            if self.cause is None and not self._over.is_set():
                self.cause = cause
            self._over.set()


class OpenAIChatModel:
    """A ``ChatModel`` over HTTP. Thread-safe; blocks the caller for one batch at most.

    A batch of n questions ends within ``timeout_s`` x (n / ``max_concurrency`` + ``retries``)
    seconds, or within ``deadline_s`` where given, and a few seconds' grace. One answer may take
    ``timeout_s`` and ``max_response_bytes``. ``sleep``, ``monotonic`` and ``transport`` are for
    tests. Proxies are taken from the environment, redirects are not followed. The key is sent to
    ``base_url`` only and appears in no error, repr or log.

    Raises ``InvalidConfig`` for values that cannot work and ``EngineUnavailable`` from ``chat``.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str = "",
        *,
        timeout_s: float = 60.0,
        connect_timeout_s: float = 5.0,
        deadline_s: float | None = None,
        max_concurrency: int = 8,
        retries: int = 2,
        max_response_bytes: int = 1_000_000,
        max_retry_after_s: float = 30.0,
        seed: int = 0,
        backoff: Backoff | None = None,
        breaker: Breaker | None = None,
        sleep: Callable[[float], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._base_url = _checked_url(base_url)
        self._model = _checked_model(model)
        self._secret = _checked_key(api_key)
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._deadline_s = deadline_s
        self._max_concurrency = max(1, max_concurrency)
        self._retries = max(0, retries)
        self._max_response_bytes = max_response_bytes
        self._max_retry_after_s = max_retry_after_s
        self._seed = seed
        self._backoff = backoff or Backoff(seed=seed)
        self._breaker = breaker or Breaker(monotonic=monotonic)
        self._sleep = sleep
        self._monotonic = monotonic
        self._dialect = wire.Dialect()
        # Plain bytes: "identity" keeps a small compressed body from growing past the limit.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._client = httpx.Client(
            headers=headers,
            transport=transport,
            limits=httpx.Limits(max_connections=self._max_concurrency),
        )

    def __repr__(self) -> str:
        return f"OpenAIChatModel(base_url={self._base_url!r}, model={self._model!r})"

    @property
    def name(self) -> str:
        return self._model

    def close(self) -> None:
        self._client.close()

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """One answer for each request, in order. Raises ``EngineUnavailable``, see the module."""
        if not requests:
            return []
        with self._breaker.guard():
            return self._chat(requests)

    # -- one batch

    def _chat(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        batch = _Batch(self._limit_s(len(requests)), sleep=self._sleep, monotonic=self._monotonic)
        workers = min(self._max_concurrency, len(requests))
        pool = ThreadPoolExecutor(workers, thread_name_prefix="openai-chat")
        try:
            futures = [pool.submit(self._ask, request, batch) for request in requests]
            late = wait(futures, timeout=batch.limit_s + 2 * _GRACE_S).not_done
        finally:
            batch.end()
            pool.shutdown(wait=False, cancel_futures=True)
        outcomes = [_NOT_ASKED if future in late else future.result() for future in futures]
        return self._settle(outcomes, batch)

    def _limit_s(self, requests: int) -> float:
        if self._deadline_s is not None:
            return self._deadline_s
        return self._timeout_s * (math.ceil(requests / self._max_concurrency) + self._retries)

    def _settle(self, outcomes: Sequence[_Outcome], batch: _Batch) -> list[ChatAnswer]:
        answers = [outcome for outcome in outcomes if isinstance(outcome, ChatAnswer)]
        if len(answers) == len(outcomes):
            return answers
        failures = [outcome for outcome in outcomes if isinstance(outcome, _Failure)]
        cause = batch.cause or failures[0]
        raise BatchLost(
            f"{self._base_url} {cause.reason}",
            field=cause.setting,
            mend=cause.mend,
            usage=sum((outcome.usage for outcome in outcomes), Usage()),
        )

    # -- one question, in a thread of the batch

    def _ask(self, request: ChatRequest, batch: _Batch) -> _Outcome:
        outcome = self._ask_plainer(request, batch)
        if not isinstance(outcome, _Failure):
            return outcome
        if outcome.blame is _Blame.UNSURE and self._alive(batch):
            usage = outcome.usage + Usage(calls=1)
            problem = f"the server {outcome.reason}, but answers other questions"
            return ChatAnswer(problem=problem, usage=usage)
        batch.end(outcome)
        return outcome

    def _ask_plainer(self, request: ChatRequest, batch: _Batch) -> _Outcome:
        """Ask, ever plainer while the server refuses; what it takes is remembered."""
        dialect, calls = self._dialect, 0
        while True:
            reply, tries = self._ask_again(request, dialect, batch, calls)
            calls += tries
            if not isinstance(reply, _Refusal):
                if isinstance(reply, ChatAnswer):
                    self._dialect = dialect
                return reply
            plainer = dialect.after(reply.param)
            if plainer is None:
                return self._refused(reply, batch, Usage(calls=calls + 1))
            dialect = plainer

    def _refused(self, refusal: _Refusal, batch: _Batch, usage: Usage) -> _Outcome:
        said = refusal.said or "HTTP 400"
        if self._alive(batch):
            return ChatAnswer(problem=f"the server refuses this question: {said}", usage=usage)
        mend = "is engine.model a name that the server lists under /models?"
        reason = f"refuses every question: {said}"
        return _Failure(_Blame.SETUP, reason, "engine.model", mend, usage=usage)

    def _ask_again(
        self, request: ChatRequest, dialect: wire.Dialect, batch: _Batch, before: int
    ) -> tuple[_Outcome | _Refusal, int]:
        """Ask up to 1 + ``retries`` times; the reply, and how often it took."""
        for tries in range(1, self._retries + 2):
            reply = self._ask_once(request, dialect, batch, before + tries)
            if not isinstance(reply, _Failure) or reply.blame is _Blame.SETUP:
                return reply, tries
            wait_s = self._wait_s(reply, tries, request.id)
            if wait_s > self._max_retry_after_s or tries > self._retries or not batch.pause(wait_s):
                return reply, tries
        raise AssertionError("unreachable: the last try returns")

    def _wait_s(self, failure: _Failure, tries: int, key: str) -> float:
        waits = self._backoff.wait_s(tries, key=key)
        return waits if failure.retry_after_s is None else max(waits, failure.retry_after_s)

    def _ask_once(
        self, request: ChatRequest, dialect: wire.Dialect, batch: _Batch, calls: int
    ) -> _Outcome | _Refusal:
        left_s = min(batch.left_s(), self._timeout_s)
        if left_s <= 0:
            return _STOPPED if batch.cause else _NOT_ASKED
        said = wire.body(request, self._model, dialect, seed=self._seed)
        try:
            status, headers, raw = self._post(said, left_s)
        except httpx.HTTPError as error:
            return _from_transport(error, self._timeout_s, Usage(calls=calls))
        except _TooMuch:
            problem = f"the answer is larger than {self._max_response_bytes} bytes"
            return ChatAnswer(problem=problem, usage=Usage(calls=calls))
        if status == httpx.codes.OK and wire.is_completion(raw):
            return wire.read_completion(raw, request, calls=calls)
        return self._from_status(status, headers, raw, Usage(calls=calls))

    def _post(self, said: Mapping[str, Any], left_s: float) -> tuple[int, httpx.Headers, bytes]:
        until_s = self._monotonic() + left_s
        timeout = httpx.Timeout(left_s, connect=min(self._connect_timeout_s, left_s))
        url = f"{self._base_url}/chat/completions"
        raw = bytearray()
        with self._client.stream("POST", url, json=said, timeout=timeout) as response:
            for part in response.iter_bytes():
                raw += part
                if len(raw) > self._max_response_bytes:
                    raise _TooMuch
                # The read timeout starts anew with every byte; this one does not.
                if self._monotonic() > until_s:
                    raise httpx.ReadTimeout("too slow")
            return response.status_code, response.headers, bytes(raw)

    def _alive(self, batch: _Batch) -> bool:
        if batch.cause:
            return False
        dialect = wire.Dialect(wire.Form.PLAIN, self._dialect.limit, self._dialect.without)
        said = wire.body(_PING, self._model, dialect, seed=self._seed)
        # A batch that has just run out of time still needs to know whose fault it was.
        left_s = min(max(batch.left_s(), _GRACE_S), self._timeout_s)
        try:
            status, _, raw = self._post(said, left_s)
        except (httpx.HTTPError, _TooMuch):
            return False
        return status == httpx.codes.OK and wire.is_completion(raw)

    def _from_status(
        self, status: int, headers: httpx.Headers, raw: bytes, usage: Usage
    ) -> _Outcome | _Refusal:
        param, said = wire.read_refusal(raw, secret=self._secret)
        if status in (400, 422):
            return _Refusal(param, said)
        if status in (401, 403):
            mend = "set SLEEP_ENGINE__API_KEY to a key this server takes"
            reason = f"does not accept the key (HTTP {status})"
            return _Failure(_Blame.SETUP, reason, "engine.api_key", mend, usage=usage)
        if status == 404 and self._model in said:
            mend = "give engine.model a name that the server lists under /models"
            reason = f"has no model {self._model!r}"
            return _Failure(_Blame.SETUP, reason, "engine.model", mend, usage=usage)
        if status == 429:
            mend = "lower engine.max_concurrency, or wait until the quota is back"
            reason, after = "limits the rate (HTTP 429)", _retry_after_s(headers)
            return _Failure(_Blame.SERVER, reason, _URL, mend, after, usage)
        if status >= 500 or status == 408:
            reason = f"fails with HTTP {status}"
            after = _retry_after_s(headers)
            return _Failure(_Blame.UNSURE, reason, retry_after_s=after, usage=usage)
        if status == 200:
            return _Failure(_Blame.UNSURE, "answers without a chat completion", usage=usage)
        if status == 413:
            return ChatAnswer(problem="the question is too large for the server", usage=usage)
        return _Failure(_Blame.SETUP, f"answers with HTTP {status}", usage=usage)


class _TooMuch(Exception):
    """The response is larger than it may be."""


def _from_transport(error: httpx.HTTPError, timeout_s: float, usage: Usage) -> _Failure:
    """The one place where httpx's errors become ours. Their texts may hold anything: left out."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return _Failure(_Blame.SERVER, "cannot be connected to", usage=usage)
    if isinstance(error, httpx.TimeoutException):
        reason = f"gives no answer within {timeout_s:g} s"
        mend = "raise engine.timeout_s or lower engine.max_concurrency"
        return _Failure(_Blame.UNSURE, reason, "engine.timeout_s", mend, usage=usage)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return _Failure(_Blame.SETUP, "cannot be asked", usage=usage)
    return _Failure(_Blame.UNSURE, "breaks off its answer", usage=usage)


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Seconds the server asks to wait: a number, or a date measured by the server's own clock."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until, now = _http_date(value), _http_date(headers.get("Date", ""))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _checked_url(base_url: str) -> str:
    mend = 'write it like "http://127.0.0.1:8000/v1"'
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL:
        raise InvalidConfig("is not a URL", field=_URL, mend=mend) from None
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidConfig("needs http:// or https:// and a host", field=_URL, mend=mend)
    if url.userinfo or url.query:
        reason = "may not carry credentials or a query"
        raise InvalidConfig(reason, field=_URL, mend="set SLEEP_ENGINE__API_KEY instead")
    return str(url).rstrip("/")


def _checked_model(model: str) -> str:
    if not model.strip():
        mend = "name a model that the server lists under /models"
        raise InvalidConfig("is empty", field="engine.model", mend=mend)
    return model.strip()


def _checked_key(api_key: str) -> str:
    if not api_key.isascii() or any(char.isspace() or not char.isprintable() for char in api_key):
        mend = "give the bare key, without quotes or line breaks"
        raise InvalidConfig("has characters that cannot be sent", field="engine.api_key", mend=mend)
    return api_key
