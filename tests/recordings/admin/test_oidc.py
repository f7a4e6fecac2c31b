"""recordings/admin/oidc.py: a login at a real OpenID provider, and answers that prove nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jws
from msgspec.structs import replace

from onrecord.policies.config import IssuerConfig
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.jwks import parse_jwks
from onrecord.recordings.admin.oidc import OidcLogin
from onrecord.recordings.admin.sessions import PendingLogin
from tests.policies.identity.provider import Provider, install, new_key
from tests.recordings.admin.office import ORIGIN, Office

CALLBACK = f"{ORIGIN}/login/callback"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "dana": {"groups": ["dba"], "acr": "urn:mfa", "email": "dana@example.com"},
    "paul": {"groups": ["dba"], "acr": "urn:password"},
    "olga": {"groups": ["dba"], "acr": "urn:mfa", "age": 250},
}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("provider")
    (folder / "node_modules").symlink_to(install(tmp_path_factory.mktemp("npm")) / "node_modules")
    found = Provider(folder)
    found.start(new_key(), accounts=ACCOUNTS, redirect_uris=[CALLBACK])
    yield found
    found.stop()


@pytest.fixture
async def office(provider: Provider, tmp_path: Path) -> AsyncIterator[Office]:
    found = Office(
        tmp_path,
        env={"PAGE_SECRET": "only-for-tests"},
        more=f"""
[[issuers]]
issuer = "{provider.issuer}"
audience = "onrecord"
kind = "human"
client_id = "onrecord-page"
client_secret = "env:PAGE_SECRET"
scopes = ["openid", "groups"]
acr = ["urn:mfa"]
[admin]
roles = {{ approver = ["dba"] }}
""",
    )
    yield found
    found.close()


class Browser:
    """Follows the login from the page to the provider and back."""

    def __init__(self, office: Office, provider: Provider) -> None:
        self.page = office.client()
        self.outside = httpx.AsyncClient(trust_env=False)
        self._issuer = provider.issuer

    async def start(self, **query: str) -> str:
        """The provider's address to which the page sends the browser."""
        answer = await self.page.get("/login/start", params={"issuer": self._issuer, "next": "/approvals"} | query)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def answer(self, address: str, name: str) -> str:
        """Log in at the provider as `name`; the address to which it sends the browser back."""
        answer = await self.outside.get(address)
        while True:
            if answer.status_code == 200:
                answer = await self.outside.post(str(answer.url), data={"name": name})
            assert answer.status_code in (302, 303), answer.text
            location = str(answer.url.join(answer.headers["location"]))
            if location.startswith(ORIGIN):
                return location
            answer = await self.outside.get(location)

    async def back(self, location: str) -> httpx.Response:
        """The redirect to the page, as a browser does it."""
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        return await self.page.get(location.removeprefix(ORIGIN), headers=headers)

    async def log_in(self, name: str, **query: str) -> httpx.Response:
        return await self.back(await self.answer(await self.start(**query), name))

    async def close(self) -> None:
        await self.page.aclose()
        await self.outside.aclose()


@pytest.fixture
async def browser(office: Office, provider: Provider) -> AsyncIterator[Browser]:
    found = Browser(office, provider)
    yield found
    await found.close()


async def test_a_person_logs_in_at_a_real_provider_and_approves(office, browser):
    id = office.hold()
    answer = await browser.log_in("dana", next=f"/approvals/{id}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/approvals/{id}")
    html = (await browser.page.get(f"/approvals/{id}")).text
    fields = dict(re.findall(r'name="(form_token|seen)" value="([0-9a-f]+)"', html))
    done = await browser.page.post(
        f"/approvals/{id}/decide", data=fields | {"decision": "approve", "reason": ""}, headers={"Origin": ORIGIN}
    )
    assert done.status_code == 303
    assert office.state_of(id) == "granted"
    by = office.recorded[-1].by
    assert (by.subject, by.groups, by.acr, by.names) == ("dana", ("dba",), "urn:mfa", ("dana@example.com",))
    assert time.time() - by.auth_time < 60


async def test_the_request_has_pkce_state_nonce_and_max_age(browser):
    query = {name: value[0] for name, value in parse_qs(urlsplit(await browser.start(again="1")).query).items()}
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43
    assert len(query["state"]) >= 43
    assert len(query["nonce"]) >= 43
    assert (query["max_age"], query["prompt"], query["response_type"]) == ("300", "login", "code")
    assert query["redirect_uri"] == CALLBACK
    assert query["acr_values"] == "urn:mfa"


async def test_a_login_of_another_level_sees_and_does_not_decide(office, browser):
    id = office.hold()
    await browser.log_in("paul")
    html = (await browser.page.get(f"/approvals/{id}")).text
    assert "urn:password" in html
    assert 'value="approve"' not in html


async def test_an_old_login_at_the_provider_is_asked_for_again(office, browser):
    id = office.hold()
    assert (await browser.log_in("olga")).status_code == 303
    clock = office.site.clock
    office.site.clock = lambda: clock() + 60
    html = (await browser.page.get(f"/approvals/{id}")).text
    assert 'id="stale"' in html
    link = re.findall(r'href="(/login/start[^"]*again=1[^"]*)"', html)[0]
    assert f"next=%2Fapprovals%2F{id}" in link


async def test_an_answer_counts_once_and_only_in_the_browser_that_began(office, provider, browser):
    location = await browser.answer(await browser.start(), "dana")
    thief = Browser(office, provider)
    await thief.start()
    assert (await thief.back(location)).status_code == 403
    await thief.close()
    assert (await browser.back(location)).status_code == 303
    assert (await browser.back(location)).status_code == 403


