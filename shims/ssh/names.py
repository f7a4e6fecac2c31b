"""The login name: `RESOURCE` or `RESOURCE+USER`. Pure."""

from __future__ import annotations

from typing import NamedTuple

from onrecord.policies.config import SshResource
from onrecord.policies.config.values import BadValue, name

MAX = 96
CERTIFICATE = "+certificate"  # no resource is called so: the login that exchanges a token for a certificate


class Login(NamedTuple):
    """What a login name asks for; `user` is "" where it names none."""

    resource: str
    user: str


def parse_login(text: str) -> Login | None:
    """None where `text` is no login name of the gateway."""
    if len(text) > MAX:
        return None
    resource, plus, user = text.partition("+")
    try:
        name(resource, "resource")
    except BadValue:
        return None
    return None if plus and not user else Login(resource, user)


def upstream_user(login: Login, resource: SshResource) -> str | None:
    """Who logs in on the host, None where the resource does not list that user."""
    if not login.user or login.user == resource.user:
        return resource.user
    return login.user if login.user in resource.users else None
