"""COPY data in any pieces: the same rows come out, masked, and still of their format."""

from __future__ import annotations

import contextlib
import csv
import io

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onrecord.policies.masking import WHOLE, MaskError
from onrecord.shims.postgres.masking.copies import masking_of
from onrecord.shims.postgres.masking.copy_options import CopyOptions, copy_options
from onrecord.shims.postgres.masking.rows import Column, Plan
from onrecord.shims.postgres.masking.ruled import Ruled
from onrecord.shims.postgres.masking.types import Types
from onrecord.shims.postgres.masking.values import Detecting
from tests.shims.postgres.masking.conftest import ALL, masks_of

MASKS = masks_of(detect=ALL)
DETECTING = Detecting(Types(None), MASKS, MASKS.detectors)
TEXTS = st.none() | st.lists(
    st.sampled_from(["bob@example.com", "a", "\t", "\n", "\\", '"', "'", ",", ";", "\\N", "\r", "é", " ", "@", "\\."]),
    max_size=5,
).map("".join)  # fmt: skip


def plan(columns: int, *, binary: bool = False) -> Plan:
    return Plan([Column(Types(None).of(25), binary, DETECTING)] * columns, MASKS.detectors, documents=False)


def through(data: bytes, options: CopyOptions, columns: int, cuts: list[int]) -> bytes:
    masking = masking_of(plan(columns, binary=options.format == "binary"), options, {})
    out, at, turn = b"", 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        out += masking.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    return out + masking.finish()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=4),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    option=st.sampled_from(
        ["", "(DELIMITER '@')", "(NULL 'x')", "(FORMAT csv)", "(FORMAT csv, HEADER)", "(FORMAT binary)",
         "(FORMAT csv, DELIMITER ';', QUOTE '''', FORCE_QUOTE *)", "(FORMAT csv, ESCAPE E'\\\\', NULL 'nil')"]
    ),
)  # fmt: skip
def test_what_postgresql_writes_is_read_back_masked(
    connection: psycopg.Connection, rows: list[tuple[str | None, str | None]], cuts: list[int], option: str
) -> None:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS copied (n serial, a text, b text); TRUNCATE copied")
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS back (n serial, a text, b text); TRUNCATE back")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO copied (a, b) VALUES (%s, %s)", rows)
        statement = f"COPY copied (a, b) TO STDOUT {option}"
        with cursor.copy(statement) as stream:
            data = b"".join(bytes(piece) for piece in stream)
        masked = through(data, copy_options(statement), 2, cuts)
        with cursor.copy(f"COPY back (a, b) FROM STDIN {option.replace(', FORCE_QUOTE *', '')}") as into:
            into.write(masked)
        found = cursor.execute("SELECT a, b FROM back ORDER BY n").fetchall()
    clean = [tuple(None if v is None else DETECTING.clean(v, {}) for v in one) for one in rows]
    assert found == clean


@settings(deadline=None)
@given(data=st.binary(max_size=100), form=st.sampled_from(["text", "csv", "binary"]), cut=st.integers(1, 30))
def test_junk_raises_only_our_error(data: bytes, form: str, cut: int) -> None:
    with contextlib.suppress(MaskError):
        through(data, copy_options(f"COPY t TO STDOUT (FORMAT {form})"), 2, [cut])


def test_a_row_that_is_too_long_is_refused() -> None:
    masking = masking_of(plan(1), CopyOptions(), {})
    masking.feed(b"x" * (1 << 24))
    with pytest.raises(MaskError, match="longer than"):
        masking.feed(b"x")


def test_a_header_passes_and_a_quoted_line_end_does_not_split_a_row() -> None:
    options = copy_options("COPY t TO STDOUT (FORMAT csv, HEADER)")
    masked = through(b'a,bob@example.com\n"x\ny",bob@example.com\n', options, 2, [3])
    assert list(csv.reader(io.StringIO(masked.decode()))) == [["a", "bob@example.com"], ["x\ny", "[redacted]"]]


@pytest.mark.parametrize(
    "statement",
    [
        "COPY t TO STDOUT (ENCODING 'latin1')",
        "COPY t TO STDOUT (FORMAT 'json')",
        "SELECT 1",
        "COPY (",
        "COPY t TO STDOUT (DELIMITER 'é')",
    ],
)
def test_what_could_not_be_taken_apart_is_refused(statement: str) -> None:
    with pytest.raises(MaskError):
        copy_options(statement)


def test_old_and_new_options_say_the_same() -> None:
    assert copy_options("COPY t TO STDOUT CSV HEADER NULL 'x' DELIMITER ';'") == copy_options(
        "COPY t TO STDOUT (FORMAT csv, HEADER true, NULL 'x', DELIMITER ';')"
    )
    assert copy_options("COPY BINARY t TO STDOUT").format == "binary"
    assert not copy_options("COPY t TO STDOUT (FORMAT csv, HEADER off)").header


def test_whether_an_expression_over_a_masked_column_is_empty_is_not_told() -> None:
    values = Ruled(Types(None), MASKS, WHOLE)
    for form in ("text", "csv", "binary"):
        binary = form == "binary"
        columns = [Column(Types(None).of(0), binary, values)]
        masking = masking_of(Plan(columns, None, documents=False), CopyOptions(form), {})
        head = b"PGCOPY\n\xff\r\n\0" + bytes(8) if binary else b""
        rows = {
            "text": (b"\n", b"\\N\n"),
            "csv": (b'""\n', b"\n"),
            "binary": (b"\0\1" + bytes(4), b"\0\1" + b"\xff" * 4),
        }[form]
        masking.feed(head)
        assert len({masking.feed(row) for row in rows}) == 1


@pytest.mark.parametrize(
    ("options", "header"),
    [(CopyOptions("csv", b",", header=True), b'a,"b\nbob@example.com",c\n'), (CopyOptions(header=True), b"a\tb\tc\n")],
)
def test_a_header_of_another_width_than_the_rows_is_none(options: CopyOptions, header: bytes) -> None:
    with pytest.raises(MaskError, match="number of columns"):
        masking_of(plan(2), options, {}).feed(header)
