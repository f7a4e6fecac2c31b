"""The way to the admin API, as the console sees it: given from outside, since it needs a human's token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self


class Door(Protocol):
    """What scripts/admin_client.py is. Every call may take seconds and raise OnrecordError."""

    def __enter__(self) -> Self:
        """Itself."""

    def __exit__(self, *_: object) -> None:
        """Close its connections."""

    def approvals(self, *, pending: bool = False) -> list[dict[str, Any]]:
        """What is known of approvals, oldest first."""

    def decide(self, id: str, decision: str, reason: str) -> dict[str, Any]:
        """`decision` is "approve", "deny" or "revoke"."""

    def kill(self, target: str, value: str, reason: str) -> dict[str, Any]:
        """Stop a run, a session or an identity."""


DoorOpener = Callable[[], Door]
"""Raises OnrecordError where there is no login or no admin process."""
