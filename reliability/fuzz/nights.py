"""What a night reads of texts: one event that nobody could distil must not end the night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from reliability.fuzz.shapes import anything, texts
from reliability.fuzz.target import Target
from sleep_runtime.capture.redact import redact
from sleep_runtime.consolidation.generate import observe, prepare
from sleep_runtime.core.event import Event, EventKind, Role, StoredEvent, derive_trust
from sleep_runtime.core.fence import CLOSE, OPEN
from sleep_runtime.core.policy import GeneratePolicy
from sleep_runtime.core.proposal import ClaimPair
from sleep_runtime.core.scope import Scope
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.testing.embedder import HashEmbedder

DAWN = datetime(2026, 11, 22, 9, tzinfo=UTC)
_WORDS = st.lists(
    st.sampled_from(
        (
            *(
                "always",
                "never",
                "from now on",
                "use",
                "not",
                "instead of",
                "USD",
                "the deck",
                "1e9",
            ),
            *(
                ",",
                ".",
                ":",
                ";",
                "(",
                '"',
                "`",
                "\n",
                "- ",
                "# ",
                "=",
                "->",
                "'s",
                "…",
                "💥",
                "\u0301",
            ),
            *(
                OPEN,
                CLOSE,
                "```",
                "<system-reminder>",
                "https://a.b/c?d=e",
                "a@b.c",
                "+41 44 668 18 00",
            ),
        )
    ),
    max_size=30,
).map(" ".join)
_REPEATED = st.tuples(
    st.sampled_from(("always ", "not ", "a, ", "use x. ", "(", '"', "- a\n", "1.", "x=y ", "and ")),
    st.sampled_from((10, 300, 2_000)),
).map(lambda given: given[0] * given[1])
_TURNS = st.lists(
    st.tuples(
        st.sampled_from(list(EventKind)),
        st.sampled_from(list(Role)),
        _WORDS | texts | _REPEATED,
        st.dictionaries(st.sampled_from(("account", "é", "x")), texts.map(lambda text: text[:500])),
        st.dictionaries(st.sampled_from(("note", "helpful", "x")), anything(1)),
    ),
    max_size=5,
)


@cache
def _engine() -> ExtractiveEngine:
    return ExtractiveEngine(HashEmbedder())


def _night(turns: list[tuple[EventKind, Role, str, dict[str, str], dict[str, Any]]]) -> None:
    events = [
        StoredEvent(
            seq=place + 1,
            event=Event(
                id=f"e{place}",
                ts=DAWN + timedelta(minutes=place),
                scope=Scope("acme/banking/ana"),
                session="s",
                kind=kind,
                role=role,
                text=text,
                about=about,
                data=data,
            ),
            trust=derive_trust(role),
            received_at=DAWN,
        )
        for place, (kind, role, text, about, data) in enumerate(turns)
    ]
    policy = GeneratePolicy()
    prepared = prepare(events, {}, redact=redact, policy=policy)
    engine = _engine()
    distilled = engine.distil(prepared.sessions)
    claims = []
    for session, found in zip(prepared.sessions, distilled, strict=True):
        observe(session, found, policy=policy)
        claims += [draft.claim for draft in found.drafts]
    pairs = [
        ClaimPair(key=str(place), left=left, right=right)
        for place, (left, right) in enumerate(pairwise(claims))
    ]
    assert len(engine.compare(pairs)) == len(pairs)


NIGHTS = Target("nights", _TURNS, _night, (), within_s=20.0)
