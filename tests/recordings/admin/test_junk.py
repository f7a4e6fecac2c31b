"""Junk in addresses, fields and headers is answered, never an error of ours, and nothing is decided by it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.recordings.admin.office import ORIGIN, form_token

PATHS = [
    "/approvals/{}", "/approvals?x={}", "/approvals/{}/decide", "/records/{}", "/run?id={}", "/runs?days={}",
    "/kill?what={}", "/kill?name={}", "/login?next={}", "/login/start?issuer={}", "/login/callback?state={}",
    "/login/callback?code=a&state={}", "/static/{}", "/{}", "/api/approvals/{}",
]  # fmt: skip
JUNK = [
    "",
    "..",
    "%00",
    "\x00",
    "\ud800",
    "a" * 900,
    "<script>",
    "%2e%2e%2f",
    "'",
    '"',
    "\r\nX: y",
    "𝐨",
    "-1",
    "1e9",
    "NaN",
]


@pytest.mark.parametrize("path", PATHS)
async def test_junk_in_addresses(office, path):
    id = office.hold()
    async with office.log_in("root", "dba", "staff", "security", "sre") as client:
        for junk in JUNK:
            address = path.format(quote(junk, safe="%", errors="surrogatepass"))
            answer = await client.get(address)
            assert answer.status_code < 500, (address, answer.status_code)
            assert "<script>" not in answer.text
    assert office.state_of(id) == "pending"


@pytest.mark.parametrize("path", ["/approvals/{id}/decide", "/kill", "/kill/lift", "/notifications/again", "/logout"])
async def test_junk_in_forms(office, path):
    id = office.hold()
    async with office.log_in("root", "dba", "staff", "security", "sre") as client:
        token = form_token((await client.get("/approvals")).text)
        fields = ("decision", "seen", "reason", "what", "name", "id", "digest")

        async def send(content):
            headers = {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
            answer = await client.post(path.format(id=id), content=content, headers=headers)
            assert answer.status_code < 500, content

        for junk in JUNK:
            value = quote(junk, safe="", errors="surrogatepass")
            await send(f"form_token={'x' if path == '/logout' else token}&" + "&".join(f"{n}={value}" for n in fields))
        for content in (
            b"",
            b"\xff",
            b"a",
            b"=&=",
            b"&".join(b"a%d=1" % n for n in range(100)),
            b"form_token=%ED%A0%80",
        ):
            await send(content)
    assert office.state_of(id) == "pending"
    assert office.channel.snapshot().kills == ()


HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cookie=HEADER, origin=HEADER, site=HEADER, kind=HEADER, length=HEADER)
async def test_junk_in_headers(office, cookie, origin, site, kind, length):
    async with office.client() as client:
        headers = {"Cookie": cookie, "Origin": origin, "Sec-Fetch-Site": site, "Content-Type": kind}
        for method in ("GET", "POST"):
            answer = await client.request(method, "/approvals", headers=headers | {"Content-Length": length})
            assert answer.status_code < 500
