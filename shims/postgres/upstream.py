"""Logging in to PostgreSQL: the gateway as the client, as a pure machine. Server messages in, bytes to send out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import scramp  # untyped

from onrecord.policies.errors import OnrecordError
from onrecord.shims.postgres.messages import decode_fields, decode_status
from onrecord.shims.postgres.wire import HEADER_SIZE, Reader, WireError, message

MAX_ITERATIONS = 1_000_000
_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12


class UpstreamError(OnrecordError):
    """PostgreSQL cannot be reached or does not let the gateway in; the text is for the operator only."""


@dataclass
class Login:
    """One login. `certificate` is the server's (DER), for channel binding; None on a plaintext connection.

    `receive` takes whole messages up to the first ReadyForQuery, after which `ready` is true and `parameters`,
    `pid` and `secret` hold what the server said. Raises UpstreamError or WireError.
    """

    user: str
    password: str
    tls: bool
    certificate: bytes | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    pid: int = 0
    secret: bytes = b""
    authenticated: bool = False
    ready: bool = False
    channel_binding: bool = False
    _scram: Any = None
    _expects: int = _OK  # the SASL step that may come next, _OK before any
    _verified: bool = True

    def receive(self, kind: int, data: bytes) -> bytes:
        """Take one message; returns what to send, which may be nothing."""
        if kind == ord("R"):
            if self.authenticated:
                raise WireError("authentication after authentication")
            return self._authenticate(Reader(data, HEADER_SIZE))
        if kind == ord("E"):
            fields = decode_fields(data)
            raise UpstreamError(f"{fields.get('C', '')} {fields.get('M', '')}")
        if kind == ord("N"):
            return b""
        if not self.authenticated:
            raise WireError("a message before authentication was complete")
        if kind == ord("S"):
            name, value = decode_status(data)
            self.parameters[name] = value
        elif kind == ord("K"):
            reader = Reader(data, HEADER_SIZE)
            self.pid = reader.u32()
            self.secret = data[reader.position :]
        elif kind == ord("Z"):
            self.ready = True
        else:
            raise WireError("an unexpected message during login")
        return b""

    def _authenticate(self, reader: Reader) -> bytes:
        step = reader.u32()
        if step == _OK:
            if self._expects != _OK or not self._verified:
                raise UpstreamError("the server ended SCRAM before it proved that it knows the password")
            self.authenticated = True
            return b""
        if step in (_SASL_CONTINUE, _SASL_FINAL):
            return self._scram_step(step, reader)
        if self._scram is not None or self._expects != _OK:
            raise WireError("a second authentication request")
        if not self.password:
            raise UpstreamError("the server asks for a password and none is configured")
        if step == _CLEARTEXT:
            if not self.tls:
                raise UpstreamError("the server asks for the password in clear on a connection without TLS")
            return message(b"p", self.password.encode() + b"\0")
        if step == _MD5:
            return message(b"p", _md5(self.user, self.password, reader.take(4)) + b"\0")
        if step == _SASL:
            return self._scram_start(reader)
        raise UpstreamError(f"the server asks for the unsupported authentication method {step}")

    def _scram_start(self, reader: Reader) -> bytes:
        offered: list[str] = []
        while name := reader.text():
            offered.append(name)
        binding = None
        if self.certificate is not None and "SCRAM-SHA-256-PLUS" in offered:
            binding = ("tls-server-end-point", endpoint_hash(self.certificate))
            mechanisms = ["SCRAM-SHA-256-PLUS"]
        elif "SCRAM-SHA-256" in offered:
            mechanisms = ["SCRAM-SHA-256"]
        else:
            raise UpstreamError(f"the server offers no known SASL mechanism: {', '.join(offered)[:200]}")
        try:
            self._scram = _client(mechanisms, self.user, self.password, channel_binding=binding)
            first = self._scram.get_client_first().encode()
        except scramp.ScramException as error:
            raise UpstreamError(f"SCRAM: {error}") from None
        self.channel_binding = binding is not None
        self._expects, self._verified = _SASL_CONTINUE, False
        return message(b"p", mechanisms[0].encode() + b"\0" + len(first).to_bytes(4, "big") + first)

    def _scram_step(self, step: int, reader: Reader) -> bytes:
        if self._scram is None or step != self._expects:
            raise WireError("SASL messages out of order")
        text = reader.take(len(reader.data) - reader.position).decode("ascii", "replace")
        try:
            if step == _SASL_CONTINUE:
                self._scram.set_server_first(text)
                if int(self._scram.iterations) > MAX_ITERATIONS:
                    raise UpstreamError("SCRAM: the server asks for too many iterations")
                self._expects = _SASL_FINAL
                return message(b"p", self._scram.get_client_final().encode())
            self._scram.set_server_final(text)
        except scramp.ScramException as error:
            raise UpstreamError(f"SCRAM: {error}") from None
        except (ValueError, TypeError, KeyError, IndexError):
            raise UpstreamError("SCRAM: the server's message cannot be read") from None
        self._expects, self._verified = _OK, True
        return b""


_client: Any = scramp.ScramClient


def _md5(user: str, password: str, salt: bytes) -> bytes:
    inner = hashlib.md5(password.encode() + user.encode()).hexdigest()  # noqa: S324  # the protocol's method
    return b"md5" + hashlib.md5(inner.encode() + salt).hexdigest().encode()  # noqa: S324


def endpoint_hash(certificate: bytes) -> bytes:
    """tls-server-end-point (RFC 5929): the signature algorithm's hash, SHA-256 instead of MD5 and SHA-1."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    name = algorithm.name if algorithm is not None else "sha256"
    return hashlib.new("sha256" if name in {"md5", "sha1"} else name, certificate).digest()
