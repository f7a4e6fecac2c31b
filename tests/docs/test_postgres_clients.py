"""docs/reference/postgres-clients.md says what the tests show, and nothing else."""

from __future__ import annotations

import ast

import pytest

from tests.docs.enforcement import ROOT
from tests.docs.postgres_clients import PAGE, page, rows


def test_the_page_is_what_the_rows_say():
    assert PAGE.read_text() == page(), "run python -m tests.docs.postgres_clients"


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['client']}: {row['what']}")
def test_each_row_names_a_test_that_exists(row):
    file, _, function = row["test"].partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert function in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert row["settings"] in {"strict", "wide"}
