"""Foreign text made safe to stand on one line: of a prompt, of a file, of a table.

What a person or a tool wrote is shown to people and to models inside text of our own. It may use
every letter there is, but no character that ends a line, hides or reorders what stands beside it,
and no mark of the fence that tells our words from theirs.
"""

from __future__ import annotations

import re
import unicodedata

# Control, format (bidi overrides, zero-width), surrogate, private and unassigned characters.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_FENCE_MARK = re.compile(r"<\s*/?\s*sleep-context\s*/?\s*>", re.IGNORECASE)


def one_line(text: str) -> str:
    """The text on one line, visible characters only, spaces folded, without fence marks.

    Idempotent. The result holds no line break of any kind (including NEL, LS and PS).
    """
    visible = text if text.isprintable() else _visible(text)
    return " ".join(_without_marks(visible).split())


def _visible(text: str) -> str:
    spaced = "".join(" " if char.isspace() else char for char in text)
    return "".join(c for c in spaced if c == " " or unicodedata.category(c) not in _HIDDEN)


def _without_marks(text: str) -> str:
    """Take marks out until none is left: taking one out may join the halves of another."""
    while (stripped := _FENCE_MARK.sub("", text)) != text:
        text = stripped
    return text
