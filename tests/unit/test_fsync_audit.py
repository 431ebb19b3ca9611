"""The audit of acks against fsyncs, on small logs: what it accepts, and what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from reliability.fsync import (
    NEVER,
    Ack,
    Audit,
    Early,
    audit,
    command,
    read_calls,
    said,
    sent,
    transactions,
    unsynced_names,
)

WAL = "/d/j-wal"
PLAIN = r"7 pwrite64(5</d/j-wal>, "
COMMIT = PLAIN + r'"\0\0\0\7\0\0\0\7aaaabbbbccccdddd", 24, {at}) = 24'
FRAME = PLAIN + r'"\0\0\0\2\0\0\0\0aaaabbbbccccdddd", 24, {at}) = 24'
PAGE = PLAIN + r'"page {text}", {size}, {at}) = {size}'
SYNC = "7 fdatasync(5</d/j-wal>)         = 0"
ACK = r'8 write(1</d/out>, "ack {text}\n", {size}) = {size}'


def page(text: str, at: int) -> str:
    return PAGE.format(text=text, size=len(text) + 5, at=at)


def ack(*texts: str) -> str:
    said_ = r"\nack ".join(texts)
    return ACK.format(text=said_, size=len(said_))


def commit(text: str, at: int = 100) -> list[str]:
    """One transaction of two frames, the text in the first."""
    first = [FRAME.format(at=at), page(text, at + 24)]
    return [*first, COMMIT.format(at=at + 200), page("last", at + 224)]


def look(*lines: str) -> Audit:
    calls = read_calls("\n".join(lines))
    return audit(calls, WAL, said(calls))


def early(*lines: str) -> list[tuple[bytes, str]]:
    return [(one.token, one.missing) for one in look(*lines).early]


def test_an_ack_after_its_fsync_is_in_order() -> None:
    assert look(*commit("e1"), SYNC, ack("e1")) == Audit(acks=1, transactions=1, early=())


def test_an_ack_before_its_fsync_is_early() -> None:
    lines = [*commit("e1"), ack("e1"), SYNC]
    assert look(*lines).early == (Early(b"e1", "fsync"),)


def test_an_ack_without_any_fsync_is_early() -> None:
    assert early(*commit("e1"), ack("e1")) == [(b"e1", "fsync")]


def test_an_ack_of_what_was_never_written_is_early() -> None:
    assert early(*commit("e1"), SYNC, ack("e2")) == [(b"e2", "written")]


def test_an_ack_before_the_frame_that_commits_is_early() -> None:
    first, rest = commit("e1")[:2], commit("e1")[2:]
    assert early(*first, SYNC, ack("e1"), *rest, SYNC) == [(b"e1", "written")]


def test_an_fsync_of_another_file_covers_nothing() -> None:
    other = "7 fdatasync(4</d/j>)         = 0"
    assert early(*commit("e1"), other, ack("e1")) == [(b"e1", "fsync")]


def test_an_fsync_that_began_before_the_last_write_covers_nothing() -> None:
    began = "9 fdatasync(5</d/j-wal> <unfinished ...>"
    ended = "9 <... fdatasync resumed>)      = 0"
    assert early(began, *commit("e1"), ended, ack("e1")) == [(b"e1", "fsync")]
    assert early(*commit("e1"), began, ack("e1"), ended) == [(b"e1", "fsync")]
    assert early(*commit("e1"), began, ended, ack("e1")) == []


def test_after_a_failed_fsync_only_what_is_written_again_counts() -> None:
    failed = "7 fdatasync(5</d/j-wal>) = -1 EIO (Input/output error) (INJECTED)"
    assert early(*commit("e1"), failed, SYNC, ack("e1")) == [(b"e1", "written")]
    assert early(*commit("e1"), failed, *commit("e1"), SYNC, ack("e1")) == []


def test_frames_that_were_overwritten_before_their_fsync_are_lost() -> None:
    assert early(*commit("e1"), *commit("e2"), SYNC, ack("e1")) == [(b"e1", "written")]


def test_a_write_that_was_cut_short_is_none() -> None:
    lines = commit("e1")
    lines[1] = lines[1].replace("= 7", "= 3")
    assert early(*lines, SYNC, ack("e1")) == [(b"e1", "written")]


def test_several_acks_in_one_write_are_all_looked_at() -> None:
    found = look(*commit("e1"), SYNC, *commit("e2", at=900), ack("e1", "e2"), SYNC)
    assert (found.acks, found.early) == (2, (Early(b"e2", "fsync"),))


def test_a_process_that_dies_in_an_fsync_has_synced_nothing() -> None:
    calls = read_calls("\n".join([*commit("e1"), "9 fdatasync(5</d/j-wal> <unfinished ...>"]))
    assert calls[-1].ended == NEVER
    assert [one.synced for one in transactions(calls, WAL)] == [NEVER]
    assert audit(calls, WAL, [Ack(b"e1", 99)]).early == (Early(b"e1", "fsync"),)


def test_bytes_come_back_as_they_were_written() -> None:
    (call,) = read_calls(r'7 1.5 sendto(9<socket:[12]>, "\0\0\0\t\222\1\"\\x\n\377", 11, 0) = 11')
    assert call.data == b'\x00\x00\x00\t\x92\x01"\\x\n\xff'
    assert list(sent([call])) == [call]


@pytest.mark.parametrize(
    ("lines", "unsynced"),
    [
        (['7 openat(AT_FDCWD</>, "/d/a", O_RDWR|O_CREAT, 0644) = 3</d/a>'], ["/d/a"]),
        (["7 fsync(3</d>) = 0", '7 mkdir("/d/a", 0700) = 0'], ["/d/a"]),
        (['7 mkdir("/d/a", 0700) = 0', "7 fsync(3</d>) = 0"], []),
        (['7 mkdir("/d/a", 0700) = 0', "7 fsync(3</>) = 0"], ["/d/a"]),
        (['7 mkdir("/d/a", 0700) = 0', "7 fsync(3</d>) = -1 EIO (x)"], ["/d/a"]),
        (['7 mkdir("/d/a", 0700) = -1 EEXIST (File exists)'], []),
        (['7 mkdir("/elsewhere", 0700) = 0'], []),
        (['7 openat(3</d>, "/d/x.lock", O_RDWR|O_CREAT, 0600) = 4</d/x.lock>'], []),
        (['7 rename("/d/a", "/d/b") = 0'], ["/d/b"]),
        (['7 rename("/d/a", "/d/b") = 0', "7 fdatasync(3</d>) = 0"], []),
        (['7 mkdir("/d/a", 0700) = 0', '7 unlink("/d/a") = 0'], []),
        (
            [
                '7 openat(AT_FDCWD</>, "/d/a", O_CREAT, 0644) = 3</d/a>',
                "7 fsync(4</d>) = 0",
                '7 openat(AT_FDCWD</>, "/d/a", O_CREAT, 0644) = 3</d/a>',
            ],
            [],
        ),
    ],
)
def test_a_name_is_durable_once_its_directory_was_synced(
    lines: list[str], unsynced: list[str]
) -> None:
    calls = read_calls("\n".join(lines))
    assert unsynced_names(calls, Path("/d"), before=99, besides=["*.lock"]) == unsynced


def test_names_that_are_made_later_do_not_matter_yet() -> None:
    calls = read_calls('7 close(3) = 0\n7 mkdir("/d/a", 0700) = 0')
    assert unsynced_names(calls, Path("/d"), before=1) == []


def test_the_program_is_traced_with_its_threads_and_the_paths_of_its_handles() -> None:
    argv = command("strace", Path("log"), ["true"], "-e", "inject=fsync:error=EIO")
    assert argv[:3] == ["strace", "-f", "-y"]
    assert argv[-3:] == ["-o", "log", "true"]
    assert "inject=fsync:error=EIO" in argv
