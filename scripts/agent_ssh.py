"""What an agent's `ssh`, `scp`, `sftp`, `rsync` and `git` need to go through the gateway: files and variables.

The files are beside the gateway's keys in `state/ssh/client`, and hold no secret: the token is in the environment, as
for every other tool, and `askpass` hands it over.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from onrecord.policies.errors import ConfigError, IdentityError, Problem
from onrecord.scripts.agent_certificates import KEYS, certificate_config, certify_script, keys_folder
from onrecord.scripts.agent_files import TOKEN_FILE, make_folder, write_file

if TYPE_CHECKING:
    from onrecord.policies.config import Address, Config
    from onrecord.policies.model import Identity

CLIENT = "client"
TOKEN = "ONRECORD_SSH_TOKEN"  # noqa: S105  # a variable's name
TOOLS = ("ssh", "scp", "sftp")

ASKPASS = f"""#!/bin/sh
# Hands the token to ssh; the question is not asked.
if [ -r "${TOKEN_FILE}" ]; then cat "${TOKEN_FILE}"; else printf '%s\\n' "${TOKEN}"; fi
"""


def ssh_environment(config: Config, listener: Address, token: str, folder: Path | None = None) -> dict[str, str]:
    """The variables; writes ssh_config, known_hosts, askpass and wrappers into `folder`, else into `state/ssh/client`.

    Raises ConfigError.
    """
    from onrecord.shims.ssh.hostkeys import HostKeyError
    from onrecord.shims.ssh.names import CERTIFICATE

    folder = folder or config.gateway.state / "ssh" / CLIENT
    try:
        line = known_hosts(config, listener)
        settings = folder / "ssh_config"
        wrappers = folder / "bin"
        make_folder(folder)
        make_folder(wrappers)
        write_file(folder / "known_hosts", line)
        write_file(folder / "certify", certify_script(folder), 0o755)
        asking = certificate_config(_reachable(listener.host), listener.port, CERTIFICATE, folder / "known_hosts")
        write_file(folder / "certificate_config", asking)
        write_file(settings, ssh_config(config, listener, folder))
        write_file(folder / "askpass", ASKPASS, 0o755)
        for tool in TOOLS:
            found = shutil.which(tool)
            if found is not None and Path(found).parent != wrappers:
                script = f'#!/bin/sh\nexec {shlex.quote(found)} -F {shlex.quote(str(settings))} "$@"\n'
                write_file(wrappers / tool, script, 0o755)
    except HostKeyError as error:
        fix = f"start the gateway once: onrecord up -c {config.path}"
        raise ConfigError([Problem("gateway.ssh", str(error), fix)]) from None
    except OSError as error:
        text = f"cannot write the SSH client's files: {error.strerror}"
        raise ConfigError([Problem(str(folder), text, "run as the gateway's user")]) from None
    return {
        TOKEN: token,
        KEYS: str(keys_folder()),
        "SSH_ASKPASS": str(folder / "askpass"),
        "SSH_ASKPASS_REQUIRE": "force",
        "GIT_SSH_COMMAND": f"ssh -F {shlex.quote(str(settings))}",
        "ONRECORD_SSH_CONFIG": str(settings),
        "ONRECORD_SSH_KNOWN_HOSTS": line.splitlines()[0],
        "PATH": os.pathsep.join((str(wrappers), *_path_without(wrappers))),
    }


def known_hosts(config: Config, listener: Address) -> str:
    """The lines by which clients know the gateway: its key, and the authority that signs its certificate."""
    from onrecord.shims.ssh.authority import AGENTS_CA
    from onrecord.shims.ssh.hostkeys import gateway_key

    state = config.gateway.state
    where = f"[{_reachable(listener.host)}]:{listener.port}"
    own = gateway_key(state, make=False).export_public_key().decode().split()
    authority = gateway_key(state, AGENTS_CA, make=False).export_public_key().decode().split()
    return f"{where} {own[0]} {own[1]}\n@cert-authority {where} {authority[0]} {authority[1]}\n"


def ssh_config(config: Config, listener: Address, folder: Path) -> str:
    """An ssh_config in which each SSH resource is a host of its own name."""
    from onrecord.policies.config import SshResource

    lines = ["# Written by `onrecord env`.", ""]
    for name, resource in config.resources.items():
        if not isinstance(resource, SshResource):
            continue
        for host in (name, *(f"{name}+{user}" for user in resource.users)):
            lines += [f"Host {host}", f"    User {host}", ""]
    names = " ".join(
        host
        for name, resource in config.resources.items()
        if isinstance(resource, SshResource)
        for host in (name, *(f"{name}+{user}" for user in resource.users))
    )
    if names:
        lines += [
            f"Host {names}",
            f"    HostName {_reachable(listener.host)}",
            f"    Port {listener.port}",
            f'    UserKnownHostsFile "{folder / "known_hosts"}"',
            "    GlobalKnownHostsFile /dev/null",
            "    StrictHostKeyChecking yes",
            "    UpdateHostKeys no",
            "    PreferredAuthentications publickey,password",
            "    NumberOfPasswordPrompts 1",
            "    IdentitiesOnly yes",
            "    ForwardAgent no",
            "    ForwardX11 no",
            "    Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com",
            "    ServerAliveInterval 30",
            "",
            # What a plain `ssh`, `BatchMode`, ansible and git log in with; without it the token is asked for as above.
            f'Match originalhost {names.replace(" ", ",")} exec "{_unexpanded(folder / "certify")}"',
            f'    IdentityFile "${{{KEYS}}}/id"',
            f'    CertificateFile "${{{KEYS}}}/id-cert.pub"',
            "",
        ]
    return "\n".join([*lines, "Host *", "    Include ~/.ssh/config", ""])


def write_certificate(config: Config, path: Path, identity: Identity, lifetime: float) -> Path:
    """A certificate for the key at `path`, which is made where there is none. Returns the certificate's path."""
    import asyncssh

    from onrecord.policies.identity import run_id
    from onrecord.shims.ssh.authority import agent_certificate

    public = path.with_name(path.name + ".pub")
    made = path.with_name(path.name + "-cert.pub")
    try:
        if not path.exists() and not public.exists():
            key = asyncssh.generate_private_key("ssh-ed25519", comment=f"onrecord {identity.subject}")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key.export_private_key("openssh"))
            write_file(public, key.export_public_key("openssh").decode())
        wanted = asyncssh.read_public_key(public)
        certificate = agent_certificate(config.gateway.state, wanted, identity, run_id(identity), lifetime=lifetime)
        write_file(made, certificate.export_certificate("openssh").decode())
    except OSError as error:
        raise ConfigError([Problem(str(path), f"cannot be read or written: {error.strerror}", "")]) from None
    except asyncssh.KeyImportError as error:
        raise ConfigError([Problem(str(public), f"no public key: {error}", "give the path of a private key")]) from None
    return made


def identity_of(config: Config, token: str) -> Identity:
    """Who a token stands for. Raises IdentityError with the reason."""
    import asyncio

    from onrecord.policies.identity import Authenticator

    try:
        found = Authenticator(config.issuers, config.gateway.state).authenticate(token, client="127.0.0.1")
        return asyncio.run(found)
    except IdentityError as error:
        raise IdentityError(f"{error}: {error.detail}") from None


def _unexpanded(path: Path) -> str:
    """A program's path as `Match exec` wants it: a word of the shell's, in which ssh finds no token to expand."""
    return shlex.quote(str(path)).replace("%", "%%")


def _path_without(wrappers: Path) -> list[str]:
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [part for part in parts if part and Path(part) != wrappers]


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # it is read, not bound
