"""The error of masking."""

from __future__ import annotations

from onrecord.policies.errors import OnrecordError


class MaskError(OnrecordError):
    """A mask cannot be applied: the value must not be released. Never carries the value."""
