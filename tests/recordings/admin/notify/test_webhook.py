"""recordings/admin/notify: signed webhooks against a real HTTP server, and where they may not go."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from onrecord.policies.config import Address
from onrecord.recordings.admin.notify import delivery
from onrecord.recordings.admin.notify.addresses import ForbiddenAddressError, dial, is_public
from onrecord.recordings.admin.notify.delivery import UndeliveredError, post
from onrecord.recordings.admin.notify.notice import Notice
from onrecord.recordings.admin.notify.webhook import Webhook, check, sign
from onrecord.scripts.parts.certs import Authority

SECRET = "the-webhook-secret"
NOTICE = Notice(
    event="pending",
    approval="0199",
    state="pending",
    at=1_800_000_000.0,
    expires=1_800_000_900.0,
    subject="devin",
    on_behalf_of="alice@example.com",
    resource="orders",
    policy="guard_orders",
    approvers="dba",
    url="https://approvals.example.com/approvals/0199",
)


class Receiver:
    """A server that answers as it is told and keeps what it got."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def webhook(receiver, **more):
    return Webhook(f"http://127.0.0.1:{receiver.port}/hook", SECRET, private=True, **more)


async def test_a_webhook_is_signed_and_a_receiver_can_check_it(receiver):
    await webhook(receiver, clock=lambda: 1_800_000_005.0).send(NOTICE, "delivery-1")
    headers, body = receiver.got[0]
    stamp, signature = headers["onrecord-timestamp"], headers["onrecord-signature"]
    assert check(SECRET, stamp, body, signature, now=1_800_000_010.0)
    assert not check("another", stamp, body, signature, now=1_800_000_010.0)
    assert not check(SECRET, stamp, body + b" ", signature, now=1_800_000_010.0)
    assert not check(SECRET, "1800000006", body, signature, now=1_800_000_010.0)
    assert not check(SECRET, stamp, body, signature, now=1_800_001_000.0)
    assert not check(SECRET, "junk", body, "é\ud800", now=1_800_000_010.0)
    assert headers["onrecord-delivery"] == "delivery-1"
    assert json.loads(body)["url"] == NOTICE.url


async def test_it_holds_no_secret_and_nothing_of_the_command(receiver):
    await webhook(receiver).send(NOTICE, "d")
    headers, body = receiver.got[0]
    assert SECRET not in str(headers) + body.decode()
    assert set(json.loads(body)) == {
        "version", "event", "approval", "state", "at", "expires", "subject", "on_behalf_of", "resource", "protocol",
        "policy", "approvers", "url",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "final"), [(500, False), (503, False), (429, False), (408, False), (404, True), (410, True), (302, True)]
)
async def test_what_is_worth_another_attempt(receiver, status, final):
    receiver.status, receiver.headers = status, {"Retry-After": "7", "Location": "http://169.254.169.254/"}
    with pytest.raises(UndeliveredError) as caught:
        await webhook(receiver).send(NOTICE, "d")
    assert (caught.value.final, caught.value.after) == (final, 7.0)
    assert len(receiver.got) == 1  # no redirect was followed


async def test_a_receiver_that_hangs_or_is_gone_is_given_up(monkeypatch):
    monkeypatch.setattr(delivery, "TIMEOUT", 0.2)

    async def hang(reader, writer):
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UndeliveredError, match="no answer") as caught:
        await post(f"http://127.0.0.1:{port}/hook?secret=x", b"", {}, private=True)
    assert "secret=x" not in str(caught.value)
    server.close()
    await server.wait_closed()
    with pytest.raises(UndeliveredError, match="cannot be reached"):
        await post(f"http://127.0.0.1:{port}/", b"", {}, private=True)


async def test_the_certificate_must_be_the_names_own(tmp_path):
    authority = Authority(tmp_path)
    good = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.cert, good.key)
    receiver = Receiver(context)
    try:
        await post(f"https://localhost:{receiver.port}/", b"x", {}, private=True, ca=authority.cert)
        assert receiver.got[0][0]["host"] == f"localhost:{receiver.port}"
        with pytest.raises(UndeliveredError, match="cannot be reached"):
            await post(f"https://127.0.0.1:{receiver.port}/", b"x", {}, private=True, ca=authority.cert)
        with pytest.raises(UndeliveredError, match="cannot be reached"):
            await post(f"https://localhost:{receiver.port}/", b"x", {}, private=True)
    finally:
        receiver.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://localhost/", "https://10.0.0.5/", "https://192.168.1.1/", "https://172.16.0.1/",
        "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://0.0.0.0/",
        "https://[fd00:ec2::254]/", "https://[64:ff9b::a00:1]/", "https://[2002:0a00:0001::1]/", "https://100.64.0.1/",
        "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://224.0.0.1/", "https://[fe80::1]/",
        "http://93.184.216.34/", "ftp://93.184.216.34/", "https://user@93.184.216.34/", "https://", "junk",
    ],
)  # fmt: skip
async def test_addresses_that_are_not_public_are_refused(url):
    with pytest.raises(ForbiddenAddressError):
        await dial(url, private=False)


async def test_the_gateways_own_listeners_are_never_called():
    own = (Address("127.0.0.1", 8088), Address("0.0.0.0", 8080))  # noqa: S104  # it is compared, not bound
    for url in ("https://127.0.0.1:8088/", "http://localhost:8088/", "https://127.0.0.2:8080/", "https://[::1]:8080/"):
        with pytest.raises(ForbiddenAddressError):
            await dial(url, private=True, own=own)
    assert (await dial("https://127.0.0.1:9/", private=True, own=own)).name == "127.0.0.1"


def test_public_is_what_is_public():
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")
    for address in ("10.0.0.1", "::1", "", "junk", "192.0.2.1", "2001:db8::1", "2001:0:1::1"):
        assert not is_public(address)


def test_a_signature_is_hmac_over_time_and_body():
    import hashlib
    import hmac

    expected = hmac.new(b"k", b"5.body", hashlib.sha256).hexdigest()
    assert sign("k", "5", b"body") == f"v1={expected}"
