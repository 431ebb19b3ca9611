"""The result of one check of ``doctor``."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "warn", "fail"]


class Check(NamedTuple):
    """The result of one check and, unless it is ok, the mend."""

    name: str
    state: State
    detail: str
    mend: str = ""
