"""What is wrong with bytes on an upgraded connection."""

from __future__ import annotations

from onrecord.policies.errors import DecodeError


class StreamError(DecodeError):
    """Bytes of exec, attach or port-forward that are refused. The text is ours: it quotes no peer."""
