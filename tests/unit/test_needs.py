"""What a machine lacks: a skip on a laptop, a failure in CI."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sleep_runtime.testing import needs


@pytest.mark.parametrize("ci", [None, "", "false"])
def test_on_a_laptop_a_missing_program_skips_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, ci: str | None
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        needs.program("no-such-program")


@pytest.mark.parametrize("ci", ["true", "True", "1"])
def test_in_ci_a_missing_program_fails(monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.fail.Exception, match="CI has to have this: no-such-program"):
        needs.program("no-such-program")


def test_without_vllm_or_its_weights_a_test_skips_and_ci_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(needs.ENV_VLLM_MODEL, str(tmp_path))
    for there, reason in ((None, "vLLM is not installed"), (object(), "no weights at")):
        monkeypatch.setattr("importlib.util.find_spec", lambda _, there=there: there)
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match=f"{reason}.*--with-vllm-cpu"):
            needs.vllm_model()
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match=reason):
            needs.vllm_model()


def test_a_program_that_is_there_is_given_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(sys.executable)
    monkeypatch.setenv("PATH", str(here.parent))
    assert needs.program(here.name) == str(here)
