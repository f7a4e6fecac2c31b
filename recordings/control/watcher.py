"""Watches the policy files and offers what changed. A file that vanishes opens nothing: the set goes stale."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from onrecord.policies.config import PolicyConfig
from onrecord.policies.errors import OnrecordError
from onrecord.policies.policy_set import PolicySet, read_policy_set
from onrecord.recordings.control.server import ControlServer


class PolicyWatcher:
    """Reads the files of `[[policies]]` every `interval` seconds (they are small; times and sizes can be forged).

    A change counts when two readings in a row agree, so that a file that is being written is not taken for broken.
    """

    def __init__(self, policies: Sequence[PolicyConfig], server: ControlServer, *, interval: float = 0.5) -> None:
        self._policies, self._server, self._interval = tuple(policies), server, interval
        self._offered = self._seen = ""

    async def run(self) -> None:
        """Offer the first reading, then every change, until cancelled."""
        self.look()
        self.look()
        while True:
            await asyncio.sleep(self._interval)
            self.look()

    def look(self) -> None:
        """One reading."""
        found: PolicySet | str
        try:
            found = read_policy_set(self._policies)
            state = found.digest
        except (OnrecordError, OSError) as error:
            found = state = str(error)
        stable, self._seen = state == self._seen, state
        if not stable or state == self._offered:
            return
        self._offered = state
        if isinstance(found, PolicySet):
            self._server.propose(found)
        else:
            self._server.fail(found)
