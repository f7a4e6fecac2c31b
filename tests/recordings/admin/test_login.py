"""recordings/admin/login.py: cookies, pasted tokens, where a login leads."""

from __future__ import annotations

import pytest

from onrecord.recordings.admin.site import own_path
from tests.recordings.admin.office import ORIGIN, Office, form_token


async def paste(client, token, *, next="/approvals"):
    fields = {"form_token": form_token((await client.get("/login")).text), "token": token, "next": next}
    return await client.post("/login/token", data=fields, headers={"Origin": ORIGIN})


async def test_the_cookie_is_http_only_lax_and_new_after_the_login(office):
    async with office.client() as client:
        before = (await client.get("/login")).headers["set-cookie"]
        answer = await paste(client, office.token("dana", "dba"))
    after = answer.headers["set-cookie"]
    for cookie in (before, after):
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Path=/" in cookie
    assert before.partition(";")[0] != after.partition(";")[0]


async def test_behind_tls_the_cookie_has_the_host_prefix_and_is_secure(tmp_path):
    office = Office(tmp_path, gateway='admin_url = "https://approvals.example.com"')
    async with office.client() as client:
        answer = await client.get("/login", headers={"Host": "approvals.example.com"})
    assert answer.headers["set-cookie"].startswith("__Host-onrecord=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "Domain" not in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]
    office.close()


async def test_a_token_counts_once(office):
    token = office.token("dana", "dba")
    async with office.client() as client, office.client() as thief:
        assert (await paste(client, token)).status_code == 303
        again = await paste(thief, token)
    assert again.status_code == 403
    assert "used before" in again.text
    failed = [record for record in office.journal() if record["kind"] == "REFUSAL"]
    assert failed[0]["reason"] == "a login failed"
    assert token not in str(failed)


@pytest.mark.parametrize("pasted", ["", "junk", "a.b.c", "x" * 20000, "é"])
async def test_junk_is_no_token(office, pasted):
    async with office.client() as client:
        answer = await paste(client, pasted)
        assert answer.status_code == 403
        assert (await client.get("/approvals")).status_code == 303


async def test_a_fixed_session_is_worth_nothing_after_the_login(office):
    """Whoever planted a cookie in the browser does not share what becomes of it."""
    async with office.client() as victim, office.client() as attacker:
        await attacker.get("/login")
        victim.cookies = attacker.cookies
        await paste(victim, office.token("dana", "dba"))
        assert (await attacker.get("/approvals")).status_code == 303


async def test_a_logout_ends_the_session_everywhere_the_cookie_is(office):
    async with office.log_in("dana", "dba") as client, office.client() as copy:
        copy.cookies.update(client.cookies)
        token = form_token((await client.get("/approvals")).text)
        assert (await client.post("/logout", data={"form_token": token}, headers={"Origin": ORIGIN})).status_code == 200
        assert (await copy.get("/approvals")).status_code == 303
    assert [record["what"] for record in office.journal() if record["kind"] == "LOOK"] == ["login", "logout"]


async def test_whoever_is_not_logged_in_is_sent_to_the_login_and_then_back(office):
    async with office.client() as client:
        answer = await client.get("/run?id=a%26b")
        assert answer.headers["location"] == "/login?next=%2Frun%3Fid%3Da%2526b"
        page = await client.get(answer.headers["location"])
        assert 'value="/run?id=a%26b"' in page.text


@pytest.mark.parametrize(
    "bad",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a b",
        "/\x00",
        "/" + "x" * 600,
    ],
)
def test_a_login_leads_only_to_pages_of_this_site(bad):
    assert own_path(bad) == "/"
    assert own_path("/approvals/1?part=2") == "/approvals/1?part=2"


async def test_without_the_dev_issuer_no_token_is_taken(tmp_path):
    path = tmp_path / "real"
    path.mkdir()
    office = Office(path)
    office.site.authenticator = None
    async with office.client() as client:
        assert "textarea" not in (await client.get("/login")).text
        answer = await client.post("/login/token", data={"form_token": "x", "token": "y"}, headers={"Origin": ORIGIN})
        assert answer.status_code == 404
    office.close()
