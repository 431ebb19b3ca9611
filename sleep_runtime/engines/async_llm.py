"""vLLM's ``AsyncLLM`` behind a small port: the only module that knows vLLM.

``load`` starts an engine in processes of its own; ``Backend`` is all that is used of it. What vLLM
raises becomes ``Refused`` (this question), ``EngineGone`` (this engine) or, while loading,
``EngineUnavailable`` with the setting to mend.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import multiprocessing
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from sleep_runtime.core.errors import EngineUnavailable
from sleep_runtime.core.ports import ChatRequest
from sleep_runtime.engines.answers import said
from sleep_runtime.engines.reaper import Reaper

_LOCAL = ("/", "./", "../", "~")
_SHUTDOWN_S = 5.0
_LOOK_S = 0.1
_Process: TypeAlias = multiprocessing.process.BaseProcess
_ERROR_LINE = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt)): (.+)$")
_MEMORY = re.compile(r"memory|kv cache|max seq len|max_model_len", re.IGNORECASE)
_ARCHITECTURE = re.compile(r"architecture|model type|quantization", re.IGNORECASE)


class Refused(Exception):
    """The engine does not take this question; others may be fine."""


class EngineGone(Exception):
    """The engine has died or was shut down; a new one has to be loaded."""


@dataclass(frozen=True)
class VllmOptions:
    """What an engine is made of. See the settings ``engine.vllm.*`` for what each means."""

    model: str
    tensor_parallel_size: int = 1
    quantization: str | None = None
    dtype: str = "auto"
    max_model_len: int | None = 8192
    gpu_memory_utilization: float = 0.9
    kv_cache_bytes: int | None = None
    max_num_seqs: int = 64
    enforce_eager: bool = False
    sleep_level: int = 0
    load_timeout_s: float = 600.0
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """One answer: its text, whether it was cut off, and what it cost in tokens."""

    text: str
    cut_off: bool
    input_tokens: int
    output_tokens: int
    cached_tokens: int


class Backend(Protocol):
    """A loaded engine. ``generate``, ``sleep`` and ``wake`` run in one event loop.

    ``generate`` may be cancelled, which takes its question out of the engine.
    """

    @property
    def gpus(self) -> int:
        """GPUs the engine holds; 0 on a CPU."""

    @property
    def can_sleep(self) -> bool:
        """Whether it can give its memory back without ending."""

    def watch(self, died: Callable[[], None]) -> None:
        """Call ``died`` in the running event loop when the engine's process ends by itself."""

    def render(self, request: ChatRequest) -> list[int]:
        """The question as token ids. From any thread. Raises ``Refused``."""

    async def generate(self, request: ChatRequest, prompt: list[int], key: str) -> Completion:
        """Raises ``Refused`` and ``EngineGone``."""

    async def sleep(self) -> None: ...

    async def wake(self) -> None: ...

    def shutdown(self) -> None:
        """End its processes, whatever state they are in; bounded."""


Load = Callable[[VllmOptions], Backend]


def load(options: VllmOptions) -> Backend:
    """Start an engine; blocks until it answers, ``load_timeout_s`` at most.

    Raises ``EngineUnavailable`` naming the setting, the reason and the mend.
    """
    _check_installed()
    model = _checked_path(options.model)
    reasons, reaper = _Reasons(), Reaper()
    before = set(multiprocessing.active_children())
    box: dict[str, Any] = {}

    def start() -> None:
        try:
            box["backend"] = _AsyncLlmBackend(model, options)
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits
            box["error"] = error

    thread = threading.Thread(target=start, name="vllm-load", daemon=True)
    thread.start()
    started = _await_start(thread, before, reaper, options.load_timeout_s)
    error: EngineUnavailable | None = None
    if thread.is_alive():
        _kill(started)
        error = EngineUnavailable(
            f"{options.model} was not loaded within {options.load_timeout_s:g} s",
            field="engine.vllm.load_timeout_s",
            mend="raise it, or give engine.model a smaller model on a local disk",
        )
    elif "error" in box:
        error = _not_loaded(options.model, box["error"], reasons.first())
    if error is not None:
        reasons.close()
        reaper.close()
        raise error
    reasons.collected()
    backend: _AsyncLlmBackend = box["backend"]
    backend.own(started, reasons, reaper)
    return backend


# ---------------------------------------------------------------------------- AsyncLLM


