"""Tokens of an identity provider (JWT), checked by PyJWT."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import jwt
from jwt import PyJWK

from sleep_runtime.core.access import Caller
from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.tokens import JwtPolicy, caller_of
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

MAX_TOKEN_CHARS = 16_384
MAX_KNOWN = 1024
_REQUIRED = ("exp", "iss", "aud", "sub")

log = get_logger(__name__)


class KeysOfIssuer(Protocol):
    """Where a token's key is looked up; see ``jwks.SigningKeys``."""

    @property
    def generation(self) -> int: ...

    def find(self, name: str) -> PyJWK | None: ...
    def close(self) -> None: ...


class TokenReader:
    """Says who asks with a token: signature, issuer, audience, times, then claims.

    A signature costs some hundred microseconds to check, so the last ``MAX_KNOWN`` good tokens are
    remembered, each until it expires or the issuer's keys change. For one thread: the loop's.
    """

    def __init__(self, policy: JwtPolicy, keys: KeysOfIssuer) -> None:
        self._policy = policy
        self._keys = keys
        self._known: dict[str, tuple[Caller, float]] = {}
        self._generation = keys.generation

    def __call__(self, token: str, now: datetime) -> Caller | None:
        """None when it proves nothing. Raises ``RuntimeUnavailable`` while nobody can say."""
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._known.clear()
        known = self._known.get(token)
        if known is not None and now.timestamp() < known[1]:
            return known[0]
        self._known.pop(token, None)
        try:
            claims = self._claims(token)
            caller = caller_of(claims, self._policy)
        except (jwt.PyJWTError, InvalidInput) as error:
            # The bearer is told nothing of it; who runs this may need it.
            log.info(LogEvent.AUTH_TOKEN_REFUSED, reason=f"{type(error).__name__}: {error}"[:300])
            return None
        self._remember(token, caller, float(claims["exp"]) + self._policy.leeway_s)
        return caller

    def close(self) -> None:
        self._keys.close()

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise InvalidInput(f"has {len(token)} characters", field="token")
        policy = self._policy
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in policy.algorithms:
            raise jwt.InvalidAlgorithmError(f"alg {str(header.get('alg'))[:20]!r} is not taken")
        key = self._keys.find(str(header.get("kid", "")))
        if key is None:
            raise InvalidInput("names no key of the issuer", field="kid")
        # The key brings its own algorithm: what the token says of it only has to agree.
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(policy.algorithms),
            audience=policy.audience,
            issuer=policy.issuer,
            leeway=policy.leeway_s,
            options={"require": list(_REQUIRED), "enforce_minimum_key_length": True},
        )
        return claims

    def _remember(self, token: str, caller: Caller, until: float) -> None:
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[token] = (caller, until)
