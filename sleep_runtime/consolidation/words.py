"""Words: the plain text measures by which decisions compare what was said.

No model and no dictionary: word stems by suffix, so that "decks" meets "deck". Good enough to check
that a statement was really said; never used to decide that two lessons mean the same.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_NOT = re.compile("n['\u2019]t\\b", re.IGNORECASE)
_NO_NEGATION = re.compile(r"\b(?:(?:do\s+)?not|never)\s+(?:forget|hesitate)\b|\bnot only\b")
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+|\n+")
_CLAUSE = re.compile(
    "[.,;:!?()\n]+|\\s[-\u2013\u2014]+\\s|\\b(?:but|because|instead)\\b", re.IGNORECASE
)
_NEGATIONS = frozenset(
    ("not", "never", "no", "nor", "neither", "cannot", "without", "avoid", "stop", "dont")
)

# Words that carry no lesson by themselves: grammar, and the frame an engine may put around one.
_FRAME_WORDS = """
a about account all also always an and any are as at be because been being but by can client
customer do does doing done each every for forward from go had has have having he her his how i
if in into is it its just keep let like likes make me more must my need needs now of ongoing
only or our please prefer s shall she should so some such t team than that the their them then
there these they this those to us use used user uses using very want wants was we were what when
where which while who will with would you your
"""
_FRAME = frozenset(_FRAME_WORDS.split())
_SUFFIXES = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("edly", ""), ("ed", ""), ("es", ""))
_SHORTEST_STEM = 3
# "One" is mostly no number: "this one", "one of them".
_NUMBER_WORDS = """
two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty
"""
_SPELLED = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split(), start=2)}
_SPELLED |= {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "ninety": "90"}
_SPELLED |= {"seventy": "70", "eighty": "80"}
_SPELLED |= {"hundred": "100", "twice": "2", "zero": "0"}
_CACHED_CHARS = 400


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The word without its inflection: ``running``, ``runs`` and ``run`` are one."""
    for suffix, instead in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            return _undouble(word[: -len(suffix)] + instead)
    if word.endswith("s") and not word.endswith("ss") and len(word) > _SHORTEST_STEM:
        word = word[:-1]
    return word.removesuffix("e") if len(word) > _SHORTEST_STEM else word


def _undouble(word: str) -> str:
    doubled = len(word) > _SHORTEST_STEM and word[-1] == word[-2] and word[-1] not in "sl"
    return word[:-1] if doubled else word.removesuffix("e")


def words(text: str) -> list[str]:
    """Case-folded words in order; "don't" gives "do", "not"."""
    return _WORD.findall(_NOT.sub(" not", text).casefold())


def normalise(text: str) -> str:
    """The text as words and single spaces: equal for texts that differ in case and signs only."""
    return _normalise_short(text) if len(text) <= _CACHED_CHARS else " ".join(words(text))


@lru_cache(maxsize=65_536)
def _normalise_short(text: str) -> str:
    return " ".join(words(text))


def stems(text: str) -> frozenset[str]:
    """Stems of every word."""
    return _stems_short(text) if len(text) <= _CACHED_CHARS else _stems(text)


def _stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in words(text))


_stems_short = lru_cache(maxsize=16_384)(_stems)


def is_frame(word: str) -> bool:
    """True for a word that carries no lesson by itself: grammar, frame, negation."""
    return word in _FRAME or word in _NEGATIONS


def content(text: str) -> frozenset[str]:
    """Stems of the words that carry the lesson, without grammar, frame words and negations."""
    return _content_short(text) if len(text) <= _CACHED_CHARS else _content(text)


def _content(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in words(text) if not is_frame(word))


_content_short = lru_cache(maxsize=16_384)(_content)


def numbers(text: str) -> frozenset[str]:
    """The words with a digit in them, and small numbers spelled out; "1,000" and "1000" are one."""
    plain = _THOUSANDS.sub("", text)
    return frozenset(
        _SPELLED.get(word, word)
        for word in words(plain)
        if word in _SPELLED or any(sign.isdigit() for sign in word)
    )


def negated(text: str) -> bool:
    """True when the text says no: "never x", "don't x", "without x"."""
    plain = _NO_NEGATION.sub(" ", normalise(text))
    return not _NEGATIONS.isdisjoint(plain.split())


def one_value(left: str, right: str) -> bool:
    """True when one text may be the other, shortened: "adj." or "adjusted" for "adjusted EBITDA".

    Also by initials, "QoQ" for "quarter over quarter"; never across numbers or a negation.
    """
    if numbers(left) != numbers(right) or negated(left) != negated(right):
        return False
    if _initials(left) == normalise(right) or _initials(right) == normalise(left):
        return True
    short, long = sorted((_carrying(left), _carrying(right)), key=lambda part: (len(part), part))
    return all(any(_shortened(word, other) for other in long) for word in short)


def _carrying(text: str) -> list[str]:
    said = words(text)
    return [word for word in said if word not in _FRAME] or said


def _shortened(word: str, other: str) -> bool:
    brief, full = sorted((word, other), key=len)
    return stem(word) == stem(other) or (len(brief) >= _SHORTEST_STEM and full.startswith(brief))


def _initials(text: str) -> str:
    said = words(text)
    return "".join(word[0] for word in said) if len(said) > 1 else ""


def sentences(text: str) -> list[str]:
    """The text cut after sentence ends and at line breaks; empty pieces left out."""
    return [piece for piece in (part.strip() for part in _SENTENCE.split(text)) if piece]


def says(text: str, statement: str) -> bool:
    """True when ``text`` holds every content word of ``statement`` and does not say its opposite.

    Inflection, case and frame words are ignored. A clause that holds the whole statement must
    agree with it in negation, so that "never use tabs" does not carry "use tabs".
    """
    wanted = content(statement) or stems(statement)
    if not wanted or not wanted <= stems(text):
        return False
    no = negated(statement)
    if no and not negated(text):
        return False
    whole = [clause for clause in _CLAUSE.split(text) if wanted <= stems(clause)]
    return not whole or any(negated(clause) == no for clause in whole)


def mentions(text: str, phrase: str) -> bool:
    """True when every word of ``phrase`` occurs in ``text``, inflection and case ignored."""
    return stems(phrase) <= stems(text)
