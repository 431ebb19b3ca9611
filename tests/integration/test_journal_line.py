"""The line between replicas and the journal's owner: what is acked, refused, lost, found again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sleep_runtime.actors import journal_client
from sleep_runtime.actors.journal_client import JournalClient
from sleep_runtime.actors.journal_line import JournalSocket
from sleep_runtime.actors.journal_wire import (
    answer,
    question,
    read_answer,
    read_question,
)
from sleep_runtime.core.errors import Overloaded, StoreError, StoreFull
from sleep_runtime.core.journal import AppendResult, JournalRow
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.journal import Answer, SqliteJournal
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.telemetry.metrics import registry

ORG = Scope("acme")


def row(name: str, body: bytes = b"{}") -> JournalRow:
    return JournalRow(
        id=name,
        scope="acme/banking/ana",
        session="s",
        ts_us=1,
        kind="message",
        role="human",
        trust="human",
        digest=body[:16].ljust(16, b"."),
        body=body,
        tokens=1,
    )


class Owner:
    """A journal and its socket, which can be ended and begun again."""

    def __init__(self, folder: Path, max_pending: int = 1000) -> None:
        self.folder = folder
        self.max_pending = max_pending
        self.path = ""
        self.begin()

    def begin(self) -> None:
        self.journal = SqliteJournal(self.folder / "journal.sqlite", max_pending=self.max_pending)
        self.socket = JournalSocket(self.journal, self.folder)
        self.path = str(self.socket.path)

    def end(self) -> None:
        self.socket.close()
        self.journal.close()

    async def find(self) -> str:
        return self.path

    def count(self) -> int:
        with contextlib.closing(SqliteJournalReader(self.folder / "journal.sqlite")) as reader:
            return reader.count()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    made = Owner(tmp_path)
    yield made
    made.end()


@contextlib.asynccontextmanager
async def line(find: Callable[[], Awaitable[str]], **limits: int) -> AsyncIterator[JournalClient]:
    client = JournalClient(find, **limits)
    try:
        yield client
    finally:
        client.close()
        await asyncio.sleep(0)  # the transport closes in the loop's next turn


def test_many_callers_share_frames_and_each_has_its_own_answer(owner: Owner) -> None:
    async def work() -> None:
        async with line(owner.find) as client:
            await client.append([row("seen")])
            answers = await asyncio.gather(
                *(client.append([row(f"{n}"), row(f"{n}-b")]) for n in range(50)),
                client.append([row("seen"), row("new")]),
                client.append([row("seen", b"other")]),
            )
            assert answers[:50] == [AppendResult(accepted=2, duplicates=0)] * 50
            assert answers[50] == AppendResult(accepted=1, duplicates=1)
            assert answers[51] == AppendResult(accepted=0, duplicates=0, conflicts=(0,))

    asyncio.run(work())
    assert owner.count() == 102


def test_an_owner_that_was_begun_again_is_found_again(owner: Owner) -> None:
    async def work() -> None:
        async with line(owner.find) as client:
            await client.append([row("before")])
            owner.end()
            waiting = asyncio.create_task(client.append([row("meanwhile")]))
            await asyncio.sleep(0)
            owner.begin()
            answered = (await asyncio.gather(waiting, return_exceptions=True))[0]
            if isinstance(answered, StoreError):  # it was sent before the hang-up was noticed
                assert "restarted" in answered.reason
                await client.append([row("meanwhile")])
            assert (await client.append([row("meanwhile")])).duplicates == 1

    asyncio.run(work())
    assert owner.count() == 2


def test_an_owner_that_stays_away_is_an_error_in_bounded_time(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_client, "PATIENCE_S", 0.2)

    async def nowhere() -> str:
        return str(owner.folder / "nobody.sock")

    async def work() -> None:
        async with line(nowhere) as client:
            with pytest.raises(StoreError, match="restarted"):
                await client.append([row("a")])

    asyncio.run(work())


def test_an_owner_that_does_not_answer_is_an_error_in_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_client, "ACK_TIMEOUT_S", 0.2)
    path = tmp_path / "silent.sock"

    async def find() -> str:
        return str(path)

    async def work() -> None:
        async with line(find) as client:
            asked = [client.append([row(f"{n}")]) for n in range(3)]
            for told in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(told, StoreError)
                assert "in time" in told.reason

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        asyncio.run(work())


def test_what_does_not_fit_is_refused_and_what_does_is_kept(tmp_path: Path) -> None:
    made = Owner(tmp_path, max_pending=3)
    try:

        async def work() -> None:
            async with line(made.find) as client:
                asked = [client.append([row("a"), row("b")]), client.append([row("c"), row("d")])]
                first, second = await asyncio.gather(*asked, return_exceptions=True)
                assert first == AppendResult(accepted=2, duplicates=0)
                assert isinstance(second, Overloaded)
                assert "3 events at once" in second.mend
                assert (await client.append([row("c")])).accepted == 1

        asyncio.run(work())
        assert made.count() == 3
    finally:
        made.end()


def refused() -> float:
    found = registry().get_sample_value("sleep_overloaded_total", {"queue": "replica"})
    return found or 0.0


@pytest.mark.parametrize(
    ("limits", "unit"), [({"max_pending": 1}, "events"), ({"max_pending_bytes": 10}, "bytes")]
)
def test_a_replica_holds_a_bounded_amount(owner: Owner, limits: dict[str, int], unit: str) -> None:
    async def work() -> None:
        async with line(owner.find, **limits) as client:
            with pytest.raises(Overloaded, match=unit):
                await client.append([row("a", b"123456"), row("b", b"123456")])
            assert (await client.append([row("a")])).accepted == 1

    before = refused()
    asyncio.run(work())
    assert refused() == before + 1


def test_a_caller_that_gives_up_takes_nothing_with_it(owner: Owner) -> None:
    async def work() -> None:
        async with line(owner.find, max_pending=1) as client:
            gone = asyncio.create_task(client.append([row("gone")]))
            await asyncio.sleep(0)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert (await client.append([row("here")])).accepted == 1

    asyncio.run(work())


def test_only_this_user_may_connect_and_the_name_fits_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    made = Owner(deep)
    try:
        path = Path(made.path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent != deep
        assert path.parent.stat().st_mode & 0o777 == 0o700
        asyncio.run(_one(made))
    finally:
        made.end()
    assert not Path(made.path).exists()


async def _one(made: Owner) -> None:
    async with line(made.find) as client:
        assert (await client.append([row("a")])).accepted == 1


@pytest.mark.parametrize("noise", [b"", b"\x00", struct.pack(">I", 2**31), b"\x00\x00\x00\x01\xc1"])
def test_a_stranger_that_talks_nonsense_hangs_up_on_itself_only(owner: Owner, noise: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(10)
        stranger.connect(owner.path)
        stranger.sendall(noise)
        stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(1) == b""
    asyncio.run(_one(owner))


def test_frames_say_what_was_said() -> None:
    rows = [row("\ud800"), row("b", b"\xff\x00")]
    assert read_question(question(7, [rows, []])[4:]) == (7, [rows, []])
    told: list[Answer] = [
        AppendResult(accepted=1, duplicates=2, conflicts=(3,)),
        StoreFull("full", field="disk", mend="make room"),
        Overloaded("later"),
    ]
    number, heard = read_answer(answer(9, told)[4:])
    assert number == 9
    assert heard[0] == told[0]
    assert [(type(e), str(e)) for e in heard[1:]] == [(type(e), str(e)) for e in told[1:]]


def test_a_name_too_long_for_a_socket_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100)
    folder.mkdir()
    owner = Owner(folder)
    place = Path(owner.path)
    assert place.parent != folder
    assert place.is_socket()
    owner.end()
    assert not place.parent.exists()
