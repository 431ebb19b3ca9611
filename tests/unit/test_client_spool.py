"""The spool: private, bounded, shared between processes, and not put off by damage."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from sleep_runtime.client.segments import MAX_REJECTED_BYTES, Segment, SpoolError, SpoolFull
from sleep_runtime.client.spool import SEGMENT_BYTES, Spool, default_directory

URL = "http://runtime"


def make(
    directory: Path, *, url: str = URL, max_bytes: int = 1 << 30, fsync: bool = False
) -> Spool:
    return Spool(directory, url, max_bytes=max_bytes, fsync=fsync)


def lines(*numbers: int) -> list[bytes]:
    return [json.dumps({"id": f"e{number}"}).encode() for number in numbers]


def drain(spool: Spool) -> list[bytes]:
    found = []
    while batch := spool.peek(2, 1 << 20):
        found += batch
        spool.sent(len(batch))
    return found


def waits(spool: Spool) -> bool:
    return spool.waiting_since is not None


def files(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.directory.iterdir())


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    spool = make(tmp_path / "spool")
    assert spool.adopt(now=0.0) == 0
    assert spool.peek(10, 1000) == []
    assert not (tmp_path / "spool").exists()


def test_what_is_spooled_comes_back_in_order_and_leaves_nothing(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(lines(1, 2, 3), now=0.0)
    spool.append(lines(4), now=1.0)
    since = spool.waiting_since
    assert since == 0.0
    assert drain(spool) == lines(1, 2, 3, 4)
    assert not waits(spool)
    spool.close()
    assert files(spool) == []


def test_only_its_user_may_look(tmp_path: Path) -> None:
    spool = make(tmp_path / "state" / "spool")
    spool.append(lines(1), now=0.0)
    spool.bury([(lines(2)[0], "bad")])
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in spool.directory.iterdir()} == {0o600}


def test_events_for_one_runtime_are_never_given_to_another(tmp_path: Path) -> None:
    one = make(tmp_path, url="http://one")
    one.append(lines(1), now=0.0)
    one.close()
    other = make(tmp_path, url="http://other")
    assert other.adopt(now=0.0) == 0
    assert drain(other) == []


def test_a_living_clients_events_are_left_alone_and_a_gone_ones_are_taken_over(
    tmp_path: Path,
) -> None:
    first, second, third = make(tmp_path), make(tmp_path), make(tmp_path)
    first.append(lines(1), now=0.0)
    assert second.adopt(now=0.0) == 0
    first.close()
    assert second.adopt(now=5.0) == 1
    assert second.waiting_since == 5.0
    assert third.adopt(now=5.0) == 0
    assert drain(second) == lines(1)


def test_a_torn_last_line_is_left_out_and_a_whole_one_without_its_end_is_not(
    tmp_path: Path,
) -> None:
    spool = make(tmp_path)
    spool.append(lines(1, 2), now=0.0)
    spool.close()
    segment = next(spool.directory.glob("*.ndjson"))
    with segment.open("ab") as file:
        file.write(b'{"id":"e3","te')
    spool.adopt(now=0.0)
    assert drain(spool) == lines(1, 2)
    spool.append(lines(4), now=0.0)
    spool.close()
    segment = next(spool.directory.glob("*.ndjson"))
    segment.write_bytes(b"\n".join(lines(4, 5)))
    spool.adopt(now=0.0)
    assert drain(spool) == lines(4, 5)


def test_a_full_spool_refuses_the_newest_whoever_filled_it(tmp_path: Path) -> None:
    first = make(tmp_path, max_bytes=40)
    first.append(lines(1, 2), now=0.0)
    second = make(tmp_path, max_bytes=40)
    with pytest.raises(SpoolFull, match="40 bytes"):
        second.append(lines(3, 4), now=0.0)
    assert drain(first) == lines(1, 2)
    first.append(lines(5), now=0.0)


def test_a_long_absence_makes_segments_of_bounded_size(tmp_path: Path) -> None:
    spool = make(tmp_path)
    big = [b'{"id":"' + b"x" * (SEGMENT_BYTES // 3) + b'"}']
    for _ in range(7):
        spool.append(big, now=0.0)
    sizes = [path.stat().st_size for path in spool.directory.glob("*.ndjson")]
    assert len(sizes) == 3
    assert max(sizes) < 2 * SEGMENT_BYTES
    assert len(drain(spool)) == 7


def test_a_disk_that_fills_up_half_way_through_a_line_spoils_nothing_before_or_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(tmp_path)
    spool.append(lines(1), now=0.0)
    real = os.write
    left = [7]

    def full(fd: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken, left[0] = left[0], 0
        return real(fd, bytes(data)[:taken])

    with monkeypatch.context() as patch:
        patch.setattr("sleep_runtime.client.segments.os.write", full)
        with pytest.raises(SpoolError, match="No space left"):
            spool.append(lines(2), now=0.0)
    spool.append(lines(3), now=0.0)
    assert drain(spool) == lines(1, 3)


def test_fsync_is_asked_for_each_append_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("sleep_runtime.client.segments.os.fsync", synced.append)
    make(tmp_path / "fast").append(lines(1), now=0.0)
    assert synced == []
    safe = make(tmp_path / "safe", fsync=True)
    safe.append(lines(1), now=0.0)
    safe.append(lines(2), now=0.0)
    assert len(synced) == 3  # the directory once, the segment twice


def test_letters_are_bounded(tmp_path: Path) -> None:
    spool = make(tmp_path)
    letter = (b'{"id":"' + b"x" * (MAX_REJECTED_BYTES // 2) + b'"}', "bad")
    for _ in range(9):
        spool.bury([letter])
    assert files(spool) == ["rejected.1.ndjson", "rejected.ndjson"]
    total = sum(path.stat().st_size for path in spool.directory.iterdir())
    assert total < 4 * MAX_REJECTED_BYTES
    spool.bury([(b"{torn", "line: is not valid JSON")])
    last = (spool.directory / "rejected.ndjson").read_bytes().splitlines()[-1]
    assert json.loads(last)["line"] == "{torn"


def test_a_directory_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SpoolError, match=str(tmp_path / "spool")):
        make(tmp_path / "spool").append(lines(1), now=0.0)


def test_a_directory_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    spool = make(tmp_path / "spool")
    spool.append(lines(1), now=0.0)
    assert drain(spool) == lines(1)
    shutil.rmtree(tmp_path / "spool")
    with pytest.raises(SpoolError):
        spool.append(lines(2), now=0.0)
    spool.append(lines(3), now=0.0)
    assert drain(spool) == lines(3)


def test_a_closed_segment_takes_nothing(tmp_path: Path) -> None:
    segment = Segment(tmp_path / "a.ndjson", fsync=False)
    segment.close()
    with pytest.raises(OSError, match="closed"):
        segment.write(lines(1))


def test_the_environment_says_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLEEP_SPOOL_DIR", str(tmp_path))
    assert default_directory() == tmp_path
    monkeypatch.delenv("SLEEP_SPOOL_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("sys.platform", "linux")
    assert default_directory() == tmp_path / "state" / "sleep-runtime" / "spool"
