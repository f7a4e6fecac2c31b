"""recordings/admin/guard.py: what no page ever sees, and what every answer carries."""

from __future__ import annotations

import asyncio

import pytest

from onrecord.recordings.admin import guard
from tests.recordings.admin.office import ORIGIN, field_of, form_token

CROSS = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


async def test_every_answer_forbids_scripts_frames_and_caches(office):
    async with office.client() as client:
        for path in ("/", "/login", "/nothing", "/static/page.js", "/api/approvals"):
            headers = (await client.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "'unsafe-inline'" not in policy
            for directive in ("frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
                assert directive in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"
            assert path.startswith("/static/") or headers["cache-control"] == "no-store"
            assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:9999", "127.0.0.1", "localhost:8088", ""])
async def test_another_host_name_is_refused(office, host):
    """DNS rebinding: a name of the attacker's that leads to this listener."""
    async with office.client() as client:
        assert (await client.get("/login", headers={"Host": host})).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        CROSS,
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:9999", "Sec-Fetch-Site": "same-site"},
        {},
    ],
)
async def test_a_form_of_another_site_decides_nothing_even_with_the_right_token(office, headers):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        html = (await client.get(f"/approvals/{id}")).text
        fields = {"form_token": form_token(html), "seen": field_of(html, "seen"), "decision": "approve", "reason": ""}
        answer = await client.post(f"/approvals/{id}/decide", data=fields, headers=headers)
    assert answer.status_code == 403
    assert office.state_of(id) == "pending"
    assert any(record["kind"] == "REFUSAL" and "Origin" in record["reason"] for record in office.journal())


@pytest.mark.parametrize("token", ["", "0" * 64, "wrong", "é"])
async def test_a_form_without_its_sessions_token_decides_nothing(office, token):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        html = (await client.get(f"/approvals/{id}")).text
        fields = {"form_token": token, "seen": field_of(html, "seen"), "decision": "approve", "reason": ""}
        answer = await client.post(f"/approvals/{id}/decide", data=fields, headers={"Origin": ORIGIN})
    assert answer.status_code == 403 or (token == "é" and answer.status_code == 403)
    assert office.state_of(id) == "pending"
    assert any("CSRF" in record.get("reason", "") for record in office.journal())


async def test_the_token_of_another_session_does_not_count(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as dana, office.log_in("eve", "staff") as eve:
        html = (await dana.get(f"/approvals/{id}")).text
        theirs = form_token((await eve.get(f"/approvals/{id}")).text)
        fields = {"form_token": theirs, "seen": field_of(html, "seen"), "decision": "approve", "reason": ""}
        answer = await dana.post(f"/approvals/{id}/decide", data=fields, headers={"Origin": ORIGIN})
    assert answer.status_code == 403
    assert office.state_of(id) == "pending"


@pytest.mark.parametrize("destination", ["iframe", "frame", "embed", "object"])
async def test_no_page_is_put_into_a_frame(office, destination):
    async with office.log_in("dana", "dba") as client:
        headers = {"Sec-Fetch-Dest": destination, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
        assert (await client.get("/approvals", headers=headers)).status_code == 403


async def test_another_sites_script_reads_nothing_and_its_links_work(office):
    async with office.log_in("dana", "dba") as client:
        for mode in ("cors", "no-cors", "websocket"):
            headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
            assert (await client.get("/approvals", headers=headers)).status_code == 403
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await client.get("/approvals", headers=link)).status_code == 200


async def test_a_page_that_is_fetched_in_advance_counts_as_seen_by_nobody(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        for name in ("Sec-Purpose", "Purpose"):
            answer = await client.get(f"/approvals/{id}", headers={name: "prefetch;prerender"})
            assert answer.status_code == 403
    assert not any(record.get("what") == "approval" for record in office.journal())


async def test_an_address_forges_no_line_of_the_log(office, caplog):
    office.channel.silent = True
    async with office.log_in("dana", "dba") as client:
        assert (await client.get("/approvals/x%0A2026-11-29 forged%1b[31m")).status_code == 503
    assert "\n2026" not in caplog.text
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"])
async def test_other_methods_are_refused(office, method):
    async with office.client() as client:
        assert (await client.request(method, "/approvals")).status_code == 405


async def test_a_decision_is_never_a_get(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        assert (await client.get(f"/approvals/{id}/decide?decision=approve")).status_code in (404, 405)
    assert office.state_of(id) == "pending"


async def test_large_and_slow_bodies_and_long_addresses_are_cut_off(office, monkeypatch):
    async with office.log_in("dana", "dba") as client:
        headers = {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
        large = await client.post("/logout", content=b"a=" + b"x" * guard.MAX_BODY, headers=headers)
        assert large.status_code == 413

        async def chunks():
            for _ in range(20):
                yield b"x" * 8192

        assert (await client.post("/logout", content=chunks(), headers=headers)).status_code == 413
        assert (await client.get("/run?id=" + "x" * guard.MAX_TARGET)).status_code == 414
        zipped = await client.post("/logout", content=b"", headers=headers | {"Content-Encoding": "gzip"})
        assert zipped.status_code == 415
        monkeypatch.setattr(guard, "BODY_DEADLINE", 0.05)

        async def slow():
            yield b"a="
            await asyncio.sleep(5)
            yield b"b"

        assert (await client.post("/logout", content=slow(), headers=headers)).status_code == 408


async def test_the_api_takes_no_cookie_and_no_other_sites_request(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        path = f"/api/approvals/{id}/approve"
        with_cookie = await client.post(path, json={}, headers={"Origin": ORIGIN})
        assert with_cookie.status_code == 401
    token = office.token("dana", "dba")
    async with office.client() as client:
        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.post(path, json={}, headers=headers | CROSS)).status_code == 403
        assert office.state_of(id) == "pending"
        assert (await client.post(path, json={}, headers=headers)).status_code == 200
    assert office.state_of(id) == "granted"


async def test_a_form_field_twice_or_another_type_is_refused(office):
    async with office.log_in("dana", "dba") as client:
        token = form_token((await client.get("/approvals")).text)
        twice = f"form_token={token}&form_token={token}"
        headers = {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post("/logout", content=twice, headers=headers)).status_code == 400
        headers["Content-Type"] = "text/plain"
        assert (await client.post("/logout", content=f"form_token={token}", headers=headers)).status_code == 400
        assert (await client.get("/approvals")).status_code == 200
