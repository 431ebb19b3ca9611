"""Keys: made, kept, found and taken back."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sleep_runtime.compose.access import is_loopback, make_authenticator, prepare_keys
from sleep_runtime.config import Settings, load
from sleep_runtime.core.access import AccessRole, Caller, KeyLimits
from sleep_runtime.core.errors import (
    InvalidConfig,
    NotFound,
    StoreBusy,
    StoreError,
    StoreTooNew,
    Unauthenticated,
)
from sleep_runtime.core.event import Trust
from sleep_runtime.core.keys import NewKey
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.access import Authenticator
from sleep_runtime.stores.datadir import DataDir, file_lock
from sleep_runtime.stores.keys import STALE_S, KeyReader, KeyStore, Made
from sleep_runtime.testing.clock import ManualClock

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
READ = frozenset({AccessRole.READ})


class Seconds:
    """A monotonic clock moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def new(name: str = "deck", **fields: Any) -> NewKey:
    return NewKey(**{"name": name, "scope": Scope("acme/banking"), "roles": READ, **fields})


def secret_of(made: Made) -> str:
    return made.secret.get_secret_value()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.sqlite"


@pytest.fixture
def store(path: Path) -> KeyStore:
    return KeyStore(path)


# ---------------------------------------------------------------------------- the store


def test_a_key_comes_back_as_it_was_made(store: KeyStore) -> None:
    wanted = new(
        roles=frozenset({AccessRole.CAPTURE, AccessRole.READ}),
        speaks=Trust.HUMAN,
        limits=KeyLimits(events_per_s=5, burst_s=2),
        expires_at=NOW + timedelta(days=1),
    )
    made = store.create(wanted, NOW)
    (kept,) = store.all()
    assert kept == made.key
    assert NewKey(**{name: getattr(kept, name) for name in NewKey.model_fields}) == wanted
    assert kept.caller().speaks is Trust.HUMAN
    assert kept.caller().limits.events_per_s == 5


def test_a_secret_is_random_and_kept_nowhere(store: KeyStore, path: Path) -> None:
    made = [store.create(new(), NOW) for _ in range(20)]
    secrets = {secret_of(one) for one in made}
    assert len(secrets) == 20
    for one in made:
        prefix, kind, name, rest = secret_of(one).split("_", 3)
        assert (prefix, f"{kind}_{name}", len(rest)) == ("sr", one.key.id, 43)
        assert secret_of(one) not in repr(one)
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert not any(secret_of(one).split("_", 3)[3].encode() in kept for one in made)


def test_only_its_owner_may_read_the_file(store: KeyStore, path: Path) -> None:
    store.create(new(), NOW)
    with closing(KeyReader(path)):  # so that the -wal and -shm are there
        store.create(new(), NOW)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) >= {"access.sqlite", "access.sqlite-wal", "access.sqlite-shm"}
    assert set(modes.values()) == {0o600}


def test_a_revoked_key_stays_listed_and_is_revoked_once(store: KeyStore) -> None:
    made = store.create(new(), NOW)
    assert store.revoke(made.key.id, NOW + timedelta(hours=1)).revoked_at is not None
    again = store.revoke(made.key.id, NOW + timedelta(hours=2))
    assert again.revoked_at == NOW + timedelta(hours=1)
    assert store.all() == [again]
    with pytest.raises(NotFound, match="k_nobody"):
        store.revoke("k_nobody", NOW)


def test_a_file_of_a_newer_version_is_left_alone(store: KeyStore, path: Path) -> None:
    store.create(new(), NOW)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    for use in (store.all, lambda: store.create(new(), NOW), lambda: KeyReader(path)):
        with pytest.raises(StoreTooNew, match="schema version 99"):
            use()


def _create(path: Path, count: int) -> None:
    for number in range(count):
        KeyStore(path).create(new(f"n{number}"), NOW)


def test_many_processes_may_make_keys_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_create, args=(path, 5)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len({key.id for key in KeyStore(path).all()}) == 20


