"""What a replica holds of the scopes it read last, bounded by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from sleep_runtime.core.scope import Scope
from sleep_runtime.present.segments import Segment

_SCOPE_BYTES = 400


@dataclass(frozen=True)
class Scoped:
    """All active notes of one scope at one version of it.

    ``indexed``: the first segment holds no vectors, the index does. A second segment holds what
    changed since the first was made. ``foreign``: none of them has a vector of
    the searcher's model, so that the index has nothing of use. ``whole`` is False while some notes
    wait for their vectors.
    """

    scope: Scope
    version: int
    segments: tuple[Segment, ...] = ()
    indexed: bool = False
    foreign: bool = False
    whole: bool = True

    @property
    def nbytes(self) -> int:
        """About what it takes in memory."""
        return _SCOPE_BYTES + sum(segment.nbytes for segment in self.segments)


class SegmentCache:
    """The scopes that were read last, as many as fit into ``max_bytes``.

    The newest is kept even if it alone is over the bound. Thread-safe.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Scope, Scoped] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """About what everything that is held takes."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, scope: Scope) -> Scoped | None:
        """What is held of a scope, of whatever version."""
        with self._lock:
            held = self._kept.get(scope)
            if held is not None:
                self._kept.move_to_end(scope)
            return held

    def put(self, scoped: Scoped) -> None:
        with self._lock:
            self._take_out(scoped.scope)
            self._kept[scoped.scope] = scoped
            self._bytes += scoped.nbytes
            while len(self._kept) > 1 and self._bytes > self._max_bytes:
                self._take_out(next(iter(self._kept)))

    def clear(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _take_out(self, scope: Scope) -> None:
        if (old := self._kept.pop(scope, None)) is not None:
            self._bytes -= old.nbytes
