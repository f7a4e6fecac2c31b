"""Message decoders: whatever a peer sends, the answer is a value or a WireError."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres import messages
from onrecord.shims.postgres.wire import WireError, message

DECODERS: list[Callable[[bytes], Any]] = [
    messages.query_text,
    messages.decode_parse,
    messages.decode_bind,
    messages.decode_execute,
    messages.decode_target,
    messages.decode_row_description,
    messages.decode_parameter_description,
    messages.decode_fields,
    messages.decode_status,
    lambda data: messages.decode_row(data, 0, len(data)),
]


@pytest.mark.parametrize("decode", DECODERS)
@given(st.binary(max_size=80))
def test_junk_raises_only_wire_errors(decode: Callable[[bytes], Any], body: bytes) -> None:
    with contextlib.suppress(WireError):
        decode(message(b"?", body))


@given(
    st.lists(st.none() | st.binary(max_size=20), max_size=5),
    st.sampled_from(["", "p", "päö"]),
    st.lists(st.integers(0, 1), max_size=3),
)
def test_bind_is_read_as_it_was_written(values: list[bytes | None], name: str, results: list[int]) -> None:
    body = name.encode() + b"\0s\0" + struct.pack(">HhH", 1, 1, len(values))
    for value in values:
        body += b"\xff\xff\xff\xff" if value is None else struct.pack(">i", len(value)) + value
    body += struct.pack(f">H{len(results)}h", len(results), *results)
    bind = messages.decode_bind(message(b"B", body))
    assert bind == (name, "s", (1,), tuple(values), tuple(results))
    for cut in range(len(body)):
        with pytest.raises(WireError):
            messages.decode_bind(message(b"B", body[:cut]))


def test_a_query_with_a_nul_inside_is_refused() -> None:
    with pytest.raises(WireError):
        messages.query_text(message(b"Q", b"SELECT 1\0; DROP TABLE t\0"))


def test_an_error_never_breaks_out_of_its_field() -> None:
    encoded = messages.error("42501", "a\0Mb", detail="x\ud800")
    assert messages.decode_fields(encoded)["M"] == "a�Mb"
