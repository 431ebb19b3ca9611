"""Reason codes of a run's counts, in words."""

from __future__ import annotations

from sleep_runtime.cli.output import plain

_WORDS = {
    "events": "events read",
    "observations": "lessons heard in them",
    "proposals": "changes suggested",
    "pairs_compared": "pairs of lessons compared",
    "pairs_asked": "pairs the engine was asked about; the rest was remembered",
    "drop.one_off": "dropped: said for this once only",
    "drop.untrusted": "dropped: said by a tool or a document",
    "drop.already_known": "dropped: these events are counted already",
    "drop.covered_above": "dropped: a note above says it",
    "drop.preference": "dropped: a preference stays with its person",
    "drop.quarantined": "dropped: the note that says it waits for review",
    "drop.not_here": "dropped: feedback on a note of another scope",
    "drop.lower_trust": "dropped: an agent's feedback on a person's word",
    "wait.in_doubt": "waiting: nobody said it clearly as a lesson",
    "wait.not_recurring_yet": "waiting: not said in enough sessions",
    "wait.too_few_people": "waiting: not said by enough people",
    "wait.too_few_teams": "waiting: not said in enough teams",
    "wait.agents_only": "waiting: only agents noticed it",
    "keep.standing": "enough: said with standing intent",
    "keep.recurring": "enough: said in several sessions",
    "keep.agreed": "enough: several people said it",
    "keep.noticed": "enough: agents noticed it again and again",
    "keep.feedback": "feedback weighed",
    "review.conflict": "questions to people: which of two holds",
    "review.change": "questions to people: may it change",
    "review.breaker": "questions to people: too much at once",
    "engine.distil_problem": "sessions the engine gave no usable answer about",
    "engine.compare_problem": "pairs the engine gave no usable answer about",
    "undone.runs": "runs taken back",
    "breaker.quarter": "stopped: it would have lost too many notes at once",
    "breaker.kept": "notes kept as they were, by the breaker",
    "night.deferred": "lessons left for the next night",
    "night.without_effect": "nights in a row that changed nothing",
}


def in_words(code: str) -> str:
    """A code as a phrase; one that has none, as plain words."""
    return _WORDS.get(code) or plain(code)
