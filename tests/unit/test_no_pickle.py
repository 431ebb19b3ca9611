"""Nothing of ours reads what could run code: pickle is left to Ray, among its own processes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sleep_runtime

PACKAGE = Path(sleep_runtime.__file__).parent
RUNS_CODE = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
CALLS = {"eval", "exec", "allow_pickle"}


def dangers(source: str) -> list[str]:
    """What a module imports or calls that could run code out of data."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names if one.name.partition(".")[0] in RUNS_CODE]
        elif (
            isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in RUNS_CODE
        ):
            found.append(node.module or "")
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            found += [name] if name in CALLS else []
            found += [key.arg for key in node.keywords if key.arg in CALLS and key.arg]
    return found


def test_no_module_reads_what_could_run_code() -> None:
    found = {
        str(path.relative_to(PACKAGE)): dangers(path.read_text("utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    assert len(found) > 100
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "eval('1')",
        "np.load(x, allow_pickle=True)",
    ],
)
def test_a_planted_danger_is_seen(source: str) -> None:
    assert dangers(source)
