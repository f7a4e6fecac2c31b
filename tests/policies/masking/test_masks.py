"""policies/masking/masks.py: which masks hold for whom, and which of several."""

from __future__ import annotations

import pytest

from onrecord.policies.masking import MaskError, Masks, masks_for, no_masks
from tests.policies.config.loading import GATEWAY, HTTP, POSTGRES, UPSTREAM, load

KEY = b"k" * 32
BOTH = GATEWAY + HTTP + POSTGRES.replace('["agents"]', '["agents", "analysts"]') + UPSTREAM


def masks(tmp_path, text: str, resource: str = "orders", groups: tuple[str, ...] = ("agents",)) -> Masks | None:
    return masks_for(load(tmp_path, BOTH + text), resource, groups, key=KEY)


def some(tmp_path, text: str, **others) -> Masks:
    found = masks(tmp_path, text, **others)
    assert found is not None
    return found


def test_without_masks_there_are_none(tmp_path):
    assert masks(tmp_path, "") is None


def test_a_mask_holds_on_the_resources_it_names(tmp_path):
    text = '[[masks]]\ndetect = ["email"]\nresources = ["billing"]\n'
    assert masks(tmp_path, text) is None
    assert some(tmp_path, text, resource="billing").detectors is not None


def test_a_mask_holds_for_the_groups_it_names_and_not_for_the_excepted(tmp_path):
    text = '[[masks]]\ndetect = ["email"]\ngroups = ["analysts"]\nexcept_groups = ["dba"]\n'
    assert masks(tmp_path, text) is None
    assert masks(tmp_path, text, groups=("agents", "analysts")) is not None
    assert masks(tmp_path, text, groups=("agents", "analysts", "dba")) is None


def test_of_two_masks_on_one_column_the_strictest_holds_whatever_their_order(tmp_path):
    one = '[[masks]]\ncolumns = ["customers.email"]\nstrategy = "partial"\n'
    two = '[[masks]]\ntables = ["customers"]\nstrategy = "null"\n'
    for text in (one + two, two + one):
        rule = some(tmp_path, text).column("public", "customers", "email", "text")
        assert rule is not None
        assert (rule.strategy, rule.name) == ("null", "customers")


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("public.customers.email", True), ("customers.email", True), ("email", True), ("*.*.email", True),
        ("pub*.cust*.e*l", True), ("PUBLIC.Customers.EMAIL", True), ('"public"."customers"."email"', True),
        ("sales.customers.email", False), ("orders.email", False), ("mail", False), ("*.phone", False),
    ],
)  # fmt: skip
def test_a_column_pattern_names_from_the_right(tmp_path, pattern, fits):
    found = some(tmp_path, f"[[masks]]\ncolumns = ['{pattern}']\n")
    assert found.by_column
    assert (found.column("public", "customers", "email", "text") is not None) is fits
    assert found.may_hit(["x.y.z", "public.customers.email"]) is fits


def test_a_name_that_is_not_known_fits_every_rule(tmp_path):
    found = some(tmp_path, '[[masks]]\ncolumns = ["public.customers.email"]\n')
    assert found.column("", "", "email", "")
    assert found.column("public", "customers", "", "")
    assert not found.column("", "", "phone", "")


def test_whole_rows_may_hold_a_masked_column(tmp_path):
    found = some(tmp_path, '[[masks]]\ncolumns = ["public.customers.email"]\n')
    assert found.may_hit(["public.customers.*"])
    assert not found.may_hit(["public.orders.*"])
    assert not found.may_hit([])


@pytest.mark.parametrize(
    ("rule", "type_name", "fits"),
    [
        ("citext", "public.citext", True), ("citext", "citext[]", True), ("citext", "_citext", True),
        ("integer", "pg_catalog.int4", True), ("character varying", "varchar(20)", True),
        ("app.email", "app.email", True),
        ("app.email", "public.email", False), ("email", "", True), ("text", "varchar", False),
    ],
)  # fmt: skip
def test_a_type_rule_knows_the_names_of_a_type(tmp_path, rule, type_name, fits):
    found = some(tmp_path, f'[[masks]]\ntypes = ["{rule}"]\n')
    assert (found.column("public", "t", "c", type_name) is not None) is fits
    assert found.may_hit(["public.t.c"])


def test_detectors_can_be_added_for_one_command(tmp_path):
    found = some(tmp_path, '[[masks]]\ncolumns = ["email"]\n')
    assert found.detectors is None
    wider = found.with_detectors(["iban"])
    assert wider.detectors is not None
    assert wider.detectors.names == ("iban",)
    assert wider.column("a", "b", "email", "text")
    assert found.with_detectors(["iban"]) is wider
    assert no_masks(KEY).with_detectors(["ip"]).detectors is not None
    with pytest.raises(MaskError, match="no such detector"):
        found.with_detectors(["e-mail"])
