"""Tokens of an identity provider: what is believed, what is refused, and when it is away."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import ValidationError

from benchmarks.waiting import free_port
from sleep_runtime.compose.access import make_authenticator
from sleep_runtime.config import load
from sleep_runtime.core.access import AccessRole, Caller
from sleep_runtime.core.errors import RuntimeUnavailable, Unauthenticated
from sleep_runtime.core.event import Trust
from sleep_runtime.core.keys import NewKey
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.tokens import JwtPolicy
from sleep_runtime.serve.access import Authenticator
from sleep_runtime.serve.jwks import STALE_S, Fetch, SigningKeys, fetcher
from sleep_runtime.serve.tokens import TokenReader
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.keys import KeyStore
from sleep_runtime.telemetry.clock import SystemClock

ISSUER, AUDIENCE = "https://id.example/", "sleep-runtime"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
WAIT_S = 10.0


def jwk(algorithm: Any, public: Any, name: str, **more: Any) -> dict[str, Any]:
    return {**algorithm.to_jwk(public, as_dict=True), "kid": name, "use": "sig", **more}


RSA_JWK = jwk(RSAAlgorithm, RSA_KEY.public_key(), "r")
JWKS = {
    "keys": [
        RSA_JWK,
        jwk(ECAlgorithm, EC_KEY.public_key(), "e"),
        jwk(OKPAlgorithm, ED_KEY.public_key(), "d"),
        {"kty": "oct", "kid": "o", "k": base64.urlsafe_b64encode(b"k" * 32).decode()},
    ]
}


def policy_of(**fields: Any) -> JwtPolicy:
    base = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": "https://id.example/jwks"}
    return JwtPolicy(**{**base, "leeway_s": 0, **fields})


def claims_of(**fields: Any) -> dict[str, Any]:
    now = int(time.time())
    base = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ana", "iat": now, "exp": now + 600}
    said = {**base, "sleep_scope": "acme/banking", "sleep_roles": ["read"], **fields}
    return {name: value for name, value in said.items() if value is not None}


def token_of(
    claims: dict[str, Any] | None = None, key: Any = RSA_KEY, alg: str = "RS256", kid: str = "r"
) -> str:
    return jwt.encode(claims or claims_of(), key, algorithm=alg, headers={"kid": kid})


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SigningKeys]:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    fetch = fetcher(policy_of(jwks_url="", jwks_file=file))
    with closing(SigningKeys(fetch, refresh_s=300)) as found:
        wait(lambda: found.generation == 1)
        yield found


class NoKeys:
    def find(self, token: str) -> None:
        return None

    def close(self) -> None:
        pass


def reader_of(keys: SigningKeys, **fields: Any) -> Callable[[str], Caller | None]:
    read = TokenReader(policy_of(**fields), keys)

    def ask(token: str) -> Caller | None:
        for _ in range(1000):  # a name nobody knows is looked up first
            try:
                return read(token, datetime.now(UTC))
            except RuntimeUnavailable:
                time.sleep(0.01)
        raise AssertionError("it is looked up for ever")

    return ask


def wait(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


# ---------------------------------------------------------------------------- claims


def test_claims_say_where_what_and_as_whom(keys: SigningKeys) -> None:
    caller = reader_of(keys)(token_of())
    assert caller is not None
    assert caller.name == "jwt:ana"
    assert caller.may(AccessRole.READ, Scope("acme/banking/ana"))
    assert not caller.may(AccessRole.READ, Scope("acme"))
    assert not caller.may(AccessRole.CAPTURE, Scope("acme/banking"))
    assert caller.speaks is Trust.AGENT


@pytest.mark.parametrize(
    ("fields", "policy", "may", "may_not", "speaks"),
    [
        (
            {"sleep_scope": ["acme/a", "acme/b"], "sleep_roles": "curate"},
            {},
            [("curate", "acme/a"), ("read", "acme/b/x")],
            [("read", "acme/c"), ("capture", "acme/a")],
            "agent",
        ),
        ({"sleep_scope": "*", "sleep_roles": ["admin"]}, {}, [("admin", None)], [], "agent"),
        (
            {"sleep_roles": None},
            {"roles": ["capture"], "speaks": "human"},
            [("capture", "acme/banking")],
            [("read", "acme/banking")],
            "human",
        ),
        (
            {"sleep_roles": ["offline_access", "read", "root"], "sleep_speaks": "human"},
            {},
            [("read", "acme/banking")],
            [("admin", "acme/banking")],
            "human",
        ),
        (
            {"https://acme/scope": "globex", "groups": ["read"], "sleep_scope": None},
            {"scope_claim": "https://acme/scope", "roles_claim": "groups"},
            [("read", "globex")],
            [("read", "acme/banking")],
            "agent",
        ),
    ],
)
def test_claims_are_mapped_as_the_settings_say(
    keys: SigningKeys,
    fields: dict[str, Any],
    policy: dict[str, Any],
    may: list[tuple[str, str | None]],
    may_not: list[tuple[str, str | None]],
    speaks: str,
) -> None:
    caller = reader_of(keys, **policy)(token_of(claims_of(**fields)))
    assert caller is not None
    for role, scope in may:
        assert caller.may(AccessRole(role), Scope(scope) if scope else None), (role, scope)
    for role, scope in may_not:
        assert not caller.may(AccessRole(role), Scope(scope) if scope else None), (role, scope)
    assert caller.speaks is Trust(speaks)


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(RSA_KEY, "RS256", "r"), (EC_KEY, "ES256", "e"), (ED_KEY, "EdDSA", "d")]
)
def test_every_default_signature_is_taken(keys: SigningKeys, key: Any, alg: str, kid: str) -> None:
    assert reader_of(keys)(token_of(key=key, alg=alg, kid=kid)) is not None


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "fields",
    [
        {"exp": int(time.time()) - 5},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"aud": "another-service"},
        {"aud": None},
        {"iss": "https://evil.example/"},
        {"iss": ISSUER.rstrip("/")},
        {"iss": None},
        {"sub": None},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sleep_scope": None},
        {"sleep_scope": []},
        {"sleep_scope": "a/b/c/d"},
        {"sleep_scope": ["acme", "../etc"]},
        {"sleep_scope": {"org": "acme"}},
        {"sleep_scope": ["a"] * 101},
        {"sleep_roles": None},
        {"sleep_roles": []},
        {"sleep_roles": ["root"]},
        {"sleep_roles": [["read"]]},
        {"sleep_speaks": "god"},
        {"sleep_speaks": ["human"]},
    ],
    ids=str,
)
def test_a_token_with_these_claims_proves_nothing(
    keys: SigningKeys, fields: dict[str, Any]
) -> None:
    assert reader_of(keys)(token_of(claims_of(**fields))) is None


def _unsigned() -> str:
    return jwt.encode(claims_of(), "", algorithm="none", headers={"kid": "r"})


def _segment(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _signed_by_the_public_key() -> str:
    """HMAC with the published key as its secret: what believes ``alg`` takes it."""
    import hashlib
    import hmac

    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = f"{_segment({'alg': 'HS256', 'typ': 'JWT', 'kid': 'r'})}.{_segment(claims_of())}"
    mac = hmac.new(pem, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _changed() -> str:
    head, _, signature = token_of().split(".")
    return f"{head}.{_segment(claims_of(sleep_scope='*', sleep_roles=['admin']))}.{signature}"


FORGED: dict[str, Callable[[], str]] = {
    "unsigned": _unsigned,
    "unsigned under another name": lambda: _unsigned().replace("none", "None"),
    "no signature": lambda: token_of().rpartition(".")[0] + ".",
    "hmac with the public key": _signed_by_the_public_key,
    "hmac with a published secret": lambda: token_of(key=b"k" * 32, alg="HS256", kid="o"),
    "another key": lambda: token_of(key=OTHER_KEY),
    "another key of the issuer": lambda: token_of(kid="e"),
    "an algorithm that is not taken": lambda: token_of(alg="RS512"),
    "an algorithm the key is not for": lambda: token_of(alg="PS256"),
    "no key's name": lambda: jwt.encode(claims_of(), RSA_KEY, algorithm="RS256"),
    "an unknown key": lambda: token_of(kid="nobody"),
    "changed claims": _changed,
    "a critical extension": lambda: jwt.encode(
        claims_of(), RSA_KEY, algorithm="RS256", headers={"kid": "r", "crit": ["x"], "x": 1}
    ),
    "its own key": lambda: jwt.encode(
        claims_of(),
        OTHER_KEY,
        algorithm="RS256",
        headers={"kid": "r", "jwk": jwk(RSAAlgorithm, OTHER_KEY.public_key(), "r")},
    ),
    "too long": lambda: token_of(claims_of(pad="x" * 20_000)),
    "no token": lambda: "a.b.c",
    "text": lambda: "hello",
    "not ascii": lambda: "ü.ü.ü",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_proves_nothing(keys: SigningKeys, name: str) -> None:
    assert reader_of(keys)(FORGED[name]()) is None


def test_the_bearer_of_a_bad_token_is_told_nothing_of_why(keys: SigningKeys) -> None:
    authenticate = Authenticator(NoKeys(), SystemClock(), TokenReader(policy_of(), keys))
    assert authenticate({b"authorization": f"Bearer {token_of()}".encode()}, "/v1/events")
    said = set()
    for token in (token_of(claims_of(exp=1)), token_of(claims_of(aud="x")), "a.b.c", "sr_k_x_y"):
        with pytest.raises(Unauthenticated) as refusal:
            authenticate({b"authorization": f"Bearer {token}".encode()}, "/v1/events")
        said.add(str(refusal.value))
    assert len(said) == 1


def test_a_clock_that_is_a_little_off_is_forgiven(keys: SigningKeys) -> None:
    late = token_of(claims_of(exp=int(time.time()) - 5))
    assert reader_of(keys, leeway_s=60)(late) is not None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"audience": ""}, "audience"),
        ({"issuer": ""}, "issuer"),
        ({"jwks_url": ""}, "jwks_url"),
        ({"jwks_file": "x"}, "jwks_url"),
        ({"jwks_url": "http://id.example/jwks"}, "https"),
        ({"jwks_url": "file:///etc/keys"}, "https"),
        ({"jwks_url": "https://"}, "https"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
    ],
    ids=str,
)
def test_settings_that_would_believe_too_much_are_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        policy_of(**fields)


# ---------------------------------------------------------------------------- remembering


def test_a_token_is_checked_once_and_ends_on_time(keys: SigningKeys) -> None:
    class Counting:
        generation = 1
        asked = 0

        def find(self, name: str) -> Any:
            self.asked += 1
            return keys.find(name)

        def close(self) -> None:
            pass

    counting = Counting()
    read = TokenReader(policy_of(), counting)
    claims = claims_of()
    token = token_of(claims)
    now = datetime.now(UTC)
    assert read(token, now) == read(token, now)
    assert counting.asked == 1
    counting.generation += 1
    assert read(token, now) is not None
    assert counting.asked == 2, "another set of keys, and it was believed as before"
    read(token, datetime.fromtimestamp(claims["exp"], UTC))
    assert counting.asked == 3, "it was over, and believed as before"


# ---------------------------------------------------------------------------- the provider


class Provider:
    """A JWKS endpoint that can be away, slow or wrong."""

    def __init__(self) -> None:
        self.keys: Any = JWKS
        self.status = 200
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                provider.gate.wait(WAIT_S)
                body = json.dumps(provider.keys).encode()
                self.send_response(provider.status)
                self.send_header("content-length", str(len(body)))
                self.send_header("location", "https://evil.example/jwks")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"

    def fetch(self, timeout_s: float = 5.0) -> Fetch:
        return fetcher(policy_of(jwks_url=self.url, timeout_s=timeout_s))


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.gate.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join(WAIT_S)


def test_keys_are_fetched_beside_the_requests(provider: Provider) -> None:
    provider.gate.clear()
    with closing(SigningKeys(provider.fetch(), refresh_s=300)) as keys:
        began = time.monotonic()
        with pytest.raises(RuntimeUnavailable, match="not here yet"):
            keys.find("r")
        assert time.monotonic() - began < 0.5, "a request waited for the provider"
        provider.gate.set()
        wait(lambda: keys.generation == 1)
        assert keys.find("r") is not None


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (302, JWKS), (200, []), (200, {"keys": []}), (200, {"keys": [7]}), (200, "x")],
    ids=str,
)
def test_what_is_no_set_of_keys_changes_nothing(provider: Provider, status: int, body: Any) -> None:
    with closing(SigningKeys(provider.fetch(), refresh_s=300, unknown_every_s=0.0)) as keys:
        wait(lambda: keys.generation == 1)
        provider.status, provider.keys, before = status, body, provider.asked
        with pytest.raises(RuntimeUnavailable):
            keys.find("new")
        wait(lambda: provider.asked > before)
        assert keys.find("r") is not None
        assert keys.generation == 1


def test_a_provider_that_never_answers_delays_nobody_and_is_given_up(provider: Provider) -> None:
    provider.gate.clear()
    with closing(
        SigningKeys(provider.fetch(timeout_s=0.1), refresh_s=300, unknown_every_s=0.05)
    ) as keys:
        wait(lambda: provider.asked >= 3)  # it tries again, each time in bounded time
        with pytest.raises(RuntimeUnavailable):
            keys.find("r")


def test_an_unknown_name_asks_the_provider_once_in_a_while(provider: Provider) -> None:
    clock = [0.0]
    with closing(
        SigningKeys(provider.fetch(), refresh_s=300, unknown_every_s=10.0, now=lambda: clock[0])
    ) as keys:
        wait(lambda: keys.generation == 1)
        for _ in range(50):
            assert keys.find("new") is None, "just looked"
        assert provider.asked == 1
        clock[0] = 11.0
        provider.keys = {"keys": [*JWKS["keys"], jwk(RSAAlgorithm, OTHER_KEY.public_key(), "new")]}
        with pytest.raises(RuntimeUnavailable):
            keys.find("new")
        wait(lambda: keys.generation == 2)
        assert keys.find("new") is not None
        assert provider.asked == 2
        assert keys.find("other") is None


def test_keys_that_were_withdrawn_are_not_believed(provider: Provider) -> None:
    clock = [0.0]
    with closing(
        SigningKeys(provider.fetch(), refresh_s=300, unknown_every_s=1.0, now=lambda: clock[0])
    ) as keys:
        wait(lambda: keys.generation == 1)
        read = TokenReader(policy_of(), keys)
        assert read(token_of(), datetime.now(UTC)) is not None
        provider.keys = {"keys": [jwk(RSAAlgorithm, OTHER_KEY.public_key(), "new")]}
        clock[0] = 2.0
        with pytest.raises(RuntimeUnavailable):
            keys.find("new")
        wait(lambda: keys.generation == 2)
        assert read(token_of(), datetime.now(UTC)) is None


def test_keys_are_not_believed_for_ever_while_the_provider_is_away(provider: Provider) -> None:
    clock = [0.0]
    with closing(SigningKeys(provider.fetch(), refresh_s=300, now=lambda: clock[0])) as keys:
        wait(lambda: keys.generation == 1)
        provider.status = 500
        clock[0] = STALE_S - 1
        assert keys.find("r") is not None
        clock[0] = STALE_S + 1
        with pytest.raises(RuntimeUnavailable):
            keys.find("r")


# ---------------------------------------------------------------------------- a replica


@contextmanager
def replica(tmp_path: Path, **source: str) -> Iterator[tuple[Authenticator, str]]:
    """Who asks, as a replica with these settings says it, and a key's secret."""
    data = DataDir(tmp_path / "data").ensure()
    new = NewKey(name="k", scope=Scope("acme"), roles=frozenset({AccessRole.READ}))
    secret = KeyStore(data.access_path).create(new, datetime.now(UTC)).secret.get_secret_value()
    chosen = {"issuer": ISSUER, "audience": AUDIENCE, "timeout_s": "1", **source}
    overrides = {f"auth.jwt.{name}": value for name, value in chosen.items()}
    settings = load(overrides={"data_dir": str(data.path), **overrides}, environ={}).settings
    with closing(make_authenticator(settings)) as authenticate:
        yield authenticate, secret


def bearing(token: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {token}".encode()}


def test_a_replica_takes_keys_and_tokens(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    with replica(tmp_path, jwks_file=str(file)) as (authenticate, secret):

        def known() -> bool:
            try:
                return authenticate(bearing(token_of()), "/v1/notes").name == "jwt:ana"
            except RuntimeUnavailable:
                return False

        wait(known)
        assert authenticate(bearing(secret), "/v1/notes").name.startswith("k_")


def test_keys_work_while_the_provider_is_away(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}/jwks"
    with replica(tmp_path, jwks_url=away) as (authenticate, secret):
        for _ in range(3):
            assert authenticate(bearing(secret), "/v1/notes").name.startswith("k_")
            with pytest.raises(RuntimeUnavailable):
                authenticate(bearing(token_of()), "/v1/notes")
            with pytest.raises(Unauthenticated):
                authenticate(bearing("sr_k_x"), "/v1/notes")
