"""Requests as commands: paths with one reading, actions, redaction."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.http_command import is_secret_name, read_action, read_headers, read_path, read_query
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
