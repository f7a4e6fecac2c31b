"""Requests as commands: paths with one reading, actions, redaction."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.http_command import check_form, is_secret_name, read_action, read_headers, read_path, read_query
from onrecord.addons.http_head import HeadError


@given(st.text(alphabet="/.%25eEfFcC;\\ab", max_size=30))
def test_a_path_has_no_dot_segments_once_it_is_read(raw: str) -> None:
    with contextlib.suppress(HeadError):
        path = read_path("/" + raw)
        assert not {".", ".."} & set(path.split("/"))
        assert "//" not in path
        assert "\\" not in path


@given(st.text(max_size=80))
def test_any_query_gives_fields_or_a_head_error(raw: str) -> None:
    with contextlib.suppress(HeadError):
        assert all(len(field) == 2 for field in read_query(raw))


@pytest.mark.parametrize(
    ("method", "body", "action"),
    [
        ("GET", b"", "read"),
        ("HEAD", b"", "read"),
        ("POST", b"{}", "write"),
        ("DELETE", b"", "write"),
        ("PURGE", b"", "unknown"),
        ("POST", None, "unknown"),
        ("POST", b'  [{"jsonrpc": "2.0", "method": "x"}]', "unknown"),
        ("POST", b'[{"a": 1}]', "write"),
        ("POST", b" " * 100 + b'[{"jsonrpc": "2.0", "method": "x"}]', "unknown"),
        ("POST", b'\xef\xbb\xbf[{"jsonrpc": "2.0", "method": "x"}]', "unknown"),
        ("POST", '[{"jsonrpc": "2.0", "method": "x"}]'.encode("utf-16"), "unknown"),
        ("POST", '[{"jsonrpc": "2.0", "method": "x"}]'.encode("utf-16-be"), "unknown"),
    ],
)
def test_the_action_is_read_from_method_and_body(method: str, body: bytes | None, action: str) -> None:
    assert read_action(method, "/rpc", "application/json", "", body) == action


@pytest.mark.parametrize(
    "name", ["authorization", "x-api-key", "api_key", "access_token", "X-Auth-Token", "sig", "cookie"]
)
def test_names_of_credentials_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["page", "keyword", "monkey", "author", "idempotency-key", "design"])
def test_plain_names_are_left_alone(name: str) -> None:
    assert not is_secret_name(name)


def test_cookie_names_stay_and_values_go() -> None:
    assert read_headers([(b"Cookie", b"a=1; b=2")]) == (("cookie", "a=[redacted]; b=[redacted]"),)


@pytest.mark.parametrize("raw", ["/a/%2561dmin", "/%2525252e%2525252e/admin", "/%25%32%65%25%32%65/admin", "/%u002e/x"])
def test_a_path_encoded_twice_is_refused_whatever_it_hides(raw: str) -> None:
    with pytest.raises(HeadError):
        read_path(raw)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (b"https://h/?token=abc&page=2", "https://h/?token=[redacted]&page=2"),
        (b"<https://h/?X-Amz-Signature=ab>; rel=next", "<https://h/?X-Amz-Signature=[redacted]>; rel=next"),
        (b"https://h/cb#access_token=abc", "https://h/cb#access_token=[redacted]"),
        (b"text/html;q=0.8", "text/html;q=0.8"),
    ],
)
def test_a_url_in_a_header_shows_no_credential(value: bytes, seen: str) -> None:
    assert read_headers([(b"Location", value)]) == (("location", seen),)


@pytest.mark.parametrize("raw", ["/a/..%3B/admin", "/a/..%3Bx=1/admin", "/a/.%20/admin"])
def test_a_dot_segment_with_what_servers_cut_off_is_refused(raw: str) -> None:
    with pytest.raises(HeadError):
        read_path(raw)


FORM, PARTS = "application/x-www-form-urlencoded; charset=utf-8", "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (FORM, b"_method=DELETE"),
        (FORM, b"a=1&%5fm%65thod=DELETE"),
        (FORM, b"a=1;_method=DELETE"),
        (FORM, b"+_METHOD=DELETE"),
        (FORM, b".method=DELETE"),
        (FORM, b"_method%00x=DELETE"),
        (PARTS, b'--b\r\nContent-Disposition: form-data; name="_method"\r\n\r\nDELETE\r\n--b--'),
        (PARTS, b"--b\r\nContent-Disposition: form-data; NAME = _method\r\n\r\nDELETE\r\n--b--"),
        (PARTS, b'--b\r\nContent-Disposition: form-data; name="_me\\thod"\r\n\r\nDELETE\r\n--b--'),
        (PARTS, b"--b\r\nContent-Disposition: form-data; name*=UTF-8''%5Fmethod\r\n\r\nDELETE\r\n--b--"),
        (PARTS, b'--b\r\nContent-Disposition: form-data; name*0="_me"; name*1="thod"\r\n\r\nDELETE\r\n--b--'),
        (PARTS, b'--b\r\nContent-Disposition: form-data; name=".method"\r\n\r\nDELETE\r\n--b--'),
        ("", b"_method=DELETE"),
        (FORM, b"_HttpMethod=PATCH"),
        ("application/json", b'{"a": 1, "_method": "delete"}'),
        ("application/vnd.api+json", b'{"\\u005fmethod": "PUT"}'),
        ("application/json", b'{"_method": "x", "_method": "DELETE"}'),
    ],
)
def test_a_form_field_that_chooses_another_method_is_refused_in_any_spelling(kind: str, body: bytes) -> None:
    with pytest.raises(HeadError):
        check_form(kind, body)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (FORM, b"payment_method=card&payment_method_types[]=card&x=_method"),
        (PARTS, b'--b\r\nContent-Disposition: form-data; name="payment_method"\r\n\r\ncard\r\n--b--'),
        (PARTS, b'--b\r\nContent-Disposition: form-data; name="a"; filename="_method"\r\n\r\n_method\r\n--b--'),
        ("application/json", b'{"_method": "x"}'),
        ("application/json", b'{"a": {"_method": "DELETE"}, "method": "DELETE"}'),
        ("application/json", b'["_method"'),
    ],
)
def test_fields_that_only_resemble_a_method_pass(kind: str, body: bytes) -> None:
    check_form(kind, body)


@pytest.mark.parametrize("query", ["_method=DELETE", "a=1;_method=DELETE", "%5Fmethod=DELETE", ".method=DELETE"])
def test_a_query_field_that_chooses_another_method_is_refused(query: str) -> None:
    with pytest.raises(HeadError):
        read_query(query)


def test_a_credential_behind_a_semicolon_is_redacted() -> None:
    assert read_query("a=1;access_token=s3cr3t") == (("a", "[redacted]"),)
