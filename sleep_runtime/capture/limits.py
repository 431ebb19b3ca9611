"""How much one capture request may carry."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.event import MAX_TEXT_CHARS


class CaptureLimits(BaseModel):
    """Bounds of one request and of one event in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: int = Field(
        default=16 << 20, gt=0, description="body of one request, packed and unpacked"
    )
    max_events: int = Field(default=10_000, gt=0, description="events in one request")
    max_text_chars: int = Field(
        default=MAX_TEXT_CHARS, gt=0, le=MAX_TEXT_CHARS, description="text of one event"
    )
    max_data_bytes: int = Field(
        default=256 << 10, gt=0, description="data of one event, as compact JSON"
    )
    max_ahead_s: float = Field(
        default=86_400.0, ge=0, description="how far a client's clock may be ahead of ours"
    )
