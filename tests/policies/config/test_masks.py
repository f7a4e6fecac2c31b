"""policies/config/masks.py: what a `[[masks]]` may say, and what is refused in it."""

from __future__ import annotations

import pytest

from tests.policies.config.loading import GATEWAY, HTTP, POSTGRES, UPSTREAM, load, one_problem

BOTH = GATEWAY + HTTP + POSTGRES + UPSTREAM


def test_a_mask_is_read_with_its_defaults(tmp_path):
    (mask,) = load(tmp_path, BOTH + '[[masks]]\ndetect = ["email", "email", "iban"]\ncolumns = ["a.b.c"]\n').masks
    assert (mask.detect, mask.columns, mask.strategy, mask.resources) == (("email", "iban"), ("a.b.c",), "redact", ())


@pytest.mark.parametrize(
    ("lines", "key", "reason"),
    [
        ('strategy = "null"', "masks[0]", "applies to nothing"),
        ("detect = []", "masks[0].detect", "masks nothing"),
        ('detect = ["e-mail"]', "masks[0].detect[0]", "no such detector: 'e-mail'"),
        ('detect = ["Email"]', "masks[0].detect[0]", "no such detector"),
        ('detect = "email"', "masks[0].detect", "expected a list"),
        ('detect = ["email"]\nstrategy = "hash"', "masks[0].strategy", "no such choice: 'hash'"),
        ('detect = ["email"]\ngroups = []', "masks[0].groups", "empty"),
        ('detect = ["email"]\nexcept_groups = [""]', "masks[0].except_groups", "an empty name"),
        ('detect = ["email"]\ngroup = ["agents"]', "masks[0].group", "unknown key (did you mean groups?)"),
        ('detect = ["email"]\ngroups = ["agent"]', "masks[0].groups", "no resource and no policy knows the group"),
        ('detect = ["email"]\nresources = ["order"]', "masks[0].resources", "no such resource: 'order'"),
        ('columns = ["a.b.c.d"]', "masks[0].columns[0]", "4 parts, and at most 3"),
        ('columns = ["a..c"]', "masks[0].columns[0]", "a part is empty"),
        ('columns = [""]', "masks[0].columns[0]", "a part is empty"),
        ('tables = ["a.b.c"]', "masks[0].tables[0]", "3 parts, and at most 2"),
        ('json_paths = ["$"]', "masks[0].json_paths[0]", "names the whole document"),
        ('json_paths = ["$.a[?(@.b)]"]', "masks[0].json_paths[0]", "not understood from character 4 on"),
        ('json_paths = ["a.b"]', "masks[0].json_paths[0]", "starts neither with $"),
        ('columns = ["email"]\nresources = ["billing"]', "masks[0].columns", "is no PostgreSQL database"),
        ('detect = ["ip"]\ngroups = ["agents"]\nexcept_groups = ["agents"]', "masks[0].except_groups", "in groups too"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_key(tmp_path, lines, key, reason):
    found = one_problem(tmp_path, BOTH + f"[[masks]]\n{lines}\n")
    assert found.startswith(f"{key}: ")
    assert reason in found


@pytest.mark.parametrize("lines", ['columns = ["email"]', 'tables = ["customers"]', 'types = ["citext"]'])
def test_rules_by_column_need_a_database_with_a_catalog(tmp_path, lines):
    assert "there is no PostgreSQL resource" in one_problem(tmp_path, GATEWAY + HTTP + f"[[masks]]\n{lines}\n")
    off = BOTH + f'catalog = "off"\n[[masks]]\n{lines}\n'
    assert 'resources.orders has catalog = "off"' in one_problem(tmp_path, off)
    load(tmp_path, off.replace(lines, 'detect = ["email"]'))


def test_an_excepted_group_may_be_one_that_nothing_else_names(tmp_path):
    load(tmp_path, BOTH + '[[masks]]\ndetect = ["email"]\nexcept_groups = ["dba"]\n')


def test_masks_that_are_no_list_of_tables_are_refused(tmp_path):
    assert "masks: not a list of tables" in one_problem(tmp_path, BOTH + '[masks]\ndetect = ["email"]\n')
