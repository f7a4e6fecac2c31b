import pytest

from onrecord.policies.config import HttpResource, PostgresResource, load_config
from tests.helpers import http_resource, make_config, postgres_resource, wait_until, write_toml


def test_a_written_configuration_loads(tmp_path, tls_shop, api):
    resources = {"orders": postgres_resource(tls_shop.server, user=tls_shop.user), "billing": http_resource(api)}
    setup = make_config(tmp_path, resources=resources, env={"SHOP_PASSWORD": tls_shop.password})
    config = load_config(setup.path)
    orders, billing = config.resources["orders"], config.resources["billing"]
    assert isinstance(orders, PostgresResource)
    assert (orders.port, orders.sslmode) == (tls_shop.server.port, "verify-full")
    assert isinstance(billing, HttpResource)
    assert (billing.hosts, billing.upstream_port) == (("billing.internal",), api.port)
    assert config.gateway.state == setup.state


def test_waiting_ends_with_the_answer_or_a_timeout():
    answers = iter([0, 0, 7])
    assert wait_until(lambda: next(answers)) == 7
    with pytest.raises(TimeoutError, match="the moon"):
        wait_until(lambda: False, timeout=0.01, what="the moon")


def test_a_token_is_minted_by_the_dev_issuer(tmp_path):
    assert make_config(tmp_path).mint("devin").count(".") == 2
    assert write_toml({}) == "\n"
