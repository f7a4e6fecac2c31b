"""Impersonate-*: the agent's own are taken away, the gateway's name the agent to the cluster. Pure."""

from __future__ import annotations

from onrecord.addons.http_head import HeadError
from onrecord.policies.config import KubernetesResource
from onrecord.policies.model import Session

_PREFIX = b"impersonate-"

Fields = list[tuple[bytes, bytes]]


def attempts(fields: Fields) -> tuple[str, ...]:
    """The Impersonate-* header fields that a request came with: `name: value`, for the record."""
    return tuple(
        f"{name.decode('latin-1')}: {value.decode('utf-8', 'replace')[:200]}"
        for name, value in fields
        if _is_impersonation(name)
    )


def stripped(fields: Fields) -> Fields:
    """The fields without any Impersonate-*."""
    return [(name, value) for name, value in fields if not _is_impersonation(name)]


def impersonation(config: KubernetesResource, session: Session) -> Fields:
    """The fields that make the API server take the request for the agent's. Raises HeadError for an impossible name.

    The extras (`onrecord-run`, `onrecord-session`, …) stand in the cluster's audit log beside the user.
    """
    if not config.impersonate:
        return []
    identity = session.identity
    fields = [(b"Impersonate-User", _value(config.impersonate_user.replace("{subject}", identity.subject)))]
    groups = [config.impersonate_groups.replace("{group}", group) for group in identity.groups]
    fields += [(b"Impersonate-Group", _value(group)) for group in groups]
    extras = {
        "Run": session.run.id,
        "Session": session.id,
        "Issuer": identity.issuer,
        "On-Behalf-Of": identity.on_behalf_of or "",
        "Agent": identity.agent or "",
    }
    fields += [(f"Impersonate-Extra-Onrecord-{name}".encode(), _value(text)) for name, text in extras.items() if text]
    return fields


def _is_impersonation(name: bytes) -> bool:
    return name.lower().replace(b"_", b"-").startswith(_PREFIX)


def _value(text: str) -> bytes:
    if not text.isprintable() or text != text.strip():
        raise HeadError(403, "the token's names cannot stand in a header, so the cluster cannot be told who asks")
    return text.encode()
