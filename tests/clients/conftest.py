"""The two labs: PostgreSQL 18 in clear, and Debian's PostgreSQL with TLS on both sides of the gateway."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.scripts.parts.postgres import PostgresPart
from tests.clients.lab import ROOT, Lab, running_lab


@pytest.fixture(scope="session")
def lab(postgres: PostgresPart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """PostgreSQL 18 without TLS."""
    with running_lab(tmp_path_factory.mktemp("lab"), postgres) as made:
        yield made


@pytest.fixture(scope="session")
def tls_lab(tls_postgres: PostgresPart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Debian's PostgreSQL 15, TLS on both sides."""
    with running_lab(tmp_path_factory.mktemp("tls-lab"), tls_postgres) as made:
        yield made


@pytest.fixture(params=["18", "15+tls"])
def each_lab(request: pytest.FixtureRequest) -> Lab:
    """Both labs, one after the other."""
    made: Lab = request.getfixturevalue("lab" if request.param == "18" else "tls_lab")
    return made


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Where scripts/setup-clients put node-postgres."""
    done = subprocess.run([str(ROOT / "scripts/setup-clients")], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()) / "node_modules"
