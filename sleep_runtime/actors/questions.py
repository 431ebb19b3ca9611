"""Questions: what a night asks the engine and the embedder, each answer pinned before it is used.

A question that was pinned in this run, or answered on an earlier night, is not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from sleep_runtime.actors import meter
from sleep_runtime.actors.heartbeat import Heartbeat
from sleep_runtime.actors.parts import DriverParts
from sleep_runtime.actors.tally import Tally
from sleep_runtime.consolidation import generate, settle
from sleep_runtime.core.errors import SleepRuntimeError
from sleep_runtime.core.ids import digest
from sleep_runtime.core.note import Dossier
from sleep_runtime.core.observation import Distillation, Observation, SessionInput
from sleep_runtime.core.ports import Asked, Pin
from sleep_runtime.core.proposal import ClaimPair, Judgement
from sleep_runtime.core.run import Lease, Run
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.failpoint import failpoint
from sleep_runtime.telemetry.log import get_logger

SESSIONS_PER_CALL = 16
PAIRS_PER_CALL = 64
MAX_PROBLEM_CHARS = 500

log = get_logger(__name__)
Item = TypeVar("Item")
Question = TypeVar("Question")
Answer = TypeVar("Answer", Distillation, Judgement)


class Questions:
    """Asks for one run under one lease, within its budgets."""

    def __init__(self, parts: DriverParts, lease: Lease, heart: Heartbeat, tally: Tally) -> None:
        self._parts = parts
        self._lease = lease
        self._heart = heart
        self._tally = tally

    def distil(self, run: Run, sessions: Sequence[SessionInput]) -> list[Distillation]:
        """What the engine hears in each session, in order."""
        engine = self._parts.engine
        keys = [generate.session_key(session, engine.name) for session in sessions]
        pins = self._parts.ledger.pins(run.id, "distil")
        open_sessions = {
            key: session for key, session in zip(keys, sessions, strict=True) if key not in pins
        }
        for chunk in _chunks(list(open_sessions.items()), SESSIONS_PER_CALL):
            self._before_call()
            with meter.engine_calls(engine, "distil"):
                answers = self._ask([session for _, session in chunk], engine.distil, _unread)
            failpoint("run.generated.answered")
            meter.problems(engine, "distil", answers)
            pins |= self._pin(run, "distil", [key for key, _ in chunk], answers)
            failpoint("run.generated.half_pinned")
        return [Distillation.model_validate(pins[key].output) for key in keys]

    def _ask(
        self,
        questions: Sequence[Question],
        ask: Callable[[Sequence[Question]], Sequence[Answer]],
        unusable: Callable[[str], Answer],
    ) -> list[Answer]:
        """Ask a batch; when it breaks the engine, ask one by one: a bad question breaks alone.

        A question that breaks it by itself is answered with a problem: it must not stop its scope
        for ever.
        """
        try:
            return list(ask(questions))
        except SleepRuntimeError:
            raise
        except Exception as error:
            log.exception(LogEvent.ENGINE_PROBLEM, questions=len(questions))
            if len(questions) == 1:
                return [unusable(f"{type(error).__name__}: {error}"[:MAX_PROBLEM_CHARS])]
        return [answer for one in questions for answer in self._ask([one], ask, unusable)]

    def vectors(
        self, observations: Sequence[Observation], dossiers: Sequence[Dossier]
    ) -> dict[str, bytes]:
        """A vector for each statement, from the ledger where it has one of this model."""
        parts = self._parts
        by_id = {dossier.note.id: dossier.note for dossier in dossiers}
        known = {
            by_id[entry.note_id].claim.statement: entry.vector
            for entry in parts.ledger.vectors(list(by_id))
            if entry.model == parts.embedder.model
            and by_id[entry.note_id].revision == entry.revision
        }
        statements = {item.claim.statement for item in observations}
        statements |= {dossier.note.claim.statement for dossier in dossiers}
        return self.embedded(statements, known)

    def embedded(self, statements: set[str], known: Mapping[str, bytes]) -> dict[str, bytes]:
        """``known``, and a vector for each statement that is missing there."""
        missing = sorted(statements - known.keys())
        return {**known, **dict(zip(missing, self._parts.embedder.embed(missing), strict=True))}

    def judge(
        self,
        run: Run,
        step: str,
        pairs: Sequence[ClaimPair],
        observations: Sequence[Observation],
        dossiers: Sequence[Dossier],
        vectors: Mapping[str, bytes],
    ) -> tuple[dict[str, Judgement], Asked]:
        """A judgement of each pair of which anything is known, and what the engine was asked.

        A person's verdict comes first, then the store's own statistics, then the engine.
        """
        verdicts = self._parts.ledger.verdicts(run.scope) if pairs else []
        lessons = settle.teaching(verdicts)
        claims = [each for pair in pairs for each in pair.claims]
        claims += [each for verdict in lessons for each in verdict.claims]
        statements = {claim.statement for claim in claims}
        vectors = self.embedded(statements, vectors)
        said = {v.pair_key: v.judgement for v in verdicts}
        self._parts.breathe()
        odds = settle.measured(pairs, observations, dossiers, vectors, lessons)
        self._parts.breathe()
        unsettled = [pair for pair in pairs if pair.key not in said]
        asked_for = settle.open_pairs(unsettled, odds, self._parts.policy.reflect)
        answers, asked = self._compare(run, step, asked_for)
        return settle.settled(pairs, odds, answers, said), asked

    def _compare(
        self, run: Run, step: str, pairs: Sequence[ClaimPair]
    ) -> tuple[dict[str, Judgement], Asked]:
        """A judgement of each pair, and those among them that this run had to ask for.

        Pins come first, then what the engine answered on an earlier night.
        """
        engine = self._parts.engine
        keys = {digest(engine.name, pair.key): pair for pair in pairs}
        pins = self._parts.ledger.pins(run.id, step)
        known = self._remembered(run, [p for key, p in keys.items() if key not in pins])
        missing = [
            (key, pair) for key, pair in keys.items() if key not in pins and pair.key not in known
        ]
        for chunk in _chunks(missing, PAIRS_PER_CALL):
            self._before_call()
            with meter.engine_calls(engine, "compare"):
                answers = self._ask([pair for _, pair in chunk], engine.compare, _unjudged)
            failpoint("run.reflected.answered")
            meter.problems(engine, step, answers)
            pins |= self._pin(run, step, [key for key, _ in chunk], answers)
            failpoint("run.reflected.half_pinned")
        asked = {
            pair.key: Judgement.model_validate(pins[key].output)
            for key, pair in keys.items()
            if key in pins
        }
        return {**known, **asked}, Asked(engine=engine.name, judgements=asked)

    def _remembered(self, run: Run, pairs: Sequence[ClaimPair]) -> dict[str, Judgement]:
        keys = [pair.key for pair in pairs]
        if not keys:
            return {}
        return self._parts.ledger.judgements(run.scope, self._parts.engine.name, keys)

    def _pin(
        self, run: Run, step: str, keys: Sequence[str], answers: Sequence[Distillation | Judgement]
    ) -> dict[str, Pin]:
        """Pin a batch of answers; each takes an equal share of what the batch cost."""
        cost = self._tally.open()
        shares = cost.usage.shared(len(keys))
        fresh = {
            key: Pin(key=key, output=answer.model_dump(mode="json"), usage=share)
            for key, answer, share in zip(keys, answers, shares, strict=True)
        }
        written = self._parts.writer.pin(
            self._lease,
            run.id,
            step,
            list(fresh.values()),
            now=self._parts.clock.now(),
            seconds=cost.seconds,
        )
        self._tally.written(written, cost)
        return fresh

    def _before_call(self) -> None:
        self._parts.breathe()
        self._heart.check()
        self._tally.check()


def _unread(problem: str) -> Distillation:
    return Distillation(problem=problem)


def _unjudged(problem: str) -> Judgement:
    return Judgement(problem=problem)


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
