"""Logging in to PostgreSQL: what a hostile server may not get."""

from __future__ import annotations

import pytest
import scramp
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.errors import OnrecordError
from onrecord.shims.postgres.messages import encode_status
from onrecord.shims.postgres.upstream import Login, UpstreamError
from onrecord.shims.postgres.wire import WireError, message


def request(step: int, body: bytes = b"") -> bytes:
    return message(b"R", step.to_bytes(4, "big") + body)


def login(*, tls: bool = True) -> Login:
    return Login("svc", "hunter22", tls)


@given(st.lists(st.tuples(st.sampled_from(b"RSKEZN"), st.binary(max_size=60)), max_size=6))
def test_junk_raises_only_our_errors(messages: list[tuple[int, bytes]]) -> None:
    one = login()
    try:
        for kind, body in messages:
            one.receive(kind, message(bytes([kind]), body))
    except OnrecordError as error:
        assert "hunter22" not in str(error)  # noqa: PT017


def test_the_password_never_goes_in_clear_over_plaintext() -> None:
    with pytest.raises(UpstreamError):
        login(tls=False).receive(ord("R"), request(3))
    assert login().receive(ord("R"), request(3)) == message(b"p", b"hunter22\0")


def test_scram_works_and_the_server_must_prove_itself() -> None:
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    information = mechanism.make_auth_info("hunter22")
    for honest in (True, False):
        server = mechanism.make_server(lambda _: information)
        one = login(tls=False)
        first = one.receive(ord("R"), request(10, b"SCRAM-SHA-256\0\0"))
        server.set_client_first(first[5:].split(b"\0", 1)[1][4:].decode())
        final = one.receive(ord("R"), request(11, server.get_server_first().encode()))
        server.set_client_final(final[5:].decode())
        if honest:
            one.receive(ord("R"), request(12, server.get_server_final().encode()))
            one.receive(ord("R"), request(0))
            assert one.authenticated
        else:
            with pytest.raises(UpstreamError):
                one.receive(ord("R"), request(0))


def test_messages_out_of_order_are_refused() -> None:
    with pytest.raises(WireError):
        login().receive(ord("R"), request(11, b"r=x"))
    with pytest.raises(WireError):
        login().receive(ord("S"), encode_status("a", "b"))
