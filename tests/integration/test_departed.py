"""Somebody leaves: their words speak for nothing any more, and what others say as well stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from daylight import ADJUSTED, ANA, BEN, DAN, DAY, TEAM, World, runtime

from sleep_runtime.consolidation import settle
from sleep_runtime.core.errors import SleepRuntimeError
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.clock import ManualClock

CLEO = Scope("acme/banking/cleo")


@pytest.fixture(autouse=True)
def judged_by_the_script_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store's statistics make of one line is no matter of this file."""
    monkeypatch.setattr(settle, "measured", lambda *_: {})


class Days:
    """One directory, opened for some days at a time with some people gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clock = ManualClock()

    def live(
        self, *speakers: Scope, gone: Sequence[str] = (), days: int = 2
    ) -> dict[Scope, list[str]]:
        """What is in force at the team and at its people afterwards."""
        overrides = {"policy.tiers.departed": list(gone), "policy.triggers.fade_s": 86_400.0}
        with runtime(self._path, self._clock, overrides=overrides) as running:
            world = World(running, self._clock)
            for who in speakers:
                world.say(who, ADJUSTED.statement)
            for _ in range(days):
                self._clock.advance(DAY)
                while world.tick():
                    pass
            self.team = world.notes(TEAM)
            return {scope: world.active(scope) for scope in (TEAM, ANA, BEN, CLEO)}


def test_a_team_note_that_rests_on_who_left_waits_and_the_others_copy_comes_back(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path)
    assert days.live(ANA, BEN)[TEAM] == [ADJUSTED.statement]
    after = days.live(gone=["acme/banking/ben"], days=3)
    (note,) = days.team
    assert (note.status, note.support.people) == (NoteStatus.CANDIDATE, 1)
    assert "what spoke for it is gone" in note.reason
    assert after[TEAM] == []
    assert after[ANA] == [ADJUSTED.statement]
    assert after[BEN] == []
    again = days.live(CLEO, gone=["acme/banking/ben"])
    assert again[TEAM] == [ADJUSTED.statement]


def test_enough_others_keep_it_in_force_with_less_support(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.live(ANA, BEN, CLEO)
    believed = days.team[0].confidence
    assert days.live(ANA, gone=["acme/banking/ben"])[TEAM] == [ADJUSTED.statement]
    assert days.team[0].support.people == 2
    assert days.team[0].confidence < believed


def test_who_left_is_left_in_every_team_and_teaches_nothing_new(tmp_path: Path) -> None:
    days = Days(tmp_path)
    moved = Scope("acme/banking/dan")
    assert days.live(moved, ANA, gone=[str(DAN)])[TEAM] == []
    assert days.live(BEN, gone=[str(DAN)])[TEAM] == [ADJUSTED.statement]


def test_a_name_taken_off_the_list_counts_again(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.live(ANA, BEN)
    assert days.live(gone=["acme/banking/ben"], days=3)[TEAM] == []
    assert days.live(ANA)[TEAM] == [ADJUSTED.statement]


@pytest.mark.parametrize("path", ["ben", "acme/banking", "acme/banking/b en"])
def test_a_path_that_names_no_person_is_refused_by_its_field(path: str, tmp_path: Path) -> None:
    with pytest.raises(SleepRuntimeError, match="departed"):
        Days(tmp_path).live(gone=[path])
