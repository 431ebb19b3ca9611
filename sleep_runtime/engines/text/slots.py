"""Slots: what an instruction is about (subject), which property (aspect), what answer (value)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sleep_runtime.engines.text.contrast import contrast
from sleep_runtime.engines.text.cues import ONE_OFF, STANDING
from sleep_runtime.engines.text.lexicon import (
    ALL_VERBS,
    ASPECT_OF,
    FRAME_VERBS,
    FUNCTION_WORDS,
    NUMBER_WORDS,
    PREPOSITIONS,
    word_set,
)
from sleep_runtime.engines.text.words import (
    WORD,
    abbreviations,
    canonical,
    fold_repeats,
    glue_repeats,
    stem,
    unglue,
)

_WHEN = (
    r"(?:when(?:ever)?|if|unless|while|once|in case|as soon as|any ?time|every time|each time)\b"
)
_WHEN_FIRST = re.compile(
    rf"\A({_WHEN}[^,;:—\u2013]{{2,120}})(?:[,;:—\u2013]\s*(?:then\s+)?|\s+then\s+)(?=\S)",
    re.IGNORECASE,
)
_WHEN_LAST = re.compile(rf"[\s,]+({_WHEN}\s+.{{2,160}})\Z", re.IGNORECASE | re.DOTALL)
_REASON = re.compile(
    r"[\s,;\u2013—-]+(?:because|since|so that|otherwise|or else|or it|it breaks|as it|"
    r"as they|so (?:we|they|it|this|that|i)|as (?:in|on|for|with) (?:all|the|our))\b.*\Z|"
    r",\s+(?:the|it|they|this|that|we|i|you)\s+[^,]{3,}\Z",
    re.IGNORECASE | re.DOTALL,
)
_ADJUNCT_FIRST = re.compile(
    r"\A((?:before|after)\b[^,]{2,60}),\s*(.+)\Z", re.IGNORECASE | re.DOTALL
)
_NOT_FIRST = re.compile(
    r"\Anot\s+(?P<no>[^,;:]{1,60}),\s*(?:but\s+|rather\s+)?(?P<yes>[^,;:]+)\Z", re.IGNORECASE
)
_NEGATION = re.compile(
    r"\b(?:don'?t|do not|does not|doesn'?t|never|not|no|without|can'?t|cannot|must ?n['o]t|"
    r"shouldn'?t|won'?t|isn'?t|"
    r"aren'?t|needn'?t|refrain from|forbidden|prohibited|(?:leave|leaves|leaving|left) (?:out|"
    r"off)|(?:avoid|stop|skip|omit|exclude|"
    r"drop|hide|ban|disable|refuse)(?:s|d|ed|ped|ted)?|avoiding|stopping|skipping|omitting|"
    r"dropping|hiding)\b",
    re.IGNORECASE,
)
_MODAL = re.compile(
    r"\A(?P<subject>(?:[^,;:]{1,80}?))\s+(?:should|must|shall|needs? to|ha(?:s|ve) to|ought to|"
    r"is to|are to|will|can only|"
    r"shouldn'?t|mustn'?t|is|are|isn'?t|aren'?t|go(?:es)?|runs?)\s+(?P<rest>.+)\Z",
    re.IGNORECASE | re.DOTALL,
)
_SUBJECT_VERB = re.compile(
    r"\A(?:[Ii]|[Ww]e|[Tt]hey|[Oo]ur team|[Tt]he (?:\w+ ){0,2}?(?:team|client|customer|account|"
    r"company|board|boss|cfo|group)|[A-Z][\w.-]*|(?:[Oo]ur|[Mm]y) (?:\w+ ){0,2}?\w+)"
    r"(?:'d| would)?\s+(?:(?:always|never|usually|generally|only|really|all|much|strongly|would|"
    r"do|also|now|rather|don't|not)\s+){0,3}"
    r"(?P<verb>[a-z]+)\s+(?:to\s+(?:see|have|use|get|be|keep|show|read)\s+)?(?P<rest>.+)\Z",
    re.DOTALL,
)
_TOPIC = re.compile(
    r"\A(?P<prep>for|in|on|with)\s+(?P<topic>[^,;:]{2,60}?)\s*[,:]\s*(?P<rest>\S.+)\Z",
    re.IGNORECASE | re.DOTALL,
)
_TOPIC_PRONOUN = re.compile(
    r"\A(?P<prep>for|in|on|with)\s+(?P<topic>[^,;:]{2,60}?)\s+(?=(?:we|i|please|always|never|use|"
    r"they)\s)(?P<rest>.+)\Z",
    re.IGNORECASE | re.DOTALL,
)
_LABEL = re.compile(r"\A(?P<topic>[^,;:]{2,40}):\s+(?P<rest>\S.*)\Z", re.DOTALL)
_LIGHT = word_set(
    """the a an our my your their all every each any please always never only just not be
    been being to it that this these those also do don't go run it's its strictly simply
    rather now shown displayed presented kept used given expressed written set stated
    rendered put"""
)


@dataclass(frozen=True, slots=True)
class Slots:
    """The parts of one instruction, in the speaker's words; "" for what is not there.

    ``rejected`` is what it says not to use ("X, not Y"); ``core`` is the text without condition,
    reason, cues and the rejected part; ``negated`` says that the instruction itself forbids.
    """

    subject: str = ""
    aspect: str = ""
    value: str = ""
    when: str = ""
    rejected: str = ""
    core: str = ""
    negated: bool = False
    verb: str = ""
    link: str = ""


@lru_cache(maxsize=8192)
def parse(text: str) -> Slots:
    """The slots of a shortened clause. Closed patterns; what they do not fit stays empty."""
    whole = _NOT_FIRST.sub(_turned, glue_repeats(text.replace("\u2019", "'").strip()))
    rest, when = _condition(_REASON.sub("", whole))
    kept, rejected = contrast(_ADJUNCT_FIRST.sub(r"\2 \1", rest))
    core = _trim(STANDING.sub(" ", ONE_OFF.sub(" ", kept)) if _cue_free(kept) else kept)
    subject, value, verb, link = _predicate(core)
    return Slots(
        subject=unglue(_noun(subject))[:120],
        aspect=aspect_of(unglue(value)),
        value=unglue(_noun(value))[:200],
        when=unglue(_trim(when))[:200],
        rejected=unglue(_noun(rejected)),
        core=unglue(core),
        negated=_negated(kept),
        verb=verb,
        link=link,
    )


def _turned(match: re.Match[str]) -> str:
    """ "not X, Y" as "Y, not X" where both answer one question; "not bad, Y" stays."""
    no, yes = match["no"], match["yes"]
    aspect = aspect_of(unglue(no))
    return f"{yes}, not {no}" if aspect and aspect == aspect_of(unglue(yes)) else match[0]


def _cue_free(core: str) -> bool:
    """Cues are taken out only where something is left."""
    left = STANDING.sub(" ", ONE_OFF.sub(" ", core))
    return len(WORD.findall(left)) >= 1


def _condition(text: str) -> tuple[str, str]:
    for pattern in (_WHEN_FIRST, _WHEN_LAST):
        match = pattern.search(text)
        if match is not None:
            rest = (text[: match.start()] + " " + text[match.end() :]).strip()
            if len(rest.split()) >= 2:
                return rest, match[1]
    return text, ""


def _negated(text: str) -> bool:
    return len(_NEGATION.findall(text)) % 2 == 1


def _predicate(core: str) -> tuple[str, str, str, str]:
    """(subject, value, verb, link) of the core."""
    for pattern in (_TOPIC, _TOPIC_PRONOUN):
        topic = pattern.match(core)
        if topic is not None:
            subject, value, verb, link = _predicate(_trim(topic["rest"]))
            if not subject or subject == value:
                return topic["topic"], value or topic["rest"], verb, "be"
            return subject, value, verb, link
    modal = _MODAL.match(core)
    if modal is not None and _plain_noun(modal["subject"]):
        return _after_modal(modal["subject"], modal["rest"])
    verb, rest = _imperative(core)
    if verb:
        return (*_object(rest, verb), verb, _link(rest))
    if modal is not None and _has_noun(modal["subject"]):
        return _after_modal(modal["subject"], modal["rest"])
    norm = _SUBJECT_VERB.match(core)
    if norm is not None and norm["verb"] not in PREPOSITIONS and not _aspect_word(norm["verb"]):
        verb, rest = _own_verb(norm["verb"], norm["rest"])
        return (*_object(rest, verb), verb, _link(rest))
    label = _LABEL.match(core)
    if label is not None:
        return label["topic"], label["rest"], "", "be"
    return (*_object(core, ""), "", _link(core))


def _own_verb(verb: str, rest: str) -> tuple[str, str]:
    """The verb and its object: in "our northwind decks show …" the first word taken is a noun."""
    first, _, after = rest.partition(" ")
    if stem(verb) not in _VERB_OF and first in ALL_VERBS and after:
        return first, after
    return verb, rest


def _after_modal(subject: str, rest: str) -> tuple[str, str, str, str]:
    words = _bare(rest).split()
    verb = _VERB_OF.get(stem(words[0].lower()), "") if len(words) > 1 else ""
    if verb and _aspect_word(words[0]):
        verb = ""
    if verb:
        words = words[1:]
    if len(words) > 1 and words[0].lower() in PREPOSITIONS and words[0].lower() in _DROPPED:
        return subject, " ".join(words[1:]), verb, words[0].lower()
    return subject, " ".join(words), verb, "be"


def _imperative(core: str) -> tuple[str, str]:
    words = core.split()
    index = 0
    while index < len(words) and words[index].lower().strip(",") in _IMPERATIVE_LEADS:
        index += 1
    if index >= len(words):
        return "", ""
    verb = words[index].lower().strip(",.")
    base = next((form for form in _verb_forms(verb) if form in ALL_VERBS), "")
    rest = words[index + 1 :]
    if not base and (index or opens_like_a_verb(verb, rest[0].lower() if rest else "")):
        base = verb if verb.isalpha() and verb not in FUNCTION_WORDS | PREPOSITIONS else ""
    if not base or (verb.endswith("ing") and index == 0):
        return "", ""
    if base == "leave" and rest and rest[0].lower() in {"out", "off"}:
        base, rest = "omit", rest[1:]
    return base, " ".join(rest)


_VERB_OF = {stem(verb): verb for verb in sorted(FRAME_VERBS | ALL_VERBS)}
_DETERMINERS = word_set("the a an all every each any our your")


def opens_like_a_verb(first: str, second: str) -> bool:
    """True for "drain the …": a word of no list before a determiner is taken for a verb."""
    return (
        second in _DETERMINERS
        and first not in FUNCTION_WORDS | PREPOSITIONS
        and first.isalpha()
        and not first.endswith(("s", "ed", "ly"))
    )


def _plain_noun(subject: str) -> bool:
    found = [word.lower() for word in subject.split()]
    return (
        0 < len(found) <= 4
        and not (_PRONOUNS | PREPOSITIONS | _DETERMINERS) & set(found[1:])
        and (not _PRONOUNS & set(found[:1]) and found[0] not in _IMPERATIVE_LEADS)
    )


_IMPERATIVE_LEADS = word_set(
    """always never don't do not please also just only then no more avoid stop to rather must
    should"""
)


def _verb_forms(verb: str) -> tuple[str, ...]:
    if verb.endswith("ing"):
        root = verb[:-3]
        return (root, root + "e", root[:-1])
    return (verb,)


_DROPPED = frozenset({"in", "as", "to", "with", "by"})


def _object(rest: str, verb: str) -> tuple[str, str]:
    """(subject, value) of an object phrase: "charts in dark blue", "dark blue for charts"."""
    words = rest.split()
    while words and words[0].lower().strip(",") in _LIGHT:
        words.pop(0)
    if len(words) > 1 and words[0].lower() in PREPOSITIONS:
        return verb, " ".join(words[1:])
    split = _complement(words)
    if split is None:
        return _modified(words, verb)
    noun, link, complement = words[:split], words[split].lower(), words[split + 1 :]
    if link == "for":
        return _for_phrase(noun, complement, verb)
    if link in {"in", "on"} and _is_answer(noun) and _answers(complement) in {"", "format"}:
        return " ".join(complement), " ".join(noun)
    answer = complement if link in _DROPPED else words[split:]
    return " ".join(noun), " ".join(answer)


def _is_answer(words: list[str]) -> bool:
    """True for a phrase that names no thing: a count, or a colour and its shade."""
    if not words:
        return False
    plain = [word.lower() for word in words]
    return _counts(words[0]) or (
        _aspect_word(plain[-1]) == "colour" and all(word in _SHADES for word in plain[:-1])
    )


def _is_link(word: str, follower: str) -> bool:
    return word in PREPOSITIONS or (word in {"every", "each"} and _counts(follower))


def _answers(words: list[str]) -> str:
    return next((found for word in words if (found := _aspect_word(word))), "")


def _complement(words: list[str]) -> int | None:
    for index in range(1, len(words) - 1):
        if _is_link(words[index].lower(), words[index + 1]):
            return index
    return None


def _for_phrase(noun: list[str], topic: list[str], verb: str) -> tuple[str, str]:
    if _counts(topic[0]):
        return " ".join(noun), " ".join(topic)
    subject, value = _modified(noun, verb)
    if subject and subject != value:
        return subject, value
    return " ".join(topic), " ".join(noun)


def _modified(words: list[str], verb: str) -> tuple[str, str]:
    """A bare phrase: its last word is the thing and the rest the choice, or the other way."""
    if not words:
        return "", ""
    if "of" in words[1:-1]:
        cut = words.index("of", 1)
        return " ".join(words[cut + 1 :]), " ".join(words[:cut])
    if words[-1].lower() in {"one", "ones"} and _aspect_word(words[-2] if words[1:] else ""):
        words = words[:-1]
    if len(words) == 1:
        word = words[0]
        return ("", word) if _aspect_word(word) else (word, word)
    if _counts(words[-1]):
        return " ".join(words[:-1]), words[-1]
    last_is_value = _aspect_word(words[-1])
    first_is_value = any(_aspect_word(word) for word in words[:-1])
    if last_is_value == "colour" and (verb == "use" or words[-2].lower() in _SHADES):
        return " ".join(words[: _shade_start(words)]), " ".join(words[_shade_start(words) :])
    if last_is_value and not first_is_value and verb != "use":
        return " ".join(words[:-1]), words[-1]
    return words[-1], " ".join(words[:-1])


def _counts(word: str) -> bool:
    return word[:1].isdigit() or word.lower() in NUMBER_WORDS


_SHADES = word_set("dark light deep bright pale navy sky royal forest")


def _shade_start(words: list[str]) -> int:
    return len(words) - (2 if words[-2].lower() in _SHADES else 1)


def _aspect_word(word: str) -> str:
    plain = fold_repeats(unglue(word.lower().strip(".,'\"`()")))
    return ASPECT_OF.get(plain, "")


def _link(rest: str) -> str:
    words = [word.lower() for word in rest.split()]
    split = _complement(words)
    return words[split] if split is not None else ""


def aspect_of(value: str) -> str:
    """The property a value answers, from closed families of values; "" when none is known."""
    shortened = abbreviations(value)
    for word in WORD.findall(fold_repeats(value)):
        found = ASPECT_OF.get(word.lower())
        if found:
            return found
        for token in canonical(word):
            if token in ASPECT_OF:
                return ASPECT_OF[token]
            if token in shortened and (aspect := _aspect_begun(token)):
                return aspect
    return ""


@lru_cache(maxsize=1024)
def _aspect_begun(token: str) -> str:
    """The one family that has a word beginning so; "" for none or several."""
    found = {aspect for word, aspect in ASPECT_OF.items() if word.startswith(token)}
    return found.pop() if len(found) == 1 else ""


def _has_noun(subject: str) -> bool:
    return any(word.lower() not in _PRONOUNS for word in subject.split())


_PRONOUNS = word_set(
    """i you he she it we they this that these those there here what which who one"""
)


def _bare(text: str) -> str:
    words = text.split()
    while len(words) > 1 and words[0].lower() in _LIGHT:
        words.pop(0)
    return " ".join(words)


def _noun(text: str) -> str:
    return _bare(text).strip(" ,;:.\u2013—-()\"'") if text else ""


def _trim(text: str) -> str:
    return " ".join(text.split()).strip(" ,;:.\u2013—-")
