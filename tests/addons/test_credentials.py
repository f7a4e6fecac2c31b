"""The gateway's credential: put in, and kept out of answers however they are cut."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.credentials import Credential
from onrecord.policies.config import HttpResource, SecretRef
from onrecord.policies.secrets import Secrets

SECRET = "s3cr3t/+&value-4711"
SPELT = {
    "Go": "s3cr3t/+\\u0026value-4711",
    ".NET": "s3cr3t/\\u002B\\u0026value-4711",
    ".NET's markup": "s3cr3t/&#x2B;&amp;value-4711",
    "every sign": "s3cr3t\\u002f\\u002b\\u0026value\\u002d4711",
    "lower case": "s3cr3t%2f%2b%26value-4711",
}


def credential() -> Credential:
    resource = HttpResource(
        name="a",
        type="http",
        hosts=("a",),
        headers={"X-Api-Key": SecretRef("env", "KEY")},
        bearer=SecretRef("env", "KEY"),
    )
    return Credential(resource, Secrets({"KEY": SECRET}))


def test_the_agents_fields_are_replaced_in_any_spelling() -> None:
    fields = credential().apply([(b"x_api_key", b"mine"), (b"AUTHORIZATION", b"mine"), (b"X-Other", b"1")])
    assert fields == [
        (b"X-Other", b"1"),
        (b"X-Api-Key", SECRET.encode()),
        (b"Authorization", b"Bearer " + SECRET.encode()),
    ]


@pytest.mark.parametrize(
    "spelling",
    [
        *SPELT.values(),
        SECRET,
        quote(SECRET, safe=""),
        SECRET.encode().hex(),
        base64.b64encode(b"ab" + SECRET.encode() + b"c").decode(),
    ],
)
def test_every_spelling_is_scrubbed(spelling: str) -> None:
    clean = credential().scrub(b"<" + spelling.encode() + b">")
    assert clean.count(b"*") >= len(SECRET) - 4
    assert len(clean) == len(spelling) + 2


def test_utf_16_is_no_disguise() -> None:
    for charset in ("utf-16-le", "utf-16-be"):
        assert SECRET.encode(charset)[4:12] not in credential().scrub(b"x" + SECRET.encode(charset))


@given(st.lists(st.integers(1, 12), max_size=12), st.binary(max_size=10))
def test_no_chunking_lets_the_secret_through(cuts: list[int], noise: bytes) -> None:
    one = credential()
    data = noise + SECRET.encode() + noise + SECRET.encode()
    held, out = b"", b""
    position = 0
    for size in [*cuts, len(data)]:
        piece = one.scrub(held + data[position : position + size])
        position += size
        keep = one.held(piece)
        out += piece[: len(piece) - keep]
        held = piece[len(piece) - keep :]
    assert SECRET.encode() not in out + held
    assert len(out + held) == len(data)
