"""Tunnels: refused, but where the resource and a policy let one through; then counted, hashed and kept to a bound.

The functions here are what the entrance asks: one for each way to ask for a tunnel. They raise
asyncssh.ChannelOpenError, or answer False, where there is none. A tunnel to what the gateway itself protects leads into
the gateway's listener for it, or is refused; none leads to the gateway's own listeners or to a metadata service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncssh
import msgspec

from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import ForwardCommand, Outcome
from onrecord.policies.verdict import Allow
from onrecord.recordings.auditor import Decision, elapsed_ms
from onrecord.shims.ssh.channel import UNSUPPORTED
from onrecord.shims.ssh.destinations import (
    DestinationError,
    Route,
    forbidden,
    listed,
    listed_socket,
    normal_host,
    normal_socket,
    resolve,
)
from onrecord.shims.ssh.transport import PROHIBITED
from onrecord.shims.ssh.tunnel import SshEnd, TcpEnd, Tunnel

if TYPE_CHECKING:
    from onrecord.shims.ssh.link import Link

_log = logging.getLogger("onrecord.ssh")

CONNECT_FAILED = 2  # SSH_OPEN_CONNECT_FAILED, RFC 4254
FORWARD = "onrecord:forward"
MAX_LISTENERS = 16
CONNECT_TIMEOUT = 15.0
_SHOWN = 200


class _Goal(NamedTuple):
    """A destination that may be asked for: the addresses to dial in turn, or the gateway's own listener."""

    addresses: tuple[str, ...]
    route: Route | None = None


async def open_direct(link: Link, host: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
    """A client asks for a connection to host and port (`ssh -L`, `-D`, `-W`). Raises ChannelOpenError."""
    return await _within(link, _open_direct(link, host, port))


async def open_unix(link: Link, path: str) -> asyncssh.SSHUNIXSession[bytes]:
    """A client asks for a connection to a Unix socket. Raises ChannelOpenError."""
    return await _within(link, _open_unix(link, path))


async def listen_remote(link: Link, host: str, port: int) -> asyncssh.SSHListener | bool:
    """A client asks the host to listen (`ssh -R`). False: refused."""
    return await _within_listening(link, _listen_remote(link, host, port))


async def listen_unix(link: Link, path: str) -> asyncssh.SSHListener | bool:
    """A client asks the host to listen on a Unix socket. False: refused."""
    return await _within_listening(link, _listen_unix(link, path))


def refuse_device(link: Link, kind: str) -> None:
    """A client asks for a tun or tap device: always refused, and on record."""
    _refused(
        link, _command(link, f"{kind} device", direction="local"), f"{kind} devices are always refused", UNSUPPORTED
    )


# ---------------------------------------------------------------------- to a destination


async def _open_direct(link: Link, host: str, port: int) -> SshEnd:
    text = f"{_plain(host)}:{port}"
    try:
        name = normal_host(host)
        if not 0 < port < 65536:
            raise DestinationError("not a port")
    except DestinationError as error:
        command = _command(link, text, direction="local", host=_plain(host), port=port & 0xFFFF)
        raise _refused(link, command, str(error), UNSUPPORTED) from None
    command = _command(link, text, direction="local", host=name, port=port)
    goal = await _goal(link, command, name, port)
    decision = await _decide(link, command, is_listed=listed(link.resource.forwards, name, port))
    tunnel = Tunnel(link, decision)
    try:
        await _dial(link, tunnel, goal, port)
    except (OnrecordError, asyncssh.Error, OSError, TimeoutError) as error:
        raise _unreachable(tunnel, text, error) from None
    return SshEnd(tunnel, near=True)


async def _goal(link: Link, command: ForwardCommand, name: str, port: int) -> _Goal:
    """Where the tunnel leads. Raises ChannelOpenError (recorded) where no tunnel may lead there."""
    addresses = await resolve(name)
    if not addresses:
        reason = "the gateway cannot resolve the name, so it cannot tell where the tunnel leads"
        raise _refused(link, command, reason, FORWARD, "name an address")
    reason = forbidden(name, addresses)
    if reason:
        raise _refused(link, command, f"it leads to {reason}", FORWARD)
    protected = link.protected
    seen = await protected.seen_from(addresses, link.resource.host)
    listener = protected.listener_at(seen, port)
    if listener:
        raise _refused(link, command, f"it leads to the gateway's own listener ({listener})", FORWARD)
    route = await protected.route(name, seen, port)
    if isinstance(route, str):
        hint = f"reach {route} through the gateway"
        raise _refused(link, command, f"it leads past the gateway to resource {route}", FORWARD, hint)
    ordered = sorted(addresses, key=lambda address: (address.version, int(address)))
    return _Goal(tuple(str(address) for address in ordered[:4]), route)


async def _dial(link: Link, tunnel: Tunnel, goal: _Goal, port: int) -> None:
    async with asyncio.timeout(CONNECT_TIMEOUT):
        if goal.route is not None:
            listener = goal.route.listener
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)  # noqa: S104  # compared
            await asyncio.get_running_loop().create_connection(lambda: TcpEnd(tunnel), host, listener.port)
            return
        upstream = await link.upstream()
        for i, address in enumerate(goal.addresses):
            try:
                await upstream.create_connection(lambda: SshEnd(tunnel, near=False), address, port, encoding=None)
                return
            except asyncssh.ChannelOpenError:
                if i + 1 == len(goal.addresses):
                    raise


