"""People log in: the authorization code flow with PKCE against one issuer; an ID token → who it is, and since when.

Sources: OpenID Connect Core 1.0 §3.1, RFC 6749 §4.1, RFC 7636 (PKCE, S256 only), RFC 9207 (iss in the answer). Tokens
are checked by the same code as agents' tokens (policies/identity); none is kept.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from onrecord.policies.approvals import Approver
from onrecord.policies.config import IssuerConfig
from onrecord.policies.config.values import is_loopback
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.authenticator import approver_of
from onrecord.policies.identity.bindings import client_allowed, parse_networks
from onrecord.policies.identity.claims import check_claims
from onrecord.policies.identity.fetch import FetchError, check_url, fetch_metadata, post_form
from onrecord.policies.identity.jwks import check_algorithm, verify
from onrecord.policies.identity.keys import RemoteKeys
from onrecord.policies.identity.strict_json import JsonError, parse_object
from onrecord.policies.identity.tokens import parse_token, show
from onrecord.recordings.admin.sessions import PendingLogin

FRESH = 300.0
"""Seconds that a login may be old when it decides an approval (DESIGN, issue 6)."""

LOGIN_LIFETIME = 600.0
METADATA_AGE = 300.0


class OidcLogin:
    """One issuer's login. `redirect_uri` is registered there, exactly."""

    def __init__(
        self,
        config: IssuerConfig,
        redirect_uri: str,
        secret: str | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self._redirect_uri, self._secret, self._clock = redirect_uri, secret, clock
        self._networks = parse_networks(config.clients)
        self._keys = RemoteKeys(config.issuer, config.ca, config.jwks_stale)
        self._metadata: dict[str, Any] = {}
        self._read_at = float("-inf")

    async def begin(self, next: str, *, forced: bool) -> tuple[PendingLogin, Callable[[str], str]]:
        """A login to remember, and its address once it has a `state`. Raises IdentityError where the issuer is down.

        `forced` asks for the password (or whatever the issuer asks for) even where somebody is logged in there.
        """
        metadata = await self._discover()
        endpoint = self._endpoint(metadata, "authorization_endpoint")
        methods = metadata.get("code_challenge_methods_supported")
        if isinstance(methods, list) and "S256" not in methods:
            raise IdentityError(f"issuer {self.config.issuer!r} cannot do PKCE with S256")
        login = PendingLogin(
            issuer=self.config.issuer,
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            next=next,
            began=self._clock(),
            forced=forced,
        )

        def address(state: str) -> str:
            return str(
                prepare_grant_uri(  # type: ignore[no-untyped-call]
                    endpoint,
                    self.config.client_id,
                    "code",
                    redirect_uri=self._redirect_uri,
                    scope=" ".join(self.config.scopes),
                    state=state,
                    nonce=login.nonce,
                    code_challenge=create_s256_code_challenge(login.verifier),  # type: ignore[no-untyped-call]
                    code_challenge_method="S256",
                    response_mode="query",
                    max_age=str(int(FRESH)),
                    prompt="login" if forced else None,
                    acr_values=" ".join(self.config.acr) or None,
                )
            )

        return login, address

    async def finish(self, login: PendingLogin, answer: Mapping[str, str], *, client: str) -> Approver:
        """What the issuer's answer (the query of the redirect) proves. Raises IdentityError."""
        metadata = await self._discover()
        if self._clock() - login.began > LOGIN_LIFETIME or self._clock() < login.began:
            raise IdentityError("the login took too long", "this login took too long: begin again")
        issuer = answer.get("iss")
        if issuer is None and metadata.get("authorization_response_iss_parameter_supported") is True:
            raise IdentityError("the issuer's answer has no `iss`, and the issuer says that it sends it (RFC 9207)")
        if issuer is not None and issuer != self.config.issuer:
            raise IdentityError(f"the answer is from issuer {show(issuer, 200)}, not {self.config.issuer!r}")
        if "error" in answer:
            raise IdentityError(f"the issuer refused the login: {show(answer['error'])}", "the login was not completed")
        if not answer.get("code"):
            raise IdentityError("the issuer's answer has no code")
        return await self._exchange(metadata, login, answer["code"], client)

    async def _exchange(self, metadata: dict[str, Any], login: PendingLogin, code: str, client: str) -> Approver:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": login.verifier,
        }
        endpoint = self._endpoint(metadata, "token_endpoint")
        headers: dict[str, str] = {}
        if self._secret is None:
            form["client_id"] = self.config.client_id
        elif _asks_for_post(metadata):
            form |= {"client_id": self.config.client_id, "client_secret": self._secret}
        else:
            auth = ClientAuth(self.config.client_id, self._secret)  # type: ignore[no-untyped-call]
            _, prepared, _ = auth.prepare("POST", endpoint, {}, "")  # type: ignore[no-untyped-call]
            headers["Authorization"] = prepared["Authorization"]
        try:
            status, body = await asyncio.to_thread(post_form, endpoint, form, headers, self.config.ca)
            answer = parse_object(body)
        except (FetchError, JsonError) as error:
            raise IdentityError(f"the token endpoint: {error}") from error
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            said = show(answer.get("error", "without an ID token"))
            raise IdentityError(f"the token endpoint answered {status} {said}")
        return await self._check(token, login, client)

    async def _check(self, text: str, login: PendingLogin, client: str) -> Approver:
        """OpenID Connect Core §3.1.3.7, in its order."""
        token = parse_token(text)
        if not client_allowed(client, self._networks):
            raise IdentityError(f"client {show(client)} is in none of the issuer's networks (clients)")
        config = msgspec.structs.replace(self.config, audience=(self.config.client_id,), bind="none")
        check_algorithm(token, config.algorithms)
        if not verify(token, await self._keys.current(), config.algorithms):
            fresh = await self._keys.again()
            if fresh is None or not verify(token, fresh, config.algorithms):
                raise IdentityError(f"issuer {config.issuer!r} has no key {show(token.kid)}")
        now = self._clock()
        checked = check_claims(token.claims, config, now=now, signing_input=token.signing_input)
        audience, party = token.claims.get("aud"), token.claims.get("azp")
        if isinstance(audience, list) and len(audience) > 1 and party is None:
            raise IdentityError("the ID token is for several clients and does not say which asked for it (`azp`)")
        if party is not None and party != config.client_id:
            raise IdentityError(f"the ID token was asked for by {show(party)}, not by this client (`azp`)")
        nonce = token.claims.get("nonce")
        given = nonce.encode("utf-8", "replace") if isinstance(nonce, str) else b""
        if not hmac.compare_digest(given, login.nonce.encode()):
            raise IdentityError("the ID token answers another login (`nonce`)")
        if checked.identity.kind != "human":
            raise IdentityError("the ID token is an agent's", "agents cannot log in here")
        person = approver_of(checked, client=client, via="page")
        if person.auth_time > now + config.leeway:
            raise IdentityError(f"`auth_time` is {person.auth_time - now:.0f} s in the future: check the clocks")
        if login.forced and person.auth_time < login.began - config.leeway:
            raise IdentityError(
                "the issuer was asked to log the user in anew (prompt=login) and did not (`auth_time`)",
                "your login provider did not ask you to log in again",
            )
        return person

    async def _discover(self) -> dict[str, Any]:
        if time.monotonic() - self._read_at > METADATA_AGE:
            try:
                self._metadata = await asyncio.to_thread(fetch_metadata, self.config.issuer, self.config.ca)
                self._read_at = time.monotonic()
            except FetchError as error:
                if not self._metadata:
                    raise IdentityError(str(error), "the login provider cannot be reached") from error
        return self._metadata

    def _endpoint(self, metadata: dict[str, Any], name: str) -> str:
        address = metadata.get(name)
        if not isinstance(address, str):
            raise IdentityError(f"issuer {self.config.issuer!r}: its discovery document has no {name}")
        try:
            check_url(address, name, loopback=is_loopback(urlsplit(self.config.issuer).hostname or ""))
        except FetchError as error:
            raise IdentityError(str(error)) from error
        return address


def _asks_for_post(metadata: Mapping[str, Any]) -> bool:
    """Whether the token endpoint takes the client's secret in the form only (basic is the default: RFC 8414 §2)."""
    methods = metadata.get("token_endpoint_auth_methods_supported")
    return isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
