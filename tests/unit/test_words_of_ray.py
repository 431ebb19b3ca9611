"""What people read of an error that Ray wrapped: one line that says why."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from sleep_runtime.actors.owners import in_words
from sleep_runtime.core.errors import EngineUnavailable

TRACEBACK = "\x1b[36mray::engine-0:EngineActor.__init__()\x1b[39m (pid=1, ip=10.0.0.1)\n  File x\n"


def raised(cause: Exception) -> RayTaskError:
    text = TRACEBACK + f"{type(cause).__name__}: {cause}"
    return RayTaskError("ready", text, cause)  # type: ignore[no-untyped-call]


def test_our_own_error_is_said_as_it_was_raised() -> None:
    ours = EngineUnavailable("there is no directory /m", field="engine.model", mend="give one")
    said = "engine.model: there is no directory /m (give one)"
    assert in_words(raised(ours)) == said
    as_both = raised(ours).as_instanceof_cause()  # type: ignore[no-untyped-call]
    assert in_words(as_both) == said


def test_of_a_constructor_that_failed_the_last_line_is_said() -> None:
    assert in_words(ActorDiedError(raised(MemoryError("no room")))) == "MemoryError: no room"


DIED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: EngineActor\n"
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DIED, "The actor is dead because its worker process has died."),
        ("something else\nmore", "something else"),
        ("", "ValueError"),
    ],
)
def test_of_anything_else_the_line_that_says_why(text: str, said: str) -> None:
    assert in_words(ValueError(text)) == said
