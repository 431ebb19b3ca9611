"""Prompt: the worst case, in which an attack is a note's text, and what the compilers make of it.

What counts as breaking out is judged here by other means than the runtime's own: entities and
escapes are decoded, letters folded to plain ones, and what is left is looked at as a model may.
"""

from __future__ import annotations

import html
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from sleep_runtime.core.ports import Compiled, ScoredNote
from sleep_runtime.present.budget import BudgetCompiler
from sleep_runtime.present.markdown import MarkdownCompiler
from sleep_runtime.present.registry import Guarded
from sleep_runtime.stores.context_dir import export
from sleep_runtime.testing.notebook import make_note

OPEN, CLOSE = "<sleep-context>", "</sleep-context>"
_LETTERS = str.maketrans("асеоркхѕіӏт", "aceopkxsilt")
_BRACKETS = str.maketrans("\u2039\u203a\u00ab\u00bb\u27e8\u27e9\u3008\u3009", "<>" * 4)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
_MARK = re.compile(r"[<\[{]\W*s\W*l\W*e\W*e\W*p[\W_]*c\W*o\W*n\W*t\W*e\W*x\W*t")
_TURN = re.compile(
    r"<\||\|>|</|<!|<<|\[/?INST\]|<\s*(?:system|user|assistant|human|tool\w*|think|s|bos|eos|"
    r"start_of_turn|end_of_turn|function\w*)\b",
    re.IGNORECASE,
)
_UNSEEN = frozenset("\u034f\u115f\u1160\u3164\u2800\uffa0") | {
    chr(n) for n in range(0xFE00, 0xFE10)
}


class Rude:
    """Somebody else's compiler, which prints whatever it is given, and fences nothing."""

    name = "rude"

    def compile(self, notes: Sequence[ScoredNote], *, query: str, budget_tokens: int) -> Compiled:  # noqa: ARG002
        """Print every text of every note."""
        claims = [(scored.note.id, scored.note.claim) for scored in notes]
        lines = [f"{c.statement}\n{c.subject}{c.applies_when}{c.about}" for _, c in claims]
        ids = tuple(name for name, _ in claims)
        return Compiled(text="\n".join(lines), notes=ids, compiler=self.name, tokens=1)


def broken_fence(text: str) -> list[str]:
    """In which ways a compiled context is not one fence with harmless text inside."""
    if not text:
        return []
    if not (text.startswith(f"{OPEN}\n") and text.endswith(f"\n{CLOSE}")):
        return ["it is not inside the fence"]
    inside = text.removeprefix(f"{OPEN}\n").removesuffix(f"\n{CLOSE}")
    found = []
    if _MARK.search(_read(inside)):
        found.append("a fence mark stands inside")
    if _TURN.search(inside):
        found.append("a token of a chat template or a closing tag stands inside")
    if any(_unseen(char) for char in inside if char != "\n"):
        found.append("a character that nobody sees stands inside")
    return found


def break_outs(text: str) -> list[str]:
    """How ``text``, as every text of a note in force, gets out of what it is put into."""
    short = text.strip()[:400] or "x"
    note = make_note(
        "note_1", short, subject=short[:120], applies_when=short[:200], value=short[:200],
        about={short[:90]: short[:200]},
    )  # fmt: skip
    notes = [ScoredNote(note=note, score=1.0)]
    found: list[str] = []
    for compiler in (MarkdownCompiler(), BudgetCompiler(), Guarded(Rude())):
        made = compiler.compile(notes, query="", budget_tokens=10_000).text
        found += [f"{compiler.name}: {why}" for why in broken_fence(made)]
        if compiler.name != Rude.name:
            found += [f"{compiler.name}: {why}" for why in _extra_lines(made)]
    return found + _export(short)


def _extra_lines(text: str) -> Iterable[str]:
    lines = text.splitlines()[1:-1]
    if [line for line in lines if not line.startswith(("- ", "## ", "### "))] or len(lines) > 3:
        yield "a line of its own"


def _export(text: str) -> list[str]:
    note = make_note("note_1", text, subject=text[:120], value=text[:200])
    with tempfile.TemporaryDirectory() as home:
        export([note], Path(home))
        (path,) = Path(home).glob("acme/banking/*-*.md")
        lines = path.read_text(encoding="utf-8").split("\n")
    ends = [place for place, line in enumerate(lines) if line.strip() == "---"]
    keys = [line.split(":")[0] for line in lines[1 : ends[1]] if not line.startswith("  - ")]
    twice = len(keys) != len(set(keys)) or any(not key.isidentifier() for key in keys)
    return ["export: front matter is forged"] if ends[:1] != [0] or len(ends) != 2 or twice else []


def _read(text: str) -> str:
    """The text as a reader may take it, who decodes what is encoded and sees what is seen."""
    for _ in range(3):
        text = unquote(html.unescape(text))
    text = _ESCAPE.sub(lambda hit: chr(int(hit[1] or hit[2], 16)), text)
    plain = unicodedata.normalize("NFKD", text)
    seen = (c for c in plain if not _unseen(c) and unicodedata.category(c) != "Mn")
    return "".join(seen).casefold().translate(_LETTERS).translate(_BRACKETS)


def _unseen(char: str) -> bool:
    return char in _UNSEEN or unicodedata.category(char) in {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}
