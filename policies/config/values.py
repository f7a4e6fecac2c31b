"""Single values of mitm.toml: text → address, size, duration, host, reference. Pure; a bad one raises BadValue.

What may hold a secret is never part of an error's text: `shown` cuts it out, `reference` says nothing at all.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import idna

from onrecord.policies.config.types import Address, SecretRef
from onrecord.policies.redaction import clean_generic

_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([a-zA-Z]*)", re.ASCII)
_REFERENCE = re.compile(r"(env|file|exec):(.*)", re.DOTALL)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_DIGITS_ONLY = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)", re.ASCII)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadValue(ValueError):  # noqa: N818  # it is one value, not an error of the program
    """`reason`: what was read and why it is wrong; `fix`: how to mend it."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


def shown(text: str) -> str:
    """`text` quoted for a message: without userinfo, query or known forms of a secret; at most 100 characters."""
    if "@" in text:
        text = "…@" + text.rsplit("@", 1)[1]
    head, mark, _ = text.partition("?")
    text = clean_generic(head + ("?…" if mark else ""))
    return repr(text if len(text) <= 100 else text[:100] + "…")


def address(text: str) -> Address:
    """A listener: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`."""
    host, colon, port = text.rpartition(":")
    fix = 'write "127.0.0.1:8080" or "[::1]:8080"'
    if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
        raise BadValue(f"not an address with a port between 1 and 65535: {shown(text)}", fix)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadValue(f"an IPv6 address without brackets: {shown(text)}", fix)
    if host in ("", "*"):
        raise BadValue(f"no host: {shown(text)}", 'to listen on every address write "0.0.0.0:PORT" or "[::]:PORT"')
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        host = host_name(host)
    return Address(host, int(port))


def size(value: str | int) -> int:
    """Bytes: a number, or text such as "64 KiB", "1 MiB", "10 MB"."""
    if isinstance(value, int):
        number, unit = str(value), ""
    else:
        match = _NUMBER.fullmatch(value.strip())
        number, unit = match.groups() if match else ("", "?")
    if unit.lower() not in _SIZES or number.startswith("-"):
        raise BadValue(f"not a size: {shown(str(value))}", 'write bytes as a number, or "64 KiB", "1 MiB", "1 GiB"')
    result = float(number) * _SIZES[unit.lower()]
    if result != int(result):
        raise BadValue(f"not a whole number of bytes: {shown(str(value))}")
    return int(result)


def duration(value: str | float) -> float:
    """Seconds: a number, or text such as "250 ms", "60 s", "15 min", "1 h", "7 d"."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        number, unit = match.groups() if match else ("", "?")
        if unit not in _DURATIONS:
            raise BadValue(
                f"not a duration: {shown(value)}", 'write seconds as a number, or "250 ms", "60 s", "15 min", "1 h"'
            )
        return float(number) * _DURATIONS[unit]
    if not 0 <= value < 1e9:
        raise BadValue(f"not a duration in seconds: {value!r}")
    return float(value)


def moment(value: object) -> float:
    """Unix time in seconds of a TOML date-time with a zone, or of a date's first second in UTC."""
    if not isinstance(value, date | str):
        raise BadValue("not a date or time", "write 2026-12-01T18:00:00Z or 2026-12-01")
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if len(value) > 10 else date.fromisoformat(value)
        except ValueError:
            raise BadValue(
                f"not a date or time: {shown(str(value))}", "write 2026-12-01T18:00:00Z or 2026-12-01"
            ) from None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise BadValue(f"a time without a zone: {value.isoformat()}", f"write {value.isoformat()}Z for UTC")
        return value.timestamp()
    return datetime.combine(value, time(), UTC).timestamp()


def network(text: str) -> str:
    """A CIDR network, normalised; a bare address is a network of one."""
    try:
        return str(ipaddress.ip_network(text.strip(), strict=True))
    except ValueError:
        pass
    try:
        wider = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise BadValue(f"not a network: {shown(text)}", 'write "10.0.0.0/8" or "2001:db8::/32"') from None
    raise BadValue(f"{shown(text)} has bits set behind its prefix", f'write "{wider}"')


def name(text: str, what: str) -> str:
    """A name of ours: letters, digits, `_`, `.`, `-`, at most 63 characters."""
    if not _NAME.fullmatch(text):
        raise BadValue(f"not a {what} name: {shown(text)}", "use letters, digits, _ . - and at most 63 of them")
    return text


