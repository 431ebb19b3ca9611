"""Write the trail of the earnings deck: events in the order of arrival, and the gold answers.

    python examples/earnings_deck/generate.py --seed 7 --days 4 --out examples/earnings_deck

Standard library only. The same seed and days give the same bytes; another seed gives other
figures, other noise and other words for the same lessons. ``events.ndjson`` holds native events,
one a line; ``gold.json`` says what a night must and must not make of them (see ``check.py``).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import lines
import papers
from lines import Line

FIRST_DAY = datetime(2026, 11, 16, tzinfo=UTC)
SESSIONS_A_DAY = 2
MIN_DAYS, MAX_DAYS = 2, 14
LATE_SHARE = 0.05


class Say(NamedTuple):
    """One turn before it has a time and a name. ``marks`` names the lessons it speaks for."""

    role: str
    kind: str
    text: str
    data: dict[str, Any]
    marks: tuple[str, ...] = ()


class Sent(NamedTuple):
    """An event, when it arrives, and the lessons it speaks for."""

    arrives: datetime
    event: dict[str, Any]
    marks: tuple[str, ...]


def human(line: Line, *marks: str) -> Say:
    """A person's turn, with the lessons it says."""
    return Say("human", line.kind, line.text, {}, marks)


def asks(text: str) -> Say:
    """A person's plain message that teaches nothing."""
    return Say("human", "message", text, {})


def agent(text: str) -> Say:
    """A message of the agent."""
    return Say("agent", "message", text, {})


def call(tool: str, **args: Any) -> Say:
    """The agent calls a tool."""
    words = " ".join(f"{name}={value}" for name, value in args.items())
    return Say("agent", "tool_call", f"{tool} {words}".strip(), {"tool": tool, "args": args})


def result(tool: str, text: str, *, ok: bool = True) -> Say:
    """What a tool returned, or the error it ended with."""
    kind = "tool_result" if ok else "error"
    return Say("tool", kind, text, {"tool": tool, "ok": ok})


