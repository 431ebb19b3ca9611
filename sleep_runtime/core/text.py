"""Foreign text made safe to stand on one line: of a prompt, of a file, of a table.

What a person or a tool wrote is shown to people and to models inside text of our own. It may use
every letter there is, but no character that ends a line, hides or reorders what stands beside it,
and no mark of the fence that tells our words from theirs.
"""

from __future__ import annotations

import unicodedata

from sleep_runtime.core.fence import without_marks

# Control, format (bidi overrides, zero-width), surrogate, private and unassigned characters.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def one_line(text: str) -> str:
    """The text on one line, visible characters only, spaces folded, without fence marks.

    Idempotent. The result holds no line break of any kind (including NEL, LS and PS).
    """
    visible = text if text.isprintable() else _visible(text)
    return " ".join(without_marks(visible).split())


def _visible(text: str) -> str:
    spaced = "".join(" " if char.isspace() else char for char in text)
    return "".join(c for c in spaced if c == " " or unicodedata.category(c) not in _HIDDEN)
