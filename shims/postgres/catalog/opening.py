"""The catalogs of all resources that a process serves."""

from __future__ import annotations

from onrecord.policies.config import Config, PostgresResource
from onrecord.policies.errors import ConfigError, Problem
from onrecord.policies.secrets import Secrets
from onrecord.shims.postgres.catalog.connection import SideConnection
from onrecord.shims.postgres.catalog.counter import Counter
from onrecord.shims.postgres.catalog.decode import CatalogError
from onrecord.shims.postgres.catalog.source import CatalogSource


def open_catalogs(config: Config, secrets: Secrets) -> dict[str, CatalogSource]:
    """By resource; none for `catalog = "off"`. Nothing is read yet. Raises ConfigError."""
    found: dict[str, CatalogSource] = {}
    for name, resource in config.resources.items():
        if isinstance(resource, PostgresResource) and resource.catalog != "off":
            try:
                counter = Counter(config.gateway.state, name)
            except CatalogError as error:
                fix = "remove the file to have it made anew"
                raise ConfigError([Problem("gateway.state", str(error), fix)]) from None
            found[name] = CatalogSource(name, SideConnection(resource, secrets), counter)
    return found
