"""What can be chosen about a client. The defaults suit an agent on a person's machine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from sleep_runtime.client.errors import InvalidArgument


@dataclass(frozen=True, kw_only=True)
class Options:
    """Bounds and times. Raises ``InvalidArgument`` for what cannot work.

    ``flush_events``, ``flush_interval_s``: a batch is sent when it has so many events, or when its
    oldest is so old. ``max_buffer_events``, ``max_buffer_bytes``: from half of it on the buffer is
    moved to the spool; when even so it is full, the newest event is dropped. ``answer_s``: how long
    an answer to a batch is waited for. ``exit_s``: how long closing, and the end of the process,
    may take. ``retry_base_s``, ``retry_max_s``: the waits after failures. ``seed`` makes their
    jitter repeatable.

    ``spool_dir``: None for ``SLEEP_SPOOL_DIR`` or this platform's directory for state. ``spool``:
    False keeps events in memory only. ``max_spool_bytes``: of all processes that share it; when it
    is full the newest events are dropped. ``durable``: ``capture`` writes to the spool before it
    returns, so that a killed process loses nothing. ``fsync``: each write to the spool is on the
    disk before it counts, so that a machine that loses power loses nothing of it.

    ``read_s``: how long ``search`` and ``context`` wait for an answer.
    """

    flush_events: int = 100
    flush_interval_s: float = 0.2
    max_buffer_events: int = 10_000
    max_buffer_bytes: int = 16 << 20
    max_batch_bytes: int = 1 << 20
    answer_s: float = 10.0
    exit_s: float = 2.0
    retry_base_s: float = 0.5
    retry_max_s: float = 30.0
    seed: int | None = None
    spool: bool = True
    spool_dir: str | Path | None = None
    max_spool_bytes: int = 256 << 20
    durable: bool = False
    fsync: bool = False
    read_s: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if number and field.name != "seed" and not value > 0:
                raise InvalidArgument(
                    f"is {value}", field=field.name, mend="give a positive number"
                )
        if self.durable and not self.spool:
            raise InvalidArgument("needs the spool", field="durable", mend="leave spool=True")
