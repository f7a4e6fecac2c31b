"""The admin process's parts for its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.recordings.admin.office import Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """With roles for all: dba approves, staff views, security audits, sre operates."""
    roles = 'roles = { viewer = ["staff"], approver = ["dba"], auditor = ["security"], operator = ["sre"] }'
    found = Office(tmp_path, more=f"[admin]\n{roles}\n")
    yield found
    found.close()
