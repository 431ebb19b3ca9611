"""The review queue: what nights ask people, what people decide, and what nights did with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.core.access import EVERYTHING, Rights
from sleep_runtime.core.errors import Conflict, InvalidInput, NotFound
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.review import (
    RULINGS,
    Question,
    RememberedVerdict,
    Review,
    ReviewState,
    Ruling,
)
from sleep_runtime.core.run import Run
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import opinions, rows, schedules
from sleep_runtime.stores.ledger.schedules import Entry
from sleep_runtime.stores.ledger.schema import covered, reviews, under

_INSERT = insert(reviews)
_SAVE = _INSERT.on_conflict_do_update(
    index_elements=["id"],
    set_={c.name: _INSERT.excluded[c.name] for c in reviews.c if not c.primary_key},
)


def query(
    scope: Scope | None = None,
    *,
    states: Sequence[ReviewState] | None = None,
    rights: Rights = EVERYTHING,
) -> sa.Select[tuple[object, ...]]:
    """Reviews at and below a scope, as far as they may be seen, oldest first."""
    found = sa.select(reviews).where(covered(reviews.c.scope, rights))
    if scope is not None:
        found = found.where(under(reviews.c.scope, scope))
    if states is not None:
        found = found.where(reviews.c.state.in_([state.value for state in states]))
    return found.order_by(reviews.c.created_at, reviews.c.id)


def waiting(scope: Scope) -> sa.Select[tuple[object, ...]]:
    """The open reviews of exactly this scope, and those whose decision no night has done."""
    undone = sa.and_(
        reviews.c.state == ReviewState.RESOLVED.value,
        reviews.c.decision != Ruling.REJECT.value,
        reviews.c.applied_by == "",
    )
    due = sa.or_(reviews.c.state == ReviewState.OPEN.value, undone)
    return query().where(reviews.c.scope == str(scope), due)


def no_such_review(review_id: str) -> NotFound:
    """What is said of a review that is not there, and of one that may not be seen."""
    return NotFound(
        f"there is no review {review_id!r}",
        field="id",
        mend="list them: sleep-runtime review list",
    )


def get(tx: sa.Connection, review_id: str) -> Review:
    """The review. Raises ``NotFound``."""
    row = tx.execute(sa.select(reviews).where(reviews.c.id == review_id)).first()
    if row is None:
        raise no_such_review(review_id)
    return rows.review(row)


def _save(tx: sa.Connection, changed: Iterable[Review]) -> None:
    values = [rows.review_values(one) for one in changed]
    if values:
        tx.execute(_SAVE, values)


def ask(tx: sa.Connection, run: Run, questions: Sequence[Question], *, now: datetime) -> None:
    """Put questions into the queue of the run's scope.

    One that is open, that waits for its night, or that was answered for good is not asked again.
    """
    asked = {stable_id("review", run.scope, one.kind.value, one.key): one for one in questions}
    closed = {one.id for one in _named(tx, list(asked)) if not _may_ask_again(one)}
    _save(
        tx,
        [
            Review(id=name, scope=run.scope, question=one, run_id=run.id, created_at=now)
            for name, one in asked.items()
            if name not in closed
        ],
    )


def _named(tx: sa.Connection, ids: Sequence[str]) -> list[Review]:
    return [
        rows.review(row)
        for batch in rows.batches(ids)
        for row in tx.execute(sa.select(reviews).where(reviews.c.id.in_(batch)))
    ]


def _may_ask_again(review: Review) -> bool:
    if review.state is ReviewState.OPEN or review.waits:
        return False
    return not (review.decision and review.decision.final)


def close(tx: sa.Connection, run: Run, applied: Sequence[str], expired: Sequence[str]) -> None:
    """What this run did of people's decisions, and the open questions that are none any more."""
    done = [one.model_copy(update={"applied_by": run.id}) for one in _named(tx, applied)]
    gone = [
        one.model_copy(update={"state": ReviewState.EXPIRED})
        for one in _named(tx, expired)
        if one.state is ReviewState.OPEN
    ]
    _save(tx, [*done, *gone])


def reopen(tx: sa.Connection, run_ids: Sequence[str]) -> None:
    """These runs were taken back: what they asked is void, what they did is open again."""
    touched = sa.or_(reviews.c.run_id.in_(run_ids), reviews.c.applied_by.in_(run_ids))
    changed = []
    for row in tx.execute(sa.select(reviews).where(touched)):
        one = rows.review(row)
        if one.run_id in run_ids and one.state is ReviewState.OPEN:
            changed.append(one.model_copy(update={"state": ReviewState.EXPIRED}))
        elif one.applied_by in run_ids:
            anew: dict[str, object] = {"state": ReviewState.OPEN, "decision": None, "at": None}
            changed.append(one.model_copy(update={**anew, "by": "", "applied_by": ""}))
    _save(tx, changed)


def resolve(
    tx: sa.Connection,
    review_id: str,
    ruling: Ruling,
    *,
    by: str,
    now: datetime,
    policy: TriggerPolicy,
) -> Review:
    """Keep a person's decision, and let the next night of the scope do it.

    Raises ``NotFound``, ``InvalidInput`` for a ruling that is no answer to this kind of question,
    and ``Conflict`` when a night has done another one already or the question has expired.
    """
    review = get(tx, review_id)
    _refuse_unless_open(review, ruling)
    if (review.decision, review.by) == (ruling, by):
        return review
    decided = review.model_copy(
        update={"state": ReviewState.RESOLVED, "decision": ruling, "by": by, "at": now}
    )
    _save(tx, [decided])
    opinions.say(tx, _verdicts(decided, now))
    if decided.waits:

        def mark(entry: Entry) -> Entry:
            return entry.having(reviews=entry.schedule.reviews + 1)

        schedules.revise(tx, [review.scope], mark, policy=policy, now=now)
    return decided


def _refuse_unless_open(review: Review, ruling: Ruling) -> None:
    takes = RULINGS[review.question.kind]
    if ruling not in takes:
        raise InvalidInput(
            f"{ruling.value!r} does not answer a review of kind {review.question.kind.value}",
            field="decision",
            mend=f"use one of {', '.join(takes)}",
        )
    if review.state is ReviewState.EXPIRED:
        raise Conflict(
            f"review {review.id} has expired: its notes moved on",
            field="id",
            mend="list what is open: sleep-runtime review list",
        )
    if review.applied_by and review.decision is not ruling:
        raise Conflict(
            f"run {review.applied_by} has done what {review.by} decided: {review.decision}",
            field="id",
            mend=f"take it back: sleep-runtime runs undo {review.applied_by}",
        )


def _verdicts(review: Review, now: datetime) -> list[RememberedVerdict]:
    """What the decision says of the first claim and each of the others."""
    verdict = review.decision.verdict if review.decision else None
    if verdict is None or len(review.question.claims) < 2:
        return []
    first, *others = review.question.claims
    pairs = [pair_of(first, other) for other in others]
    return [
        RememberedVerdict(
            org=review.scope.org,
            pair_key=pair.key,
            left=pair.left,
            right=pair.right,
            verdict=verdict,
            by=review.by,
            reason=f"a person decided: {review.decision}",
            at=now,
        )
        for pair in pairs
    ]
