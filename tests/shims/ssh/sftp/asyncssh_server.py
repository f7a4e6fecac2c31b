"""asyncssh's SFTP server on stdin and stdout, speaking up to the version given as first argument."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, cast

import asyncssh
from asyncssh.logging import logger
from asyncssh.sftp import SFTPServerHandler


class _Channel:
    logger = logger

    @staticmethod
    def is_closing() -> bool:
        return False


class _Reader:
    logger = logger

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream

    async def readexactly(self, size: int) -> bytes:
        return await self._stream.readexactly(size)

    @staticmethod
    def get_extra_info(name: str, default: Any = None) -> Any:
        return default


class _Writer:
    channel = _Channel()

    @staticmethod
    def write(data: bytes) -> None:
        while data:
            data = data[os.write(1, data) :]

    @staticmethod
    def close() -> None:
        return None


async def main(version: int) -> None:
    stream = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    channel, handler = cast(Any, _Channel()), cast(Any, SFTPServerHandler)
    await handler(asyncssh.SFTPServer(channel), _Reader(stream), _Writer(), version).run()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
