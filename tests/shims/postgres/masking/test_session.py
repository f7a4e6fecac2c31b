"""The whole shim with masks before a real PostgreSQL: markers reach neither the client nor the journal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from onrecord.policies.config import MaskConfig
from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Ruling
from tests.conftest import Shop
from tests.shims.postgres.conftest import Shim, resource_of, start_shim

SECRET = "bob.marker@example.com"
PHONE = "zzmarkerzz"
MARKERS = (b"bob.marker", b"zzmarkerzz", b"bob\\u", b"4111111111111111")

SETUP = """
CREATE SCHEMA IF NOT EXISTS masked;
DROP TABLE IF EXISTS masked.people CASCADE;
CREATE TABLE masked.people (id int PRIMARY KEY, email text UNIQUE, phone text CHECK (length(phone) > 2), note text,
    tags text[], doc jsonb, born date);
INSERT INTO masked.people VALUES (1, 'bob.marker@example.com', 'zzmarkerzz', 'call bob.marker@example.com',
    ARRAY['x', 'bob.marker@example.com'], '{"mail": "bob.marker@example.com", "card": 4111111111111111}', '1990-02-03'),
    (2, 'eve@other.org', '555', 'nothing', '{}', '{}', NULL);
CREATE VIEW masked.seen AS SELECT id, phone AS shown, upper(phone) AS loud FROM masked.people;
CREATE OR REPLACE FUNCTION masked.tell() RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE v text; BEGIN SELECT phone INTO v FROM masked.people WHERE id = 1; RAISE EXCEPTION 'it is %', v; END $$;
GRANT USAGE ON SCHEMA masked TO svc_agent;
GRANT ALL ON ALL TABLES IN SCHEMA masked TO svc_agent;
"""


@pytest.fixture(scope="module")
def people(shop: Shop) -> Shop:
    shop.server.sql(SETUP, database=shop.database)
    return shop


@pytest.fixture
def masked(tmp_path: Path, people: Shop) -> Iterator[Shim]:
    """Detectors, and rules for one column and one type; predicates and flows are let through to see what comes."""
    masks = (
        MaskConfig(detect=("email", "payment_card")),
        MaskConfig(columns=("masked.people.phone",)),
        MaskConfig(columns=("masked.people.born",), strategy="partial"),
    )
    resource = resource_of(
        people, catalog="auto", masked_predicates="allow", masked_flows="allow",
        catalog_user=None, catalog_password=None,
    )  # fmt: skip
    for shim in start_shim(tmp_path / "state", {"orders": resource}, {"SHOP_PASSWORD": people.password}, masks=masks):
        shim.engine.rule = lambda command: Ruling(Allow(), "all")
        yield shim


def journal(shim: Shim) -> bytes:
    shim.wait_ended()
    return b"".join(path.read_bytes() for path in (shim.folder / "journal").glob("*.journal"))


def none_of_it(data: bytes) -> None:
    for marker in MARKERS:
        assert marker not in data, marker


def outcome(shim: Shim, text: str) -> dict[str, Any]:
    return next(result for said, _, result in shim.commands() if said == text)


QUERIES = [
    "SELECT * FROM masked.people ORDER BY id",
    "SELECT email, note, tags, doc FROM masked.people",
    "SELECT phone FROM masked.people",
    "SELECT upper(phone), phone || '', substr(phone, 1, 9), length(phone) FROM masked.people",
    "SELECT p, p::text, row_to_json(p) FROM masked.people p",
    "SELECT to_jsonb(p) FROM masked.people p",
    "SELECT string_agg(phone, ',') FROM masked.people",
    "SELECT (SELECT phone FROM masked.people WHERE id = 1)",
    "WITH c AS (SELECT phone AS x FROM masked.people) SELECT x FROM c UNION ALL SELECT x || '' FROM c",
    "SELECT shown, loud FROM masked.seen",
    "SELECT array_agg(phone) FROM masked.people",
    "SELECT CASE WHEN id = 1 THEN phone END FROM masked.people",
    "UPDATE masked.people SET note = note RETURNING *",
    "SELECT phone::bytea, phone::varchar(20), phone::name FROM masked.people",
    "SELECT max(phone), min(email) FROM masked.people",
    "TABLE masked.people",
    "SELECT json_agg(p) FROM masked.people p",
    "SELECT (p).phone FROM masked.people p",
    "SELECT ROW(phone, email) FROM masked.people",
    "SELECT email::bytea FROM masked.people",
    "SELECT (doc->>'card')::int8, (doc->>'card')::numeric FROM masked.people",
    "EXPLAIN (FORMAT json) SELECT * FROM masked.people WHERE email = 'x'",
]  # fmt: skip


@pytest.mark.parametrize("binary", [False, True])
def test_no_marker_leaves_in_any_query_by_psycopg(masked: Shim, binary: bool) -> None:
    seen = io.BytesIO()
    with masked.connect() as connection, connection.cursor(binary=binary) as cursor:
        for query in QUERIES:
            cursor.execute(query)
            result = cursor.pgresult
            assert result is not None
            for i in range(result.ntuples):
                for j in range(result.nfields):
                    seen.write(result.get_value(i, j) or b"")
                    seen.write(b"\0")
            cursor.fetchall()  # it is still a value of its type
    none_of_it(seen.getvalue().lower())
    none_of_it(journal(masked).lower())
    assert outcome(masked, QUERIES[0])["masked"]["masked.people.phone"] == 2


async def test_no_marker_leaves_in_any_query_by_asyncpg(masked: Shim) -> None:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=masked.port, user="devin", password=masked.token(), database="orders", ssl=False
    )
    try:
        for query in QUERIES:
            none_of_it(repr(await connection.fetch(query)).lower().encode())
        rows = await connection.fetch("SELECT id, phone, born, note FROM masked.people WHERE id = $1", 1)
        assert tuple(rows[0]) == (1, "[redacted]", None, "call [redacted]")
        async with connection.transaction():
            found = [row async for row in connection.cursor("SELECT phone FROM masked.people", prefetch=1)]
        assert [row[0] for row in found] == ["[redacted]"] * 2
    finally:
        await connection.close()
    none_of_it(journal(masked))


def test_what_no_rule_concerns_comes_as_it_is(masked: Shim) -> None:
    with masked.connect() as connection:
        found = connection.execute("SELECT id, note, tags FROM masked.people WHERE id = 2").fetchall()
        assert found == [(2, "nothing", [])]
        assert connection.execute("SELECT count(*), max(id) + 1 FROM masked.people").fetchone() == (2, 3)
        assert connection.execute("SHOW server_version_num").fetchone() is not None
        assert connection.execute("SELECT 'café' || %s", ("x",)).fetchone() == ("caféx",)


@pytest.mark.parametrize("prepare", [False, True])
def test_server_cursors_and_pipelines_are_masked(masked: Shim, prepare: bool) -> None:
    with masked.connect() as connection:
        with connection.transaction(), connection.cursor("c") as cursor:
            cursor.execute("SELECT phone, email FROM masked.people")
            assert set(cursor.fetchall()) == {("[redacted]", "[redacted]")}
        with connection.pipeline():
            for _ in range(3):
                got = connection.execute("SELECT phone FROM masked.people WHERE id = 1", prepare=prepare)
                assert got.fetchone() == ("[redacted]",)


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO masked.people (id, email, phone) SELECT 9, email, phone FROM masked.people",
        "INSERT INTO masked.people (id, email, phone) SELECT id, 'x', phone FROM masked.people",
        "SELECT phone::int FROM masked.people",
        "SELECT phone::regclass FROM masked.people",
        "SELECT masked.tell()",
        "UPDATE masked.people SET phone = substr(phone, 1, 1)",
        "SELECT email::inet FROM masked.people",
        "SELECT (phone || email)::json FROM masked.people",
    ],
)
def test_errors_carry_no_values(masked: Shim, query: str) -> None:
    with masked.connect() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(query)
    diag = caught.value.diag
    said = " ".join(
        str(getattr(diag, name)) for name in ("message_primary", "message_detail", "message_hint", "context")
    )
    none_of_it(said.encode())
    assert "'id'" not in said
    none_of_it(journal(masked))
    assert diag.sqlstate is not None


def test_an_error_still_says_what_the_client_said_itself(masked: Shim) -> None:
    with masked.connect() as connection:
        with pytest.raises(psycopg.Error, match='relation "no_such_table" does not exist'):
            connection.execute("SELECT * FROM no_such_table")
        with pytest.raises(psycopg.Error, match='invalid input syntax for type integer: "abc"'):
            connection.execute("SELECT 'abc'::int")
        with pytest.raises(psycopg.errors.UniqueViolation, match="people_pkey") as caught:
            connection.execute("INSERT INTO masked.people (id, email, phone) VALUES (1, 'n', 'nnnn')")
        assert caught.value.diag.message_detail == "Key (id)=(1) already exists."


@pytest.mark.parametrize(
    "copy",
    [
        "COPY masked.people TO STDOUT",
        "COPY masked.people (phone, id, email) TO STDOUT (FORMAT csv, HEADER)",
        "COPY (SELECT phone, upper(phone), note FROM masked.people) TO STDOUT WITH CSV DELIMITER '@' FORCE QUOTE *",
        "COPY (SELECT email, phone FROM masked.people) TO STDOUT (DELIMITER '@')",
        "COPY masked.people TO STDOUT (FORMAT binary)",
        "COPY (SELECT p FROM masked.people p) TO STDOUT (FORMAT binary)",
    ],
)  # fmt: skip
def test_copy_is_masked_in_every_format(masked: Shim, copy: str) -> None:
    with masked.connect() as connection, connection.cursor() as cursor, cursor.copy(copy) as stream:
        data = b"".join(bytes(piece) for piece in stream)
    none_of_it(data.lower())
    assert data
    none_of_it(journal(masked).lower())


def test_the_record_of_a_statement_is_clean_and_policies_see_the_real_one(masked: Shim) -> None:
    with masked.connect() as connection:
        connection.execute("SELECT 1 WHERE 'bob.marker@example.com' = %s", ("bob.marker@example.com",))
    asked: list[Command] = [command for command in masked.engine.asked if "SELECT 1" in command.text]
    assert "bob.marker" in asked[0].text
    none_of_it(journal(masked))


def test_a_policy_may_ask_for_detectors_of_its_own(tmp_path: Path, people: Shop) -> None:
    resource = resource_of(people)
    for shim in start_shim(tmp_path / "state", {"orders": resource}, {"SHOP_PASSWORD": people.password}):
        shim.engine.rule = lambda command: Ruling(Allow(mask=("email",)), "all")
        with shim.connect() as connection:
            assert connection.execute("SELECT 'x@example.com'").fetchone() == ("[redacted]",)
            shim.engine.rule = lambda command: Ruling(Allow(), "all")
            assert connection.execute("SELECT 'x@example.com'").fetchone() == ("x@example.com",)
