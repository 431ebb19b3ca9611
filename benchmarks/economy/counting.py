"""Counting: calls, tokens, and the share of the input that a prefix cache would serve.

The tokenizer is o200k_base, a byte-level BPE of 200,000 tokens, as ``bpe-openai`` ships it. What
is counted is the whole prompt in ChatML, each marker one token. The cache is vLLM's: blocks of 16
tokens, each known by its own tokens and all before it; never the last token of a prompt. It is
taken to be unlimited and sees the calls one after the other. Answers are not put into it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, cast

from sleep_runtime.core.observation import Usage

ENCODING = "o200k_base"
BLOCK_TOKENS = 16
_START, _END = -1, -2

Messages = Sequence[tuple[str, str]]


class Tokenizer(Protocol):
    """What turns text into the numbers of its tokens."""

    def encode(self, text: str) -> list[int]: ...


class Bpe:
    """``o200k_base``. The texts of prompts come again and again, so the last ones are kept."""

    def __init__(self) -> None:
        import bpe_openai

        self._encoding = bpe_openai.get_encoding(ENCODING)
        self.encode = lru_cache(maxsize=1024)(self._encode)

    def _encode(self, text: str) -> list[int]:
        return cast("list[int]", self._encoding.encode_ordinary(text))


class PrefixCache:
    """Which blocks have been seen, each after the same blocks before it."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[int, tuple[int, ...]], int] = {}

    def take(self, tokens: Sequence[int]) -> int:
        """How many tokens of this prompt were cached; now all its full blocks are."""
        chain, hits, missed = 0, 0, False
        for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            block = chain, tuple(tokens[start : start + BLOCK_TOKENS])
            known = self._blocks.get(block)
            missed = missed or known is None or start + BLOCK_TOKENS >= len(tokens)
            if not missed:
                hits += BLOCK_TOKENS
            chain = known or self._blocks.setdefault(block, len(self._blocks) + 1)
        return hits


@dataclass
class Meter:
    """What one way of learning has used so far."""

    tokenizer: Tokenizer
    used: Usage = field(default_factory=Usage)
    _cache: PrefixCache = field(default_factory=PrefixCache)

    def call(self, messages: Messages, answer: dict[str, Any]) -> Usage:
        """Count one call and give back what it cost."""
        prompt = self.rendered(messages)
        said = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        cost = Usage(
            calls=1,
            input_tokens=len(prompt),
            output_tokens=len(self.tokenizer.encode(said)) + 1,
            cached_tokens=self._cache.take(prompt),
        )
        self.used += cost
        return cost

    def rendered(self, messages: Messages) -> list[int]:
        """The prompt in ChatML as tokens."""
        tokens: list[int] = []
        for role, text in messages:
            tokens += [_START, *self.tokenizer.encode(f"{role}\n"), *self.tokenizer.encode(text)]
            tokens += [_END, *self.tokenizer.encode("\n")]
        return [*tokens, _START, *self.tokenizer.encode("assistant\n")]
