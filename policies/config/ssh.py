"""`[resources.NAME]` with `type = "ssh"`: the table → SshResource."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any, Literal

from onrecord.policies.config.reading import Reader
from onrecord.policies.config.tables import SshKeyTable, SshTable
from onrecord.policies.config.types import SecretRef, SshKeyConfig, SshResource
from onrecord.policies.config.values import BadValue, Url, network, shown, url

EXAMPLE = "ssh://deploy@app1.internal:22"
KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
# What a variable of these names does to a shell, a loader or an interpreter is another command.
_CODE = re.compile(r"(LD_|DYLD_|BASH_|PYTHON|PERL|RUBY|NODE_|JAVA_|GIT_(?!PROTOCOL$)|SSH_|PROMPT_)", re.ASCII)
_CODE_NAMES = frozenset(
    {"PATH", "IFS", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "EDITOR", "VISUAL", "PAGER", "LESSOPEN", "HOME", "SHELL"}
)
_FORWARD = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.*-]+):(?:\d{1,5}|\*)|unix:/[^\0]*", re.ASCII)


def read_ssh(table: SshTable, shared: dict[str, Any], key: str, reader: Reader, references: Any) -> SshResource:
    """`references(key, text)` reads a secret reference; `shared` are the fields of all resources."""
    target = reader.value(f"{key}.upstream", Url("ssh", "", "", 0, "", ()), _ssh_url, table.upstream)
    secrets: dict[str, SecretRef | None] = {
        name: references(f"{key}.{name}", getattr(table, name)) for name in ("key", "passphrase", "password")
    }
    certificate: Literal["", "issue"] | Path = ""
    if table.certificate == "issue":
        certificate = "issue"
    elif table.certificate is not None:
        certificate = reader.existing(f"{key}.certificate", table.certificate) or ""
    _check_credentials(table, key, reader)
    host_keys = _public_keys(table.host_key, f"{key}.host_key", reader)
    host_cas = _public_keys(table.host_ca, f"{key}.host_ca", reader)
    if not host_keys and not host_cas and not reader.is_bad(f"{key}.host_key") and not reader.is_bad(f"{key}.host_ca"):
        reader.problem(
            f"{key}.host_key",
            "missing: a host key that nobody pinned is never trusted",
            'give host_key = "ssh-ed25519 AAAA…" (ssh-keyscan prints it; compare it on the host), or host_ca',
        )
    users = tuple(reader.value(f"{key}.users[{i}]", "", user_name, text) for i, text in enumerate(table.users or ()))
    return SshResource(
        **shared,
        host=target.host,
        port=target.port or 22,
        user=target.user,
        users=tuple(dict.fromkeys(name for name in users if name and name != target.user)),
        key=secrets["key"],
        passphrase=secrets["passphrase"],
        password=secrets["password"],
        agent=table.agent or "",
        certificate=certificate,
        host_keys=host_keys,
        host_cas=host_cas,
        interactive=table.interactive,
        masking=table.masking,
        forwards=tuple(
            reader.value(f"{key}.forwards[{i}]", "", _forward, text) for i, text in enumerate(table.forwards or ())
        ),
        env=tuple(reader.value(f"{key}.env[{i}]", "", _variable, text) for i, text in enumerate(table.env or ())),
    )


def read_ssh_key(data: dict[str, Any], key: str, reader: Reader) -> SshKeyConfig:
    """One `[[ssh_keys]]`."""
    table = reader.table(data, SshKeyTable, key)
    if not table.subject.strip() and not reader.is_bad(f"{key}.subject"):
        reader.problem(f"{key}.subject", "empty", "say whose key it is")
    if table.groups is not None and not (table.groups and all(table.groups)):
        reader.problem(f"{key}.groups", "empty: it could reach nothing", 'name at least one, such as ["agents"]')
    return SshKeyConfig(
        key=reader.value(f"{key}.key", "", public_key, table.key),
        subject=table.subject,
        groups=tuple(table.groups or ()),
        on_behalf_of=table.on_behalf_of,
        clients=tuple(
            reader.value(f"{key}.clients[{i}]", "", network, text) for i, text in enumerate(table.clients or ())
        ),
    )


def _check_credentials(table: SshTable, key: str, reader: Reader) -> None:
    ways = [name for name in ("key", "agent", "password") if getattr(table, name) is not None]
    if table.certificate == "issue":
        ways.append("certificate")
    if not ways:
        reader.problem(
            f"{key}.key", "missing: the gateway has nothing to log in with", 'give key = "file:deploy_ed25519"'
        )
    if table.certificate == "issue" and len(ways) > 1:
        reader.problem(f"{key}.{ways[0]}", 'a second credential beside certificate = "issue"', "keep one of them")
    if table.certificate not in (None, "issue") and table.key is None:
        reader.problem(f"{key}.certificate", "a certificate without the key that it belongs to", "give key as well")
    if table.passphrase is not None and table.key is None:
        reader.problem(f"{key}.passphrase", "without effect: there is no key", "take it out")
    if table.agent is not None and not table.agent.startswith("/"):
        reader.problem(f"{key}.agent", f"not an absolute path: {shown(table.agent)}", "give the agent's socket")


def user_name(text: str) -> str:
    """A login name on a host. Raises BadValue."""
    if not _USER.fullmatch(text):
        raise BadValue(
            f"not a login name: {shown(text)}", "letters, digits, _ . -, at most 32, beginning with a letter"
        )
    return text


def public_key(text: str) -> str:
    """`TYPE BASE64` of an OpenSSH public key line; the comment is dropped. Raises BadValue."""
    fix = 'write it as in known_hosts, without the host: "ssh-ed25519 AAAA…"'
    words = text.split()
    if len(words) < 2 or words[0] not in KEY_TYPES:
        raise BadValue(f"not a public key: {shown(text)}", fix)
    try:
        data = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise BadValue(f"a public key that is no base64: {shown(text)}", fix) from None
    length = int.from_bytes(data[:4], "big")
    if data[4 : 4 + length] != words[0].encode() or len(data) <= 4 + length:
        raise BadValue(f"a public key that is no {words[0]} key inside: {shown(text)}", fix)
    return f"{words[0]} {words[1]}"


def _public_keys(given: str | list[str] | None, key: str, reader: Reader) -> tuple[str, ...]:
    """Keys as text, or `file:PATH` of a file with one a line."""
    found: list[str] = []
    for text in [given] if isinstance(given, str) else given or []:
        lines = [text]
        if text.startswith("file:"):
            path = reader.existing(key, text)
            if path is None:
                continue
            lines = [line for line in path.read_text("ascii", "replace").splitlines() if line and line[0] != "#"]
        for line in lines:
            read = reader.value(key, "", public_key, line)
            if read:
                found.append(read)
    return tuple(dict.fromkeys(found))


def _ssh_url(text: str) -> Url:
    target = url(text, ("ssh",), EXAMPLE)
    if not target.user:
        raise BadValue(f"no user in {shown(text)}", f'write "{EXAMPLE}"')
    user_name(target.user)
    if target.path not in ("", "/") or target.query:
        raise BadValue(f"a path or query in {shown(text)}", f'write "{EXAMPLE}"')
    return target


def _forward(text: str) -> str:
    if not _FORWARD.fullmatch(text):
        raise BadValue(
            f"not a destination: {shown(text)}", 'write "db.internal:5432", "*.internal:443" or "unix:/run/x.sock"'
        )
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise BadValue(f"not the name of an environment variable: {shown(text)}")
    if _CODE.match(text) or text in _CODE_NAMES:
        raise BadValue(f"a variable that makes programs run other code: {shown(text)}", "take it out")
    return text
