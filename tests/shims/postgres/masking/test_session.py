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
from onrecord.shims.postgres.masking.session import SessionMasking
from onrecord.shims.postgres.masking.types import Kind, Types, ValueType
from onrecord.shims.postgres.messages import encode_query
from onrecord.shims.postgres.wire import message
from tests.conftest import Shop
from tests.shims.postgres.conftest import Shim, resource_of, start_shim
from tests.shims.postgres.raw import RawClient

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


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    "values", ["NULL ELSE 'x'", "'' ELSE 'x'", "1 ELSE NULL", "'1'::jsonb ELSE NULL", "'{a}'::text[] ELSE NULL"]
)
def test_whether_an_expression_is_null_tells_nothing(masked: Shim, values: str, binary: bool) -> None:
    with masked.connect() as connection, connection.cursor(binary=binary) as cursor:
        cursor.execute(f"SELECT CASE WHEN phone LIKE 'z%' THEN {values} END FROM masked.people")
        rows = cursor.fetchall()
    assert len(rows) == 2
    assert rows[0] == rows[1]


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


def test_a_mask_by_type_concerns_the_columns_of_that_type_and_no_others(tmp_path: Path, people: Shop) -> None:
    resource = resource_of(people, catalog="auto", catalog_user=None, catalog_password=None)
    masks = (MaskConfig(types=("date",)),)
    env = {"SHOP_PASSWORD": people.password}
    for shim in start_shim(tmp_path / "state", {"orders": resource}, env, masks=masks):
        shim.engine.rule = lambda command: Ruling(Allow(), "all")
        with shim.connect() as connection:
            assert connection.execute("SELECT born::text, id FROM masked.people WHERE id = 1").fetchall() == [
                ("[redacted]", 1)
            ]
            for text in ("born > '1900-01-01'", "extract(year FROM born) = 1990", "p::text LIKE '%1990%'"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="masked"):
                    connection.execute(f"SELECT id FROM masked.people p WHERE {text}")


def parse(text: str, name: str = "") -> bytes:
    return message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def bind(statement: str = "", formats: bytes = b"\0\0") -> bytes:
    return message(b"B", b"\0" + statement.encode() + b"\0" + b"\0\0\0\0" + formats)


EXECUTE, SYNC, DESCRIBE_STATEMENT = message(b"E", bytes(5)), message(b"S"), message(b"D", b"S\0")


@pytest.mark.parametrize("formats", [b"\0\0", b"\0\1\0\1"])
def test_rows_that_nobody_described_are_masked_and_the_client_sees_no_description(masked: Shim, formats: bytes) -> None:
    with RawClient(masked) as client:
        client.send(parse("SELECT phone FROM masked.people WHERE id = 1") + bind(formats=formats) + EXECUTE + SYNC)
        answers = client.until(b"Z")
    assert [kind for kind, _ in answers] == [b"1", b"2", b"D", b"C", b"Z"]
    assert b"[redacted]" in answers[2][1]
    assert outcome(masked, "SELECT phone FROM masked.people WHERE id = 1")["sample"]["rows"] == [["[redacted]"]]


def test_an_execute_that_was_described_before_its_statement_changed_is_masked(masked: Shim) -> None:
    with RawClient(masked) as client:
        client.send(encode_query("PREPARE p AS SELECT id FROM masked.people WHERE id = 1"))
        client.until(b"Z")
        client.send(parse("EXECUTE p") + DESCRIBE_STATEMENT + SYNC)
        client.until(b"Z")
        client.send(encode_query("DEALLOCATE p"))
        client.until(b"Z")
        client.send(encode_query("PREPARE p AS SELECT phone FROM masked.people WHERE id = 1"))
        client.until(b"Z")
        client.send(bind() + EXECUTE + SYNC)
        none_of_it(repr(client.until(b"Z")).encode())
    none_of_it(journal(masked))


