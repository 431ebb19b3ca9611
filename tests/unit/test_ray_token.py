"""Ray's token: whoever reads it may run code on the cluster, so nobody else may read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sleep_runtime.compose.ray_token import private_token


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_token_is_never_open_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".ray" / "auth_token"
    monkeypatch.setattr(Path, "chmod", lambda *_: pytest.fail("it was open before it was closed"))
    before = os.umask(0)
    try:
        private_token(path)
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert len(path.read_text()) == 64


def test_a_token_that_is_there_stays_and_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "auth_token"
    path.write_text("of another Ray")
    path.chmod(0o644)
    private_token(path)
    assert path.read_text() == "of another Ray"
    assert mode(path) == 0o600


def test_two_new_tokens_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        private_token(tmp_path / name)
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()
