"""A slow peer slows the other one down; nothing piles up in between. And what the server says unasked arrives."""

from __future__ import annotations

import selectors

import psycopg
import pytest

from onrecord.policies.verdict import Allow, Ruling
from onrecord.shims.postgres.messages import encode_query
from onrecord.shims.postgres.relay import Relay
from onrecord.shims.postgres.wire import message
from tests.helpers import wait_until
from tests.shims.postgres.conftest import Shim
from tests.shims.postgres.raw import RawClient

BOUND = 4 * 1024 * 1024


def held(shim: Shim, relay: Relay) -> int:
    """Bytes that the gateway holds for either side."""

    def sizes() -> int:
        ends = (relay._client.transport, relay._upstream.transport)
        return sum(end.get_write_buffer_size() for end in ends if end is not None)

    return int(shim.on_loop(sizes))


def test_a_reader_that_is_slow_stops_the_server(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(encode_query("SELECT repeat('x', 100000) FROM generate_series(1, 400)"))
        (relay,) = shim.on_loop(lambda: list(shim.server._relays))
        sizes: list[int] = []

        def stuck() -> bool:
            sizes.append(held(shim, relay))
            return sizes[-1] > 0 and sizes[-20:] == sizes[-1:] * 20

        wait_until(stuck, what="the server to be stopped")
        assert sizes[-1] < BOUND
        assert len(client.until(b"Z")) == 403


def test_a_server_that_is_slow_stops_the_writer(shim: Shim) -> None:
    shim.engine.rule = lambda _: Ruling(Allow(), "p")
    with shim.connect() as owner, RawClient(shim) as client:
        owner.execute("BEGIN; LOCK customers IN ACCESS EXCLUSIVE MODE")
        client.send(encode_query("SELECT count(*) FROM customers"))
        client.sock.setblocking(False)
        junk = encode_query("SELECT 1 /* " + "x" * 100_000 + " */")
        sent, patience = 0, 0
        with selectors.DefaultSelector() as selector:
            selector.register(client.sock, selectors.EVENT_WRITE)
            while patience < 3 and sent < 400_000_000:
                if not selector.select(0.2):
                    patience += 1
                    continue
                sent += client.sock.send(junk[sent % len(junk) :])
        assert sent < 100_000_000, "the writer was stopped"
        relays = shim.on_loop(lambda: list(shim.server._relays))
        assert all(held(shim, relay) < BOUND for relay in relays)
        owner.execute("ROLLBACK")


def test_notifications_notices_and_settings_arrive_whenever_the_server_says_them(shim: Shim) -> None:
    shim.engine.rule = lambda _: Ruling(Allow(), "p")
    with shim.connect() as listener, shim.connect() as other:
        listener.execute("LISTEN jobs")
        other.execute("NOTIFY jobs, 'first'")
        (found,) = listener.notifies(timeout=10, stop_after=1)
        assert (found.channel, found.payload) == ("jobs", "first")
        notices: list[str] = []
        listener.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        listener.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
        assert notices == ["hello"]
        listener.execute("SET application_name = 'me'")
        assert listener.info.parameter_status("application_name") == "me"


def test_a_notification_between_the_messages_of_a_copy_passes(shim: Shim) -> None:
    shim.engine.rule = lambda _: Ruling(Allow(), "p")
    with shim.connect() as other, RawClient(shim) as client:
        client.send(encode_query("LISTEN jobs"))
        client.until(b"Z")
        client.send(encode_query("CREATE TEMP TABLE t (a int)"))
        client.until(b"Z")
        client.send(encode_query("COPY t FROM STDIN"))
        client.until(b"G")
        other.execute("NOTIFY jobs, 'x'")
        client.send(message(b"d", b"1\n") + message(b"c"))
        answers = client.until(b"Z")
        if b"A" not in {kind for kind, _ in answers}:
            answers += client.until(b"A")
        assert b"C" in {kind for kind, _ in answers}


def test_an_idle_session_has_its_connection_end_told(shim: Shim) -> None:
    with shim.connect() as connection:
        (relay,) = shim.on_loop(lambda: list(shim.server._relays))
        shim.on_loop(relay._upstream.abort)
        with pytest.raises(psycopg.OperationalError, match="PostgreSQL was lost"):
            connection.execute("SELECT 1")
