"""``keys``, and which key a command asks with."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sleep_runtime.cli.main import main
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.keys import KeyReader, KeyStore


class Output(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Output]
SOME = ("keys", "create", "--scope", "acme/banking", "--role", "read")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDir:
    """The data directory of commands that are told nothing of one."""
    for name in [name for name in os.environ if name.startswith("SLEEP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return DataDir(tmp_path / ".sleep")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: str) -> Output:
        code = main(args)
        captured = capsys.readouterr()
        return Output(code, captured.out, captured.err)

    return call


# ---------------------------------------------------------------------------- keys


def test_a_key_is_made_before_the_first_start_and_its_secret_is_all_of_stdout(
    run: Run, data: DataDir
) -> None:
    made = run(*SOME, "--role", "capture", "--name", "deck", "--speaks", "human")
    assert made.code == 0
    secret = made.out.strip()
    assert secret not in made.err
    with closing(KeyReader(data.access_path)) as reader:
        held = reader.find(secret)
    assert held is not None
    assert held.key.id in made.err
    assert (held.key.name, str(held.key.scope), held.key.speaks) == (
        "deck",
        "acme/banking",
        "human",
    )
    assert sorted(held.key.roles) == ["capture", "read"]


def test_what_is_said_of_a_key_is_kept(run: Run, data: DataDir) -> None:
    limits = ("--events-per-s", "5", "--burst-s", "2", "--max-batch-events", "10")
    made = run(*SOME, "--expires-in", "90d", *limits, "--json")
    (key,) = KeyStore(data.access_path).all()
    assert made.json["id"] == key.id
    assert made.json["secret"].startswith(f"sr_{key.id}_")
    assert made.json["limits"]["events_per_s"] == key.limits.events_per_s == 5
    assert (key.limits.burst_s, key.limits.max_batch_events) == (2, 10)
    assert key.expires_at is not None
    assert abs(key.expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=5)


def test_a_star_is_everywhere(run: Run, data: DataDir) -> None:
    assert run("keys", "create", "--scope", "*", "--role", "admin").code == 0
    assert KeyStore(data.access_path).all()[0].scope is None


def test_keys_are_listed_without_secrets_and_with_their_state(run: Run) -> None:
    secret = run(*SOME, "--name", "deck").out.strip()
    gone = run(*SOME, "--name", "gone", "--json").json["id"]
    assert run("keys", "revoke", gone).code == 0
    listed = run("keys", "list")
    assert "deck" in listed.out
    assert "revoked" in listed.out
    assert secret not in listed.out
    as_json = run("keys", "list", "--json")
    assert secret not in as_json.out
    assert {key["name"]: key["state"] for key in as_json.json["keys"]} == {
        "deck": "usable",
        "gone": "revoked",
    }
    assert "digest" not in as_json.out


def test_an_empty_list_says_what_the_first_start_does(run: Run, data: DataDir) -> None:
    assert run("keys", "list") == (0, "", run("keys", "list").err)
    assert "first start" in run("keys", "list").err
    assert run("keys", "list", "--json").json == {"keys": []}
    assert not data.access_path.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "create", "--role", "read"),
        ("keys", "create", "--scope", "acme"),
        ("keys", "create", "--scope", "a/b/c/d", "--role", "read"),
        ("keys", "create", "--scope", "acme", "--role", "root"),
        (*SOME, "--speaks", "god"),
        (*SOME, "--name", "a\nb"),
        (*SOME, "--name", ""),
        (*SOME, "--expires-in", "soon"),
        (*SOME, "--expires-in", "-1d"),
        (*SOME, "--expires-in", "0d"),
        (*SOME, "--expires-in", "999999w"),
        (*SOME, "--events-per-s", "0"),
        ("keys", "revoke"),
        ("keys",),
    ],
)
def test_what_cannot_be_meant_is_usage_and_makes_no_key(
    run: Run, data: DataDir, words: tuple[str, ...]
) -> None:
    found = run(*words)
    assert (found.code, found.out) == (2, "")
    assert found.err
    assert KeyStore(data.access_path).all() == []


def test_to_revoke_what_is_not_there_fails(run: Run) -> None:
    found = run("keys", "revoke", "k_nobody")
    assert found.code == 1
    assert "keys list" in found.err


# ---------------------------------------------------------------------------- who asks


class Asked:
    """A runtime that remembers who asked."""

    url = ""
    bearers: list[str | None]


@pytest.fixture
def asked() -> Iterator[Asked]:
    found = Asked()
    found.bearers = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.bearers.append(self.headers.get("authorization"))
            body = b'{"runs": []}'
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join(10)


def is_up(data: DataDir, url: str, pid: int) -> None:
    data.ensure()
    data.local_key_file.write_text("sr_local\n")
    data.runtime_file.write_text(json.dumps({"url": url, "pid": pid}))


def test_a_command_asks_with_what_it_is_told_else_with_this_machines_own(
    run: Run, data: DataDir, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_up(data, asked.url, os.getpid())
    assert run("runs", "list").code == 0
    monkeypatch.setenv("SLEEP_API_KEY", "sr_env")
    assert run("runs", "list").code == 0
    assert run("--key", "sr_told", "runs", "list").code == 0
    assert asked.bearers == ["Bearer sr_local", "Bearer sr_env", "Bearer sr_told"]


def test_this_machines_key_is_for_the_runtime_of_its_directory_only(
    run: Run, data: DataDir, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_up(data, "http://127.0.0.1:1", os.getpid())
    monkeypatch.setenv("SLEEP_URL", asked.url)
    assert run("runs", "list").code == 0
    is_up(data, asked.url, 2**22 + 1)  # no such process: somebody else listens there now
    assert run("runs", "list").code == 0
    data.runtime_file.unlink()
    assert run("runs", "list").code == 0
    assert asked.bearers == [None] * 3


def test_a_key_that_cannot_be_one_is_not_sent(run: Run, asked: Asked) -> None:
    found = run("--key", "schlüssel", "runs", "list", "--url", asked.url)
    assert found.code == 2
    assert "schlüssel" not in found.err
    assert asked.bearers == []


# ---------------------------------------------------------------------------- the first key


def test_what_starts_a_runtime_for_others_waits_for_their_first_key(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("keys", "wait", "--timeout", "0") == (0, "", ""), "loopback needs none"
    monkeypatch.setenv("SLEEP_HTTP__HOST", "0.0.0.0")
    late = run("keys", "wait", "--timeout", "0")
    assert late.code == 1
    assert "keys create" in late.err
    maker = threading.Timer(0.3, main, [SOME])
    maker.start()
    found = run("keys", "wait", "--timeout", "30")
    maker.join()
    assert found.code == 0
    assert "waiting: http.host" in found.err
