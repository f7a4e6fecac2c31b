"""Values as people read them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres.parameters import parameter_texts, value_text


@given(st.binary(max_size=40), st.sampled_from([16, 17, 20, 700, 701, 1082, 1083, 1114, 1184, 1700, 2950, 3802, 25, 1]))
def test_whatever_the_bytes_a_value_is_text(data: bytes, type_oid: int) -> None:
    assert isinstance(value_text(data, type_oid, 1), str)


@pytest.mark.parametrize(
    ("data", "type_oid", "text"),
    [
        (struct.pack(">q", -5), 20, "-5"),
        (struct.pack(">HhHHHH", 2, 0, 0x4000, 2, 1, 5000), 1700, "-1.50"),
        (struct.pack(">HhHHH", 1, 1, 0, 0, 3), 1700, "30000"),
        (struct.pack(">HhHHH", 1, -1, 0, 4, 7), 1700, "0.0007"),
        (struct.pack(">i", 366), 1082, "2001-01-01"),
        (struct.pack(">q", 1_500_000), 1114, "2000-01-01 00:00:01.500000"),
        (b"\1", 16, "true"),
        (b"\1{}", 3802, "{}"),
        (b"\xff", 9999, "\\xff"),
    ],
)
def test_common_binary_formats_are_decoded(data: bytes, type_oid: int, text: str) -> None:
    assert value_text(data, type_oid, 1) == text


def test_one_format_counts_for_all_parameters() -> None:
    values = (struct.pack(">i", 7), None)
    assert parameter_texts(values, (1,), (23, 23)) == ("7", None)
    assert parameter_texts((b"7", b"x"), (), ()) == ("7", "x")
