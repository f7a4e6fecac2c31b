"""policies/masking/detectors: what is found, what is left alone, and that the scan of raw bytes misses nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.masking import DETECTORS, Detectors

ALL = Detectors(dict.fromkeys(DETECTORS, "redact"))
FOUND = [
    ("email", "john.doe@example.com"), ("email", "john＠example.com"), ("email", "jo\u200bhn@example.com"),
    ("email", "j%40example.com"), ("email", "müller@bücher.example"), ("phone", "+49 30 901820"),
    ("phone", "(212) 555-0123"), ("phone", "020 7946 0958"), ("phone", "06 12 34 56 78"),
    ("payment_card", "4111 1111 1111 1111"), ("payment_card", "4111-1111.1111 1111"),
    ("payment_card", "378282246310005"), ("payment_card", "４１１１１１１１１１１１１１１１"),
    ("iban", "DE89 3704 0044 0532 0130 00"), ("iban", "gb82west12345698765432"), ("national_id", "078-05-1120"),
    ("national_id", "AB 12 34 56 C"), ("national_id", "12345678Z"), ("national_id", "RSSMRA85T10A562S"),
    ("national_id", "529.982.247-25"), ("national_id", "BSN: 111222333"), ("ip", "10.20.30.40"),
    ("ip", "2001:db8::1"), ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"), ("api_token", "AKIAIOSFODNN7EXAMPLE"),
    ("api_token", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("private_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIE"), ("private_key", "b3BlbnNzaC1rZXktdjEAAAA"),
    ("url_password", "postgres://u:pw1@h/db"), ("url_password", "https://h/?password=abc"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), FOUND)
def test_it_is_found_and_the_scan_hits(name, text):
    one = Detectors({name: "redact"})
    found: dict[str, int] = {}
    assert one.clean(f"see {text} now", found) != f"see {text} now"
    assert set(found) == {name}
    assert one.hit(text.encode())


@pytest.mark.parametrize(
    "text",
    ["2026-11-22 18:35:14.123456+00", "order 123456789", "0.4539578763621486", "user@localhost", "12:34:56",
     "f3b0c442-98fc-1c14-9afb-f4c8996fb924", "std::string", "4111111111111112", "DE89370400440532013001", "hello"],
)  # fmt: skip
def test_it_is_left_alone(text):
    assert ALL.clean(text, {}) == text


@given(st.sampled_from(FOUND), st.binary(max_size=4), st.binary(max_size=4), st.booleans())
def test_the_scan_hits_whatever_stands_around_and_in_any_escape(case, before, after, ascii_only):
    one = Detectors({case[0]: "redact"})
    raw = json.dumps(case[1], ensure_ascii=ascii_only)[1:-1].replace("/", "\\/")
    for data in (case[1].encode(), raw.encode(), raw.replace("@", "\\u0040").encode()):
        assert one.hit(before + data + after)


@given(st.text("0123456789 .-/()+@:_ABCDEabcdeyJé＠１\u200b\u2013", max_size=40), st.binary(max_size=3))
def test_where_clean_changes_something_the_scan_hits(text, around):
    if ALL.clean(text, {}) != text:
        assert ALL.hit(around + text.encode() + around)
        assert list(ALL.spots(text.encode()))


@pytest.mark.parametrize("strategy", ["partial", "pseudonymise", "format", "null", "redact"])
@pytest.mark.parametrize(("name", "text"), FOUND)
def test_no_strategy_shows_the_value(strategy, name, text):
    one = Detectors({name: strategy}, b"k" * 32)
    made = one.clean(text, {})
    assert text not in made
    assert made == one.clean(text, {})
