"""What people do at the admin page, on record: logins, looks at content, refused attempts. The process's own journal.

A look is on disk before what was looked at is sent. Where it cannot be written nothing is shown.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from onrecord import __version__
from onrecord.policies.model import Identity
from onrecord.recordings.admin.networks import network_of
from onrecord.recordings.frames import NO_ID, Kind, id_text
from onrecord.recordings.journal import Durability, Journal
from onrecord.recordings.records import LookRecord, ProcessRecord, RefusalRecord

BURST = 20
WINDOW = 60.0
MAX_ADDRESSES = 4096
MOST = 600
"""Refusals of all addresses that are recorded one by one in a window."""

LISTED_AT_ONCE = 100
MAX_LISTED = 50_000


class Looks:
    """Writes into the journal `name` in `folder`. Raises StoreError where it cannot be opened."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        durability: Durability = "process",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = Journal(folder, name, durability=durability)
        self._clock = clock
        self._listed: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._counts: dict[tuple[str, str], tuple[float, int]] = {}
        self._began, self._written, self._more = clock(), 0, 0
        record = ProcessRecord(process=name, pid=os.getpid(), version=__version__, host=os.uname().nodename)
        self._journal.append(Kind.PROCESS, record)
        self._journal.flush()

    def look(self, look: LookRecord, *, command: str = "", session: str = "") -> str:
        """Put a look on record; its id. Raises StoreError."""
        id = self._journal.append(Kind.LOOK, look, command=_bytes(command), session=_bytes(session))
        self._journal.flush()
        return id_text(id)

    def listed(self, who: Identity, client: str, ids: Iterable[str]) -> None:
        """Approvals that somebody got in a list: on record once for each person and approval. Raises StoreError."""
        keys = {id: (who.issuer, who.subject, id) for id in ids}
        new = [id for id, key in keys.items() if key not in self._listed]
        for at in range(0, len(new), LISTED_AT_ONCE):
            part = tuple(new[at : at + LISTED_AT_ONCE])
            self.look(LookRecord(identity=who, what="list", client=client, parts=part))
            self._listed.update((keys[id], None) for id in part)
        while len(self._listed) > MAX_LISTED:
            self._listed.popitem(last=False)

    def refuse(
        self, reason: str, *, client: str, text: str = "", detail: str = "", who: Identity | None = None
    ) -> None:
        """Put a refused request on record. Of one address and reason so many a minute one by one, the rest counted."""
        address = network_of(client.rpartition(":")[0].strip("[]"))
        key = (address, reason)
        now = self._clock()
        began, count = self._counts.get(key, (now, 0))
        over = count - BURST
        if now - began > WINDOW:
            if over > 0:
                self._write(reason, client, "", f"{over} more within {WINDOW:g} s", who, over)
            began, count = now, 0
        if len(self._counts) >= MAX_ADDRESSES and key not in self._counts:
            self._counts.pop(next(iter(self._counts)))
        self._counts[key] = (began, count + 1)
        if count < BURST and self._has_room(now):
            self._write(reason, client, text, detail, who, 1)

    def _has_room(self, now: float) -> bool:
        """Whether one more may have a record of its own; those that had none are counted in one, later."""
        if now - self._began > WINDOW:
            if self._more:
                self._write("refused requests of many addresses", "-", "", f"within {WINDOW:g} s", None, self._more)
            self._began, self._written, self._more = now, 0, 0
        if self._written >= MOST:
            self._more += 1
            return False
        self._written += 1
        return True

    def close(self) -> None:
        """Close the journal; what was only counted is written before."""
        if self._more:
            self._write("refused requests of many addresses", "-", "", f"within {WINDOW:g} s", None, self._more)
        self._journal.close()

    def _write(self, reason: str, client: str, text: str, detail: str, who: Identity | None, count: int) -> None:
        record = RefusalRecord(
            what="onrecord:admin",
            reason=reason,
            protocol="admin",
            client=client,
            text=text[:500],
            detail=detail[:500],
            identity=who,
            count=count,
        )
        self._journal.refuse(Kind.REFUSAL, record)


def _bytes(id: str) -> bytes:
    try:
        return uuid.UUID(id).bytes if id else NO_ID
    except ValueError:
        return NO_ID
