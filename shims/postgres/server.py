"""The listener: accepts, logs clients in, connects them to their PostgreSQL, and drains at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import signal
import socket
import ssl
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from onrecord.policies.config import Address, PostgresResource
from onrecord.policies.errors import ConfigError, IdentityError, Problem
from onrecord.policies.identity import run_id
from onrecord.policies.masking import masks_for, no_masks, pseudonym_key
from onrecord.policies.model import Identity, Resource
from onrecord.recordings.auditor import OpenSession, RefusedError
from onrecord.recordings.datapath import DataPath
from onrecord.recordings.records import RefusalRecord
from onrecord.recordings.refusals import Refusals
from onrecord.shims.postgres.analysing import Readers
from onrecord.shims.postgres.backend import Backend
from onrecord.shims.postgres.cancelling import Cancels, Live
from onrecord.shims.postgres.catalog import CatalogSource, open_catalogs
from onrecord.shims.postgres.commands import PROTOCOL
from onrecord.shims.postgres.entrance import Entrance
from onrecord.shims.postgres.exchange import SessionFatal
from onrecord.shims.postgres.link import Link
from onrecord.shims.postgres.masking.session import SessionMasking
from onrecord.shims.postgres.messages import (
    AUTHENTICATION_OK,
    encode_backend_key,
    encode_status,
    fatal,
)
from onrecord.shims.postgres.preview import Previews
from onrecord.shims.postgres.relay import Relay
from onrecord.shims.postgres.reported import before_15, check_setting
from onrecord.shims.postgres.rulings import MaskedRules
from onrecord.shims.postgres.spool import Spools
from onrecord.shims.postgres.startup import Cancel, Startup
from onrecord.shims.postgres.tls import listener_context
from onrecord.shims.postgres.upstream import Login, UpstreamError
from onrecord.shims.postgres.wire import WireError, message

_log = logging.getLogger("onrecord.postgres")

IDENTITY = "onrecord:identity"
SERVERS_PATH = '"$user", public'  # PostgreSQL's default, where a catalog says which of them have a name
DRAIN = 5.0
READY = message(b"Z", b"I")
_NOT_ALLOWED = 'database "{}" is no resource of this gateway, or not one for you'


class Server:
    """One listener. Connections share nothing but this object's tables.

    `worker` is the number of this process among those on the same port; limits hold for each of them.
    """

    def __init__(self, datapath: DataPath, address: Address, worker: int = 0) -> None:
        config = datapath.config
        self._path, self._gateway = datapath, config.gateway
        self._limit = config.recordings.sample_limit
        self._auditor = datapath.auditor
        self._refusals = Refusals(datapath.auditor)
        self._tls = listener_context(config.gateway, address.host)
        self._backends = {
            name: Backend(resource, datapath.secrets)
            for name, resource in config.resources.items()
            if isinstance(resource, PostgresResource)
        }
        self._catalogs = open_catalogs(config, datapath.secrets)
        self._previews = {
            name: Previews(backend.resource, datapath.secrets, self._catalogs.get(name))
            for name, backend in self._backends.items()
        }
        self._spools = Spools(config.gateway.state)
        self._readers = Readers()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._entering = 0
        self._pseudonyms = b""  # the key of pseudonyms, once a mask needs it
        self._logins: Counter[str] = Counter()  # connections that are not logged in yet, by address
        self._cancels = Cancels(config.gateway.state, worker, lambda why, client: self._refuse(PROTOCOL, why, client))
        self._relays: set[Relay] = set()
        self._links: weakref.WeakSet[Link] = weakref.WeakSet()

    # ------------------------------------------------------------------ accepting

    def listen(self, address: Address) -> socket.socket:
        """Open the listener. Raises ConfigError where the address cannot be had."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            sock = socket.create_server(
                (address.host, address.port), family=family, backlog=1024, reuse_port=self._gateway.postgres_workers > 1
            )
        except OSError as error:
            reason = f"cannot listen on {address}: {error.strerror}"
            raise ConfigError([Problem("gateway.postgres", reason, "choose a free address of this host")]) from None
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(sock.fileno(), self._accept, sock)
        for catalog in self._catalogs.values():
            catalog.start()
        return sock

    async def share_cancels(self) -> None:
        """Take cancel requests that reached other processes on the port. Raises ControlError."""
        await self._cancels.listen()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(64):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    loop = asyncio.get_running_loop()
                    loop.remove_reader(listener.fileno())
                    loop.call_later(0.1, loop.add_reader, listener.fileno(), self._accept, listener)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
            host = client.rpartition(":")[0]
            if self._is_full(host):
                self._refuse(PROTOCOL, "too many connections", client)
                with contextlib.suppress(OSError):
                    sock.send(fatal("53300", "onrecord: too many connections"))
                sock.close()
                continue
            self._connections += 1
            self._entering += 1
            self._logins[host] += 1
            task = asyncio.get_running_loop().create_task(self._enter(sock, client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _is_full(self, host: str) -> bool:
        """A quarter of the connections may be logging in at a time, and half of those from one address."""
        most = self._gateway.max_connections
        logins = max(1, most // 4)
        return (
            self._connections >= most or self._entering >= logins or self._logins[host] >= max(1, logins - logins // 2)
        )

    async def _enter(self, sock: socket.socket, client: str) -> None:
        """A connection up to its session. Whatever goes wrong ends this connection and no other."""
        entry = Entrance(self, sock, client)
        try:
            try:
                async with asyncio.timeout(self._gateway.handshake_timeout):
                    started = await entry.open()
                    identified = await entry.identify(started) if started is not None else None
            finally:
                self._entering -= 1
                self._logins -= Counter((client.rpartition(":")[0],))
            if started is not None and identified is not None:
                await self._begin(entry, started, *identified)
        except TimeoutError:
            self._refuse(PROTOCOL, "the login took too long", client)
            entry.farewell(fatal("57P01", "onrecord: the login took too long"))
        except WireError as error:
            self._refuse(PROTOCOL, str(error), client)
            entry.farewell(fatal(error.sqlstate, f"onrecord: {PROTOCOL}: {error}"))
        except SessionFatal as error:
            entry.farewell(fatal(error.sqlstate, f"onrecord: {error}", hint=error.hint))
        except (OSError, ConnectionError) as error:
            self._refuse(PROTOCOL, f"the connection broke: {type(error).__name__}", client)
        except asyncio.CancelledError:
            entry.farewell(fatal("57P01", "onrecord: the gateway is shutting down"))
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            _log.exception("connection of %s failed", client)
            self._refuse("onrecord:engine", f"internal error: {type(error).__name__}", client)
            entry.farewell(fatal("XX000", "onrecord: internal error of the gateway"))
        finally:
            if not entry.handed_over:
                entry.close()
                self._connections -= 1

    # ------------------------------------------------------------------ sessions

    async def _begin(self, entry: Entrance, startup: Startup, identity: Identity, resource: PostgresResource) -> None:
        """Open the session, connect to PostgreSQL, tell the client, and let the relay take over."""
        auditor = self._auditor
        seen = Resource(
            name=resource.name,
            type="postgres",
            groups=resource.groups,
            default=resource.default,
            admin=resource.admin,
            unknown=resource.unknown,
        )
        try:
            opened = auditor.open_session(
                identity, seen, run=run_id(identity), protocol="postgres", client=entry.client, login=startup.user
            )
        except RefusedError as error:
            raise SessionFatal("42501", str(error)) from None
        try:
            backend = self._backends[resource.name]
            if resource.name in self._catalogs:
                startup.parameters.setdefault("search_path", SERVERS_PATH)
            upstream, login = await backend.connect(startup.parameters)
        except UpstreamError as error:
            _log.error("resource %s: PostgreSQL: %s", resource.name, error)  # no traceback: it is no bug
            auditor.end_session(opened, f"PostgreSQL cannot be reached: {error}")
            text = f"the PostgreSQL of resource {resource.name} cannot be reached"
            raise SessionFatal("08006", text, hint="the gateway's log says why") from None
        except BaseException:
            auditor.end_session(opened, "cut off while connecting")
            raise
        try:
            self._check_settings(login)
            pid, secret = self._cancels.new_key(startup.negotiated)
            relay = self._relay(opened, entry, upstream, resource, login, startup, pid)
            hello = [AUTHENTICATION_OK]
            hello += [encode_status(name, value) for name, value in login.parameters.items()]
            hello += [encode_backend_key(pid, secret), READY]
        except BaseException as error:
            upstream.abort()
            auditor.end_session(opened, f"it could not begin: {type(error).__name__}")
            raise
        entry.hand_over()
        self._links.update((entry.link, upstream))
        self._relays.add(relay)

        async def cancel() -> None:
            if not relay.stop_waiting():
                await backend.cancel(login.pid, login.secret)

        self._cancels.add(pid, Live(secret, relay, cancel))
        try:
            entry.link.write(b"".join(hello))
            relay.start(self._gateway.session_grace)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            relay.fail(error, "server")

    def _check_settings(self, login: Login) -> None:
        """Raises SessionFatal where the gateway could not decode what runs under the server's settings."""
        for name, value in login.parameters.items():
            check_setting(name, value)
        missing = {"client_encoding", "standard_conforming_strings"} - login.parameters.keys()
        if missing:
            raise SessionFatal("57P01", f"the server did not report {', '.join(sorted(missing))}")

    def _relay(
        self,
        opened: OpenSession,
        entry: Entrance,
        upstream: Link,
        resource: PostgresResource,
        login: Login,
        startup: Startup,
        pid: int,
    ) -> Relay:
        backend = self._backends[resource.name]
        catalog = self._catalogs.get(resource.name)

        def ended(cut_off: bool) -> None:
            if catalog is not None:
                catalog.leave()
            self._cancels.remove(pid)
            self._relays.discard(relay)
            self._connections -= 1
            if cut_off:
                self._spawn(backend.cancel(login.pid, login.secret))

        relay = Relay(
            self._auditor,
            opened,
            entry.link,
            upstream,
            role=resource.user,
            sample_limit=self._limit,
            spools=self._spools,
            readers=self._readers,
            catalog=catalog,
            on_end=ended,
        )
        exchange = relay.exchange
        exchange.backend_pid = login.pid
        exchange.templates.rules = MaskedRules(resource.masked_predicates, resource.masked_flows)
        exchange.state.begin(startup.search_path)
        exchange.state.old_numbers = before_15(login.parameters.get("server_version", ""))
        exchange.masking = masking = self._masking(opened.session.identity, resource.name, catalog)
        if not masking.idle:
            opened.clean = masking.clean_record
        previews, state = self._previews[resource.name], exchange.state
        opened.preview = lambda command: previews.of(command, state, masking.clean_text)
        if catalog is not None:
            catalog.enter()
        return relay

    def _masking(self, identity: Identity, resource: str, catalog: CatalogSource | None) -> SessionMasking:
        """What this identity sees masked. Raises MaskError."""
        config = self._path.config
        masks = None
        if config.masks:
            if not self._pseudonyms:
                self._pseudonyms = pseudonym_key(config.gateway.state)
            masks = masks_for(config, resource, identity.groups, key=self._pseudonyms)
        return SessionMasking(masks or no_masks(b""), lambda: catalog.current if catalog is not None else None)

    def authorised(self, identity: Identity, name: str, client: str) -> PostgresResource:
        """The resource `name`, if `identity` may use it; unknown and forbidden ones are told alike."""
        resource = self._path.config.resources.get(name)
        allowed = isinstance(resource, PostgresResource) and (
            not resource.groups or not frozenset(resource.groups).isdisjoint(identity.groups)
        )
        if not allowed or not isinstance(resource, PostgresResource):
            detail = (
                "the identity is in none of its groups" if isinstance(resource, PostgresResource) else "no resource"
            )
            reason = "the database is no resource, or not one for this identity"  # the name would make each one its own
            self._refuse(IDENTITY, reason, client, detail=detail, text=name, identity=identity)
            raise SessionFatal("3D000", f"{IDENTITY}: " + _NOT_ALLOWED.format(name[:63]))
        return resource

    async def authenticate(self, token: str, startup: Startup, client: str, certificate: bytes | None) -> Identity:
        """The identity behind the password. Raises SessionFatal with a generic text; the reason is on record."""
        digest = hashlib.sha256(certificate).hexdigest() if certificate else None
        try:
            return await self._path.authenticator.authenticate(token, client=client, cert_sha256=digest)
        except IdentityError as error:
            text = f"user {startup.user[:63]} database {startup.database[:63]}"
            self._refuse(IDENTITY, str(error), client, detail=error.detail, text=text)
            hint = "the password is the OIDC token; get a fresh one"
            raise SessionFatal("28P01", f"{IDENTITY}: {error}", hint=hint) from None

    # ------------------------------------------------------------------ the end

    async def drain(self) -> None:
        """Give running commands a moment, then end all sessions."""
        deadline = asyncio.get_running_loop().time() + DRAIN
        while any(relay.busy for relay in self._relays) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for relay in list(self._relays):
            relay.end("the gateway is shutting down", fatal("57P01", "onrecord: the gateway is shutting down"))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        deadline = asyncio.get_running_loop().time() + 1.0
        while any(not link.closed for link in self._links) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # what was written goes out
        for link in list(self._links):
            link.abort()
        await self._cancels.close()
        self._refusals.close()
        self._readers.close()
        await asyncio.gather(*(catalog.close() for catalog in self._catalogs.values()))
        await asyncio.sleep(0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _refuse(
        self, what: str, reason: str, client: str, *, detail: str = "", text: str = "", identity: Identity | None = None
    ) -> None:
        record = RefusalRecord(
            what=what,
            reason=reason,
            protocol="postgres",
            client=client,
            text=text,
            detail=detail,
            identity=identity,
        )
        self._refusals.record(client.rpartition(":")[0], record)

    # ------------------------------------------------------------------ what an entrance needs

    async def cancel(self, request: Cancel, client: str) -> None:
        await self._cancels.request(request, client)

    @property
    def tls(self) -> ssl.SSLContext:
        return self._tls

    @property
    def plaintext_allowed(self) -> bool:
        return self._gateway.postgres_tls == "allow"

    @property
    def handshake_timeout(self) -> float:
        return self._gateway.handshake_timeout


async def serve(datapath: DataPath, *, ready: Callable[[], None], worker: int = 0) -> None:
    """Serve `[gateway] postgres` until SIGTERM or SIGINT, then drain. `ready` is called when it listens."""
    address = datapath.config.gateway.postgres
    if address is None:
        raise ConfigError([Problem("gateway.postgres", "there is no listener to serve", "set it to HOST:PORT")])
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    server = Server(datapath, address, worker)
    listener = server.listen(address)
    if datapath.config.gateway.postgres_workers > 1:
        await server.share_cancels()
    ready()
    try:
        await stopping.wait()
    finally:
        loop.remove_reader(listener.fileno())
        listener.close()
        await server.drain()
