"""addons/kubernetes_api/status.py: what kubectl and client libraries read of a refusal."""

import json

import pytest

from onrecord.addons.kubernetes_api.status import status
from onrecord.addons.problem import refusal_status


@pytest.mark.parametrize(
    ("policy", "code", "reason"),
    [
        ("no_secrets", 403, "Forbidden"),
        ("onrecord:quotas", 429, "TooManyRequests"),
        ("onrecord:store", 503, "ServiceUnavailable"),
    ],
)
def test_a_refusal_has_the_reason_that_belongs_to_its_code(policy: str, code: int, reason: str) -> None:
    assert refusal_status(policy) == code
    answer = status(code, policy=policy, reason="why", hint="what to do", record="the-record")
    body = json.loads(answer.content or b"")
    assert (answer.status_code, body["code"], body["reason"], body["kind"]) == (code, code, reason, "Status")
    assert body["message"] == f"{policy}: why (what to do) [record the-record]"
    assert {one["reason"]: one["message"] for one in body["details"]["causes"]} == {
        "Policy": policy,
        "Hint": "what to do",
        "Record": "the-record",
    }


def test_a_refused_head_has_no_body() -> None:
    assert status(403, policy="p", reason="r", head=True).content == b""
