"""How the demo shows a day, a night and a morning: plain tables of at most 100 columns."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH = 100
TIERS = ("org", "team", "individual")
EXCERPTS_SHOWN = 3

Json = dict[str, Any]


def make_console() -> Console:
    """A console that stays readable in a pipe and never takes event text for markup."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    probe = Console()
    width = min(WIDTH, probe.width) if probe.is_terminal else WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)


def heading(console: Console, title: str, says: str) -> None:
    """A new part of the story."""
    console.print()
    console.print(Text.assemble((title, "bold cyan"), f"  {says}"))


def table(*columns: str, right: Sequence[str] = (), wide: Sequence[str] = ()) -> Table:
    """An empty table. ``wide`` columns share what is left of the width."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in right else "left",
            ratio=1 if name in wide else None,
            no_wrap=name not in wide,
        )
    made.expand = bool(wide)
    return made


def show(console: Console, body: Table | Text) -> None:
    """Print a block, indented, with an empty line before it."""
    console.print()
    console.print(Padding(body, (0, 0, 0, 2), expand=False))


def show_day(console: Console, events: Sequence[Json]) -> None:
    """Events by kind and person. A second delivery of an event counts once."""
    unique = {event["id"]: event for event in events}.values()
    people = sorted({_person(event) for event in unique})
    cells = Counter((event["kind"], _person(event)) for event in unique)
    numbers = [*people, "all"]
    made = table("kind", *numbers, right=numbers)
    for kind, total in Counter(event["kind"] for event in unique).most_common():
        made.add_row(kind, *(str(cells[kind, who] or "") for who in people), str(total))
    totals = Counter(_person(event) for event in unique)
    made.add_section()
    made.add_row("all", *(str(totals[who]) for who in people), str(len(unique)))
    show(console, made)


def _person(event: Json) -> str:
    return str(event["scope"]["user"])


def show_runs(console: Console, runs: Sequence[Json]) -> None:
    """One line a run: where, why, what came of it."""
    numbers = ("proposed", "rejected", "written")
    made = table("scope", "tier", "trigger", "state", *numbers, right=numbers)
    for item in runs:
        run = item["run"]
        made.add_row(
            run["scope"],
            TIERS[run["scope"].count("/")],
            run["trigger"],
            run["state"],
            str(len(item["proposals"])),
            str(sum(1 for _ in _rejected(item))),
            str(len(item["deltas"])),
        )
    show(console, made)


def _rejected(item: Json) -> Iterable[Json]:
    return (one for one in item["proposals"] if one["critique"]["worth"] != "keep")


def show_left_out(console: Console, runs: Sequence[Json]) -> None:
    """What the Generator and the runs counted, summed over the night, by code."""
    counts: Counter[str] = Counter()
    for item in runs:
        counts.update(item["run"]["counts"])
    words = "  ".join(f"{code} {n:,}" for code, n in sorted(counts.items()) if n)
    if words:
        show(console, Text.assemble(("counted  ", "bold"), words))


def show_rejected(console: Console, runs: Sequence[Json]) -> None:
    """Rejected proposals by reason code, each with one example."""
    groups: dict[str, list[Json]] = {}
    for item in runs:
        for one in _rejected(item):
            groups.setdefault(one["critique"]["code"], []).append(one)
    if not groups:
        show(console, Text("No proposal was rejected."))
        return
    made = table(
        "rejected", "n", "for example", "because", right="n", wide=("for example", "because")
    )
    for code, members in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        first = members[0]
        statement = first["proposal"]["claim"]["statement"]
        made.add_row(code, str(len(members)), statement, first["critique"]["reason"])
    show(console, made)


def show_written(console: Console, runs: Sequence[Json], notes: Sequence[Json]) -> None:
    """Every change with its reason."""
    statements = {note["id"]: note["statement"] for note in notes}
    made = table("scope", "change", "note", "because", wide=("note", "because"))
    for item in runs:
        for delta in item["deltas"]:
            note = statements.get(delta["note_id"], delta["note_id"])
            made.add_row(delta["scope"], delta["kind"], note, delta["reason"])
    if made.row_count:
        show(console, made)
    else:
        show(console, Text("Nothing was written."))


def show_note(console: Console, detail: Json) -> None:
    """A note with what speaks for it."""
    note = detail["note"]
    support = note["support"]
    body = Text.assemble((note["statement"], "bold green"), "\n")
    body.append(
        f"{note['scope']} · {note['kind']} · confidence {note['confidence']:.2f} · "
        f"{_many(support['people'], 'person', 'people')}, "
        f"{_many(support['sessions'], 'session')}, {_many(support['events'], 'event')}"
    )
    excerpts = sorted(detail["excerpts"], key=lambda excerpt: str(excerpt["ts"]))
    for excerpt in excerpts[:EXCERPTS_SHOWN]:
        body.append(
            f"\n  {excerpt['ts'][:16]}  {excerpt['role']}: {_short(excerpt['text'])}", "dim"
        )
    if len(excerpts) > EXCERPTS_SHOWN:
        body.append(f"\n  … and {len(excerpts) - EXCERPTS_SHOWN} more", "dim")
    show(console, body)


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _short(text: str, most: int = 66) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def show_search(console: Console, hits: Sequence[Json]) -> None:
    """What a search gives, best first."""
    made = table("score", "scope", "note", right=("score",), wide=("note",))
    for hit in hits:
        made.add_row(f"{hit['score']:.3f}", hit["note"]["scope"], hit["note"]["statement"])
    show(console, made if hits else Text("Nothing was found."))


def show_context(console: Console, answer: Json) -> None:
    """The prompt text of one compiler."""
    title = f"context, compiler {answer['compiler']}: {answer['tokens']} tokens"
    show(console, Text.assemble((title, "bold"), "\n", answer["text"]))


def show_problems(console: Console, problems: Sequence[str]) -> None:
    """What is wrong, one paragraph each."""
    console.print(f"\n{_many(len(problems), 'problem')}:")
    for problem in problems:
        console.print(
            Padding(Text.assemble(("- ", "bold red"), problem), (0, 0, 0, 2), expand=False)
        )


def show_seconds(console: Console, seconds: dict[str, float]) -> None:
    """How long each part took."""
    parts = "  ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items())
    console.print()
    console.print(f"{parts}  together {sum(seconds.values()):.1f} s")
