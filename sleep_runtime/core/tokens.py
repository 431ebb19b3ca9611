"""Tokens of an identity provider: what is asked of one, and what its claims let its bearer do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sleep_runtime.core.access import AccessRole, Caller, Grant
from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.event import Trust
from sleep_runtime.core.scope import Scope

EVERYWHERE = "*"
MAX_SCOPES = 100
MAX_SUBJECT_CHARS = 200

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Only those with a public key: with a shared one, whoever can check a token can make one."""


class JwtPolicy(BaseModel):
    """Which tokens are believed, and where in them scopes and roles are. Off without an issuer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(default="", description="claim iss, as it is there; empty: no tokens")
    audience: str = Field(default="", description="claim aud: this runtime's name there")
    jwks_url: str = Field(default="", description="where the issuer's public keys are")
    jwks_file: Path | None = Field(default=None, description="the same as a file, read again")
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "ES256", "EdDSA"), min_length=1, description="signatures that are taken"
    )
    scope_claim: str = Field(
        default="sleep_scope",
        min_length=1,
        description='holds "org/team/user", "*" for everywhere, or a list',
    )
    roles_claim: str = Field(
        default="sleep_roles", min_length=1, description="holds a role or a list; others are passed"
    )
    roles: tuple[AccessRole, ...] = Field(default=(), description="where that claim is missing")
    speaks_claim: str = Field(
        default="sleep_speaks", min_length=1, description="holds human, agent or untrusted"
    )
    speaks: Trust = Field(default=Trust.AGENT, description="where that claim is missing")
    leeway_s: float = Field(
        default=30.0, ge=0, le=300, description="how far the issuer's clock may be off"
    )
    refresh_s: float = Field(
        default=300.0, ge=10, le=86_400, description="how often the issuer's keys are fetched"
    )
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="longest wait for them")

    @property
    def on(self) -> bool:
        return bool(self.issuer)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.on:
            if self.audience or self.jwks_url or self.jwks_file:
                raise ValueError("issuer is missing: set auth.jwt.issuer")
            return self
        if not self.audience:
            raise ValueError("audience is missing: a token made for another service would do")
        if bool(self.jwks_url) == bool(self.jwks_file):
            raise ValueError("set one of jwks_url and jwks_file")
        if self.jwks_url and not _closed(self.jwks_url):
            raise ValueError("jwks_url must be https, or http on this machine")
        return self


def _closed(url: str) -> bool:
    """Whether nobody between can put keys of their own into the answer."""
    parts = urlsplit(url)
    here = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and here))


def caller_of(claims: Mapping[str, Any], policy: JwtPolicy) -> Caller:
    """Who asks with a token of these claims, which were verified.

    Raises ``InvalidInput`` when a claim that has to be there is not, or cannot be read.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.isprintable():
        raise InvalidInput("is no text", field="sub")
    scopes = _texts(claims, policy.scope_claim)
    if not 0 < len(scopes) <= MAX_SCOPES:
        raise InvalidInput(f"holds {len(scopes)} scopes", field=policy.scope_claim)
    roles = _roles(claims, policy)
    return Caller(
        name=f"jwt:{subject[:MAX_SUBJECT_CHARS]}",
        grants=tuple(
            Grant(scope=None if scope == EVERYWHERE else Scope(scope), roles=roles)
            for scope in scopes
        ),
        speaks=_speaks(claims, policy),
    )


def _roles(claims: Mapping[str, Any], policy: JwtPolicy) -> frozenset[AccessRole]:
    """Those that are ours: a claim of roles holds those of other services too."""
    if policy.roles_claim not in claims and policy.roles:
        return frozenset(policy.roles)
    ours = {role.value for role in AccessRole}
    found = frozenset(AccessRole(one) for one in _texts(claims, policy.roles_claim) if one in ours)
    if not found:
        raise InvalidInput("names no role of ours", field=policy.roles_claim)
    return found


def _speaks(claims: Mapping[str, Any], policy: JwtPolicy) -> Trust:
    if policy.speaks_claim not in claims:
        return policy.speaks
    try:
        return Trust(claims[policy.speaks_claim])
    except ValueError:
        raise InvalidInput("is no trust", field=policy.speaks_claim) from None


def _texts(claims: Mapping[str, Any], name: str) -> list[str]:
    found = claims.get(name)
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise InvalidInput("is missing, or neither text nor a list of it", field=name)
    return texts
