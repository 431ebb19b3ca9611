"""What the tools of the trail return: a fictional company's books and the noise around them.

Everything is drawn from the ``random.Random`` that is passed in, so a seed fixes every figure.
Money is in millions of euro.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

QUARTERS = ("Q2 2025", "Q3 2025", "Q4 2025", "Q1 2026", "Q2 2026", "Q3 2026")
SEGMENTS = ("Packaging", "Cold Chain", "Logistics", "Services")
TOWNS = ("Gdynia", "Ghent", "Aarhus", "Porto")
PEERS = ("Halden Group", "Marwick Freight", "Oslofjord Pack", "Tiber Cold Store", "Vantaa Pallet")


class Books(NamedTuple):
    """Six quarters of one company. Every list is as long as ``QUARTERS``."""

    revenue: list[float]
    ebitda: list[float]
    addback: list[float]
    shares: list[float]

    def adjusted(self, quarter: int) -> float:
        return round(self.ebitda[quarter] + self.addback[quarter], 1)


def make_books(rng: Random) -> Books:
    """Draw one company."""
    base = rng.uniform(380, 460)
    revenue = [round(base * (1 + 0.018 * n) + rng.uniform(-14, 14), 1) for n in range(6)]
    ebitda = [round(value * rng.uniform(0.15, 0.19), 1) for value in revenue]
    addback = [round(rng.uniform(2.5, 9.5), 1) for _ in revenue]
    cuts = [rng.uniform(0.8, 1.4) for _ in SEGMENTS]
    return Books(revenue, ebitda, addback, [cut / sum(cuts) for cut in cuts])


def filing(rng: Random, books: Books) -> str:
    """An extract of a 10-K or 10-Q, a page number in front."""
    n = rng.randrange(1, 6)
    change = (books.revenue[n] / books.revenue[n - 1] - 1) * 100
    paragraphs = (
        (
            f"Net sales for {QUARTERS[n]} were EUR {books.revenue[n]}m, {change:+.1f}% against the "
            f"previous quarter, with price contributing {rng.uniform(0.2, 2.4):.1f} points."
        ),
        (
            f"Reported EBITDA was EUR {books.ebitda[n]}m. "
            f"Restructuring of {books.addback[n]}m relates to the closure of {rng.choice(TOWNS)}."
        ),
        "Readers should always read this section together with the audited statements.",
        (
            f"Capital expenditure amounted to EUR {rng.uniform(18, 44):.1f}m, of which "
            f"{rng.randrange(30, 70)}% went into automation."
        ),
        (
            f"The Company has {rng.randrange(2, 7)} facilities with covenants tested each quarter; "
            f"leverage stood at {rng.uniform(1.4, 2.9):.2f}x."
        ),
        (
            f"Item 1A. Demand for {rng.choice(SEGMENTS).lower()} depends on harvests and on "
            "freight rates. A prolonged disruption could materially affect our results."
        ),
        (
            f"Working capital moved by EUR {rng.uniform(-22, 19):+.1f}m, mainly receivables "
            f"(days sales outstanding {rng.randrange(41, 58)})."
        ),
    )
    chosen = rng.sample(paragraphs, rng.randrange(2, 5))
    return f"[page {rng.randrange(12, 140)}] " + " ".join(chosen)


def segment_csv(rng: Random, books: Books) -> str:
    """Sales and EBITDA by segment for two or three quarters."""
    rows = ["quarter,segment,net_sales,reported_ebitda"]
    for n in sorted(rng.sample(range(6), rng.randrange(2, 4))):
        for share, segment in zip(books.shares, SEGMENTS, strict=True):
            margin = rng.uniform(0.11, 0.22)
            sales = books.revenue[n] * share
            rows.append(f"{QUARTERS[n]},{segment},{sales:.1f},{sales * margin:.1f}")
    return "\n".join(rows)


def bridge_csv(rng: Random, books: Books) -> str:
    """From reported to adjusted EBITDA: both words stand in a table that decides nothing."""
    n = rng.randrange(2, 6)
    rows = [
        "line,amount",
        f"Reported EBITDA {QUARTERS[n]},{books.ebitda[n]}",
        f"Restructuring,{books.addback[n] * 0.7:.1f}",
        f"Transaction costs,{books.addback[n] * 0.3:.1f}",
        f"Adjusted EBITDA {QUARTERS[n]},{books.adjusted(n)}",
        f"Leases,{rng.uniform(-9, -4):.1f}",
    ]
    return "\n".join(rows)


def peers_csv(rng: Random) -> str:
    """Multiples of three to five peers, with gaps."""
    rows = ["peer,ev_sales,ev_ebitda,growth_yoy"]
    for peer in rng.sample(PEERS, rng.randrange(3, 6)):
        gap = rng.random() < 0.2
        growth = "" if gap else f"{rng.uniform(-4, 11):.1f}%"
        rows.append(f"{peer},{rng.uniform(0.6, 2.2):.2f},{rng.uniform(5, 12):.1f},{growth}")
    return "\n".join(rows)


def transcript(rng: Random, books: Books) -> str:
    """A few words of an earnings call, polite imperatives included."""
    n = rng.randrange(2, 6)
    speaker = rng.choice(("CFO", "CEO", "Operator", "Analyst"))
    said = (
        f"our margin of {books.ebitda[n] / books.revenue[n] * 100:.1f}% is where we want it to be",
        f"we keep the guidance and expect {rng.choice(SEGMENTS).lower()} to recover by spring",
        "please hold your second question until everybody had a first one",
        f"net debt came down by {rng.uniform(3, 30):.0f} million, helped by the sale of two sites",
        "next question please, and do keep it to one",
    )
    return f"{speaker}: " + "; ".join(rng.sample(said, 2)) + "."


def traceback(rng: Random) -> str:
    """A stack trace as a notebook kernel prints it, with one of several endings."""
    line = rng.randrange(40, 400)
    ending = rng.choice(
        (
            f"KeyError: 'net_sales_{rng.choice(('eur', 'usd', 'adj'))}'",
            f"ValueError: could not convert string to float: '({rng.uniform(1, 90):.1f})'",
            "TimeoutError: warehouse did not answer within 30 s",
            f"IndexError: index {rng.randrange(6, 30)} is out of bounds for axis 0 with size 6",
            "PermissionError: [Errno 13] Permission denied: '/share/northwind/model.xlsx'",
        )
    )
    module = rng.choice(("segments", "bridge", "loader", "ticks", "layout"))
    return (
        "Traceback (most recent call last):\n"
        f'  File "/srv/decks/{module}.py", line {line}, in build\n'
        f"    frame = load_{module}(path, sheet={rng.randrange(0, 6)})\n"
        f'  File "/srv/decks/io.py", line {line // 3}, in load_{module}\n'
        f"    return parse(raw[{rng.randrange(2, 90)}:])\n"
        f"{ending}"
    )


def listing(rng: Random) -> str:
    """A directory as ``ls -l`` shows it."""
    names = ("model", "segments", "peers", "deck", "notes", "ticks", "export")
    rows = [
        f"-rw-r--r-- 1 deck deck {rng.randrange(900, 900_000):>7} Nov "
        f"{rng.randrange(2, 16):>2} {rng.randrange(7, 20):02}:{rng.randrange(60):02} "
        f"{name}_v{rng.randrange(1, 30)}.{rng.choice(('xlsx', 'csv', 'pptx', 'md'))}"
        for name in rng.sample(names, rng.randrange(3, 6))
    ]
    return "\n".join(rows)


def file_name(rng: Random) -> str:
    """The name of one of the account's files."""
    quarter = rng.choice(QUARTERS).replace(" ", "_").lower()
    stem = rng.choice(("northwind_10q_", "northwind_10k_", "northwind_call_", "segments_"))
    return f"{stem}{quarter}.{rng.choice(('pdf', 'htm', 'csv', 'txt'))}"
