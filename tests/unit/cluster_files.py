"""Reading the files in cluster/: rendered as kubectl renders them, and bent for tests."""

from __future__ import annotations

import copy
import functools
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from sleep_runtime.testing.needs import missing

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
KUBERNETES = CLUSTER / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
LAUNCHERS = sorted(path.name for path in CLUSTER.glob("*.yaml"))

Document = dict[str, Any]
Key = str | int

# What stands below these names is names of our own choice.
FREE = frozenset({"labels", "annotations", "matchLabels", "nodeSelector", "data", "file_mounts"})


class _Strict(yaml.SafeLoader):
    """YAML in which a key stands once: PyYAML keeps the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{node.start_mark}: {', '.join(twice)} is given twice")
        return super().construct_mapping(node, deep)


def read(path: Path) -> Document:
    """The one document of a YAML file in which no key is given twice."""
    document: Document = yaml.load(path.read_text("utf-8"), Loader=_Strict)
    return document


@functools.cache
def kubectl() -> str:
    """The kubectl of the development dependencies, else the machine's."""
    beside = Path(sys.executable).parent / "kubectl"
    if beside.exists():
        return str(beside)
    return shutil.which("kubectl") or missing("kubectl is not installed")


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """What ``kubectl kustomize`` says to this folder. It asks no cluster."""
    command = [kubectl(), "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@functools.cache
def _rendered(folder: Path) -> str:
    done = kustomize(folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(overlay: str) -> list[Document]:
    """Every document of an overlay, as it would be applied."""
    return list(yaml.safe_load_all(_rendered(KUBERNETES / "overlays" / overlay)))


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """The documents of one kind."""
    return [document for document in documents if document["kind"] == kind]


def key_paths(value: Any, free: Collection[str] = FREE) -> Iterator[tuple[Key, ...]]:
    """The path of every key that somebody could misspell."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield (name,)
            if name not in free:
                yield from ((name, *path) for path in key_paths(below, free))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from ((index, *path) for path in key_paths(below, free))


def misspelled(document: Document, path: tuple[Key, ...]) -> Document:
    """The document with the last key of ``path`` spelled wrong."""
    bent = copy.deepcopy(document)
    part: Any = bent
    for step in path[:-1]:
        part = part[step]
    part[f"{path[-1]}x"] = part.pop(path[-1])
    return bent
