"""Bodies under masks: which can be read, and that no cut into pieces changes what comes out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.addons.body_masks import MAX_VALUES, MAX_WHOLE, body_mask
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
    (
        "application/x-www-form-urlencoded",
        "a=1&%6dail=%71zxjkv%40%77vutsrq.example&user%5Bsecret%5D=hush&x=%7B%22secret%22:%22hush%22}",
    ),
    (
        "application/json",
        '{"inner": "{\\"secret\\": \\"hush\\", \\"a\\": [\\"qzxjkv\\\\u0040wvutsrq.example\\"]}"}',
    ),
    ("application/javascript", 'f("qzxjkv\\u0040wvutsrq.example", "qzxjkv\\x40wvutsrq.example")'),
    ("text/html", "<p>qzxjkv&#64wvutsrq.example"),
    (
        "text/event-stream",
        'id: qzxjkv\\u0040wvutsrq.example\n\r\ndata: {"secret": "hush"}\r\n\ndata: {"secret": "hush"}\r\r',
    ),
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
        ("application/json", b'{"a": "{\\"secret\\": 1, \\"secret\\": 2}"}'),
        ("text/plain", "qzxjkv@wvutsrq.example".encode("utf-16-le")),
        ("application/x-www-form-urlencoded", b"a=%ff"),
        ("application/xml", b'<!DOCTYPE a [<!ENTITY at "@">]><a>qzxjkv&at;wvutsrq.example</a>'),
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
        "text/plain; charset=cp037",
        "text/plain; charset=utf-7",
        "text/plain; charset=unicode_escape",
        "application/json, text/plain",
        "application/json/x",
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


def test_a_document_of_so_many_values_that_all_would_wait_for_it_is_refused_unless_nothing_in_it_can_be_masked():
    values = b"[" + b"1," * MAX_VALUES + b"1]"
    assert masked("application/json", [values]) == values
    with pytest.raises(MaskError, match="in parts"):
        masked("application/json", [b'{"secret": 1, "a": ' + values + b"}"])
    with pytest.raises(MaskError, match="twice"):
        masked("application/json", [b'{"a": 1, "a": ' + values + b"}"])


@pytest.mark.parametrize("name", ["SECRET", "\\u0073ecret", "\u017fecret"])
def test_a_member_is_found_however_its_name_is_written(name: str):
    assert b"hush" not in masked("application/json", [f'{{"{name}": "hush"}}'.encode()])


def test_masks_without_detectors_leave_text_alone():
    only_paths: Masks = masks_of((MaskConfig(json_paths=("$.a",)),), b"k" * 32)
    mask = body_mask("text/plain", only_paths)
    assert mask.feed(b"abc\n") + mask.finish() == b"abc\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", '{"secret": "hush"}'),
        ("text/html", '<script>x = {secret: "hush"}</script>'),
        ("text/html", "<pre>{&quot;SECRET&quot;: 1}</pre>"),
        ("text/html", '<input name="secret" value="hush">'),
        ("application/javascript", 'cb({"\\u0073ecret":"hush"})'),
        ("application/xml", "<a:secret>hush</a:secret>"),
        ("application/xml", "<a secret='hush'/>"),
        ("application/yaml", "secret: hush"),
        ("text/csv", "id,secret\n1,hush\n"),
        ("text/tab-separated-values", "secret\tid\nhush\t1\n"),
        ("text/event-stream", 'data: {"a": 1}\ndata: {"secret": "hush"}\n\n'),
        ("text/event-stream", '\ufeffdata: {"secret": "hush"}\n\n'),
        ("text/event-stream", 'data: {"secret": "hush"\n\n'),
        ("application/x-www-form-urlencoded", "a=1;secret=hush"),
    ],
)
def test_text_that_names_a_member_masked_by_path_is_refused(content_type: str, body: str):
    for pieces in ([body.encode()], [bytes([one]) for one in body.encode()]):
        with pytest.raises(MaskError):
            masked(content_type, pieces)


def test_a_path_without_a_name_leaves_only_json():
    masks = masks_of((MaskConfig(json_paths=("$.*",)),), b"k" * 32)
    with pytest.raises(MaskError):
        body_mask("text/plain", masks)
    assert body_mask("application/json", masks).feed(b"{}") == b""


def test_text_that_spells_no_finding_keeps_its_bytes():
    body = r"C:\users\x41 \u0041 &#65; ü"
    assert masked("text/html", [body.encode()]).decode() == body
    assert masked("text/plain; charset=utf-16", [body.encode("utf-16")]) == body.encode("utf-16")
