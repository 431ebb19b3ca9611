"""Settings: files and environments that somebody else wrote."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import strategies as st

from reliability.fuzz.shapes import DEEP_ARRAY, damaged, in_bytes, json_values, texts
from reliability.fuzz.target import Target
from sleep_runtime.config import ENV_PREFIX, InvalidSettings, env_name, leaf_keys, load

MAX_SAID_CHARS = 20_000

_KEYS = leaf_keys()
_YAML_VALUES = st.one_of(
    json_values,
    texts,
    st.sampled_from(
        (
            *(
                "~",
                "yes",
                "0o17",
                "1:30",
                "2026-11-22",
                "!!binary x",
                "!!python/object:os.system x",
            ),
            *("*a", "&a [*a]", "&a {x: *a}", "!!set {a, b}", "!!int x", "!!float .nan", ".inf"),
            *("2026-13-45", "0001-01-01T00:00:00+23:59", "!!timestamp 9999-99-99", "<<: {a: 1}"),
            *("{? [a] : b}", "{? {a: b} : c}", "!!omap [a]", "!!pairs [a: 1, a: 2]", "? x", "- x"),
            *("|\n  x", ">-\n x", "@x", "`x", "%x", "\t", "'", '"', "!!null x", "!!bool maybe"),
        )
    ),
)


@st.composite
def _yaml(draw: st.DrawFn) -> str:
    lines = []
    for key in draw(st.lists(st.sampled_from(_KEYS), max_size=3, unique=True)):
        *sections, leaf = key.split(".")
        for depth, section in enumerate(sections):
            lines.append(f"{'  ' * depth}{section}:")
        lines.append(f"{'  ' * len(sections)}{leaf}: {draw(_YAML_VALUES)}")
    if draw(st.integers(0, 3)) == 0:
        lines.append(draw(st.one_of(_YAML_VALUES, texts)))
    return "\n".join(lines)


# Aliases that grow ninefold with each name, where a list, a path or a number is expected.
_LAUGHS = ",".join(
    f"&{name} [{','.join(['*' + before if before else 'x'] * 9)}]"
    for before, name in zip(("", *"abcdefgh"), "abcdefghi", strict=True)
)
_TAGGED = [f"data_dir: !!{tag}".encode() for tag in ("bool", "int", "float x", "timestamp x")]
_BOMBS = tuple(
    f"{place} [{_LAUGHS}]{'}' * place.count('{')}".encode()
    for place in ("a:", "data_dir:", "http: {port:", "policy: {tiers: {departed:", "log:")
)
_FILES = st.one_of(
    _yaml().map(lambda text: in_bytes(text, "utf-8")),
    st.sampled_from(_BOMBS),
    damaged(_yaml().map(lambda text: in_bytes(text, "utf-8"))),
    json_values.map(lambda text: in_bytes(text, "utf-8")),
)
_ENVIRONMENTS = st.dictionaries(
    st.sampled_from([env_name(key) for key in _KEYS])
    | st.text("ABZ_", max_size=12).map(lambda name: ENV_PREFIX + name),
    texts | json_values,
    max_size=3,
)


def _read_file(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_bytes(raw)
        _load(path, {})


def _load(path: Path | None, environ: dict[str, str]) -> None:
    try:
        load(path, environ=environ)
    except InvalidSettings as error:
        unclear = [one for one in error.problems if not (one.reason and one.field)]
        if unclear or len(str(error)) > MAX_SAID_CHARS:
            raise AssertionError(f"nobody could act on {str(error)[:200]!r}") from error
        raise


SETTINGS: tuple[Target, ...] = (
    Target(
        "settings-file",
        _FILES,
        _read_file,
        (InvalidSettings,),
        told=False,
        known=[DEEP_ARRAY, b'{"":0}', b'{"":0,"":0}', b"0", *_TAGGED, *_BOMBS],
    ),
    Target(
        "settings-env",
        _ENVIRONMENTS,
        lambda environ: _load(None, environ),
        (InvalidSettings,),
        told=False,
        known=[
            {"SLEEP_POOL__QUIET_HOURS": " "},
            {"SLEEP_POOL__QUIET_HOURS": DEEP_ARRAY.decode()},
            {"SLEEP_POOL__TIMEZONE": "Europe/Nowhere"},
        ],
    ),
)