def ip_of(host: str) -> IpAddress | None:
    """The address that `host` spells (IPv4-mapped ones as IPv4), or None where it is a name."""
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine. A name other than localhost never counts."""
    ip = ip_of(host)
    return ip.is_loopback if ip is not None else host.rstrip(".").lower() == "localhost"


def host_name(text: str, *, wildcard: bool = False) -> str:
    """A host as it is compared everywhere: lower case, no trailing dot, punycode, addresses in their one form.

    With `wildcard`, `*.example.com` stands for every name below example.com, at any depth.
    """
    if "://" in text or "/" in text or "@" in text:
        raise BadValue(f"not a host name: {shown(text)}", "write the name alone, without scheme, user or path")
    ip = ip_of(text)
    if ip is not None:
        return str(ip)
    if ":" in text:
        raise BadValue(f"not a host name: {shown(text)}", "write the name alone, without a port")
    prefix, rest = "", text
    if text.startswith("*."):
        if not wildcard:
            raise BadValue(f"a wildcard is not possible here: {shown(text)}")
        prefix, rest = "*.", text[2:]
    rest = rest.removesuffix(".")
    try:
        plain = idna.encode(rest, uts46=True, transitional=False).decode() if not rest.isascii() else rest.lower()
    except idna.IDNAError as error:
        raise BadValue(f"not a host name: {shown(text)}: {error}") from None
    labels = plain.split(".")
    if len(plain) > 253 or not all(re.fullmatch(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", label) for label in labels):
        raise BadValue(f"not a host name: {shown(text)}", 'write a name such as "api.example.com" or "*.example.com"')
    if _DIGITS_ONLY.fullmatch(labels[-1]):
        raise BadValue(f"neither a name nor an address in its usual form: {shown(text)}", 'write it as "10.0.0.3"')
    return prefix + plain


def overlap(one: str, other: str) -> bool:
    """Whether two hosts in normal form, wildcards included, can be the same name."""
    return one == other or _covers(one, other) or _covers(other, one)


def _covers(wide: str, host: str) -> bool:
    return wide.startswith("*.") and host.removeprefix("*").endswith(wide[1:])


def reference(text: str, where: str, folder: Path) -> SecretRef:
    """A secret reference. `folder` is what a relative `file:` path starts from."""
    match = _REFERENCE.fullmatch(text)
    fix = 'give it as "env:NAME", "file:PATH" or "exec:/program argument"'
    if match is None:
        raise BadValue("a secret in clear (or no reference); its value is not shown", fix)
    scheme: Literal["env", "file", "exec"] = match[1]  # type: ignore[assignment]  # the pattern names the three
    target = match[2].strip()
    if scheme == "env" and not _VARIABLE.fullmatch(target):
        raise BadValue("not the name of an environment variable after env:", fix)
    if scheme == "file":
        if not target:
            raise BadValue("no path after file:", fix)
        target = str(folder / target)
    if scheme == "exec":
        try:
            program_of(target)
        except ValueError as error:
            raise BadValue(str(error), 'write "exec:/usr/bin/program argument"') from None
    return SecretRef(scheme, target, where)


def program_of(command: str) -> list[str]:
    """The argument list of an `exec:` reference. Raises ValueError with the reason."""
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"not a command line: {error}") from None
    if not argv or not argv[0].startswith("/"):
        raise ValueError("the program is not an absolute path")
    return argv


def is_reference(text: str) -> bool:
    """Whether `text` is meant as a reference."""
    return _REFERENCE.fullmatch(text) is not None


class Url(NamedTuple):
    """A split URL: host in normal form, decoded path, user and query; `port` 0 where none is given."""

    scheme: str
    user: str
    host: str
    port: int
    path: str
    query: tuple[tuple[str, str], ...]


def url(text: str, schemes: tuple[str, ...], example: str) -> Url:
    """A URL with one of `schemes` and a host. A password in it is refused without being shown."""
    kind = f"a {schemes[0]}:// URL"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadValue(f"not {kind}: {shown(text)}", f'write "{example}"') from None
    if parts.scheme.lower() not in schemes or not parts.netloc or not parts.hostname:
        raise BadValue(f"not {kind}: {shown(text)}", f'write "{example}"')
    if re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise BadValue(f"white space, control characters or a backslash in a URL: {shown(text)}")
    if parts.password is not None:
        raise BadValue("a password in the URL; its value is not shown", "take it out and give it as a reference")
    if parts.fragment:
        raise BadValue(f"a fragment (#…) in {shown(text)}")
    host = host_name(parts.hostname)
    return Url(parts.scheme.lower(), unquote(parts.username or ""), host, port or 0, parts.path, _query(parts, text))


def _query(parts: SplitResult, text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for piece in parts.query.split("&") if parts.query else ():
        key, equals, value = piece.partition("=")
        if not equals:
            raise BadValue(f"a query that is no key=value: {shown(text)}")
        pairs.append((unquote(key), unquote(value)))
    if len({key for key, _ in pairs}) != len(pairs):
        raise BadValue(f"a query key twice in {shown(text)}")
    return tuple(pairs)
