"""Each promise names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.findall(r"`(test_\w+)`", (ROOT / "docs/promises.md").read_text())


@pytest.fixture(scope="module")
def existing() -> set[str]:
    text = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    return set(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", NAMED)
def test_each_promise_names_tests_that_exist(name, existing):
    assert name in existing
