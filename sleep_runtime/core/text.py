"""Foreign text made safe to stand on one line: of a prompt, of a file, of a table.

What a person or a tool wrote is shown to people and to models inside text of our own. It may use
every letter there is, but no character that ends a line, hides or reorders what stands beside it,
and no mark of the fence that tells our words from theirs.
"""

from __future__ import annotations

import re
import unicodedata

from sleep_runtime.core.fence import without_marks
from sleep_runtime.core.lookalikes import INVISIBLE

# Control, format (bidi overrides, zero-width), surrogate, private and unassigned characters.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_TURN_WORDS = (
    r"system|user|assistant|human|agent|ai|tool|function|instructions?|prompt|context|memory|"
    r"documents?|s|bos|eos|pad|think|im_start|im_end|start_of_turn|end_of_turn|invoke|"
    r"(?:tool|function)_(?:calls?|results?|response)"
)
_TEMPLATE = re.compile(
    rf"<(?=\s*(?:[|/!?<\uff5c]|(?:{_TURN_WORDS})\b))|(?<=[|\uff5c])>|\[(?=\s*/?(?:INST|SYS)\b)|"
    r"(?<=\bINST)\]",
    re.IGNORECASE,
)
_HARMLESS = {"<": "\u2039", ">": "\u203a", "[": "(", "]": ")"}


def one_line(text: str) -> str:
    """The text on one line, visible characters only, spaces folded, without fence marks.

    Idempotent. The result holds no line break of any kind (including NEL, LS and PS).
    """
    plain = text.isprintable() and (text.isascii() or INVISIBLE.isdisjoint(text))
    folded = " ".join((text if plain else _visible(text)).split())
    while (cleaned := " ".join(without_marks(folded).split())) != folded:
        folded = cleaned
    return folded


def quoted_line(text: str) -> str:
    """``one_line`` for text inside a prompt: nothing in it is a token of a chat template.

    Closing tags, comments, turn marks such as ``<|im_end|>`` or ``[INST]`` and tags named after
    who speaks keep their words and lose their brackets. Other tags, such as ``List<String>``, stay.
    """
    line = one_line(text)
    if "<" not in line and "[" not in line and ">" not in line:
        return line
    return _TEMPLATE.sub(lambda sign: _HARMLESS[sign[0]], line)


def _visible(text: str) -> str:
    spaced = "".join(" " if char.isspace() else char for char in text)
    return "".join(
        char
        for char in spaced
        if char == " " or (char not in INVISIBLE and unicodedata.category(char) not in _HIDDEN)
    )
