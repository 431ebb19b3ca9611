"""Notes, their revisions, vectors and marks against dictionaries: every ledger, the fake as well.

Subclass ``NotesMachine`` with an ``open`` and a ``write``, and hand it to ``run_machine``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import LedgerReader, LedgerWriter, Mark, NoteVector
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.contracts.ledger_bench import ANA, ORG, T0, TEAM, note

SCOPES = (ANA, TEAM, ORG)
NOTES = {f"n{place}": SCOPES[place % 3] for place in range(6)}
STATUSES = tuple(NoteStatus)

_names = st.sampled_from(sorted(NOTES))
_scope_lists = st.lists(st.sampled_from(SCOPES), max_size=3, unique=True)


class NotesMachine(RuleBasedStateMachine):
    """Whatever was written is there at every instant since; nothing else is."""

    reader: LedgerReader
    writer: LedgerWriter

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.chains: dict[str, list[Note]] = {}
        self.vectors: dict[str, NoteVector] = {}
        self.marks: dict[str, int] = {}
        self.generation = 0
        self.versions = dict.fromkeys(SCOPES, 0)
        self.open()

    # ------------------------------------------------------------------ what a backend gives

    def open(self) -> None:
        """Set ``reader`` and ``writer`` to those of a new, empty ledger."""
        raise NotImplementedError

    def write(self, scope: Scope, notes: Sequence[Note]) -> None:
        """What a night of the scope commits, at ``now``."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Open it again, if it keeps anything."""

    # ------------------------------------------------------------------ writing

    @rule(seconds=st.integers(0, 2))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(
        names=st.sets(_names, min_size=1), statuses=st.lists(st.sampled_from(STATUSES), min_size=6)
    )
    def commit(self, names: set[str], statuses: list[NoteStatus]) -> None:
        """The next revision of each note, by one night for each of their scopes."""
        for scope in SCOPES:
            mine = [name for name in sorted(names) if NOTES[name] == scope]
            made = [self._next(name, status) for name, status in zip(mine, statuses, strict=False)]
            if made:
                self.write(scope, made)
                self._grew(scope)
            for one in made:
                self.chains.setdefault(one.id, []).append(one)
                self.marks[one.id] = one.revision

    def _next(self, name: str, status: NoteStatus) -> Note:
        revision = len(self.chains.get(name, ())) + 1
        return note(name, scope=NOTES[name], revision=revision, status=status, at=self.now)

    def _grew(self, scope: Scope) -> None:
        newest = self.reader.versions([scope])[scope]
        assert newest > self.versions[scope]
        self.versions[scope] = newest

    @rule(name=_names, vector=st.binary(min_size=4, max_size=4))
    def store_vector(self, name: str, vector: bytes) -> None:
        """Of the newest wording; of a note nobody knows it is not kept."""
        revision = len(self.chains.get(name, ())) or 1
        made = NoteVector(note_id=name, revision=revision, model="mini", vector=vector)
        self.writer.store_vectors([made])
        if name in self.chains:
            self.vectors[name] = made
            self._grew(NOTES[name])

    @rule(name=_names, lag=st.integers(-1, 1))
    def clear_mark(self, name: str, lag: int) -> None:
        """Only a mark of this revision or an older one goes."""
        upto = len(self.chains.get(name, ())) - lag
        due = name in self.marks and self.marks[name] <= upto
        assert self.writer.clear_marks([Mark(note_id=name, revision=upto)]) == int(due)
        if due:
            del self.marks[name]

    @rule(more=st.integers(0, 1))
    def mark_all_and_flip(self, more: int) -> None:
        self.generation += more
        assert self.writer.mark_all(generation=self.generation) == len(self.chains)
        self.marks = {name: chain[-1].revision for name, chain in self.chains.items()}
        self.writer.flip_generation(self.generation)

    @rule()
    def open_again(self) -> None:
        self.reopen()

    # ------------------------------------------------------------------ reading

    @rule(
        scopes=st.none() | _scope_lists,
        within=st.none() | st.sampled_from(SCOPES),
        statuses=st.none() | st.lists(st.sampled_from(STATUSES), max_size=3, unique=True),
        back=st.none() | st.integers(0, 6),
        limit=st.none() | st.integers(0, 4),
        after=st.just("") | _names,
    )
    def look(
        self,
        scopes: list[Scope] | None,
        within: Scope | None,
        statuses: list[NoteStatus] | None,
        back: int | None,
        limit: int | None,
        after: str,
    ) -> None:
        as_of = None if back is None else self.now - timedelta(seconds=back)
        found = self.reader.notes(
            scopes, within=within, statuses=statuses, as_of=as_of, limit=limit, after=after
        )
        due = [
            one
            for one in self._known(as_of)
            if one.id > after
            and (scopes is None or one.scope in scopes)
            and (within is None or within.covers(one.scope))
            and (statuses is None or one.status in statuses)
        ]
        assert found == due[:limit]

    def _known(self, as_of: datetime | None) -> list[Note]:
        """The newest revisions by that instant, by id."""
        chains = [
            [one for one in chain if as_of is None or one.recorded_at <= as_of]
            for _, chain in sorted(self.chains.items())
        ]
        return [chain[-1] for chain in chains if chain]

    @rule(scope=st.sampled_from(SCOPES), limit=st.integers(0, 3), after=st.just("") | _names)
    def page_a_segment(self, scope: Scope, limit: int, after: str) -> None:
        rows = self.reader.segment(scope, limit=limit, after=after)
        due = [one for one in self._active(scope) if one.id > after][:limit]
        assert [(row.note_id, row.revision) for row in rows] == [(n.id, n.revision) for n in due]
        vectors = [self.vectors[n.id].vector if n.id in self.vectors else b"" for n in due]
        assert [row.vector for row in rows] == vectors

    def _active(self, scope: Scope) -> list[Note]:
        known = self._known(None)
        return [n for n in known if n.scope == scope and n.status is NoteStatus.ACTIVE]

    @rule(names=st.lists(_names, max_size=4, unique=True))
    def look_up(self, names: list[str]) -> None:
        known = {one.id: one for one in self._known(None)}
        assert self.reader.named(names) == [known[name] for name in sorted(names) if name in known]
        vectors = {vector.note_id: vector for vector in self.reader.vectors(names)}
        assert vectors == {name: self.vectors[name] for name in names if name in self.vectors}

    @invariant()
    def every_revision_is_there(self) -> None:
        for name in NOTES:
            chain = self.chains.get(name, [])
            assert self.reader.history(name) == chain
            assert self.reader.note(name) == (chain[-1] if chain else None)
        for scope in SCOPES:
            due = {one.id: one.revision for one in self._active(scope)}
            assert self.reader.active(scope) == due

    @invariant()
    def the_outbox_and_the_versions_are_right(self) -> None:
        marks = [Mark(note_id=name, revision=at) for name, at in sorted(self.marks.items())]
        assert sorted(self.reader.marks(limit=99), key=lambda mark: mark.note_id) == marks
        assert self.reader.generation() == self.generation
        assert self.reader.versions(SCOPES) == self.versions
