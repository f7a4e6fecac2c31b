"""COPY as the server's messages tell it: its beginning, the data for the client, its end. No I/O."""

from __future__ import annotations

from onrecord.shims.postgres.copies import COPY_DATA, CopyMask, CopySample, CopyShape, copy_data, decode_shape
from onrecord.shims.postgres.exchange import Exchange, Expect
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.wire import HEADER, HEADER_SIZE, WireError


class CopyOut:
    """The COPY that the server carries out now. Raises WireError where it sends what was not asked for."""

    __slots__ = ("_exchange", "_mask", "_running")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._running: Running | None = None
        self._mask: CopyMask | None = None

    def begin_in(self, data: bytes) -> None:
        """CopyInResponse: from now on the client's data are for the server."""
        running, copying = self._current("in"), self._exchange.copying
        if copying is None or copying.running is not None or copying.entry is not self._exchange.queue[0]:
            raise WireError("the server asked for the data of a COPY that nothing asked for")
        self._begin(running, decode_shape(data))
        copying.running = running

    def begin_out(self, data: bytes) -> None:
        """CopyOutResponse: data of the server follow."""
        running = self._current("out")
        shape = decode_shape(data)
        self._begin(running, shape)
        self._running = running
        self._mask = running.copy_out(shape) if running.copy_out is not None else None

    def running(self) -> Running:
        """The COPY to the client that is under way."""
        running = self._running
        if running is None or running.finished:
            raise WireError("the server sent data of a COPY that nothing asked for")
        return running

    def rows(self, data: bytes, position: int, size: int) -> tuple[int, bytes | None]:
        """All CopyData messages from `position` that are here whole.

        Returns the position behind them, and what to deliver instead of them, or None where they pass as they are.
        """
        running, mask, unpack = self.running(), self._mask, HEADER.unpack_from
        payloads: list[bytes] = []
        while size - position >= HEADER_SIZE:
            kind, length = unpack(data, position)
            end = position + length + 1
            if kind != COPY_DATA or end > size:
                break
            if length < 4:
                raise WireError("the server sent a CopyData message with an impossible length")
            payloads.append(data[position + HEADER_SIZE : end])
            position = end
        if mask is None:
            self._count(running, b"".join(payloads), len(payloads))
            return position, None
        out: list[bytes] = []
        for payload in payloads:
            masked = mask.feed(payload)
            self._count(running, masked, 1)
            if masked:
                out.append(copy_data(masked))
        return position, b"".join(out)

    def piece(self, data: bytes, *, first: bool) -> bytes | None:
        """A piece of one large CopyData message, without its header: what to deliver instead, or None as in `rows`."""
        running, mask = self.running(), self._mask
        if mask is None:
            self._count(running, data, int(first))
            return None
        masked = mask.feed(data)
        self._count(running, masked, int(first))
        return copy_data(masked) if masked else b""

    def end(self, data: bytes) -> bytes | None:
        """CopyDone: the rest of what the mask held back goes before it."""
        running, mask = self.running(), self._mask
        self._running = self._mask = None
        rest = mask.finish() if mask is not None else b""
        if not rest:
            return None
        self._count(running, rest, 0)
        return copy_data(rest) + data

    def _begin(self, running: Running, shape: CopyShape) -> None:
        running.copied = CopySample(shape, self._exchange.sample_limit)
        running.sample_left = 0
        self._running = self._mask = None

    def _count(self, running: Running, data: bytes, rows: int) -> None:
        running.add(data, 0, len(data), rows)
        if running.copied is not None:
            running.copied.add(data)

    def _current(self, direction: str) -> Running:
        """The command that is carried out now, if it is such a COPY."""
        queue = self._exchange.queue
        if queue:
            entry = queue[0]
            if entry.kind in (Expect.QUERY, Expect.EXECUTE) and entry.index < len(entry.runs) and not entry.failed:
                running = entry.runs[entry.index]
                if running.copy == direction and running.copied is None and not running.finished:
                    return running
        raise WireError("the server began a COPY that nothing asked for")
