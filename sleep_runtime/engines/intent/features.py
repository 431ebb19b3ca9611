"""Features of a turn that carry over from one trade to another.

Words that a trade owns are masked, so that what is left is how something is said: *for this _
only*, *we _ed it to _*, *someone said that _*. Word n-grams of that, with the places where
sentences begin and end, and a few flags are all the head sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache

from sleep_runtime.engines.text import cues
from sleep_runtime.engines.text.lexicon import (
    ALL_VERBS,
    FRAME_VERBS,
    FUNCTION_WORDS,
    NUMBER_WORDS,
    POLICY_VERBS,
    PREPOSITIONS,
    TASK_VERBS,
    word_set,
)

MAX_CHARS = 1_600
"""A longer turn is read at both its ends, where people say what they want."""
MAX_GRAM = 4

DAY, MONTH, NUMBER, NAME, MASK = "#day", "#month", "#n", "#name", "_"
BEGIN, END = "<", ">"

_DAYS = word_set(
    """monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs
    fri mondays tuesdays wednesdays thursdays fridays saturdays sundays"""
)
_MONTHS = word_set(
    """january february march april june july august september october november december jan feb
    apr jun jul aug sept oct nov dec"""
)
_CUE_WORDS = word_set(
    """today tonight tomorrow yesterday now then later soon once twice again already still yet
    week weeks weekend month months quarter year years day days morning afternoon evening night
    time times moment hour hours minute ago last next previous former first until till while during
    before after since meanwhile currently temporarily temporary permanently permanent forever
    always never usually normally generally typically sometimes often rarely ever whenever anytime
    every each any all everything everywhere anything nothing nobody everyone everybody someone
    somebody anybody anyone people folks others another other else only just alone single solely
    exception exceptions exceptional exceptionally special one-off onetime one-time once-off case
    rule rules policy standard default habit habits convention practice norm principle usual usually
    general forward henceforth onwards onward future here hereafter long longer anymore
    forget drop scrap cancel undo withdraw withdrawn void lift lifted revoke revoked retract retire
    retired disregard ignore dead gone obsolete open free needed need needs necessary matter matters
    mandatory obligatory required requirement requirements restriction
    switch switched switching switches change changed changes changing move moved moves moving
    replace replaced replaces replacing migrate migrated adopt adopted becomes became new old
    instead anymore outdated superseded stale used formerly
    say says said saying told tell tells telling ask asks asked asking mention mentioned mentions
    suggest suggested suggests propose proposed wonder wondering wondered think thinks thought
    thinking believe believes guess hear heard hears read reads claim claims claimed know knows knew
    want wants wanted like likes liked prefer prefers preferred love loves loved hate hates insist
    insists expect expects expected agree agreed agrees decide decided decision decides settle
    settled confirm confirmed approved approve accept accepts accepted refuse refuses
    wish wishes rather remember recall keep keeps kept stay stays stick sticks remain remains treat
    consider take takes taken make makes made put puts set sets give gives gave go goes went come
    comes came get gets got show shows use uses using do does did done work works
    please thanks thank sorry hi hello hey ok okay yes no nope yeah well actually btw fyi
    wrong right correct incorrect mistake off bad good fine better best great nice
    why what when where who which whose how whether if unless because so but though although
    maybe perhaps might could would should must can may shall will won't wouldn't shouldn't
    idea curious curiosity question hypothetically theory suppose imagine apparently supposedly
    rumour rumor hearsay competitor competitors rival rivals predecessor friend colleague brother
    sister cousin uncle neighbour neighbor boss team client customer
    this that these those it them they he she we i you me us my our your their his her its mine
    exactly afterwards afterward back return revert normal regular purposes sake occasion round
    version draft copy visit meeting call test trial demo pilot experiment emergency
    kindly don't dont doesn't doesnt didn't didnt isn't isnt won't wont can't cant not none nor
    i'm i'd i've i'll we're we've we'd we'll it's its that's thats there's let's lets you're they're
    they've they'd he's she's what's who's
    history historically past previously earlier originally back backwards"""
)
CLOSED = (
    FUNCTION_WORDS
    | PREPOSITIONS
    | FRAME_VERBS
    | ALL_VERBS
    | _CUE_WORDS
    | frozenset(w for w in NUMBER_WORDS if w != "one")
)
"""Words that are kept whatever the training data says."""

_TOKEN = re.compile(
    r"(?P<num>[$€£]?\d[\w.,:/%-]*)|(?P<word>[^\W\d_]+(?:['-][^\W\d_]+)*)|(?P<end>[.!?]+)|"
    r"(?P<line>\n+)|(?P<mark>[,;:=()\"\u201c\u201d\u2013\u2014\u2192]| - )"
)
_ALIKE = {
    "\u201c": '"',
    "\u201d": '"',
    "\u2013": "-",
    "\u2014": "-",
    " - ": "-",
    "\u2192": ":",
    "=": ":",
    ";": ",",
}
_ENDINGS = (("ing", "_ing"), ("ed", "_ed"), ("ly", "_ly"))
_LUMPED = frozenset({MASK, NAME, NUMBER})
_MIN_STEM = 3


@lru_cache(maxsize=20_000)
def _masked(lower: str) -> str:
    for ending, mask in _ENDINGS:
        if lower.endswith(ending) and len(lower) - len(ending) >= _MIN_STEM:
            return mask
    return MASK


def ends(text: str) -> str:
    """The text, or its two ends where it is longer than a person's wish needs."""
    if len(text) <= MAX_CHARS:
        return text
    return f"{text[: MAX_CHARS * 3 // 4]}\n{text[-MAX_CHARS // 4 :]}"


