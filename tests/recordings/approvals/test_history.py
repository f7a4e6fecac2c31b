"""What records say of an approval, whatever stands in them."""

from __future__ import annotations

import pytest

from onrecord.recordings.approvals.history import approval_part, approval_record
from onrecord.recordings.frames import HEADER, VERSION, Kind, new_id
from onrecord.recordings.views import read_leaf

ID = "01a2252b-fd7d-7f3a-8385-bddff4802273"


@pytest.mark.parametrize(
    "request_json", ["7", '"x"', "[1]", "null", '{"approvers":3,"command":[]}', '{"approvers":"x"}']
)
def test_a_request_that_is_none_stops_no_list(request_json: str) -> None:
    payload = f'{{"approval":"{ID}","event":"requested","request":{request_json}}}'
    leaf = read_leaf(HEADER.pack(VERSION, Kind.APPROVAL, 0, new_id(), bytes(16), bytes(16), 1) + payload.encode())
    assert approval_record(ID, [leaf])["text"] == ""
    assert approval_part(ID, [leaf])["approvers"] == []
