"""The client's first packet: cancel or startup, what it asks for, and which parts of it are refused. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from onrecord.shims.postgres.search_path import split_identifiers
from onrecord.shims.postgres.wire import Reader, WireError

STARTUP_LIMIT = 10_000  # MAX_STARTUP_PACKET_LENGTH of PostgreSQL
SSL_CODE, GSS_CODE, CANCEL_CODE = 80877103, 80877104, 80877102
NEWEST = (3 << 16) | 2
LONG_KEYS = (3 << 16) | 2
MAX_SCHEMAS = 12  # of the path at the start; see settings.py for the whole session

# Startup parameters that change neither how a statement reads nor who runs it.
HARMLESS = frozenset(
    {
        "application_name",
        "bytea_output",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "intervalstyle",
        "jit",
        "lc_messages",
        "lc_monetary",
        "lc_numeric",
        "lc_time",
        "lock_timeout",
        "statement_timeout",
        "tcp_user_timeout",
        "timezone",
        "transaction_timeout",
    }
)
ENCODINGS = frozenset({"utf8", "utf-8", "unicode"})
# Sent upstream, unless the client says another search_path: RESET and DISCARD ALL go back to these, whatever the role
# or the database has set.
PINNED = {"client_encoding": "UTF8", "standard_conforming_strings": "on", "search_path": "public"}


class StartupError(WireError):
    """The startup packet asks for something that is refused; the text tells what and why."""


@dataclass(frozen=True)
class Cancel:
    """A CancelRequest."""

    pid: int
    secret: bytes


@dataclass(frozen=True)
class Startup:
    """A StartupMessage. `parameters` are those to pass upstream; `unknown_options` the `_pq_.` ones not served."""

    version: int
    user: str
    database: str
    parameters: dict[str, str] = field(default_factory=dict)
    unknown_options: tuple[str, ...] = ()

    @property
    def search_path(self) -> tuple[str, ...]:
        """The path that the client asks for; empty where it asks for none."""
        return _path_of(self.parameters.get("search_path", ""))

    @property
    def negotiated(self) -> int:
        """The protocol version that is spoken."""
        return min(self.version, NEWEST)

    @property
    def must_negotiate(self) -> bool:
        return self.version > NEWEST or bool(self.unknown_options)


def check_length(length: int) -> None:
    """Raises WireError where no startup packet has this length."""
    if not 8 <= length <= STARTUP_LIMIT:
        raise WireError("invalid length of startup packet")


def decode_packet(packet: bytes) -> Cancel | Startup:
    """A whole packet (with its length). Raises WireError, and StartupError for what is refused."""
    reader = Reader(packet)
    length, version = reader.u32(), reader.u32()
    check_length(length)
    if length != len(packet):
        raise WireError("invalid length of startup packet")
    if version == CANCEL_CODE:
        return _cancel(reader, length)
    if version in (SSL_CODE, GSS_CODE):
        raise WireError("an encryption request where none may stand")
    if version >> 16 != 3:
        raise StartupError(f"unsupported frontend protocol {version >> 16}.{version & 0xFFFF}", "0A000")
    return _startup(reader, version)


def _cancel(reader: Reader, length: int) -> Cancel:
    pid = reader.u32()
    secret = reader.take(length - 12)
    if not 4 <= len(secret) <= 256:
        raise WireError("invalid length of cancel key")
    return Cancel(pid, secret)


def _startup(reader: Reader, version: int) -> Startup:
    given: dict[str, str] = {}
    unknown: list[str] = []
    while name := reader.text():
        value = reader.text()
        if name.startswith("_pq_."):
            unknown.append(name)
        elif name in given:
            raise StartupError(f"startup parameter {name!r} is given twice")
        else:
            given[name] = value
    reader.end()
    user = given.pop("user", "")
    if not user:
        raise StartupError("no PostgreSQL user name specified in startup packet", "28000")
    database = given.pop("database", "") or user
    if given.pop("replication", "off").lower() not in {"off", "false", "no", "0"}:
        raise StartupError("replication connections are not supported by the gateway", "0A000")
    parameters: dict[str, str] = {}
    for name, value in _options(given.pop("options", "")):
        _admit(name, value, parameters)
    for name, value in given.items():
        _admit(name, value, parameters)
    return Startup(version, user, database, parameters, tuple(unknown))


def _admit(name: str, value: str, parameters: dict[str, str]) -> None:
    """Take a parameter that may pass into `parameters`. Raises StartupError for any other."""
    key = name.lower()
    if key in HARMLESS:
        parameters[key] = value
    elif key == "search_path":
        _path_of(value)
        parameters[key] = value
    elif not pinned_value(key, value):
        raise StartupError(f"startup parameter {name!r} may not be set to {value[:100]!r} through the gateway", "0A000")


def _path_of(value: str) -> tuple[str, ...]:
    path = split_identifiers(value)
    if path is None:
        raise StartupError(f"the startup parameter search_path cannot be read: {value[:100]!r}", "22023")
    if len(path) > MAX_SCHEMAS:
        raise StartupError(f"the startup parameter search_path names more than {MAX_SCHEMAS} schemas", "0A000")
    return path


def pinned_value(name: str, value: str) -> bool:
    """Whether `name` is a pinned setting and `value` the one that it is pinned to."""
    plain = value.strip().strip("'\"").lower()
    if name == "client_encoding":
        return plain in ENCODINGS
    if name == "standard_conforming_strings":
        return plain in {"on", "true", "yes", "1"}
    return False


# As pg_split_opts of PostgreSQL reads them: words end at white space, a backslash takes the next character as it is,
# and a quote is a character like any other.
_OPTION = re.compile(r"(?:\\.|[^\\ \t\n\r\f\v]|\\\Z)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.|\Z)", re.DOTALL)


def _options(text: str) -> list[tuple[str, str]]:
    """`-c name=value` and `--name=value` of the `options` parameter. Raises StartupError for anything else."""
    words = [_ESCAPED.sub(r"\1", word) for word in _OPTION.findall(text)]
    found: list[tuple[str, str]] = []
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            setting = words.pop(0)
        elif word.startswith(("-c", "--")):
            setting = word[2:]
        else:
            raise StartupError(f"the option {word[:100]!r} is not supported by the gateway", "0A000")
        name, equals, value = setting.partition("=")
        if not equals:
            raise StartupError(f"the option {word[:100]!r} has no value", "0A000")
        found.append((name.replace("-", "_"), value))
    return found
