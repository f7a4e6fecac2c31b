"""docs/enforcement.md says what the tests show, and nothing else."""

from __future__ import annotations

import ast

import pytest

from tests.docs.enforcement import ROOT, SOURCES, page, rows

EFFECTS = {"decided", "recorded", "masked", "held", "refused", "opaque"}
ROWS = [row for source in SOURCES.values() for row in rows(source) if row.effects]


def test_the_page_is_what_the_rows_say():
    assert (ROOT / "docs/enforcement.md").read_text() == page(), "run python -m tests.docs.enforcement"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.operation)
def test_each_row_names_a_test_that_exists(row):
    file, _, function = row.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert function.split("[")[0].split("::")[-1] in names
    assert set(row.effects) <= EFFECTS
