"""An agent loop around ``sleep_runtime.client``: recall, act, capture. The agent is scripted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from sleep_runtime.client import Client, Session

TEAM = "acme-decks/banking"
PEOPLE = ("ana", "ben")
RULE = "Always use adjusted EBITDA for Northwind, never reported."
FIGURES = {"reported": 77.3, "adjusted": 82.9}

Model = Callable[[str], str]


def scripted_model(prompt: str) -> str:
    """What a language model would choose: the figure its prompt asks for, else the usual one."""
    return "adjusted" if "adjusted EBITDA" in prompt else "reported"


def read_figure(basis: str) -> float:
    """The agent's only tool."""
    return FIGURES[basis]


def build_deck(session: Session, task: str, model: Model) -> str:
    """One piece of work: the sentence that goes into the deck."""
    session.message(task, role="human")
    known = session.context(task)
    basis = model(f"{known.text}\n\n{task}")
    session.tool_call("read_figure", {"basis": basis})
    try:
        figure = read_figure(basis)
    except KeyError as error:
        session.tool_result("read_figure", f"no such figure: {error}", ok=False)
        raise
    session.tool_result("read_figure", f"{basis} EBITDA: EUR {figure}m")
    sentence = f"Northwind's {basis} EBITDA was EUR {figure}m."
    session.message(sentence, role="agent")
    return sentence


def person_answers(session: Session, sentence: str) -> bool:
    """A person reads it; True when they had to correct it."""
    if "adjusted" in sentence:
        session.message("Thanks, that is it.", role="human")
        return False
    session.correction(RULE)
    return True


def day(client: Client, model: Model = scripted_model, people: Sequence[str] = PEOPLE) -> int:
    """Everybody asks for a deck once; how many had to correct the agent."""
    corrected = 0
    for person in people:
        about = {"account": "northwind"}
        with client.session(f"{TEAM}/{person}", agent="deck-builder", about=about) as session:
            sentence = build_deck(session, "Build the Northwind earnings deck.", model)
            print(f"{person}: {sentence}")
            corrected += person_answers(session, sentence)
    return corrected


def main() -> int:
    """One day with the runtime of this machine, or of ``SLEEP_URL``."""
    with Client() as client:
        corrected = day(client)
        print(f"corrected {corrected} of {len(PEOPLE)}")
        if not client.flush():
            print(f"not delivered yet: {client.stats().last_error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
