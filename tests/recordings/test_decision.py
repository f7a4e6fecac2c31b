"""What a refusal says to a client, and what a decision carries."""

from __future__ import annotations

import pytest

from onrecord.policies.verdict import Allow, Deny, Hold, Ruling
from onrecord.recordings.decision import RefusedError, explain

RECORD = "01a20539-5fab-772c-9167-2654fef2e84e"


@pytest.mark.parametrize(
    ("ruling", "text"),
    [
        (Ruling(Deny("no"), "p"), f"p: no [record {RECORD}]"),
        (Ruling(Deny("no", "do that"), "p"), f"p: no (do that) [record {RECORD}]"),
        (
            Ruling(Hold(approvers="dba", reason="big"), "p"),
            f"p: approval required by dba: big [record {RECORD}]",
        ),
        (Ruling(Allow(), "p"), f"p: refused [record {RECORD}]"),
    ],
)
def test_a_refusal_names_policy_reason_what_to_do_and_record(ruling, text):
    assert explain(ruling, RECORD) == text
    error = RefusedError(ruling, RECORD)
    assert str(error) == text
    assert error.record == RECORD
