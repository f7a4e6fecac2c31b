"""The names of prepared statements, in step with the server's: what is confirmed, what is under way. Pure.

Prepared statements of the extended protocol and of SQL (PREPARE) share one namespace. A change holds only once the
server has confirmed it: after an error it skips what follows, and `p` may still be what it was. So a name with a
change under way from an earlier segment (a Sync or a Query lies between) has no certain meaning until the answer is
there; within one segment the latest change counts, because if it fails, what uses it is skipped too.
"""

from __future__ import annotations

from onrecord.shims.postgres.commands import Prepared

ALL = "*"


class Unsettled(Exception):  # noqa: N818  # a signal to wait, not an error
    """The meaning of a name depends on answers that have not come yet."""


class Change:
    """`name` is to become `prepared` (None: nothing). Settled once, in the order of making."""

    __slots__ = ("everything", "name", "number", "prepared", "segment")

    def __init__(self, name: str, prepared: Prepared | None, segment: int, number: int, *, everything: bool) -> None:
        self.name, self.prepared = name, prepared
        self.segment, self.number, self.everything = segment, number, everything


class Namespace:
    """Names → prepared statements. `segment` counts Syncs and Queries that were passed on."""

    __slots__ = ("_confirmed", "_numbers", "_under_way", "_wipes", "segment")

    def __init__(self) -> None:
        self._confirmed: dict[str, Prepared] = {}
        self._under_way: dict[str, list[Change]] = {}
        self._wipes: list[Change] = []
        self._numbers = 0
        self.segment = 0

    def change(self, name: str, prepared: Prepared | None) -> Change:
        """Begin a change of one name."""
        self._numbers += 1
        change = Change(name, prepared, self.segment, self._numbers, everything=False)
        self._under_way.setdefault(name, []).append(change)
        return change

    def held(self) -> int:
        """Characters of all prepared texts, those under way included."""
        under_way = (change.prepared for changes in self._under_way.values() for change in changes)
        return sum(len(one.template.command.text) for one in (*self._confirmed.values(), *under_way) if one is not None)

    def count(self) -> int:
        """Names in use but the empty one, those under way included; a name may count twice while it changes."""
        return len(self._confirmed) - ("" in self._confirmed) + len(self._under_way) - ("" in self._under_way)

    def knows(self, name: str) -> bool:
        """Whether `name` counts already."""
        return name in self._confirmed or name in self._under_way

    def wipe(self) -> Change:
        """Begin to forget all names (DEALLOCATE ALL, DISCARD ALL)."""
        self._numbers += 1
        change = Change(ALL, None, self.segment, self._numbers, everything=True)
        self._wipes.append(change)
        return change

    def lookup(self, name: str) -> Prepared | None:
        """What `name` is for a message that follows now. Raises Unsettled."""
        changes = self._under_way.get(name)
        last = changes[-1] if changes else None
        if self._wipes and (last is None or self._wipes[-1].number > last.number):
            last = self._wipes[-1]
        if last is None:
            return self._confirmed.get(name)
        if last.segment != self.segment:
            raise Unsettled
        return last.prepared

    def commit(self, change: Change) -> None:
        """The server did it."""
        self.cancel(change)
        if change.everything:
            self._confirmed.clear()
        elif change.prepared is None:
            self._confirmed.pop(change.name, None)
        else:
            self._confirmed[change.name] = change.prepared

    def doubt(self, change: Change) -> None:
        """The server may have done it: the error that took the place of its completion may be that of the commit."""
        if not change.everything and change.prepared is not None:
            self._confirmed.pop(change.name, None)

    def cancel(self, change: Change) -> None:
        """The server did not do it."""
        if change.everything:
            self._wipes.remove(change)
            return
        changes = self._under_way[change.name]
        changes.remove(change)
        if not changes:
            del self._under_way[change.name]
