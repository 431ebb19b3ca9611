"""Whether memory of a GPU is really free, asked of NVML on the GPU's own node.

A bundle that Ray calls free is of no use to live work while the driver still holds the memory of
the process that was in it. Without NVML (``pip install 'sleep-runtime[gpu]'``) nothing is asked,
and Ray's word is taken.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sleep_runtime.core.policy import PoolPolicy

ENOUGH = 0.97
"""The share of what was free before an engine came that must be free after it went."""

_LOOK_EVERY_S = 1.0
_POLL_S = 0.01


def free_bytes(nvml: Any = None) -> int | None:
    """Free memory of the GPUs this process may see, summed; None without NVML or GPU.

    ``nvml`` stands in for the module ``pynvml``.
    """
    nvml = nvml or _nvml()
    if nvml is None:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        return sum(
            int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index)).free)
            for index in _visible(int(nvml.nvmlDeviceGetCount()))
        )
    finally:
        nvml.nvmlShutdown()


def _nvml() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def wait_free(least_bytes: int, timeout_s: float, nvml: Any = None) -> bool:
    """Wait until that much is free. False when it is not within ``timeout_s``."""
    give_up = time.monotonic() + timeout_s
    while (free := free_bytes(nvml)) is not None and free < least_bytes:
        if time.monotonic() > give_up:
            return False
        time.sleep(_POLL_S)
    return True


def _visible(count: int) -> list[int]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return list(range(count))
    named = [part for part in chosen.split(",") if part.isdigit()]
    return [int(part) for part in named if int(part) < count]


class GpuWitness:
    """Asks on the node of an engine that went, and at home how much a shared GPU has left."""

    def __init__(self, policy: PoolPolicy, timeout_s: float) -> None:
        self._asks_home = policy.min_free_gpu_bytes is not None and policy.gpus_per_engine > 0
        self._timeout_s = timeout_s
        self._open: dict[str, Any] = {}
        self._seen: tuple[float, int | None] = (0.0, None)

    def home_free_bytes(self) -> int | None:
        """Free memory of this node's GPUs, at most a second old; None when nobody wants it."""
        if not self._asks_home:
            return None
        now_s = time.monotonic()
        if now_s - self._seen[0] >= _LOOK_EVERY_S:
            self._seen = (now_s, free_bytes())
        return self._seen[1]

    def watch(self, group: str, node: str, before_bytes: int | None) -> None:
        """Begin to wait for the memory of a group that was removed."""
        if before_bytes is None:
            return
        probe = ray.remote(wait_free).options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            runtime_env={"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}},
        )
        self._open[group] = probe.remote(int(before_bytes * ENOUGH), self._timeout_s)

    def freed(self, group: str) -> bool:
        """Whether nothing speaks against the group's memory being free. Never waits."""
        ref = self._open.get(group)
        if ref is None:
            return True
        done, _ = ray.wait([ref], timeout=0)
        if not done:
            return False
        with contextlib.suppress(ray.exceptions.RayError):  # the node went with the engine
            if not ray.get(ref):
                return False
        del self._open[group]
        return True
