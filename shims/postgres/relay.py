"""A logged-in session: two links and the pure exchange between them. Nothing moves before its record is on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

from onrecord.policies.errors import StoreError
from onrecord.policies.masking import MaskError
from onrecord.recordings.auditor import Auditor, OpenSession
from onrecord.recordings.decision import Waiting
from onrecord.recordings.records import RefusalRecord
from onrecord.shims.postgres.analysing import Aside, Readers
from onrecord.shims.postgres.catalog import CatalogSource
from onrecord.shims.postgres.commands import PROTOCOL
from onrecord.shims.postgres.exchange import Exchange, SessionFatal
from onrecord.shims.postgres.holding import waiting_notice
from onrecord.shims.postgres.link import Link
from onrecord.shims.postgres.masked import CAST, MASKING
from onrecord.shims.postgres.messages import TERMINATE, fatal
from onrecord.shims.postgres.requests import Requests
from onrecord.shims.postgres.responses import Responses
from onrecord.shims.postgres.spool import Spool, Spools
from onrecord.shims.postgres.wire import WireError

_AT_ONCE = 1024 * 1024  # bytes of a message on disk before others have their turn
_LOOK = 0.5  # seconds between two looks whether a client that waits is still there
_LINGER = 10.0  # seconds for a peer to take what it was sent before the end

_log = logging.getLogger("onrecord.postgres")


class Relay:
    """Moves bytes for one session until either side ends it. `on_end` is called once, with whether work was cut off."""

    def __init__(
        self,
        auditor: Auditor,
        opened: OpenSession,
        client: Link,
        upstream: Link,
        *,
        role: str,
        sample_limit: int,
        catalog: CatalogSource | None = None,
        spools: Spools | None = None,
        readers: Readers | None = None,
        on_end: Callable[[bool], None],
    ) -> None:
        self.opened = opened
        self._auditor, self._client, self._upstream = auditor, client, upstream
        self.exchange = Exchange(auditor, opened, role=role, sample_limit=sample_limit, catalog=catalog)
        self._requests, self._responses = Requests(self.exchange), Responses(self.exchange)
        self._on_end = on_end
        self._thinking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._outbox: deque[bytes | Spool] = deque()  # behind a message that is on disk
        self._is_full = False  # upstream takes no more for now
        self.exchange.spools = spools
        self.exchange.aside = Aside(readers, opened.session.identity) if readers is not None else None

    def start(self, grace: float) -> None:
        """Take over both links; the session ends `grace` seconds after its token."""
        client, upstream = self._client, self._upstream
        client.lost = self._client_lost
        upstream.lost = self._upstream_lost
        client.full, client.drained = lambda: upstream.pause("full"), lambda: upstream.resume("full")
        upstream.full, upstream.drained = self._upstream_full, self._upstream_drained
        expires = self.opened.session.identity.expires_at
        if expires:
            delay = max(0.0, expires + grace - time.time())
            self._timer = asyncio.get_running_loop().call_later(delay, self._expired)
        if client.closed or upstream.closed:
            self.end("the client disconnected" if client.closed else "PostgreSQL closed the connection")
            return
        self.opened.on_wait, self.opened.on_kill = self._waits, self._killed
        client.receiver, upstream.receiver = self.client_data, self.upstream_data
        early, answer = client.take(), upstream.take()
        if answer:
            self.upstream_data(answer)
        if early:
            self.client_data(early)

    # ------------------------------------------------------------------ both directions

    def client_data(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._ended:
            return
        try:
            self._requests.feed(data)
            if self._thinking is None:
                self._run()
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            self.fail(error, "client")

    def upstream_data(self, data: bytes) -> None:
        """Bytes of PostgreSQL."""
        if self._ended:
            return
        try:
            self._responses.feed(data)
            self._deliver()
            self._forward()
            if self._requests.stalled and self._thinking is None:
                self._run()
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            self.fail(error, "server")

    def _run(self) -> None:
        requests = self._requests
        waiting = requests.run()
        self._forward()
        if waiting is not None:
            self._client.pause("thinking")
            loop = asyncio.get_running_loop()
            self._thinking = loop.create_task(self._think(waiting))
            loop.call_later(_LOOK, self._look, self._thinking)
        elif requests.terminated:
            if self.exchange.queue:  # PostgreSQL still does what was asked before, and then closes
                self._upstream.write(TERMINATE)
            else:
                self.end("the client ended the session")
        elif requests.stalled:
            self._client.pause("stalled")
        else:
            self._client.resume("stalled")

    async def _think(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
            self._thinking = None
            if self._ended:
                return
            self._client.resume("thinking")
            self._run()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            self._thinking = None
            self.fail(error, "client")

    def _look(self, thinking: asyncio.Task[None]) -> None:
        """Nothing is read while a statement waits, so nobody would notice that its client has left: look."""
        if self._ended or self._thinking is not thinking:
            return
        if self._client.has_left():
            self.end("the client disconnected")
            return
        asyncio.get_running_loop().call_later(_LOOK, self._look, thinking)

    def _waits(self, waiting: Waiting) -> None:
        """Tell the client that its statement waits for a human; where a message is half delivered, the next time."""
        if not self._ended and self._responses.between_messages:
            self._client.write(waiting_notice(waiting))

    def _killed(self, reason: str) -> None:
        self.end(reason, fatal("57P01", f"onrecord: {reason}", hint="ask the gateway's operator"))

    def stop_waiting(self) -> bool:
        """The client cancels: what waits for a human, or is still read, is taken back. Whether that was all."""
        aside = self.exchange.aside
        if aside is not None and aside.stop():
            return not self.exchange.queue
        return self.opened.stop_waiting("cancelled by the client") and not self.exchange.queue

    def _forward(self) -> None:
        out = self.exchange.to_upstream
        if out:
            self._flush()
            if not self._outbox and all(type(one) is bytes for one in out):
                self._upstream.write(out[0] if len(out) == 1 else b"".join(out))  # type: ignore[arg-type]
                out.clear()
                return
            self._outbox.extend(out)
            out.clear()
            self._pump()

    def _pump(self) -> None:
        """Write what waits for upstream, as much as upstream takes; the client waits with its next messages."""
        outbox, written = self._outbox, 0
        while outbox and not self._is_full and written < _AT_ONCE:
            first = outbox[0]
            data = first if isinstance(first, bytes) else first.read()
            if isinstance(first, bytes) or not data:
                outbox.popleft()
                if not isinstance(first, bytes):
                    first.close()
            self._upstream.write(data)
            written += len(data)
        if not outbox:
            self._client.resume("spool")
            return
        self._client.pause("spool")
        if not self._is_full:
            asyncio.get_running_loop().call_soon(self._pump_later)

    def _pump_later(self) -> None:
        try:
            if not self._ended:
                self._pump()
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            self.fail(error, "client")

    def _upstream_full(self) -> None:
        self._is_full = True
        self._client.pause("full")

    def _upstream_drained(self) -> None:
        self._is_full = False
        self._client.resume("full")
        if self._outbox:
            self._pump_later()

    def _deliver(self) -> None:
        self._flush()
        out = self.exchange.to_client
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._client.write(data)

    def _flush(self) -> None:
        ended = self.exchange.ended
        try:
            self._auditor.flush()
        except StoreError:
            for running in ended:  # its outcome is lost with the rest; this one may go into the reserve
                self._auditor.abort(running.decision, "it ended, and its outcome could not be written")
            raise
        finally:
            ended.clear()

    @property
    def busy(self) -> bool:
        """Whether a command runs."""
        return bool(self.exchange.queue) or self._thinking is not None

    def note(self, text: str) -> None:
        """Put something that is done to the running command on its record."""
        last = self.exchange.last
        if last is not None and not self._ended:
            try:
                self._auditor.chunk(last, "to_upstream", 0, note=text)
            except StoreError as error:
                self.fail(error, "client")

    # ------------------------------------------------------------------ the end

    def fail(self, error: Exception, side: str) -> None:
        """End the session because of `error`; neither side gets what was not yet on record."""
        if self._ended:
            return
        if isinstance(error, WireError) and side == "client":
            self._refuse(PROTOCOL, str(error))
            answer = fatal(error.sqlstate, f"onrecord: {PROTOCOL}: {error}")
        elif isinstance(error, WireError):
            _log.error("session %s: %s", self.opened.session.id, error)
            answer = fatal("08P01", f"onrecord: {PROTOCOL}: {error}")
        elif isinstance(error, SessionFatal):
            if error.what:
                self._refuse(error.what, str(error))
            answer = fatal(error.sqlstate, f"onrecord: {error}", hint=error.hint)
        elif isinstance(error, MaskError):
            self._refuse(MASKING, str(error))
            answer = fatal("42501", f"onrecord: {MASKING}: {error}", hint=CAST)
        elif isinstance(error, StoreError):
            answer = fatal("58030", f"onrecord: onrecord:store: {error}", hint="nothing was done; try again later")
        else:
            _log.error("session %s failed", self.opened.session.id, exc_info=error)
            self._refuse("onrecord:engine", f"internal error: {type(error).__name__}")
            answer = fatal("XX000", "onrecord: internal error of the gateway; the session ends")
        self.end(f"{type(error).__name__}: {error}", answer)

    def end(self, reason: str, answer: bytes = b"") -> None:
        """End the session: the client reads `answer`, PostgreSQL is told, what still ran is recorded as aborted.

        With an answer it is the gateway that ends it: what still runs is cancelled too.
        """
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._thinking is not None:
            self._thinking.cancel(reason)
        runs = self.exchange.open_runs()
        self.exchange.to_upstream.clear()
        self.exchange.to_client.clear()
        for running in runs:
            running.finished = True
            self._auditor.abort(running.decision, reason)
        self._auditor.end_session(self.opened, reason)
        self.exchange.state.close()
        if answer and self._responses.between_messages:
            self._client.write(answer)
        self._client.close()
        if not self._outbox:  # else it would be taken for a part of what is not whole
            self._upstream.write(self._requests.farewell)
        self._outbox.clear()
        self._upstream.close()
        if not (self._client.closed and self._upstream.closed):
            asyncio.get_running_loop().call_later(_LINGER, self._abort)
        self._on_end(bool(runs and answer))

    def _abort(self) -> None:
        """A peer that reads nothing keeps no connection of a session that has ended."""
        self._client.abort()
        self._upstream.abort()

    def _expired(self) -> None:
        text = "onrecord: onrecord:identity: the token has expired"
        self.end("the token has expired", fatal("57P01", text, hint="connect again with a fresh token"))

    def _client_lost(self) -> None:
        if self._requests.terminated:
            self._upstream.resume("full")  # nobody reads; what was asked for still gets its outcome
        else:
            self.end("the client disconnected")

    def _upstream_lost(self) -> None:
        if self._requests.terminated:
            self.end("the client ended the session")
            return
        self.end("PostgreSQL closed the connection", fatal("08006", "onrecord: the connection to PostgreSQL was lost"))

    def _refuse(self, what: str, reason: str) -> None:
        session = self.opened.session
        self._auditor.refuse(
            RefusalRecord(
                what=what,
                reason=reason,
                protocol="postgres",
                client=session.client,
                text=f"session {session.id}",
                resource=session.resource.name,
                identity=session.identity,
            )
        )
