"""A client that sends what it is told."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType
from typing import Self

from onrecord.shims.postgres.messages import encode_startup
from onrecord.shims.postgres.wire import message
from tests.shims.postgres.conftest import Shim

Answer = tuple[bytes, bytes]


class RawClient:
    """Logged in, unless `login` is false. Reads give (type, body)."""

    def __init__(self, shim: Shim, *, login: bool = True, **parameters: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", shim.port), timeout=20)
        self._data = b""
        self.greeting: list[Answer] = []
        if login:
            self.send(encode_startup({"user": "devin", "database": "orders", **parameters}))
            self.until(b"R")
            self.send(message(b"p", shim.token().encode() + b"\0"))
            self.greeting = self.until(b"Z")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def next(self) -> Answer | None:
        while len(self._data) < 5 or len(self._data) < 1 + int.from_bytes(self._data[1:5], "big"):
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._data += data
        end = 1 + int.from_bytes(self._data[1:5], "big")
        found, self._data = self._data[:end], self._data[end:]
        return found[:1], found[5:]

    def until(self, kind: bytes) -> list[Answer]:
        answers: list[Answer] = []
        while True:
            answer = self.next()
            assert answer is not None, f"closed after {answers}"
            answers.append(answer)
            if answer[0] == kind:
                return answers

    def rest(self) -> list[Answer]:
        answers: list[Answer] = []
        while (answer := self.next()) is not None:
            answers.append(answer)
        return answers

    def rest_until_silent(self, seconds: float = 0.5) -> list[Answer]:
        """What comes until the server has said nothing for `seconds`, or closes."""
        answers: list[Answer] = []
        self.sock.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            while (answer := self.next()) is not None:
                answers.append(answer)
        return answers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.sock.close()
