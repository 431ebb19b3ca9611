"""What ``doctor`` says of the idle pool's settings, and of the model that vLLM would load."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sleep_runtime.cli.checks import Check, State

if TYPE_CHECKING:
    from sleep_runtime.config import EngineSettings
    from sleep_runtime.core.policy import PoolPolicy

_LOCAL = ("/", "./", "../", "~")
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt")
_NEARLY = 0.9
MAX_CONFIG_BYTES = 10_000_000


def pool_fits(policy: PoolPolicy, cpus: float, gpus: float) -> Check:
    """Whether a machine with so many processors and GPUs can hold the engines of the settings."""
    if not policy.enabled:
        return Check("idle pool", "warn", "switched off: no night runs", "set pool.enabled: true")
    for amount, found, what, key in (
        (policy.gpus_per_engine, gpus, "GPUs", "gpus_per_engine"),
        (policy.cpus_per_engine, cpus, "processors", "cpus_per_engine"),
    ):
        if amount > found:
            detail = f"an engine asks for {amount:g} {what}, this machine has {found:g}"
            return Check("idle pool", "fail", detail, f"lower pool.{key}, or add {what}")
        if amount * policy.max_engines > found:
            detail = f"{policy.max_engines} engines ask for {amount * policy.max_engines:g} {what}"
            mend = f"lower pool.max_engines: there are {found:g}, the others wait"
            return Check("idle pool", "warn", detail, mend)
    asked = f"{policy.cpus_per_engine:g} processors and {policy.gpus_per_engine:g} GPUs"
    return Check("idle pool", "ok", f"up to {policy.max_engines} engines of {asked}")


def engine_gpus(engine: EngineSettings, policy: PoolPolicy) -> Check:
    """Whether the model is split over as many GPUs as its engine holds."""
    split, held = engine.vllm.tensor_parallel_size, policy.gpus_per_engine
    name = "engine gpus"
    if held and split > held:
        detail = f"the model is split over {split} GPUs, an engine holds {held:g}"
        return Check(name, "fail", detail, f"set pool.gpus_per_engine: {split}")
    if held > split:
        detail = f"an engine holds {held:g} GPUs, the model uses {split}"
        mend = "set engine.vllm.tensor_parallel_size, or lower pool.gpus_per_engine"
        return Check(name, "warn", detail, mend)
    return Check(name, "ok", f"{held:g}" if held else "none: it runs on processors")


def vllm_checks(engine: EngineSettings, gpus_per_engine: float) -> list[Check]:
    """Whether vLLM and the model are on this machine. Runs where an engine would."""
    installed = importlib.util.find_spec("vllm") is not None
    return [
        Check("vllm", "ok", "is installed")
        if installed
        else Check("vllm", "fail", "is not installed", "pip install 'sleep-runtime[gpu]'"),
        model_directory(engine.model, memory_bytes(engine, gpus_per_engine)),
    ]


def memory_bytes(engine: EngineSettings, gpus_per_engine: float) -> int | None:
    """The memory that the weights may take here; None when nobody knows."""
    if not gpus_per_engine:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    total = _gpu_bytes()
    if total is None:
        return None
    return int(total * engine.vllm.tensor_parallel_size * engine.vllm.gpu_memory_utilization)


def _gpu_bytes() -> int | None:
    """The memory of the first GPU; None without NVML or GPU."""
    try:
        pynvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).total)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def model_directory(model: str, memory: int | None) -> Check:
    """Whether this directory holds a model that fits ``memory`` bytes; None is not compared.

    A name that is no path is one that vLLM fetches, about which nothing is known here.
    """
    if not model.startswith(_LOCAL) and not Path(model).exists():
        detail = f"{model}: a name, fetched at the first night"
        mend = "give a directory if the nodes cannot reach the model hub"
        return Check("engine model", "warn", detail, mend)
    path = Path(model).expanduser()
    problem, mend = _unloadable(path)
    if problem:
        return Check("engine model", "fail", problem, mend)
    size = sum(file.stat().st_size for kind in _WEIGHTS for file in path.glob(kind))
    detail = f"{_architecture(path)}, weights {size / 1e9:.1f} GB"
    if memory is None:
        return Check("engine model", "ok", detail)
    detail += f" of {memory / 1e9:.1f} GB"
    if size > memory * _NEARLY:
        state: State = "fail" if size > memory else "warn"
        return Check("engine model", state, detail, "take a smaller or quantised model")
    return Check("engine model", "ok", detail)


def _unloadable(path: Path) -> tuple[str, str]:
    """Why nothing can be loaded from here, and the mend; empty when nothing speaks against it."""
    mend = "set engine.model to the directory with config.json and the weights"
    if not path.is_dir():
        return f"there is no directory {path}", mend
    config = path / "config.json"
    if not config.is_file():
        return f"{path} holds no config.json", mend
    again = "download the model again"
    try:
        if config.stat().st_size > MAX_CONFIG_BYTES:
            return f"{config} is larger than {MAX_CONFIG_BYTES} bytes", again
        found: Any = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return f"{config} cannot be read: {error}", again
    named = found.get("architectures") if isinstance(found, dict) else None
    if not (isinstance(named, list) and named):
        return f"{config} names no architecture", "take a model saved for inference"
    if not any(file for kind in _WEIGHTS for file in path.glob(kind)):
        return f"{path} holds no weights", again
    return "", ""


def _architecture(path: Path) -> str:
    return str(json.loads((path / "config.json").read_text("utf-8"))["architectures"][0])
