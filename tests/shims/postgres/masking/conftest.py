"""Masks as mitm.toml would give them, and a real PostgreSQL that says how values are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from onrecord.policies.masking import Masks, Rule
from onrecord.policies.masking.columns import pattern, type_pattern
from onrecord.policies.masking.json_paths import json_path
from onrecord.policies.masking.masks import PathRule
from onrecord.scripts.parts.postgres import PostgresPart

KEY = b"k" * 32
ALL = dict.fromkeys(("email", "phone", "payment_card", "iban", "ip", "jwt", "private_key", "url_password"), "redact")


def masks_of(
    *,
    detect: dict[str, Any] | None = None,
    columns: dict[str, Any] | None = None,
    types: dict[str, Any] | None = None,
    json_paths: dict[str, Any] | None = None,
) -> Masks:
    """Masks with these detectors and rules, each with its strategy."""

    def rule(name: str, strategy: Any) -> Rule:
        return Rule(name=name, strategy=strategy, key=KEY)

    return Masks(
        key=KEY,
        detect=detect,
        columns=[(pattern(name, 3), rule(name, how)) for name, how in (columns or {}).items()],
        types=[(type_pattern(name), rule(name, how)) for name, how in (types or {}).items()],
        json_paths=[PathRule(json_path(name), rule(name, how)) for name, how in (json_paths or {}).items()],
    )


Wire = Callable[..., tuple[int, bytes | None]]


@pytest.fixture(scope="session")
def connection(postgres: PostgresPart) -> Iterator[psycopg.Connection]:
    """A superuser's connection to a database of these tests' own, with hstore, citext and types of all kinds."""
    postgres.sql("CREATE DATABASE masking_values")
    with psycopg.connect(
        postgres.dsn(postgres.superuser, postgres.password, "masking_values"), autocommit=True
    ) as made:
        made.execute("CREATE TYPE person AS (id int, name text, email text, tags text[], doc jsonb)")
        made.execute("CREATE TYPE mood AS ENUM ('happy', 'sad')")
        made.execute("CREATE DOMAIN address AS text")
        yield made


@pytest.fixture
def wire(connection: psycopg.Connection) -> Wire:
    """`wire("SELECT …", binary=True)` → type OID and bytes of the one value, as the server sends it."""

    def ask(sql: str, *parameters: Any, binary: bool) -> tuple[int, bytes | None]:
        with connection.cursor(binary=binary) as cursor:
            cursor.execute(sql, parameters or None)
            result = cursor.pgresult
            assert result is not None
            assert result.fformat(0) == int(binary)
            value = result.get_value(0, 0)
            return result.ftype(0), bytes(value) if value is not None else None

    return ask
