"""PostgreSQL's regression suite passes directly and through the gateway with everything allowed and nothing masked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onrecord.scripts.parts.postgres import PostgresPart
from tests.conformance.suite import TESTS, TIMEOUT, Result, Suite, gateway, server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * TIMEOUT)]


@pytest.fixture
def suite() -> Iterator[tuple[PostgresPart, Suite]]:
    with server() as postgres:
        made = Suite(postgres)
        try:
            yield postgres, made
        finally:
            made.remove()


def check(result: Result) -> None:
    assert not result.failed, f"{result.failed}\n{result.differences[:20_000]}"
    assert result.passed == TESTS, result.output[-5000:]


def test_the_suite_passes_directly(suite):
    postgres, made = suite
    check(made.run(port=postgres.port, user=postgres.superuser, password=postgres.password))


def test_the_suite_passes_through_the_gateway(suite, tmp_path):
    postgres, made = suite
    with gateway(tmp_path, postgres) as (running, token):
        check(made.run(port=running.setup.postgres_port, user=postgres.superuser, password=token))
