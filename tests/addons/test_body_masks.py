"""Bodies under masks: which can be read, and that no cut into pieces changes what comes out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.addons.body_masks import MAX_WHOLE, body_mask
from onrecord.policies.config.types import MaskConfig
from onrecord.policies.masking import MaskError, Masks
from onrecord.policies.masking.masks import masks_of

MASKS = masks_of(
    (MaskConfig(detect=("email", "jwt")), MaskConfig(json_paths=("$..secret",), strategy="redact")), b"k" * 32
)
MAIL = "qzxjkv@wvutsrq.example"
BODIES = [
    ("application/json", f'{{"a": ["{MAIL}", 1.50], "secret": "hush", "n": 12345678901234567890}}'),
    ("application/problem+json; charset=utf-8", '{"a": "qzxjkv\\u0040wvutsrq.example"}'),
    ("application/x-ndjson", f'{{"a": "{MAIL}"}}\n{{"secret": ["hush"]}}\n{{"b": 1}}'),
    ("text/plain", f"write to {MAIL} or to ü\nagain {MAIL}"),
    ("text/html; charset=iso-8859-1", f"<p>ü qzxjkv&#64;wvutsrq.example &lt;b&gt; {MAIL}</p>"),
    ("application/xml", f"<a href='mailto:{MAIL}'>qzxjkv&#x40;wvutsrq.example</a>"),
    ("text/csv", f"id,mail\r\n1,{MAIL}\r\n"),
    ("application/x-www-form-urlencoded", "mail=qzxjkv%40wvutsrq.example&b=1"),
    ("text/event-stream", f'event: x\ndata: {{"secret": "hush", "m": "{MAIL}"}}\n\ndata: [DONE]\n\n'),
]


def masked(content_type: str, pieces: list[bytes]) -> bytes:
    mask = body_mask(content_type, MASKS)
    return b"".join(mask.feed(piece) for piece in pieces) + mask.finish()


@pytest.mark.parametrize(("content_type", "body"), BODIES)
def test_what_is_masked_does_not_come_out(content_type: str, body: str):
    charset = "iso-8859-1" if "8859" in content_type else "utf-8"
    out = masked(content_type, [body.encode(charset)])
    for secret in (b"wvutsrq", b"hush"):
        assert secret not in out
    assert "ü".encode(charset) in out or "ü" not in body


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BODIES), st.lists(st.integers(1, 200), max_size=12))
def test_any_cut_into_pieces_gives_the_same(case: tuple[str, str], cuts: list[int]):
    content_type, body = case
    data = body.encode("iso-8859-1" if "8859" in content_type else "utf-8")
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert masked(content_type, pieces) == masked(content_type, [data])


def test_numbers_keep_their_digits_and_untouched_documents_their_bytes():
    assert b'"n":12345678901234567890' in masked("application/json", [BODIES[0][1].encode()])
    assert masked("application/json", [b'{ "a" : 1.50 }']) == b'{ "a" : 1.50 }'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"a": "x", "a": "y"}'),
        ("application/json", b"{"),
        ("application/json", b"\xff\xfe{\x00}\x00"),
        ("text/plain; charset=utf-8", b"\xff"),
        ("application/x-ndjson", b"{}\n{"),
    ],
)
def test_what_cannot_be_read_as_what_it_says_is_refused(content_type: str, body: bytes):
    with pytest.raises(MaskError):
        masked(content_type, [body])


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "x",
        "application/octet-stream",
        "image/png",
        "application/grpc",
        "multipart/mixed",
        "text/plain; charset=hex",
    ],
)
def test_what_cannot_be_searched_is_refused(content_type: str):
    with pytest.raises(MaskError):
        body_mask(content_type, MASKS)


def test_a_document_over_the_bound_is_refused():
    mask = body_mask("application/json", MASKS)
    mask.feed(b" " * MAX_WHOLE)
    with pytest.raises(MaskError):
        mask.feed(b" ")


def test_masks_without_detectors_leave_text_alone():
    only_paths: Masks = masks_of((MaskConfig(json_paths=("$.a",)),), b"k" * 32)
    mask = body_mask("text/plain", only_paths)
    assert mask.feed(b"abc\n") + mask.finish() == b"abc\n"
