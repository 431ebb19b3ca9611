"""The seams between decisions and the world. Adapters live in stores, engines and present.

Every method is synchronous and may block on disk, network or a model; shells decide in which
thread that happens. A vector is ``bytes``: little-endian float32, unit length, ``dim`` numbers.
All datetimes are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.access import Rights
from sleep_runtime.core.erasure import Erasure, ErasureState, Forgotten, Target
from sleep_runtime.core.event import StoredEvent
from sleep_runtime.core.journal import AppendResult, JournalRow, ScopeHead
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Distillation, Observation, SessionInput, Usage
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.pool import Backlog
from sleep_runtime.core.proposal import (
    ClaimPair,
    CommittedDelta,
    Critique,
    Delta,
    Judgement,
    Proposal,
)
from sleep_runtime.core.review import Question, RememberedVerdict, Review, ReviewState, Ruling
from sleep_runtime.core.run import Lease, Run, Schedule, Trigger
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.core.spending import NO_COST, Bucket, Cost
from sleep_runtime.core.undo import Undoing


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """The present instant, UTC."""


# ---------------------------------------------------------------------------- journal


class SeenJournal(Protocol):
    """What one reader's rights show of the journal: all that a request may ask of it."""

    def events(self, org: Scope, ids: Sequence[str]) -> list[StoredEvent]:
        """The events of one organisation with these ids; unknown ids are left out."""

    def knows(self, scope: Scope) -> bool:
        """True when the organisation of this scope has any event, or the rights name the scope."""

    def count(self) -> int: ...


class JournalViews(Protocol):
    """A journal as requests reach it: never but through somebody's rights."""

    def seen_by(self, rights: Rights) -> SeenJournal: ...


class JournalReader(SeenJournal, JournalViews, Protocol):
    """Reads raw events, with the rights to everything. In any process of the machine."""

    def read(self, scope: Scope, *, after: int, upto: int, limit: int) -> list[StoredEvent]:
        """Events of exactly this scope with ``after`` < seq <= ``upto``, in seq order."""

    def before(self, scope: Scope, session: str, *, seq: int, limit: int) -> list[StoredEvent]:
        """The last ``limit`` events of one session that arrived before ``seq``, in seq order."""

    def heads(self, *, after: int, limit: int) -> list[ScopeHead]:
        """Heads of scopes that got events after journal position ``after``, by last_seq."""

    def head(self, scope: Scope) -> ScopeHead | None: ...

    def last_seq(self) -> int:
        """The highest position of any event the journal ever took; 0 when it is empty.

        A ledger that has been further (``LedgerReader.furthest``) belongs to another journal, or
        to a later state of this one.
        """


class JournalWriter(Protocol):
    """The one owner of the journal file."""

    def append(self, rows: Sequence[JournalRow]) -> AppendResult:
        """Make a batch durable. Returns only when every accepted row is on the disk.

        Raises ``Overloaded`` when the queue is full and ``StoreFull`` when the disk is.
        """

    def close(self) -> None: ...


# ---------------------------------------------------------------------------- ledger


class Cursors(BaseModel):
    """How far one scope is done, in the journal and in the observations below it."""

    model_config = ConfigDict(frozen=True)

    journal: int = 0
    observations: int = 0


class Pending(BaseModel):
    """What waits for a night, summed over ``scopes`` schedules that are not idle."""

    model_config = ConfigDict(frozen=True)

    scopes: int = 0
    events: int = 0
    tokens: int = 0
    observations: int = 0
    folds: int = 0


class Pin(BaseModel):
    """One remembered model output. ``key`` is the hash of the input within (run, step)."""

    model_config = ConfigDict(frozen=True)

    key: str
    output: dict[str, Any]
    usage: Usage = Usage()


class Mark(BaseModel):
    """One outbox mark: this note has to be projected, at least at this revision."""

    model_config = ConfigDict(frozen=True)

    note_id: str
    revision: int


class Asked(BaseModel):
    """What an engine answered, by pair key: remembered in the scope, so that it is asked once."""

    model_config = ConfigDict(frozen=True)

    engine: str = ""
    judgements: dict[str, Judgement] = Field(default_factory=dict)


