"""The database's catalog as a snapshot: read over a side connection, kept warm, shared by a resource's sessions."""

from onrecord.shims.postgres.catalog.opening import open_catalogs
from onrecord.shims.postgres.catalog.source import CatalogSource

__all__ = ["CatalogSource", "open_catalogs"]
