"""What a user keeps between two looks: theme and saved filters, in a private file of the user's own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.console.language import MAX_LENGTH

MAX_FILTERS = 200
MAX_NAME = 60
_LIMIT = 1024 * 1024


class SettingsError(OnrecordError):
    """The file with the console's settings cannot be used."""


class Settings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The file's content. `filters`: name → text of the filter, as it was typed."""

    theme: str = ""
    filters: dict[str, str] = msgspec.field(default_factory=dict)


def settings_path() -> Path:
    """`onrecord/console.json` in the user's configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if base.startswith("/") else Path.home() / ".config"
    return folder / "onrecord" / "console.json"


def load_settings(path: Path) -> Settings:
    """What was kept; empty where nothing was. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}: mend it or move it away") from None
    try:
        if len(data) > _LIMIT:
            raise ValueError("longer than 1 MiB")
        settings = msgspec.json.decode(data, type=Settings)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: not the console's settings: {error}: mend it or move it away") from None
    return settings


def save_settings(path: Path, settings: Settings) -> None:
    """Replace the file, readable by its owner alone. Raises SettingsError."""
    for name, text in settings.filters.items():
        if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
            raise SettingsError(f"a filter's name is 1 to {MAX_NAME} printable characters, not {name!r}")
        if len(text) > MAX_LENGTH:
            raise SettingsError(f"the filter {name!r} is longer than {MAX_LENGTH} characters")
    if len(settings.filters) > MAX_FILTERS:
        raise SettingsError(f"more than {MAX_FILTERS} saved filters: remove some from {path}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n")
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from None