class Commit(BaseModel):
    """Everything one run changes, in one transaction.

    ``vectors`` holds the embedding of each new or reworded statement, by note id. ``folds``
    names the scopes below whose own copies may fold into what became active here. ``questions``
    go to people; ``applied`` are the reviews whose decision this run did, ``expired`` those whose
    question is none any more. ``observed_upto`` is how far the observations of the run are done;
    None: all of them.
    """

    model_config = ConfigDict(frozen=True)

    deltas: tuple[Delta, ...] = ()
    vectors: dict[str, bytes] = Field(default_factory=dict)
    vector_model: str = ""
    folds: tuple[Scope, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    reason: str = ""
    questions: tuple[Question, ...] = ()
    applied: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    asked: Asked = Asked()
    observed_upto: int | None = None


class Nearest(BaseModel):
    """A note that waits, and what it lacks to come into force, in words and as a number."""

    model_config = ConfigDict(frozen=True)

    note: Note
    missing: int
    needs: str


class SpentBudget(BaseModel):
    """A limit that is reached, and keeps the nights of ``org`` (None: all nights) from starting.

    ``reason`` says what was used of what; ``until`` is the earliest instant with room again.
    """

    model_config = ConfigDict(frozen=True)

    limit: str
    org: Scope | None = None
    reason: str
    until: datetime

    def holds(self, scope: Scope | None) -> bool:
        """Whether it may concern this scope; ``None``: all of them."""
        return scope is None or self.org is None or self.org == scope.org

    def seen_by(self, rights: Rights) -> SpentBudget | None:
        """Whole for whoever may see all that was counted; for others below, only that it is spent;
        None for everybody else."""
        if rights.within is None or (self.org is not None and rights.covers(self.org)):
            return self
        if self.org is None or rights.shows(self.org):
            return self.model_copy(update={"reason": "it is spent"})
        return None


class NoteVector(BaseModel):
    """The embedding of one note's newest statement and the model that made it."""

    model_config = ConfigDict(frozen=True)

    note_id: str
    revision: int
    model: str
    vector: bytes


class SegmentRow(NamedTuple):
    """What searching needs of one active note, plain and cheap: a segment holds many.

    ``since_us`` is when it became true, in microseconds since the epoch. ``vector`` is the
    embedding of this wording and ``model`` what made it; both are empty where there is none.
    """

    note_id: str
    revision: int
    statement: str
    subject: str
    aspect: str
    value: str
    applies_when: str
    about: Mapping[str, str]
    confidence: float
    since_us: int
    model: str
    vector: bytes


class SeenLedger(Protocol):
    """What one reader's rights show of the ledger: all that a request may ask of it.

    Notes of covered scopes are whole. Those in force above are shown bare (``Note.bare``), the rest
    of the ledger as if it did not exist: no row of it is given, counted, paged over or named.
    """

    def knows(self, scope: Scope) -> bool:
        """True when anything was ever seen in the organisation of this scope, or the rights name
        the scope."""

    def versions(self, scopes: Sequence[Scope]) -> dict[Scope, int]:
        """For each of these scopes a number that grows with every change of its notes or vectors.

        0 for a scope that never had a note. What caches are checked against.
        """

    def erasure(self, erasure_id: str) -> Erasure | None: ...

    def erasures(self, scope: Scope | None = None, *, unfinished: bool = False) -> list[Erasure]:
        """Erasures of scopes at and below this one, oldest first."""

    def notes(
        self,
        scopes: Sequence[Scope] | None = None,
        *,
        within: Scope | None = None,
        statuses: Sequence[NoteStatus] | None = None,
        as_of: datetime | None = None,
        limit: int | None = None,
        after: str = "",
    ) -> list[Note]:
        """Newest revisions of notes of exactly these scopes, or at and below ``within``.

        With ``as_of`` the newest revision recorded at or before that instant. Ordered by note
        id; ``after`` and ``limit`` page. ``None`` means all.
        """

    def note(self, note_id: str) -> Note | None: ...

    def history(self, note_id: str) -> list[Note]:
        """Every revision, oldest first."""

    def dossiers(self, scope: Scope) -> list[Dossier]:
        """All notes of exactly this scope in any status, with their evidence."""

    def evidence(self, note_id: str) -> list[Evidence]: ...

    def run(self, run_id: str) -> Run | None: ...

    def runs(
        self, scope: Scope | None = None, *, limit: int = 50, unfinished: bool = False
    ) -> list[Run]:
        """Runs of this scope and those below, newest first."""

    def deltas(self, run_id: str) -> list[CommittedDelta]: ...

    def proposals(self, run_id: str) -> list[tuple[Proposal, Critique]]: ...

    def undoing(self, run_id: str, *, now: datetime) -> Undoing:
        """What undoing the run at ``now`` would do. Writes nothing.

        Raises ``NotFound``, and ``Conflict`` when it was undone, changed nothing, or is not over.
        """

    def reworded(self, undoing: Undoing) -> list[str]:
        """The statements an undo brings back in other words than the notes have now."""

    def reviews(
        self,
        scope: Scope | None = None,
        *,
        states: Sequence[ReviewState] | None = None,
        limit: int = 1000,
    ) -> list[Review]:
        """Reviews of this scope and those below, oldest first; ``None``: in every state."""

    def review(self, review_id: str) -> Review | None: ...

    def due(
        self, now: datetime, *, limit: int, least: int = 1, without: Collection[Scope] = ()
    ) -> list[Schedule]:
        """Schedules with ``due_at`` <= now, fairly over organisations, earliest first.

        The first of every organisation comes before the second of any, up to ``limit`` in all; the
        ``least`` earliest of each are there whatever the limit, so one organisation's thousand
        never hide another's one. Organisations in ``without`` are left out. One indexed query,
        whose time grows with what is due.
        """

    def next_due(self, scope: Scope | None = None) -> Schedule | None:
        """The schedule that is due earliest, of this scope and those below."""

    def pending(self, scope: Scope | None = None) -> Pending:
        """What is pending at this scope and those below, however many there are."""

    def leases(self, now: datetime, scope: Scope | None = None) -> list[Lease]:
        """Leases alive at ``now``, of this scope and those below."""

    def generation(self) -> int:
        """The index generation that readers use."""

    def counts(self, within: Scope | None = None) -> dict[str, int]:
        """Row counts by noun and ``notes.<status>``, zeros included, for status and metrics.

        With ``within`` only what belongs to notes, runs and schedules of that scope and those
        below. Marks of notes that are gone have no scope and count only without it.
        """


class LedgerViews(Protocol):
    """A ledger as requests reach it: never but through somebody's rights."""

    def seen_by(self, rights: Rights) -> SeenLedger: ...


class LedgerReader(SeenLedger, LedgerViews, Protocol):
    """Reads the ledger, with the rights to everything. In any process; never writes."""

    def forgotten(self) -> int:
        """A number that grows with every erasure: who holds notes in memory drops them then."""

    def cursors(self, scope: Scope) -> Cursors: ...

    def segment(
        self, scope: Scope, *, limit: int, after: str = "", vectors: bool = True
    ) -> list[SegmentRow]:
        """The active notes of exactly this scope as they are searched, ordered by note id.

        ``after`` and ``limit`` page. Without ``vectors`` every ``vector`` is empty, the ``model``
        is still named. Meant for the hot path: one indexed query, nothing is validated again.
        """

    def active(self, scope: Scope) -> dict[str, int]:
        """The revision of each active note of exactly this scope: what a cache is compared with."""

    def named(self, note_ids: Sequence[str]) -> list[Note]:
        """The newest revisions of those of these notes that exist, ordered by note id."""

    def vectors(self, note_ids: Sequence[str]) -> list[NoteVector]: ...

    def observations(self, scope: Scope, *, after: int, upto: int, limit: int) -> list[Observation]:
        """Observations of this scope and those below, ``after`` < seq <= ``upto``, in order."""

    def pins(self, run_id: str, step: str) -> dict[str, Pin]: ...

    def waiting(self, scope: Scope) -> list[Review]:
        """What a night of exactly this scope has to look at: its open reviews, and those that
        were decided and not done yet."""

    def verdicts(self, scope: Scope) -> list[RememberedVerdict]:
        """What people of the scope's organisation said of pairs, in the order they said it."""

    def judgements(self, scope: Scope, engine: str, keys: Sequence[str]) -> dict[str, Judgement]:
        """What this engine answered in this scope about these pairs; unknown ones left out."""

    def schedule(self, scope: Scope) -> Schedule | None: ...

    def schedules(self, scope: Scope | None = None, *, limit: int = 1000) -> list[Schedule]:
        """Schedules of this scope and those below that are not idle, by due time."""

    def spending(self, *, since: datetime, org: Scope | None = None) -> list[Bucket]:
        """What nights cost, by hour and organisation, in hours that began after ``since``."""

    def backlog(self, now: datetime, *, without: Collection[Scope] = ()) -> Backlog:
        """How many scopes are due at ``now``, and their pending tokens. One indexed query.

        Organisations in ``without`` are left out.
        """

    def pending_since(self) -> datetime | None:
        """Since when the oldest pending thing waits for a night; None when nothing does."""

    def gpu_seconds(self, day: str) -> float:
        """What the idle pool held of GPUs on this day (``2026-11-26``), as far as it was kept."""

    def pending_by_tier(self) -> dict[Tier, Pending]:
        """What is pending at all scopes of each tier; every tier has its entry."""

    def watermark(self) -> int:
        """The journal position up to which heads were noted."""

    def furthest(self) -> int:
        """The furthest journal position this ledger relies on; 0 before it saw any event.

        The highest of the watermark, every scope's cursor and the ranges of unfinished runs.
        """

    def marks(self, *, limit: int) -> list[Mark]: ...

    def digest(self) -> str:
        """SHA-256 of what was learned: notes, revisions, evidence, observations, cursors.

        Owners, epochs, run ids and wall-clock times are left out, so that an interrupted night
        and an undisturbed one can be compared.
        """


class LedgerWriter(Protocol):
    """The one owner of the ledger file. Every method is one transaction.

    Methods that take a lease raise ``LeaseLost`` when a higher epoch exists or the lease is gone.
    ``cost`` (of ``pin``: the usage of its pins and ``seconds``) is what the run used since its last
    write. It is added to the run and to the spending of its organisation in the same transaction,
    and only by the call that took the step: done again, it is not counted again.
    """

    def acquire(self, scope: Scope, owner: str, *, now: datetime, ttl_s: float) -> Lease | None:
        """Take the scope if it is free, expired or already this owner's; epoch + 1 each time."""

    def renew(self, lease: Lease, *, now: datetime, ttl_s: float) -> Lease: ...

    def release(self, lease: Lease) -> None: ...

    def begin_erasure(self, erasure: Erasure, target: Target, known: Sequence[Scope]) -> Erasure:
        """Remember an erasure and shut nights out of the scopes it concerns, ``known`` included.

        They are held until the journal's part is noted as done.
        """

    def advance_erasure(
        self,
        erasure_id: str,
        state: ErasureState,
        *,
        now: datetime,
        upto: int | None = None,
        counts: Mapping[str, int] | None = None,
        receipt: Mapping[str, Any] | None = None,
    ) -> Erasure:
        """Note that a step is done. One that is behind it already changes nothing."""

    def amend_erasure(
        self, erasure_id: str, receipt: Mapping[str, Any], *, now: datetime
    ) -> Erasure:
        """Replace parts of the receipt of an erasure that is over: a backup was reached later."""

    def forget(
        self,
        erasure_id: str,
        *,
        vectors: Mapping[str, bytes] | None,
        vector_model: str,
        policy: Policy,
    ) -> Forgotten:
        """Take what is erased out of the ledger, in one transaction.

        ``vectors`` are those of new wordings by statement, None to leave them out. When the answer
        has any ``lacking``, nothing was written.
        """

    def compact(self) -> None:
        """Write the file anew, so that no free page and no log holds what was deleted."""

    def plan(
        self,
        lease: Lease,
        *,
        now: datetime,
        trigger: Trigger,
        requested: str,
        journal_upto: int,
        max_observations: int,
    ) -> Run | None:
        """Resume the scope's unfinished run under this lease, or plan a new one.

        A resumed run keeps its id, range, counts and ``planned_at``; a yielded one goes back to
        ``stood_at``. Returns None when nothing is pending.
        """

    def pin(
        self,
        lease: Lease,
        run_id: str,
        step: str,
        pins: Sequence[Pin],
        *,
        now: datetime,
        seconds: float = 0.0,
    ) -> Run:
        """Remember model outputs. A key that is pinned already keeps its first output.

        Returns the run with what it cost by now.
        """

    def generated(
        self,
        lease: Lease,
        run_id: str,
        observations: Sequence[Observation],
        *,
        events: int,
        tokens: int,
        counts: Mapping[str, int],
        now: datetime,
        cost: Cost = NO_COST,
    ) -> Run:
        """planned -> generated: store the observations, move the journal cursor to the run's end,
        fix the run's range of observations, and note the observations at the scopes above."""

    def reflected(
        self,
        lease: Lease,
        run_id: str,
        judged: Sequence[tuple[Proposal, Critique]],
        *,
        counts: Mapping[str, int],
        now: datetime,
        asked: Asked | None = None,
        cost: Cost = NO_COST,
    ) -> Run:
        """generated -> reflected. What the engine was asked is remembered."""

    def commit(
        self, lease: Lease, run_id: str, commit: Commit, *, now: datetime, cost: Cost = NO_COST
    ) -> Run:
        """reflected -> committed: deltas, revisions, evidence, vectors, cursor, outbox, schedule.

        ``now`` is the instant of the commit itself: every new revision gets it as ``recorded_at``,
        whatever its delta says, every delta as ``at``, the schedule as ``last_run_at``. Raises
        ``StaleRevision`` when a delta's revision does not follow the stored one.
        """

    def projected(self, run_id: str, *, now: datetime, cost: Cost = NO_COST) -> Run:
        """committed -> projected. Needs no lease: projecting is idempotent."""

    def yield_run(
        self,
        lease: Lease,
        run_id: str,
        reason: str,
        *,
        now: datetime,
        failed: bool = False,
        cost: Cost = NO_COST,
        spent_until: datetime | None = None,
        at_once: bool = False,
    ) -> Run:
        """Stop where the run stands until after the cool-down. ``failed`` counts an attempt.

        ``at_once``: it is no fault of the run, which is due again as soon as it can go on.

        ``spent_until``: a budget is spent, and there is room again at that instant. The run is not
        due before it, and its next turn has a whole budget of its own.
        """

    def abandon(
        self, lease: Lease, run_id: str, reason: str, *, now: datetime, cost: Cost = NO_COST
    ) -> Run: ...

    def resolve(self, review_id: str, ruling: Ruling, *, by: str, now: datetime) -> Review:
        """Keep a person's decision and the verdict in it; the scope is due to do it.

        Deciding the same again changes nothing. Raises ``NotFound``, ``InvalidInput`` for a ruling
        that does not answer the question, ``Conflict`` when it has expired or another was done.
        """

    def undo(
        self,
        run_id: str,
        *,
        owner: str,
        cascade: bool,
        vectors: Mapping[str, bytes],
        vector_model: str,
        now: datetime,
    ) -> Undoing:
        """Take a run back, by a run of its own that is committed and waits to be projected.

        With ``cascade`` the later runs that built on it too; without, ``Conflict`` names them.
        ``owner`` names this request: asking again for the same one gives the run it made.
        ``vectors`` holds an embedding for each statement of ``LedgerReader.reworded``; raises
        ``StaleRevision`` when one is missing. Raises what ``LedgerReader.undoing`` raises.
        """

    def note_heads(self, heads: Sequence[ScopeHead], *, watermark: int, now: datetime) -> None:
        """Write what the journal holds into the schedules and move the watermark."""

    def request(self, scope: Scope | None, *, now: datetime) -> list[Scope]:
        """Make every schedule at or below ``scope`` that is not idle due now. Returns them."""

    def postpone(self, scope: Scope, *, until: datetime) -> None:
        """Do not consider the scope due before ``until``."""

    def keep_gpu_seconds(self, day: str, seconds: float) -> None:
        """Keep what the idle pool held of GPUs on this day; it only grows."""

    def clear_marks(self, marks: Sequence[Mark]) -> int:
        """Clear marks whose note has not moved past the marked revision. Returns how many."""

    def mark_all(self, *, generation: int) -> int:
        """Mark every note, in any status, for projection; returns how many.

        For a new ``generation``, or the present one when its index has lost what it held.
        """

    def flip_generation(self, generation: int) -> None: ...

    def store_vectors(self, vectors: Sequence[NoteVector]) -> None:
        """Replace embeddings, e.g. after the embedding model was changed."""

    def close(self) -> None: ...


# ---------------------------------------------------------------------------- index


class Hit(BaseModel):
    """One neighbour the index named. ``score`` is cosine similarity."""

    model_config = ConfigDict(frozen=True)

    note_id: str
    revision: int
    score: float


class Index(Protocol):
    """Vectors of notes, disposable: it can always be rebuilt from the ledger.

    Raises ``IndexBroken`` when what it keeps cannot be used any more.
    """

    def upsert(self, generation: int, entries: Sequence[tuple[Note, bytes]]) -> None: ...

    def delete(self, generation: int, note_ids: Sequence[str]) -> None: ...

    def revisions(self, generation: int, note_ids: Sequence[str] | None = None) -> dict[str, int]:
        """The revision held for each of these notes (or all); absent ones are left out."""

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]: ...

    def drop(self, generation: int) -> None: ...

    def start_over(self) -> None:
        """Put whatever is there out of the way and be empty, as after ``IndexBroken``.

        The caller marks every note in the ledger before it fills the index again.
        """

    def close(self) -> None: ...


