"""What flows on exec, attach and port-forward goes on record, masked, before it is let go.

One object an upgraded connection. It decides nothing: the command was decided before the upgrade, and each port of a
forward is by the addon. What it returns may be delivered; what it raises ends the stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.events import Data, Ended, Event, Kind, Opened, Reset
from onrecord.addons.kubernetes_api.streams.protocols import Opening
from onrecord.addons.kubernetes_api.streams.resize import ResizeReader, size_json
from onrecord.addons.kubernetes_api.streams.status import clean_status, is_json, read_exit
from onrecord.policies.masking import Masks, StreamCleaner
from onrecord.policies.model import Outcome, body_text
from onrecord.recordings.auditor import Auditor, Decision, elapsed_ms
from onrecord.recordings.records import Direction
from onrecord.recordings.typed import Lines, Shown, Typed

DEFAULT_COLUMNS = 80
TERMINAL_LIMIT = 64 * 1024 * 1024  # bytes of a terminal that are kept
HIDDEN = "typed, not echoed: not kept"


@dataclass(slots=True)
class _Channel:
    """One direction of one channel: how much of it is still kept, and what was held back to be masked."""

    name: str
    direction: Direction
    room: int
    note: str = ""
    cleaner: StreamCleaner | None = None


@dataclass
class Account:
    """A decided command and the bytes that flow under it. `room`: how many of a forward's are still kept, each way."""

    decision: Decision
    room: dict[Direction, int] = field(default_factory=dict)
    to_client: int = 0
    to_upstream: int = 0
    finished: bool = False
    masked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.digest = self.decision.opened.digest()


