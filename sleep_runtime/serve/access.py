"""Access: who asks, by the key or the token a request bears. Runs before a body is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from sleep_runtime.core.access import Caller
from sleep_runtime.core.errors import Unauthenticated
from sleep_runtime.core.event import Trust
from sleep_runtime.core.keys import ApiKey
from sleep_runtime.core.ports import Clock
from sleep_runtime.telemetry.metrics import METRICS

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Answered to everybody: probes send no key, and the answers say nothing but yes or no."""

KEY_PREFIX = "sr_"
NOBODY = Caller(name="nobody", grants=(), speaks=Trust.UNTRUSTED)
_MISSING = METRICS.auth_refused.labels("missing")
_KEY = METRICS.auth_refused.labels("key")
_TOKEN = METRICS.auth_refused.labels("token")


class HeldKey(Protocol):
    """A key, and who asks with it."""

    @property
    def key(self) -> ApiKey: ...
    @property
    def caller(self) -> Caller: ...


class Keys(Protocol):
    """Where keys are known."""

    def find(self, token: str) -> HeldKey | None:
        """The key that this is the secret of, expired or revoked though it may be."""

    def close(self) -> None: ...


class Tokens(Protocol):
    """Where tokens of an identity provider are read."""

    def __call__(self, token: str, now: datetime) -> Caller | None:
        """Who asks with a token; None when it proves nothing."""

    def close(self) -> None: ...


class Authenticator:
    """Says who asks. Some microseconds for a key: it is called once a request, in the loop.

    Whatever is wrong with what a request bears, the refusal says the same.
    """

    def __init__(self, keys: Keys, clock: Clock, tokens: Tokens | None = None) -> None:
        self._keys = keys
        self._clock = clock
        self._tokens = tokens

    def close(self) -> None:
        """Let go of the files and threads behind it."""
        self._keys.close()
        if self._tokens is not None:
            self._tokens.close()

    def __call__(self, headers: Mapping[bytes, bytes], path: str) -> Caller:
        """Raises ``Unauthenticated``; ``StoreError`` or ``RuntimeUnavailable`` when nobody can
        say at the moment."""
        if path in OPEN_PATHS:
            return NOBODY
        borne = _bearer(headers.get(b"authorization", b""))
        if borne.startswith(KEY_PREFIX):
            held = self._keys.find(borne)
            if held is not None and held.key.usable(self._clock.now()):
                return held.caller
            _KEY.inc()
        elif borne and self._tokens is not None:
            caller = self._tokens(borne, self._clock.now())
            if caller is not None:
                return caller
            _TOKEN.inc()
        else:
            _MISSING.inc()
        raise Unauthenticated(
            "the key or token is missing, unknown, expired or revoked",
            field="authorization",
            mend='send "Authorization: Bearer KEY"; make one with: sleep-runtime keys create',
        )


def _bearer(header: bytes) -> str:
    scheme, _, borne = header.partition(b" ")
    return borne.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
