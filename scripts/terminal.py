"""What every command that prints recorded bytes uses: neutral text, JSON lines, quiet broken pipes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from onrecord.recordings.display.neutral import clean, json_line

__all__ = ["clean", "json_line", "quiet_pipe"]


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
    """`onrecord log | head` is no error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
