"""A relay of a terminal: what is typed is kept only as far as the host echoes it; lines are recognised for search."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.auditor import Decision
from onrecord.recordings.typed import Lines, Shown, Typed
from onrecord.shims.ssh.relay import Relay

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.link import Link

HIDDEN = "typed, not echoed: not kept"


class TerminalRelay(Relay):
    """Like any relay; the client has a terminal."""

    def __init__(self, link: Link, client: ClientSession, decision: Decision) -> None:
        super().__init__(link, client, decision)
        self._typed = Typed()
        self._lines = Lines(client.pty.size[0] if client.pty is not None else 80)

    def _record_input(self, data: bytes) -> None:
        """Before the keys go: that some were pressed."""
        auditor = self.link.auditor
        auditor.chunk(self.decision, "to_upstream", 0, note=f"typed {len(data)}", channel="terminal", flush=False)
        self._lines.typed(data)
        self._record_shown(self._typed.typed(data))
        auditor.flush()

    def _record_shown(self, found: Iterable[Shown]) -> None:
        for shown in found:
            if shown.text:
                self.sent.record(shown.text, "terminal")
            if shown.hidden:
                self.link.auditor.chunk(
                    self.decision, "to_upstream", shown.hidden, note=HIDDEN, channel="terminal", flush=False
                )

    def _emit(self, data: bytes, datatype: int | None) -> None:
        if not self.finished:
            try:
                for line in self._lines.output(data):
                    self.link.auditor.chunk(
                        self.decision, "to_upstream", 0, data=line, note="line", channel="line", flush=False
                    )
                self._record_shown(self._typed.output(data))
            except OnrecordError as error:
                self._fail(error)
                return
        super()._emit(data, datatype)

    def resized(self, columns: int, rows: int, width: int, height: int) -> None:
        self._lines.resize(columns)
        super().resized(columns, rows, width, height)

    def _last_words(self) -> None:
        with contextlib.suppress(OnrecordError):  # the end is on record or refused elsewhere
            self._record_shown(self._typed.finish())


def relay_for(link: Link, client: ClientSession, decision: Decision) -> Relay:
    """The relay that a client's channel needs."""
    return TerminalRelay(link, client, decision) if client.pty is not None else Relay(link, client, decision)
