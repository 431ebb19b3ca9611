"""The person's own words, shortened: greeting and courtesy go, meaning stays."""

from __future__ import annotations

import re

from sleep_runtime.engines.text.cues import POLITE_REQUEST

MAX_WORDS = 40
OMITTED = "\u201c\u2026\u201d"
"""Stands where a long quotation was left out: words that are not the speaker's own."""

_OPENERS = re.compile(
    r"(?:(?:no|nope|nah|yes|yep|yeah|yup|ok|okay|hey|hi|hello|hmm+|um+|uh+|ah|oh|so|well|"
    r"actually|sorry|"
    r"please|pls|kindly|btw|by the way|fyi|again|and|but|also|then|thanks|thank you|cool|great|"
    r"nice|good|perfect|"
    r"right|sure|look|listen|team|all|everyone|folks|quick (?:note|one|reminder)|"
    r"one (?:more )?(?:thing|note)|just (?:a )?(?:note|reminder)|"
    r"reminder|correction|note|please note(?: that)?|note that|remember(?: that)?|"
    r"please remember(?: that)?|"
    r"remember to|keep in mind(?: that)?|for the record|that'?s (?:wrong|not right|not it|"
    r"better)|(?:this|that|it) is (?:wrong|not right)|wrong|"
    r"incorrect|not quite|not like that|not right|as (?:i )?(?:said|mentioned|usual)(?: before|"
    r" earlier| last time| already)?|like i said(?: before)?|"
    r"i (?:already )?(?:said|told you)(?: before| already| this)?(?: to| that)?|i think|"
    r"i believe|i'?d say|it'?s|make sure (?:to|that|you)|be sure to|"
    r"make sure|just|instead|hang on|wait|stop|let'?s|let us|in short|careful|heads[- ]up|"
    r"feedback|comment|general (?:note|feedback|comment|rule)|"
    r"good (?:morning|afternoon|evening)(?: team| all)?|client pushed back|for (?:next time|"
    r"future reference|the future)|next time)\b"
    r"(?:\s*[,:;.!\u2013—]+\s*|\s+-+\s+|\s+))",
    re.IGNORECASE,
)
_HARD_OPENERS = frozenset(
    [
        "no",
        "stop",
        "good",
        "all",
        "right",
        "just",
        "it's",
        "its",
        "note",
        "look",
        "instead",
        "great",
        "nice",
        "so",
    ]
)
_CLOSERS = re.compile(
    r"[\s,;:.!?\u2013—-]+(?:please|pls|thanks?(?: a lot| so much| again)?|thank you(?: very much|"
    r" so much)?|thx|cheers|ok(?:ay)?|"
    r"right|here|got it|understood|will you|would you|though|btw|fyi|as (?:i )?(?:said|"
    r"mentioned)(?: before| earlier| last time)?|"
    r"like i said|again|remember|so (?:\w+ ){1,4}(?:too|as well)|"
    r"if you (?:can|could|don't mind)|if possible|everyone|"
    r"team)[\s.!?]*\Z",
    re.IGNORECASE,
)
_MID_PLEASE = re.compile(
    r"\s*,?\s+(?:please|kindly)\b(?=\s*[,.;]|\s+\w)|\bplease\s+", re.IGNORECASE
)
_REASON = re.compile(
    r"[\s,;\u2013—-]+(?:because|since|so that|as otherwise|otherwise|as it|as they|as the)\b.*\Z",
    re.IGNORECASE | re.DOTALL,
)
_SPACES = re.compile(r"\s+")
_EDGES = " \t\n,;:\u2013—-"


def shorten(clause: str) -> str:
    """The clause without greeting, courtesy and end mark, in its own words and order.

    Negations are never cut: an opening "no" only goes where a pause follows it.
    """
    text = _SPACES.sub(" ", clause.replace("\u2019", "'")).strip(_EDGES)
    before = None
    while before != text:
        before = text
        text = _without_opener(text)
        text = _CLOSERS.sub("", text).rstrip(_EDGES + ".!?")
    text = _polite_removed(text)
    return _MID_PLEASE.sub(_space_or_nothing, text).strip(_EDGES + ".!?")


def _space_or_nothing(match: re.Match[str]) -> str:
    return (
        ""
        if match.start() == 0 or (match[0].startswith((" ", ",")) and not match[0].endswith(" "))
        else " "
    )


def _without_opener(text: str) -> str:
    match = _OPENERS.match(text)
    if match is None:
        return text
    pause = any(mark in match[0] for mark in ",:;.!\u2013—") or " - " in match[0]
    if match[0].strip(" ,:;.!\u2013—-").lower() in _HARD_OPENERS and not pause:
        return text
    return text[match.end() :].lstrip(_EDGES)


def _polite_removed(text: str) -> str:
    match = POLITE_REQUEST.search(text)
    if match is None:
        return text
    return (text[: match.start()] + text[match.end() :]).strip(_EDGES + "?")


def without_reason(text: str) -> str:
    """The text up to its *because*."""
    return _REASON.sub("", text).strip(_EDGES)


_THIS_PLACE = re.compile(
    r"\b(?:for|at|on|in|with) (?:this|our) (?:account|client|customer|team|project|company|"
    r"repo)\b,?\s*",
    re.IGNORECASE,
)


def without_place(text: str) -> str:
    """The text without "for this account": a claim's facets say which one is meant."""
    return _THIS_PLACE.sub("", text).strip() or text


def fit(text: str) -> str:
    """The text in at most ``MAX_WORDS`` words: without its reason if need be, else nothing.

    Cutting anywhere else could turn the meaning round.
    """
    for candidate in (text, without_reason(text)):
        if (
            OMITTED not in candidate
            and 0 < len(candidate.split()) <= MAX_WORDS
            and len(candidate) <= 380
        ):
            return candidate
    return ""


def with_facets(text: str, about: dict[str, str]) -> str:
    """The statement, led by those facet values its words do not name."""
    lower = text.lower()
    missing = [value for _, value in sorted(about.items()) if value and not names(lower, value)]
    lead = ", ".join(missing)
    return f"{lead}: {text}" if lead and len(lead) <= 80 else text


def names(lower_text: str, value: str) -> bool:
    """True when a lower-case text names a facet value, however it is punctuated."""
    plain = re.sub(r"[\W_]+", " ", value.lower()).strip()
    return bool(plain) and f" {plain} " in f" {re.sub(r'[^a-z0-9]+', ' ', lower_text)} "
