"""A turn's own prose: what the speaker typed, without code, tables, quotes, traces and reviews."""

from __future__ import annotations

import re

from sleep_runtime.core.redacted import SECRET
from sleep_runtime.engines.text.statement import OMITTED

_ASIDE = re.compile(rf"\s*\([^()\n]*{re.escape(SECRET)}[^()\n]*\)")
_HOLDS_SECRET = re.compile(
    rf"[^\n.!?;,\u2013\u2014]*{re.escape(SECRET)}[^\n.!?;,\u2013\u2014]*[.!?;,\u2013\u2014]*"
)

MAX_PROSE_WORDS = 400
"""A longer turn is pasted material: what a person types to an agent is shorter."""

_MAIL = re.compile(
    r"^\s*(?:-{3,}\s*(?:original|forwarded) message\s*-{3,}|on [^\n]{5,80} wrote:)"
    r".*?(?=\n\s*\n|\Z)",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
"""A mail that is quoted, up to the next empty line."""
_CSV_LINE = re.compile(r"^\s*[^,\n]{1,40}(?:,(?!\s|\d{3}\b)[^,\n]{0,40})+\s*$")
_FENCED = re.compile(r"(?:```|~~~).*?(?:```|~~~|\Z)", re.DOTALL)
_TAGGED = re.compile(r"<([a-z][a-z0-9_-]*)(?:\s[^<>]*)?>.*?(?:</\1>|\Z)", re.DOTALL)
_IMAGE = re.compile(r"\[(?:Image|Request interrupted)[^\]\n]*\]")
_LONG_QUOTE = re.compile(r"\"[^\"\n]{25,}\"|“[^”\n]{25,}”")
_SKIPPED_LINE = re.compile(
    r"\s*(?:[\u2500-\u27bf]|[^\n]*\u00b7[^\n]*\u00b7|>|\||at \S+\(|File \"|Traceback|\$ |"
    r"%\s|#{1,6} |(?:\w+\.)*\w*(?:Error|Exception)\b:?|"
    r"(?://|/\*|\*/|return\s+\S*[(.!])|(?:ba|z|fi|c)?sh: |\S+: command not found|"
    r"\[?\d{1,4}[-/:]\d\d[-/:]\d\d|(?:ERROR|WARN|INFO|DEBUG|FATAL)\b|[-=*_]{3,}\s*$|[+-]{3} |@@ |"
    r"diff --git|\[?\d{1,2}:\d\d(?::\d\d)?\]?\s+\S+)"
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)]|[a-z]\))\s+")
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_CODE_LINE = re.compile(
    r"[{};]\s*$|^\s*(?:from \S+ import\b|def \w+\(|class \w+[:(]|(?:const|let|var)\s+\w+\s*=|"
    r"import [\w.]+\s*$|"
    r"(?:return|raise|yield|del|assert)\s+\S+\s*$|(?:if|for|while|elif|with) .*:\s*$)"
)
_INLINE_BULLET = re.compile(r":\s+-\s+(?=[A-Z])")
_LONG_BULLET = 25
"""Words: people who type a list keep its items shorter; longer ones come from a document."""
_RULE_WORDS = (
    r"rules?|conventions?|always|never|from now on|going forward|guidelines?|remember|standards?"
)
_HANDED_OVER = re.compile(
    rf"^(?!.*\b(?:{_RULE_WORDS})\b)"
    r"[^\n:]*\b(?:fix|address|handl(?:e|es|ing)|resolv(?:e|es|ing)|review(?:ing)?|respond|"
    r"reply|output|findings?|errors?|issues?|logs?)\b[^\n:]*:[ \t]*\n(?=\s*[^\s`~>|<])",
    re.IGNORECASE | re.MULTILINE,
)
"""A line that hands something over ("Fix these:"): what follows it is somebody else's text."""


_GAP = re.compile(r"\n[ \t]*\n\s*")
_LETTER = re.compile(
    r"\s*(?:dear\s+\w[^\n]*,\s*$|(?:from|to|cc|subject|date|sent|re|fwd?)\s*:|-{2,})[^\n]*\n",
    re.IGNORECASE | re.MULTILINE,
)
"""How a letter begins; what follows it in the same turn belongs to it."""
_LISTS_RULES = re.compile(rf"\b(?:{_RULE_WORDS}|please|things?)\b", re.IGNORECASE)
_LEADS_IN = re.compile(r"[:\u2013\u2014-]\s*\Z")
_RECORD = re.compile(
    r"\s*(?:[^\s:]+(?: [^\s:]+)?\s*:\s|\[[ xX]?\]|\d+[.)]\s|[-*\u2022]\s)|\S\s{2,}\S|\t|;\S|\S=\S|"
    r"\d{1,2}[:.]\d\d\b"
)
"""What lines of listings, forms, logs and tables look like."""
_SAYS = re.compile(r"[.!?][\"')\]]*\s*\Z")
_LINE_WORDS = 8
_MOST_LINES = 0.6


def prose(text: str) -> str:
    """What the speaker wrote in their own words, one line a paragraph; "" for pasted documents."""
    kept = _INLINE_BULLET.sub(":\n- ", _without_blocks(_FENCED.sub("\n", text)))
    kept = _own_part(kept)
    kept = _IMAGE.sub(" ", _TAGGED.sub("\n", _MAIL.sub("\n", kept)))
    if len(_HEADING.findall(kept)) > 1:
        return ""
    lines = [_BULLET.sub("", line) for line in kept.split("\n") if not _skipped(line)]
    joined = _without_secrets(_LONG_QUOTE.sub(OMITTED, "\n".join(lines))).strip()
    return joined if len(joined.split()) <= MAX_PROSE_WORDS else ""


def _without_secrets(text: str) -> str:
    """The text without the clauses that hand over a secret: no rule is in them."""
    if SECRET not in text:
        return text
    return _HOLDS_SECRET.sub("", _ASIDE.sub("", text))


def _without_blocks(text: str) -> str:
    """The text without blocks between empty lines that were pasted beside what was typed."""
    blocks = [block for block in _GAP.split(text) if block.strip()]
    if len(blocks) < 2:
        return text
    kept: list[str] = []
    for block in blocks:
        if _LETTER.match(f"{block}\n") and kept:
            break
        announced = bool(kept) and bool(_LEADS_IN.search(kept[-1]))
        if announced or not _pasted(block):
            kept.append(block)
    return "\n\n".join(kept)


def _pasted(block: str) -> bool:
    """True for a letter, a listing, a form or a log: several lines that are no sentences."""
    lines = [line for line in block.split("\n") if line.strip()]
    if len(lines) < 2:
        return False
    if _LETTER.match(block):
        return True
    listed = all(_BULLET.match(line) for line in lines[1:])
    if _LEADS_IN.search(lines[0]) and (listed or _LISTS_RULES.search(lines[0])):
        return False
    short = [line for line in lines if len(line.split()) <= _LINE_WORDS and not _SAYS.search(line)]
    records = [line for line in short if _RECORD.search(line)]
    return len(short) >= _MOST_LINES * len(lines) and (len(records) >= 2 or len(lines) > 2)


def _skipped(line: str) -> bool:
    if _BULLET.match(line) and len(line.split()) > _LONG_BULLET:
        return True
    return bool(_SKIPPED_LINE.match(line) or _CODE_LINE.search(line) or _CSV_LINE.match(line))


def _own_part(text: str) -> str:
    """The text up to where something is handed over."""
    handed = _HANDED_OVER.search(text)
    return text[: handed.end()] if handed else text