# ---------------------------------------------------------------------------- engines


class Embedder(Protocol):
    """Turns texts into unit vectors. Deterministic for one ``model``."""

    @property
    def model(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> list[bytes]: ...


class Engine(Protocol):
    """What the roles ask. Answers come in the order of the questions, one for each.

    An unusable answer is a ``problem`` in its place, never an exception; an engine that cannot
    be reached at all raises ``EngineUnavailable``. The pairs of one ``compare`` are all seen by
    one scope; sessions may be of several.
    """

    @property
    def name(self) -> str:
        """Names everything the answers depend on: engine, model, prompt version."""

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]: ...

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]: ...

    @property
    def usage(self) -> Usage:
        """Everything used since the engine was made."""


@runtime_checkable
class Forking(Protocol):
    """An engine whose calls may run side by side."""

    def fork(self) -> Engine:
        """An engine over the same model, whose ``usage`` starts at nothing."""


@runtime_checkable
class Interruptible(Protocol):
    """An engine, or a model behind one, that can be stopped in the middle of its answers."""

    def abort(self, reason: str) -> object:
        """End what is in flight: those who wait get ``EngineUnavailable``. From any thread."""

    def pause(self) -> object:
        """Let go of the memory it can do without; asked again, it refuses until ``resume``."""

    def resume(self) -> object: ...


