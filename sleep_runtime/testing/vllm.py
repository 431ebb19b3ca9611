"""A small engine that runs anywhere, for tests and benchmarks of the vLLM engine."""

from __future__ import annotations

from collections.abc import MutableMapping

from sleep_runtime.engines.async_llm import VllmOptions
from sleep_runtime.testing import needs


def small_options() -> VllmOptions:
    """Small weights, half a GiB of cache, no compilation; or the test is given up."""
    return VllmOptions(
        str(needs.vllm_model()),
        max_model_len=4096,
        kv_cache_bytes=1 << 29,
        max_num_seqs=32,
        enforce_eager=True,
        load_timeout_s=240.0,
    )


def polite(environment: MutableMapping[str, str]) -> None:
    """Let the CPU build share the machine: threads are not bound to cores, no hub is asked."""
    environment.update({"VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"})


def small_environment() -> dict[str, str]:
    """The environment of a runtime whose engine is a small one; or the test is given up."""
    options = small_options()
    chosen = {
        "ENGINE__KIND": "vllm",
        "ENGINE__MODEL": options.model,
        "ENGINE__TIMEOUT_S": 300,
        "ENGINE__MAX_OUTPUT_TOKENS": 600,
        "ENGINE__VLLM__MAX_MODEL_LEN": options.max_model_len,
        "ENGINE__VLLM__KV_CACHE_BYTES": options.kv_cache_bytes,
        "ENGINE__VLLM__MAX_NUM_SEQS": options.max_num_seqs,
        "ENGINE__VLLM__ENFORCE_EAGER": "true",
        "ENGINE__VLLM__LOAD_TIMEOUT_S": options.load_timeout_s,
    }
    environment = {f"SLEEP_{name}": str(value) for name, value in chosen.items()}
    polite(environment)
    return environment
