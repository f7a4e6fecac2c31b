"""The listener: accepts, tells who logs in to what, opens sessions, and drains at the end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections import Counter
from collections.abc import Callable

import asyncssh

from onrecord.policies.config import Address, SshResource
from onrecord.policies.errors import ConfigError, IdentityError, Problem
from onrecord.policies.identity import run_id
from onrecord.policies.masking import masks_for, no_masks, pseudonym_key
from onrecord.policies.model import Identity, Resource
from onrecord.recordings.datapath import DataPath
from onrecord.recordings.records import RefusalRecord
from onrecord.recordings.refusals import Refusals
from onrecord.shims.ssh.authority import PRINCIPAL, KeyIdentities, agent_certificate, host_certificate
from onrecord.shims.ssh.destinations import Protected
from onrecord.shims.ssh.entrance import IDENTITY, Entrance
from onrecord.shims.ssh.exchange import public_key
from onrecord.shims.ssh.hostkeys import gateway_key
from onrecord.shims.ssh.link import Link
from onrecord.shims.ssh.names import CERTIFICATE, parse_login, upstream_user
from onrecord.shims.ssh.transport import GatewayConnection, server_options
from onrecord.shims.ssh.upstream import Upstream

_log = logging.getLogger("onrecord.ssh")

DRAIN = 5.0
_USUAL = (asyncssh.ConnectionLost, asyncssh.PermissionDenied)  # a client that leaves
LOST_RECORDER = 3.0  # seconds without it, beyond those after which nothing may start, until running sessions end
WATCH = 0.5


class Server:
    """One listener. Connections share nothing but this object's tables."""

    def __init__(self, datapath: DataPath) -> None:
        self._path = datapath
        self._gateway = datapath.config.gateway
        self._refusals = Refusals(datapath.auditor)
        self._hosts = {
            name: Upstream(resource, datapath.secrets, self._gateway.state)
            for name, resource in datapath.config.resources.items()
            if isinstance(resource, SshResource)
        }
        self._keys = KeyIdentities(self._gateway.state, datapath.config.ssh_keys, datapath.config.issuers)
        self._entrances: set[Entrance] = set()
        self._logins: Counter[str] = Counter()  # connections that are not logged in yet, by address
        self._pseudonyms = b""
        self._lost_since: float | None = None

    # ------------------------------------------------------------------ the listener

    async def listen(self, address: Address) -> asyncio.Server:
        """Open the listener. Raises ConfigError where the address cannot be had, or HostKeyError."""
        key = gateway_key(self._gateway.state)
        certificate = host_certificate(self._gateway.state, key, _names(address.host))
        options = await server_options(
            lambda: Entrance(self),
            [key],
            certificates=[certificate],
            login_timeout=self._gateway.handshake_timeout,
        )
        loop = asyncio.get_running_loop()
        try:
            return await loop.create_server(
                lambda: GatewayConnection(loop, options), address.host, address.port, backlog=1024
            )
        except OSError as error:
            reason = f"cannot listen on {address}: {error.strerror}"
            raise ConfigError([Problem("gateway.ssh", reason, "choose a free address of this host")]) from None

    async def watch(self) -> None:
        """End running sessions once the recorder has been away for too long. Never returns."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(WATCH)
            reason = self._path.control.refusal
            if reason is None:
                self._lost_since = None
            elif self._lost_since is None:
                self._lost_since = clock()
            elif clock() - self._lost_since > LOST_RECORDER:
                for entrance in list(self._entrances):
                    if entrance.link is not None:
                        entrance.link.end(reason)

    async def drain(self) -> None:
        """Give running commands a moment, then end all sessions."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + DRAIN
        while clock() < deadline and any(  # noqa: ASYNC110
            entrance.link is not None and entrance.link.running for entrance in self._entrances
        ):
            await asyncio.sleep(0.02)
        for entrance in list(self._entrances):
            if entrance.link is not None:
                entrance.link.end("the gateway is shutting down")
            else:
                entrance.connection.abort()
        deadline = clock() + 1.0
        while self._entrances and clock() < deadline:  # noqa: ASYNC110  # what was written goes out
            await asyncio.sleep(0.02)
        self._refusals.close()

    # ------------------------------------------------------------------ what an entrance asks

    def enter(self, entrance: Entrance, client: str) -> str:
        """Count a connection in; why it must not, or ""."""
        host = client.rpartition(":")[0]
        most = self._gateway.max_connections
        logins = max(1, most // 4)
        entering = sum(self._logins.values())
        full = len(self._entrances) >= most or entering >= logins or self._logins[host] >= max(1, logins - logins // 2)
        self._entrances.add(entrance)
        self._logins[host] += 1
        if full:
            self._refuse("onrecord:protocol", "too many connections", client)
            return "too many connections"
        return ""

    def leave(self, entrance: Entrance, error: Exception | None) -> None:
        """Count it out. What broke before there was a session is on record: junk, a login that took too long."""
        if entrance.link is None and isinstance(error, asyncssh.Error) and not isinstance(error, _USUAL):
            self._refuse("onrecord:protocol", f"no SSH login: {type(error).__name__}", entrance.client)
        if entrance in self._entrances:
            self._entrances.discard(entrance)
            self._logged_in(entrance)

    def _logged_in(self, entrance: Entrance) -> None:
        if entrance.counted_as_login:
            entrance.counted_as_login = False
            self._logins -= Counter((entrance.client.rpartition(":")[0],))

    async def authenticate(self, token: str, login: str, client: str) -> Identity:
        """The identity behind a token. Raises IdentityError with a generic text; the reason is on record."""
        try:
            return await self._path.authenticator.authenticate(token, client=client)
        except IdentityError as error:
            self._refuse(IDENTITY, str(error), client, detail=error.detail, text=f"login {login[:96]}")
            raise

    def identity_of_key(self, key_data: bytes, client: str) -> tuple[asyncssh.SSHKey, Identity] | None:
        """Who a public key or certificate stands for. One that is refused for a reason is on record."""
        try:
            return self._keys.identify(key_data, client)
        except IdentityError as error:
            self._refuse(IDENTITY, str(error), client, detail=error.detail)
            return None

    def authorised(self, identity: Identity, login: str, client: str) -> tuple[SshResource, str] | None:
        """The resource and the host's user that `login` means, if `identity` may; else None, and it is on record."""
        wanted = parse_login(login)
        resource = self._path.config.resources.get(wanted.resource) if wanted is not None else None
        detail = "no SSH resource"
        if wanted is not None and isinstance(resource, SshResource):
            user = upstream_user(wanted, resource)
            if user is None:
                detail = "the resource does not list that user"
            elif resource.groups and frozenset(resource.groups).isdisjoint(identity.groups):
                detail = "the identity is in none of its groups"
            else:
                return resource, user
        reason = "the login name is no resource, or not one for this identity"
        self._refuse(IDENTITY, reason, client, detail=detail, text=login[:96], identity=identity)
        return None

    def begin(self, entrance: Entrance, identity: Identity, resource: SshResource, user: str) -> Link:
        """Open the session. Raises RefusedError."""
        self._logged_in(entrance)
        config = self._path.config
        masks = None
        if config.masks:
            if not self._pseudonyms:
                self._pseudonyms = pseudonym_key(self._gateway.state)
            masks = masks_for(config, resource.name, identity.groups, key=self._pseudonyms)
        seen = Resource(
            name=resource.name,
            type="ssh",
            groups=resource.groups,
            default=resource.default,
            admin=resource.admin,
            unknown=resource.unknown,
        )
        login = resource.name if user == resource.user else f"{resource.name}+{user}"
        opened = self._path.auditor.open_session(
            identity, seen, run=run_id(identity), protocol="ssh", client=entrance.client, login=login
        )
        return Link(
            entrance.connection,
            opened,
            auditor=self._path.auditor,
            resource=resource,
            user=user,
            host=self._hosts[resource.name],
            recordings=config.recordings,
            masks=masks or no_masks(b""),
            grace=self._gateway.session_grace,
            protected=Protected(config),
        )

    def certify(self, entrance: Entrance, identity: Identity, key: str) -> str:
        """A certificate for `key`, for who logged in with a token. It is a session of its own on record.

        Raises RefusedError where policy, a kill or the recorder says no, ExchangeError where `key` is none.
        """
        self._logged_in(entrance)
        public = public_key(key)
        run = run_id(identity)
        opened = self._path.auditor.open_session(
            identity,
            Resource(name=PRINCIPAL, type="ssh"),
            run=run,
            protocol="ssh",
            client=entrance.client,
            login=CERTIFICATE,
        )
        reason = "no certificate was made"
        try:
            made = agent_certificate(self._gateway.state, public, identity, run, outlived=True)
            reason = f"a certificate for {public.get_fingerprint()}"
            return made.export_certificate("openssh").decode()
        finally:
            self._path.auditor.end_session(opened, reason)

    def _refuse(
        self, what: str, reason: str, client: str, *, detail: str = "", text: str = "", identity: Identity | None = None
    ) -> None:
        record = RefusalRecord(
            what=what, reason=reason, protocol="ssh", client=client, text=text, detail=detail, identity=identity
        )
        self._refusals.record(client.rpartition(":")[0], record)


def _names(host: str) -> tuple[str, ...]:
    """Under which names clients may look for the gateway."""
    return tuple(dict.fromkeys((host, "localhost", "127.0.0.1", "::1", socket.gethostname())))


async def serve(datapath: DataPath, *, ready: Callable[[], None]) -> None:
    """Serve `[gateway] ssh` until SIGTERM or SIGINT, then drain. `ready` is called when it listens."""
    address = datapath.config.gateway.ssh
    if address is None:
        raise ConfigError([Problem("gateway.ssh", "there is no listener to serve", "set it to HOST:PORT")])
    asyncssh.set_log_level(logging.ERROR)  # its INFO names commands, which may hold secrets
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    server = Server(datapath)
    listener = await server.listen(address)
    watching = loop.create_task(server.watch())
    ready()
    try:
        await stopping.wait()
    finally:
        watching.cancel()
        listener.close()
        await server.drain()
