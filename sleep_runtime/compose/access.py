"""Keys and tokens at a start, and who asks at a request."""

from __future__ import annotations

import ipaddress
from datetime import datetime

from sleep_runtime.config import Settings
from sleep_runtime.core.access import AccessRole
from sleep_runtime.core.errors import InvalidConfig
from sleep_runtime.core.event import Trust
from sleep_runtime.core.keys import LOCAL_NAME, NewKey
from sleep_runtime.core.ports import Clock
from sleep_runtime.serve.access import Authenticator, Tokens
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.keys import KeyReader, KeyStore
from sleep_runtime.telemetry.clock import SystemClock

_OWN = NewKey(name=LOCAL_NAME, scope=None, roles=frozenset({AccessRole.ADMIN}), speaks=Trust.HUMAN)


def prepare_keys(settings: Settings, now: datetime) -> None:
    """Make this machine's own key at the first start, and see that others need one of theirs.

    Raises ``InvalidConfig`` when the runtime would listen to other machines and nobody there can
    have a key.
    """
    paths = DataDir(settings.data_dir)
    store = KeyStore(paths.access_path)
    check_exposure(settings, store, now)
    store.create_local(_OWN, now, paths.local_key_file)


def check_exposure(settings: Settings, store: KeyStore, now: datetime) -> None:
    """Raise ``InvalidConfig`` for an address others can reach while there is no key for them."""
    host = settings.http.host
    if is_loopback(host) or settings.auth.jwt.on:
        return
    if any(key.usable(now) and not key.local for key in store.all()):
        return
    raise InvalidConfig(
        f"{host} can be reached from other machines, and there is no key for them",
        field="http.host",
        mend="make one: sleep-runtime keys create --scope SCOPE --role ROLE; "
        "or set auth.jwt.issuer; or listen on 127.0.0.1",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_authenticator(settings: Settings, clock: Clock | None = None) -> Authenticator:
    """For one replica, whose loop it is called in."""
    keys = KeyReader(DataDir(settings.data_dir).access_path)
    return Authenticator(keys, clock or SystemClock(), _token_reader(settings))


def _token_reader(settings: Settings) -> Tokens | None:
    policy = settings.auth.jwt
    if not policy.on:
        return None
    # Cryptography is not loaded by those who have no identity provider.
    from sleep_runtime.serve.jwks import SigningKeys, fetcher
    from sleep_runtime.serve.tokens import TokenReader

    return TokenReader(policy, SigningKeys(fetcher(policy), refresh_s=policy.refresh_s))