async def test_a_login_that_another_began_is_not_finished_here(office, provider, browser):
    """Login CSRF: an attacker's answer, opened in the victim's browser."""
    attacker = Browser(office, provider)
    location = await attacker.answer(await attacker.start(), "dana")
    await attacker.close()
    answer = await browser.back(location)
    assert answer.status_code == 403
    assert "form_token" in answer.text  # the login page, nobody logged in
    assert (await browser.page.get("/approvals")).status_code == 303


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda q: q | {"iss": "https://evil.example"}, "issuer"),
        (lambda q: {name: value for name, value in q.items() if name != "iss"}, "no `iss`"),
        (lambda q: q | {"code": "wrong"}, "token endpoint"),
        (lambda q: {name: value for name, value in q.items() if name != "code"}, "no code"),
        (lambda q: q | {"error": "access_denied"}, "refused"),
    ],
)
async def test_a_changed_answer_logs_nobody_in(office, browser, change, wrong):
    location = await browser.answer(await browser.start(), "dana")
    query = {name: value[0] for name, value in parse_qs(urlsplit(location).query).items()}
    answer = await browser.page.get("/login/callback", params=change(query))
    assert answer.status_code == 403
    assert (await browser.page.get("/approvals")).status_code == 303
    refusals = [record for record in office.journal() if record["kind"] == "REFUSAL"]
    assert wrong in refusals[-1]["detail"]
    assert query["code"] not in str(office.journal())


async def test_an_issuer_that_is_not_configured_is_no_login(office):
    async with office.client() as client:
        assert (await client.get("/login/start?issuer=https://evil.example")).status_code == 404


async def test_an_issuer_that_is_down_is_said_so(office, browser):
    login = next(iter(office.site.logins.values()))
    login.config = replace(login.config, issuer="http://127.0.0.1:1")
    answer = await browser.page.get("/login/start", params={"issuer": next(iter(office.site.logins))})
    assert answer.status_code == 403
    assert "cannot be reached" in answer.text


# -- ID tokens that prove nothing: signed by the right key, wrong in one claim

KEY = new_key()
NOW = 1_800_000_000
ISSUER = "https://idp.example.com"


class Keys:
    """The issuer's keys."""

    async def current(self) -> Any:
        return parse_jwks(json.dumps({"keys": [KEY.as_dict(private=False)]}).encode())

    async def again(self) -> None:
        return None


def claims(**changed: Any) -> dict[str, Any]:
    base = {
        "iss": ISSUER, "aud": "page", "sub": "dana", "iat": NOW, "exp": NOW + 600, "nonce": "n", "auth_time": NOW - 5,
    }  # fmt: skip
    return {name: value for name, value in (base | changed).items() if value is not None}


async def check(content: dict[str, Any], *, forced: bool = False, key: Any = KEY, clients: tuple[str, ...] = ()) -> Any:
    login = OidcLogin(
        IssuerConfig(issuer=ISSUER, audience=("onrecord",), kind="human", client_id="page", clients=clients),
        CALLBACK,
        None,
        clock=lambda: float(NOW),
    )
    login._keys = Keys()  # type: ignore[assignment]
    token = jws.serialize_compact({"alg": "ES256", "kid": KEY.kid}, json.dumps(content), key, algorithms=["ES256"])
    pending = PendingLogin(ISSUER, "n", "v", "/", NOW - 1.0, forced)
    return await login._check(token, pending, "127.0.0.1:1")


async def test_a_good_id_token_is_a_login():
    person = await check(claims(acr="urn:mfa", groups=["dba"]))
    assert (person.subject, person.auth_time, person.acr, person.kind) == ("dana", NOW - 5, "urn:mfa", "human")
    assert (await check(claims(auth_time=None))).auth_time == 0.0
    assert (await check(claims(aud=["page", "other"], azp="page"))).subject == "dana"


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"iss": "https://other.example.com"}, "iss"),
        ({"aud": "onrecord"}, "aud"),
        ({"aud": ["page", "other"]}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"nonce": "m"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": 5}, "nonce"),
        ({"exp": NOW - 60}, "expired"),
        ({"iat": NOW + 600, "exp": NOW + 700}, "future"),
        ({"auth_time": NOW + 600}, "auth_time"),
        ({"auth_time": "now"}, "auth_time"),
        ({"act": {"sub": "devin"}}, "agent"),
        ({"sub": None}, "sub"),
        ({"events": {}}, "events"),
    ],
)
async def test_an_id_token_that_is_wrong_in_one_claim_is_refused(changed, wrong):
    with pytest.raises(IdentityError) as caught:
        await check(claims(**changed))
    assert wrong in caught.value.detail


async def test_a_token_of_another_key_is_refused():
    with pytest.raises(IdentityError):
        await check(claims(), key=new_key())


async def test_a_login_from_another_network_is_refused():
    assert await check(claims(), clients=("127.0.0.0/8",))
    with pytest.raises(IdentityError):
        await check(claims(), clients=("10.0.0.0/8",))


async def test_a_forced_login_must_be_a_new_one():
    with pytest.raises(IdentityError, match="did not ask you"):
        await check(claims(auth_time=NOW - 100), forced=True)
    with pytest.raises(IdentityError, match="did not ask you"):
        await check(claims(auth_time=None), forced=True)
    assert await check(claims(auth_time=NOW), forced=True)