class _AsyncLlmBackend:
    def __init__(self, model: str, options: VllmOptions) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        self._options = options
        self.gpus = 0 if current_platform.is_cpu() else options.tensor_parallel_size
        self.can_sleep = bool(options.sleep_level) and current_platform.is_sleep_mode_available()
        self._engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=model, enable_sleep_mode=self.can_sleep, **engine_arguments(options)
            )
        )
        self._tokenizer = self._engine.get_tokenizer()
        self._watched: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def own(self, processes: Sequence[_Process], reasons: _Reasons, reaper: Reaper) -> None:
        """What was made beside the engine, and ends with it."""
        self._processes, self._reasons, self._reaper = processes, reasons, reaper

    def watch(self, died: Callable[[], None]) -> None:
        # vLLM notices too, but leaves those waiting who were waiting when the process was killed.
        self._loop = asyncio.get_running_loop()
        for process in self._processes:
            end = os.dup(process.sentinel)
            self._watched.append(end)
            self._loop.add_reader(end, self._ended, died)

    def _ended(self, died: Callable[[], None]) -> None:
        self._unwatch()
        died()

    def _unwatch(self) -> None:
        while self._watched and self._loop is not None:
            end = self._watched.pop()
            self._loop.remove_reader(end)
            os.close(end)

    def render(self, request: ChatRequest) -> list[int]:
        messages = [{"role": role, "content": content} for role, content in request.messages]
        if not getattr(self._tokenizer, "chat_template", None):
            return list(self._tokenizer.encode(plain(request.messages)))
        try:
            return self._templated(messages)
        except Exception as error:
            # Templates are programs: some refuse a system message, with whatever error they like.
            if not messages or messages[0]["role"] != "system":
                raise Refused(f"the chat template fails: {said(str(error))}") from error
        try:
            return self._templated(folded(messages))
        except Exception as error:
            raise Refused(f"the chat template fails: {said(str(error))}") from error

    def _templated(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        found = self._tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            enable_thinking=False,  # a variable of some templates; the schema has a reasoning field
        )
        return list(found)

    async def generate(self, request: ChatRequest, prompt: list[int], key: str) -> Completion:
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        try:
            how = sampling(request, seed=self._options.seed)
            answers = self._engine.generate(tokens_input(prompt), how, key)
            async for answer in answers:
                last = answer
        except (VLLMClientError, ValueError) as error:
            raise Refused(f"the engine refuses this question: {said(str(error))}") from error
        except EngineDeadError as error:
            raise EngineGone("its process has died") from error
        except EngineGenerateError as error:
            if self._engine.errored:
                raise EngineGone("its process has died") from error
            raise Refused(f"the engine fails on it: {said(repr(error.__cause__))}") from error
        (output,) = last.outputs
        if output.finish_reason not in ("stop", "length"):
            raise EngineGone(f"it ended the answer with {output.finish_reason}")
        return Completion(
            text=output.text,
            cut_off=output.finish_reason == "length",
            input_tokens=len(prompt),
            output_tokens=len(output.token_ids),
            cached_tokens=last.num_cached_tokens or 0,
        )

    async def sleep(self) -> None:
        await self._engine.sleep(level=self._options.sleep_level)

    async def wake(self) -> None:
        if self._options.sleep_level < 2:
            await self._engine.wake_up()
            return
        # Level 2 has thrown the weights away.
        await self._engine.wake_up(tags=["weights"])
        await self._engine.collective_rpc("reload_weights")
        await self._engine.wake_up(tags=["kv_cache"])

    def shutdown(self) -> None:
        from vllm.utils.async_utils import cancel_task_threadsafe

        # First, or they report the end of the engine's process as a failure.
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._unwatch)
        if self._engine.output_handler is not None:
            cancel_task_threadsafe(self._engine.output_handler)
        try:
            self._engine.shutdown(timeout=_SHUTDOWN_S)
        finally:
            _kill(self._processes)
            self._reaper.close()
            self._reasons.close()


def engine_arguments(options: VllmOptions) -> dict[str, Any]:
    """The options as vLLM's ``AsyncEngineArgs`` takes them, but for the model and its sleep."""
    return {
        "tensor_parallel_size": options.tensor_parallel_size,
        # Not Ray: all GPUs of the engine are in one bundle, and end with this process.
        "distributed_executor_backend": "mp" if options.tensor_parallel_size > 1 else "uni",
        "quantization": options.quantization,
        "dtype": options.dtype,
        "max_model_len": options.max_model_len,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "kv_cache_memory_bytes": options.kv_cache_bytes,
        "max_num_seqs": options.max_num_seqs,
        "enforce_eager": options.enforce_eager,
        "enable_prefix_caching": True,
        # Free white space is where small models loop until they are cut off.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": options.seed,
    }


def sampling(request: ChatRequest, *, seed: int) -> Any:
    """How the question is answered: vLLM's ``SamplingParams``."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    return SamplingParams(
        temperature=0.0,
        seed=seed,
        max_tokens=request.max_output_tokens,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(json=request.json_schema),
    )


def plain(messages: Sequence[tuple[str, str]]) -> str:
    """Messages for a model without a chat template: a heading a turn, then the answer's."""
    turns = [f"### {role}\n{content}\n" for role, content in messages]
    return "\n".join([*turns, "### assistant\n"])