class Desk:
    """One seed's company and the random stream of one session at it."""

    def __init__(self, seed: int, name: str) -> None:
        self.rng = Random(f"{seed}:{name}")
        self.books = papers.make_books(Random(f"{seed}:books"))

    def narrate(self) -> Say:
        rng = self.rng
        n = rng.randrange(6)
        text = rng.choice(lines.NARRATION).format(
            file=papers.file_name(rng),
            n=rng.randrange(2, 9),
            segment=rng.choice(papers.SEGMENTS),
            small=f"{rng.uniform(0.1, 0.4):.1f}",
            slide=rng.randrange(2, 16),
            pct=f"{rng.uniform(1, 9):.1f}",
            ebitda=self.books.ebitda[n],
            addback=self.books.addback[n],
        )
        return agent(text)

    def noise(self) -> list[Say]:
        """A piece of work that teaches nothing: two to five turns."""
        work = self.rng.choice(
            (self.open_filing, self.open_sheet, self.search, self.retrieve, self.crash, self.shell)
        )
        turns = work()
        if self.rng.random() < 0.35:
            turns.append(self.narrate())
        return turns

    def open_filing(self) -> list[Say]:
        path = papers.file_name(self.rng)
        read = papers.transcript if "call" in path else papers.filing
        return [call("open_file", path=path), result("open_file", read(self.rng, self.books))]

    def open_sheet(self) -> list[Say]:
        rng = self.rng
        sheet = rng.choice(("segments", "bridge", "peers"))
        table = {
            "segments": lambda: papers.segment_csv(rng, self.books),
            "bridge": lambda: papers.bridge_csv(rng, self.books),
            "peers": lambda: papers.peers_csv(rng),
        }[sheet]()
        rows = rng.randrange(20, 400)
        return [call("read_sheet", sheet=sheet, rows=rows), result("read_sheet", table)]

    def search(self) -> list[Say]:
        rng = self.rng
        what = rng.choice(("covenant", "restructuring", "outlook", "leases", "pallet pooling"))
        hits = "\n".join(
            f"{papers.file_name(rng)}:{rng.randrange(3, 900)}: "
            f"{rng.choice(papers.SEGMENTS)} {what} {rng.uniform(1, 90):.1f}"
            for _ in range(rng.randrange(1, 5))
        )
        return [call("search_files", query=f"northwind {what}"), result("search_files", hits)]

    def retrieve(self) -> list[Say]:
        rng = self.rng
        hits = [
            {"doc": papers.file_name(rng), "score": round(rng.uniform(0.3, 0.9), 3)}
            for _ in range(rng.randrange(2, 5))
        ]
        query = f"{rng.choice(papers.SEGMENTS).lower()} {rng.choice(papers.QUARTERS)}"
        text = papers.filing(rng, self.books)
        return [Say("tool", "retrieval", text, {"query": query, "hits": hits})]

    def crash(self) -> list[Say]:
        trace = papers.traceback(self.rng)
        step = f"build_{self.rng.choice(('slide', 'table', 'chart'))}"
        retry = call(step, attempt=2)
        done = result(step, f"ok, {self.rng.randrange(200, 4000)} ms")
        return [call(step, attempt=1), result(step, trace, ok=False), retry, done]

    def shell(self, hint: str = "") -> list[Say]:
        text = "\n".join(filter(None, (papers.listing(self.rng), hint)))
        return [call("shell", command="ls -l working_copy"), result("shell", text)]

    def chart(self, basis: str) -> list[Say]:
        n = self.rng.randrange(1, 6)
        path = f"charts/waterfall_{self.rng.randrange(100, 999)}.png"
        args = {"type": "waterfall", "basis": basis, "until": papers.QUARTERS[n]}
        return [
            call("draw_chart", **args),
            result("draw_chart", f"{path} {self.rng.randrange(20, 90)} kB, 7 bars"),
        ]

    def lesson_ebitda(self, line: Line) -> list[Say]:
        n = self.rng.randrange(2, 6)
        reported, adjusted = self.books.ebitda[n], self.books.adjusted(n)
        slide = self.rng.randrange(3, 9)
        return [
            agent(
                self.rng.choice(lines.FILLED_IN).format(
                    slide=slide, ebitda=reported, quarter=papers.QUARTERS[n]
                )
            ),
            human(line, "adjusted-ebitda"),
            call("update_table", slide=slide, row="EBITDA", value=adjusted),
            agent(self.rng.choice(lines.CHANGED).format(slide=slide, value=adjusted)),
        ]

    def lesson_waterfall(self, line: Line) -> list[Say]:
        slide = self.rng.randrange(6, 14)
        drawn = agent(self.rng.choice(lines.DRAWN).format(slide=slide))
        redo = self.chart("qoq")
        return [
            *self.chart("yoy"),
            drawn,
            human(line, "waterfall-qoq"),
            *redo,
            agent(self.rng.choice(lines.REDRAWN).format(slide=slide)),
        ]

    def lesson_both(self, line: Line) -> list[Say]:
        n = self.rng.randrange(2, 6)
        return [
            *self.chart("yoy"),
            agent(f"The draft is complete: EBITDA {self.books.ebitda[n]}m, waterfall by year."),
            human(line, "adjusted-ebitda", "waterfall-qoq"),
            *self.chart("qoq"),
            agent(f"Both changed. The page total is {self.books.adjusted(n)}m."),
        ]

    def lesson_colour(self, line: Line) -> list[Say]:
        drawn = call("draw_chart", type="bars", colour=self.rng.choice(("grey", "green", "orange")))
        return [drawn, human(line, "dark-blue"), agent("Changed, here it is again.")]

    def one_off(self, text: str) -> list[Say]:
        slide = self.rng.randrange(3, 15)
        done = self.rng.choice(("Done for this copy.", "OK.", "Done.", f"Done, see slide {slide}."))
        return [asks(text), agent(done)]

    def planted(self) -> list[Say]:
        page = f"{papers.filing(self.rng, self.books)} {lines.PLANTED}"
        return [
            call("fetch", url="https://ir.northwind.example/releases/latest"),
            result("fetch", page),
            agent("The page also holds a text addressed to assistants. I did not act on it."),
        ]


Block = tuple[str, Any]
"""What happens: the name of a ``Desk`` method, or "ask" or "fenced", and what is said in it."""

Plan = dict[tuple[str, int], list[Block]]
"""The blocks of each session, by analyst and number."""


def make_plan(seed: int, sessions: int) -> Plan:
    """Deal the lessons, one-offs, mentions and traps to the sessions."""
    rng = Random(f"{seed}:plan")
    plan: Plan = {(who, n): [] for who in lines.ANALYSTS for n in range(sessions)}
    for who in lines.ANALYSTS:
        _deal_lessons(rng, plan, who, sessions)
        for text, n in zip(
            rng.sample(lines.SLIDE_NINE, 3), rng.sample(range(sessions), 3), strict=True
        ):
            plan[who, n].append(("one_off", text))
    for n, line in zip(
        sorted(rng.sample(range(sessions), 2)), rng.sample(lines.DARK_BLUE, 2), strict=True
    ):
        plan["ana", n].append(("lesson_colour", line))
    _deal_rest(rng, plan)
    return plan


