"""exec lines of scp, rsync and git: judged by where their paths really lead; scp's files each by themselves."""

from __future__ import annotations

import posixpath
import time
from typing import TYPE_CHECKING

import asyncssh
import msgspec

from onrecord.policies.errors import OnrecordError
from onrecord.policies.files import plants
from onrecord.policies.model import Action, NameSet, Outcome, SshCommand
from onrecord.policies.sql.wordlists import words
from onrecord.recordings.auditor import Decision
from onrecord.shims.ssh.channel import FAILED, REFUSED
from onrecord.shims.ssh.commands import exec_command
from onrecord.shims.ssh.copies.lines import Copy, copy_of
from onrecord.shims.ssh.copies.look import Look
from onrecord.shims.ssh.copies.refs import Refs
from onrecord.shims.ssh.copies.scp_relay import ScpDownload, ScpUpload
from onrecord.shims.ssh.relay import Relay
from onrecord.shims.ssh.sftp.deciding import LOOK_AGAIN
from onrecord.shims.ssh.sftp.paths import shown

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.link import Link

MASKING = "onrecord:masking"
_HINT = "copy with sftp, or scp without -O: there each file is masked"
# Folders in which others than data lie: what is copied into them could plant anything.
_ROOTS = words(
    "/ /home /root /etc /usr /usr/local /var /var/spool /opt /lib /bin /sbin /boot /dev /proc /sys /run /srv /mnt"
)


async def run_copy(link: Link, client: ClientSession, text: str) -> bool:
    """Decide and run `text` where it is a copy; False where it is none, and nothing was done."""
    copy = copy_of(text)
    if copy is None or client.pty is not None:
        return False
    plain = exec_command(link.opened.session, text, link.user)
    if copy.direction == "read" and link.masks.detectors is not None:
        reason = f"masks apply here, and what {copy.kind} sends cannot be searched"
        client.refuse(link.auditor.deny(link.opened, plain, reason, MASKING, _HINT, code=str(REFUSED)))
        return True
    look: Look | None = None
    try:
        look = await Look.at(await link.upstream())
        resolved = await _resolved(look, copy)
        asked = time.monotonic()
        decision = await link.submit(_command(plain, copy, resolved), client)
        if not decision.allowed:
            client.refuse(decision)
            return True
        if time.monotonic() - asked > LOOK_AGAIN and await _moved(look, copy, resolved):
            _give_up(link, client, decision, "its paths lead elsewhere than when the decision was asked for")
            return True
        if copy.kind != "scp":
            look.close()
        if copy.direction == "read" and link.masks_of(decision).detectors is not None:
            reason = f"a policy asks for masks, and what {copy.kind} sends cannot be searched"
            _give_up(link, client, decision, reason, f"{MASKING}: {reason} ({_HINT})")
            return True
        await _relay(link, client, decision, copy, resolved, look).run(text)
    except (OnrecordError, asyncssh.Error, OSError) as error:
        if client.open:
            reason = f"where its paths lead cannot be known: {error}"
            link.auditor.deny(link.opened, plain, reason, "onrecord:protocol", code=str(FAILED))
            client.say(reason)
            client.exit(FAILED)
    finally:
        if look is not None:
            look.close()
    return True


def _give_up(link: Link, client: ClientSession, decision: Decision, reason: str, text: str = "") -> None:
    """Refuse what was allowed, before any of it."""
    link.auditor.finish(decision, Outcome(status="refused", code=str(REFUSED), error=reason))
    client.say(f"{text or reason} [record {decision.id}]")
    client.exit(REFUSED)


async def _moved(look: Look, copy: Copy, resolved: tuple[bytes, ...]) -> bool:
    """Whether the paths lead elsewhere by now, or cannot be looked up any more."""
    try:
        return await _resolved(look, copy) != resolved
    except OnrecordError:
        return True


def _relay(
    link: Link, client: ClientSession, decision: Decision, copy: Copy, resolved: tuple[bytes, ...], look: Look
) -> Relay:
    if copy.kind == "scp" and copy.direction == "write":
        return ScpUpload(link, client, decision, copy, resolved[0], look)
    if copy.kind == "scp":
        return ScpDownload(link, client, decision, copy, resolved, look)
    if copy.kind == "git" and copy.direction == "write":
        return _Push(link, client, decision)
    return Relay(link, client, decision)


async def _resolved(look: Look, copy: Copy) -> tuple[bytes, ...]:
    """Where the paths lead, then those of options (which are below the first, where they are relative)."""
    found = [(await look.locate(path)).path for path in copy.paths]
    for path in (*copy.reads, *copy.writes):
        given = path if path.startswith(("/", "~")) else posixpath.join(shown(found[0]), path)
        found.append((await look.locate(given)).path)
    return tuple(found)


def _command(plain: SshCommand, copy: Copy, resolved: tuple[bytes, ...]) -> SshCommand:
    """The command with what the copy really reads and writes."""
    paths = [shown(path) for path in resolved]
    main, rest = paths[: len(copy.paths)], paths[len(copy.paths) :]
    reads = [*(main if copy.direction == "read" else ()), *rest[: len(copy.reads)]]
    writes = [*(main if copy.direction == "write" else ()), *rest[len(copy.reads) :]]
    action: Action = "write" if writes else "read"
    # scp's files are judged one by one as they come; git's go into its own store
    judge = _may_plant if copy.kind == "rsync" else _plants
    if any(judge(path) for path in writes):
        action = "admin"
    return msgspec.structs.replace(
        plain,
        action=action,
        also_admin=False,
        paths_read=NameSet(reads),
        paths_written=NameSet(writes),
        paths_deleted=NameSet(writes if copy.kind == "rsync" and "--delete" in plain.text else ()),
    )


def _plants(path: str) -> bool:
    return plants(path) is not None


def _may_plant(folder: str) -> bool:
    """Whether files that are copied to or below `folder` could plant code or access: then it is not told from data."""
    if folder in _ROOTS or folder.endswith(("/.ssh", "/.git", "/.config", "/.local")):
        return True
    return any(plants(folder + below) is not None for below in ("", "/x", "/.bashrc"))


class _Push(Relay):
    """git-receive-pack: the refs that a push changes are on record before they go."""

    def __init__(self, link: Link, client: ClientSession, decision: Decision) -> None:
        super().__init__(link, client, decision)
        self._refs = Refs()

    def _record_input(self, data: bytes) -> None:
        if not self._refs.done:
            before = len(self._refs.changes)
            self._refs.feed(data)
            new = [f"{change.ref}: {change.old[:12]} to {change.new[:12]}" for change in self._refs.changes[before:]]
            if new:
                self.link.auditor.chunk(self.decision, "to_upstream", 0, data=new, note="refs", flush=False)
        super()._record_input(data)
