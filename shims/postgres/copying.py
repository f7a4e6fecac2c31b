"""COPY from the client: its data are counted, sampled and recorded on their way to the server. No I/O.

What the server makes of CopyData, CopyDone and CopyFail depends on whether it reads a COPY just then (copyfromparse.c,
CopyGetData); everywhere else it ignores them (postgres.c). So behind a statement that may begin a COPY nothing of the
client is touched until the server has said whether it does.
"""

from __future__ import annotations

from onrecord.shims.postgres.deciding import Deciding, Waiting
from onrecord.shims.postgres.exchange import Copying, Exchange, Expect
from onrecord.shims.postgres.limits import Stall
from onrecord.shims.postgres.messages import TERMINATE
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.wire import HEADER_SIZE, PIECE, REST, message

_DATA, _DONE, _FAIL, _FLUSH, _SYNC, _TERMINATE = b"dcfHSX"
_FIRST_DATA = _DATA | PIECE
_COPY_FAIL = message(b"f", b"the session ends\0")


class CopyIn(Deciding):
    """How the messages of a COPY are taken."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.terminated = False
        self._passing = 0  # bytes to come of a large message that is being passed on
        self._copied: Running | None = None  # data of it were taken since they were last recorded

    @property
    def farewell(self) -> bytes:
        """What ends the session at the server, whatever it does just then; nothing of a COPY under way may stay."""
        if self._passing:
            return b""  # it would be taken for data, and the end of the connection is an error there anyway
        copying = self._exchange.copying
        reading = copying is not None and copying.running is not None
        return (_COPY_FAIL if reading else b"") + TERMINATE

    def _piece(self, kind: int, data: bytes) -> bool:
        """A piece of a large message; whether that was all. The first one of what is to pass is a message to handle."""
        if kind == REST:
            if self._passing:
                self._passing -= len(data)
                self._take(data)
            return True
        return kind != _FIRST_DATA or self._exchange.copying is None

    def _while_copying(self, kind: int, data: bytes) -> None:
        """A message behind a statement that begins a COPY. Raises Stall until the server has begun it."""
        exchange = self._exchange
        copying = exchange.copying
        if copying is None or (running := copying.running) is None:
            raise Stall
        if kind in (_DATA, _FIRST_DATA):
            self._passing = int.from_bytes(data[1:HEADER_SIZE], "big") + 1 - len(data)
            exchange.to_upstream.append(data[:HEADER_SIZE])
            self._copied = running
            self._take(data[HEADER_SIZE:])
        elif kind in (_DONE, _FAIL):
            self._record_copied()
            self._end_copy(copying, failed=kind == _FAIL)
            exchange.to_upstream.append(data)
        elif kind == _TERMINATE:
            self.terminated = True  # the server takes it for an error, and nothing of the COPY stays
        elif kind not in (_FLUSH, _SYNC):  # these it ignores
            copying.stray, copying.running = kind & 0xFF, None
            exchange.to_upstream.append(exchange.trick.copy_fail)  # either way the server answers with an error now
            raise Stall

    def _take(self, data: bytes) -> None:
        """More of the data, or of a message whose COPY has failed meanwhile: the server still reads it to its end."""
        running = self._copied
        if running is not None and not running.finished:
            running.add(data, 0, len(data), 0)
            if running.copied is not None:
                running.copied.add(data)
        self._exchange.to_upstream.append(data)

    def _end_copy(self, copying: Copying, *, failed: bool) -> None:
        exchange = self._exchange
        copying.left -= 1
        copying.running = None
        if failed or not copying.left:
            exchange.copying = None
        if failed and copying.entry.kind is Expect.EXECUTE:
            exchange.skipping = True  # the server fails there at the latest

    def _record_copied(self) -> None:
        """Put on record what was taken, before it is passed on. Raises StoreError."""
        if self._copied is not None:
            self._copied.record_chunk(self._exchange.auditor)
            if not self._passing:
                self._copied = None

    def _ignore(self, data: bytes) -> Waiting:  # noqa: ARG002  # every handler takes the message
        """CopyData, CopyDone or CopyFail where no COPY is: the server has refused it, and ignores them."""
        return None
