"""Fixtures: the real parts, started once a test session and only where a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from onrecord.scripts.parts.https_api import HttpsApi
from onrecord.scripts.parts.postgres import PostgresPart


@dataclass(frozen=True, slots=True)
class Shop:
    """A running PostgreSQL with the demo's shop: `user` and `password` are the gateway's upstream login."""

    server: PostgresPart
    password: str
    user: str = "svc_agent"
    database: str = "shop"

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.user, self.password, self.database)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresPart]:
    """The embedded PostgreSQL 18 without TLS; make your own database or schema in it."""
    with PostgresPart() as server:
        yield server


@pytest.fixture(scope="session")
def shop(postgres: PostgresPart) -> Shop:
    """The embedded PostgreSQL with the shop, shared by all tests: leave its rows as they are."""
    return Shop(postgres, postgres.create_shop())


@pytest.fixture(scope="session")
def tls_postgres() -> Iterator[PostgresPart]:
    """Debian's PostgreSQL with TLS (the embedded one has none); missing, it is a failure and no skip."""
    with PostgresPart(tls=True) as server:
        yield server


@pytest.fixture(scope="session")
def tls_shop(tls_postgres: PostgresPart) -> Shop:
    """Debian's PostgreSQL with TLS and the shop."""
    return Shop(tls_postgres, tls_postgres.create_shop())


@pytest.fixture
def api() -> Iterator[HttpsApi]:
    """An HTTPS API named billing.internal; `api.requests` is what really reached it."""
    with HttpsApi("billing.internal") as server:
        yield server
