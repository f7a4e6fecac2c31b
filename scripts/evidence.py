"""`onrecord verify`: prove offline that the record was not altered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="The gateway's configuration.")]


def verify(
    config: ConfigOption = Path("mitm.toml"),
    store: Annotated[Path | None, typer.Option("--store", help="A store file; then --checkpoints and --vkey.")] = None,
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", help="The checkpoints outside it (state/evidence/checkpoints).")
    ] = None,
    vkey: Annotated[Path | None, typer.Option("--vkey", help="File with the public key (state/evidence.vkey).")] = None,
    trusted: Annotated[
        Path | None, typer.Option("--trusted", help="A signed checkpoint that you kept elsewhere; it must still hold.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check every record, every checkpoint and every index row. Exit status 1 where anything was altered.

    Example: onrecord verify -c mitm.toml
    """
    from onrecord.policies.errors import StoreError
    from onrecord.recordings.evidence.verify import verify as check
    from onrecord.scripts.terminal import clean, json_line, quiet_pipe

    journals: Path | None = None
    if store is None or checkpoints is None or vkey is None:
        from onrecord.policies.config import load_config
        from onrecord.recordings.evidence.custody import checkpoints_path, vkey_path

        loaded = load_config(config)
        state = loaded.gateway.state
        if store is None:
            store, journals = loaded.recordings.store, state / "journal"
        checkpoints = checkpoints or checkpoints_path(state)
        vkey = vkey or vkey_path(state)
    try:
        key = vkey.read_text(encoding="ascii")
        note = trusted.read_text(encoding="utf-8") if trusted else None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{error}: the public key is made when `onrecord up` first runs") from None
    report = check(store, checkpoints, key, journal_folder=journals, trusted_checkpoint=note)
    status = 0 if report.ok else 1
    with quiet_pipe(status):
        if as_json:
            sys.stdout.write(json_line(report.to_json()))
        elif report.ok:
            size, root = [*report.checkpoint.split("\n"), "", "", ""][1:3]
            sys.stdout.write(f"ok: {report.records} records are as they were recorded\n")
            if report.records:
                sys.stdout.write(f"signed checkpoint: {size} records, root {root}\n")
            if report.pending:
                sys.stdout.write(f"{report.pending} more wait in the journals\n")
            if report.gaps:
                sys.stdout.write(f"{report.gaps} gaps are on record: journal damage, or refusals only counted\n")
        else:
            sys.stdout.write(f"ALTERED: {clean(report.damage)}\n")
            if report.first_bad:
                sys.stdout.write(f"first bad record: {report.first_bad}\n")
    raise typer.Exit(status)


def register(app: typer.Typer) -> None:
    """Add `verify`."""
    app.command()(verify)
