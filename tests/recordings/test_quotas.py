"""A quota refuses the identity that used it up, and no other."""

from __future__ import annotations

import psycopg
import pytest

from onrecord.policies.config.types import QuotasConfig
from onrecord.policies.model import Identity, Outcome
from onrecord.recordings.auditor import RefusedError
from onrecord.recordings.frames import Kind
from onrecord.recordings.quotas import Quotas
from tests.helpers import make_config, postgres_resource, running_gateway
from tests.recordings.test_auditor import DEVIN, Case

OTHER = Identity(issuer="https://idp", subject="codex")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def made(**limits: int) -> tuple[Quotas, Clock]:
    clock = Clock()
    return Quotas(QuotasConfig(**limits), clock), clock


def test_sessions_over_the_limit_are_refused_until_one_ends():
    quotas, _ = made(sessions=2)
    assert quotas.enter(DEVIN) is None
    assert quotas.enter(DEVIN) is None
    assert "2 sessions" in (quotas.enter(DEVIN) or "")
    assert quotas.enter(OTHER) is None
    quotas.leave(DEVIN)
    assert quotas.enter(DEVIN) is None


def test_commands_over_the_limit_are_refused_until_the_minute_gives_new_ones():
    quotas, clock = made(commands=60)
    assert [quotas.command(DEVIN) for _ in range(60)] == [None] * 60
    assert quotas.command(DEVIN) is not None
    assert quotas.command(OTHER) is None
    clock.now += 1
    assert quotas.command(DEVIN) is None
    assert quotas.command(DEVIN) is not None


def test_the_command_that_goes_over_the_bytes_ends_and_the_next_is_refused():
    quotas, clock = made(bytes=600)
    assert quotas.command(DEVIN) is None
    quotas.moved(DEVIN, 900)
    assert "bytes" in (quotas.command(DEVIN) or "")
    assert quotas.command(OTHER) is None
    clock.now += 31
    assert quotas.command(DEVIN) is None


def test_without_limits_nothing_is_remembered():
    quotas, _ = made(sessions=0)
    assert quotas.idle
    assert all(quotas.enter(DEVIN) is None for _ in range(1000))


def test_many_identities_take_bounded_memory():
    quotas, _ = made(commands=1)
    for number in range(30_000):
        quotas.command(Identity(issuer="https://idp", subject=str(number)))
    assert len(quotas._buckets) <= 10_000


@pytest.fixture
def case(tmp_path):
    one = Case(tmp_path)
    yield one
    one.journal.close()


def test_a_refused_session_and_a_refused_command_are_on_record(case):
    case.auditor._quotas = Quotas(QuotasConfig(sessions=1, commands=1))
    opened = case.open()
    with pytest.raises(RefusedError, match=r"onrecord:quotas"):
        case.open()
    assert case.submit(opened).allowed
    refused = case.submit(opened)
    assert not refused.allowed
    assert refused.ruling.policy == "onrecord:quotas"
    assert case.kinds().count(Kind.REFUSAL) == 1
    case.auditor.end_session(opened, "done")
    case.auditor.end_session(opened, "done")
    case.auditor.end_session(case.open(), "done")


def test_an_answer_counts_once_whether_it_came_in_chunks_or_not(case):
    case.auditor._quotas = quotas = Quotas(QuotasConfig(bytes=1000))
    opened = case.open()
    decision = case.submit(opened)
    case.auditor.chunk(decision, "to_client", 300)
    case.auditor.finish(decision, Outcome(status="ok", size=400))
    left = quotas._bucket((DEVIN.issuer, DEVIN.subject), "bytes", 1000).left
    assert left == pytest.approx(600, abs=50)


def test_psql_of_one_agent_is_refused_and_of_another_is_not(tmp_path, shop):
    setup = make_config(
        tmp_path,
        gateway={"http": None},
        resources={"orders": postgres_resource(shop.server, user="svc_agent", database="shop", default="allow")},
        policies=[],
        env={"SHOP_PASSWORD": shop.password},
        quotas={"sessions": 1, "commands": 5},
    )
    with running_gateway(setup) as gateway:

        def connect(subject: str) -> psycopg.Connection:
            return psycopg.connect(
                host="127.0.0.1", port=gateway.setup.postgres_port, dbname="orders", user=subject,
                password=setup.mint(subject), sslmode="disable", autocommit=True,
            )  # fmt: skip

        with connect("devin") as first:
            with pytest.raises(psycopg.OperationalError, match=r"quotas\.sessions"):
                connect("devin")
            for _ in range(5):
                first.execute("SELECT 1")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"quotas\.commands"):
                first.execute("SELECT 1")
            with connect("codex") as second:
                second.execute("SELECT 1")
