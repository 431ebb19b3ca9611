"""The compilers that are installed: ours and anybody's, found by entry point.

A package adds one with ``[project.entry-points."sleep_runtime.compilers"]`` and a class (made
without arguments) or a ready object that keeps the ``Compiler`` port. It is pointed at what the
store holds already: nothing has to be consolidated again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from sleep_runtime.core.errors import InvalidConfig, NotFound, SleepRuntimeError
from sleep_runtime.core.fence import CLOSE, OPEN, fence
from sleep_runtime.core.ports import Compiled, Compiler, ScoredNote
from sleep_runtime.core.text import quoted_line
from sleep_runtime.present.tokens import EstimatedTokens, TokenCounter
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

GROUP = "sleep_runtime.compilers"
_OURS = "sleep-runtime"

log = get_logger(__name__)


class Problem(NamedTuple):
    """An installed compiler that cannot be used, and why."""

    name: str
    package: str
    reason: str


def load_compilers(
    report: Callable[[Problem], None] | None = None, *, counter: TokenCounter | None = None
) -> dict[str, Compiler]:
    """Every usable compiler by its entry point's name, ours first, then by name.

    ``counter`` counts tokens for ours (default: an estimate), and for what others made.
    One that cannot be imported or made, does not keep the port or takes a name that is taken is
    handed to ``report`` (default: a warning in the log) and left out; the others work.
    """
    found: dict[str, Compiler] = {}
    for point in sorted(entry_points(group=GROUP), key=_order):
        try:
            found[point.name] = _load(point, taken=found, counter=counter or EstimatedTokens())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - strangers raise what they like
            (report or _warn)(Problem(point.name, _package(point), _why(error)))
    return found


def get_compiler(compilers: Mapping[str, Compiler], name: str) -> Compiler:
    """The compiler of this name. Raises ``NotFound``, naming those there are."""
    if name in compilers:
        return compilers[name]
    known = ", ".join(sorted(compilers)) or "none is installed"
    raise NotFound(f"there is no compiler {name!r}", field="compiler", mend=f"known: {known}")


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    return _package(point) != _OURS, point.name, _package(point)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""


def _load(point: EntryPoint, *, taken: Container[str], counter: TokenCounter) -> Compiler:
    if point.name in taken:
        raise InvalidConfig("another package has a compiler of this name")
    made = point.load()
    ours = _package(point) == _OURS
    compiler = made(*([counter] if ours else [])) if isinstance(made, type) else made
    if not isinstance(compiler, Compiler) or not callable(compiler.compile):
        raise InvalidConfig("does not have a name and a compile method")
    if compiler.name != point.name:
        raise InvalidConfig(f"calls itself {compiler.name!r}")
    return compiler if ours else Guarded(compiler, counter)


def _why(error: BaseException) -> str:
    return error.reason if isinstance(error, InvalidConfig) else f"{type(error).__name__}: {error}"


def _warn(problem: Problem) -> None:
    log.warning(LogEvent.COMPILER_REFUSED, **problem._asdict())


class Guarded:
    """Somebody else's compiler, held to what readers rely on.

    The notes it is given are clean already: each text on one line, without marks of ours or of a
    chat template. Its text gets the fence if it has none, so that the next night knows our own
    words again; a note it was not given is not reported as shown; what it throws names it.
    """

    def __init__(self, inner: Compiler, counter: TokenCounter | None = None) -> None:
        self._inner = inner
        self._counter = counter or EstimatedTokens()
        self.name = inner.name

    def compile(self, notes: Sequence[ScoredNote], *, query: str, budget_tokens: int) -> Compiled:
        try:
            clean = [_clean(scored) for scored in notes]
            made = self._inner.compile(clean, query=query, budget_tokens=budget_tokens)
            made = Compiled.model_validate(made)
        except Exception as error:
            raise SleepRuntimeError(
                f"failed: {type(error).__name__}: {error}",
                field=f"compiler {self.name}",
                mend="use another compiler, or ask whoever made this one",
            ) from error
        given = {scored.note.id for scored in notes}
        text = made.text if not made.text or _is_fenced(made.text) else fence(made.text)
        added = self._counter.count(f"{OPEN}\n{CLOSE}\n") if text != made.text else 0
        return Compiled(
            text=text,
            notes=tuple(i for i in made.notes if i in given),
            compiler=self.name,
            tokens=made.tokens + added,
        )


def _clean(scored: ScoredNote) -> ScoredNote:
    """The note with nothing in its words that could pose as more than words."""
    claim = scored.note.claim
    words = {
        "statement": quoted_line(claim.statement),
        "subject": quoted_line(claim.subject),
        "aspect": quoted_line(claim.aspect),
        "value": quoted_line(claim.value),
        "applies_when": quoted_line(claim.applies_when),
        "about": {quoted_line(k): quoted_line(v) for k, v in claim.about.items()},
        "corrects": "",
    }
    note = scored.note.model_copy(
        update={
            "claim": claim.model_copy(update=words),
            "reason": quoted_line(scored.note.reason),
        }
    )
    return scored.model_copy(update={"note": note})


def _is_fenced(text: str) -> bool:
    return text == fence(text.removeprefix(f"{OPEN}\n").removesuffix(f"\n{CLOSE}"))
