"""asyncpg through the gateway."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.clients.lab import Lab


async def connect(lab: Lab, **more: Any) -> Any:
    context = ssl.create_default_context(cafile=str(lab.ca)) if lab.tls else False
    if isinstance(context, ssl.SSLContext):
        context.set_alpn_protocols(["postgresql"])  # direct TLS needs it, and asyncpg leaves it to the caller
    return await asyncpg.connect(lab.url("postgresql"), ssl=context, timeout=20, **more)


@pytest.fixture
async def connection(each_lab: Lab) -> AsyncIterator[Any]:
    made = await connect(each_lab)
    await made.execute("DROP TABLE IF EXISTS cl_asyncpg")
    await made.execute("CREATE TABLE cl_asyncpg (id int, name text, at timestamptz)")
    yield made
    await made.close()


async def test_prepared_statements_and_cursors(connection):
    statement = await connection.prepare("SELECT g, $1::text AS t FROM generate_series(1, $2::int) g")
    assert [kind.name for kind in statement.get_parameters()] == ["text", "int4"]
    assert len(await statement.fetch("x", 5)) == 5
    async with connection.transaction():
        cursor = await connection.cursor("SELECT g FROM generate_series(1, 30) g")
        assert [row[0] for row in await cursor.fetch(4)] == [1, 2, 3, 4]
        await cursor.forward(10)
        assert (await cursor.fetchrow())[0] == 15
        assert [row[0] async for row in connection.cursor("SELECT g FROM generate_series(1, 3) g", prefetch=2)] == [
            1,
            2,
            3,
        ]


async def test_copy_records_and_copy_from_query(connection):
    await connection.copy_records_to_table("cl_asyncpg", records=[(n, f"n{n}", None) for n in range(300)])
    out = io.BytesIO()
    assert await connection.copy_from_query("SELECT id, name FROM cl_asyncpg WHERE id < $1", 2, output=out) == "COPY 2"
    assert out.getvalue() == b"0\tn0\n1\tn1\n"
    await connection.executemany("INSERT INTO cl_asyncpg (id) VALUES ($1)", [(n,) for n in range(20)])
    assert await connection.fetchval("SELECT count(*) FROM cl_asyncpg") == 320


async def test_types_of_the_user_are_looked_up_under_the_strict_defaults(connection):
    await connection.execute("DROP TYPE IF EXISTS cl_pair, cl_mood")
    await connection.execute("CREATE TYPE cl_mood AS ENUM ('sad', 'ok')")
    await connection.execute("CREATE TYPE cl_pair AS (mood cl_mood, n int)")
    assert await connection.fetchval("SELECT 'ok'::cl_mood") == "ok"
    assert tuple(await connection.fetchval("SELECT ROW('sad', 3)::cl_pair")) == ("sad", 3)
    assert await connection.fetchval("SELECT ARRAY['ok']::cl_mood[]") == ["ok"]


async def test_listeners_and_resetting_a_session(connection, each_lab):
    heard: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener("cl", lambda *note: heard.put_nowait(note[-1]))
    await connection.execute("SELECT pg_notify('cl', 'hello')")
    assert await asyncio.wait_for(heard.get(), 10) == "hello"
    await connection.reset()
    assert await connection.fetchval("SELECT 1") == 1


async def test_a_timeout_cancels_and_the_session_lives(connection):
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_sleep(60)", timeout=0.3)
    assert await connection.fetchval("SELECT 1") == 1


async def test_direct_tls(tls_lab):
    connection = await connect(tls_lab, direct_tls=True)
    assert await connection.fetchval("SELECT 42") == 42
    await connection.close()
