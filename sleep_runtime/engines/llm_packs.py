"""Packs: short parts of one scope's sessions share a question, so that its text is paid once.

A pack never holds two scopes: what one person's sessions say stays among them. Every part keeps
its own block of lines, numbered on through the pack, and gets the items that cite its lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sleep_runtime.core.ids import digest
from sleep_runtime.core.scope import Scope
from sleep_runtime.engines.llm_answers import Item, quoted
from sleep_runtime.engines.llm_lines import Line, Part

MAX_SPOKEN = 8
"""A person's lines in a pack of several parts: as many as an answer may hold items."""


@dataclass(frozen=True)
class Member:
    """A part in a pack, its lines numbered for it. ``place`` is that of its session.

    ``key`` names the question what the part says.
    """

    place: int
    scope: Scope
    part: Part
    key: str = ""


@dataclass(frozen=True)
class Pack:
    """The parts of one question, all of one scope."""

    members: tuple[Member, ...]

    @property
    def key(self) -> str:
        """Names the question: the key of its only member, else a hash of all their keys."""
        keys = [member.key for member in self.members]
        return keys[0] if len(keys) == 1 else digest(*keys)

    def render(self) -> str:
        """The user message: a block of delimited data for each part, nothing else."""
        return "\n".join(member.part.render() for member in self.members)

    def shared(self, items: Sequence[Item]) -> Iterator[tuple[Member, list[Item]]]:
        """Each member with the items that are its own, which cite its lines only.

        An item that cites lines of several members belongs to those whose lines hold its quote. One
        that belongs nowhere is left to the first member, whose gate drops it and says why.
        """
        homes = [(item, self._homes(item)) for item in items]
        for member in self.members:
            labels = {line.label for line in member.part.lines}
            own = [
                item.model_copy(update={"lines": [x for x in item.lines if x in labels]})
                if len(found) > 1
                else item
                for item, found in homes
                if member in (found or self.members[:1])
            ]
            yield member, own

    def _homes(self, item: Item) -> list[Member]:
        cited = [
            (member, [line for line in member.part.lines if line.label in item.lines])
            for member in self.members
        ]
        citing = [(member, lines) for member, lines in cited if lines]
        if len(citing) < 2 or set(item.lines) - {x.label for _, lines in citing for x in lines}:
            return [member for member, _ in citing[:1]]
        return [m for m, lines in citing if any(quoted(item.quote, x.shown) for x in lines)]


def packs_of(parts: Iterable[Member], *, max_chars: int, max_parts: int) -> list[Pack]:
    """The parts in order, as many to a pack as fit: of one scope, at most ``max_parts``.

    Several parts share a pack only up to ``max_chars`` and ``MAX_SPOKEN`` lines of people.
    """
    packs: list[list[Member]] = []
    for member in parts:
        last = packs[-1] if packs else []
        if last and len(last) < max_parts and _fits([*last, member], max_chars):
            last.append(member)
        else:
            packs.append([member])
    return [Pack(tuple(_numbered(pack))) for pack in packs]


def _fits(members: Sequence[Member], max_chars: int) -> bool:
    lines = [line for member in members for line in member.part.lines]
    return (
        len({member.scope for member in members}) == 1
        and sum(len(line.shown) for line in lines) <= max_chars
        and sum(line.label.startswith("H") for line in lines) <= MAX_SPOKEN
    )


def _numbered(members: Iterable[Member]) -> Iterator[Member]:
    number = 0
    for member in members:
        lines: list[Line] = []
        for line in member.part.lines:
            number += 1
            lines.append(replace(line, label=f"{line.label[0]}{number}"))
        yield replace(member, part=replace(member.part, lines=tuple(lines)))
