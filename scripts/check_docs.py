"""Checks what the documentation claims: links, commands, settings and files that it names."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.main

from sleep_runtime.cli.main import app
from sleep_runtime.config import leaf_keys, load

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^(?:\$ )?sleep-runtime ((?:[a-z][a-z-]* ?){1,2})", re.MULTILINE)
SCRIPT = re.compile(r"(?:^|[\s`])(scripts/[a-z_-]+(?:\.py)?)\b")
SETTING = re.compile(
    r"`((?:http|auth|journal|engine|index|search|compiler|ray|scheduler|log|policy)\.[a-z_.]+)`"
)

# Files and counts of a run that look like settings.
NO_SETTINGS = {
    "auth.token_refused",
    "journal.sqlite",
    "ledger.sqlite",
    "engine.compare_problem",
    "engine.distil_problem",
}


def main() -> int:
    """Print every false claim; exit 1 when there is one."""
    problems = [problem for page in pages() for problem in check(page)]
    for problem in problems:
        print(problem, file=sys.stderr)
    for name in ("local", "gpu", "cluster"):
        load(ROOT / "configs" / f"{name}.yaml", environ={})
    print(f"docs: {len(pages())} pages, {len(problems)} problems", file=sys.stderr)
    return 1 if problems else 0


def pages() -> list[Path]:
    """README, CHANGELOG, everything under docs and the READMEs of examples and cluster."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").rglob("*.md")),
        *sorted((ROOT / "cluster").rglob("*.md")),
    ]


def check(page: Path) -> Iterator[str]:
    """What is wrong on one page, a line each."""
    text = page.read_text(encoding="utf-8")
    where = page.relative_to(ROOT)
    for target in LINK.findall(text):
        if "://" not in target and not (page.parent / target).exists():
            yield f"{where}: links to {target}, which does not exist"
    for words in COMMAND.findall(text):
        if not known_command(words.split()):
            yield f"{where}: there is no command `sleep-runtime {words.strip()}`"
    for script in SCRIPT.findall(text):
        if not (ROOT / script).exists():
            yield f"{where}: there is no {script}"
    keys = leaf_keys()
    for name in SETTING.findall(text):
        if name in NO_SETTINGS:
            continue
        if not any(key == name or key.startswith(name + ".") for key in keys):
            yield f"{where}: there is no setting {name}"


def known_command(words: list[str]) -> bool:
    """True when the words start with a command, or a group and one of its commands."""
    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    first = commands.get(words[0])
    if first is None:
        return False
    below = getattr(first, "commands", None)
    return below is None or len(words) < 2 or words[1] in below


if __name__ == "__main__":
    sys.exit(main())
