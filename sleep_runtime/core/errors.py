"""Every error the runtime raises on purpose.

    SleepRuntimeError
    ├── InvalidInput            a caller sent something we cannot take
    │   ├── TooLarge            ... because there is too much of it
    │   ├── TooSlow             ... because it does not come in time
    │   ├── InvalidEvent        ... as one event of a batch
    │   ├── InvalidScope
    │   └── InvalidConfig
    ├── Unauthenticated         nobody said who asks, or not provably
    ├── Forbidden               who asks may not do this there
    ├── NotFound                a named thing does not exist
    ├── Conflict                it cannot be done as things stand
    ├── Overloaded              a bounded queue is full: retry later
    │   └── LimitReached        ... or one caller has used up what they may
    ├── StoreError              the journal, ledger or index could not do its work
    │   ├── StoreFull           no space left: nothing was acked
    │   ├── StoreBusy           the data directory belongs to another runtime
    │   ├── StoreTooNew         the data was written by a newer version
    │   ├── IndexBroken         the index cannot be read or written, the ledger can
    │   ├── LeaseLost           somebody with a higher epoch owns the scope
    │   └── StaleRevision       a note moved on since it was read
    ├── EngineError             a model call gave nothing usable
    │   ├── EngineUnavailable   the model cannot be reached
    │   │   └── PoolAway        ... because the idle pool gave its bundle back
    │   └── InvalidAnswer       the model answered outside its schema
    ├── BudgetSpent             a run used up what it may use
    └── RuntimeUnavailable      no runtime answers where one was expected

A message has three parts where they apply: what (the field), why (the reason), and the mend.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial


class SleepRuntimeError(Exception):
    """Something went wrong in sleep-runtime."""

    def __init__(self, reason: str = "", *, field: str = "", mend: str = "") -> None:
        self.reason = reason or (type(self).__doc__ or "").strip()
        self.field = field
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.field}: {self.reason}" if self.field else self.reason
        return f"{head} ({self.mend})" if self.mend else head

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.reason, self.field, self.mend))


def _rebuild(
    kind: type[SleepRuntimeError], reason: str, field: str, mend: str
) -> SleepRuntimeError:
    return kind(reason, field=field, mend=mend)


class InvalidInput(SleepRuntimeError):
    """The input cannot be taken."""


class Unauthenticated(SleepRuntimeError):
    """It is not known who asks."""


class Forbidden(SleepRuntimeError):
    """Who asks may not do this."""


class TooLarge(InvalidInput):
    """There is more of it than one request may send."""


class TooSlow(InvalidInput):
    """It did not come in time."""


class InvalidEvent(InvalidInput):
    """The event cannot be taken."""


class InvalidScope(InvalidInput):
    """The scope is not a path of one to three parts."""


class InvalidConfig(InvalidInput):
    """The configuration cannot be used."""


class NotFound(SleepRuntimeError):
    """There is no such thing."""


class Conflict(SleepRuntimeError):
    """It cannot be done as things stand."""


class Overloaded(SleepRuntimeError):
    """The queue is full: retry later."""


class LimitReached(Overloaded):
    """This caller has used up what they may: retry later."""

    def __init__(
        self, reason: str = "", *, field: str = "", mend: str = "", retry_after_s: float = 1.0
    ) -> None:
        super().__init__(reason, field=field, mend=mend)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = partial(
            LimitReached,
            self.reason,
            field=self.field,
            mend=self.mend,
            retry_after_s=self.retry_after_s,
        )
        return (rebuild, ())


class StoreError(SleepRuntimeError):
    """The store could not do its work."""


class StoreFull(StoreError):
    """No space is left on the device: nothing was acked."""


class StoreBusy(StoreError):
    """The data directory is in use by another runtime."""


class StoreTooNew(StoreError):
    """The data directory was written by a newer version."""


class IndexBroken(StoreError):
    """The index cannot be read or written: it is made again from the ledger."""


class LeaseLost(StoreError):
    """The lease on the scope was taken over: this owner may not write any more."""


class StaleRevision(StoreError):
    """A note was changed since it was read."""


class EngineError(SleepRuntimeError):
    """The engine gave nothing usable."""


class EngineUnavailable(EngineError):
    """The model cannot be reached."""


class PoolAway(EngineUnavailable):
    """The idle pool gave its bundle back: the run goes on when the pool is there again."""


class InvalidAnswer(EngineError):
    """The model answered outside its schema."""


class BudgetSpent(SleepRuntimeError):
    """The run used up its budget."""

    def __init__(
        self, reason: str = "", *, field: str = "", mend: str = "", until: datetime | None = None
    ) -> None:
        super().__init__(reason, field=field, mend=mend)
        self.until = until
        """The earliest instant with room again; None: at the run's next turn."""

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = partial(
            BudgetSpent, self.reason, field=self.field, mend=self.mend, until=self.until
        )
        return (rebuild, ())


class RuntimeUnavailable(SleepRuntimeError):
    """No runtime answers."""