def folded(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The system message as the head of the first turn, for templates that know no system role."""
    first, *rest = messages
    if not rest:
        return [{"role": "user", "content": first["content"]}]
    head = {**rest[0], "content": f"{first['content']}\n\n{rest[0]['content']}"}
    return [head, *(dict(message) for message in rest[1:])]


# ---------------------------------------------------------------------------- loading


def _check_installed() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise EngineUnavailable(
            "vLLM is not installed",
            field="engine.kind",
            mend="pip install 'sleep-runtime[gpu]' on the nodes of the idle pool",
        )


def _checked_path(model: str) -> str:
    """The model as vLLM takes it. What looks like a path has to be a model's directory."""
    if not model.startswith(_LOCAL) and not Path(model).exists():
        return model
    path = Path(model).expanduser()
    mend = "give the directory with config.json and the weights, or a model id"
    if not path.is_dir():
        reason = f"there is no directory {model}"
        raise EngineUnavailable(reason, field="engine.model", mend=mend)
    if not (path / "config.json").is_file():
        reason = f"{model} holds no config.json"
        raise EngineUnavailable(reason, field="engine.model", mend=mend)
    return str(path.resolve())


def _not_loaded(model: str, error: BaseException, logged: str) -> EngineUnavailable:
    """Why loading failed: what its own processes said, else what reached this one."""
    reason = logged or _first_line(error)
    mend = "see the engine's log; does this vLLM run the model elsewhere?"
    if _MEMORY.search(reason):
        mend = (
            "take a smaller or quantised model, lower engine.vllm.max_model_len, or give it more "
            "memory (engine.vllm.gpu_memory_utilization, engine.vllm.kv_cache_bytes)"
        )
    elif _ARCHITECTURE.search(reason):
        mend = "name a model whose architecture and quantisation this vLLM runs"
    return EngineUnavailable(f"{model} cannot be loaded: {reason}", field="engine.model", mend=mend)


def _first_line(error: BaseException) -> str:
    details = getattr(error, "errors", None)  # pydantic's: the values it repeats are left out
    if callable(details):
        with contextlib.suppress(Exception):
            return said(str(details()[0]["msg"]))
    return said(f"{type(error).__name__}: {error}")


class _Reasons:
    """Collects what the engine's processes log as errors while they start.

    vLLM says only "see root cause above" to the process that waits. Its logging can be given a
    file, which its child processes read too; what a person configured in the environment stays.
    """

    def __init__(self) -> None:
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # A forked engine would inherit the locks of this process's threads.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        self._dir: Path | None = None
        if "VLLM_CONFIGURE_LOGGING" in os.environ or "VLLM_LOGGING_CONFIG_PATH" in os.environ:
            return
        self._dir = Path(tempfile.mkdtemp(prefix="sleep-vllm-"))
        self._log = self._dir / "errors.log"
        config = self._dir / "logging.json"
        config.write_text(json.dumps(self._config()), encoding="utf-8")
        os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(config)

    def _config(self) -> dict[str, Any]:
        level = os.environ.get("VLLM_LOGGING_LEVEL", "ERROR")
        return {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(levelname)s %(name)s %(message)s"}},
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler", "level": level, "formatter": "plain",
                },
                "file": {
                    "class": "logging.FileHandler", "filename": str(self._log), "level": "ERROR",
                    "formatter": "plain", "delay": True, "mode": "a",
                },
            },
            "loggers": {
                "vllm": {"handlers": ["stderr", "file"], "level": level, "propagate": False}
            },
        }  # fmt: skip

    def first(self) -> str:
        """The first exception a process gave up with, or ""."""
        if self._dir is None or not self._log.is_file():
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        matches = (_ERROR_LINE.match(line.strip()) for line in lines)
        return next((said(f"{match[1]}: {match[2]}") for match in matches if match), "")

    def collected(self) -> None:
        """Every process has read its logging; the file stays while they live."""
        if self._dir is not None:
            os.environ.pop("VLLM_LOGGING_CONFIG_PATH", None)

    def close(self) -> None:
        if self._dir is None:
            return
        self.collected()
        logger = logging.getLogger("vllm")
        for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
            logger.removeHandler(handler)
            handler.close()
        shutil.rmtree(self._dir, ignore_errors=True)


def _await_start(
    thread: threading.Thread, before: set[_Process], reaper: Reaper, limit_s: float
) -> list[_Process]:
    """Wait for the thread that loads; the processes it has started, each guarded at once."""
    started: list[_Process] = []
    until = time.monotonic() + limit_s
    while True:
        thread.join(min(_LOOK_S, max(0.0, until - time.monotonic())))
        for child in multiprocessing.active_children():
            if child.pid is not None and child not in before and child not in started:
                reaper.guard(child.pid)
                started.append(child)
        if not thread.is_alive() or time.monotonic() >= until:
            return started


def _kill(children: Sequence[_Process]) -> None:
    """Whatever it takes. The engine's workers end with the process that made them."""
    for child in children:
        child.kill()
    until = time.monotonic() + _SHUTDOWN_S
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
