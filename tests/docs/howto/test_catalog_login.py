"""The SQL and the configuration of docs/howto/catalog-login.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from onrecord.policies.config import PostgresResource, load_config
from onrecord.policies.secrets import Secrets
from onrecord.scripts.checks.catalogs import try_catalog
from tests.conftest import Shop
from tests.shims.postgres.conftest import resource_of

PAGE = (Path(__file__).resolve().parents[3] / "docs/howto/catalog-login.md").read_text()


def sample(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_login_of_the_page_reads_the_catalog_and_has_no_rights(shop: Shop, tmp_path: Path):
    path = tmp_path / "mitm.toml"
    path.write_text('[gateway]\npostgres = "127.0.0.1:5433"\n' + sample("toml"))
    shown = load_config(path).resources["orders"]
    assert isinstance(shown, PostgresResource)
    shop.server.sql(sample("sql"))
    try:
        resource = resource_of(
            shop, catalog="auto", catalog_user=shown.catalog_user, catalog_password=shown.catalog_password
        )
        secrets = Secrets({"SHOP_PASSWORD": shop.password, "CATALOG_PASSWORD": "use-a-long-random-one"})
        (finding,) = try_catalog("resources.orders", resource, secrets)
        assert finding.status == "ok"
        assert "relations" in finding.text
    finally:
        shop.server.sql(f"REVOKE ALL ON DATABASE {shop.database} FROM onrecord_catalog; DROP ROLE onrecord_catalog")