class StreamAudit:
    """The recording of one upgraded connection, and what is masked of it."""

    def __init__(
        self, auditor: Auditor, decision: Decision, opening: Opening, protocol: str, *, masks: Masks | None, limit: int
    ) -> None:
        self._auditor, self._opening = auditor, opening
        self._limit = limit
        self._detectors = masks.detectors if masks is not None else None
        self._as_json = is_json(protocol)
        self._resize = ResizeReader()
        self._status = b""
        self._channels: dict[tuple[int, bool], _Channel] = {}
        self._ports: dict[int, Account] = {}
        self._streams: dict[int, Account] = {}
        self._half_closed: set[int] = set()
        self._typed = Typed() if opening.tty else None
        self._lines = Lines(DEFAULT_COLUMNS) if opening.tty else None
        self.account = Account(decision)
        self.error_stream: int | None = None

    @property
    def is_forward(self) -> bool:
        return self._opening.subresource == "portforward"

    @property
    def as_json(self) -> bool:
        """Whether the error stream carries a Status."""
        return self._as_json

    @property
    def holds_back(self) -> bool:
        """Whether output of a terminal waits for the end of its line, and may be let go after a moment."""
        return self._opening.tty and any(
            channel.cleaner is not None and channel.cleaner.holds for channel in self._out()
        )

    def is_decided(self, port: int) -> bool:
        """Whether a port of a forward was asked for before."""
        return port in self._ports

    def allow_port(self, port: int, decision: Decision) -> None:
        """From here on connections to `port` belong to `decision`."""
        room = self._limit if self._detectors is None else 0
        self._ports[port] = Account(decision, {"to_client": room, "to_upstream": room})

    def take(self, event: Event, *, from_client: bool) -> Iterator[Event]:
        """Record `event`; yields what may go on in its place. Raises StreamError, MaskError, StoreError."""
        if isinstance(event, Opened):
            if event.kind == "error" and not self.is_forward:
                self.error_stream = event.stream
            if self.is_forward:
                self._streams[event.stream] = self._ports[event.port]
                self._note(event)
            yield event
        elif isinstance(event, Data):
            yield from self._data(event, from_client=from_client)
        elif isinstance(event, Ended | Reset):
            if not from_client or isinstance(event, Reset):
                yield from self._released(event.stream)
            if event.kind == "error" and not from_client:
                yield from self._end_of_status(event)
            if isinstance(event, Ended) and from_client and event.kind == "stdin":
                channel = self._channel(event.stream, "stdin", from_client=True)
                self._auditor.chunk(self.account.decision, "to_upstream", 0, note="end", channel=channel.name)
            if self.is_forward:
                self._forget(event, from_client=from_client)
            yield event
        else:
            yield event

    def _forget(self, event: Ended | Reset, *, from_client: bool) -> None:
        """A tunnel may live for days: what belongs to a stream goes with it."""
        self._channels.pop((event.stream, from_client), None)
        if isinstance(event, Reset) or event.stream in self._half_closed:
            self._channels.pop((event.stream, not from_client), None)
            self._half_closed.discard(event.stream)
            self._streams.pop(event.stream, None)
        else:
            self._half_closed.add(event.stream)

    def release(self) -> Iterator[Event]:
        """What a terminal's output holds back for its line's end: a prompt has none. Raises MaskError, StoreError."""
        for stream, from_client in list(self._channels):
            if not from_client:
                yield from self._released(stream)

    def finish(self, reason: str) -> None:
        """The connection is over, for `reason`. Never raises where its outcome is on record. Raises StoreError."""
        if self._typed is not None:
            self._shown(self._typed.finish())
        for account in self._ports.values():
            self._finish(account, "ok", "", None, reason)
        if self.account.finished:
            return
        if self.is_forward:
            self._finish(self.account, "ok", "101", None, reason)
        else:
            self.abort(f"the stream ended before the command did: {reason}")

    def abort(self, error: str) -> None:
        """The connection ends for a fault. Never raises."""
        for account in (self.account, *self._ports.values()):
            if not account.finished:
                account.finished = True
                self._auditor.abort(account.decision, error)

    # --- data

    def _data(self, event: Data, *, from_client: bool) -> Iterator[Event]:
        if event.kind == "resize":
            for columns, rows in self._resize.feed(event.data):
                self._auditor.chunk(
                    self.account.decision,
                    "to_upstream",
                    0,
                    data={"columns": columns, "rows": rows},
                    channel="resize",
                )
                if self._lines is not None:
                    self._lines.resize(columns)
                yield Data(event.stream, "resize", size_json(columns, rows))
            return
        if event.kind == "error" and not self.is_forward:
            yield from self._status_part(event)
            return
        if not event.data:
            yield event
            return
        channel = self._channel(event.stream, event.kind, from_client=from_client)
        if self._typed is not None and event.kind == "stdin":
            self._keys(event.data)
            yield event
            return
        if self._typed is not None and self._lines is not None:
            for line in self._lines.output(event.data):
                self._auditor.chunk(self.account.decision, "to_upstream", 0, data=line, note="line", channel="line")
            self._shown(self._typed.output(event.data))
        data = event.data if channel.cleaner is None else channel.cleaner.feed(event.data)
        if data:
            self._record(self._streams.get(event.stream, self.account), channel, data)
            yield Data(event.stream, event.kind, data)

    def _keys(self, data: bytes) -> None:
        """What is typed on a terminal: that it was is on record before it goes, its text as far as it is echoed."""
        if self._typed is None or self._lines is None:
            return
        self._auditor.chunk(self.account.decision, "to_upstream", 0, note=f"typed {len(data)}", channel="terminal")
        self._lines.typed(data)
        self._shown(self._typed.typed(data))
        self.account.to_upstream += len(data)

    def _shown(self, found: Iterable[Shown]) -> None:
        for shown in found:
            parts = [(len(shown.text), body_text(shown.text), "")] if shown.text else []
            if shown.hidden:
                parts.append((shown.hidden, None, HIDDEN))
            for size, data, note in parts:
                self._auditor.chunk(
                    self.account.decision, "to_upstream", size, data=data, note=note, channel="terminal"
                )

    def _released(self, stream: int) -> Iterator[Event]:
        channel = self._channels.get((stream, False))
        if channel is None or channel.cleaner is None or self._detectors is None:
            return
        rest = channel.cleaner.finish()
        _add(self.account.masked, channel.cleaner.found)
        channel.cleaner = StreamCleaner(self._detectors.clean)
        if rest:
            self._record(self.account, channel, rest)
            yield Data(stream, "stderr" if channel.name == "stderr" else "stdout", rest)

    def _record(self, account: Account, channel: _Channel, data: bytes) -> None:
        room = account.room.get(channel.direction, channel.room)
        kept = data[:room]
        note = channel.note
        if channel.direction in account.room:
            account.room[channel.direction] -= len(kept)
        else:
            channel.room -= len(kept)
        digest = ""
        if len(kept) < len(data):
            keyed = account.decision.opened.digest()
            keyed.update(data)
            digest = keyed.hexdigest()
            note = f"{note}; beyond the bound: counted and hashed".lstrip("; ")
        self._auditor.chunk(
            account.decision,
            channel.direction,
            len(data),
            data=body_text(kept) if kept else None,
            digest=digest,
            note=note,
            channel=channel.name,
        )
        totals = (account,) if account is self.account else (account, self.account)
        for one in totals:
            if channel.direction == "to_client":
                one.to_client += len(data)
                one.digest.update(data)
            else:
                one.to_upstream += len(data)

    def _channel(self, stream: int, kind: Kind, *, from_client: bool) -> _Channel:
        found = self._channels.get((stream, from_client))
        if found is None:
            direction: Direction = "to_upstream" if from_client else "to_client"
            if self.is_forward:
                # What a tunnel carries cannot be searched without breaking it: where masks hold, none of it is kept.
                note = f"opaque, stream {stream}" + (" (error)" if kind == "error" else "")
                found = _Channel("", direction, 0, note)
            else:
                name = "terminal" if self._opening.tty else kind
                found = _Channel(name, direction, TERMINAL_LIMIT if name == "terminal" else self._limit)
                if not from_client and self._detectors is not None:
                    found.cleaner = StreamCleaner(self._detectors.clean)
            self._channels[stream, from_client] = found
        return found

    def _out(self) -> Iterator[_Channel]:
        return (channel for (_, from_client), channel in self._channels.items() if not from_client)

    def _note(self, event: Opened) -> None:
        account = self._ports[event.port]
        if event.kind == "data":
            note = f"connection {event.connection} to port {event.port}, stream {event.stream}"
            self._auditor.chunk(account.decision, "to_upstream", 0, note=note)

    # --- the end

    def _status_part(self, event: Data) -> Iterator[Event]:
        self._status += event.data
        ended = read_exit(self._status, as_json=self._as_json)
        if ended is None or not self._status:
            if not event.data:
                yield event  # an empty message tells that the channel is there
            return
        for stream, from_client in list(self._channels):
            if not from_client:
                yield from self._released(stream)
        payload, self._status = self._status, b""
        error = ended.error
        if self._detectors is not None:
            detectors, found = self._detectors, self.account.masked
            payload = clean_status(payload, lambda text: detectors.clean(text, found), as_json=self._as_json)
            error = None if error is None else detectors.clean(error, {})
        if self._typed is not None:
            self._shown(self._typed.finish())
        self._finish(self.account, "ok" if error is None else "error", ended.code, error, "")
        yield Data(event.stream, "error", payload)

    def _end_of_status(self, event: Ended | Reset) -> Iterator[Event]:
        if self.is_forward:
            return
        if self._status:
            raise StreamError("the error stream ended inside a Status")
        if not self._as_json and isinstance(event, Ended):
            self._finish(self.account, "ok", "0", None, "")
        yield from ()

    def _finish(self, account: Account, status: str, code: str, error: str | None, tag: str) -> None:
        if account.finished:
            return
        self._auditor.finish(
            account.decision,
            Outcome(
                status="ok" if status == "ok" else "error",
                code=code,
                bytes=account.to_client,
                size=account.to_client,
                duration_ms=elapsed_ms(account.decision.started),
                error=error,
                tag=tag,
                masked=account.masked,
                digest=account.digest.hexdigest() if account.to_client else None,
            ),
        )
        account.finished = True


def _add(total: dict[str, int], found: dict[str, int]) -> None:
    for name, count in found.items():
        total[name] = total.get(name, 0) + count
