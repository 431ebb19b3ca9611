"""Freed GPU memory is asked of NVML; here a double stands in for the driver's library."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sleep_runtime.actors import gpu_memory


class Nvml:
    """Two GPUs; each question about memory takes the next answer of a script."""

    class NVMLError(Exception):
        pass

    def __init__(self, *free: int, broken: bool = False) -> None:
        self.free = list(free)
        self.broken = broken
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802 - the driver's names
        if self.broken:
            raise self.NVMLError
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 - the driver's names
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - the driver's names
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - the driver's names
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802 - the driver's names
        return SimpleNamespace(free=self.free.pop(0) if len(self.free) > 1 else self.free[0])


def test_without_library_or_driver_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "_nvml", lambda: None)
    assert gpu_memory.free_bytes() is None
    assert gpu_memory.free_bytes(Nvml(1, broken=True)) is None
    assert gpu_memory.wait_free(10, timeout_s=0.0)


def test_only_the_gpus_this_process_may_see_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml = Nvml(7)
    assert gpu_memory.free_bytes(nvml) == 14
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu_memory.free_bytes(nvml) == 7
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_memory.free_bytes(nvml) == 0
    assert nvml.open == 0


def test_it_waits_until_the_memory_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    nvml = Nvml(1, 2, 3, 9)
    assert gpu_memory.wait_free(9, timeout_s=10.0, nvml=nvml)
    assert nvml.free == [9]


def test_memory_that_stays_taken_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert not gpu_memory.wait_free(9, timeout_s=0.05, nvml=Nvml(1))
