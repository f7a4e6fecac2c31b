"""One connection of a process to the recorder: frames in, messages to its client, frames out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from onrecord.policies.errors import ControlError
from onrecord.recordings.control.messages import MAX_TO_RECORDER, ToProcess, ToRecorder, encode, to_process
from onrecord.recordings.control.sockets import check_peer

_log = logging.getLogger("onrecord.control")

_MAX_BUFFER = 1024 * 1024


class Channel(asyncio.Protocol):
    """`received` gets each message; what it raises as ControlError ends the connection. `closed` is done at its end.

    `heard` is whether anything came.
    """

    def __init__(self, received: Callable[[Channel, ToProcess], None]) -> None:
        self._received = received
        self._decoder = to_process()
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class is no subclass
        try:
            check_peer(transport)
        except (ControlError, OSError) as error:
            _log.error("the control channel is not trusted: %s", error)
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        try:
            for message in self._decoder.feed(data):
                self.heard = True
                self._received(self, message)
        except ControlError as error:
            _log.error("the control channel is dropped: %s", error)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, message: ToRecorder) -> bool:
        """Send to the recorder; False where it is gone or does not read. Raises ControlError over the limit."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > _MAX_BUFFER:
            return False
        transport.write(encode(message, MAX_TO_RECORDER))
        return True

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()