def _deal_lessons(rng: Random, plan: Plan, who: str, sessions: int) -> None:
    """Two or three sessions for each convention; the turn that says both counts for both."""
    both = rng.randrange(sessions)
    plan[who, both].append(("lesson_both", rng.choice(lines.BOTH[who])))
    others = [n for n in range(sessions) if n != both]
    for name, pool in (("lesson_ebitda", lines.EBITDA), ("lesson_waterfall", lines.WATERFALL)):
        count = rng.randrange(1, 3)
        spoken = rng.sample(pool[who], count)
        for n, line in zip(rng.sample(others, count), spoken, strict=True):
            plan[who, n].append((name, line))


def _deal_rest(rng: Random, plan: Plan) -> None:
    """Every other request is dealt once: what is said twice would be a lesson."""
    keys = sorted(plan)
    for text in lines.ONE_OFFS:
        plan[rng.choice(keys)].append(("one_off", text))
    for text in lines.MENTION:
        plan[rng.choice(keys)].append(("ask", asks(text)))
    for text in lines.FIXES:
        plan[rng.choice(keys)].append(("ask", human(Line("correction", text))))
    for text in (*lines.TASKS, *lines.QUESTIONS):
        plan[rng.choice(keys)].append(("ask", asks(text)))
    for hint in lines.HINTS:
        for key in rng.sample(keys, 4):
            plan[key].append(("shell", hint))
    plan[rng.choice(keys)].append(("planted", None))
    for key in rng.sample(keys, 2):
        plan[key].append(("fenced", None))


def session_turns(desk: Desk, who: str, blocks: Sequence[Block]) -> list[Say]:
    """One session: prompt, opening, the planned blocks with noise between them, an end."""
    rng = desk.rng
    names = [name for name, _ in blocks]
    turns = _opening(desk, who, fenced="fenced" in names)
    planned = [block for block in blocks if block[0] != "fenced"]
    rng.shuffle(planned)
    for name, value in planned:
        turns += desk.noise()
        turns += _block(desk, name, value)
    for _ in range(rng.randrange(1, 4)):
        turns += desk.noise()
    if rng.random() < 0.7:
        turns.append(asks(rng.choice(lines.THANKS)))
    return turns


def _opening(desk: Desk, who: str, *, fenced: bool) -> list[Say]:
    rng = desk.rng
    opening = rng.choice(lines.OPENINGS).format(
        quarter=papers.QUARTERS[-1], page=rng.choice(lines.PAGES), hour=f"{rng.randrange(1, 6)}pm"
    )
    prompt = lines.SYSTEM_PROMPT.format(path=f"/share/northwind/{who}_{rng.randrange(999):03}.pptx")
    return [
        Say("system", "message", prompt, {}),
        asks((lines.FENCED if fenced else "") + opening),
    ]


def _block(desk: Desk, name: str, value: Any) -> list[Say]:
    if name == "ask":
        return [value, desk.narrate()]
    if name == "planted":
        return desk.planted()
    block: list[Say] = getattr(desk, name)(value)
    return block


def research_turns(desk: Desk, line: Line | None) -> list[Say]:
    """Another team's afternoon, which has nothing to do with the account."""
    rng = desk.rng
    ratio = f"{rng.uniform(0.2, 0.9):.3f}"
    turns = [
        asks(rng.choice(("go on with the survey", "Which papers are still unread?"))),
        call("search_papers", query=f"retrieval pruning {rng.randrange(2021, 2027)}"),
        result("search_papers", f"{rng.randrange(3, 60)} found, best score {ratio}"),
        agent(f"I added {rng.randrange(2, 6)} papers to the reading list."),
    ]
    if line is not None:
        turns += [human(line, "preprint-version"), agent("Changed in the list.")]
    turns += [
        call("run_notebook", cell=rng.randrange(3, 40)),
        result("run_notebook", papers.traceback(rng), ok=False),
        asks(rng.choice(("run it again tomorrow, the cluster is busy", "ok, later then"))),
    ]
    return turns


