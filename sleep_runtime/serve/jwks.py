"""An identity provider's public keys, fetched in a thread so that no request waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from jwt import PyJWK, PyJWKClient, PyJWKSet

from sleep_runtime.core.errors import RuntimeUnavailable
from sleep_runtime.core.tokens import JwtPolicy
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

UNKNOWN_EVERY_S = 10.0
"""A key nobody knows makes it look once in this time, however many tokens name one."""
STALE_S = 24 * 3600.0
"""How long keys are believed while the provider does not answer."""
MAX_KEYS = 100
CLOSE_S = 1.0

log = get_logger(__name__)
Fetch = Callable[[], list[PyJWK]]


def fetcher(policy: JwtPolicy) -> Fetch:
    """How the keys are fetched: over HTTP without redirects, or from a file."""
    file = policy.jwks_file
    if file is not None:
        return lambda: _signing(PyJWKSet.from_json(Path(file).read_text("utf-8")).keys)
    client = PyJWKClient(policy.jwks_url, cache_jwk_set=False, timeout=policy.timeout_s)
    return client.get_signing_keys


def _signing(keys: list[PyJWK]) -> list[PyJWK]:
    return [key for key in keys if key.public_key_use in ("sig", None) and key.key_id]


class SigningKeys:
    """The keys by their name. ``find`` never waits; a daemon thread fetches.

    It fetches every ``refresh_s``, and at once when a name is asked for that is not known, at most
    every ``UNKNOWN_EVERY_S``. When that fails the keys it has are believed for ``STALE_S``.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        refresh_s: float,
        unknown_every_s: float = UNKNOWN_EVERY_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._refresh_s = refresh_s
        self._unknown_every_s = unknown_every_s
        self._now = now
        self._keys: Mapping[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._looking = True
        self._next_look_at = 0.0
        self._wake = threading.Event()
        self._closed = False
        self.generation = 0
        """Grows with every change of the keys."""
        self._thread = threading.Thread(target=self._run, name="jwks", daemon=True)
        self._thread.start()

    def find(self, name: str) -> PyJWK | None:
        """The key of this name, or None. Raises ``RuntimeUnavailable`` while nobody can say."""
        fresh = self._fetched_at is not None and self._now() - self._fetched_at < STALE_S
        key = self._keys.get(name) if fresh else None
        if key is not None:
            return key
        if not self._looking and self._now() >= self._next_look_at:
            self._looking = True
            self._wake.set()
        if self._looking or not fresh:
            raise RuntimeUnavailable(
                "the identity provider's keys are not here yet",
                field="authorization",
                mend="send it again; if that lasts, check auth.jwt.jwks_url",
            )
        return None

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closed:
            self._wake.clear()
            pause_s = self._refresh_s if self._look() else self._unknown_every_s
            self._wake.wait(pause_s)

    def _look(self) -> bool:
        try:
            found = {str(key.key_id): key for key in self._fetch()[:MAX_KEYS]}
        except Exception as error:  # noqa: BLE001 - whatever a provider sends, the thread goes on
            log.warning(LogEvent.AUTH_KEYS_AWAY, reason=str(error)[:300])
            return False
        else:
            changed = {name: key.key for name, key in found.items()} != {
                name: key.key for name, key in self._keys.items()
            }
            self._keys, self._fetched_at = found, self._now()
            self.generation += changed
            return True
        finally:
            self._next_look_at = self._now() + self._unknown_every_s
            self._looking = False
