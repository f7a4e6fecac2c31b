"""Masks on what goes to the client: which plan rows are under, what must be held, messages. No I/O."""

from __future__ import annotations

from onrecord.policies.masking import MaskError
from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.exchange import Exchange, Expect, SessionFatal
from onrecord.shims.postgres.masking.rows import Plan
from onrecord.shims.postgres.messages import encode_status
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.wire import HEADER, HEADER_SIZE, MIB, WireError

HELD_LIMIT = 16 * MIB  # of a message that must be here whole to be masked
MASKING = "onrecord:masking"
CAST = "leave the column out, or cast it to text"
_DATA_ROW = ord("D")
_ASKED = 64
_FREE_SETTINGS = frozenset({"application_name", "search_path"})  # whose value may be any text, set_config's too


class Masked:
    """The masks of one session, applied to the answers of the server. Raises SessionFatal where nothing may pass."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    # ------------------------------------------------------------------ rows

    def plan(self, running: Running) -> Plan | None:
        """What happens to the rows of `running`; None: nothing."""
        masking = self._exchange.masking
        if masking is None or not masking.concerns(running.decision):
            return None
        if running.plan is None:
            if not running.columns and not running.described:
                raise WireError("the server sent a row whose columns it did not announce")
            running.plan = masking.plan(running.decision, running.columns, running.formats, running.lineage)
        return None if running.plan.idle else running.plan

    def end_of_rows(self, data: bytes, position: int, size: int) -> int:
        """The position behind all DataRow messages that stand whole from `position` on."""
        unpack = HEADER.unpack_from
        while size - position >= HEADER_SIZE:
            kind, length = unpack(data, position)
            end = position + length + 1
            if kind != _DATA_ROW or end > size:
                break
            if length < 6:
                raise WireError("the server sent a DataRow with an impossible length")
            position = end
        return position

    def rows(self, running: Running, plan: Plan, data: bytes, start: int, end: int) -> bytes:
        """The rows at `data[start:end]` as they may be delivered."""
        try:
            return plan.mask(data, start, end, running.masked)
        except MaskError as error:
            raise SessionFatal("42501", f"{MASKING}: {error}", what=MASKING, hint=CAST) from None

    def holds(self, running: Running | None, length: int) -> bool:
        """Whether a large message must be here whole before anything of it may pass; `running`: whose row it is."""
        masking = self._exchange.masking
        if masking is None:
            return False
        held = self.plan(running) is not None if running is not None else not masking.idle
        if held and length > HELD_LIMIT:
            text = f"{MASKING}: a message of {length} bytes is over the {HELD_LIMIT} that can be held to be masked"
            raise SessionFatal("42501", text, what=MASKING, hint="ask for less at a time, with substr or other columns")
        return held

    # ------------------------------------------------------------------ messages

    def message(self, data: bytes) -> bytes | None:
        """What goes to the client instead of an ErrorResponse or NoticeResponse; None: it passes as it is."""
        masking = self._exchange.masking
        if masking is None:
            return None
        running = self._at_work()
        if masking.idle and (running is None or not masking.concerns(running.decision)):
            return None
        masked = masking.message(data, self.asked(), running.masked if running is not None else {})
        return None if masked is data else masked

    def setting(self, name: str, value: str) -> bytes | None:
        """What goes to the client instead of a ParameterStatus; None: it passes as it is."""
        masking = self._exchange.masking
        if masking is None or name not in _FREE_SETTINGS:
            return None
        masked = masking.setting(value, self.asked())
        return None if masked == value else encode_status(name, masked)

    def asked(self) -> list[Decision]:
        """The commands that the server's message may be about: what the client said in them is known to it."""
        found: list[Decision] = []
        for entry in self._exchange.queue:
            found += [running.decision for running in entry.runs]
            if entry.kind in (Expect.SYNC, Expect.QUERY) or len(found) >= _ASKED:
                break
        if not found and self._exchange.last is not None:
            found.append(self._exchange.last)
        return found

    def _at_work(self) -> Running | None:
        """The command that the server is at."""
        for entry in self._exchange.queue:
            if entry.index < len(entry.runs):
                return entry.runs[entry.index]
            if entry.kind is Expect.SYNC:
                break
        return None
