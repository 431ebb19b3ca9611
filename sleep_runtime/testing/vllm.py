"""A small engine that runs anywhere, for tests and benchmarks of the vLLM engine."""

from __future__ import annotations

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
