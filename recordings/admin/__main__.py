"""`python -m onrecord.recordings.admin mitm.toml`: the admin process.

It serves people: pages, API, notifications. It holds its own secrets (clients' secrets of logins, keys of
notifications) and none else: no evidence key, no credential of a resource.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

import uvloop

from onrecord.policies.approvals import Approver
from onrecord.policies.config import Config, NotifyConfig, SecretRef, load_config
from onrecord.policies.config.issuers import DEV_ISSUER
from onrecord.policies.config.listeners import all_listeners
from onrecord.policies.config.values import BadValue, is_loopback
from onrecord.policies.errors import ConfigError, ControlError, OnrecordError, Problem
from onrecord.policies.identity import Authenticator
from onrecord.policies.redaction import RedactingFilter, Redactor
from onrecord.policies.secrets import Secrets
from onrecord.recordings.admin.api import OnLook, OnRefusal, admin_issuers, api_routes
from onrecord.recordings.admin.app import build_app
from onrecord.recordings.admin.archive import Archive
from onrecord.recordings.admin.feed import Feed
from onrecord.recordings.admin.login import redirect_uri
from onrecord.recordings.admin.looks import Looks
from onrecord.recordings.admin.notify.dispatch import Dispatcher, Sender, Target
from onrecord.recordings.admin.notify.others import Others
from onrecord.recordings.admin.notify.slack import Slack, SlackRequests
from onrecord.recordings.admin.notify.webhook import Webhook
from onrecord.recordings.admin.oidc import OidcLogin
from onrecord.recordings.admin.server import serve
from onrecord.recordings.admin.sessions import Sessions
from onrecord.recordings.admin.site import Site, identity_of
from onrecord.recordings.control.admin import AdminChannel
from onrecord.recordings.datapath import CONTROL_SOCKET, JOURNALS
from onrecord.recordings.process import harden, notify_ready

START = 30.0
SWEEP = 60.0


async def run(config: Config) -> None:
    """Serve until SIGTERM. Raises OnrecordError where it cannot begin."""
    harden()
    listener = config.gateway.admin
    if listener is None:
        raise ConfigError([Problem(f"{config.path.name}: gateway.admin", "there is no admin listener")])
    redactor, secrets = Redactor(), Secrets()
    secrets.on_new = redactor.add
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter(redactor))
    channel = AdminChannel(config.gateway.state / CONTROL_SOCKET)
    authenticator = Authenticator(admin_issuers(config), config.gateway.state)
    site = make_site(config, secrets, channel, authenticator)
    slack = SlackRequests(
        tuple(secrets.resolve(one.secret) for one in config.notify if one.type == "slack" and one.secret is not None)
    )
    api = api_routes(channel, authenticator, config, on_look=look_of(site), on_refusal=refusal_of(site))
    app = build_app(site, api=api, slack=slack)
    feed = Feed(channel, site.live, site.dispatcher, site.origin)
    tasks = [asyncio.ensure_future(work) for work in (channel.run(), feed.run(), _sweep(site.sessions))]
    try:
        try:
            async with asyncio.timeout(START):
                await channel.ready()
        except TimeoutError:
            raise ControlError(f"{config.gateway.state / CONTROL_SOCKET}: the recorder does not answer") from None
        tls = None if is_loopback(listener.host) else config.gateway.tls
        serving = asyncio.ensure_future(
            serve(app, listener, tls, most=config.admin.max_connections, ready=notify_ready)
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await site.dispatcher.close()
        site.looks.close()


def look_of(site: Site) -> OnLook:
    """Puts looks through the API on record."""

    def on_look(who: Approver, ids: list[str]) -> None:
        site.looks.listed(identity_of(who), who.client, ids)

    return on_look


def refusal_of(site: Site) -> OnRefusal:
    """Puts refused requests to the API on record."""

    def on_refusal(who: Approver | None, client: str, text: str, why: str) -> None:
        reason = "a request to the API was refused"
        site.looks.refuse(reason, client=client, text=text, detail=why, who=identity_of(who) if who else None)

    return on_refusal


def make_site(config: Config, secrets: Secrets, channel: AdminChannel, authenticator: Authenticator) -> Site:
    """The process's parts. Raises SecretError, StoreError, ConfigError."""
    gateway = config.gateway
    logins = {
        issuer.issuer: OidcLogin(
            issuer,
            redirect_uri(gateway.admin_url),
            None if issuer.client_secret is None else secrets.resolve(issuer.client_secret),
        )
        for issuer in config.issuers
        if issuer.client_id
    }
    dev = any(issuer.issuer == DEV_ISSUER for issuer in config.issuers)
    targets = [
        Target(one.name, one.events, make_sender(config, one, secrets, f"notify[{i}].url"))
        for i, one in enumerate(config.notify)
    ]
    return Site(
        config=config,
        sessions=Sessions(idle=config.admin.session_idle, lifetime=config.admin.session_lifetime),
        logins=logins,
        authenticator=authenticator if dev else None,
        archive=Archive(config.recordings.store, gateway.state),
        looks=Looks(gateway.state / JOURNALS, "admin", durability=config.recordings.durability),
        channel=channel,
        dispatcher=Dispatcher(targets, gateway.state / "admin" / "undelivered.json"),
    )


def make_sender(config: Config, target: NotifyConfig, secrets: Secrets, where: str) -> Sender:
    """How one `[[notify]]` sends. Raises SecretError, ConfigError."""
    from onrecord.policies.config.admin import notify_url

    own = tuple(all_listeners(config).values())
    url = secrets.resolve(target.url) if isinstance(target.url, SecretRef) else target.url
    if target.type == "apprise":
        return Others(url, where)
    try:
        notify_url(url, target.private)
    except BadValue:
        raise ConfigError([Problem(where, "not an https:// URL; it is not shown")]) from None
    if target.type == "slack":
        return Slack(url, private=target.private, ca=target.ca, own=own)
    assert target.secret is not None  # noqa: S101  # the configuration asks for it
    return Webhook(url, secrets.resolve(target.secret), private=target.private, ca=target.ca, own=own)


async def _sweep(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        sessions.sweep()


def main() -> int:
    """Exit status 2 where the configuration, a secret or the listener is wrong."""
    parser = argparse.ArgumentParser(prog="python -m onrecord.recordings.admin", description=__doc__)
    parser.add_argument("config", type=Path, help="mitm.toml")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, which may be secrets
    try:
        asyncio.run(run(load_config(given.config)), loop_factory=uvloop.new_event_loop)
    except (OnrecordError, TimeoutError) as error:
        sys.stderr.write(f"onrecord admin: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
