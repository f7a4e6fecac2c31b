"""Every wrong mitm.toml ends in a ConfigError or is valid, and no message repeats a password of a URL in it."""

from __future__ import annotations

import copy
import datetime
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.config import load_config
from onrecord.policies.errors import ConfigError
from onrecord.scripts.parts.toml_file import write_toml

EXAMPLE = Path(__file__).parents[3] / "mitm.toml"
PASSWORD = "hunter2!Seekret"  # it must not come back
ODD: tuple[Any, ...] = (
    f"postgresql://u:{PASSWORD}@h:5432/db?x=y", f"https://u:{PASSWORD}@h", "", 0, -1, 10**30, 1.5, float("nan"),
    float("inf"), True, [], {}, [1], [[]], [{}], {"a": {"b": []}}, "\x00", "a" * 10_000, "env:", "file:", "exec:",
    "exec:/bin/true 'x", "127.0.0.1:99999", "https://[::1", "999999999999999999 GiB", "10.0.0.0/99", "/dev/zero",
    "library:../x", datetime.date(2026, 1, 1), datetime.datetime(1, 1, 1), datetime.time(1, 1),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield (*path, key)
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*path, key))


def replaced(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return changed


def attempt(path: Path, data: bytes) -> str:
    """What the error says; empty where the configuration is valid."""
    path.write_bytes(data)
    try:
        load_config(path)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_any_value_at_any_place_is_valid_or_a_config_error(tmp_path: Path, odd: Any) -> None:
    document = tomllib.loads(EXAMPLE.read_text())
    for place in places(document):
        try:
            text = write_toml(replaced(document, place, odd))
        except (TypeError, ValueError):
            continue  # no TOML has this
        said = attempt(tmp_path / "mitm.toml", text.encode())
        assert PASSWORD not in said, (place, said)


def test_any_table_or_value_may_be_missing(tmp_path: Path) -> None:
    document = tomllib.loads(EXAMPLE.read_text())
    for place in places(document):
        changed = copy.deepcopy(document)
        parent: Any = changed
        for key in place[:-1]:
            parent = parent[key]
        del parent[place[-1]]
        attempt(tmp_path / "mitm.toml", write_toml(changed).encode())


@pytest.mark.parametrize("junk", [b"\xff", b"\x00", b"[", b'"', b"\xef\xbb\xbf", b"[[[", b"a.b.c = {", b"\r"])
def test_junk_anywhere_is_a_config_error_or_valid(tmp_path: Path, junk: bytes) -> None:
    data = EXAMPLE.read_bytes()
    for at in range(0, len(data), 97):
        attempt(tmp_path / "mitm.toml", data[:at] + junk + data[at:])


def test_depth_is_a_config_error(tmp_path: Path) -> None:
    assert attempt(tmp_path / "mitm.toml", b"a = " + b"[" * 5000 + b"]" * 5000)
    assert attempt(tmp_path / "mitm.toml", b"a = " + b"{a=" * 5000 + b"1" + b"}" * 5000)
    assert attempt(tmp_path / "mitm.toml", b"[" + b"a." * 5000 + b"a]\nx = 1\n")
    assert attempt(tmp_path / "mitm.toml", b"a = " + b"9" * 100_000)
