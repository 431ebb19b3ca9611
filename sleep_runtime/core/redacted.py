"""Redacted: what stands in a text where something was taken out."""

SECRET = "[secret]"  # noqa: S105 - the placeholder, not a secret
