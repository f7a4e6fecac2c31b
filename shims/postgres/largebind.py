"""A Bind message too large for memory: on disk while it comes, decided by what is known of it then. No network."""

from __future__ import annotations

from onrecord.shims.postgres.bindscan import BindScanner
from onrecord.shims.postgres.exchange import Exchange, SessionFatal
from onrecord.shims.postgres.messages import Bind
from onrecord.shims.postgres.wire import HEADER_SIZE


class LargeBind:
    """One such message. Raises SessionFatal where there is no room for it, WireError where it is no Bind."""

    def __init__(self, exchange: Exchange, first: bytes) -> None:
        size = int.from_bytes(first[1:HEADER_SIZE], "big") + 1
        if exchange.spools is None:
            raise SessionFatal("54000", f"a Bind message of {size} bytes is too large here", what="onrecord:protocol")
        self.spool = exchange.spools.open(size)
        self._scanner = BindScanner(exchange.opened.digest)
        self._left = size
        self.feed(first)

    def feed(self, piece: bytes) -> bool:
        """More of it; returns whether that was all."""
        self.spool.write(piece)
        self._scanner.feed(piece)
        self._left -= len(piece)
        return not self._left

    @property
    def bind(self) -> Bind:
        """The message; large values stand in it as None."""
        return self._scanner.bind

    @property
    def large(self) -> dict[int, str]:
        """What the large values are, by their place from 0: size and keyed digest."""
        return self._scanner.large

    @property
    def kept(self) -> int:
        """Bytes of it that are in memory."""
        return self._scanner.kept