@runtime_checkable
class Loading(Protocol):
    """An engine, or a model behind one, that takes long to be ready for its first question."""

    def load(self) -> None:
        """Be ready. Raises ``EngineUnavailable`` when that cannot be, with the reason."""


class ChatRequest(BaseModel):
    """One question to a writing model: messages in, one object of ``json_schema`` out."""

    model_config = ConfigDict(frozen=True)

    id: str
    messages: tuple[tuple[str, str], ...]
    json_schema: dict[str, Any]
    max_output_tokens: int = Field(gt=0)


class ChatAnswer(BaseModel):
    """The parsed object, or why there is none."""

    model_config = ConfigDict(frozen=True)

    object: dict[str, Any] | None = None
    problem: str = ""
    usage: Usage = Usage()


class ChatModel(Protocol):
    """A writing model: batches of schema-bound questions. Raises ``EngineUnavailable``."""

    @property
    def name(self) -> str: ...

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]: ...


# ---------------------------------------------------------------------------- presentation


class ScoredNote(BaseModel):
    """A note a reader may see, with how well it answers the query (higher is better)."""

    model_config = ConfigDict(frozen=True)

    note: Note
    score: float


class Compiled(BaseModel):
    """Prompt text and the ids of the notes that are in it."""

    model_config = ConfigDict(frozen=True)

    text: str
    notes: tuple[str, ...]
    compiler: str
    tokens: int


@runtime_checkable
class Compiler(Protocol):
    """Turns notes into prompt text within a budget. Reads, never writes."""

    @property
    def name(self) -> str: ...

    def compile(
        self, notes: Sequence[ScoredNote], *, query: str, budget_tokens: int
    ) -> Compiled: ...
