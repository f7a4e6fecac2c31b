"""Cancel requests that reach another process than the one that issued their key."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.errors import ControlError
from onrecord.recordings.control.sockets import connect
from onrecord.shims.postgres import cancelling
from onrecord.shims.postgres.cancelling import Cancels, Live, decode_told, encode_told, socket_path, worker_of
from onrecord.shims.postgres.startup import LONG_KEYS, Cancel
from tests.conftest import Shop
from tests.helpers import make_config, postgres_resource, running_gateway, wait_until

SHORT = 3 << 16


class Session:
    """Remembers what was done to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def note(self, text: str) -> None:
        self.seen.append(text)

    async def cancel(self) -> None:
        self.seen.append("cancelled")


class Process:
    """One process's cancels, and what it refused."""

    def __init__(self, state: Path, worker: int) -> None:
        self.refused: list[tuple[str, str]] = []
        self.cancels = Cancels(state, worker, lambda reason, client: self.refused.append((reason, client)))

    def session(self, version: int = LONG_KEYS) -> tuple[Session, Cancel]:
        session = Session()
        pid, secret = self.cancels.new_key(version)
        self.cancels.add(pid, Live(secret, session, session.cancel))
        return session, Cancel(pid, secret)


@pytest.mark.parametrize("version", [SHORT, LONG_KEYS])
def test_a_request_is_passed_on_to_the_process_that_issued_its_key(tmp_path: Path, version: int) -> None:
    async def main() -> None:
        first, second = Process(tmp_path, 0), Process(tmp_path, 1)
        await first.cancels.listen()
        await second.cancels.listen()
        session, key = second.session(version)
        assert worker_of(key.pid) == 1
        await first.cancels.request(key, "192.0.2.1:5")
        assert session.seen == ["cancel requested", "cancelled"]
        await first.cancels.request(Cancel(key.pid, bytes(len(key.secret))), "192.0.2.1:5")
        assert session.seen == ["cancel requested", "cancelled"]
        assert second.refused == [("a cancel request with an unknown key", "192.0.2.1:5")]
        await first.cancels.close()
        await second.cancels.close()

    asyncio.run(main())
    assert not list(tmp_path.iterdir())


def test_a_key_of_a_process_that_does_not_run_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        process = Process(tmp_path, 0)
        for worker in (1, 63, 64, 255):
            await process.cancels.request(Cancel(worker << 24 | 5, b"1234"), "192.0.2.1:5")
        assert len(process.refused) == 4

    asyncio.run(main())


def test_junk_and_requests_for_other_processes_do_nothing_on_the_socket(tmp_path: Path) -> None:
    async def main() -> None:
        process = Process(tmp_path, 0)
        await process.cancels.listen()
        session, key = process.session()
        foreign = Cancel(1 << 24 | key.pid, key.secret)
        for junk in (b"", b"junk", bytes(5000), encode_told(foreign, "192.0.2.1:5")):
            reader, writer = await asyncio.open_unix_connection(sock=connect(socket_path(tmp_path, 0)))
            with contextlib.suppress(ConnectionError):
                writer.write(junk)
                writer.write_eof()
                assert await reader.read() == b""
            writer.close()
        assert session.seen == []
        assert socket_path(tmp_path, 0).stat().st_mode & 0o777 == 0o600
        await process.cancels.close()

    asyncio.run(main())


def test_a_socket_of_another_user_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def foreign(*_: object) -> None:
        raise ControlError("another user")

    async def main() -> None:
        first, second = Process(tmp_path, 0), Process(tmp_path, 1)
        await second.cancels.listen()
        session, key = second.session()
        monkeypatch.setattr(cancelling, "check_peer", foreign)
        await first.cancels.request(key, "192.0.2.1:5")
        assert session.seen == []
        assert first.refused
        await second.cancels.close()

    asyncio.run(main())


def test_requests_under_way_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "MAX_CANCELS", 0)

    async def main() -> None:
        process = Process(tmp_path, 0)
        session, key = process.session()
        await process.cancels.request(key, "192.0.2.1:5")
        assert (session.seen, process.refused) == ([], [("too many cancel requests at once", "192.0.2.1:5")])

    asyncio.run(main())


@given(st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=256), st.text(max_size=60))
def test_what_one_process_tells_another_is_read_as_it_was_told(pid: int, secret: bytes, client: str) -> None:
    asked = Cancel(pid, secret)
    assert decode_told(encode_told(asked, client)) == (asked, client)


@given(st.binary(max_size=300))
def test_no_junk_breaks_what_is_read(junk: bytes) -> None:
    found = decode_told(junk)
    assert found is None or found[0].secret


def test_several_processes_on_one_port_serve_and_cancel(tmp_path: Path, shop: Shop) -> None:
    setup = make_config(
        tmp_path,
        resources={"orders": postgres_resource(shop.server, user=shop.user, database=shop.database)},
        gateway={"http": None, "postgres_workers": 2},
        env={"SHOP_PASSWORD": shop.password},
    )
    with running_gateway(setup) as gateway:
        seen: set[int] = set()
        for _ in range(40):
            with psycopg.connect(
                host="127.0.0.1",
                port=setup.postgres_port,
                dbname="orders",
                user="devin",
                password=setup.mint(),
                sslmode="require",
                autocommit=True,
            ) as connection:
                seen.add(worker_of(connection.info.backend_pid))
                canceller = threading.Timer(0.05, connection.cancel_safe)
                canceller.start()
                with pytest.raises(psycopg.errors.QueryCanceled):
                    connection.execute("SELECT pg_sleep(20)")
                canceller.join()
            if len(seen) == 2:
                break
        assert seen == {0, 1}
        journals = {path.name.split(".")[0] for path in (gateway.setup.state / "journal").glob("postgres-*")}
        wait_until(lambda: len(journals) >= 2, what="a journal for each process")
