"""What `onrecord kill NAME` means: the record tells whether it is a run, a session or an identity."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from onrecord.policies.errors import OnrecordError

Kind = Literal["run", "session", "identity"]


def find_target(config: Path, name: str) -> tuple[Kind, str]:
    """What `name` is, and its whole id. Raises BadParameter where the record does not tell it clearly."""
    from onrecord.policies.config import load_config
    from onrecord.recordings.queries import Filters, NotFoundError, Reader

    hint = "say which with --as run, --as session or --as identity"
    try:
        with Reader(load_config(config).recordings.store) as reader:
            found: set[tuple[Kind, str]] = set()
            for session in reader.sessions(Filters(run=name, limit=1)):
                found.add(("run", session["run"]))
            if reader.sessions(Filters(identity=name, limit=1)):
                found.add(("identity", name))
            try:
                what, seq = reader.find(name)
                if what == "session":
                    found.add(("session", reader.session_of(seq)["id"]))
            except (NotFoundError, ValueError):
                pass
    except OnrecordError as error:
        raise typer.BadParameter(f"{name!r} cannot be looked up ({error}); {hint}") from None
    if len(found) != 1:
        read = "nothing on record is called" if not found else "more than one thing on record is called"
        raise typer.BadParameter(f"{read} {name!r}; {hint}")
    return found.pop()
