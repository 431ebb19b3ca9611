"""The real vLLM engine in bad weather: what cannot be loaded, what dies, what hangs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sleep_runtime.core.errors import EngineUnavailable
from sleep_runtime.core.ports import ChatRequest
from sleep_runtime.engines.async_llm import VllmOptions
from sleep_runtime.engines.vllm import VllmChatModel
from sleep_runtime.testing.contracts.chat import question
from sleep_runtime.testing.vllm import polite, small_options

# vLLM and torch warn of their own deprecations while they are imported.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default"), pytest.mark.timeout(400)]


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> VllmOptions:
    environment: dict[str, str] = {}
    polite(environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return small_options()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    _, left = psutil.wait_procs(engines(), timeout=15)
    for process in left:
        process.kill()
    assert left == []


def engines() -> list[psutil.Process]:
    """The processes of the engines that this one has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "VLLM" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def refusal(options: VllmOptions) -> EngineUnavailable:
    model = VllmChatModel(options)
    with pytest.raises(EngineUnavailable) as caught:
        model.chat([question("a")])
    model.close()
    return caught.value


def test_an_architecture_nobody_knows(options: VllmOptions, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(options.model, wrong, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps({**config, "model_type": "no_such_type"}))
    error = refusal(replace(options, model=str(wrong)))
    assert error.field == "engine.model"
    assert "no_such_type" in error.reason
    assert "architecture" in error.mend


def test_more_memory_than_there_is(options: VllmOptions) -> None:
    error = refusal(replace(options, kv_cache_bytes=1 << 45))
    assert error.field == "engine.model"
    assert "vailable memory" in error.reason
    assert "engine.vllm.kv_cache_bytes" in error.mend


def test_loading_that_takes_too_long_is_ended(options: VllmOptions) -> None:
    error = refusal(replace(options, load_timeout_s=4.0))
    assert error.field == "engine.vllm.load_timeout_s"
    assert "4 s" in error.reason


def endless(name: str) -> ChatRequest:
    """A question that keeps a small model busy for long."""
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "minLength": 9000}},
        "required": ["text"],
    }
    return question(name).model_copy(update={"json_schema": schema, "max_output_tokens": 3000})


def test_an_engine_that_dies_is_loaded_anew(options: VllmOptions) -> None:
    model = VllmChatModel(options, timeout_s=100.0)
    try:
        model.load()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(model.chat, [endless("a"), endless("b")])
            wait_until_busy(model)
            for process in engines():
                process.kill()
            died = asked.exception(timeout=60)
        assert isinstance(died, EngineUnavailable)
        assert "gone" in died.reason

        answer = model.chat([question("c")])[0]
        assert answer.object is not None, answer.problem
    finally:
        model.close()


def test_an_engine_that_hangs_is_ended(options: VllmOptions) -> None:
    model = VllmChatModel(options, timeout_s=3.0)
    try:
        model.load()
        for process in engines():
            os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(EngineUnavailable, match="hangs"):
            model.chat([question("a")])
        psutil.wait_procs(engines(), timeout=15)
        assert engines() == []
    finally:
        model.close()


LOADED = """
import os, sys, time
from sleep_runtime.engines.vllm import VllmChatModel
from sleep_runtime.testing.vllm import polite, small_options

if __name__ == "__main__":
    polite(os.environ)
    model = VllmChatModel(small_options())
    model.load()
    print("in memory", flush=True)
    sys.stdin.read()
"""


def test_an_engine_whose_owner_is_killed_ends_with_it(options: VllmOptions, tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(LOADED)
    with subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert any("in memory" in line for line in owner.stdout)
        below = psutil.Process(owner.pid).children(recursive=True)
        assert any("EngineCore" in " ".join(process.cmdline()) for process in below)
        owner.kill()
        _, left = psutil.wait_procs(below, timeout=15)
    for process in left:
        process.kill()
    assert left == []


def test_abort_empties_the_engine_at_once(options: VllmOptions) -> None:
    model = VllmChatModel(options, timeout_s=100.0)
    try:
        model.load()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(model.chat, [endless(f"{n}") for n in range(8)])
            wait_until_busy(model)
            began = time.monotonic()
            assert model.abort("the GPU is wanted") == 8
            error = asked.exception(timeout=10)
            assert time.monotonic() - began < 5
        assert isinstance(error, EngineUnavailable)
        assert error.reason == "the GPU is wanted"
        assert model.pause() is False, "a CPU has no sleep mode"
        assert model.chat([question("a")])[0].usage.calls == 1
    finally:
        model.close()


def wait_until_busy(model: VllmChatModel) -> None:
    give_up = time.monotonic() + 60
    while not model.in_flight:
        assert time.monotonic() < give_up
        time.sleep(0.01)
