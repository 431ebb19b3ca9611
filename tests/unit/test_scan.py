"""The byte scan finds a text however it is written, and nothing that is not there."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from random import Random

import pytest

from sleep_runtime.stores.scan import CHUNK_BYTES, LEAST_TEXT, Finder, pieces, scan

TEXT = "Größe „zwölf“: use\tadjusted EBITDA"
WAYS = {
    "raw": TEXT.encode(),
    "json": json.dumps(TEXT).encode(),
    "json_utf8": json.dumps(TEXT, ensure_ascii=False).encode(),
    "utf16_le": TEXT.encode("utf-16-le"),
    "utf16_be": TEXT.encode("utf-16-be"),
    **{f"base64_{n}": base64.b64encode(b"x" * n + TEXT.encode() + b"yz") for n in range(6)},
    **{f"urlsafe_{n}": base64.urlsafe_b64encode(b"\xff" * n + TEXT.encode()) for n in range(6)},
    "base64_of_json": base64.b64encode(b'{"t":' + json.dumps(TEXT).encode()),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_text_is_found_however_it_is_written(way: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\0" * 37 + WAYS[way] + b"\0" * 11)
    found = scan(tmp_path, Finder([TEXT]))
    assert [hit.file for hit in found.hits[:1]] == ["deep/file"]
    assert (found.files, found.bytes) == (1, 48 + len(WAYS[way]))


@pytest.mark.parametrize("before", [CHUNK_BYTES - n for n in (1, 8, 20, 40)])
def test_a_text_across_two_reads_is_found_once(before: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"." * before + TEXT.encode() + b"." * 100)
    assert [hit.at for hit in scan(tmp_path, Finder([TEXT])).hits] == [before]


def test_a_copy_that_lacks_one_byte_is_not_found(tmp_path: Path) -> None:
    for number, data in enumerate(WAYS.values()):
        (tmp_path / f"{number}").write_bytes(data[:6] + b"\1" + data[7:30] + b"\1" + data[31:])
    whole = Finder([TEXT])
    assert scan(tmp_path, whole).hits == ()


@pytest.mark.parametrize("seed", range(20))
def test_it_finds_exactly_what_a_search_one_by_one_finds(seed: int) -> None:
    random = Random(seed)
    data = bytes(random.choices(b"abc\0", k=4000))
    needles = ["".join(random.choices("abc", k=random.randint(8, 11))) for _ in range(300)]
    needles += [data[at : at + 9].decode() for at in range(0, 3000, 97)]
    needles = [needle for needle in needles if "\0" not in needle]
    finder = Finder(needles, raw_only=True)
    expected = {n for n, needle in enumerate(finder.needles) if needle.encode() in data}
    assert expected
    assert finder.seen(data) == expected


def test_texts_are_cut_so_that_a_long_enough_part_of_one_is_found() -> None:
    text = "".join(Random(7).choices("abcdefgh ", k=500)).strip()
    finder = Finder(pieces(text))
    assert all(finder.holds(text[at : at + 47]) for at in range(len(text) - 47))


def test_what_is_too_short_is_no_needle() -> None:
    assert list(pieces("yes, please")) == []
    assert list(pieces("x" * LEAST_TEXT)) == ["x" * LEAST_TEXT]
    assert not Finder(["abc"])


def test_links_and_files_left_out_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(TEXT.encode())
    (tmp_path / "link").symlink_to(tmp_path / "own")
    found = scan(tmp_path, Finder([TEXT]), without=[tmp_path / "own"])
    assert found == (0, 0, ())
