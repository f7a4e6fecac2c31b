"""`[admin]`, `[[notify]]`, `gateway.admin_url`, and how people log in: tables → frozen types, and their checks."""

from __future__ import annotations

import typing
from typing import Any

from onrecord.policies.config.issuers import DEV_ISSUER
from onrecord.policies.config.reading import Reader
from onrecord.policies.config.tables import AdminTable, GatewayTable, IssuerTable, NotifyTable
from onrecord.policies.config.types import Address, AdminConfig, AdminRole, Config, NotifyConfig, SecretRef
from onrecord.policies.config.values import BadValue, duration, is_loopback, is_reference, name, reference, shown, url

ROLES: tuple[AdminRole, ...] = typing.get_args(AdminRole)
LONGEST_SESSION = 86400.0


def admin_url(table: GatewayTable, listener: Address | None, reader: Reader) -> str:
    """The origin of the admin page, as browsers write it in the Origin header."""
    if table.admin_url is None:
        if listener is None:
            return ""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)  # noqa: S104  # read, not bound
        scheme = "http" if is_loopback(listener.host) else "https"
        return _origin(scheme, host, listener.port)
    return reader.value("gateway.admin_url", "", _admin_origin, table.admin_url)


def _admin_origin(text: str) -> str:
    target = url(text, ("https", "http"), "https://approvals.example.com")
    if target.user or target.path not in ("", "/") or target.query:
        raise BadValue(f"more than scheme, host and port: {shown(text)}", 'write "https://approvals.example.com"')
    if target.scheme == "http" and not is_loopback(target.host):
        raise BadValue(f"logins over plain http can be stolen: {shown(text)}", "use https://")
    return _origin(target.scheme, target.host, target.port)


def _origin(scheme: str, host: str, port: int) -> str:
    usual = {"http": 80, "https": 443}[scheme]
    shown_host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown_host}" + (f":{port}" if port not in (0, usual) else "")


def read_admin(data: dict[str, Any], reader: Reader) -> AdminConfig:
    """`[admin]`."""
    table = reader.table(data, AdminTable, "admin")
    roles: dict[AdminRole, tuple[str, ...]] = {}
    for role, groups in table.roles.items():
        if role not in ROLES:
            reader.problem(f"admin.roles.{role}", f"no such role: {shown(role)}", "there are: " + ", ".join(ROLES))
            continue
        if not groups or not all(groups):
            reader.problem(f"admin.roles.{role}", "empty", f"leave {role} out, or name groups")
        roles[role] = tuple(dict.fromkeys(groups))
    times = {key: reader.value(f"admin.{key}", 1.0, duration, getattr(table, key)) for key in _TIMES}
    for key, seconds in times.items():
        if not 1 <= seconds <= LONGEST_SESSION:
            reader.problem(f"admin.{key}", f"{seconds:g} s: not between a second and a day")
    return AdminConfig(roles=roles, max_connections=table.max_connections, **times)


_TIMES = ("session_idle", "session_lifetime")


def read_login(table: IssuerTable, key: str, reader: Reader) -> dict[str, Any]:
    """What an issuer's people log in with."""
    secret: SecretRef | None = None
    if table.client_secret is not None:
        secret = reader.value(
            f"{key}.client_secret", None, reference, table.client_secret, f"{reader.name}: {key}.client_secret",
            reader.folder,
        )  # fmt: skip
        if table.client_id is None:
            reader.problem(f"{key}.client_id", "missing beside client_secret", "name the client that it belongs to")
    if table.client_id == "":
        reader.problem(f"{key}.client_id", "empty", "leave it out where nobody logs in at the admin page")
    if table.client_id is not None and table.kind != "human":
        reader.problem(f"{key}.client_id", "people log in here, and the issuer's tokens are agents'", 'kind = "human"')
    if table.client_id is not None and table.issuer == DEV_ISSUER:
        reader.problem(f"{key}.client_id", f"{DEV_ISSUER} has no clients", "take it out; the page asks for a token")
    if "openid" not in table.scopes or not all(scope and " " not in scope for scope in table.scopes):
        reader.problem(f"{key}.scopes", "not a list of scopes with openid in it", 'scopes = ["openid", "groups"]')
    if table.acr is not None and not (table.acr and all(table.acr)):
        reader.problem(f"{key}.acr", "empty: no login could decide", "leave it out to accept any")
    return {
        "client_id": table.client_id or "",
        "client_secret": secret,
        "scopes": tuple(dict.fromkeys(table.scopes)),
        "acr": tuple(dict.fromkeys(table.acr or ())),
    }


def read_notify(data: dict[str, Any], key: str, reader: Reader) -> NotifyConfig:
    """One `[[notify]]`."""
    table = reader.table(data, NotifyTable, key)
    label = reader.value(f"{key}.name", "", name, table.name, "notification") if table.name is not None else table.type
    target: str | SecretRef = ""
    if is_reference(table.url):
        target = reader.value(f"{key}.url", target, reference, table.url, f"{reader.name}: {key}.url", reader.folder)
    elif table.type != "webhook":
        reader.problem(
            f"{key}.url",
            f"the address of {table.type} is itself a secret; it is not shown",
            'give it as "env:NAME" or "file:PATH"',
        )
    elif table.url:
        target = reader.value(f"{key}.url", "", notify_url, table.url, table.private)
    elif "url" in data:
        reader.problem(f"{key}.url", "empty", "give the address that is called")
    secret: SecretRef | None = None
    if table.secret is not None:
        where = f"{reader.name}: {key}.secret"
        secret = reader.value(f"{key}.secret", None, reference, table.secret, where, reader.folder)
    elif table.type == "webhook":
        reader.problem(f"{key}.secret", "missing: the receiver could not tell who sends", 'give it as "env:NAME"')
    if table.type == "apprise" and table.secret is not None:
        reader.problem(f"{key}.secret", "apprise signs nothing", "take it out")
    if table.events == []:
        reader.problem(f"{key}.events", "empty: nothing would be sent", "leave it out to send what waits")
    return NotifyConfig(
        name=label,
        type=table.type,
        url=target,
        secret=secret,
        events=tuple(dict.fromkeys(table.events or ("pending",))),
        private=table.private,
        ca=reader.certificate(f"{key}.ca", table.ca),
    )


def notify_url(text: str, private: bool) -> str:
    """An address that notifications may be sent to: https, or http to this machine where `private` says so."""
    target = url(text, ("https", "http"), "https://hooks.example.com/onrecord")
    if target.user:
        raise BadValue("a user in the URL", "the body is signed; take the user out")
    if target.scheme == "http" and not (private and is_loopback(target.host)):
        raise BadValue(f"plain http: {shown(text)}", "use https:// (http only to this machine, with private = true)")
    return text


def check_admin(config: Config, reader: Reader) -> None:
    """Note what the admin page lacks, and names used twice."""
    gateway = config.gateway
    if gateway.admin is None and gateway.admin_url and not reader.is_bad("gateway.admin"):
        reader.problem("gateway.admin_url", "there is no admin listener", 'set admin = "127.0.0.1:8088"')
    seen: set[str] = set()
    for i, target in enumerate(config.notify):
        if target.name in seen:
            reader.problem(f"notify[{i}].name", f"used twice: {shown(target.name)}", 'set name = "…"')
        seen.add(target.name)
    if config.notify and gateway.admin is None:
        reader.problem("notify", "the admin process sends notifications, and it has no listener", "set gateway.admin")
