"""Words and their canonical form: what two people wrote differently and meant alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from sleep_runtime.engines.text.lexicon import (
    FILLER_NOUNS,
    FRAME_VERBS,
    FUNCTION_WORDS,
    NUMBER_WORDS,
    PREPOSITIONS,
    SYNONYMS,
    word_set,
)

WORD = re.compile(r"[$€£¥]|[^\W_](?:\w|[.,/:+#&@'\u2019*-](?=\w))*[%#+]?|%|\w+")
_NUMBER = re.compile(r"[$€£¥]?\d")
_REPEATED = re.compile(r"\b([a-z]+)[\s-]+(over|by|to|on|for)[\s-]+\1\b", re.IGNORECASE)
_SAME_STEP = {"on": "o", "by": "o"}
_POSSESSIVE = re.compile(r"['\u2019]s$|['\u2019]$")
_IRREGULAR = {
    "analyses": "analysis",
    "people": "person",
    "children": "child",
    "indices": "index",
    "built": "build",
    "sent": "send",
    "written": "write",
    "wrote": "write",
    "shown": "show",
    "drawn": "draw",
    "data": "data",
    "bases": "basis",
    "basis": "basis",
    "series": "series",
    "always": "always",
    "less": "less",
    "sales": "sale",
    "us": "us",
    "during": "during",
    "string": "string",
    "spring": "spring",
    "thing": "thing",
    "king": "king",
    "need": "need",
    "speed": "speed",
    "feed": "feed",
    "red": "red",
    "axes": "axis",
    "axis": "axis",
    "including": "including",
    "excluding": "excluding",
}
_PLURAL_CODE = re.compile(r"[A-Z]{2,}s\Z")
_VOWELS = frozenset("aeiouy")


def words(text: str) -> list[str]:
    """The words of a text as written, in order. Linear in its length."""
    return WORD.findall(text)


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A lower-case word without plural, tense and final e. Light: it rather keeps apart."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if _NUMBER.match(word) or len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    return _without_e(_without_tense(_without_plural(word)))


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "ches", "shes", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_tense(word: str) -> str:
    for ending in ("ing", "ied", "ed"):
        root = word[: -len(ending)]
        if word.endswith(ending) and len(root) >= 3 and _VOWELS & set(root):
            return root + "y" if ending == "ied" else _undoubled(root)
    return word


def _undoubled(root: str) -> str:
    doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz"
    return root[:-1] if doubled else root


def _without_e(word: str) -> str:
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


@lru_cache(maxsize=20_000)
def canonical(word: str) -> tuple[str, ...]:
    """The canonical tokens of one written word: lower case, stemmed, hyphens opened."""
    if _PLURAL_CODE.match(word):
        word = word[:-1]
    plain = _POSSESSIVE.sub("", word.lower().replace("\u2019", "'")).strip(".,:'")
    if plain in SYNONYMS:
        return (stem(SYNONYMS[plain]),)
    if plain in NUMBER_WORDS:
        return (NUMBER_WORDS[plain],)
    if _NUMBER.match(plain):
        return _number(plain)
    if "-" in plain:
        return tuple(token for part in plain.split("-") if part for token in canonical(part))
    root = stem(plain)
    return (stem(SYNONYMS.get(root, root)),) if root else ()


_AMOUNT = re.compile(r"([$€£¥]?)(\d[\d,]*(?:\.\d+)?)([a-z%]*)$")


def _number(plain: str) -> tuple[str, ...]:
    """``$1,000k`` as its currency, ``1000`` and its unit; dates and versions stay whole."""
    match = _AMOUNT.match(plain)
    if match is None:
        return (plain,)
    sign, digits, unit = match.groups()
    number = digits.replace(",", "")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    tokens = [SYNONYMS.get(sign, sign), number, stem(SYNONYMS.get(unit, unit))]
    return tuple(token for token in tokens if token)


def fold_repeats(text: str) -> str:
    """``quarter over quarter`` as the initialism people write for it.

    *Over*, *on* and *by* say the same between two equal words.
    """
    return _REPEATED.sub(_initials, text)


def _initials(match: re.Match[str]) -> str:
    word, joint = match[1].lower(), match[2].lower()
    return word[0] + _SAME_STEP.get(joint, joint[0]) + word[0]


_GLUE = "\ue000"


def glue_repeats(text: str) -> str:
    """The text with every ``quarter over quarter`` held together as one word."""
    return _REPEATED.sub(lambda m: re.sub(r"\s+", _GLUE, m[0]), text)


def unglue(text: str) -> str:
    """Undo ``glue_repeats``: the speaker's own words again."""
    return text.replace(_GLUE, " ")


