"""No command that destroys files at once: rm -r, rm of a pattern, shred, find -delete, dd onto a device, mkfs."""

from __future__ import annotations

from onrecord.policies import Deny, SftpCommand, SshCommand, Verdict

_DESTROYERS = frozenset(
    {"shred", "wipefs", "blkdiscard", "mkfs", "mke2fs", "fdisk", "sfdisk", "parted", "lvremove", "vgremove"}
)
_SHARED = ("/dev/shm/", "/dev/pts/", "/dev/tty")  # noqa: S108 - names to compare with
_GLOB = frozenset("*?[")


class NoDestructiveFiles:
    """Denies recursive removal, removal by pattern, and what empties files or disks. `rm` of named files may pass."""

    def ssh(self, command: SshCommand) -> Verdict | None:
        for words in command.argv:
            name = words[0].rpartition("/")[2] if words else ""
            if name in _DESTROYERS or name.startswith("mkfs."):
                return _deny(f"{name} destroys what it is given")
            if name == "rm" and any(_recursive(word) for word in words[1:]):
                return _deny("rm of whole folders")
            if name == "find" and "-delete" in words:
                return _deny("find -delete removes all that it finds")
            if name == "rsync" and any(word.startswith("--del") for word in words):
                return _deny("rsync --delete removes what the source lacks")
            if name == "git" and "clean" in words:
                return _deny("git clean removes files that are not committed")
            if name == "truncate":
                return _deny("truncate empties files")
        removers = command.programs & {"xargs", "parallel", "find", "eval"}
        if removers and command.programs & {"rm", "rmdir", "unlink", "truncate"}:
            return _deny("removal of files that are known only when it runs")
        for path in command.paths_deleted:
            if _GLOB.intersection(path) or (path.count("/") <= 1 and path.startswith("/")):
                return _deny(f"removal of {path}")
        for path in command.paths_written:
            if path.startswith("/dev/") and not path.startswith(_SHARED):
                return _deny(f"writing to the device {path}")
        return None

    def sftp(self, command: SftpCommand) -> Verdict | None:
        if command.operation == "rmdir" and command.path.count("/") <= 1:
            return _deny(f"removal of {command.path}")
        return None


def _recursive(word: str) -> bool:
    """`-r`, `-Rf`, `--recursive` and what getopt takes for it."""
    if word.startswith("--"):
        return len(word) > 3 and "--recursive".startswith(word)
    return word.startswith("-") and bool({"r", "R"} & set(word))


def _deny(reason: str) -> Deny:
    return Deny(reason, hint="remove files one by one by their names, or ask a human")


addons = [NoDestructiveFiles()]
