"""Scope: where a thing belongs, as a path ``org``, ``org/team`` or ``org/team/user``."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from sleep_runtime.core.errors import InvalidScope

MAX_PART_CHARS = 128
_PART = re.compile(r"[A-Za-z0-9_@+=:,~-][A-Za-z0-9_.@+=:,~-]*\Z")
_NAMES = ("org", "team", "user")
_MEND = 'write it as "org", "org/team" or "org/team/user", parts of letters, digits and _.@+=:,~-'


class Tier(IntEnum):
    """The depth of a scope. Smaller is wider: an organisation holds teams, a team holds people."""

    ORG = 1
    TEAM = 2
    INDIVIDUAL = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class Scope(str):
    """A validated scope path. It is a ``str``, so it sorts, hashes and serialises as one.

    As a pydantic field it takes a path or ``{"org", "team", "user"}`` and serialises as a path.
    """

    __slots__ = ()

    def __new__(cls, path: str) -> Self:
        if isinstance(path, cls):
            return path
        _check(path)
        return super().__new__(cls, path)

    def __getnewargs__(self) -> tuple[str]:
        return (str(self),)

    @classmethod
    def from_parts(cls, org: str, team: str | None = None, user: str | None = None) -> Scope:
        if user is not None and team is None:
            raise InvalidScope("a user needs a team", field="scope.team", mend=_MEND)
        return cls("/".join(p for p in (org, team, user) if p is not None))

    @classmethod
    def from_mapping(cls, value: dict[str, Any]) -> Scope:
        """Build from ``{"org": ..., "team": ..., "user": ...}``; unknown keys are refused."""
        unknown = sorted(set(value) - set(_NAMES))
        if unknown:
            raise InvalidScope(f"unknown key {unknown[0]!r}", field="scope", mend=_MEND)
        for name in _NAMES:
            part = value.get(name)
            if part is not None and (not isinstance(part, str) or "/" in part):
                raise InvalidScope(f"{part!r} is not allowed", field=f"scope.{name}", mend=_MEND)
        if value.get("org") is None:
            raise InvalidScope("is missing", field="scope.org", mend=_MEND)
        return cls.from_parts(value["org"], value.get("team"), value.get("user"))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return _SCHEMA

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        part = {"type": "string", "minLength": 1, "maxLength": MAX_PART_CHARS}
        return {
            "anyOf": [
                {"type": "string", "description": '"org", "org/team" or "org/team/user"'},
                {
                    "type": "object",
                    "properties": dict.fromkeys(_NAMES, part),
                    "required": ["org"],
                    "additionalProperties": False,
                },
            ]
        }

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.split("/"))

    @property
    def tier(self) -> Tier:
        return Tier(self.count("/") + 1)

    @property
    def org(self) -> Scope:
        return Scope(self.split("/", 1)[0])

    @property
    def parent(self) -> Scope | None:
        head, _, _ = self.rpartition("/")
        return Scope(head) if head else None

    def lineage(self) -> tuple[Scope, ...]:
        """This scope and those above it, nearest first: what a reader here may see."""
        found = [self]
        while (end := found[-1].rfind("/")) > 0:
            # The beginning of a valid path is one: it is not checked again.
            found.append(str.__new__(Scope, found[-1][:end]))
        return tuple(found)

    def covers(self, other: Scope) -> bool:
        """True when ``other`` is this scope or lies below it."""
        return other == self or other.startswith(self + "/")


def _check(path: object) -> None:
    if not isinstance(path, str):
        raise InvalidScope(f"expected text, got {type(path).__name__}", field="scope", mend=_MEND)
    _check_text(path)


@lru_cache(maxsize=4096)
def _check_text(path: str) -> None:
    parts = path.split("/")
    if len(parts) > len(_NAMES):
        raise InvalidScope(f"has {len(parts)} parts, at most 3", field="scope", mend=_MEND)
    for name, part in zip(_NAMES, parts, strict=False):
        if not part:
            raise InvalidScope("is empty", field=f"scope.{name}", mend=_MEND)
        if len(part) > MAX_PART_CHARS:
            raise InvalidScope(
                f"is {len(part)} characters, at most {MAX_PART_CHARS}",
                field=f"scope.{name}",
                mend=_MEND,
            )
        if not _PART.match(part) or ".." in part:
            raise InvalidScope(f"{part!r} is not allowed", field=f"scope.{name}", mend=_MEND)


def _parse(value: Any) -> Scope:
    try:
        return Scope.from_mapping(value) if isinstance(value, dict) else Scope(value)
    except InvalidScope as error:
        raise PydanticCustomError("scope", "{reason}", {"reason": str(error)}) from None


_SCHEMA = core_schema.no_info_plain_validator_function(
    _parse, serialization=core_schema.to_string_ser_schema()
)
