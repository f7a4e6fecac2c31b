"""A small OIDC issuer on 127.0.0.1, over plain HTTP. FOR THE DEMO AND TESTS ONLY: it gives a token to anyone who
knows a client's secret, keeps its key in memory and has no rate limit, no user and no login page.

    GET  /.well-known/openid-configuration    discovery (OpenID Connect Discovery 1.0)
    GET  /jwks                                 the public keys, also retired ones
    POST /token                                grant_type=client_credentials → JWT access token (RFC 9068)
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus

from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc import jwt
from joserfc.jwk import ECKey

ALGORITHM = "ES256"
MAX_BODY = 16 * 1024


@dataclass(frozen=True, slots=True)
class Client:
    """Who may ask for a token: `claims` are added to it (groups, act, run_id, …)."""

    id: str
    secret: str = field(repr=False)
    subject: str
    claims: dict[str, Any] = field(default_factory=dict)


class OidcIssuer:
    """`with OidcIssuer() as issuer:` an issuer at `issuer.url`; `down()` and `up()` make it unreachable and back."""

    host = "127.0.0.1"

    def __init__(self, *, audience: str = "onrecord", ttl: int = 3600) -> None:
        self.audience = audience
        self.ttl = ttl
        self.clients: dict[str, Client] = {}
        self.keys: list[ECKey] = [_new_key()]
        self.hits: dict[str, int] = {}
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The `iss` of its tokens."""
        return f"http://{self.host}:{self._port}"

    def register(self, client_id: str, *, subject: str = "", **claims: Any) -> Client:
        """A client with a fresh secret."""
        client = Client(client_id, secrets.token_urlsafe(24), subject or client_id, claims)
        self.clients[client_id] = client
        return client

    def rotate(self) -> None:
        """Sign with a new key; the old ones stay in the JWKS."""
        self.keys.insert(0, _new_key())

    def token(
        self, subject: str, *, key: ECKey | None = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A signed token; `claims` replace the usual ones, and None removes one. For tests of bad tokens too."""
        signer = key or self.keys[0]
        now = int(time.time())
        content: dict[str, Any] = {
            "iss": self.url,
            "sub": subject,
            "aud": self.audience,
            "iat": now,
            "nbf": now,
            "exp": now + self.ttl,
            "jti": secrets.token_hex(12),
            "client_id": subject,
        }
        content |= claims
        content = {name: value for name, value in content.items() if value is not None}
        protected = {"alg": ALGORITHM, "typ": "at+jwt", "kid": signer.kid, **(header or {})}
        return jwt.encode(protected, content, signer, algorithms=[ALGORITHM])

    def up(self) -> Self:
        """Listen, on the same port as before."""
        issuer: OidcIssuer = self

        class Handler(_Handler):
            part = issuer

        self._server = ThreadingHTTPServer((self.host, self._port), Handler)
        self._port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="onrecord-oidc", daemon=True
        )
        self._thread.start()
        return self

    def down(self) -> None:
        """Stop listening; keys and clients stay."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.down()

    # ------------------------------------------------------------------ answers

    def metadata(self) -> dict[str, Any]:
        """The discovery document, checked by authlib."""
        document: Any = OpenIDProviderMetadata(  # untyped
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                "response_types_supported": ["token"],
                "grant_types_supported": ["client_credentials"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM, "RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            }
        )
        document.validate_id_token_signing_alg_values_supported()
        return dict(document)

    def jwks(self) -> dict[str, Any]:
        """The public keys."""
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def grant(self, authorization: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer a token request (RFC 6749 §4.4): status and JSON."""
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        client_id, secret = _credentials(authorization, form)
        client = self.clients.get(client_id)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            return 401, {"error": "invalid_client"}
        token = self.token(client.subject, client_id=client.id, **client.claims)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.ttl}


class _Handler(BaseHTTPRequestHandler):
    part: OidcIssuer
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        self.part.hits[self.path] = self.part.hits.get(self.path, 0) + 1
        match self.path:
            case "/.well-known/openid-configuration":
                self._answer(200, self.part.metadata())
            case "/jwks":
                self._answer(200, self.part.jwks())
            case _:
                self._answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        if self.path != "/token" or size > MAX_BODY:
            self.close_connection = True
            self._answer(404, {"error": "not_found"})
            return
        form = {name: values[-1] for name, values in parse_qs(self.rfile.read(size).decode()).items()}
        self._answer(*self.part.grant(self.headers.get("authorization", ""), form))

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the demo has its own output."""

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def _credentials(authorization: str, form: dict[str, str]) -> tuple[str, str]:
    """The client's id and secret from HTTP Basic (RFC 6749 §2.3.1) or the form."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return "", ""
        return unquote_plus(user), unquote_plus(password)
    return form.get("client_id", ""), form.get("client_secret", "")


def _new_key() -> ECKey:
    return ECKey.generate_key("P-256", auto_kid=True)
