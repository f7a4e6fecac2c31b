"""DataRow messages under plans: what is cleaned at once is what is cleaned one by one, and frames stay whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.policies.masking import DETECTORS, Rule
from onrecord.shims.postgres.masking.rows import Column, Plan
from onrecord.shims.postgres.masking.ruled import Ruled
from onrecord.shims.postgres.masking.types import Types
from onrecord.shims.postgres.masking.values import Detecting
from onrecord.shims.postgres.messages import decode_row
from onrecord.shims.postgres.wire import HEADER, WireError, message
from tests.shims.postgres.masking.conftest import KEY, masks_of

MASKS = masks_of(detect=dict.fromkeys(DETECTORS, "redact"))
TYPES = Types(None)
DETECTING = Detecting(TYPES, MASKS, MASKS.detectors)
RULED = Ruled(TYPES, MASKS, Rule(name="r", strategy="partial", key=KEY))

PIECES = [
    "", "a", "bob@example.com", "x@y", "4111 1111 1111 1111", "+49 151 23456789", "10.20.30.40", "-----BEGIN",
    " PRIVATE KEY-----", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijkl", "DE89370400440532013000", "é", "@",
    ".com", "4111", "11111111", "https://u:secret@h/", "\n", "-", "1111", "password=x1y2z3", "-----END", "https://",
    "u:", "/", " ", "AKIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefghijABCDEFGHIJ012345", "078-05-1120", "A", "12", "+",
    "%40", "2001:db8:", ":1", "::ffff:", "\\n", "MII", "token: ",
]  # fmt: skip
CELLS = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
ROWS = st.lists(st.lists(st.none() | CELLS, min_size=3, max_size=3), max_size=8)


def row(cells: list[str | None]) -> bytes:
    body = len(cells).to_bytes(2, "big")
    for cell in cells:
        data = cell.encode() if cell is not None else b""
        body += b"\xff\xff\xff\xff" if cell is None else len(data).to_bytes(4, "big") + data
    return message(b"D", body)


def cells_of(data: bytes) -> list[list[bytes | None]]:
    found, at = [], 0
    while at < len(data):
        end = at + 1 + HEADER.unpack_from(data, at)[1]
        found.append(decode_row(data, at, end))
        at = end
    return found


def plan(*kinds: int, ruled: int = -1) -> Plan:
    columns = [Column(TYPES.of(oid), False, RULED if i == ruled else DETECTING) for i, oid in enumerate(kinds)]
    return Plan(columns, MASKS.detectors, documents=False)


@settings(deadline=None, max_examples=150)
@given(rows=ROWS, ruled=st.integers(-1, 2))
def test_rows_at_once_are_as_each_value_alone(rows: list[list[str | None]], ruled: int) -> None:
    data = b"".join(map(row, rows))
    found: dict[str, int] = {}
    masked = plan(25, 1043, 25, ruled=ruled).mask(b"junk" + data, 4, 4 + len(data), found)
    for before, after in zip(rows, cells_of(masked), strict=True):
        for i, (cell, new) in enumerate(zip(before, after, strict=True)):
            if cell is None or not cell:
                assert new == (None if cell is None else b"")
            elif i == ruled:
                assert new == (RULED.mask(TYPES.of(25), False, cell.encode(), {}) or b"")
            else:
                assert new == DETECTING.clean(cell, {}).encode()


def test_rows_that_hold_nothing_pass_as_they_are() -> None:
    data = row(["a", None, "b"]) * 5
    assert plan(25, 25, 25).mask(data, 0, len(data), {}) == data


def test_a_value_that_is_not_utf8_does_not_hide_the_others() -> None:
    bad = message(b"D", b"\0\2" + (2).to_bytes(4, "big") + b"\xff\xfe" + (5).to_bytes(4, "big") + b"x@y.z")
    mail = row(["n", "bob@example.com"])
    masked = plan(25, 25).mask(bad + mail, 0, len(bad + mail), {})
    assert b"bob@" not in masked
    assert cells_of(masked)[1] == [b"n", b"[redacted]"]


@pytest.mark.parametrize(
    "data",
    [
        row(["bob@example.com"]),
        row(["bob@example.com", "b", "c", "d"]),
        message(b"D", b"\0\3" + (99).to_bytes(4, "big") + b"bob@example.com"),
        message(b"D", b"\0\3" + (15).to_bytes(4, "big") + b"bob@example.com"),
        message(b"D", b"\0\3" + b"\xff\xff\xff\xfe" + b"bob@example.com"),
        row(["bob@example.com", "b", "c"])[:-1] + b"",
    ],
)
def test_rows_that_are_not_what_was_announced_are_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        plan(25, 25, 25).mask(data, 0, len(data), {})


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_junk_raises_only_our_error(body: bytes) -> None:
    data = message(b"D", body)
    try:
        plan(25, 20, 3802, ruled=0).mask(data, 0, len(data), {})
    except WireError:
        return