def test_writers_take_turns(store: KeyStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writing connections at a time can corrupt the file of an older SQLite."""
    monkeypatch.setattr("sleep_runtime.stores.keys.LOCK_WAIT_S", 0.0)
    made = store.create(new(), NOW)
    with file_lock(path.with_name("access.lock")):
        for write in (lambda: store.create(new(), NOW), lambda: store.revoke(made.key.id, NOW)):
            with pytest.raises(StoreBusy):
                write()
        assert store.all() == [made.key], "a reader waits for nobody"


def test_a_key_needs_a_role_and_a_plain_name() -> None:
    faults: list[dict[str, Any]] = [{"name": name} for name in ("", "a\nb", "x" * 101)]
    for wrong in [{"roles": frozenset()}, *faults]:
        with pytest.raises(ValidationError):
            new(**wrong)


# ---------------------------------------------------------------------------- the reader


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def reader(store: KeyStore, path: Path, clock: Seconds) -> Iterator[KeyReader]:
    store.create(new("first"), NOW)
    with closing(KeyReader(path, now=clock)) as found:
        yield found


def test_a_reader_sees_new_and_revoked_keys_at_its_next_look(
    store: KeyStore, reader: KeyReader, clock: Seconds
) -> None:
    made = store.create(new(), NOW)
    assert reader.find(secret_of(made)) is None, "it looks at the file for every request"
    clock.now += 0.25
    found = reader.find(secret_of(made))
    assert found is not None
    assert found.key == made.key
    store.revoke(made.key.id, NOW)
    clock.now += 0.25
    found = reader.find(secret_of(made))
    assert found is not None
    assert found.key.revoked_at == NOW


def test_a_reader_believes_only_the_whole_secret(
    store: KeyStore, reader: KeyReader, clock: Seconds
) -> None:
    made = store.create(new(), NOW)
    clock.now += 1
    secret = secret_of(made)
    other = secret_of(store.create(new(), NOW))
    head, tail = secret[:16], other[16:]
    for wrong in (
        "",
        "sr_",
        secret[:-1],
        secret + "x",
        secret.upper(),
        head + tail,
        head,
        "ü" * 60,
    ):
        assert reader.find(wrong) is None, wrong


def test_a_file_that_was_put_in_its_place_is_read(
    store: KeyStore, reader: KeyReader, clock: Seconds, path: Path, tmp_path: Path
) -> None:
    elsewhere = KeyStore(tmp_path / "restored" / "access.sqlite")
    elsewhere.path.parent.mkdir()
    made = elsewhere.create(new(), NOW)
    elsewhere.path.replace(path)
    clock.now += 1
    found = reader.find(secret_of(made))
    assert found is not None
    assert found.key.id == made.key.id


def test_keys_that_cannot_be_looked_at_are_believed_for_a_while_and_no_longer(
    store: KeyStore, reader: KeyReader, clock: Seconds, path: Path
) -> None:
    made = store.create(new(), NOW)
    clock.now += 1
    assert reader.find(secret_of(made))
    aside = path.rename(path.with_name("aside"))
    clock.now += STALE_S - 1
    assert reader.find(secret_of(made))
    clock.now += 2
    for _ in range(3):
        with pytest.raises(StoreError):
            reader.find(secret_of(made))
    aside.rename(path)
    clock.now += 1
    assert reader.find(secret_of(made))


# ---------------------------------------------------------------------------- who asks


def ask(authenticate: Authenticator, token: str, path: str = "/v1/events") -> Caller:
    return authenticate({b"authorization": token.encode()}, path)


def test_a_key_lets_in_with_its_scope_roles_and_voice(store: KeyStore, path: Path) -> None:
    made = store.create(new(speaks=Trust.UNTRUSTED), NOW)
    with closing(KeyReader(path)) as keys:
        caller = ask(Authenticator(keys, ManualClock(NOW)), f"Bearer {secret_of(made)}")
        assert ask(Authenticator(keys, ManualClock(NOW)), f"bearer  {secret_of(made)} ") == caller
    assert caller.name == f"{made.key.id} (deck)"
    assert caller.may(AccessRole.READ, Scope("acme/banking/ana"))
    assert not caller.may(AccessRole.READ, Scope("acme"))
    assert not caller.may(AccessRole.CAPTURE, Scope("acme/banking"))
    assert caller.speaks is Trust.UNTRUSTED


def test_whatever_is_wrong_the_refusal_says_the_same(store: KeyStore, path: Path) -> None:
    expired = store.create(new(expires_at=NOW), NOW - timedelta(days=1))
    revoked = store.create(new(), NOW)
    store.revoke(revoked.key.id, NOW)
    good = secret_of(store.create(new(), NOW))
    wrong = [
        "", "Bearer", "Bearer ", f"Basic {good}", good, "Bearer sr_", f"Bearer {good}x",
        f"Bearer {good[:16]}{'A' * 43}", "Bearer a.b.c", f"Bearer {secret_of(expired)}",
        f"Bearer {secret_of(revoked)}",
    ]  # fmt: skip
    said = set()
    with closing(KeyReader(path)) as keys:
        authenticate = Authenticator(keys, ManualClock(NOW))
        for token in wrong:
            with pytest.raises(Unauthenticated) as refusal:
                ask(authenticate, token)
            said.add(str(refusal.value))
        with pytest.raises(Unauthenticated) as refusal:
            authenticate({}, "/metrics")
        said.add(str(refusal.value))
    assert len(said) == 1
    assert "keys create" in said.pop()


def test_a_key_ends_when_its_time_is_over_without_a_look_at_the_file(
    store: KeyStore, path: Path
) -> None:
    made = store.create(new(expires_at=NOW + timedelta(seconds=10)), NOW)
    clock = ManualClock(NOW)
    with closing(KeyReader(path, now=Seconds())) as keys:
        authenticate = Authenticator(keys, clock)
        assert ask(authenticate, f"Bearer {secret_of(made)}")
        clock.advance(10)
        with pytest.raises(Unauthenticated):
            ask(authenticate, f"Bearer {secret_of(made)}")


def test_probes_need_no_key_and_may_nothing(path: Path, store: KeyStore) -> None:
    store.create(new(), NOW)
    with closing(KeyReader(path)) as keys:
        authenticate = Authenticator(keys, ManualClock(NOW))
        for probe in ("/healthz", "/readyz"):
            assert not any(authenticate({}, probe).may(role, Scope("acme")) for role in AccessRole)
        for other in ("/healthz/", "/healthz/..", "//healthz", "/openapi.json", "/nothing"):
            with pytest.raises(Unauthenticated):
                authenticate({}, other)


# ---------------------------------------------------------------------------- a start


def settings(tmp_path: Path, **overrides: Any) -> Settings:
    chosen = {"data_dir": str(tmp_path / "data"), **overrides}
    made = load(overrides=chosen, environ={}).settings
    DataDir(made.data_dir).ensure()
    return made


def test_the_first_start_makes_a_key_for_its_machine_and_only_the_first(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    paths = DataDir(chosen.data_dir)
    prepare_keys(chosen, NOW)
    file = paths.local_key_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_text().strip()
    with closing(make_authenticator(chosen, ManualClock(NOW))) as authenticate:
        caller = ask(authenticate, f"Bearer {secret}")
    assert caller.may(AccessRole.ADMIN, None)
    assert caller.speaks is Trust.HUMAN
    prepare_keys(chosen, NOW)
    assert file.read_text().strip() == secret
    file.unlink()  # whoever does not want it there does not get another
    prepare_keys(chosen, NOW)
    assert not file.exists()
    assert len(KeyStore(paths.access_path).all()) == 1


def test_a_start_that_died_between_file_and_key_is_made_good(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    paths = DataDir(chosen.data_dir)
    paths.local_key_file.write_text("sr_k_aaaaaaaaaa_of_nobody\n")
    paths.local_key_file.chmod(0o644)
    prepare_keys(chosen, NOW)
    assert stat.S_IMODE(paths.local_key_file.stat().st_mode) == 0o600
    secret = paths.local_key_file.read_text().strip()
    with closing(make_authenticator(chosen, ManualClock(NOW))) as authenticate:
        assert ask(authenticate, f"Bearer {secret}")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "runtime.example"])
def test_others_are_not_listened_to_before_there_is_a_key_for_them(
    tmp_path: Path, host: str
) -> None:
    chosen = settings(tmp_path, **{"http.host": host})
    store = KeyStore(DataDir(chosen.data_dir).access_path)
    prepare_keys(settings(tmp_path), NOW)  # this machine's own is none for them
    expired = store.create(new(expires_at=NOW), NOW - timedelta(days=1))
    store.revoke(store.create(new(), NOW).key.id, NOW)
    with pytest.raises(InvalidConfig, match="keys create") as refusal:
        prepare_keys(chosen, NOW)
    assert refusal.value.field == "http.host"
    assert not expired.key.usable(NOW)
    store.create(new(), NOW)
    prepare_keys(chosen, NOW)


def test_an_identity_provider_is_enough_to_listen(tmp_path: Path) -> None:
    tokens = {"issuer": "https://id.example", "audience": "a", "jwks_url": "https://id.example/k"}
    chosen = settings(
        tmp_path, **{"http.host": "0.0.0.0", **{f"auth.jwt.{k}": v for k, v in tokens.items()}}
    )
    prepare_keys(chosen, NOW)


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.evil", False)],
)  # fmt: skip
def test_which_addresses_only_this_machine_reaches(host: str, own: bool) -> None:
    assert is_loopback(host) is own
