"""What must hold whatever was hurt. Each check is a function of plain data; a violation is a line.

An empty list means that the invariant holds. Nothing here reads a file or asks a process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from reliability.chaos.facts import Facts, Held, Kept, NoteRow, RunRow, Usage

SHOWN = 5
FILES_SLACK = 32
MEMORY_SLACK_BYTES = 300 * 2**20
SAMPLES = 8


def acked_once(acked: Collection[Kept], journal: Sequence[Kept]) -> list[str]:
    """Every acked event is in the journal exactly once."""
    held = Counter(journal)
    lost = [event for event in sorted(acked) if not held[event]]
    doubled = sorted(event for event, times in held.items() if times > 1)
    return [
        *_told(lost, "acked events are lost"),
        *_told(doubled, "events are in the journal more than once"),
    ]


def heads_agree(heads: Mapping[str, int], journal_by_scope: Mapping[str, int]) -> list[str]:
    """What the scheduler is told of a scope is what the journal holds of it."""
    return [
        f"{scope}: the head counts {heads.get(scope, 0)} events, the journal holds {there}"
        for scope, there in sorted(journal_by_scope.items())
        if heads.get(scope, 0) != there
    ]


def leases_end(leases: Iterable[Held], *, now: datetime, ttl_s: float, slack_s: float) -> list[str]:
    """No lease reaches further than its time from now, whoever took it."""
    furthest = now + timedelta(seconds=ttl_s + slack_s)
    return [
        f"{lease.owner} holds {lease.scope} until {lease.expires_at.isoformat()}, "
        f"{(lease.expires_at - now).total_seconds():.1f} s from now; a lease lives {ttl_s:g} s"
        for lease in leases
        if lease.owner and lease.expires_at > furthest
    ]


def leases_free(leases: Iterable[Held], *, now: datetime, owners: Collection[str]) -> list[str]:
    """Where nothing is under way, no owner but those who live holds anything that lasts."""
    return [
        f"{lease.owner} is gone and holds {lease.scope} until {lease.expires_at.isoformat()}"
        for lease in leases
        if lease.owner and lease.owner not in owners and lease.expires_at > now
    ]


def success_has_effect(facts: Facts) -> list[str]:
    """No run says success without its effect: its revisions, its cursor, its words."""
    revisions = {(note.id, note.revision) for note in facts.notes}
    found: list[str] = []
    for run in facts.runs:
        if run.state == "projected":
            found += _effect(run, revisions, facts)
    return found


def _effect(run: RunRow, revisions: Collection[tuple[str, int]], facts: Facts) -> list[str]:
    changes = [change for change in facts.changes if change.run == run.id]
    absent = [change for change in changes if (change.note, change.revision) not in revisions]
    found = [
        f"{run.id} of {run.scope} is done, but revision {change.revision} of {change.note} is not"
        for change in absent
    ]
    reached = facts.cursors.get(run.scope, 0)
    if reached < run.journal_upto:
        found.append(f"{run.id} of {run.scope} is done to {run.journal_upto}, cursor at {reached}")
    if run.undoes or run.undone:
        return found
    says_nothing = run.reason.startswith("changed nothing")
    # Candidates that only wait are changes, too, and not called one: the other way round is no lie.
    if not changes and not says_nothing:
        found.append(f"{run.id} of {run.scope} says {run.reason!r} and changed nothing")
    return found


def each_event_read_once(facts: Facts, journal_by_scope: Mapping[str, int]) -> list[str]:
    """Where nothing is pending, the runs of a scope read each of its events, and read it once."""
    read: Counter[str] = Counter()
    for run in facts.runs:
        read[run.scope] += run.events
    return [
        f"{scope}: {there} events are in the journal, runs read {read[scope]}"
        for scope, there in sorted(journal_by_scope.items())
        if read[scope] != there
    ]


def nothing_doubled(facts: Facts) -> list[str]:
    """No revision was committed by two changes, and no note counts a sighting twice."""
    by_revision = Counter((change.note, change.revision) for change in facts.changes)
    twice = sorted(key for key, times in by_revision.items() if times > 1)
    found = _told([f"{note} r{revision}" for note, revision in twice], "revisions come twice")
    for note in facts.newest():
        there = facts.evidence.get(note.id, 0)
        if note.status == "active" and note.support != there:
            found.append(f"{note.id} says {note.support} events, its evidence has {there}")
    return found


def index_agrees(active: Mapping[str, int], indexed: Mapping[str, int]) -> list[str]:
    """After reconcile the index holds the active notes in their newest revisions, nothing else."""
    missing = sorted(active.keys() - indexed.keys())
    surplus = sorted(indexed.keys() - active.keys())
    stale = sorted(i for i in active.keys() & indexed.keys() if active[i] != indexed[i])
    return [
        *_told(missing, "active notes are not in the index"),
        *_told(surplus, "notes in the index are not active"),
        *_told(stale, "notes are in the index in another revision"),
    ]


def nothing_contradicts(notes: Iterable[NoteRow]) -> list[str]:
    """No two active notes of a scope give two answers to one question."""
    answers: defaultdict[tuple[str, ...], list[NoteRow]] = defaultdict(list)
    for note in notes:
        if note.status == "active" and note.subject:
            about = tuple(part for pair in sorted(note.about.items()) for part in pair)
            question = (note.scope, note.subject, note.aspect, note.applies_when, *about)
            answers[question].append(note)
    return [
        f"{question[0]}: {' and '.join(sorted(note.id for note in given))} answer "
        f"{'/'.join(question[1:])} with {sorted({note.value for note in given})}"
        for question, given in sorted(answers.items())
        if len({note.value for note in given}) > 1
    ]


def nothing_pending(facts: Facts) -> list[str]:
    """A night that ended left no run unfinished and nothing for the index to catch up with."""
    open_runs = [f"{run.id} is {run.state}" for run in facts.runs if not run.over]
    return [
        *_told(open_runs, "runs are not over"),
        *_told(list(facts.marks), "notes wait for the index"),
    ]


def same_store(found: object, undisturbed: object, what: str = "the store") -> list[str]:
    """What was hurt came to what an undisturbed run over the same events comes to."""
    if found == undisturbed:
        return []
    if isinstance(found, frozenset | set) and isinstance(undisturbed, frozenset | set):
        more, less = sorted(map(str, found - undisturbed)), sorted(map(str, undisturbed - found))
        return [f"{what} differs: too much {more[:SHOWN]}, too little {less[:SHOWN]}"]
    return [f"{what} differs: {found} instead of {undisturbed}"]


def nothing_grows(samples: Mapping[str, Sequence[Usage]]) -> list[str]:
    """No process that lives through many wounds holds ever more files or memory.

    ``samples`` are by process, oldest first. The least of the last quarter is held against the most
    of the second: what grows slowly and comes back is no leak. Too few samples say nothing.
    """
    found: list[str] = []
    for name, seen in sorted(samples.items()):
        if len(seen) < SAMPLES:
            continue
        quarter = len(seen) // 4
        before, after = seen[quarter : 2 * quarter], seen[-quarter:]
        files = min(u.files for u in after) - max(u.files for u in before)
        memory = min(u.memory_bytes for u in after) - max(u.memory_bytes for u in before)
        if files > FILES_SLACK:
            found.append(f"{name} holds {files} files more than before")
        if memory > MEMORY_SLACK_BYTES:
            found.append(f"{name} holds {memory / 2**20:.0f} MiB more than before")
    return found


def _told(items: Sequence[object], what: str) -> list[str]:
    if not items:
        return []
    return [f"{len(items)} {what}: {', '.join(map(str, items[:SHOWN]))}"]
