"""What the client raises on purpose. ``capture`` and the helpers of a session raise none of it
because of the runtime: these are for the reads, and for arguments that can never be right.

    ClientError
    ├── InvalidArgument     what was passed cannot be taken, here or by the runtime
    │   └── NotFound        a named thing does not exist there
    ├── AccessDenied        the runtime does not know the key, or the key may not do this
    └── RuntimeUnavailable  nobody answered in time, or could not answer now
"""

from __future__ import annotations


class ClientError(Exception):
    """The runtime could not do what it was asked."""

    def __init__(self, reason: str, *, field: str = "", mend: str = "") -> None:
        self.reason = reason
        self.field = field
        self.mend = mend
        super().__init__(reason, field, mend)

    def __str__(self) -> str:
        head = f"{self.field}: {self.reason}" if self.field else self.reason
        return f"{head} ({self.mend})" if self.mend else head

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.reason, self.field, self.mend))


def _rebuild(kind: type[ClientError], reason: str, field: str, mend: str) -> ClientError:
    return kind(reason, field=field, mend=mend)


class InvalidArgument(ClientError):
    """What was passed cannot be taken."""


class NotFound(InvalidArgument):
    """A named thing does not exist."""


class AccessDenied(ClientError):
    """The key is missing, unknown, or not enough for this."""


class RuntimeUnavailable(ClientError):
    """No runtime answered, or it could not answer now."""
