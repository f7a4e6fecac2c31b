"""Files for an agent's tools: readable by everyone, whatever the umask; replaced at once."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

TOKEN_FILE = "ONRECORD_TOKEN_FILE"  # noqa: S105  # a variable's name: the file that a token is renewed in


def write_file(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace `path`, unless it has this content already. Raises OSError."""
    data = content.encode() if isinstance(content, str) else content
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data and path.stat().st_mode & 0o777 == mode:
            return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
    temporary.replace(path)


def make_folder(path: Path) -> None:
    """A folder that everyone may look into. Raises OSError."""
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.chmod(0o755)
