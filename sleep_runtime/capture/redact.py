"""Redaction: secrets and personal data become typed placeholders before text leaves the journal.

Every pattern is linear in the text: it starts only where a run of its own characters starts (the
lookbehinds), or its repetitions are bounded. Redacting twice changes nothing. Git hashes, UUIDs,
paths and long identifiers stay, because lessons are about them.
"""

from __future__ import annotations

from sleep_runtime.capture.masking import mask
from sleep_runtime.capture.personal_rules import PERSONAL_RULES
from sleep_runtime.capture.secret_rules import SECRET_RULES

_RULES = (*SECRET_RULES, *PERSONAL_RULES)
_MAX_PASSES = 8


def redact(text: str) -> str:
    """``text`` with ``[secret]``, ``[email]``, ``[iban]``, ``[card]``, ``[ssn]``, ``[phone]``.

    Only the datum itself is replaced, so that the sentence around it can still be learned from.
    Names of people and places have no form to know them by and stay.

    Pure, linear in the length of the text, and idempotent: a placeholder can uncover the start
    of something behind it, so a text that changed is looked at again (at most ``_MAX_PASSES``
    times, which only a text built for it needs).
    """
    for _ in range(_MAX_PASSES):
        redacted = mask(text, _RULES)
        if redacted == text:
            break
        text = redacted
    return text
