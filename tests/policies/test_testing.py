"""policies/testing.py"""

from __future__ import annotations

import pytest

from onrecord.policies import testing
from onrecord.policies.errors import PolicyError
from onrecord.policies.testing import answer, decide, http, session, sql
from onrecord.policies.verdict import Allow, Deny

NO_DROP = """
from onrecord.policies import Deny
class P:
    def sql(self, command):
        return Deny("no") if command.kind == "DROP" else None
    async def http(self, command):
        return Deny("no refunds") if command.path == "/refunds" and command.body == b'{"amount": 1}' else None
addons = [P()]
"""


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "no_drop.py"
    path.write_text(NO_DROP)
    return path


def test_decide_gives_the_final_verdict_and_answer_the_policys_own(policy):
    assert decide(policy, sql("DROP TABLE orders")) == Deny("no")
    assert isinstance(decide(policy, sql("SELECT 1")), Deny)
    assert isinstance(decide(policy, sql("SELECT 1", default="allow")), Allow)
    assert answer(policy, sql("SELECT 1")) is None
    assert answer(policy, sql("DROP TABLE orders")) == Deny("no")


def test_sql_is_analysed_as_the_gateway_does():
    command = sql("DELETE FROM shop.orders WHERE id = $1", parameters=["7"], resource="shop", groups=["dba"])
    assert (command.kind, command.action, command.has_where) == ("DELETE", "write", True)
    assert "orders" in command.tables_written
    assert command.parameters == ("7",)
    assert (command.resource.name, command.identity.groups) == ("shop", ("dba",))


def test_http_requests_are_taken_apart():
    command = http("post", "https://billing.internal:8443/a%20b?x=1&y=", headers={"X-A": "b"}, body={"amount": 1})
    assert (command.method, command.host, command.port, command.path) == ("POST", "billing.internal", 8443, "/a b")
    assert command.query == (("x", "1"), ("y", ""))
    assert command.headers == (("x-a", "b"), ("content-type", "application/json"))
    assert (command.action, command.body) == ("write", b'{"amount": 1}')
    assert http("GET", "http://h", body=None).port == 80
    assert http("POST", "https://h/graphql", action="read").action == "read"


def test_an_async_hook_is_asked_too(policy):
    assert decide(policy, http("POST", "https://h/refunds", body={"amount": 1}, default="allow")) == Deny("no refunds")


def test_a_session_can_be_given():
    within = session("orders", subject="devin", on_behalf_of="alice", kind="human")
    assert sql("SELECT 1", within=within).identity.on_behalf_of == "alice"


@pytest.mark.parametrize("text", ["SELECT 1; SELECT 2", "", "-- nothing"])
def test_a_command_is_one_statement(text):
    with pytest.raises(PolicyError, match="statements"):
        sql(text)


def test_a_url_must_be_one():
    with pytest.raises(PolicyError, match="not an http"):
        http("GET", "/path")


def test_a_policy_that_fails_is_an_error_of_the_test(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("class P:\n    def sql(self, c): raise ValueError\naddons = [P()]\n")
    with pytest.raises(PolicyError, match="policy bad failed"):
        answer(path, sql("SELECT 1"))
    with pytest.raises(PolicyError, match="cannot be read"):
        decide(tmp_path / "missing.py", sql("SELECT 1"))


def test_what_is_offered_is_there():
    assert all(callable(getattr(testing, name)) for name in testing.__all__)
