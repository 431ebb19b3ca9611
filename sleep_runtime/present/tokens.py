"""How many tokens a text costs: estimated, or counted with the tokenizer of the reader's model.

By default the reader's model is unknown, so the count is an estimate that leans high. It promises:

- text beyond ASCII never counts less than its UTF-8 bytes, which bounds every byte-level BPE;
- every digit and every punctuation character counts one, every line break counts one;
- words count one token for each four letters begun, capitals in a row one for each two. English
  prose and identifiers stay above common BPE and WordPiece vocabularies, which spend about 1.3
  tokens a word; letters without sense (``xqzvkj``) may cost a real one more than is counted.

Counting is subadditive over lines: a text never counts more than the sum of its lines, each with
its line break. Compilers add lines up to choose what may fit. A vocabulary need not keep that, so
they count the whole as well, and what they return is within the budget by the counter's own count.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol

from sleep_runtime.core.errors import InvalidConfig

_PIECE = re.compile(
    r"[A-Z]?[a-z]+|[A-Z]+|\n|[ \t\r\f\v]{2,}|[\x21-\x7e]|[^\x00-\x7f]+|[\x00-\x1f\x7f]"
)
_LETTERS_A_TOKEN = 4
_CAPITALS_A_TOKEN = 2


class TokenCounter(Protocol):
    """Counts tokens the way some reader's model does, or bounds the count from above."""

    def count(self, text: str) -> int: ...


ESTIMATE = "estimate"
VOCABULARIES = ("cl100k_base", "o200k_base")
_FIELD = "compiler.tokenizer"
_LINES_REMEMBERED = 8192
_LINE_CHARS = 1000


def make_counter(name: str) -> TokenCounter:
    """The counter of this name: ``estimate``, a vocabulary, or the path of a ``tokenizer.json``.

    Raises ``InvalidConfig`` for a file that is none, and for a vocabulary whose package is not
    installed.
    """
    if name == ESTIMATE:
        return CountedTokens(EstimatedTokens().count)
    if name in VOCABULARIES:
        return CountedTokens(_vocabulary(name))
    return CountedTokens(_tokenizer_file(Path(name)))


class CountedTokens:
    """Counts with any function. Lines come again with every context, so they are remembered.

    Thread-safe as far as the function is.
    """

    def __init__(self, count: Callable[[str], int]) -> None:
        self._remembered = lru_cache(maxsize=_LINES_REMEMBERED)(count)
        self._count = count

    def count(self, text: str) -> int:
        return self._remembered(text) if len(text) <= _LINE_CHARS else self._count(text)


def _valid(text: str) -> str:
    """Tokenizers take no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _vocabulary(name: str) -> Callable[[str], int]:
    try:
        with warnings.catch_warnings():
            # The package reads its data in a way that later Pythons warn of.
            warnings.simplefilter("ignore", DeprecationWarning)
            import bpe_openai

            encoding = bpe_openai.get_encoding(name)
    except ImportError as error:
        raise InvalidConfig(
            f"{name} needs the package bpe-openai, which is not installed",
            field=_FIELD,
            mend=f"pip install bpe-openai, or use {ESTIMATE}",
        ) from error
    return partial(_length, encoding.encode_ordinary)  # no text is a special token of ours


def _tokenizer_file(path: Path) -> Callable[[str], int]:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare exceptions
        raise InvalidConfig(
            f"{path} is no tokenizer: {error}",
            field=_FIELD,
            mend=f"use {ESTIMATE}, {', '.join(VOCABULARIES)} or the path of a tokenizer.json",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(_valid(text), add_special_tokens=False).ids)


def _length(encode: Callable[[str], list[int]], text: str) -> int:
    return len(encode(_valid(text)))


class EstimatedTokens:
    """The default ``TokenCounter``: an estimate, see the module. Pure; linear in the text."""

    def count(self, text: str) -> int:
        return sum(_cost(piece) for piece in _PIECE.findall(text))


def _cost(piece: str) -> int:
    if not piece.isascii():
        return len(piece.encode("utf-8", "surrogatepass"))
    if not piece.isalpha():
        return 1
    letters = _CAPITALS_A_TOKEN if piece.isupper() and len(piece) > 1 else _LETTERS_A_TOKEN
    return -(-len(piece) // letters)
