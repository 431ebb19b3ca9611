"""What is remembered and what is asked: seeded sentences, the same for everybody measured.

A note says how one thing is done for one customer; of one user no two notes are about the same
pair. A question names the pair in other words, so that there is one right answer, and no two
questions are the same text, so that nobody answers from a cache of vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

USERS = 100
TEAMS = 10
ORG = "peers"

_FIRST = ("Bright", "North", "Silver", "Green", "Iron", "Blue", "Stone", "River", "Oak", "Sun")
_LAST = ("water", "field", "gate", "line", "bridge", "wood")
_CUSTOMERS = tuple(first + last for first, last in product(_FIRST, _LAST))
_THINGS = (
    "invoice",
    "quarterly report",
    "release note",
    "sales forecast",
    "support ticket",
    "weekly summary",
    "contract draft",
    "onboarding guide",
    "incident review",
    "budget table",
    "revenue chart",
    "meeting agenda",
    "price list",
    "delivery plan",
    "audit log",
    "staff rota",
    "product catalogue",
    "risk register",
    "tax statement",
    "newsletter",
)
_WAYS = (
    "shows amounts in euros, rounded to thousands",
    "goes out on the first Monday of the month",
    "is checked by two people before it is sent",
    "is written in British English, without jargon",
    "fits on one page and leads with the result",
    "names the owner and the next date at the top",
    "is sorted by region and then by name",
    "lists open questions before anything else",
    "leaves out whatever is still under embargo",
    "keeps last year's figures beside the new ones",
)
_STATEMENTS = (
    "The {thing} for {customer} {way}.",
    "For {customer} the {thing} {way}.",
    "At {customer}, every {thing} {way}.",
)
_QUESTIONS = (
    "How do we do the {thing} for {customer}?",
    "What should I keep in mind about the {thing} of {customer}?",
    "I am working on a {thing} for {customer}, what is the rule?",
    "{customer} wants a {thing}: how did we agree to make it?",
    "Is there anything special about a {thing} that goes to {customer}?",
    "Please prepare the {thing} for {customer} the usual way.",
)


@dataclass(frozen=True)
class Remembered:
    """One note: ``about`` is the pair of thing and customer that no other note of its user has."""

    id: str
    user: str
    text: str
    about: tuple[str, str]


@dataclass(frozen=True)
class Question:
    """One query by one user, and the id of the note it was made from."""

    user: str
    text: str
    note: str


def scope_of(user: str) -> str:
    """Where ours keeps a user's notes: ``org/team/user``."""
    return f"{ORG}/team{int(user.removeprefix('user')) % TEAMS}/{user}"


def remembered(count: int, *, seed: int = 0) -> list[Remembered]:
    """``count`` notes spread evenly over 100 users; fewer of them are the first of more.

    Raises ``ValueError`` when a user would have more notes than there are pairs.
    """
    pairs = list(product(_THINGS, _CUSTOMERS))
    if count > USERS * len(pairs):
        raise ValueError(f"{count} notes are too many: at most {USERS * len(pairs)}")
    random = Random(seed)
    each = -(-count // USERS)
    abouts = [Random(f"{seed}-{user}").sample(pairs, each) for user in range(USERS)]
    made = []
    for number in range(count):
        about = abouts[number % USERS][number // USERS]
        text = random.choice(_STATEMENTS).format(
            thing=about[0], customer=about[1], way=random.choice(_WAYS)
        )
        made.append(Remembered(f"note_{number:06}", f"user{number % USERS}", text, about))
    return made


def questions(notes: Sequence[Remembered], count: int, *, seed: int = 0) -> list[Question]:
    """``count`` distinct questions about these notes; the users take turns.

    Where another user has asked the same already, the next of six wordings is taken. Raises
    ``ValueError`` when the notes do not give so many.
    """
    blocks = [notes[at : at + USERS] for at in range(0, len(notes), USERS)]
    Random(seed).shuffle(blocks)
    made: dict[str, Question] = {}
    for wording, block in product(range(len(_QUESTIONS)), blocks):
        for note in block:
            ways = (*_QUESTIONS[wording:], *_QUESTIONS[:wording])
            texts = (way.format(thing=note.about[0], customer=note.about[1]) for way in ways)
            if text := next((text for text in texts if text not in made), ""):
                made[text] = Question(note.user, text, note.id)
            if len(made) == count:
                return list(made.values())
    raise ValueError(f"{len(notes)} notes give {len(made)} distinct questions, not {count}")


def additions(count: int, *, seed: int) -> list[tuple[str, str]]:
    """(user, text) of ``count`` memories that are in no store yet; the users take turns."""
    random = Random(f"additions-{seed}")
    return [
        (
            f"user{number % USERS}",
            random.choice(_STATEMENTS).format(
                thing=random.choice(_THINGS),
                customer=random.choice(_CUSTOMERS),
                way=f"{random.choice(_WAYS)}, since change {seed}-{number}",
            ),
        )
        for number in range(count)
    ]
