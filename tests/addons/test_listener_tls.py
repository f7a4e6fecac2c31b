"""The proxy's own TLS listener, and tokens that are bound to a client certificate (RFC 8705)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from joserfc import jwk, jwt

from onrecord.scripts.parts.certs import Authority, CertPair
from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.gateway_process import GatewayProcess, gateway_process, read_answer, read_head
from tests.helpers import AUDIENCE, http_resource, make_config


@dataclass
class Stage:
    """A gateway whose listener speaks TLS and wants certificates."""

    gateway: GatewayProcess
    api: HttpsApi
    authority: Authority
    mine: CertPair
    other: CertPair
    stranger: CertPair

    def token(self, pair: CertPair | None) -> str:
        """The dev issuer's token, bound to a certificate."""
        folder = self.gateway.setup.state / "dev-issuer"
        found = [path for path in folder.iterdir() if stat.S_IMODE(path.stat().st_mode) == 0o600]
        text = found[0].read_text()
        key = jwk.import_key(json.loads(text)) if text.lstrip().startswith("{") else jwk.import_key(text, "EC")
        plain = self.gateway.setup.mint()
        head, payload = (
            json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in plain.split(".")[:2]
        )
        payload["jti"] = os.urandom(8).hex()
        if pair is not None:
            der = ssl.PEM_cert_to_DER_cert(pair.cert.read_text().partition("-----END CERTIFICATE-----")[0] + END)
            thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
            payload["cnf"] = {"x5t#S256": thumbprint}
        return jwt.encode(head, payload, key, algorithms=[head["alg"]])

    @contextlib.contextmanager
    def listener(self, pair: CertPair | None) -> Iterator[ssl.SSLSocket]:
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        raw = socket.create_connection(("127.0.0.1", self.gateway.setup.http_port), timeout=10)
        with raw, context.wrap_socket(raw, server_hostname="localhost") as tls:
            yield tls

    def connect(self, pair: CertPair | None, token: str) -> bytes:
        """The answer to CONNECT."""
        with self.listener(pair) as tls:
            tls.sendall(connect(token))
            return read_head(tls)


END = "-----END CERTIFICATE-----\n"


def connect(token: str) -> bytes:
    return (
        b"CONNECT billing.internal:443 HTTP/1.1\r\nHost: billing.internal:443\r\n"
        b"Proxy-Authorization: Bearer " + token.encode() + b"\r\n\r\n"
    )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("mtls")
    authority, strangers = Authority(folder / "ca"), Authority(folder / "strangers", "strangers")
    pair = authority.issue("localhost", file="listener")
    with HttpsApi("billing.internal") as api:
        setup = make_config(
            folder,
            resources={"billing": http_resource(api)},
            issuers=[{"issuer": "onrecord:dev", "audience": AUDIENCE, "bind": "mtls"}],
            gateway={"tls": {"cert": str(pair.cert), "key": str(pair.key), "client_ca": str(authority.cert)}},
        )
        setup.mint()
        with gateway_process(setup) as gateway:
            yield Stage(
                gateway,
                api,
                authority,
                authority.issue("agent-7", file="mine", client=True),
                authority.issue("agent-8", file="other", client=True),
                strangers.issue("agent-7", file="stranger", client=True),
            )


def test_a_bound_token_works_with_its_certificate_through_tls_in_tls(stage: Stage) -> None:
    with stage.listener(stage.mine) as outer:
        outer.sendall(connect(stage.token(stage.mine)))
        assert read_head(outer).startswith(b"HTTP/1.1 200")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(stage.gateway.ca))
        inner = context.wrap_bio(incoming, outgoing, server_hostname="billing.internal")

        def pump(step: object) -> object:
            while True:
                try:
                    return step()  # type: ignore[operator]
                except ssl.SSLWantReadError:
                    outer.sendall(outgoing.read())
                    incoming.write(outer.recv(65536))

        pump(inner.do_handshake)
        inner.write(b"GET /echo HTTP/1.1\r\nHost: billing.internal\r\n\r\n")
        answer = pump(lambda: inner.read(65536))
    assert isinstance(answer, bytes)
    assert answer.startswith(b"HTTP/1.1 200")
    assert stage.gateway.commands()[-1]["text"] == "GET https://billing.internal/echo"


def test_a_bound_token_is_worth_nothing_without_its_certificate(stage: Stage) -> None:
    token = stage.token(stage.mine)
    for pair in (None, stage.other):
        assert stage.connect(pair, token).startswith(b"HTTP/1.1 407"), pair
    assert stage.connect(stage.mine, token).startswith(b"HTTP/1.1 200")
    for pair in (None, stage.other):  # also when the token is remembered
        assert stage.connect(pair, token).startswith(b"HTTP/1.1 407"), pair


def test_a_token_that_is_not_bound_is_refused(stage: Stage) -> None:
    assert stage.connect(stage.mine, stage.token(None)).startswith(b"HTTP/1.1 407")


def test_a_certificate_of_another_authority_ends_the_handshake(stage: Stage) -> None:
    answer = b""
    with contextlib.suppress(OSError), stage.listener(stage.stranger) as tls:
        tls.sendall(connect(stage.token(stage.stranger)))
        answer = tls.recv(1)
    assert answer == b""
    reasons = [refusal["reason"] for refusal in stage.gateway.refusals()]
    assert "a TLS handshake that failed" in reasons


@pytest.mark.parametrize(
    "data", [b"GET http://billing.internal/echo HTTP/1.1\r\nHost: billing.internal\r\n\r\n", b"\0" * 50]
)
def test_plaintext_on_a_tls_listener_is_refused_on_record(stage: Stage, data: bytes) -> None:
    before = len(stage.gateway.refusals())
    with stage.gateway.open() as client:
        client.sendall(data)
        status, answer = read_answer(client)
    assert (status, answer) == (0, b"")
    assert len(stage.gateway.refusals()) > before
