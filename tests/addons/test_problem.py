"""What a refused HTTP client reads."""

from __future__ import annotations

import json

import pytest

from onrecord.addons.problem import CHALLENGE, problem, refusal_status


@pytest.mark.parametrize(
    ("policy", "status"),
    [("onrecord:store", 503), ("onrecord:control", 503), ("onrecord:identity", 403), ("my-policy", 403), ("", 403)],
)
def test_only_what_may_pass_later_is_503(policy: str, status: int) -> None:
    assert refusal_status(policy) == status


def test_a_refusal_says_which_policy_why_what_to_do_and_where_it_is_on_record() -> None:
    response = problem(403, policy="sales", reason="not yours", hint="ask sales", record="0123")
    told = json.loads(response.content or b"")
    assert told["detail"] == "sales: not yours (ask sales) [record 0123]"
    assert (told["policy"], told["reason"], told["hint"], told["record"]) == ("sales", "not yours", "ask sales", "0123")
    assert told["type"] == "urn:onrecord:refusal:sales"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["onrecord-record"] == "0123"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-length"] == str(len(response.content or b""))


def test_a_refusal_of_head_says_its_length_and_sends_no_body() -> None:
    response = problem(403, policy="sales", reason="no", head=True)
    assert response.content == b""
    assert int(response.headers["content-length"]) > 0


@pytest.mark.parametrize(("status", "challenged"), [(403, False), (407, True), (503, False)])
def test_only_a_missing_login_is_challenged(status: int, challenged: bool) -> None:
    fields = dict(problem(status, policy="onrecord:identity", reason="no").headers.fields)
    assert fields.get(b"proxy-authenticate") == (CHALLENGE if challenged else None)


def test_a_reason_cannot_write_header_fields_or_break_the_json() -> None:
    reason = 'x\r\nSet-Cookie: a=b\r\n\r\n"}'
    response = problem(403, policy="p", reason=reason)
    assert json.loads(response.content or b"")["reason"] == reason
    assert b"Set-Cookie" not in b"".join(name + value for name, value in response.headers.fields)
    assert response.data.reason == b"Refused by policy"
