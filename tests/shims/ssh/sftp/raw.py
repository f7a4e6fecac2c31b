"""An SFTP client that sends whatever a test wants."""

from __future__ import annotations

from typing import Self

from onrecord.shims.ssh.sftp import attributes, wire
from onrecord.shims.ssh.sftp.places import read_status
from onrecord.shims.ssh.sftp.requests import version_packet
from onrecord.shims.ssh.sftp.wire import Fields, Splitter
from tests.shims.ssh.sftp.lab import Lab

EMPTY = attributes.encoded(wire.Attrs(), 6)  # no attributes, in versions 4 to 6


class Raw:
    """Connected to a lab; greeted where `greet`, as a client that speaks up to `version`."""

    def __init__(self, lab: Lab, *, greet: bool = True, version: int = wire.VERSION) -> None:
        self.socket = lab.connect()
        self._splitter = Splitter(wire.MAX_PACKET + 4096)
        self._packets: list[bytes] = []
        self._id = 0
        if greet:
            self.socket.sendall(version_packet(wire.INIT, [], version))
            self.version = self.packet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def packet(self) -> bytes:
        while not self._packets:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._packets += self._splitter.feed(data)
        return self._packets.pop(0)

    def ends(self) -> bool:
        """Whether the relay ends the channel."""
        try:
            while True:
                self.packet()
        except (EOFError, ConnectionError):
            return True

    def send(self, kind: int, *parts: bytes) -> int:
        self._id += 1
        self.socket.sendall(wire.packet(kind, self._id, *parts))
        return self._id

    def ask(self, kind: int, *parts: bytes) -> bytes:
        id = self.send(kind, *parts)
        answer = self.packet()
        assert Fields(answer).u32() == id
        return answer

    def status(self, kind: int, *parts: bytes) -> tuple[int, str]:
        return read_status(self.ask(kind, *parts))

    def open(self, path: str | bytes, flags: int) -> bytes:
        name = path.encode() if isinstance(path, str) else path
        answer = self.ask(wire.OPEN, wire.string(name), wire.u32(flags), wire.u32(0))
        assert answer[0] == wire.HANDLE, answer
        return Fields(answer, 5).string()

    def open_later(self, path: str | bytes, access: int, flags: int, attrs: bytes = EMPTY) -> bytes:
        """OPEN as versions 5 and 6 have it; the whole answer."""
        name = path.encode() if isinstance(path, str) else path
        return self.ask(wire.OPEN, wire.string(name), wire.u32(access), wire.u32(flags), attrs)

    def write(self, handle: bytes, offset: int, data: bytes) -> None:
        assert self.status(wire.WRITE, wire.string(handle), wire.u64(offset), wire.string(data))[0] == wire.OK

    def read(self, handle: bytes, offset: int, length: int) -> bytes:
        answer = self.ask(wire.READ, wire.string(handle), wire.u64(offset), wire.u32(length))
        assert answer[0] == wire.DATA, answer
        return Fields(answer, 5).string()

    def close_handle(self, handle: bytes) -> None:
        assert self.status(wire.CLOSE, wire.string(handle))[0] == wire.OK
