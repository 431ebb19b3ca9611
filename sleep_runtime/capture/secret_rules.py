"""What a secret looks like: by its maker's prefix, by the name before it, or by its disorder."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

from sleep_runtime.capture.masking import Rule
from sleep_runtime.core.redacted import SECRET

_PEM = re.compile(
    r"----[- ]BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?[- ]----"
    r".*?(?:----[- ]END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?[- ]----|\Z)",
    re.DOTALL,
)
_PUTTY = re.compile(r"PuTTY-User-Key-File-[0-9].*?(?:Private-MAC: [0-9a-f]{1,80}|\Z)", re.DOTALL)
_URL_LOGIN = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@:]{0,256}:[^\s/@]{1,256}@"
)
_SLACK_HOOK = re.compile(r"(https://hooks\.slack\.com/services/)[A-Za-z0-9_/]{20,}")


def _value(match: re.Match[str], text: str) -> str:
    """The text of the group ``value`` as it was written."""
    return text[match.start("value") : match.end("value")]


def _masked(match: re.Match[str], text: str) -> str:
    """The match with its group ``value`` masked."""
    return f"{text[match.start() : match.start('value')]}{SECRET}"


# ---------------------------------------------------------------------------- by its place

_AUTHORIZATION = re.compile(
    r"\b(?:authorization(?:\\?[\"'])?[ \t]{0,4}[:=][ \t]{0,4}(?:\\?[\"'])?"
    r"(?:(?:basic|bearer|token|apikey|digest)[ \t]{1,4})?|(?:bearer|basic)[ \t]{1,8})"
    r"(?P<value>[a-z0-9._~+/=-]{12,})"
)
_FLAG = re.compile(
    r"(?<![a-z0-9-])--?(?:[a-z0-9]{1,20}-){0,3}"
    r"(?:password|passwd|passphrase|token|secret|(?:api|access|secret|auth|private)-?key)"
    r"[ \t]{1,4}(?:\\?[\"'])?(?P<value>[^\s\"'`<>{}$\[\](),;\\-][^\s\"'`<>\\]{3,})"
)
_USER_FLAG = re.compile(
    r"(?<![a-z0-9-])(?:-u|--user)[ =]{1,3}(?:\\?[\"'])?[^\s:\"'@/\\]{1,64}:"
    r"(?P<value>[^\s\"'@\\]{3,128})"
)
_MYSQL_FLAG = re.compile(
    r"\bmysql\w{0,10}\b[^\n]{0,120}?[ ]-p(?P<value>[^\s\"'\\-][^\s\"'\\]{3,64})"
)
_QUERY = re.compile(
    r"[?&](?:sig|signature|x-amz-signature|x-amz-security-token|x-goog-signature|auth|code|key)="
    r"(?P<value>[^\s\"'&<>\\]{16,})"
)
_ELEMENT = re.compile(
    r"<[a-z0-9_:.-]{0,24}(?:password|passwd|pwd|secret|token|api_?-?key|access_?-?key)"
    r"[a-z0-9_-]{0,12}>(?P<value>[^<>\n\[]{4,200})(?=</)"
)


def _if_mixed(match: re.Match[str], text: str) -> str:
    return _masked(match, text) if _is_mixed(_value(match, text)) else match_text(match, text)


def _if_header(match: re.Match[str], text: str) -> str:
    """Base64 of a short login may lack digits, but is never in one case; a word after it is."""
    value = _value(match, text)
    one_case = value.islower() or value.isupper() or value.istitle()
    secret = any(c.isdigit() for c in value) or not one_case
    return _masked(match, text) if secret else match_text(match, text)


def _if_password(match: re.Match[str], text: str) -> str:
    value = _value(match, text)
    idle = value.isdigit() or _REFERENCE.match(value)
    return match_text(match, text) if idle else _masked(match, text)


def match_text(match: re.Match[str], text: str) -> str:
    """What a match covers, as it was written."""
    return text[match.start() : match.end()]


def _is_mixed(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


# ---------------------------------------------------------------------------- by its name

_ASSIGNED = re.compile(
    r"(?P<name>password|passwd|passphrase|pwd|(?<=[_-])pass|secret[_ -]?key|secret|token|credential"
    r"|(?:api|access|private|auth|encryption|signing|account|master|service|storage)[_ -]?key)"
    r"(?P<sep>(?:\\?[\"'])?\]?[ \t]{0,4}(?::=|=>|=|:|[ ]is(?=[ ]))[ \t]{0,4})"
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


def _assigned(match: re.Match[str], text: str) -> str:
    group = "bare" if match["quoted"] is None else "quoted"
    value = text[match.start(group) : match.end(group)]
    if not _is_secret(value, match["name"], match["sep"], quoted=group == "quoted"):
        return match_text(match, text)
    return f"{text[match.start() : match.start(group)]}{SECRET}"


def _is_secret(value: str, name: str, separator: str, *, quoted: bool) -> bool:
    """Whether the value of a telling name is the secret, and not code or prose about it."""
    if _REFERENCE.match(value):
        return False
    mixed = _is_mixed(value)
    if name.startswith(_PASSWORD_NAMES):
        return mixed or "is" not in separator
    return len(value) >= _MIN_KEY_CHARS and (mixed or quoted) and " " not in value


# ---------------------------------------------------------------------------- by its shape

# Every run of the characters tokens are made of, long enough to be one; dotted parts included.
_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_-]{5,})*")
_WITH_DIGIT = r"(?=[A-Za-z_-]*[0-9])"
# Key formats whose makers gave them a recognisable beginning.
_KNOWN = re.compile(
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|A3T[A-Z0-9]{17}(?![A-Za-z0-9])|gh[pousr]_[A-Za-z0-9_]{20}|github_pat_[A-Za-z0-9_]{20}"
    r"|gl(?:pat|dt|rt|cbt|ptt|soat|ft|agent|imt|oas)-[A-Za-z0-9_-]{16}"
    r"|GR1348941[A-Za-z0-9_-]{16}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10}|xapp-[A-Za-z0-9-]{10}"
    rf"|sk-{_WITH_DIGIT}[A-Za-z0-9_-]{{20}}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{12}|whsec_[A-Za-z0-9]{14}"
    r"|AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{20}"
    r"|(?:hf|npm|gsk|sbp|ntn|r8|glsa|glc|figd|phx|sntry[su]|rubygems)_[A-Za-z0-9_-]{24}"
    r"|(?:pypi|xai|pplx|nvapi|PMAK|NRAK|tskey)-[A-Za-z0-9_-]{24}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{40}|lin_api_[A-Za-z0-9]{24}|pscale_(?:tkn|pw)_[A-Za-z0-9_-]{24}"
    r"|shp(?:at|ss|ca|pa)_[a-f0-9]{24}|do[opr]_v1_[a-f0-9]{32}|dckr_pat_[A-Za-z0-9_-]{20}"
    r"|dapi[a-f0-9]{32}|SK[a-f0-9]{32}(?![A-Za-z0-9])|sq0[a-z]{3}-[A-Za-z0-9_-]{20}"
    r"|AKCp[A-Za-z0-9]{40}|AT[AC]TT3[A-Za-z0-9_-]{40}|[a-f0-9]{32}-us[0-9]{1,2}\Z"
    r"|[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}"
    r"|eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}"
)
# What stands right before a token and makes it a secret: dotted prefixes, a bot's number, a code.
_BEFORE = re.compile(
    r"(?:\b(?:SG|hv[sbr]|ya29|dp\.(?:pt|st|ct|sa))\.|\b[0-9]{8,10}:(?=AA)|\b[14]//?(?=0))"
)
_BEFORE_CHARS = 12
# Names of things, random by nature and no secrets.
_PUBLIC_ID = re.compile(
    r"(?:toolu|msg|req|call|resp|run|thread|asst|step|batch|file|price|prod|cus|sub|pi|pm|evt|in"
    r"|acct|ch|cs|si|txn|user|org|proj|team|pk_test|pk_live|chatcmpl)[_-](?:[0-9]{2})?[A-Za-z0-9]+\Z"
)
# A digest in hex, with the lines that a diff link adds to it.
_DIGEST = re.compile(r"[0-9a-f]{32,}(?:[LR][0-9]{1,6})*\Z")
_MIN_RANDOM_CHARS = 24
_MIN_BITS_PER_CHAR = 3.5
_MIN_DIGITS = 3
_MIN_TURNS = 0.4
_WORD_CHARS = 3


def _token(match: re.Match[str], text: str) -> str:
    token = match[0]
    if _KNOWN.match(token) or _is_announced(match, text):
        return SECRET
    if _PUBLIC_ID.match(token):
        return token
    return _without_random(token)


def _is_announced(match: re.Match[str], text: str) -> bool:
    before = text[max(0, match.start() - _BEFORE_CHARS) : match.start()]
    if not before or before[-1] not in ".:/":
        return False
    found = _BEFORE.search(before + match[0][:2])
    return found is not None and found.end() == len(before)


_PIECE = re.compile(r"[A-Za-z0-9]+")


def _without_random(token: str) -> str:
    """From the first random piece on, up to where words follow it again."""
    pieces = list(_PIECE.finditer(token))
    first = next((at for at, piece in enumerate(pieces) if _looks_random(piece[0])), None)
    if first is None:
        return token
    last = len(pieces) - 1
    while last > first and _is_word(pieces[last][0]):
        last -= 1
    return f"{token[: pieces[first].start()]}{SECRET}{token[pieces[last].end() :]}"


def _is_word(piece: str) -> bool:
    return len(piece) >= _WORD_CHARS and piece.isalpha() and (piece.islower() or piece.istitle())


def _looks_random(run: str) -> bool:
    """Letters of both cases and digits in no order: neither a digest in hex nor a name.

    ``turns`` is how often the kind of character changes; base62 noise does at 0.6 of its
    characters, words in camel case at less than half.
    """
    if len(run) < _MIN_RANDOM_CHARS or _DIGEST.match(run):
        return False
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in run]
    if kinds.count("d") < _MIN_DIGITS or "u" not in kinds or "l" not in kinds:
        return False
    turns = sum(a != b for a, b in pairwise(kinds)) / len(run)
    return turns >= _MIN_TURNS and _bits_per_char(run) >= _MIN_BITS_PER_CHAR


def _bits_per_char(run: str) -> float:
    size = len(run)
    return -sum(n / size * math.log2(n / size) for n in Counter(run).values())


_FLAG_HINTS = ("-password", "-passwd", "-passphrase", "-token", "-secret", "-key", "key ")
_NAME_HINTS = ("pass", "pwd", "secret", "token", "credential", "key")
# By name first: a rule by shape would leave the ends of a value in base64 behind.
SECRET_RULES = (
    Rule(_PEM, SECRET, ("private key",)),
    Rule(_PUTTY, SECRET, ("putty-user-key-file",)),
    Rule(_URL_LOGIN, rf"\1{SECRET}@", ("://",)),
    Rule(_SLACK_HOOK, rf"\1{SECRET}", ("hooks.slack.com",)),
    Rule(_AUTHORIZATION, _if_header, ("authorization", "bearer", "basic"), folded=True),
    Rule(_ASSIGNED, _assigned, _NAME_HINTS, folded=True),
    Rule(_FLAG, _if_mixed, _FLAG_HINTS, folded=True),
    Rule(_USER_FLAG, _if_password, ("curl",), folded=True),
    Rule(_MYSQL_FLAG, _if_password, ("mysql",), folded=True),
    Rule(
        _QUERY, _if_mixed, ("sig=", "signature=", "token=", "auth=", "code=", "key="), folded=True
    ),
    Rule(_ELEMENT, _if_password, ("</",), folded=True),
    Rule(_TOKEN, _token),
)
