"""What a git client asks `git-receive-pack` to change: the commands in front of the pack. Pure.

Source: gitprotocol-pack and gitprotocol-common, pkt-lines `OLD NEW REF\\0CAPABILITIES`, ended by a flush.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_REFS = 1000
_COMMAND = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) ([^\0\n]+)")


class Change(NamedTuple):
    """A ref and its object ids before and after; all zeros: it is not there."""

    ref: str
    old: str
    new: str


class Refs:
    """Collects the changes from what the client sends. `done`: there is no more to read."""

    def __init__(self) -> None:
        self._held = bytearray()
        self.changes: list[Change] = []
        self.done = False

    def feed(self, data: bytes) -> None:
        """More bytes; what cannot be read ends it (the server refuses it too)."""
        if self.done:
            return
        self._held += data
        while len(self._held) >= 4:
            try:
                length = int(bytes(self._held[:4]), 16)
            except ValueError:
                self.done = True
                return
            if length < 4 or len(self.changes) >= MAX_REFS:
                self.done = True
                return
            if len(self._held) < length:
                return
            found = _COMMAND.match(bytes(self._held[4:length]))
            if found is not None:
                old, new, ref = (part.decode("utf-8", "backslashreplace") for part in found.groups())
                self.changes.append(Change(ref, old, new))
            del self._held[:length]
