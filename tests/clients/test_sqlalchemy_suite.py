"""SQLAlchemy's own dialect suite (sqlalchemy.testing.suite): through the gateway each test ends as it does directly."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from onrecord.scripts.parts.postgres import PostgresPart, debian_bindir
from tests.clients.lab import LOGIN, PASSWORD, WIDE, running_lab

FILES = {
    "conftest.py": "import pytest\n"
    "pytest.register_assert_rewrite('sqlalchemy.testing.assertions')\n"
    "from sqlalchemy.testing.plugin.pytestplugin import *\n",
    "test_suite.py": "from sqlalchemy.testing.suite import *\n",
    "setup.cfg": "[sqla_testing]\nrequirement_cls=sqlalchemy.testing.requirements:SuiteRequirements\n"
    "profile_file=profiles.txt\n[db]\ndefault=sqlite://\n",
}


def run(folder: Path, name: str, url: str) -> dict[str, str]:
    """Each test's name and how it ended: "passed", "skipped", "failure" or "error"."""
    place = folder / name
    place.mkdir()
    for file, text in FILES.items():
        (place / file).write_text(text)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--dburi", url, "--junitxml=result.xml"]
    argv += ["--timeout=0", "--maxfail=100000", "-o", "addopts=", "-o", "filterwarnings="]
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, timeout=900)
    assert (place / "result.xml").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    ended = {}
    for case in ET.parse(place / "result.xml").iter("testcase"):  # noqa: S314  # our own file
        key = f"{case.get('classname')}::{case.get('name')}"
        ended[key] = next((child.tag for child in case if child.tag in ("skipped", "failure", "error")), "passed")
    return ended


@pytest.mark.timeout(1800)
def test_the_dialect_suite_ends_through_the_gateway_as_it_does_directly(tmp_path):
    with PostgresPart(bindir=debian_bindir()) as server, running_lab(tmp_path, server) as lab:
        for schema in ("test_schema", "test_schema_2"):
            server.sql(f"CREATE SCHEMA {schema} AUTHORIZATION {LOGIN}", database=LOGIN)
        directly = f"postgresql+psycopg://{LOGIN}:{PASSWORD}@127.0.0.1:{server.port}/{LOGIN}"
        direct = run(tmp_path, "direct", directly)
        through = run(tmp_path, "through", lab.url("postgresql+psycopg", WIDE) + "?sslmode=disable")
    assert Counter(direct.values())["passed"] > 800
    assert {name: (end, direct[name]) for name, end in through.items() if end != direct[name]} == {}
    assert through.keys() == direct.keys()