def test_statements_without_columns_and_without_rows_work(masked: Shim) -> None:
    with RawClient(masked) as client:
        for query in ("SELECT", "SELECT FROM masked.people", "BEGIN", "COMMIT", ""):
            client.send(encode_query(query))
            assert b"E" not in [kind for kind, _ in client.until(b"Z")]
            client.send(parse(query) + bind() + EXECUTE + SYNC)
            assert {kind for kind, _ in client.until(b"Z")} <= {b"1", b"2", b"C", b"D", b"I", b"N", b"Z"}


def test_a_large_row_is_held_to_be_masked_and_one_that_is_too_large_is_refused(masked: Shim) -> None:
    with masked.connect() as connection:
        found = connection.execute("SELECT repeat('x', 3000000) || ' bob.marker@example.com'").fetchone()
        assert found is not None
        assert found[0].endswith(" [redacted]")
        with pytest.raises(psycopg.Error, match="onrecord:masking"):
            connection.execute("SELECT repeat('x', 17000000)")
    assert b"onrecord:masking" in journal(masked)


def test_an_undecodable_value_of_a_masked_column_refuses_the_row(masked: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    with masked.connect() as connection:
        monkeypatch.setattr(Types, "of", lambda _types, oid: ValueType(oid, Kind.UNKNOWN, ""))
        with pytest.raises(psycopg.Error, match="onrecord:masking") as caught:
            connection.cursor(binary=True).execute("SELECT phone FROM masked.people")
        assert "marker" not in str(caught.value)
    none_of_it(journal(masked))


def test_what_set_config_reports_is_not_told(masked: Shim) -> None:
    with RawClient(masked) as client:
        client.send(encode_query("SELECT set_config('application_name', phone, false) FROM masked.people WHERE id = 1"))
        answers = client.until(b"Z")
        assert (b"S", b"application_name\0[redacted]\0") in answers
        none_of_it(repr(answers).encode())
        client.send(encode_query("SET application_name = 'mine'"))
        assert (b"S", b"application_name\0mine\0") in client.until(b"Z")


def test_notifications_of_others_are_masked(masked: Shim, people: Shop) -> None:
    with masked.connect() as connection:
        connection.execute("LISTEN news")
        people.server.sql("NOTIFY news, 'zzmarkerzz and bob.marker@example.com'", database=people.database)
        told = next(iter(connection.notifies(timeout=10, stop_after=1)))
    assert told.payload == "[redacted]"
    none_of_it(journal(masked))


def test_masking_that_breaks_lets_nothing_pass(masked: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    with masked.connect() as connection:
        for name in ("plan", "message"):
            monkeypatch.setattr(SessionMasking, name, broken)
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("SELECT email FROM masked.people")
        assert "bob" not in str(caught.value)
    none_of_it(journal(masked))


def test_the_record_says_which_columns_were_masked(masked: Shim) -> None:
    with masked.connect() as connection:
        connection.execute("SELECT id, phone, note, born FROM masked.people ORDER BY id").fetchall()
        connection.execute("SELECT id, note FROM masked.people").fetchall()
    masked.wait_ended()
    samples = [outcome["sample"] for text, _, outcome in masked.commands() if text.startswith("SELECT id") and outcome]
    assert samples[0]["columns"] == ["id", "phone", "note", "born"]
    assert samples[0]["masked"] == [1, 3]
    assert "masked" not in samples[1]


def test_a_notification_says_what_the_client_said_only_where_it_is_its_own(masked: Shim, people: Shop) -> None:
    with masked.connect() as connection:
        connection.execute("LISTEN codes")
        connection.execute("NOTIFY codes, 'my own word'")
        assert next(iter(connection.notifies(timeout=10, stop_after=1))).payload == "my own word"
        connection.execute("SELECT 1 /* 4710 4711 4712 */")
        people.server.sql("NOTIFY codes, '4711'", database=people.database)
        assert next(iter(connection.notifies(timeout=10, stop_after=1))).payload == "[redacted]"