async def _open_unix(link: Link, path: str) -> SshEnd:
    text = f"unix:{_plain(path)}"
    command = _command(link, text, direction="local", path=_plain(path))
    try:
        normal_socket(path)
    except DestinationError as error:
        raise _refused(link, command, str(error), UNSUPPORTED) from None
    if link.protected.is_own_socket(path):
        raise _refused(link, command, "it leads to the gateway itself", FORWARD)
    resource = link.protected.socket_of(path)
    if resource:
        reason = f"it may lead past the gateway to resource {resource}"
        raise _refused(link, command, reason, FORWARD, f"reach {resource} through the gateway")
    decision = await _decide(link, command, is_listed=listed_socket(link.resource.forwards, path))
    tunnel = Tunnel(link, decision)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            upstream = await link.upstream()
            await upstream.create_unix_connection(lambda: SshEnd(tunnel, near=False), path, encoding=None)
    except (OnrecordError, asyncssh.Error, OSError, TimeoutError) as error:
        raise _unreachable(tunnel, text, error) from None
    return SshEnd(tunnel, near=True)


def _unreachable(tunnel: Tunnel, text: str, error: Exception) -> asyncssh.ChannelOpenError:
    _log.info("a tunnel to %s: %s: %s", text, type(error).__name__, error)
    tunnel.end(f"not reached: {type(error).__name__}")
    return asyncssh.ChannelOpenError(CONNECT_FAILED, f"onrecord: {text} was not reached")


# ---------------------------------------------------------------------- from the host to the client


class _Listener(asyncssh.SSHListener):
    """A listener on the host, and the command that it is."""

    def __init__(self, link: Link, decision: Decision) -> None:
        super().__init__()
        self._link, self._decision = link, decision
        self._inner: asyncssh.SSHListener | None = None
        self._connections = 0
        self._ended = False

    def began(self, inner: asyncssh.SSHListener) -> None:
        """The host listens."""
        self._inner = inner
        self._link.running.add(self)

    def get_port(self) -> int:
        return self._inner.get_port() if self._inner is not None else 0

    def close(self) -> None:
        self.end("")
        if self._inner is not None:
            self._inner.close()

    async def wait_closed(self) -> None:
        if self._inner is not None:
            await self._inner.wait_closed()

    def end(self, reason: str) -> None:
        """It listens no more."""
        if self._ended:
            return
        self._ended = True
        self._link.running.discard(self)
        outcome = Outcome(
            status="aborted" if reason else "ok",
            error=reason or None,
            rows=self._connections,
            tag="opaque",
            duration_ms=elapsed_ms(self._decision.started),
        )
        try:
            self._link.auditor.finish(self._decision, outcome)
        except OnrecordError as error:
            self._link.auditor.abort(self._decision, str(error))

    async def accept(self, command: ForwardCommand, near: Callable[[Tunnel], Awaitable[object]]) -> SshEnd:
        """A connection from the host: a command of its own. Raises ChannelOpenError."""
        if self._ended or self._link.ended:
            raise asyncssh.ChannelOpenError(PROHIBITED, "onrecord: it listens no more")
        self._connections += 1
        resource = self._link.resource
        name = command.path or command.host
        is_listed = (
            listed_socket(resource.forwards, name) if command.path else listed(resource.forwards, name, command.port)
        )
        decision = await _decide(self._link, command, is_listed=is_listed)
        tunnel = Tunnel(self._link, decision)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await near(tunnel)
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise _unreachable(tunnel, "the client", error) from None
        return SshEnd(tunnel, near=False)


async def _listen_remote(link: Link, host: str, port: int) -> asyncssh.SSHListener | bool:
    text = f"listen {_plain(host)}:{port}"
    shown = "" if host in ("", "*", "0.0.0.0", "::") else host  # noqa: S104  # compared
    try:
        name = normal_host(shown) if shown else "*"
        if not 0 <= port < 65536:
            raise DestinationError("not a port")
    except DestinationError as error:
        _refused(link, _command(link, text, direction="remote", host=_plain(host)), str(error), UNSUPPORTED)
        return False
    command = _command(link, text, direction="remote", host=name, port=port)
    if not _may_listen(link, command):
        return False
    decision = await _decide(link, command, is_listed=listed(link.resource.forwards, name, port))
    listener = _Listener(link, decision)

    def accepted(orig_host: str, orig_port: int) -> Awaitable[SshEnd]:
        bound = port or listener.get_port()
        seen = _command(
            link, f"from {_plain(orig_host)}:{orig_port} to {text}", direction="remote", host=name, port=port
        )

        def near(tunnel: Tunnel) -> Awaitable[object]:
            return link.connection.create_connection(
                lambda: SshEnd(tunnel, near=True), host, bound, orig_host, orig_port, encoding=None
            )

        return listener.accept(seen, near)

    return await _begin(
        link,
        listener,
        lambda upstream: upstream.create_server(accepted, host, port, encoding=None),
    )


