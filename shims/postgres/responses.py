"""Upstream → client: every header is walked, results are counted and sampled, refusals told. No I/O.

Messages that need no change are passed on in slices as they came. Rows are recorded before they leave here for the
client, outcomes before the message that ends the answer does; the I/O layer flushes the journal before it writes.
"""

from __future__ import annotations

from collections.abc import Callable

from onrecord.recordings.records import Direction
from onrecord.shims.postgres.completing import Completing
from onrecord.shims.postgres.copied import CopyOut
from onrecord.shims.postgres.copies import COPY_DATA
from onrecord.shims.postgres.exchange import Exchange, Expect, SessionFatal
from onrecord.shims.postgres.functioncall import decode_result
from onrecord.shims.postgres.masked import CAST, HELD_LIMIT, MASKING
from onrecord.shims.postgres.masking.forms import bytea_of
from onrecord.shims.postgres.messages import (
    Column,
    decode_parameter_description,
    decode_row_description,
    decode_status,
)
from onrecord.shims.postgres.reported import check_setting
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.settings import reads_differently
from onrecord.shims.postgres.wire import HEADER, HEADER_SIZE, KIB, MIB, WireError, message

DATA_ROW = ord("D")
_ROWS = frozenset({DATA_ROW, COPY_DATA})
STREAM_FROM = 256 * KIB  # a larger message is passed on in pieces
HEAD_OF_ERROR = 64 * KIB
BUFFER_LIMIT = 4 * MIB
_STREAMED = frozenset(b"DENd")
_EXTENDED_SIMPLE = {ord("1"): Expect.PARSE, ord("2"): Expect.BIND, ord("3"): Expect.CLOSE}


