"""Every type in both formats: what a real server sends, masked, is again a value of the type, and holds no marker."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import Format

from onrecord.policies.masking import WHOLE, Rule
from onrecord.policies.sql.catalog import Catalog, TypeInfo
from onrecord.shims.postgres.masking.ruled import Ruled, UndecodableError
from onrecord.shims.postgres.masking.types import Kind, Types
from onrecord.shims.postgres.masking.values import Detecting
from tests.shims.postgres.masking.conftest import ALL, KEY, Wire, masks_of

MARK = "bob@example.com"
CARD = "4111111111111111"


@pytest.fixture(scope="module")
def catalog(connection: psycopg.Connection) -> Catalog:
    rows = connection.execute(
        "SELECT t.oid::int8, n.nspname, t.typname, t.typtype::text,"
        " CASE WHEN t.typcategory = 'A' THEN typelem ELSE 0 END::int8, typbasetype::int8,"
        " ARRAY(SELECT attname || ' ' || atttypid FROM pg_attribute WHERE attrelid = t.typrelid"
        " AND attnum > 0 ORDER BY attnum)::text[] FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace"
        " WHERE t.oid >= 16384"
    ).fetchall()
    return Catalog(
        types=tuple(
            TypeInfo(
                oid=oid, schema=schema, name=name, kind=kind, element=element, base=base,
                fields=tuple((field.split()[0], int(field.split()[1])) for field in fields),
            )
            for oid, schema, name, kind, element, base, fields in rows
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def detecting(catalog: Catalog) -> Detecting:
    masks = masks_of(detect=ALL)
    return Detecting(Types(catalog), masks, masks.detectors)


def shown(connection: psycopg.Connection, oid: int, data: bytes | None, *, binary: bool) -> str | None:
    """What the server reads in `data`: it must be a value of the type."""
    name = ("bpchar",) if oid == 1042 else connection.execute("SELECT format_type(%s, NULL)", (oid,)).fetchone()
    assert name is not None
    result = connection.pgconn.exec_params(
        f"SELECT ($1::{name[0]})::text".encode(), [data], [oid], [Format.BINARY if binary else Format.TEXT], Format.TEXT
    )
    assert result.error_message == b""
    value = result.get_value(0, 0)
    return value.decode() if value is not None else None


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"'mail {MARK} now'::text", "mail [redacted] now"),
        (f"'{MARK}'::varchar", "[redacted]"),
        (f"'{MARK}'::bpchar", "[redacted]"),
        (f"'{MARK}'::name", "[redacted]"),
        (f"'{MARK}'::address", "[redacted]"),
        (f"'<a>{MARK}</a>'::text", "<a>[redacted]</a>"),
        (f"""'{{"a": "{MARK}", "b": 1.50}}'::jsonb""", '{"a": "[redacted]", "b": 1.50}'),
        (f"""'{{"a": "{MARK}"}}'::json""", '{"a":"[redacted]"}'),
        ("""'{"a": "bob\\u0040example.com"}'::json""", '{"a":"[redacted]"}'),
        (f"""'{{"{MARK}": 1}}'::jsonb""", '{"[redacted]": 1}'),
        (f"""'{{"a": {CARD}}}'::jsonb""", '{"a": null}'),
        (f"""'{{"a": 1, "a": "{MARK}"}}'::json""", None),
        (f"convert_to('x{MARK} ', 'UTF8')", "\\x5b72656461637465645d20"),
        (f"{CARD}::int8", None),
        (f"{CARD}::numeric", None),
        (f"{CARD}.00::numeric(20,2)", None),
        (f"-{CARD}::numeric", None),
        (f"{CARD}::float8", None),
        ("'93.184.216.34'::inet", None),
        ("'93.184.216.34/24'::inet", None),
        ("'93.184.216.0/24'::cidr", None),
        ("'2606:2800:220:1::1'::inet", None),
        (f"ARRAY['x', NULL, '{MARK}', 'a\"b\\c']", '{x,NULL,[redacted],"a\\"b\\\\c"}'),
        (f"ARRAY[['x', 'y'], ['{MARK}', 'NULL']]", '{{x,y},{[redacted],"NULL"}}'),
        (f"'[2:3]={{a,{MARK}}}'::text[]", "[2:3]={a,[redacted]}"),
        (f"ARRAY[1, {CARD}]::int8[]", "{1,NULL}"),
        (f"""ARRAY['{{"a": "{MARK}"}}']::jsonb[]""", '{"{\\"a\\": \\"[redacted]\\"}"}'),
        (f"ARRAY[convert_to('{MARK}', 'UTF8')]", '{"\\\\x5b72656461637465645d"}'),
        (f"ROW(1, 'n', '{MARK}', ARRAY['{MARK}'], '{{}}')::person", "(1,n,[redacted],{[redacted]},{})"),
        (f"ARRAY[ROW(1, 'n', '{MARK}', NULL, NULL)::person]", '{"(1,n,[redacted],,)"}'),
        (f"ROW(1, 'a\"b', '{MARK}', ARRAY['{MARK}'], NULL)::person", '(1,"a""b",[redacted],{[redacted]},)'),
        (f"int8range({CARD}, NULL)", None),
        (f"int8multirange(int8range(1, 2), int8range({CARD}, NULL))", None),
        (f"to_tsvector('simple', '{MARK}')", None),
        (f"""'$."{MARK}"'::jsonpath""", None),
    ],
)  # fmt: skip
def test_what_detectors_find_does_not_leave_in_any_type(
    connection: psycopg.Connection, wire: Wire, detecting: Detecting, catalog: Catalog, sql: str, expected: str | None,
    binary: bool,
) -> None:  # fmt: skip
    oid, data = wire(f"SELECT {sql}", binary=binary)
    assert data is not None
    found: dict[str, int] = {}
    kind = Types(catalog).of(oid)
    masked = detecting.mask(kind, binary, data, found)
    assert found, "nothing was counted"
    assert masked is None or (b"bob" not in masked and b"1111" not in masked)
    read = shown(connection, oid, masked, binary=binary)
    if '"a": 1, "a"' in sql:
        assert read == '"[redacted]"'
    else:
        assert read is None if expected is None else (read is not None and read.rstrip() == expected)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    "sql",
    [
        "'plain'::text", "''::text", "42", "4.5::float8", "12.50::numeric", "'NaN'::numeric", "true", "now()",
        "current_date", "interval '1 day'", "gen_random_uuid()", "'{}'::jsonb", """'{"a": [1, 2.50]}'::json""",
        "ARRAY[]::text[]", "ARRAY[1, NULL]", "ARRAY['a', NULL, 'NULL', '', '{}']", "ROW(1, NULL, 'x', '', ' ')",
        "ARRAY[ROW(1, 'a,b')]", "'happy'::mood", "'empty'::int4range", "int4range(1, 5)", "'{}'::int4multirange",
        "'\\x00ff'::bytea", "point(1, 2)", "'(1,2),(3,4)'::box", "ARRAY['(1,2),(3,4)']::box[]",
        "'08:00:2b:01:02:03'::macaddr",
        "B'101'", "'pg_class'::regclass", "'a & b'::tsquery", "12::money", "'x'::\"char\"", "'16/B374D848'::pg_lsn",
    ],
)  # fmt: skip
def test_what_holds_nothing_is_the_same_object_afterwards(
    wire: Wire, detecting: Detecting, catalog: Catalog, sql: str, binary: bool
) -> None:
    oid, data = wire(f"SELECT {sql}", binary=binary)
    assert data is not None
    found: dict[str, int] = {}
    assert detecting.mask(Types(catalog).of(oid), binary, data, found) is data
    assert found == {}


def nested() -> st.SearchStrategy[Any]:
    texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=8)
    return st.lists(st.none() | texts | st.just(MARK), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=nested(), binary=st.booleans(), form=st.sampled_from(["array", "row", "rows"]))
def test_arrays_and_records_of_any_texts_come_back_whole(
    connection: psycopg.Connection, wire: Wire, detecting: Detecting, catalog: Catalog, values: list[str | None],
    binary: bool, form: str,
) -> None:  # fmt: skip
    marks = ", ".join(["%s::text"] * len(values))
    sql = {"array": f"ARRAY[{marks}]", "row": f"ROW({marks})", "rows": f"ARRAY[ROW({marks})]"}[form]
    oid, data = wire(f"SELECT {sql}", *values, binary=binary)
    assert data is not None
    found: dict[str, int] = {}
    masked = detecting.mask(Types(catalog).of(oid), binary, data, found)
    assert masked is not None
    clean = detecting.clean
    _, expected = wire(f"SELECT {sql}", *[v if v is None else clean(v, {}) for v in values], binary=binary)
    if binary:
        assert masked == expected
    elif form == "array":
        assert shown(connection, oid, masked, binary=False) == shown(connection, oid, expected, binary=False)
    else:
        assert b"bob@" not in masked
    assert (MARK in values) <= bool(found)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60), oid=st.sampled_from([25, 114, 3802, 17, 20, 1700, 869, 1009, 2249, 2287, 3926, 4536,
                                                         3614, 1007, 99999, 650, 701, 4072, 1001, 1016]),
       binary=st.booleans())  # fmt: skip
def test_junk_raises_only_our_error(
    detecting: Detecting, catalog: Catalog, data: bytes, oid: int, binary: bool
) -> None:
    types, masks = Types(catalog), masks_of(detect=ALL)
    detecting.mask(types.of(oid), binary, data, {})
    ruled = Ruled(types, masks, Rule(name="r", strategy="partial", key=KEY))
    try:
        masked = ruled.mask(types.of(oid), binary, data, {})
    except UndecodableError:
        return
    assert masked is not data or not data or types.of(oid).kind is Kind.ARRAY


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("sql", "strategy", "expected"),
    [
        ("'bob@example.com'::text", "partial", "b***@e***.com"),
        ("'bob@example.com'::text", "redact", "[redacted]"),
        ("'bob@example.com'::text", "null", None),
        ("'{\"a\": 1}'::jsonb", "redact", '"[redacted]"'),
        ("'{\"a\": 1}'::json", "redact", '"[redacted]"'),
        ("ARRAY['bob@example.com', NULL]", "partial", "{b***@e***.com,NULL}"),
        ("42", "redact", None),
        ("current_date", "redact", None),
        ("ROW(1, 2)", "redact", None),
        ("ARRAY[1, 2]", "redact", "{NULL,NULL}"),
        ("'\\x6162'::bytea", "redact", "\\x5b72656461637465645d"),
        ("'10.0.0.1'::inet", "redact", None),
        ("true", "format", None),
    ],
)
def test_a_rule_masks_every_value_and_what_does_not_fit_is_null(
    connection: psycopg.Connection, wire: Wire, catalog: Catalog, sql: str, strategy: Any, expected: str | None,
    binary: bool,
) -> None:  # fmt: skip
    oid, data = wire(f"SELECT {sql}", binary=binary)
    assert data is not None
    ruled = Ruled(Types(catalog), masks_of(), Rule(name="r", strategy=strategy, key=KEY))
    found: dict[str, int] = {}
    masked = ruled.mask(Types(catalog).of(oid), binary, data, found)
    assert shown(connection, oid, masked, binary=binary) == expected
    assert found["r"] >= 1


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("sql", ["42", "gen_random_uuid()", "'abc'::text", "4111111111111111::int8"])
def test_the_same_format_and_pseudonyms_fit_their_type_and_are_stable(
    connection: psycopg.Connection, wire: Wire, catalog: Catalog, sql: str, binary: bool
) -> None:
    oid, data = wire(f"SELECT {sql}", binary=binary)
    assert data is not None
    for strategy in ("pseudonymise", "format"):
        ruled = Ruled(Types(catalog), masks_of(), Rule(name="r", strategy=strategy, key=KEY))
        masked = ruled.mask(Types(catalog).of(oid), binary, data, {})
        assert masked != data
        assert ruled.mask(Types(catalog).of(oid), binary, data, {}) == masked
        shown(connection, oid, masked, binary=binary)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("sql", ["1", "true", "ARRAY['x']", "ROW(1)", "now()", "'\\x61'::bytea", "int4range(1,2)"])
def test_an_expression_is_null_where_its_type_holds_no_text(
    wire: Wire, catalog: Catalog, sql: str, binary: bool
) -> None:
    oid, data = wire(f"SELECT {sql}", binary=binary)
    assert data is not None
    assert Ruled(Types(catalog), masks_of(), WHOLE).mask(Types(catalog).of(oid), binary, data, {}) is None


@pytest.mark.parametrize(
    ("oid", "data"), [(99999, b"\0\1\2"), (25, b"\xff\xfe"), (3802, b"\2{}"), (1009, b"\0"), (1009, b"\0" * 11)]
)
def test_an_undecodable_binary_value_of_a_masked_column_is_no_value(oid: int, data: bytes) -> None:
    ruled = Ruled(Types(None), masks_of(), Rule(name="r", strategy="redact", key=KEY))
    with pytest.raises(UndecodableError):
        ruled.mask(Types(None).of(oid), True, data, {})


@pytest.mark.parametrize(
    ("data", "binary", "passes"),
    [
        (b'"a"=>"bob@example.com"', False, False),
        (b'"a"=>"x"', False, True),
        (b"\0\0\0\1\0\0\0\1a\0\0\0\x0fbob@example.com", True, False),
        (b"\0\0\0\1\0\0\0\1a\xff\xff\xff\xff", True, True),
    ],
)
def test_hstore_is_searched_in_both_formats(detecting: Detecting, data: bytes, binary: bool, passes: bool) -> None:
    kind = Types(Catalog(types=(TypeInfo(oid=20001, schema="public", name="hstore", kind="b"),))).of(20001)
    assert (detecting.mask(kind, binary, data, {}) is data) is passes
