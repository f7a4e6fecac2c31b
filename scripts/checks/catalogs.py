"""Whether the catalog of a PostgreSQL resource can be read, and whether its login has more rights than it needs."""

from __future__ import annotations

from onrecord.policies.config import PostgresResource
from onrecord.policies.secrets import Secrets
from onrecord.scripts.checks.finding import Finding
from onrecord.shims.postgres.catalog.connection import SideConnection
from onrecord.shims.postgres.catalog.decode import CatalogError


def try_catalog(key: str, resource: PostgresResource, secrets: Secrets) -> list[Finding]:
    """Read it once as the gateway does."""
    if resource.catalog == "off":
        text = "the catalog is off: views and functions are taken as their names, whatever they read and do"
        return [Finding(f"{key}.catalog", "note", text, 'leave catalog out, or say catalog = "auto"')]
    own = bool(resource.catalog_user)
    where = f"{key}.catalog_user" if own else f"{key}.catalog"
    user = resource.catalog_user or resource.user
    connection = SideConnection(resource, secrets)
    try:
        catalog = connection.read()
        usable = connection.usable() if own else []
    except CatalogError as error:
        fix = "check catalog_user and catalog_password; until it can be read, most statements are unknown"
        return [Finding(where, "failed", f"the catalog cannot be read as {user}: {error}", fix)]
    finally:
        connection.close()
    findings = [
        Finding(f"{key}.catalog", "ok", f"the catalog can be read as {user}: {len(catalog.relations)} relations")
    ]
    if not own:
        text = f"no catalog_user: the catalog is read with the login of the sessions, {user}"
        findings.append(
            Finding(
                f"{key}.catalog_user", "note", text, "see docs/howto/catalog-login.md for a login with no table rights"
            )
        )
    if usable:
        shown = ", ".join(usable[:3]) + (" and more" if len(usable) > 3 else "")
        text = f"{user} has rights on {shown}: the catalog needs none"
        findings.append(Finding(where, "note", text, "take them away, or use a login of its own"))
    return findings