def tokens(text: str) -> tuple[str, ...]:
    """Canonical tokens of a text in order, function words included."""
    return tuple(t for word in words(fold_repeats(text)) for t in canonical(word))


def content(text: str) -> tuple[str, ...]:
    """Canonical tokens without function words."""
    kept: list[str] = []
    found = list(_trailing_one_dropped(words(fold_repeats(text))))
    for index, word in enumerate(found):
        lower = word.lower().replace("\u2019", "'")
        if (lower not in FUNCTION_WORDS and lower not in PREPOSITIONS) or lower in _KEPT:
            kept.extend(canonical(word))
        elif lower == "on" and _switches(found, index):
            kept.append(lower)
    return tuple(kept)


def _switches(found: Sequence[str], index: int) -> bool:
    """*On* is a state after a verb of switching and where no noun follows; else a preposition."""
    if index == len(found) - 1 or (index > 0 and found[index - 1].lower() in _SWITCHING):
        return True
    follower = found[index + 1].lower()
    return follower in PREPOSITIONS or (follower in FUNCTION_WORDS and follower not in _DETERMINERS)


_DETERMINERS = word_set("a an the this that these those our my your its their all any each")
_SWITCHING = frozenset({"turn", "turns", "turned", "switch", "switches", "switched"})


_KEPT = frozenset({"before", "after", "without", "off", "above", "below", "including", "excluding"})
_COUNTED = frozenset({"one"})


def _trailing_one_dropped(found: Sequence[str]) -> Iterable[str]:
    """*One* is a number before a noun and a pronoun elsewhere."""
    for index, word in enumerate(found):
        if word.lower() == "one":
            follower = found[index + 1].lower() if index + 1 < len(found) else ""
            if follower and follower not in FUNCTION_WORDS and follower not in PREPOSITIONS:
                yield "1"
        else:
            yield word


FRAME = frozenset(stem(SYNONYMS.get(word, word)) for word in FRAME_VERBS | FILLER_NOUNS)
"""Tokens that carry an instruction and add nothing to it."""


def is_number(token: str) -> bool:
    """True for a token that counts, dates or measures."""
    return bool(token) and token[0].isdigit()


def decisive_terms(text: str) -> frozenset[str]:
    """Canonical tokens of names, codes and numbers: where these differ, the lesson differs.

    A name is capitalised inside a sentence, has inner capitals or digits, or stands in code or
    quotation marks.
    """
    folded = fold_repeats(text)
    found: set[str] = set()
    for match in _MARKED.finditer(folded):
        found.update(content(match[0]))
    for index, word in enumerate(words(folded)):
        if _is_name(word, first=index == 0):
            found.update(canonical(word))
    return frozenset(found)


_MARKED = re.compile(r"`[^`\n]{1,60}`|\"[^\"\n]{1,60}\"|“[^”\n]{1,60}”")
_LOUD = frozenset({"always", "never", "not", "don't", "must", "only", "please", "i"})


def _is_name(word: str, *, first: bool) -> bool:
    if word.lower() in _LOUD:
        return False
    if any(ch.isdigit() for ch in word) or (word.lower() in NUMBER_WORDS and word.lower() != "one"):
        return True
    if any(ch in "/_.@#" for ch in word):
        return True
    return any(ch.isupper() for ch in (word[1:] if first else word))


def initials_match(short: str, long: Sequence[str]) -> bool:
    """True when ``short`` is made of the first letters of the words ``long``."""
    if not len(short) == len(long) >= 2 or not long[0].startswith(short[0]):
        return False
    return all(word.startswith(letter) for letter, word in zip(short, long, strict=True))


_ABBREVIATED = re.compile(r"\b([a-z]{2,6})\.(?=\s+\S)", re.IGNORECASE)


def abbreviations(text: str) -> frozenset[str]:
    """Canonical tokens of the words a text shortens with a period inside it ("adj. EBITDA")."""
    return frozenset(token for found in _ABBREVIATED.findall(text) for token in canonical(found))
