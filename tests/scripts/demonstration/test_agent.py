import pytest

from onrecord.scripts.demonstration.agent import Agent, find_curl, find_psql


def agent_of(shop, **more: str) -> Agent:
    psql, _ = find_psql(shop.server.bindir)
    variables = {"PGHOST": shop.server.host, "PGPORT": str(shop.server.port), "PGPASSWORD": shop.password}
    return Agent(variables | {"PGSSLMODE": "disable"} | more, psql, find_curl())


def test_a_psql_session_is_shown_as_its_terminal_shows_it(shop):
    shown = agent_of(shop).query("SELECT 41 + 1 AS answer;", "DROP TABLE orders;", database="shop", user=shop.user)
    assert shown.startswith("shop=> SELECT 41 + 1 AS answer;\n answer \n")
    assert "     42\n" in shown
    assert shown.endswith("ERROR:  must be owner of table orders")


def test_a_login_that_fails_is_shown(shop):
    shown = agent_of(shop, PGPASSWORD="wrong").query("SELECT 1;", database="shop", user=shop.user)
    assert "password authentication failed" in shown


@pytest.mark.parametrize("secret", ["SHOP_PASSWORD", "BILLING_AUTH"])
def test_the_agent_has_none_of_the_gateways_secrets(shop, monkeypatch, secret):
    monkeypatch.setenv(secret, "held by the gateway")
    assert "held by the gateway" not in agent_of(shop).run("env")
