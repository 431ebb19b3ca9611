"""The locks of a deployment: every package pinned with hashes, and none that pyproject forgot."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ["runtime", "gpu"]


def locked(extra: str) -> dict[str, list[Requirement]]:
    """What the lock pins, by name. A package may have a pin for each of several Pythons."""
    text = (ROOT / "cluster" / "requirements" / f"{extra}.lock").read_text()
    found: dict[str, list[Requirement]] = {}
    for entry in text.replace("\\\n", "").splitlines():
        name, *hashes = entry.split("--hash=")
        assert hashes, f"{entry} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", one) for one in hashes), entry
        pin = Requirement(name.strip())
        assert str(pin.specifier).startswith("=="), name
        found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def wanted(extra: str) -> list[Requirement]:
    """Everything pyproject asks for with this extra."""
    named = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]
    asked = [Requirement(line) for line in named]
    own = [one for one in asked if one.name == PROJECT["name"]]
    others = [one for one in asked if one.name != PROJECT["name"]]
    return [*others, *(need for one in own for extra in one.extras for need in wanted(extra))]


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_lock_holds_what_pyproject_asks_for(extra: str) -> None:
    pins = locked(extra)
    for need in wanted(extra):
        found = pins.get(canonicalize_name(need.name), [])
        assert found, f"{need.name} is not locked: run scripts/lock"
        for pin in found:
            version = Version(str(pin.specifier).removeprefix("=="))
            assert need.specifier.contains(version), f"{pin} is not {need}: run scripts/lock"


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_lock_names_no_place_to_fetch_from(extra: str) -> None:
    text = (ROOT / "cluster" / "requirements" / f"{extra}.lock").read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


@pytest.mark.parametrize("extra", EXTRAS)
def test_one_pin_holds_for_this_python(extra: str) -> None:
    for name, pins in locked(extra).items():
        here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
        assert len(here) <= 1, f"{name} has two pins for Python {sys.version_info[:2]}"


def test_the_images_and_launchers_install_from_the_locks_only() -> None:
    files = [ROOT / "cluster" / "kubernetes" / "Dockerfile", *(ROOT / "cluster").glob("*.yaml")]
    installs = [
        line.strip()
        for file in files
        for line in file.read_text().splitlines()
        if "pip install" in line
    ]
    cloud = ("boto3", "google-api-python-client")
    for line in installs:
        assert "--require-hashes" in line or "--no-deps" in line or any(c in line for c in cloud), (
            line
        )
