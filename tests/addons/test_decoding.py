"""Content codings within a bound."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.decoding import CodingError, decode_body


@given(st.binary(max_size=500))
def test_each_coding_gives_back_what_was_encoded(data: bytes) -> None:
    assert decode_body(gzip.compress(data), "gzip", 1000) == data
    assert decode_body(zlib.compress(data), "deflate", 1000) == data
    assert decode_body(zlib.compress(gzip.compress(data)), "gzip, deflate", 1000) == data
    assert decode_body(zstandard.compress(data), "zstd", 1000) == data
    assert decode_body(gzip.compress(data) + gzip.compress(data), "gzip", 1000) == data * 2


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "zstd", "br", "gzip, gzip, gzip, gzip"]))
def test_junk_raises_only_coding_errors(data: bytes, coding: str) -> None:
    with contextlib.suppress(CodingError):
        decode_body(data, coding, 1000)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_bomb_stops_at_the_bound(coding: str) -> None:
    zeros = bytes(50_000_000)
    bombs = {"gzip": gzip.compress(zeros), "deflate": zlib.compress(zeros), "zstd": zstandard.compress(zeros)}
    with pytest.raises(CodingError):
        decode_body(bombs[coding], coding, 100_000)


def test_a_body_that_is_zlib_and_bare_deflate_at_once_is_refused():
    length = 0x809C  # as bare deflate: a stored block of the bytes behind the first five
    kept = length ^ 0xFFFF  # as zlib: one of the bytes behind the first seven
    text = b"seen by the gateway".ljust(kept)
    data = b"\x78\x9c\x80" + kept.to_bytes(2, "little") + length.to_bytes(2, "little") + text + b"\x03\x00"
    data += zlib.adler32(text).to_bytes(4, "big")
    assert zlib.decompress(data) == text
    assert zlib.decompressobj(-15).decompress(data)[:2] != text[:2]
    with pytest.raises(CodingError):
        decode_body(data, "deflate", 1 << 20)
