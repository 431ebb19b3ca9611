"""Every parser, by name: what ``scripts/fuzz`` and its tests go through."""

from __future__ import annotations

from hypothesis import strategies as st

from reliability.fuzz.events import EVENTS
from reliability.fuzz.files import FILES
from reliability.fuzz.models import MODELS
from reliability.fuzz.nights import NIGHTS
from reliability.fuzz.settings import SETTINGS
from reliability.fuzz.shapes import texts
from reliability.fuzz.target import Target
from sleep_runtime.capture.redact import redact
from sleep_runtime.telemetry import failpoint

_FAILPOINTS = st.one_of(
    texts,
    st.tuples(
        st.sampled_from((*list(failpoint.NAMES)[:2], "x")),
        st.sampled_from(("kill", "exit", "raise", "exit:", "kill@", "exit:9")),
        texts | st.sampled_from(("@1", "@0", "@²", ":³", "@" + "9" * 5000, ",,=")),
    ).map(lambda given: f"{given[0]}={given[1]}{given[2]}"),
)
_LONG = st.tuples(
    st.sampled_from(
        (
            *("a", "1", "1 ", "a@", "-", "+1 (", "AKIA", "eyJ", "eyJhbGciOi.", "sk-", "://", ":@"),
            *("Bearer ", "password=", "0x", "/", ".", "key: ", '"', "-----BEGIN ", "192.168.", "é"),
        )
    ),
    st.sampled_from(("", "a", "@", "\n", " ", "=", "ﬁ")),
    st.sampled_from((10, 1_000, 50_000)),
).map(lambda given: (given[0] * given[2])[:100_000] + given[1])


def _redacted(text: str) -> None:
    first = redact(text)
    assert redact(first) == first, "what is masked stays as it is"


TARGETS: tuple[Target, ...] = (
    *EVENTS,
    *SETTINGS,
    *FILES,
    *MODELS,
    Target(
        "failpoints",
        _FAILPOINTS,
        failpoint.parse,
        known=[f"journal.append.before={action}" for action in ("kill@²", "exit:" + "9" * 5000)],
    ),
    Target("redaction", texts | _LONG, _redacted, ()),
    NIGHTS,
)
