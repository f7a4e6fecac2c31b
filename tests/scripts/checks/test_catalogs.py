"""onrecord check of the catalog's login, against a real PostgreSQL."""

from __future__ import annotations

from onrecord.policies.config import SecretRef
from onrecord.policies.secrets import Secrets
from onrecord.scripts.checks.catalogs import try_catalog
from tests.conftest import Shop
from tests.shims.postgres.conftest import resource_of


def test_without_a_login_of_its_own_it_says_whose_is_used(shop: Shop):
    ok, note = try_catalog("r", resource_of(shop, catalog="auto"), Secrets({"SHOP_PASSWORD": shop.password}))
    assert (ok.status, note.status) == ("ok", "note")
    assert shop.user in note.text


def test_rights_on_tables_are_pointed_out(shop: Shop):
    resource = resource_of(
        shop, catalog="auto", catalog_user=shop.user, catalog_password=SecretRef("env", "SHOP_PASSWORD")
    )
    ok, note = try_catalog("r", resource, Secrets({"SHOP_PASSWORD": shop.password}))
    assert (ok.status, note.status) == ("ok", "note")
    assert "public.customers" in note.text


def test_a_login_that_fails_is_told_with_the_servers_words(shop: Shop):
    resource = resource_of(
        shop, catalog="auto", catalog_user="nobody_such", catalog_password=SecretRef("env", "SHOP_PASSWORD")
    )
    (finding,) = try_catalog("r", resource, Secrets({"SHOP_PASSWORD": shop.password}))
    assert finding.status == "failed"
    assert "28P01" in finding.text
    assert shop.password not in finding.text


def test_a_catalog_that_is_off_is_pointed_out(shop: Shop):
    (finding,) = try_catalog("r", resource_of(shop, catalog="off"), Secrets({}))
    assert finding.status == "note"