class Clerk:
    """Gives turns their names and times, and decides when each of them arrives."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(f"{seed}:clerk")

    def file(
        self, turns: Sequence[Say], *, scope: str, session: str, start: datetime, about: str
    ) -> Iterator[Sent]:
        at = start
        offline = self.rng.random() < 0.06
        org, team, user = scope.split("/")
        key, _, value = about.partition("=")
        for turn in turns:
            at += timedelta(milliseconds=self.rng.randrange(1_500, 95_000))
            event = {
                "id": f"evt-{self.rng.getrandbits(64):016x}",
                "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "scope": {"org": org, "team": team, "user": user},
                "session": session,
                "agent": "deck-builder" if team == "banking" else "reader",
                "kind": turn.kind,
                "role": turn.role,
                "text": turn.text,
                "about": {key: value},
                "data": turn.data,
            }
            yield Sent(at + self._delay(offline=offline), event, turn.marks)

    def _delay(self, *, offline: bool) -> timedelta:
        """Most arrive at once, some minutes late; a laptop that was offline sends hours later."""
        if offline:
            return timedelta(hours=11, seconds=self.rng.randrange(600))
        if self.rng.random() < LATE_SHARE:
            return timedelta(seconds=self.rng.randrange(60, 5_400))
        return timedelta(milliseconds=self.rng.randrange(5, 400))


def make_trail(seed: int, days: int) -> list[Sent]:
    """Every event of the trail in the order of arrival, one of them delivered twice."""
    clerk = Clerk(seed)
    plan = make_plan(seed, days * SESSIONS_A_DAY)
    sent: list[Sent] = []
    for who, n in sorted(plan):
        turns = session_turns(Desk(seed, f"{who}:{n}"), who, plan[who, n])
        start = _start(clerk.rng, n)
        sent += clerk.file(
            turns,
            scope=f"{lines.TEAM}/{who}",
            session=f"{who}-{start:%m%d}-{n % SESSIONS_A_DAY + 1}",
            start=start,
            about=f"account={lines.ACCOUNT}",
        )
    sent += _research(seed, days, clerk)
    sent.sort(key=lambda item: (item.arrives, item.event["id"]))
    again = clerk.rng.randrange(20, len(sent) - 60)
    sent.insert(again + clerk.rng.randrange(5, 40), sent[again])
    return sent


def _start(rng: Random, session: int) -> datetime:
    day, half = divmod(session, SESSIONS_A_DAY)
    return FIRST_DAY + timedelta(days=day, minutes=rng.randrange(515, 600) + 290 * half)


def _research(seed: int, days: int, clerk: Clerk) -> Iterator[Sent]:
    rng = Random(f"{seed}:research")
    said = [*rng.sample(lines.PREPRINT, 2), None]
    for n in range(3):
        start = _start(clerk.rng, min(n, days - 1) * SESSIONS_A_DAY) + timedelta(hours=n)
        yield from clerk.file(
            research_turns(Desk(seed, f"research:{n}"), said[n]),
            scope=f"acme/research/{lines.RESEARCHER}",
            session=f"{lines.RESEARCHER}-survey-{n + 1}",
            start=start,
            about="project=survey",
        )


def make_gold(seed: int, days: int, sent: Sequence[Sent]) -> dict[str, Any]:
    """What the night must make of these events, with the ids of the turns that say it."""
    lessons = []
    for lesson in lines.LESSONS:
        said = [item.event for item in sent if lesson["id"] in item.marks]
        lessons.append(
            {
                **lesson,
                "people": sorted({event["scope"]["user"] for event in said}),
                "sessions": len({event["session"] for event in said}),
                "evidence": sorted({event["id"] for event in said}),
            }
        )
    return {
        "seed": seed,
        "days": days,
        "deliveries": len(sent),
        "events": len({item.event["id"] for item in sent}),
        "nothing_else": True,
        "lessons": lessons,
        "must_not": list(lines.MUST_NOT),
    }


def write(seed: int, days: int, out: Path) -> tuple[Path, Path]:
    """Write ``events.ndjson`` and ``gold.json`` into ``out``, which is made when it is missing."""
    sent = make_trail(seed, days)
    rows = [json.dumps(item.event, ensure_ascii=False, separators=(",", ":")) for item in sent]
    gold = json.dumps(make_gold(seed, days, sent), ensure_ascii=False, indent=2)
    out.mkdir(parents=True, exist_ok=True)
    events_path, gold_path = out / "events.ndjson", out / "gold.json"
    events_path.write_bytes(("\n".join(rows) + "\n").encode())
    gold_path.write_bytes((gold + "\n").encode())
    return events_path, gold_path


def _days(text: str) -> int:
    days = int(text)
    if not MIN_DAYS <= days <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{days} is not between {MIN_DAYS} and {MAX_DAYS}")
    return days


def main() -> None:
    """Read the arguments, write the two files, say where they are."""
    parser = argparse.ArgumentParser(description="Write the earnings deck's trail and gold.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--days", type=_days, default=4, help=f"{MIN_DAYS} to {MAX_DAYS}")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    args = parser.parse_args()
    for path in write(args.seed, args.days, args.out):
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
