import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from onrecord.scripts.parts.oidc import OidcIssuer


def ask(issuer: OidcIssuer, user: str, secret: str, grant: str = "client_credentials") -> httpx.Response:
    with httpx.Client(trust_env=False) as http:
        return http.post(f"{issuer.url}/token", data={"grant_type": grant}, auth=(user, secret))


def published(issuer: OidcIssuer) -> KeySet:
    with httpx.Client(trust_env=False) as http:
        discovery = http.get(f"{issuer.url}/.well-known/openid-configuration").json()
        assert discovery["issuer"] == issuer.url
        return KeySet.import_key_set(http.get(discovery["jwks_uri"]).json())


def test_client_credentials_give_a_token_that_the_published_keys_verify():
    with OidcIssuer() as issuer:
        devin = issuer.register("devin", groups=["agents"])
        answer = ask(issuer, devin.id, devin.secret).json()
        claims = jwt.decode(answer["access_token"], published(issuer), algorithms=["ES256"]).claims
        assert (claims["iss"], claims["sub"], claims["aud"]) == (issuer.url, "devin", "onrecord")
        assert claims["groups"] == ["agents"]


@pytest.mark.parametrize(("user", "secret"), [("devin", "wrong"), ("nobody", "x"), ("", "")])
def test_a_wrong_secret_gets_no_token(user, secret):
    with OidcIssuer() as issuer:
        issuer.register("devin")
        assert ask(issuer, user, secret).status_code == 401


def test_other_grants_are_refused():
    with OidcIssuer() as issuer:
        devin = issuer.register("devin")
        assert ask(issuer, devin.id, devin.secret, "password").json() == {"error": "unsupported_grant_type"}


def test_after_a_rotation_old_and_new_tokens_verify():
    with OidcIssuer() as issuer:
        old = issuer.token("devin")
        issuer.rotate()
        keys = published(issuer)
        for token in (old, issuer.token("devin")):
            assert jwt.decode(token, keys, algorithms=["ES256"]).claims["sub"] == "devin"


def test_a_secret_is_in_no_repr():
    client = OidcIssuer().register("devin")
    assert client.secret not in repr(client)
