"""A journal against a list: appends, duplicates, conflicts, refusals, crashes, every way to read.

Subclass ``JournalMachine`` with an ``open`` and hand it to ``run_machine``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sleep_runtime.core.errors import Overloaded, StoreError
from sleep_runtime.core.event import StoredEvent
from sleep_runtime.core.journal import AppendResult, JournalRow, ScopeHead
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.contracts.journal import ANA, BEN, END, OTHER, JournalPair, row

TEAM = Scope("acme/banking")
NOBODY = Scope("initech")
SCOPES = (ANA, BEN, OTHER, TEAM)
IDS = tuple("abcdef")
SESSIONS = ("s1", "s2")

_scopes = st.sampled_from(SCOPES)
_rows = st.builds(
    row,
    st.sampled_from(IDS),
    _scopes,
    text=st.sampled_from(("one", "two")),
    session=st.sampled_from(SESSIONS),
    tokens=st.integers(0, 3),
)
_batches = st.lists(_rows, max_size=5)


class Kept(NamedTuple):
    """One event that the journal acked as new."""

    row: JournalRow
    received_at: datetime


class JournalMachine(RuleBasedStateMachine):
    """What was acked is there, once, in order, whatever happens between."""

    most: int | None = None
    """How many rows at once are refused; None: no number is."""
    keeps = False
    """Whether it can be opened again, by ``reopen`` and ``crash``."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Kept] = []
        self.known: dict[tuple[str, str], bytes] = {}
        self.journal = self.open()

    # ------------------------------------------------------------------ what a backend gives

    def open(self) -> JournalPair:
        """A new, empty journal."""
        raise NotImplementedError

    def reopened(self) -> JournalPair:
        """The same journal, closed and opened again."""
        raise NotImplementedError

    def crashed(self, garbage: bytes) -> JournalPair:
        """The journal as a machine that lost its power finds it, ``garbage`` after its end."""
        raise NotImplementedError

    def together(self, batches: Sequence[Sequence[JournalRow]]) -> Sequence[object]:
        """An answer for each of the batches, handed in at once."""
        return [self.journal.writer.append(rows) for rows in batches]

    # ------------------------------------------------------------------ the model

    def expect(self, rows: Sequence[JournalRow]) -> AppendResult:
        """Take the batch into the model; the answer that is due."""
        accepted = duplicates = 0
        conflicts: list[int] = []
        for place, one in enumerate(rows):
            key = (one.scope.partition("/")[0], one.id)
            if key not in self.known:
                self.known[key] = one.digest
                self.kept.append(Kept(one, self.journal.clock.now()))
                accepted += 1
            elif self.known[key] == one.digest:
                duplicates += 1
            else:
                conflicts.append(place)
        return AppendResult(accepted=accepted, duplicates=duplicates, conflicts=tuple(conflicts))

    def _of(self, scope: Scope) -> list[Kept]:
        return [one for one in self.kept if one.row.scope == str(scope)]

    # ------------------------------------------------------------------ writing

    @initialize(rows=_batches)
    def begin(self, rows: list[JournalRow]) -> None:
        self.append(rows)

    @rule(rows=_batches)
    def append(self, rows: list[JournalRow]) -> None:
        answer = self.journal.writer.append(rows)
        assert answer == self.expect(rows)

    @rule(batches=st.lists(_batches, min_size=1, max_size=3))
    def append_together(self, batches: list[list[JournalRow]]) -> None:
        answers = self.together(batches)
        assert answers == [self.expect(rows) for rows in batches]

    @precondition(lambda self: self.most is not None)
    @rule(rows=_batches)
    def append_too_many(self, rows: list[JournalRow]) -> None:
        assert self.most is not None
        try:
            self.journal.writer.append([*rows, *[row("z")] * (self.most + 1 - len(rows))])
        except Overloaded:
            return
        raise AssertionError("more than may wait was taken")

    @precondition(lambda self: self.keeps)
    @rule(good=_batches, bad=_batches, place=st.integers(0, 5))
    def one_batch_cannot_be_written(
        self, good: list[JournalRow], bad: list[JournalRow], place: int
    ) -> None:
        """It fails alone and leaves nothing; those that share its commit are kept."""
        spoiled = [*bad[:place], row("z")._replace(ts_us=1 << 70), *bad[place:]]
        first, failed, last = self.together([good, spoiled, good])
        assert isinstance(failed, StoreError)
        assert [first, last] == [self.expect(good), self.expect(good)]

    @rule(seconds=st.integers(1, 1000))
    def time_passes(self, seconds: int) -> None:
        self.journal.clock.advance(seconds)

    @precondition(lambda self: self.keeps)
    @rule()
    def reopen(self) -> None:
        self.journal = self.reopened()

    @precondition(lambda self: self.keeps)
    @rule(garbage=st.binary(max_size=60))
    def crash(self, garbage: bytes) -> None:
        self.journal = self.crashed(garbage)

    # ------------------------------------------------------------------ reading

    def _all(self, scope: Scope) -> list[StoredEvent]:
        return self.journal.reader.read(scope, after=0, upto=END, limit=1000)

    @rule(scope=_scopes, start=st.integers(0, 9), end=st.integers(0, 9), limit=st.integers(0, 9))
    def read_a_range(self, scope: Scope, start: int, end: int, limit: int) -> None:
        """Between the positions of two events of any scopes, half open."""
        seqs = sorted(stored.seq for each in SCOPES for stored in self._all(each))
        places = [0, *seqs, END]
        after, upto = places[start % len(places)], places[end % len(places)]
        found = self.journal.reader.read(scope, after=after, upto=upto, limit=limit)
        assert found == [s for s in self._all(scope) if after < s.seq <= upto][:limit]

    @rule(scope=_scopes, session=st.sampled_from(SESSIONS), place=st.integers(0, 9))
    def read_before(self, scope: Scope, session: str, place: int) -> None:
        stored = self._all(scope)
        seq = stored[place % len(stored)].seq if stored else END
        found = self.journal.reader.before(scope, session, seq=seq, limit=2)
        same = [s for s in stored if s.event.session == session and s.seq < seq]
        assert found == same[-2:]

    @rule(scope=_scopes, wanted=st.lists(st.sampled_from((*IDS, "z")), max_size=6))
    def look_up(self, scope: Scope, wanted: list[str]) -> None:
        found = self.journal.reader.events(scope.org, wanted)
        org = str(scope.org)
        mine = [one.row for one in self.kept if one.row.scope.partition("/")[0] == org]
        assert [s.event.id for s in found] == [one.id for one in mine if one.id in wanted]

    @rule(skipped=st.integers(0, 4), limit=st.integers(0, 4))
    def list_heads(self, skipped: int, limit: int) -> None:
        heads = self._heads()
        after = heads[skipped - 1].last_seq if 0 < skipped <= len(heads) else 0
        later = [head for head in heads if head.last_seq > after]
        assert self.journal.reader.heads(after=after, limit=limit) == later[:limit]

    def _heads(self) -> list[ScopeHead]:
        found = [head for scope in SCOPES if (head := self.journal.reader.head(scope))]
        return sorted(found, key=lambda head: head.last_seq)

    @invariant()
    def everything_acked_is_there(self) -> None:
        seqs: dict[tuple[str, str], int] = {}
        for scope in SCOPES:
            stored, kept = self._all(scope), self._of(scope)
            assert [(s.event.id, s.event.session, s.received_at) for s in stored] == [
                (one.row.id, one.row.session, one.received_at) for one in kept
            ]
            assert [s.trust.value for s in stored] == [one.row.trust for one in kept]
            seqs |= {(str(scope), s.event.id): s.seq for s in stored}
        order = [seqs[one.row.scope, one.row.id] for one in self.kept]
        assert order == sorted(set(order)), "positions follow the order of arrival, each once"
        assert self.journal.reader.last_seq() == max(order, default=0)

    @invariant()
    def heads_and_counts_agree(self) -> None:
        reader = self.journal.reader
        assert reader.count() == len(self.kept)
        for scope in SCOPES:
            head, kept = reader.head(scope), self._of(scope)
            if not kept:
                assert head is None
                continue
            assert head == ScopeHead(
                scope=scope,
                last_seq=self._all(scope)[-1].seq,
                events=len(kept),
                tokens=sum(one.row.tokens for one in kept),
                received_at=kept[-1].received_at,
            )
        orgs = {one.row.scope.partition("/")[0] for one in self.kept}
        for scope in (*SCOPES, NOBODY):
            assert reader.knows(scope) == (str(scope.org) in orgs)

    def teardown(self) -> None:
        self.journal.writer.close()
