"""policies/masking/stream.py: pieces change nothing, memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.masking import DETECTORS, Detectors, MaskError
from onrecord.policies.masking.stream import MAX_SEGMENT

ALL = Detectors(dict.fromkeys(DETECTORS, "redact"))
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEAAAA\n-----END PRIVATE KEY-----"
WORDS = [
    "john@example.com",
    "4111 1111 1111 1111",
    "\n",
    "\t",
    '","',
    " ",
    "x",
    "é",
    KEY,
    "10.1.2.3",
    "＠a.example",
    "9",
]


def streamed(data: bytes, size: int) -> bytes:
    cleaner = ALL.stream()
    return b"".join([*(cleaner.feed(data[i : i + size]) for i in range(0, len(data), size)), cleaner.finish()])


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.integers(1, 40))
def test_any_pieces_give_what_the_whole_gives(words, size):
    text = "".join(words)
    assert streamed(text.encode(), size) == streamed(text.encode(), 10**6)
    assert streamed(text.encode(), size).decode() == ALL.clean(text, {})


def test_bytes_that_are_no_utf8_pass_as_they_are():
    assert streamed(b"\xff\xfe\n\x80 john@example.com\xff", 3).startswith(b"\xff\xfe\n\x80 [redacted]")


def test_a_line_goes_out_when_it_ends():
    cleaner = ALL.stream()
    assert cleaner.feed(b"mail john@exam") == b""
    assert cleaner.feed(b"ple.com now\nnext") == b"mail [redacted] now\n"
    assert cleaner.found == {"email": 1}


def test_what_never_ends_is_refused():
    cleaner = ALL.stream()
    with pytest.raises(MaskError, match="without a line's end"):
        cleaner.feed(b"x" * (MAX_SEGMENT + 1))


@given(st.lists(st.text('ab: \n;"é', max_size=9), max_size=12), st.integers(0, 3))
def test_what_is_let_out_at_a_pause_comes_once(pieces, every):
    cleaner = ALL.stream()
    out = b""
    for index, piece in enumerate(pieces):
        out += cleaner.feed(piece.encode())
        if every and index % every == 0:
            out += cleaner.pause()
    assert (out + cleaner.finish()).decode() == "".join(pieces)


def test_what_is_out_at_a_pause_counts_for_what_follows_and_is_found_once():
    cleaner = ALL.stream()
    out = cleaner.feed(b"to 4111 1111 1111 1111 by postgres://app:") + cleaner.pause() + cleaner.pause()
    assert out.endswith(b" by postgres://app:")
    assert b"s3cr3t" not in cleaner.feed(b"s3cr3tword@db/x\n")
    assert cleaner.found == {"payment_card": 1, "url_password": 1}
