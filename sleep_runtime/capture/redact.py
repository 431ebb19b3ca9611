"""Redaction: secrets and personal data become typed placeholders before text leaves the journal.

Every pattern is linear in the text: it starts only where a run of its own characters starts (the
lookbehinds), or its repetitions are bounded. Redacting twice changes nothing. Git hashes, UUIDs,
paths and long identifiers stay, because lessons are about them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

_SECRET = "[secret]"  # noqa: S105 - the placeholder, not a secret
_MAX_PASSES = 8
_TOKEN_START = r"(?<![A-Za-z0-9_-])"  # noqa: S105 - a pattern
_WITH_DIGIT = r"(?=[A-Za-z_-]*[0-9])"


class _Rule(NamedTuple):
    """``hints``: the pattern is tried only where one of these is in the lower-cased text."""

    pattern: re.Pattern[str]
    replace: str | Callable[[re.Match[str]], str]
    hints: tuple[str, ...]


def redact(text: str) -> str:
    """``text`` with ``[secret]``, ``[email]``, ``[iban]``, ``[card]``, ``[ssn]``, ``[phone]``.

    Pure, linear in the length of the text, and idempotent: a placeholder can uncover the start
    of something behind it, so a text that changed is looked at again (at most ``_MAX_PASSES``
    times, which only a text built for it needs).
    """
    for _ in range(_MAX_PASSES):
        redacted = _redact_once(text)
        if redacted == text:
            break
        text = redacted
    return text


def _redact_once(text: str) -> str:
    lowered = text.lower()
    for rule in _RULES:
        if not rule.hints or any(hint in lowered for hint in rule.hints):
            text = rule.pattern.sub(rule.replace, text)
    return text


# ---------------------------------------------------------------------------- secrets

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_URL_LOGIN = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@:]{0,256}:[^\s/@]{1,256}@"
)
_BEARER = re.compile(
    r"(?i)\b(bearer|basic)([ \t]{1,8})(?=[A-Za-z._~+/=-]*[0-9])[A-Za-z0-9._~+/=-]{16,}"
)
# Key formats whose makers gave them a recognisable beginning.
_PREFIXED = re.compile(
    _TOKEN_START + r"(?:"
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|xapp-[A-Za-z0-9-]{10,}"
    rf"|sk-{_WITH_DIGIT}[A-Za-z0-9_-]{{20,}}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|whsec_[A-Za-z0-9]{16,}"
    r"|AIza[A-Za-z0-9_-]{35,}"
    r"|ya29\.[A-Za-z0-9_-]{20,}"
    r"|GOCSPX-[A-Za-z0-9_-]{20,}"
    r"|(?:hf|npm)_[A-Za-z0-9]{30,}"
    r"|pypi-[A-Za-z0-9_-]{50,}"
    r"|eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}"
    r")"
)
_SLACK_HOOK = re.compile(r"(https://hooks\.slack\.com/services/)[A-Za-z0-9_/]{20,}")

_KEY_NAME = (
    r"(?P<name>password|passwd|passphrase|pwd|secret|token|credential"
    r"|(?:api|access|secret|private|auth|encryption|signing)[_ -]?key)"
)
_ASSIGNED = re.compile(
    rf"(?i){_KEY_NAME}"
    r"(?P<sep>(?:\\?[\"'])?[ \t]{0,4}(?::=|=>|=|:|[ ]is(?=[ ]))[ \t]{0,4})"
    # Up to the same quote, or the end of the line where the text was cut.
    r"(?:(?P<quote>\\?[\"'`])(?P<quoted>(?:(?!(?P=quote))[^\n]){4,}+)"
    r"|(?P<bare>[^\s\"'`,;&<>(){}\[\]\\|]{4,}+)(?![(\[]))"
)
# What stands after a name like these in code and documents without being the secret itself.
_REFERENCE = re.compile(
    r"\[secret\]|\$\{|\$\(|\$[A-Z_][A-Z0-9_]*\Z|\{\{|<|\*+\Z|x+\Z|\.{3}"
    r"|(?:os|process|env|self|this|args|config|settings|request|req|ctx|options)[.\[]"
    r"|(?:str|string|bytes|bool|boolean|int|number|any|none|null|undefined|true|false|optional"
    r"|required|missing|invalid|secretstr|wrong|expired|empty|unset|redacted)\b",
    re.IGNORECASE,
)
_PASSWORD_NAMES = ("pass", "pwd")
_MIN_KEY_CHARS = 8


def _assigned(match: re.Match[str]) -> str:
    value = match["quoted"] or match["bare"]
    if not _is_secret(value, match["name"].lower(), match["sep"], quoted=bool(match["quoted"])):
        return match[0]
    return f"{match['name']}{match['sep']}{match['quote'] or ''}{_SECRET}"


def _is_secret(value: str, name: str, separator: str, *, quoted: bool) -> bool:
    """Whether the value of a telling name is the secret, and not code or prose about it."""
    if _REFERENCE.match(value):
        return False
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    if name.startswith(_PASSWORD_NAMES):
        return mixed or "is" not in separator
    return len(value) >= _MIN_KEY_CHARS and (mixed or quoted) and " " not in value


_LONG_RUN = re.compile(r"(?<![A-Za-z0-9])(?:[A-Za-z0-9]{24,})")
_MIN_BITS_PER_CHAR = 3.5
_MIN_DIGITS = 3
_MIN_TURNS = 0.4


def _random_run(match: re.Match[str]) -> str:
    return _SECRET if _looks_random(match[0]) else match[0]


def _looks_random(run: str) -> bool:
    """Letters of both cases and digits in no order: neither a hash in hex nor a name.

    ``turns`` is how often the kind of character changes; base62 noise does at 0.6 of its
    characters, words in camel case at less than half.
    """
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in run]
    if kinds.count("d") < _MIN_DIGITS or "u" not in kinds or "l" not in kinds:
        return False
    turns = sum(a != b for a, b in pairwise(kinds)) / len(run)
    return turns >= _MIN_TURNS and _bits_per_char(run) >= _MIN_BITS_PER_CHAR


def _bits_per_char(run: str) -> float:
    size = len(run)
    return -sum(n / size * math.log2(n / size) for n in Counter(run).values())


# ---------------------------------------------------------------------------- personal data

# Not where a path follows: git@host:repo and user@host:/path name machines, not people.
_EMAIL = re.compile(
    r"(?<![\w.%+-])(?!git@)[\w.%+-]+@(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}(?![\w-]|:[\w~/][\w.~/%+-]*+(?!@))"
    r"(?:[\w.%+-]*@[\w.%+-]*)*+"
)
_IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\w.-])[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}(?![\w-])")
_SSN = re.compile(
    r"(?<![\w-])(?!000|666|9[0-9]{2})[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])"
)
_PHONE = re.compile(
    r"(?:(?<![+])\+[0-9]{1,3}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9](?:[ ./-]?[0-9]){6,12}"
    r"|(?:\([2-9][0-9]{2}\)[ ]?|(?<![\w+.-])(?<![0-9] )[2-9][0-9]{2}([ .-]))"
    r"[2-9][0-9]{2}(?(1)\1|[ .-])[0-9]{4}(?! [0-9])"
    r"|(?<![\w+.-])0[0-9]{2,4}[ /-][0-9]{5,9}"
    r")(?![\w-])"
)
_CARD_LENGTHS = range(13, 20)
_MIN_IBAN_CHARS = 15


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"[ -]", "", match[0])
    return "[card]" if len(digits) in _CARD_LENGTHS and _luhn(digits) else match[0]


def _luhn(digits: str) -> bool:
    """The check digit of payment cards, ISO/IEC 7812-1."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        number = int(char) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def _iban(match: re.Match[str]) -> str:
    """The longest part that passes the check: a word in capitals may have been caught behind."""
    groups = match[0].split(" ")
    for size in range(len(groups), 0, -1):
        if _mod_97("".join(groups[:size])):
            return " ".join(["[iban]", *groups[size:]])
    return match[0]


def _mod_97(account: str) -> bool:
    """The check of ISO 13616: the account, read as one number, is 1 modulo 97."""
    if len(account) < _MIN_IBAN_CHARS:
        return False
    return int("".join(str(int(char, 36)) for char in account[4:] + account[:4])) % 97 == 1


_DIGITS = tuple("0123456789")
_RULES = (
    _Rule(_PEM, _SECRET, ("private key",)),
    _Rule(_URL_LOGIN, rf"\1{_SECRET}@", ("://",)),
    _Rule(_SLACK_HOOK, rf"\1{_SECRET}", ("hooks.slack.com",)),
    _Rule(_BEARER, rf"\1\2{_SECRET}", ("bearer", "basic")),
    _Rule(_PREFIXED, _SECRET, ()),
    _Rule(_ASSIGNED, _assigned, ("pass", "pwd", "secret", "token", "credential", "key")),
    _Rule(_LONG_RUN, _random_run, _DIGITS),
    _Rule(_IBAN, _iban, _DIGITS),
    _Rule(_CARD, _card, _DIGITS),
    _Rule(_SSN, "[ssn]", ("-",)),
    _Rule(_PHONE, "[phone]", _DIGITS),
    _Rule(_EMAIL, "[email]", ("@",)),
)