class Responses(Completing):
    """The server's messages, in order. Raises WireError and SessionFatal; then nothing more may be delivered."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._tail = b""
        self._streaming = 0  # bytes of a message under way that are still to come
        self._stream_run: Running | None = None
        self._stream_copy = False  # what is under way is a CopyData message
        self._copy = CopyOut(exchange)
        self.status = "I"  # transaction status of the last ReadyForQuery
        self._handlers: dict[int, Callable[[bytes], bytes | None]] = {
            ord("T"): self._row_description,
            ord("C"): self._complete,
            ord("I"): self._empty,
            ord("Z"): self._ready,
            ord("E"): self._error,
            ord("1"): self._simple,
            ord("2"): self._simple,
            ord("3"): self._simple,
            ord("t"): self._parameters,
            ord("n"): self._no_data,
            ord("s"): self._suspended,
            ord("S"): self._setting,
            ord("N"): self._masked.message,
            ord("A"): self._notification,
            ord("G"): self._copy.begin_in,
            ord("H"): self._copy.begin_out,
            ord("c"): self._copy.end,
            ord("V"): self._function_result,
        }

    @property
    def between_messages(self) -> bool:
        """Whether the client has only had whole messages."""
        return not self._streaming

    def feed(self, data: bytes) -> None:  # noqa: C901  # the hot loop: a call a message costs more than it explains
        """Take bytes from upstream; what may be delivered is in the exchange's `to_client` afterwards."""
        exchange = self._exchange
        if self._tail:
            data = self._tail + data
            self._tail = b""
        size, position, start = len(data), 0, 0
        unpack, handlers, out, masked = HEADER.unpack_from, self._handlers, exchange.to_client, self._masked
        instead: bytes | None
        if self._streaming:
            position, instead = self._stream(data)
            if instead is not None:
                out.append(instead)
                start = position
        touched: Running | None = self._stream_run
        while size - position >= HEADER_SIZE:
            kind, length = unpack(data, position)
            end = position + 1 + length
            if length < 4:
                raise WireError("the server sent a message with an impossible length")
            if end > size:
                if length > STREAM_FROM and kind in _STREAMED and not self._is_held(kind, length):
                    if kind != ord("E") or size - position >= HEAD_OF_ERROR:
                        touched, instead = self._begin_stream(kind, data, position, length)
                        if instead is not None:
                            out += [data[start:position], instead]
                            start = size
                        position = size
                elif length > (HELD_LIMIT if kind in _STREAMED else BUFFER_LIMIT) or (
                    kind not in handlers and kind not in _ROWS
                ):
                    raise WireError(f"the server sent a message of type 0x{kind:02x} and {length} bytes")
                break
            if kind == DATA_ROW:
                touched = self._current()
                plan = masked.plan(touched) if exchange.masking is not None else None
                if plan is None:
                    position = self._rows(touched, data, position, size)
                    continue
                begin, position = position, masked.end_of_rows(data, position, size)
                instead = masked.rows(touched, plan, data, begin, position)
                self._rows(touched, instead, 0, len(instead))
                out += [data[start:begin], instead]
                start = position
                continue
            if kind == COPY_DATA:
                touched, begin = self._copy.running(), position
                position, instead = self._copy.rows(data, position, size)
                if instead is not None:
                    out += [data[start:begin], instead]
                    start = position
                continue
            handler = handlers.get(kind)
            if handler is None:
                raise WireError(f"the server sent an unexpected message of type 0x{kind:02x}")
            instead = handler(data[position:end])
            if instead is not None:
                if position > start:
                    out.append(data[start:position])
                out.append(instead)
                start = end
            position = end
        if position > start:
            out.append(data if start == 0 and position == size else data[start:position])
        if position < size:
            self._tail = data[position:]
        if touched is not None:
            touched.record_chunk(exchange.auditor)

    # ------------------------------------------------------------------ rows

    def _rows(self, running: Running, data: bytes, position: int, size: int) -> int:
        """All DataRow messages from `position` that are here whole; returns the position behind them."""
        start, rows, patience, unpack = position, 0, 0, HEADER.unpack_from
        while size - position >= HEADER_SIZE:
            kind, length = unpack(data, position)
            end = position + length + 1
            if kind != DATA_ROW or end > size:
                break
            if length < 6:
                raise WireError("the server sent a DataRow with an impossible length")
            if running.sample_left:
                running.keep(data, position, end)
            rows += 1
            position = end
            if not running.sample_left:
                if patience:
                    patience -= 1
                    continue
                alike = _alike(data, position, size, length)
                if alike:
                    rows += alike
                    position += alike * (length + 1)
                else:
                    patience = 16
        running.add(data, start, position, rows)
        return position

    def _is_held(self, kind: int, length: int) -> bool:
        """Whether a large message must be here whole before anything of it may pass. Raises SessionFatal."""
        running = self._current() if kind == DATA_ROW else None
        return kind != COPY_DATA and self._masked.holds(running, length)

    def _current(self) -> Running:
        """The command that rows belong to now."""
        queue = self._exchange.queue
        if queue:
            entry = queue[0]
            if entry.kind in (Expect.QUERY, Expect.EXECUTE) and entry.index < len(entry.runs) and not entry.failed:
                return entry.runs[entry.index]
        raise WireError("the server sent a row that nothing asked for")

    def _begin_stream(self, kind: int, data: bytes, position: int, length: int) -> tuple[Running | None, bytes | None]:
        """A message too large to hold: its first piece ends `data`.

        Returns the command whose row it is, and what to deliver instead of the piece, if anything.
        """
        size = len(data)
        self._streaming = position + 1 + length - size
        self._stream_run = None
        self._stream_copy = kind == COPY_DATA
        if kind == COPY_DATA:
            self._stream_run = self._copy.running()
            return self._stream_run, self._copy.piece(data[position + HEADER_SIZE :], first=True)
        if kind == DATA_ROW:
            self._stream_run = self._current()
            self._stream_run.sample_left = 0
            self._stream_run.add(data, position, size, 1)
        elif kind == ord("E") and self._error(data[position : position + HEAD_OF_ERROR]) is not None:
            raise WireError("the server answered a refused statement with an oversize message")
        return self._stream_run, None

    def _stream(self, data: bytes) -> tuple[int, bytes | None]:
        """The next piece of a message under way: the position behind it, and what to deliver instead, if anything."""
        end = min(len(data), self._streaming)
        self._streaming -= end
        instead = None
        if self._stream_run is not None:
            if self._stream_copy:
                instead = self._copy.piece(data[:end], first=False)
            else:
                self._stream_run.add(data, 0, end, 0)
            if not self._streaming:
                self._stream_run.record_chunk(self._exchange.auditor)
                self._stream_run = None
        return end, instead

    # ------------------------------------------------------------------ messages

    def _row_description(self, data: bytes) -> bytes | None:
        entry = self._head(Expect.QUERY, Expect.DESCRIBE_STATEMENT, Expect.DESCRIBE_PORTAL)
        columns = decode_row_description(data)
        if entry.kind is Expect.QUERY:
            if entry.index >= len(entry.runs):
                raise WireError("the server sent a result that nothing asked for")
            running = entry.runs[entry.index]
            running.columns, running.formats = columns, _formats_of(columns)
            running.described = True
            return None
        self._exchange.queue.popleft()
        if entry.target is not None:
            entry.target.columns, entry.target.formats = columns, _formats_of(columns)
            return b""
        if entry.prepared is not None:
            entry.prepared.columns = columns
        if entry.portal is not None:
            entry.portal.prepared.columns = entry.portal.running.columns = columns
        return None

    def _function_result(self, data: bytes) -> bytes | None:
        entry = self._head(Expect.QUERY)
        running = entry.runs[entry.index] if entry.index < len(entry.runs) else None
        if running is None or not running.calls:
            raise WireError("the server sent the result of a function that nothing called")
        value = decode_result(data)
        masking = self._exchange.masking
        detectors = masking.masks_of(running.decision).detectors if masking is not None else None
        plain = bytea_of(value) if value is not None else None  # in text format it is written in hexadecimal
        if value is not None and detectors is not None and (detectors.hit(value) or detectors.hit(plain or b"")):
            text = f"{MASKING}: the result of the function holds what is masked, and cannot be masked"
            raise SessionFatal("42501", text, what=MASKING, hint=CAST)
        row = message(b"D", b"\0\1" + data[HEADER_SIZE:])  # on record it is a row of one column
        self._rows(running, row, 0, len(row))
        self._finish(entry, "FUNCTION CALL")
        return None

    def _empty(self, data: bytes) -> None:  # noqa: ARG002  # every handler takes the message
        self._finish(self._head(Expect.QUERY, Expect.EXECUTE), "")

    def _simple(self, data: bytes) -> bytes | None:
        """ParseComplete, BindComplete, CloseComplete."""
        exchange = self._exchange
        entry = self._head(_EXTENDED_SIMPLE[data[0]])
        exchange.queue.popleft()
        if entry.portal is not None:
            exchange.drop_portal(entry.portal)
        if entry.closes is not None:
            exchange.cursors.closed(*entry.closes)
        if entry.runs and entry.kind is Expect.PARSE:
            entry.runs[0].finish(exchange.auditor, "ok", tag="PARSE")
        for change in entry.changes:
            if change is not None:
                exchange.namespace.commit(change)
        return b"" if entry.own else None

    def _parameters(self, data: bytes) -> None:
        entry = self._head(Expect.DESCRIBE_STATEMENT)
        if entry.prepared is not None:
            entry.prepared.types = decode_parameter_description(data)

    def _no_data(self, data: bytes) -> bytes | None:  # noqa: ARG002
        entry = self._head(Expect.DESCRIBE_STATEMENT, Expect.DESCRIBE_PORTAL)
        self._exchange.queue.popleft()
        return None if entry.target is None else b""

    def _suspended(self, data: bytes) -> None:  # noqa: ARG002
        entry = self._head(Expect.EXECUTE)
        exchange = self._exchange
        exchange.queue.popleft()
        exchange.take_back(entry.changes)
        running = entry.runs[0]
        if entry.portal is None:
            running.finish(exchange.auditor, "ok", tag="suspended")
        else:
            running.record_chunk(exchange.auditor)

    def _ready(self, data: bytes) -> None:
        queue, exchange = self._exchange.queue, self._exchange
        if not queue or queue[0].kind not in (Expect.QUERY, Expect.SYNC):
            raise WireError("the server is ready although answers are missing")
        entry = queue.popleft()
        exchange.release(entry)
        if (
            entry.kind is Expect.QUERY
            and not entry.failed
            and (entry.denial is not None or entry.index < len(entry.runs))
        ):
            raise WireError("the server left statements unanswered")
        self.status = chr(data[HEADER_SIZE]) if len(data) > HEADER_SIZE else "?"
        if exchange.portals or exchange.stale:
            exchange.end_portals(entry.segment, all_of_them=self.status == "I")
        exchange.state.ready(self.status, entry.segment)
        if self.status == "I":
            exchange.cursors.ended(entry.segment)

    def _setting(self, data: bytes) -> bytes | None:
        name, value = decode_status(data)
        if reads_differently(name, value) and self._exchange.may_alter:
            self._exchange.state.reported(name)
            return None
        check_setting(name, value)
        return self._masked.setting(name, value)

    def _notification(self, data: bytes) -> bytes | None:
        """A NOTIFY of another session is a result of this one's LISTEN: it is recorded before it is delivered."""
        exchange = self._exchange
        if exchange.last is None:
            raise WireError("the server sent a notification that nothing asked for")
        original = data
        if exchange.masking is not None:
            mine = int.from_bytes(data[HEADER_SIZE : HEADER_SIZE + 4], "big") == exchange.backend_pid
            data = exchange.masking.notification(data, self._masked.asked(), {}, mine=mine)
        direction: Direction = "to_client"
        fields = data[HEADER_SIZE + 4 :].split(b"\0")
        content = [field.decode("utf-8", "replace")[:1000] for field in fields[:2]]
        exchange.auditor.chunk(exchange.last, direction, len(data), data=content, note="notification", flush=False)
        return None if data is original else data


def _formats_of(columns: tuple[Column, ...]) -> tuple[int, ...]:
    """The format codes as a Bind message would ask for them."""
    formats = tuple([column.format for column in columns])
    return formats if any(formats) else ()


def _alike(data: bytes, position: int, size: int, length: int) -> int:
    """How many DataRow messages of exactly `length` stand at `position` in a row; may say fewer than there are.

    Compares all their headers with strided slices: if the first `n` agree, each stands where the one before it ends.
    """
    stride = length + 1
    most = (size - position) // stride
    head = HEADER.pack(DATA_ROW, length)
    for count in (256, 16):
        if most >= count:
            end = position + count * stride
            for offset in (4, 3, 0, 1, 2):  # the low bytes of the length differ first
                if data[position + offset : end : stride] != head[offset : offset + 1] * count:
                    break
            else:
                return count
    return 0
