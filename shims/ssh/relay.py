"""One command on its way: bytes both ways between the client's channel and the host's, each on record first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, cast

import asyncssh

from onrecord.policies.errors import OnrecordError
from onrecord.policies.masking import MaskError
from onrecord.policies.model import Outcome, OutcomeStatus
from onrecord.recordings.auditor import Decision, elapsed_ms
from onrecord.shims.ssh.channel import FAILED, ClientSession
from onrecord.shims.ssh.cleaning import Cleaning, cleaning_for
from onrecord.shims.ssh.environment import passed_on
from onrecord.shims.ssh.kept import Kept
from onrecord.shims.ssh.transport import PACKET, window_for

if TYPE_CHECKING:
    from onrecord.shims.ssh.link import Link

_log = logging.getLogger("onrecord.ssh")

STDERR = 1  # SSH_EXTENDED_DATA_STDERR, RFC 4254
TERMINAL_ROOM = 64 * 1024 * 1024  # bytes of one terminal that are kept in each direction
MAX_NOTES = 4096


class _Host(asyncssh.SSHClientSession[bytes]):
    """The host's end: tells the relay what happens there."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def data_received(self, data: bytes, datatype: int | None) -> None:
        try:
            self._relay.output(data, datatype)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            self._relay.crashed(error)

    def eof_received(self) -> bool:
        try:
            self._relay.output_ended()
        except Exception as error:  # noqa: BLE001
            self._relay.crashed(error)
        return True

    def exit_status_received(self, status: int) -> None:
        self._relay.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._relay.signal = (signal[:32], core_dumped)

    def pause_writing(self) -> None:
        self._relay.client.channel.pause_reading()

    def resume_writing(self) -> None:
        self._relay.client.channel.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._relay.host_closed(exc)
        except Exception as error:  # noqa: BLE001  # asyncssh would drop it, and the client would wait
            self._relay.crashed(error)


