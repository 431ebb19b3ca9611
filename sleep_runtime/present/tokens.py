"""How many tokens a text costs, estimated without anybody's tokenizer.

The reader's model is unknown here, so the count is an estimate that leans high. It promises:

- text beyond ASCII never counts less than its UTF-8 bytes, which bounds every byte-level BPE;
- every digit and every punctuation character counts one, every line break counts one;
- words count one token for each four letters begun, capitals in a row one for each two. English
  prose and identifiers stay above common BPE and WordPiece vocabularies, which spend about 1.3
  tokens a word; letters without sense (``xqzvkj``) may cost a real one more than is counted.

Counting is subadditive over lines: a text never counts more than the sum of its lines, each with
its line break. Compilers add lines up and rely on it.
"""

from __future__ import annotations

import re
from typing import Protocol

_PIECE = re.compile(
    r"[A-Z]?[a-z]+|[A-Z]+|\n|[ \t\r\f\v]{2,}|[\x21-\x7e]|[^\x00-\x7f]+|[\x00-\x1f\x7f]"
)
_LETTERS_A_TOKEN = 4
_CAPITALS_A_TOKEN = 2


class TokenCounter(Protocol):
    """Counts tokens the way some reader's model does, or bounds the count from above."""

    def count(self, text: str) -> int: ...


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
