"""Calls by OID, past all SQL."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres.functioncall import decode_call, decode_result, encode_result
from onrecord.shims.postgres.wire import WireError, message


def call(oid: int, *arguments: bytes | None, formats: tuple[int, ...] = (1,), result: int = 1) -> bytes:
    body = struct.pack(f">IH{len(formats)}HH", oid, len(formats), *formats, len(arguments))
    for one in arguments:
        body += struct.pack(">i", -1) if one is None else struct.pack(">i", len(one)) + one
    return message(b"F", body + struct.pack(">H", result))


@pytest.mark.parametrize(
    ("data", "text", "action"),
    [
        (
            call(952, struct.pack(">I", 16400), struct.pack(">i", 0x40000)),
            "FunctionCall lo_open(16400, 262144)",
            "write",
        ),
        (call(954, struct.pack(">i", 0), struct.pack(">i", 8192)), "FunctionCall loread(0, 8192)", "write"),
        (call(955, struct.pack(">i", 0), b"ab"), "FunctionCall lowrite(0, \\x6162)", "write"),
        (call(2, b"x", None, formats=(0,)), "FunctionCall of function 2(x, NULL)", "unknown"),
    ],
)
def test_a_call_is_told_by_name_arguments_and_action(data: bytes, text: str, action: str) -> None:
    assert (decode_call(data).text, decode_call(data).action) == (text, action)


@given(st.binary(max_size=80))
def test_no_junk_raises_anything_else(junk: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_call(message(b"F", junk))
    with contextlib.suppress(WireError):
        decode_result(message(b"V", junk))


@given(st.none() | st.binary(max_size=50))
def test_a_result_is_read_as_it_was_written(value: bytes | None) -> None:
    assert decode_result(encode_result(value)) == value
