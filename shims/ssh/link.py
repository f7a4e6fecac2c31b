"""One logged-in connection: who it is, on which host as whom, its one connection upstream, and its channels."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import asyncssh

from onrecord.policies.config import RecordingsConfig, SshResource
from onrecord.policies.errors import StoreError
from onrecord.policies.masking import Masks, clean_record
from onrecord.policies.model import Command, SshCommand
from onrecord.policies.verdict import Allow
from onrecord.recordings.auditor import Auditor, Decision, OpenSession
from onrecord.recordings.decision import Waiting
from onrecord.shims.ssh.destinations import Protected
from onrecord.shims.ssh.transport import couple
from onrecord.shims.ssh.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.transport import GatewayConnection

_log = logging.getLogger("onrecord.ssh")

FAREWELL = 0.2  # seconds, in which nothing can be begun any more
MAX_STRANGE = 32  # requests of unknown kinds, by name, in a session
BY_APPLICATION = 11  # SSH_DISCONNECT_BY_APPLICATION, RFC 4253
_deciding: contextvars.ContextVar[Any] = contextvars.ContextVar("deciding")


class Ending(Protocol):
    """What ends with its connection: a relay, a file transfer, a tunnel. `end` must not raise."""

    def end(self, reason: str) -> None: ...


class Link:
    """`upstream()` gives the connection to the host, made at the first call. `end` ends all of it, once."""

    def __init__(
        self,
        connection: GatewayConnection,
        opened: OpenSession,
        *,
        auditor: Auditor,
        resource: SshResource,
        user: str,
        host: Upstream,
        recordings: RecordingsConfig,
        masks: Masks,
        protected: Protected,
        grace: float = 0.0,
    ) -> None:
        self.connection, self.opened, self.auditor = connection, opened, auditor
        self.resource, self.user, self.recordings, self.masks = resource, user, recordings, masks
        self.protected = protected
        self._host = host
        self._upstream: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, ClientSession] = {}
        self.running: set[Ending] = set()
        self.ended = False
        self._strange: set[tuple[str, str]] = set()
        if masks.detectors is not None:
            opened.clean = lambda payload: clean_record(payload, masks.detectors)
        opened.on_wait = self._on_wait
        opened.on_kill = lambda reason: self.end(f"killed: {reason}")
        expires = opened.session.identity.expires_at
        self._expiry: asyncio.TimerHandle | None = None
        if expires:
            self._expiry = asyncio.get_running_loop().call_later(
                max(0.0, expires + grace - time.time()), self.end, "the token has expired"
            )

    # ------------------------------------------------------------------ commands

    async def submit(self, command: Command, client: ClientSession | None = None) -> Decision:
        """The decision on a command; `client` is told on its stderr while it waits for a human."""
        _deciding.set(client)
        try:
            return await self.auditor.submit_async(self.opened, command)
        finally:
            for approval in [approval for approval, waiting in self._waiting.items() if waiting is client]:
                del self._waiting[approval]

    def masks_of(self, decision: Decision) -> Masks:
        """What is masked in the answer to one command. Raises MaskError: no such detector."""
        verdict = decision.ruling.verdict
        return self.masks.with_detectors(verdict.mask) if isinstance(verdict, Allow) and verdict.mask else self.masks

    def _on_wait(self, waiting: Waiting) -> None:
        client = self._waiting.get(waiting.approval) or _deciding.get(None)
        if client is None:
            return
        self._waiting[waiting.approval] = client
        who = f" by {waiting.approvers}" if waiting.approvers else ""
        left = max(0, round(waiting.expires_at - time.time()))
        client.say(f"approval required{who}: {waiting.reason}; waiting for {waiting.approval} ({left} s left)")

    # ------------------------------------------------------------------ the host

    async def upstream(self) -> asyncssh.SSHClientConnection:
        """The connection to the host, shared by the channels of this client only. Raises UpstreamError."""
        if self.ended:
            raise UpstreamError("the session has ended")
        if self._upstream is None:
            connecting = self._host.connect(
                self.user, self.opened.session.identity, self._upstream_lost, session=self.opened.session.id
            )
            self._upstream = asyncio.get_running_loop().create_task(connecting, name="upstream")
        try:
            found = await asyncio.shield(self._upstream)
            couple(self.connection, found)
            return found
        except UpstreamError as error:
            _log.error("resource %s: the host: %s", self.resource.name, error)  # no traceback: it is no bug
            raise

    def _upstream_lost(self, error: Exception | None) -> None:
        if not self.ended and self._upstream is not None and self._upstream.done():
            self.end("the host closed the connection" + (f": {type(error).__name__}" if error else ""))

    # ------------------------------------------------------------------ the end

    def refuse_strange(self, kind: str, name: str) -> None:
        """Put a request on record that is never done, once a name; too many names end the session."""
        if self.ended or (kind, name) in self._strange:
            return
        self._strange.add((kind, name))
        shown = "".join(char if char.isprintable() else "?" for char in name[:64])
        command = SshCommand(session=self.opened.session, action="unknown", text=f"({kind} {shown})", user=self.user)
        try:
            self.auditor.deny(self.opened, command, f"a {kind} of this kind is always refused", "onrecord:protocol")
        except StoreError as error:
            self.end(str(error))
        if len(self._strange) > MAX_STRANGE:
            self.end("too many requests of unknown kinds")

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that is cancelled with the connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def end(self, reason: str) -> None:
        """End all channels, the connection upstream, the session and the connection. Never raises."""
        if self.ended:
            return
        self.ended = True
        if self._expiry is not None:
            self._expiry.cancel()
        for part in list(self.running):
            with contextlib.suppress(Exception):
                part.end(reason)
        for task in list(self._tasks):
            task.cancel()
        self.auditor.end_session(self.opened, reason)
        if self._upstream is not None:
            self._upstream.add_done_callback(_close)
            self._upstream.cancel()
        # OpenSSH leaves at once when it is disconnected: what was said before must have been read by then.
        asyncio.get_running_loop().call_later(FAREWELL, self._disconnect, reason)

    def _disconnect(self, reason: str) -> None:
        with contextlib.suppress(Exception):
            self.connection.disconnect(BY_APPLICATION, f"onrecord: {reason}")


def _close(task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()
