"""What every command that prints recorded bytes uses: neutral text, JSON lines, quiet broken pipes."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator

from onrecord.recordings.display.neutral import clean, json_line

__all__ = ["clean", "json_line", "quiet_pipe", "settle_streams"]

_ESCAPES = "onrecord-json-escapes"


@contextlib.contextmanager
def quiet_pipe(status: int = 0) -> Iterator[None]:
    """`onrecord log | head` is no error; the exit status is `status`, whether anybody reads on or not."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(status) from None


def settle_streams() -> None:
    """Make the standard streams such that nothing that is written to them fails for its characters.

    Where the locale is not UTF-8 all others become JSON's escapes: a text stays readable, a line of JSON the same
    value. A stream that is closed is the null device: else the next file opened, the store maybe, would take its place.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free one: this
    codecs.register_error(_ESCAPES, _json_escapes)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # to the end
        elif isinstance(stream, io.TextIOWrapper):
            utf8 = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(encoding="utf-8" if utf8 else "ascii", errors=_ESCAPES)


def _json_escapes(error: UnicodeError) -> tuple[str, int]:
    """An error handler: what cannot be encoded as `\\uXXXX`, as JSON writes it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end
