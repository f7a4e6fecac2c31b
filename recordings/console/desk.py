"""The store behind the console: reading threads, so that no key waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onrecord.policies.errors import StoreError
from onrecord.recordings.console.source import Source


class AwayError(StoreError):
    """The store cannot be reached now: it is locked, gone or another one. It may come back."""


class Lane:
    """One thread with a connection of its own; calls run one after another."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._source: Source | None = None
        self._file: tuple[int, int] | None = None  # what is open, by device and number

    async def call[T](self, function: Callable[[Source], T]) -> T:
        """`function` of the source, in the thread. Raises StoreError; AwayError where it may come back."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, function)

    def close(self) -> None:
        """Let go of the store; what runs is interrupted."""
        source = self._source
        if source is not None:
            with contextlib.suppress(sqlite3.Error):
                source.interrupt()
        with contextlib.suppress(RuntimeError):
            self._pool.submit(self._close)
        self._pool.shutdown(wait=True, cancel_futures=False)

    def _run[T](self, function: Callable[[Source], T]) -> T:
        try:
            source = self._opened()
            return function(source)
        except sqlite3.Error as error:
            self._close()
            kind = AwayError if isinstance(error, sqlite3.OperationalError) else StoreError
            raise kind(f"{self._path}: the store cannot be read: {error}; run `onrecord verify`") from None

    def _opened(self) -> Source:
        try:
            status = self._path.stat()
            file = (status.st_dev, status.st_ino)
            if self._source is not None and file != self._file:
                raise AwayError(f"{self._path}: another store is at its place now")
            if self._source is None:
                self._source, self._file = Source(self._path), file
        except OSError as error:
            self._close()
            raise AwayError(f"{self._path}: the store cannot be read: {error.strerror}") from None
        except StoreError as error:
            self._close()
            raise AwayError(str(error)) from None
        return self._source

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None


class Desk:
    """`near` answers what the eye waits for, `draw` makes the detail, `far` counts what may come later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.near = Lane(path, "console-near")
        self.draw = Lane(path, "console-draw")
        self.far = Lane(path, "console-far")

    def close(self) -> None:
        for lane in (self.near, self.draw, self.far):
            lane.close()