def raw_words(text: str) -> set[str]:
    """The lower-case words of a text, as the vocabulary counts them."""
    plain = ends(text).replace("\u2019", "'")
    return {m["word"].lower() for m in _TOKEN.finditer(plain) if m["word"]}


def tokens(text: str, kept: AbstractSet[str]) -> list[str]:
    """Kept words and classes in order, with the borders of sentences; masks in a row lumped."""
    found: list[str] = [BEGIN]
    for token in _classed(ends(text).replace("\u2019", "'"), kept):
        if token == END:
            if found[-1] != BEGIN:
                found += (END, BEGIN)
        elif token in _LUMPED and found[-1] in _LUMPED:
            found[-1] = MASK
        else:
            found.append(token)
    if found[-1] == BEGIN and len(found) > 1:
        found.pop()
    else:
        found.append(END)
    return found


def _classed(text: str, kept: AbstractSet[str]) -> Iterator[str]:
    first = True
    for match in _TOKEN.finditer(text):
        kind, said = match.lastgroup, match[0]
        if kind == "word":
            yield _word(said, kept, first=first)
            first = False
        elif kind == "num":
            yield NUMBER
            first = False
        elif kind == "mark":
            yield _ALIKE.get(said, said)
        else:
            if kind == "end" and "?" in said:
                yield "?"
            elif kind == "end" and "!" in said:
                yield "!"
            yield END
            first = True


def _word(said: str, kept: AbstractSet[str], *, first: bool) -> str:
    lower = said.lower()
    if lower in _DAYS:
        return DAY
    if lower in _MONTHS:
        return MONTH
    if lower in kept:
        return lower
    if not first and said[0].isupper() and not said.isupper():
        return NAME
    return _masked(lower)


def grams(found: Sequence[str]) -> set[str]:
    """All n-grams of one to ``MAX_GRAM`` tokens, each once, and the sorts of opening."""
    seen: set[str] = set()
    count = len(found)
    for start in range(count):
        gram = found[start]
        seen.add(gram)
        for stop in range(start + 1, min(start + MAX_GRAM, count)):
            gram = f"{gram} {found[stop]}"
            seen.add(gram)
    seen |= openings(found)
    return seen


_LEAD = word_set("please now then and ok okay so also just can could you let's lets no yes")
_TASKS = TASK_VERBS - POLICY_VERBS
_RULES = POLICY_VERBS - TASK_VERBS


def openings(found: Sequence[str]) -> set[str]:
    """Which sorts of verbs the sentences of a turn begin with."""
    seen: set[str] = set()
    fresh = False
    for word in found:
        if fresh and word in _TASKS:
            seen.add("!opens_task")
        elif fresh and word in _RULES:
            seen.add("!opens_rule")
        fresh = word == BEGIN or (fresh and (word in _LEAD or word == ","))
    return seen


def flags(text: str, *, correction: bool) -> Iterable[str]:
    """What the cues of an occasion and of hearsay and the outline of the turn say, as names.

    The other closed cues add nothing to the n-grams on a trade not seen before.
    """
    plain = ends(text).replace("\u2019", "'").strip()
    if cues.ONE_OFF.search(plain):
        yield "!one_off"
    if cues.HEDGED.search(plain):
        yield "!hedged"
    if plain.endswith("?"):
        yield "!asks"
    if correction:
        yield "!correction"
    yield f"!words{min(len(plain.split()).bit_length(), 7)}"