async def _listen_unix(link: Link, path: str) -> asyncssh.SSHListener | bool:
    text = f"listen unix:{_plain(path)}"
    command = _command(link, text, direction="remote", path=_plain(path))
    try:
        normal_socket(path)
    except DestinationError as error:
        _refused(link, command, str(error), UNSUPPORTED)
        return False
    if not _may_listen(link, command):
        return False
    decision = await _decide(link, command, is_listed=listed_socket(link.resource.forwards, path))
    listener = _Listener(link, decision)

    def accepted() -> Awaitable[SshEnd]:
        seen = _command(link, f"connection to {text}", direction="remote", path=path)
        return listener.accept(
            seen,
            lambda tunnel: link.connection.create_unix_connection(
                lambda: SshEnd(tunnel, near=True), path, encoding=None
            ),
        )

    return await _begin(
        link,
        listener,
        lambda upstream: upstream.create_unix_server(accepted, path, encoding=None),
    )


async def _begin(
    link: Link,
    listener: _Listener,
    start: Callable[[asyncssh.SSHClientConnection], Awaitable[asyncssh.SSHListener]],
) -> asyncssh.SSHListener | bool:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            listener.began(await start(await link.upstream()))
    except (OnrecordError, asyncssh.Error, OSError, TimeoutError) as error:
        _log.info("a listener on the host: %s: %s", type(error).__name__, error)
        listener.end(f"the host does not listen: {type(error).__name__}")
        return False
    return listener


def _may_listen(link: Link, command: ForwardCommand) -> bool:
    if sum(isinstance(part, _Listener) for part in link.running) < MAX_LISTENERS:
        return True
    _refused(link, command, f"more than {MAX_LISTENERS} listeners", FORWARD)
    return False


# ---------------------------------------------------------------------- deciding


async def _decide(link: Link, command: ForwardCommand, *, is_listed: bool) -> Decision:
    """The decision, where it is yes. Raises ChannelOpenError.

    Without `forwards` the resource's default does not open a tunnel: only a policy that speaks about it does.
    """
    if not is_listed:
        if link.resource.forwards:
            reason = f"resources.{link.resource.name}.forwards does not list it"
            raise _refused(link, command, reason, FORWARD)
        strict = msgspec.structs.replace(command.session.resource, default="deny")
        command = msgspec.structs.replace(command, session=msgspec.structs.replace(command.session, resource=strict))
    decision = await link.submit(command)
    if not decision.allowed:
        raise asyncssh.ChannelOpenError(PROHIBITED, f"onrecord: {decision.message}")
    verdict = decision.ruling.verdict
    reason = ""
    if not is_listed and not isinstance(verdict, Allow):  # mode = "observe" opens no tunnels
        reason = "no policy allows this tunnel"
    elif isinstance(verdict, Allow) and verdict.mask:
        reason = "a policy asks for masks, and a tunnel cannot be searched"
    if reason:
        link.auditor.finish(decision, Outcome(status="refused", error=reason))
        raise asyncssh.ChannelOpenError(PROHIBITED, f"onrecord: {reason} [record {decision.id}]")
    return decision


def _command(link: Link, text: str, **fields: Any) -> ForwardCommand:
    return ForwardCommand(session=link.opened.session, action="write", text=text, **fields)


def _plain(text: str) -> str:
    return text[:_SHOWN].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _refused(
    link: Link, command: ForwardCommand, reason: str, policy: str, hint: str = ""
) -> asyncssh.ChannelOpenError:
    decision = link.auditor.deny(link.opened, command, reason, policy, hint)
    return asyncssh.ChannelOpenError(PROHIBITED, f"onrecord: {decision.message}")


async def _within[T](link: Link, work: Awaitable[T]) -> T:
    """`work` as a task that ends with the connection, so that nobody is asked for what nobody waits for."""
    made: list[T] = []

    async def run() -> None:
        made.append(await work)

    task = link.spawn(run())
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.cancelled():
        raise asyncssh.ChannelOpenError(PROHIBITED, "onrecord: the session has ended")
    task.result()
    return made[0]


async def _within_listening(link: Link, work: Awaitable[asyncssh.SSHListener | bool]) -> asyncssh.SSHListener | bool:
    try:
        return await _within(link, work)
    except asyncssh.ChannelOpenError:
        return False
