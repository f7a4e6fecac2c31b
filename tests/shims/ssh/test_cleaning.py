"""shims/ssh/cleaning.py: what is held, what goes out, and when."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.policies.masking import REDACTED, Detectors, MaskError
from onrecord.shims.ssh.cleaning import Cleaning

DETECTORS = Detectors({"payment_card": "redact", "private_key": "redact"})
CARD = b"4111111111111111"
KEY = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQ\n-----END PRIVATE KEY-----\n"


async def through(pieces: list[bytes], *, terminal: bool = False, pause: float = 0.0) -> bytes:
    out = bytearray()
    cleaning = Cleaning(DETECTORS, out.extend, terminal=terminal, strict=False)
    for piece in pieces:
        cleaning.feed(piece)
        await asyncio.sleep(pause)
    cleaning.finish()
    return bytes(out)


@pytest.mark.parametrize("terminal", [False, True])
async def test_lines_are_masked_however_they_are_cut(terminal):
    text = b"a " + CARD + b" b\nnext " + CARD
    for cut in range(len(text)):
        assert await through([text[:cut], text[cut:]], terminal=terminal) == (
            b"a %s b\nnext %s" % ((REDACTED.encode(),) * 2)
        )


async def test_a_word_that_waits_for_its_end_is_held_and_what_is_before_it_is_not():
    out = bytearray()
    cleaning = Cleaning(DETECTORS, out.extend, terminal=False, strict=False)
    cleaning.feed(b"name: 41111111")
    while not out:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert out == b"name: "
    cleaning.feed(b"11111111 x")
    while len(out) < 8:
        await asyncio.sleep(0.01)
    assert b"1111" not in out
    cleaning.finish()
    assert out == b"name: " + REDACTED.encode() + b" x"


async def test_a_private_key_is_held_until_it_is_whole():
    masked = await through([KEY[:40], KEY[40:70], KEY[70:]], pause=0.2)
    assert b"MIIE" not in masked
    assert b"AASC" not in masked


async def test_strict_lets_nothing_go_before_its_line_is_complete():
    out = bytearray()
    cleaning = Cleaning(DETECTORS, out.extend, terminal=True, strict=True)
    cleaning.feed(b"prompt: ")
    await asyncio.sleep(0.2)
    assert not out
    cleaning.feed(b"\n")
    assert out == b"prompt: \n"
    cleaning.stop()


async def test_what_has_no_line_end_is_refused_in_the_end():
    cleaning = Cleaning(DETECTORS, lambda _: None, terminal=False, strict=True)
    cleaning.feed(b"x" * 250_000)
    with pytest.raises(MaskError):
        cleaning.feed(b"x" * 50_000)
    cleaning.stop()


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=200).filter(lambda data: b"\x00" not in data), st.integers(0, 200))
def test_what_hits_nothing_passes_as_it_is(data, cut):
    assert asyncio.run(through([data[:cut], data[cut:]])) == data


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"aws_secret_access_key = ", b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        (b"see postgres://app:", b"s3cr3tpassword@db/x"),
        (b"Authorization: Basic ", b"YWRtaW46c3VwZXJzZWNyZXQ="),
        (b"password='", b"hunter2hunter2'"),
        (b"eyJhbGciOiJIUzI1NiJ9." + b"a" * 700, b"b" * 40 + b".cccccccccccc"),
    ],
)
async def test_what_makes_it_a_secret_counts_although_it_is_out_already(first, then):
    out = bytearray()
    detectors = Detectors(dict.fromkeys(("api_token", "jwt", "url_password"), "redact"))
    cleaning = Cleaning(detectors, out.extend, terminal=False, strict=False)
    cleaning.feed(b"at first " + first)
    while not out.startswith(b"at first"):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    cleaning.feed(then + b" and more\n")
    cleaning.finish()
    assert then[:8] not in out
    assert out.startswith(b"at first ")
    assert out.endswith(b" and more\n")
    assert sum(cleaning.found.values()) == 1


async def test_what_is_let_out_piece_by_piece_comes_once():
    pieces = [b"one ", b"two; ", b"three: ", b"x" * 3000 + b"; ", b"four\n", b"five "]
    assert await through(pieces, pause=0.15) == b"".join(pieces)
