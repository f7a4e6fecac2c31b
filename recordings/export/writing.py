"""An export in any format, to a file or piece by piece."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.recordings.casts import asciicast_v2, asciicast_v3, has_channels
from onrecord.recordings.export import har, jsonl, ocsf, page
from onrecord.recordings.export.material import Archive, Subject
from onrecord.recordings.export.proofs import prove
from onrecord.recordings.queries import NotFoundError

Format = Literal["jsonl", "html", "cast", "har", "ocsf"]
FORMATS: tuple[Format, ...] = ("jsonl", "html", "cast", "har", "ocsf")


def render(
    archive: Archive, subject: Subject, format: Format, path: Path, state: Path | None, *, cast_version: int = 2
) -> Iterator[str]:
    """An export, piece by piece. Raises NotFoundError where there is nothing of that format in it."""
    commands = archive.commands_of(subject)
    if format == "jsonl":
        return jsonl.write(commands)
    if format == "har":
        return har.write(commands)
    if format == "ocsf":
        return ocsf.write(commands)
    if format == "cast":
        views = [view for view in commands if has_channels(view)]
        if not views:
            raise NotFoundError(
                f"no terminal or stream is in {subject.what} {subject.id}: --format html or jsonl has it"
            )
        return (asciicast_v2 if cast_version == 2 else asciicast_v3)(*views)
    if state is None:
        proofs = page.Proofs(problem="no proofs: this was exported from a store file alone, without its checkpoints")
    else:
        proofs = prove(archive, archive.record_numbers(subject), path, state)
    return page.write(subject, commands, proofs)


def write_file(path: Path, pieces: Iterable[str], *, force: bool) -> None:
    """All of it or nothing, readable by its owner alone. Raises OnrecordError."""
    if not path.name or "\0" in str(path):
        raise OnrecordError(f"{path}: it names no file")
    temporary = path.with_name(f".onrecord-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        if not force and (path.is_symlink() or path.exists()):
            raise OnrecordError(f"{path}: there is such a file: choose another name or give --force")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(pieces)
        if force:
            temporary.replace(path)
        else:
            _place(temporary, path)
    except OSError as error:
        raise OnrecordError(f"{path}: cannot be written: {error.strerror}") from None
    except sqlite3.Error as error:
        raise StoreError(f"the store cannot be read: {error}; run `onrecord verify`") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _place(temporary: Path, path: Path) -> None:
    """Give the file its name, which nothing may have taken meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise OnrecordError(f"{path}: there is such a file: choose another name or give --force") from None
    except OSError:  # a file system without links
        temporary.replace(path)
