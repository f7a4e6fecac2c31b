from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from onrecord.policies.identity import fetch
from onrecord.policies.identity.fetch import FetchError, check_url, fetch_keys
from tests.policies.identity.signing import ec_key, jwk, jwks

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A loopback HTTP server; `answers` maps paths to functions that write the answer."""

    def __init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                site.answers[self.path](self)

            def log_message(self, *args: object) -> None:
                pass

        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.answers: dict[str, Answer] = {
            "/.well-known/openid-configuration": answer(self.discovery()),
            "/jwks": answer(jwks(jwk(ec_key(), "k1"))),
        }
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def discovery(self, **changes: object) -> bytes:
        return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **changes}).encode()

    def discover(self, content: bytes) -> None:
        self.answers["/.well-known/openid-configuration"] = answer(content)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def answer(content: bytes, status: int = 200, **headers: str) -> Answer:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return write


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    yield found
    found.close()


def refusal(site: Site) -> str:
    with pytest.raises(FetchError) as caught:
        fetch_keys(site.url, None)
    return str(caught.value)


def test_keys_are_found_through_discovery(site: Site) -> None:
    assert [key.kid for key in fetch_keys(site.url, None)] == ["k1"]
    assert site.asked == ["/.well-known/openid-configuration", "/jwks"]


def test_an_issuer_with_a_path_is_discovered_below_it(site: Site) -> None:
    issuer = f"{site.url}/realms/one"
    site.answers["/realms/one/.well-known/openid-configuration"] = answer(site.discovery(issuer=issuer))
    assert [key.kid for key in fetch_keys(issuer, None)] == ["k1"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://idp.example.com", "plain http"),
        ("http://127.0.0.1.example.com", "plain http"),
        ("http://10.0.0.1", "plain http"),
        ("ftp://127.0.0.1", "not an https"),
        ("file:///etc/passwd", "not an https"),
        ("https://", "not an https"),
        ("https://user:pw@idp.example.com", "user or password"),
        ("https://idp.example.com?x=1", "no query"),
        ("https://idp.example.com#x", "no fragment"),
        ("https://[::1", "not a URL"),
        ("https://idp.example.com:99999", "not a URL"),
        ("idp.example.com", "not an https"),
    ],
)
def test_only_https_or_loopback_issuers_are_asked(url: str, why: str) -> None:
    with pytest.raises(FetchError, match=why) as caught:
        fetch_keys(url, None)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1:1", "http://127.9.9.9:1", "http://[::1]:1"])
def test_loopback_issuers_may_be_plain_http(url: str) -> None:
    assert check_url(url, "issuer").scheme == "http"


def test_the_discovery_document_must_name_the_issuer_exactly(site: Site) -> None:
    for issuer in (site.url + "/", site.url.upper(), "https://attacker.example", None, 5):
        site.discover(site.discovery(issuer=issuer))
        assert "discovery document says" in refusal(site)
    assert "/jwks" not in site.asked


@pytest.mark.parametrize(
    "address", [None, 5, "", "http://idp.example.com/jwks", "file:///etc/passwd", "/jwks", "https://u:p@x.example/"]
)
def test_the_key_sets_address_must_be_https_too(site: Site, address: object) -> None:
    site.discover(site.discovery(jwks_uri=address))
    assert "jwks_uri" in refusal(site)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(site: Site, status: int) -> None:
    site.answers["/jwks"] = answer(b"", status, Location="/elsewhere")
    assert str(status) in refusal(site)
    assert "/elsewhere" not in site.asked


@pytest.mark.parametrize("status", [204, 401, 404, 500])
def test_other_answers_are_no_keys(site: Site, status: int) -> None:
    site.answers["/jwks"] = answer(b"", status)
    assert str(status) in refusal(site)


def test_a_document_without_end_is_given_up(site: Site) -> None:
    site.answers["/jwks"] = answer(b" " * (fetch.MAX_BODY + 1))
    assert "larger than" in refusal(site)


def test_a_compressed_document_is_refused_rather_than_unpacked(site: Site) -> None:
    site.answers["/jwks"] = answer(gzip.compress(jwks(jwk(ec_key(), "k1"))), Content_Encoding="gzip")
    assert "content encoding" in refusal(site)


def test_an_answer_that_drips_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "DEADLINE", -1.0)
    assert "no whole answer" in refusal(site)


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>", b'{"issuer": "a", "issuer": "b"}', b"\xff"])
def test_a_broken_discovery_document_is_refused(site: Site, content: bytes) -> None:
    site.discover(content)
    assert "discovery document" in refusal(site)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": []}', b"\xff"])
def test_a_broken_key_set_is_refused(site: Site, content: bytes) -> None:
    site.answers["/jwks"] = answer(content)
    assert "key" in refusal(site)


def test_nobody_there_is_said_so(site: Site) -> None:
    url = site.url
    site.server.server_close()
    with pytest.raises(
        FetchError, match=r"ConnectError|ReadError|RemoteProtocolError"
    ):  # a closing listener may still reset one
        fetch_keys(url, None)


def test_proxy_variables_are_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert [key.kid for key in fetch_keys(site.url, None)] == ["k1"]


def test_a_ca_that_cannot_be_read_is_said_so(site: Site, tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    for path in (tmp_path / "missing.pem", empty):
        with pytest.raises(FetchError, match="no certificates"):
            fetch_keys(site.url, path)
        empty.write_text("nothing")
