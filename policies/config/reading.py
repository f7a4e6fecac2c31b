"""mitm.toml → Config. Every problem is collected; nothing is guessed.

The way: bytes → TOML → tables (tables.py) → values (values.py) → Config (types.py) → checks over the whole (checks.py).
"""

from __future__ import annotations

import difflib
import tomllib
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from onrecord.policies.config.tables import Table
from onrecord.policies.config.types import Config
from onrecord.policies.config.values import BadValue, shown
from onrecord.policies.errors import ConfigError, Problem

MAX_FILE = 1024 * 1024

T = TypeVar("T")
TableT = TypeVar("TableT", bound=Table)


class Reader:
    """Collects problems under the file's name; `folder` is what relative paths start from."""

    def __init__(self, file: Path) -> None:
        self.name = file.name
        self.folder = file.parent
        self.problems: list[Problem] = []
        self._bad: set[str] = set()

    def problem(self, key: str, reason: str, fix: str = "") -> None:
        """Note what is wrong at `key`."""
        self._bad.add(key)
        key = key if key.isprintable() else repr(key)[1:-1]
        self.problems.append(Problem(f"{self.name}: {key}" if key else self.name, reason, fix))

    def is_bad(self, key: str) -> bool:
        """Whether `key` has a problem already; then nothing more is said about it."""
        return key in self._bad

    def value(self, key: str, default: T, parse: Callable[..., T], *arguments: Any) -> T:
        """`parse(*arguments)`, or `default` where it is bad (noted)."""
        if key in self._bad:
            return default
        try:
            return parse(*arguments)
        except BadValue as error:
            self.problem(key, error.reason, error.fix)
            return default

    def table(self, data: dict[str, Any], kind: type[TableT], key: str) -> TableT:
        """`data` as a `kind`; bad and unknown keys are noted and left at their defaults."""
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        for name, value in data.items():
            at = f"{key}.{name}" if key else name
            if name not in fields:
                self.problem(at, "unknown key", _suggestion(name, list(fields)))
                continue
            try:
                values[name] = msgspec.convert(value, fields[name])
            except msgspec.ValidationError as error:
                choices = typing.get_args(fields[name]) if typing.get_origin(fields[name]) is typing.Literal else ()
                if choices and isinstance(value, str):
                    fix = "one of " + ", ".join(f'"{choice}"' for choice in choices)
                    self.problem(at, f"no such choice: {shown(value)}", fix)
                else:
                    self.problem(at, _type_error(str(error)))
        for name in kind.REQUIRED:
            if name not in data:
                self.problem(f"{key}.{name}", "missing", _REQUIRED_FIX.get(name, ""))
        return kind(**values)

    def keys(self, data: dict[str, Any], known: tuple[str, ...], key: str) -> None:
        """Note the keys of `data` that are not `known`."""
        for name in data:
            if name not in known:
                self.problem(f"{key}.{name}" if key else name, "unknown key", _suggestion(name, list(known)))

    def section(self, data: dict[str, Any], key: str) -> dict[str, Any]:
        """The table `key` of the file; empty where it is left out."""
        value = data.get(key, {})
        if not isinstance(value, dict):
            self.problem(key, "not a table", f"write [{key}]")
            return {}
        return value

    def items(self, data: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
        """The tables of the list `key`, each with its path in the file, such as `issuers[0]`."""
        value = data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.problem(key, "not a list of tables", f"write [[{key}]]")
            return []
        return [(f"{key}[{i}]", item) for i, item in enumerate(value)]

    def path(self, text: str) -> Path:
        """`text`, with or without `file:`, resolved against the file's folder."""
        return self.folder / text.removeprefix("file:")

    def existing(self, key: str, text: str | None) -> Path | None:
        """The path of a file that must exist and be readable."""
        if text is None or self.is_bad(key):
            return None
        if text.startswith("-----BEGIN"):
            self.problem(key, "a PEM block where a path is expected; it is not shown", 'write "file:NAME.pem"')
            return None
        path = self.path(text)
        try:
            if not path.is_file():
                self.problem(key, f"no such file: {shown(str(path))}")
                return None
            with path.open("rb"):
                pass
        except (OSError, ValueError) as error:
            self.problem(key, f"cannot be read: {shown(str(path))}: {getattr(error, 'strerror', None) or 'bad path'}")
            return None
        return path

    def certificate(self, key: str, text: str | None) -> Path | None:
        """The path of a PEM file that must hold a certificate."""
        path = self.existing(key, text)
        if path is None:
            return None
        with path.open("rb") as file:
            if b"-----BEGIN CERTIFICATE-----" not in file.read(MAX_FILE):
                self.problem(key, f"no certificate (PEM) in {str(path)!r}")
        return path


_REQUIRED_FIX = {
    "groups": 'say whose members may use it, such as groups = ["agents"]',
    "type": 'one of "http", "postgres", "kubernetes", "ssh"',
    "audience": 'the aud claim that tokens for this gateway carry, such as "onrecord"',
}


def load_config(path: Path) -> Config:
    """The configuration in `path`. Raises ConfigError with every problem found."""
    from onrecord.policies.config.sections import read_config

    path = Path(path).absolute()
    reader = Reader(path)
    data = _parse(path, reader)
    config = read_config(data, path, reader) if data is not None else None
    if reader.problems or config is None:
        raise ConfigError(reader.problems)
    return config


def _parse(path: Path, reader: Reader) -> dict[str, Any] | None:
    try:
        if path.is_dir():
            reader.problem("", f"a folder, not a file: {str(path)!r}", "give the path of a mitm.toml")
            return None
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        reader.problem("", f"no such file: {str(path)!r}", "give the path with -c mitm.toml")
        return None
    except OSError as error:
        reader.problem("", f"cannot be read: {error.strerror}")
        return None
    if len(content) > MAX_FILE:
        reader.problem("", f"over {MAX_FILE} bytes: this is no configuration")
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        reader.problem("", f"not UTF-8 text at line {line}", "save it as UTF-8")
        return None
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number of 5,000 digits
        reader.problem("", f"not TOML: {error}")
        return None
    if _has_nul(data):
        reader.problem("", "a text with a NUL character in it", "take the \\u0000 out")
        return None
    return data


def _has_nul(value: object) -> bool:
    """Whether a NUL stands in any text: no path, name or address has one, and the system's calls raise at it."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str) and "\0" in item:
            return True
        if isinstance(item, dict):
            stack += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            stack += item
    return False


def _suggestion(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {near[0]}?" if near else "known here: " + ", ".join(known)


_PLAIN = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "array": "a list",
    "object": "a table",
    "bool": "true or false",
}


def _type_error(text: str) -> str:
    """msgspec's message in plain words. It names types and bounds, never the value that was read."""
    text = text.partition(" - at ")[0].replace("`", "").replace(" | null", "").replace(" |", " or")
    return " ".join(_PLAIN.get(word.rstrip(","), word.lower()) + "," * word.endswith(",") for word in text.split(" "))
