"""One connection before it is a session: who it is and what it may reach. Nothing of it is a command yet."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol, cast

import asyncssh

from onrecord.policies.config import SshResource
from onrecord.policies.errors import IdentityError
from onrecord.policies.model import Identity
from onrecord.shims.ssh import forward
from onrecord.shims.ssh.channel import ClientSession
from onrecord.shims.ssh.exchange import ExchangeSession
from onrecord.shims.ssh.link import BY_APPLICATION, Link
from onrecord.shims.ssh.names import CERTIFICATE, parse_login
from onrecord.shims.ssh.transport import PROHIBITED, GatewayConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable

_log = logging.getLogger("onrecord.ssh")

IDENTITY = "onrecord:identity"
MAX_TOKENS = 6  # tries of one connection
MAX_KEYS = 32
EXCHANGE = 15.0  # seconds for a login that only wants a certificate
NO_MORE_WAYS = 14  # SSH_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE


class Gatekeeper(Protocol):
    """What an entrance asks the server."""

    def enter(self, entrance: Entrance, client: str) -> str: ...

    def leave(self, entrance: Entrance, error: Exception | None) -> None: ...

    async def authenticate(self, token: str, login: str, client: str) -> Identity: ...

    def identity_of_key(self, key_data: bytes, client: str) -> tuple[asyncssh.SSHKey, Identity] | None: ...

    def authorised(self, identity: Identity, login: str, client: str) -> tuple[SshResource, str] | None: ...

    def begin(self, entrance: Entrance, identity: Identity, resource: SshResource, user: str) -> Link: ...

    def certify(self, entrance: Entrance, identity: Identity, key: str) -> str: ...


class Entrance(asyncssh.SSHServer):
    """Owner of a client's connection; `link` once it is logged in."""

    def __init__(self, server: Gatekeeper) -> None:
        self._server = server
        self.client = ""
        self.connection: GatewayConnection = cast("GatewayConnection", None)
        self.link: Link | None = None
        self.counted_as_login = True
        self._accepted: tuple[str, Identity, SshResource, str] | None = None
        self._exchanging: Identity | None = None  # who logged in with a token, only to have a certificate
        self._tokens = self._keys = 0

    # ------------------------------------------------------------------ the connection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = cast("GatewayConnection", conn)
        peer = conn.get_extra_info("peername") or ("", 0)
        self.client = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
        reason = self._server.enter(self, self.client)
        if reason:
            self.connection.turn_away(f"onrecord: {reason}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.leave(self, exc)
        if self.link is not None:
            why = "the client is gone" if exc is None else f"the connection broke: {type(exc).__name__}"
            self.link.end(why)

    # ------------------------------------------------------------------ who it is

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "onrecord", "", "", [("Token: ", False)]

    async def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        return len(responses) == 1 and await self.validate_password(username, responses[0])

    async def validate_password(self, username: str, password: str) -> bool:
        """Whether the token opens `username`. The reason is on record, and never told."""
        self._tokens += 1
        if self._tokens > MAX_TOKENS:
            self.connection.disconnect(NO_MORE_WAYS, "onrecord: too many tries")
            return False
        try:
            identity = await self._server.authenticate(password, username, self.client)
        except IdentityError as error:
            self._tell(f"{IDENTITY}: {error} (the password is the token; get a fresh one)")
            return False
        if username == CERTIFICATE:
            self._exchanging = identity
            return True
        return self.accept(username, identity)

    async def identity_of_key(self, username: str, key_data: bytes) -> tuple[asyncssh.SSHKey, Identity] | None:
        """Who a public key or certificate stands for, if it may stand for anyone."""
        self._keys += 1
        if self._keys > MAX_KEYS:
            self.connection.disconnect(NO_MORE_WAYS, "onrecord: too many keys")
            return None
        return self._server.identity_of_key(key_data, self.client) if parse_login(username) else None

    def accept(self, username: str, identity: Identity) -> bool:
        """Whether `identity`, which is proved, may log in as `username`."""
        found = self._server.authorised(identity, username, self.client)
        if found is None:
            self._tell(f"{IDENTITY}: {username[:96]} is no resource of this gateway, or not one for you")
            return False
        self._accepted = (username, identity, *found)
        return True

    def auth_completed(self) -> None:
        accepted = self._accepted
        if self._exchanging is not None and self.connection.get_extra_info("username") == CERTIFICATE:
            asyncio.get_running_loop().call_later(EXCHANGE, self._end_exchange)
            return
        if accepted is None or self.connection.get_extra_info("username") != accepted[0]:
            _log.error("a login without an identity: %s", self.client)
            self.connection.disconnect(BY_APPLICATION, "onrecord: not logged in")
            return
        _, identity, resource, user = accepted
        try:
            self.link = self._server.begin(self, identity, resource, user)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            known = type(error).__module__.startswith("onrecord.")
            if not known:
                _log.exception("the session of %s could not begin", self.client)
            text = str(error) if known else "internal error of the gateway"
            self.connection.disconnect(BY_APPLICATION, f"onrecord: {text}")

    def _end_exchange(self) -> None:
        self.connection.disconnect(BY_APPLICATION, "onrecord: this login is for a certificate only")

    def certificate(self, key: str) -> str:
        """A certificate for a public key, both as a line of text; one a login. Raises OnrecordError."""
        identity, self._exchanging = self._exchanging, None
        if identity is None:
            raise IdentityError("one certificate a login")
        return self._server.certify(self, identity, key)

    def _tell(self, text: str) -> None:
        clean = "".join(char if char.isprintable() else " " for char in text)
        self.connection.send_auth_banner(f"onrecord: {clean}\r\n")

    # ------------------------------------------------------------------ what it asks for

    @property
    def _logged_in(self) -> Link:
        """The session. Raises ChannelOpenError where there is none, or no more."""
        if self.link is None or self.link.ended:
            raise asyncssh.ChannelOpenError(PROHIBITED, "onrecord: the session has ended")
        return self.link

    def session_requested(self) -> Any:
        if self._exchanging is not None and self._accepted is None:
            return ExchangeSession(self.certificate)
        return ClientSession(self._logged_in)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        return forward.open_direct(self._logged_in, dest_host, dest_port)

    def unix_connection_requested(self, dest_path: str) -> Any:
        return forward.open_unix(self._logged_in, dest_path)

    def server_requested(self, listen_host: str, listen_port: int) -> Awaitable[Any] | bool:
        if self.link is None or self.link.ended:
            return False
        return forward.listen_remote(self.link, listen_host, listen_port)

    def unix_server_requested(self, listen_path: str) -> Awaitable[Any] | bool:
        if self.link is None or self.link.ended:
            return False
        return forward.listen_unix(self.link, listen_path)

    def tun_requested(self, unit: int | None) -> bool:
        forward.refuse_device(self._logged_in, "tun")
        return False

    def tap_requested(self, unit: int | None) -> bool:
        forward.refuse_device(self._logged_in, "tap")
        return False