class Relay:
    """Handles a client's channel from the allowed command to its outcome. `run` ends when the command has.

    The end of the command is that of the channel, unless `closes` is false. Its input is the client's, unless
    `takes_input` is false: then it has none.
    """

    closes = True
    takes_input = True

    def __init__(self, link: Link, client: ClientSession, decision: Decision) -> None:
        self.link, self.client, self.decision = link, client, decision
        self.status: int | None = None
        self.signal: tuple[str, bool] | None = None
        self._terminal = client.pty is not None
        recordings = link.recordings
        room = TERMINAL_ROOM if self._terminal else recordings.body_limit
        self.sent = Kept(link.auditor, decision, "to_upstream", room=room)
        self.got = Kept(link.auditor, decision, "to_client", room=room, sample=recordings.sample_limit)
        self._host: asyncssh.SSHClientChannel[bytes] | None = None
        self._cleaning: dict[int | None, Cleaning | None] = {}
        self._masks = link.masks_of(decision)
        self._done = asyncio.Event()
        self._input: list[bytes] = []
        self._output: list[bytes] = []
        self._output_type: int | None = None
        self._notes = 0
        self.finished = False

    # ------------------------------------------------------------------ its life

    async def run(self, command: str | None) -> None:
        """Ask the host to run `command`, or a shell; until it has ended and its outcome is on record."""
        link = self.link
        link.running.add(self)
        try:
            await self._start(command)
            await self._done.wait()
        except (OnrecordError, asyncssh.Error, OSError) as error:
            text = f"the host of resource {link.resource.name} did not run it: {type(error).__name__}"
            _log.warning("resource %s: %s: %s", link.resource.name, type(error).__name__, error)
            self.abort(text)
            self.client.say(f"{text}; the gateway's log says why [record {self.decision.id}]")
            if self.closes:
                self.client.exit(FAILED)
        finally:
            self.abort("the client closed the channel")
            link.running.discard(self)

    async def _start(self, command: str | None) -> None:
        link, client = self.link, self.client
        connection = await link.upstream()
        pty = client.pty
        if pty is not None:
            self._record_size(*pty.size)
        channel, _ = await connection.create_session(
            lambda: _Host(self),
            command,
            env=passed_on(client.channel.get_environment_bytes(), link.resource.env),
            request_pty=pty is not None,
            term_type=pty.term if pty is not None else None,
            term_size=pty.size if pty is not None else (),
            term_modes=pty.modes if pty is not None else {},
            encoding=None,
            window=window_for(len(link.running)),
            max_pktsize=PACKET,
        )
        self._host = cast("asyncssh.SSHClientChannel[bytes]", channel)
        if self.finished:
            self._host.abort()
            return
        if self.takes_input:
            client.attach(self)
        else:
            self._host.write_eof()

    def abort(self, error: str) -> None:
        """Put on record that the command did not come to its end, unless it did. Never raises."""
        if not self.finished:
            self._last_words()
            self.finished = True
            self._stop_cleaning()
            self.link.auditor.abort(self.decision, error)
        if self._host is not None:
            self._host.abort()
        self._done.set()

    def end(self, reason: str) -> None:
        """The whole session ends."""
        self.client.say(f"the session ends: {reason}")
        self.abort(reason)
        self.client.exit(FAILED)

    # ------------------------------------------------------------------ from the client

    def data_received(self, data: bytes) -> None:
        """Gathered for a turn of the loop: a flood of small packets is one record, and one write."""
        self._input.append(data)
        if len(self._input) == 1:
            asyncio.get_running_loop().call_soon(self._flush_input)

    def _flush_input(self) -> None:
        data = b"".join(self._input)
        self._input.clear()
        if not data or self._host is None or self.finished or self._host.is_closing():
            return
        try:
            self._record_input(data)
        except OnrecordError as error:
            self._fail(error)
            return
        self._host.write(data)

    def _record_input(self, data: bytes) -> None:
        self.sent.record(data, "terminal" if self._terminal else "stdin")

    def eof_received(self) -> None:
        self._flush_input()
        if self._host is not None and not self.finished:
            self._host.write_eof()

    def signal_received(self, signal: str) -> None:
        self._flush_input()
        if self._host is not None and not self.finished and self._may_note():
            self._note("signal", signal)
            self._host.send_signal(signal)

    def resized(self, columns: int, rows: int, width: int, height: int) -> None:
        self._flush_input()
        if self._host is None or self.finished or not self._may_note():
            return
        self._record_size(columns, rows, width, height)
        self._host.change_terminal_size(columns, rows, width, height)

    def _record_size(self, columns: int, rows: int, width: int, height: int) -> None:
        self._note("resize", {"columns": min(columns, 10_000), "rows": min(rows, 10_000)})

    def _may_note(self) -> bool:
        """Whether one more signal or size goes on: each is a record, and a client could send them without end."""
        self._notes += 1
        return self._notes <= MAX_NOTES

    def _note(self, channel: str, data: object) -> None:
        try:
            self.link.auditor.chunk(self.decision, "to_upstream", 0, data=data, channel=channel)
        except OnrecordError as error:
            self._fail(error)

    def pause_writing(self) -> None:
        if self._host is not None:
            self._host.pause_reading()

    def resume_writing(self) -> None:
        if self._host is not None:
            self._host.resume_reading()

    def closed(self) -> None:
        self.abort("the client closed the channel")

    # ------------------------------------------------------------------ from the host

    def output(self, data: bytes, datatype: int | None) -> None:
        """What the host prints, gathered for a turn of the loop."""
        if self._output and self._output_type != datatype:
            self._flush_output()
        self._output_type = datatype
        self._output.append(data)
        if len(self._output) == 1:
            asyncio.get_running_loop().call_soon(self._flushed_output)

    def _flushed_output(self) -> None:
        try:
            self._flush_output()
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            self.crashed(error)

    def _flush_output(self) -> None:
        data = b"".join(self._output)
        self._output.clear()
        if data and not self.finished:
            self._emit(data, self._output_type)

    def _emit(self, data: bytes, datatype: int | None) -> None:
        """Mask, record, deliver."""
        if datatype not in self._cleaning:
            self._cleaning[datatype] = cleaning_for(
                self._masks.detectors,
                lambda clean: self._deliver(clean, datatype),
                terminal=self._terminal,
                strict=self.link.resource.masking == "strict",
            )
        cleaning = self._cleaning[datatype]
        try:
            if cleaning is None:
                self._deliver(data, datatype)
            else:
                cleaning.feed(data)
        except OnrecordError as error:
            self._fail(error)

    def _deliver(self, data: bytes, datatype: int | None) -> None:
        if not data or self.finished:
            return
        channel = "terminal" if self._terminal else "stderr" if datatype == STDERR else "stdout"
        self.got.record(data, channel)
        if self.client.open:
            self.client.channel.write(data, datatype)

    def output_ended(self) -> None:
        """The host will send no more output; it may still run.

        The client hears of it with the exit status only: at the end of file OpenSSH closes a channel whose input has
        ended too, and then a status could not follow.
        """
        try:
            self._flush_output()
            self._finish_cleaning()
        except OnrecordError as error:
            self._fail(error)

    def host_closed(self, error: Exception | None) -> None:
        """The host's channel is closed, and all of its output was delivered here."""
        self._flush_output()
        if self.finished:
            self._done.set()
            return
        try:
            self._last_words()
            self._finish_cleaning()
            outcome = self._outcome(error)
            self.finished = True
            self.link.auditor.finish(self.decision, outcome)
        except OnrecordError as failure:
            self.finished = False
            self._fail(failure)
            return
        if self.closes:
            self._close_client()
        self._done.set()

    def _close_client(self) -> None:
        channel = self.client.channel
        with contextlib.suppress(OSError):  # the client left in the meantime
            if self.signal is not None:
                channel.exit_with_signal(*self.signal)
            elif self.status is not None:
                channel.exit(self.status)
            else:
                channel.close()

    def _last_words(self) -> None:
        """What else there is to record before the outcome."""

    def _outcome(self, error: Exception | None) -> Outcome:
        status: OutcomeStatus
        if self.signal is not None:
            status, code, text = "error", self.signal[0], f"ended by signal {self.signal[0]}"
        elif self.status is not None:
            status, code, text = ("ok" if self.status == 0 else "error"), str(self.status), None
        else:
            status, code, text = "aborted", "", "the host closed the channel without an exit status"
            if error is not None:
                text = f"{text}: {type(error).__name__}"
        masked: dict[str, int] = {}
        for cleaning in self._cleaning.values():
            for name, count in (cleaning.found if cleaning is not None else {}).items():
                masked[name] = masked.get(name, 0) + count
        return Outcome(
            status=status,
            code=code,
            bytes=self.got.size,
            duration_ms=elapsed_ms(self.decision.started),
            error=text,
            masked=masked,
            sample=self.got.sample,
            digest=self.got.digest,
            size=self.got.size,
        )

    def _finish_cleaning(self) -> None:
        for cleaning in self._cleaning.values():
            if cleaning is not None:
                cleaning.finish()

    def _stop_cleaning(self) -> None:
        for cleaning in self._cleaning.values():
            if cleaning is not None:
                cleaning.stop()

    def crashed(self, error: Exception) -> None:
        """A fault of the gateway: this command ends, and no other."""
        _log.error("a command of session %s failed", self.link.opened.session.id, exc_info=error)
        self.abort(f"internal error of the gateway: {type(error).__name__}")
        self.client.say(f"internal error of the gateway: {type(error).__name__} [record {self.decision.id}]")
        self.client.exit(FAILED)

    def _fail(self, error: OnrecordError) -> None:
        """What cannot be recorded or masked is not delivered: the command ends here; without records, all of it."""
        if isinstance(error, MaskError):
            self.abort(str(error))
            self.client.say(f"onrecord:masking: {error} [record {self.decision.id}]")
            self.client.exit(FAILED)
        else:
            self.link.end(str(error))
