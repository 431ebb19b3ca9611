"""Look-alikes: letters and signs that read as others, and characters that are not seen at all.

Only as much of Unicode's confusables as it takes to spell a mark of ours or of a chat template; see
UTS #39. Nothing here changes what is stored: it tells what a text reads like.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_INVISIBLE = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
    *((0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800)),
    *((0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB)),
    *((0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
_STACKED = ((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))
_CONTROLS = ((0x00, 0x08), (0x0E, 0x1F), (0x7F, 0x9F))
_READ_AS = {
    "a": "\u0430\u03b1\u0251",
    "c": "\u0441\u03f2\u1d04\u2ca5",
    "e": "\u0435\u0454\u03b5\u212e\u04bd\u1d07",
    "i": "\u0456\u03b9\u0131",
    "l": "\u04cf\u04c0\u01c0\u2223\u05c0\u05d5",
    "n": "\u0578\u057c\u0274\u043f",
    "o": "\u043e\u03bf\u0585\u1d0f\u06f5\u0665\u2c9f",
    "p": "\u0440\u03c1\u1d18\u2ca3",
    "s": "\u0455\ua731\u0282\u01bd",
    "t": "\u0442\u03c4\u1d1b\u2ca7",
    "x": "\u0445\u03c7\u00d7\u2cad",
    "<": "\u2039\u2329\u3008\u27e8\u276e\u02c2\u1438\u2270\u2a7d\u00ab\u300a\u227a\u276c\u2770",
    ">": "\u203a\u232a\u3009\u27e9\u276f\u02c3\u1433\u2a7e\u00bb\u300b\u227b\u276d\u2771",
    "/": "\u2215\u2044\u29f8\u2571\u27cb\u3033\u1735",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u02d7\u30fc\u4e00",
    "|": "\u01c0\u2223\u23d0\u2758",
}


def _codes(*ranges: tuple[int, int]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


INVISIBLE = frozenset(map(chr, _codes(*_INVISIBLE)))
"""Characters that leave no trace on the page, whatever their category."""

_FLAT: dict[int, str | None] = dict.fromkeys(_codes(*_INVISIBLE, *_STACKED, *_CONTROLS))
_FLAT |= {
    ord(form): sign
    for sign, forms in _READ_AS.items()
    for char in forms
    for form in {char, char.upper(), unicodedata.normalize("NFKD", char)}
    if len(form) == 1 and not form.isascii()
}


def forms_of(signs: str) -> frozenset[str]:
    """Every character of the plane of symbols that may read as one of these signs, they included.

    Those whose compatibility form begins with it, and those that only look like it.
    """
    symbols = map(chr, _codes((0x2000, 0x33FF), (0xFE10, 0xFFEF)))
    equal = {char for char in symbols if unicodedata.normalize("NFKD", char)[0] in signs}
    return frozenset({*signs, *equal, *(c for sign in signs for c in _READ_AS.get(sign, ""))})


def plain_letters(text: str) -> str:
    """What a text (in form NFKD) reads like: lower case, look-alikes replaced, no hidden signs."""
    return text.translate(_FLAT).lower().translate(_FLAT)
