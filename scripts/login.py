"""`onrecord login`: a human logs in at the identity provider, in a browser; the ID token is kept for the next commands.

The authorization code flow with PKCE and a loopback address (RFC 8252), checked as the admin page checks its own.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlsplit

import typer

from onrecord.scripts.agent import ConfigOption

if TYPE_CHECKING:
    from onrecord.policies.config import Config, IssuerConfig

PATIENCE = 300.0
_HEAD = 16 * 1024
_PAGE = b"<!doctype html><title>onrecord</title><p>%s You can close this window."


def login(
    config: ConfigOption = Path("mitm.toml"),
    issuer: Annotated[str | None, typer.Option("--issuer", help="Which, where several log humans in.")] = None,
    port: Annotated[int, typer.Option("--port", help="Of the loopback address to come back to; 0: a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open a browser; else the address is only printed.")] = True,
) -> None:
    """Log in as a human, to decide held commands; the login is kept until it expires.

    Example: onrecord login
    """
    from onrecord.policies.config import load_config
    from onrecord.policies.errors import IdentityError
    from onrecord.scripts.human_token import keep_token

    loaded = load_config(config)
    chosen = _issuer(loaded, issuer)
    try:
        token, subject, expires = asyncio.run(_log_in(chosen, port, browser))
    except IdentityError as error:
        sys.stderr.write(f"onrecord: the login failed: {error.detail}\n")
        raise typer.Exit(1) from None
    except TimeoutError:
        sys.stderr.write(f"onrecord: nobody logged in within {PATIENCE:.0f} s\n")
        raise typer.Exit(1) from None
    path = keep_token(loaded.gateway.admin_url, token, expires)
    print(f"logged in as {subject}, until {time.strftime('%H:%M:%S', time.localtime(expires))} ({path})")


def register(app: typer.Typer) -> None:
    """Add `login`."""
    app.command()(login)


def _issuer(config: Config, wanted: str | None) -> IssuerConfig:
    from onrecord.policies.errors import ConfigError, Problem

    found = [one for one in config.issuers if one.client_id and wanted in (None, one.issuer)]
    if len(found) == 1:
        return found[0]
    where = f"{config.path.name}: issuers"
    if not found:
        fix = 'add client_id to an issuer of kind = "human", or use onrecord token --human with the dev issuer'
        raise ConfigError([Problem(where, "none with a client_id, so nobody can log in", fix)])
    names = ", ".join(one.issuer for one in found)
    raise ConfigError([Problem(where, f"several log humans in: {names}", "say which with --issuer")])


async def _log_in(issuer: IssuerConfig, port: int, browser: bool) -> tuple[str, str, float]:
    """The ID token, whose it is, and when it expires. Raises IdentityError or TimeoutError."""
    from onrecord.policies.identity.tokens import parse_token
    from onrecord.policies.secrets import Secrets
    from onrecord.recordings.admin.oidc import OidcLogin

    class Keeping(OidcLogin):
        """A login that remembers the token that it checked."""

        text = ""

        async def _check(self, text: str, login: object, client: str) -> object:  # type: ignore[override]
            person = await super()._check(text, login, client)  # type: ignore[arg-type]
            self.text = text
            return person

    answered: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    state = secrets.token_urlsafe(32)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                line = (await reader.readuntil(b"\r\n")).decode("latin-1").split(" ")
            target = urlsplit(line[1] if len(line) > 1 else "")
            query = dict(parse_qsl(target.query))
            mine = target.path == "/callback" and secrets.compare_digest(query.get("state", ""), state)
            page = _PAGE % (b"Back to the terminal." if mine else b"This is no answer to a login.")
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
            writer.write(head + page)
            await writer.drain()
            if mine and not answered.done():
                answered.set_result(query)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=_HEAD)
    async with server:
        redirect = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
        secret = Secrets().resolve(issuer.client_secret) if issuer.client_secret is not None else None
        flow = Keeping(issuer, redirect, secret)
        pending, address = await flow.begin("/", forced=True)
        where = address(state)
        print(f"log in here: {where}", flush=True)
        if browser:
            await asyncio.to_thread(webbrowser.open, where)
        async with asyncio.timeout(PATIENCE):
            query = await answered
        person = await flow.finish(pending, query, client="127.0.0.1")
    expires = parse_token(flow.text).claims.get("exp")
    return flow.text, person.subject, float(expires if isinstance(expires, int) else time.time())
