"""Recorded terminals as asciicast files, versions 2 and 3. Pure: views in, lines out.

The formats are described at docs.asciinema.org/manual/asciicast.

A player sends a cast to the viewer's terminal as it is: output is made harmless first (terminal/harmless.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from onrecord.recordings.terminal.harmless import HarmlessTerminal
from onrecord.recordings.terminal.pieces import DEFAULT_SIZE, has_channels, pieces
from onrecord.recordings.views import View

__all__ = ["asciicast_v2", "asciicast_v3", "has_channels"]


def asciicast_v2(*views: View, title: str = "") -> Iterator[str]:
    """The lines of a version 2 file for commands as `show` gives them; times are seconds since the first."""
    film = _Film(views, title)
    columns, rows = film.size
    header: dict[str, object] = {"version": 2, "width": columns, "height": rows, "timestamp": int(film.start)}
    yield _line(header | ({"title": film.title} if film.title else {}))
    for at, code, data in film.events():
        yield _line([round(at, 6), code, data])


def asciicast_v3(*views: View, title: str = "") -> Iterator[str]:
    """The lines of a version 3 file: times are seconds since the event before; the exit status is its last event."""
    film = _Film(views, title)
    columns, rows = film.size
    term = {"cols": columns, "rows": rows, "type": "xterm-256color"}
    header: dict[str, object] = {"version": 3, "term": term, "timestamp": int(film.start)}
    yield _line(header | ({"title": film.title} if film.title else {}))
    last = 0.0
    for at, code, data in film.events():
        yield _line([round(at - last, 6), code, data])
        last += round(at - last, 6)
    outcome = (views[-1].get("outcome") or {}) if views else {}
    if str(outcome.get("code", "")).isdigit():
        yield _line([0.0, "x", str(outcome["code"])])


class _Film:
    def __init__(self, views: tuple[View, ...], title: str) -> None:
        self._pieces = list(pieces(*views))
        self.title = "".join(
            token for token in HarmlessTerminal().feed(title or (str(views[0].get("text", "")) if views else ""))
        ).replace("\x1b", "")[:200]
        self.start = self._pieces[0].at if self._pieces else 0.0
        sizes = (piece for piece in self._pieces if piece.kind == "resize")
        first = next(sizes, None)
        self.size = DEFAULT_SIZE if first is None else (first.columns, first.rows)
        self._first = first

    def events(self) -> Iterator[tuple[float, str, str]]:
        """(seconds since the start, code, data)."""
        harmless = HarmlessTerminal()
        last = 0.0
        for piece in self._pieces:
            at = last = max(last, piece.at - self.start)
            if piece.kind == "resize":
                if piece is not self._first:
                    yield at, "r", f"{piece.columns}x{piece.rows}"
            elif piece.kind == "output":
                data = "".join(harmless.feed(piece.text))
                if data:
                    yield at, "o", data
            elif piece.kind == "input":
                yield at, "i", piece.text
            else:
                yield at, "m", piece.text


def _line(value: object) -> str:
    """ASCII JSON: the file itself can be shown anywhere."""
    return json.dumps(value, ensure_ascii=True) + "\n"
