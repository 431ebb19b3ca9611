"""What every journal promises. Subclass in a test and give it a ``journal`` fixture."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.event import Event, EventKind, Role, Trust
from sleep_runtime.core.ids import canonical_json
from sleep_runtime.core.journal import AppendResult, JournalRow
from sleep_runtime.core.ports import JournalReader, JournalWriter
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.clock import ManualClock

ANA = Scope("acme/banking/ana")
BEN = Scope("acme/banking/ben")
OTHER = Scope("globex/banking/ana")
END = 1 << 62
_THEN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


class JournalPair(NamedTuple):
    """A writer, a reader of the same journal, and the clock the writer was given."""

    writer: JournalWriter
    reader: JournalReader
    clock: ManualClock


def row(
    event_id: str,
    scope: Scope = ANA,
    *,
    text: str = "use adjusted EBITDA",
    session: str = "s1",
    tokens: int = 5,
    at: datetime = _THEN,
) -> JournalRow:
    """A small valid row."""
    event = Event(
        id=event_id,
        ts=at,
        scope=scope,
        session=session,
        kind=EventKind.MESSAGE,
        role=Role.HUMAN,
        text=text,
    )
    body = canonical_json(event.model_dump(mode="json")).encode()
    return JournalRow(
        id=event_id,
        scope=str(scope),
        session=session,
        ts_us=int(at.timestamp() * 1_000_000),
        kind=event.kind.value,
        role=event.role.value,
        trust=event.trust.value,
        digest=hashlib.blake2b(body, digest_size=16).digest(),
        body=body,
        tokens=tokens,
    )


def ids(reader: JournalReader, scope: Scope = ANA) -> list[str]:
    """The ids of all events of one scope, in the order of arrival."""
    return [s.event.id for s in reader.read(scope, after=0, upto=END, limit=1_000_000)]


class JournalContract:
    """Run by pytest in a subclass named ``Test...`` that has a ``journal`` fixture."""

    def test_an_acknowledged_event_is_read_back_whole(self, journal: JournalPair) -> None:
        text = 'ünïcode ✓ "quoted"\nNUL \x00 \U0001f600'
        answer = journal.writer.append([row("a", text=text, session="s\x00 1")])
        assert answer == AppendResult(accepted=1, duplicates=0)
        (stored,) = journal.reader.read(ANA, after=0, upto=END, limit=10)
        assert (stored.event.id, stored.event.text, stored.event.scope) == ("a", text, ANA)
        assert (stored.event.session, stored.event.ts, stored.trust) == (
            "s\x00 1",
            _THEN,
            Trust.HUMAN,
        )
        assert stored.received_at == journal.clock.now()

    def test_an_empty_batch_is_acknowledged(self, journal: JournalPair) -> None:
        assert journal.writer.append([]) == AppendResult(accepted=0, duplicates=0)
        assert journal.reader.count() == 0

    def test_the_same_event_again_is_a_duplicate(self, journal: JournalPair) -> None:
        journal.writer.append([row("a"), row("b")])
        answer = journal.writer.append([row("b"), row("c"), row("a")])
        assert answer == AppendResult(accepted=1, duplicates=2)
        assert ids(journal.reader) == ["a", "b", "c"]

    def test_an_id_with_other_content_conflicts_and_the_first_stays(
        self, journal: JournalPair
    ) -> None:
        journal.writer.append([row("a", text="first")])
        answer = journal.writer.append([row("b"), row("a", text="second"), row("c")])
        assert answer == AppendResult(accepted=2, duplicates=0, conflicts=(1,))
        assert journal.reader.events(ANA, ["a"])[0].event.text == "first"

    def test_ids_repeated_within_one_batch_are_noticed(self, journal: JournalPair) -> None:
        batch = [row("a"), row("a"), row("b"), row("a", text="other"), row("a", BEN)]
        answer = journal.writer.append(batch)
        assert answer == AppendResult(accepted=2, duplicates=1, conflicts=(3, 4))
        assert ids(journal.reader) == ["a", "b"]
        assert ids(journal.reader, BEN) == []

    def test_two_organisations_may_use_one_id(self, journal: JournalPair) -> None:
        answer = journal.writer.append([row("a"), row("a", OTHER, text="theirs")])
        assert answer.accepted == 2
        assert [s.event.scope for s in journal.reader.events(OTHER, ["a"])] == [OTHER]

    def test_order_is_arrival_not_the_event_time(self, journal: JournalPair) -> None:
        journal.writer.append([row("late", at=_THEN)])
        journal.writer.append([row("early", at=_THEN - timedelta(days=900))])
        stored = journal.reader.read(ANA, after=0, upto=END, limit=10)
        assert [s.event.id for s in stored] == ["late", "early"]
        assert stored[0].seq < stored[1].seq

    def test_received_at_is_the_clock_of_the_writer(self, journal: JournalPair) -> None:
        journal.writer.append([row("a")])
        journal.clock.advance(3600.25)
        journal.writer.append([row("b")])
        first, second = journal.reader.read(ANA, after=0, upto=END, limit=10)
        assert second.received_at - first.received_at == timedelta(seconds=3600.25)

    def test_read_is_of_exactly_one_scope_and_half_open(self, journal: JournalPair) -> None:
        journal.writer.append([row(f"a{n}") for n in range(5)])
        journal.writer.append([row("b", BEN), row("o", OTHER), row("t", Scope("acme/banking"))])
        seqs = [s.seq for s in journal.reader.read(ANA, after=0, upto=END, limit=10)]
        part = journal.reader.read(ANA, after=seqs[0], upto=seqs[3], limit=10)
        assert [s.event.id for s in part] == ["a1", "a2", "a3"]
        assert len(journal.reader.read(ANA, after=seqs[0], upto=seqs[3], limit=2)) == 2
        assert journal.reader.read(ANA, after=seqs[3], upto=seqs[1], limit=10) == []
        assert ids(journal.reader, Scope("acme/banking")) == ["t"]
        assert ids(journal.reader, Scope("acme")) == []

    def test_before_gives_the_end_of_a_session(self, journal: JournalPair) -> None:
        journal.writer.append([row(f"a{n}") for n in range(4)] + [row("x", session="s2")])
        journal.writer.append([row("y", BEN), row("a4")])
        last = journal.reader.events(ANA, ["a4"])[0].seq
        found = journal.reader.before(ANA, "s1", seq=last, limit=2)
        assert [s.event.id for s in found] == ["a2", "a3"]
        assert len(journal.reader.before(ANA, "s1", seq=last, limit=99)) == 4
        assert journal.reader.before(ANA, "s1", seq=1, limit=5) == []
        assert journal.reader.before(ANA, "nobody", seq=last, limit=5) == []

    def test_events_are_looked_up_within_one_organisation(self, journal: JournalPair) -> None:
        journal.writer.append([row(f"a{n}") for n in range(1200)] + [row("o", OTHER)])
        wanted = [f"a{n}" for n in range(1199, -1, -1)]
        found = journal.reader.events(ANA, [*wanted, "a7", "unknown", "o"])
        assert [s.event.id for s in found] == [f"a{n}" for n in range(1200)]
        assert journal.reader.events(ANA, []) == []

    def test_heads_count_what_was_accepted(self, journal: JournalPair) -> None:
        journal.writer.append([row("a", tokens=3), row("b", BEN, tokens=4)])
        journal.writer.append([row("a", tokens=3), row("c", tokens=5), row("b", text="no")])
        head = journal.reader.head(ANA)
        assert head is not None
        assert (head.scope, head.events, head.tokens) == (ANA, 2, 8)
        assert head.last_seq == journal.reader.events(ANA, ["c"])[0].seq
        assert journal.reader.head(OTHER) is None
        assert journal.reader.knows(ANA)
        assert not journal.reader.knows(Scope("nobody"))
        assert journal.reader.count() == 3

    def test_heads_after_a_position_come_by_their_last_event(self, journal: JournalPair) -> None:
        journal.writer.append([row("a"), row("b", BEN), row("o", OTHER)])
        journal.writer.append([row("a2")])
        heads = journal.reader.heads(after=0, limit=10)
        assert [head.scope for head in heads] == [BEN, OTHER, ANA]
        assert journal.reader.heads(after=0, limit=2) == heads[:2]
        assert journal.reader.heads(after=heads[0].last_seq, limit=10) == heads[1:]
        assert journal.reader.heads(after=heads[-1].last_seq, limit=10) == []

    def test_the_last_position_is_known(self, journal: JournalPair) -> None:
        assert journal.reader.last_seq() == 0
        journal.writer.append([row("a"), row("b", BEN)])
        journal.writer.append([row("a"), row("b", BEN, text="no"), row("o", OTHER)])
        (last,) = journal.reader.events(OTHER, ["o"])
        assert journal.reader.last_seq() == last.seq, "positions may be left out, never counted"
        assert max(head.last_seq for head in journal.reader.heads(after=0, limit=9)) == last.seq

    def test_concurrent_callers_each_get_their_own_answer(self, journal: JournalPair) -> None:
        def call(n: int) -> AppendResult:
            return journal.writer.append([row(f"own-{n}"), row("shared"), row(f"own-{n}")])

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(call, range(64)))
        assert sum(answer.accepted for answer in answers) == 65
        assert all(answer.accepted + answer.duplicates == 3 for answer in answers)
        assert journal.reader.count() == 65

    def test_a_closed_journal_refuses(self, journal: JournalPair) -> None:
        journal.writer.append([row("a")])
        journal.writer.close()
        journal.writer.close()
        with pytest.raises(StoreError, match="closed"):
            journal.writer.append([row("b")])
        assert ids(journal.reader) == ["a"]
