"""What people decide over HTTP: taking a run back, and answering what nights ask."""

from __future__ import annotations

from typing import Any

from fastapi.concurrency import run_in_threadpool

from sleep_runtime.core.access import AccessRole, Caller, Rights
from sleep_runtime.core.errors import InvalidInput, NotFound
from sleep_runtime.core.review import RULINGS, Review, ReviewState, Ruling
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Undoing
from sleep_runtime.serve.hot_path import HotPathParts, Reader, run_json


class People:
    """The endpoints behind undo and review."""

    def __init__(self, parts: HotPathParts, reader: Reader) -> None:
        self._parts = parts
        self._reader = reader

    async def undo(
        self, caller: Caller, run_id: str, *, cascade: bool, dry_run: bool
    ) -> dict[str, Any]:
        """Take a run back, or say what that would do."""
        plan = await run_in_threadpool(self._look, caller, run_id)
        if dry_run:
            return _undo_json(plan)
        refused = plan.later and not cascade
        vectors = {} if refused else await run_in_threadpool(self._vectors, caller.rights(), plan)
        done = await self._parts.undo(run_id, cascade, vectors)
        return _undo_json(done if done.restored else plan.model_copy(update={"run": done.run}))

    def _look(self, caller: Caller, run_id: str) -> Undoing:
        """What it would do. ``NotFound`` for a run they may not see, ``Forbidden`` for one they
        may only see."""
        run = self._reader.find_run(caller.rights(), run_id)
        caller.require(AccessRole.CURATE, run.scope)
        seen = self._parts.ledger.seen_by(caller.rights())
        return seen.undoing(run_id, now=self._parts.clock.now())

    def _vectors(self, rights: Rights, plan: Undoing) -> dict[str, bytes]:
        statements = self._parts.ledger.seen_by(rights).reworded(plan)
        return dict(zip(statements, self._parts.embedder.embed(statements), strict=True))

    def reviews(
        self, rights: Rights, scope: Scope | None, state: str, *, limit: int
    ) -> dict[str, Any]:
        """The queue at and below a scope, oldest first."""
        if scope is not None:
            self._reader.known(rights, scope)
        seen = self._parts.ledger.seen_by(rights)
        found = seen.reviews(scope, states=_states(state), limit=limit)
        return {"reviews": [_review_json(one) for one in found]}

    async def resolve(
        self, caller: Caller, review_id: str, decision: str, by: str
    ) -> dict[str, Any]:
        """Keep a decision; the next night of the scope does it.

        It is the caller's. Whoever administers everything may decide for somebody they name.
        """
        await run_in_threadpool(self._decides, caller, review_id)
        named = by if by and caller.may(AccessRole.ADMIN, None) else caller.name
        done = await self._parts.resolve(review_id, _ruling(decision), named)
        return {"review": _review_json(done)}

    def _decides(self, caller: Caller, review_id: str) -> None:
        review = self._parts.ledger.seen_by(caller.rights()).review(review_id)
        if review is None:
            raise NotFound(
                f"there is no review {review_id!r}",
                field="id",
                mend="list them: sleep-runtime review list",
            )
        caller.require(AccessRole.CURATE, review.scope)


def _states(text: str) -> list[ReviewState] | None:
    if text == "all":
        return None
    try:
        return [ReviewState(text)]
    except ValueError:
        names = ", ".join((*(state.value for state in ReviewState), "all"))
        raise InvalidInput(
            f"{text!r} is no state of a review", field="state", mend=f"use one of {names}"
        ) from None


def _ruling(text: str) -> Ruling:
    try:
        return Ruling(text)
    except ValueError:
        names = ", ".join(ruling.value for ruling in Ruling)
        raise InvalidInput(
            f"{text!r} is no decision", field="decision", mend=f"use one of {names}"
        ) from None


def _undo_json(plan: Undoing) -> dict[str, Any]:
    return {
        "target": plan.target,
        "scope": str(plan.scope),
        "undoes": list(plan.undoes),
        "later": [
            {"run": item.run_id, "number": item.number, "notes": list(item.notes)}
            for item in plan.later
        ],
        "changes": [
            {
                "kind": item.delta.kind.value,
                "restores": item.restores,
                "note": item.delta.note.public(),
            }
            for item in plan.restored
        ],
        "folded": [
            {"scope": str(item.scope), "note": item.note_id, "into": item.into}
            for item in plan.folded
        ],
        "run": run_json(plan.run) if plan.run else None,
    }


def _review_json(review: Review) -> dict[str, Any]:
    question = review.question
    return {
        "id": review.id,
        "scope": str(review.scope),
        "kind": question.kind.value,
        "notes": [
            {"id": name, "statement": claim.statement}
            for name, claim in zip(question.notes, question.claims, strict=True)
        ],
        "wanted": question.wanted.value if question.wanted else None,
        "reason": question.reason,
        "takes": [ruling.value for ruling in RULINGS[question.kind]],
        "run": review.run_id,
        "created_at": review.created_at.isoformat(),
        "state": review.state.value,
        "decision": review.decision.value if review.decision else None,
        "by": review.by,
        "at": review.at.isoformat() if review.at else None,
        "applied_by": review.applied_by or None,
    }
