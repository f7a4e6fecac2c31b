"""`onrecord export` and `prove`: records for other programs and other people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.scripts.terminal import quiet_pipe

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="The gateway's configuration.")]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="A store file, instead of the configuration's; no proofs then.")
]
OutputOption = Annotated[Path | None, typer.Option("-o", "--output", help="The file to write; else standard output.")]
Format = Literal["jsonl", "html", "cast", "har", "ocsf"]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file where there is one.")]


def export(
    record: Annotated[str, typer.Argument(metavar="ID", help="A run, a session or a command.")],
    format: Annotated[Format, typer.Option("--format", help="What for: programs, people, players, SIEMs.")] = "jsonl",
    config: ConfigOption = Path("mitm.toml"),
    store: StoreOption = None,
    output: OutputOption = None,
    cast_version: Annotated[int, typer.Option("--cast-version", min=2, max=3, help="Of asciicast: 2 or 3.")] = 2,
    force: ForceOption = False,
) -> None:
    """Write a run, a session or a command as jsonl, html, cast, har or ocsf.

    Example: onrecord export 01a20521 --format html -o incident.html
    """
    from onrecord.recordings.export.material import Archive
    from onrecord.recordings.export.writing import render, write_file
    from onrecord.recordings.queries import NotFoundError

    path, state = _places(config, store)
    if output is None and format == "html" and sys.stdout.isatty():
        raise OnrecordError("export: a page of HTML is not for a terminal: give -o FILE")
    with quiet_pipe(), Archive(path) as archive:
        try:
            subject = archive.subject(record)
            pieces = render(archive, subject, format, path, state, cast_version=cast_version)
            if output is None:
                sys.stdout.writelines(pieces)
            else:
                write_file(output, pieces, force=force)
        except NotFoundError as error:
            sys.stderr.write(f"onrecord: {error}\n")
            raise typer.Exit(1) from None


def prove(
    record: Annotated[str, typer.Argument(metavar="ID", help="A command's or session's id.")],
    config: ConfigOption = Path("mitm.toml"),
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Print what proves a record and all that belongs to it to an outsider: bytes, RFC 6962 paths, signed checkpoint.

    Example: onrecord prove 01a20521 -o proof.json
    """
    from onrecord.recordings.export.material import Archive
    from onrecord.recordings.export.proofs import proof_lines
    from onrecord.recordings.export.proofs import prove as make
    from onrecord.recordings.export.writing import write_file
    from onrecord.recordings.queries import NotFoundError

    path, state = _places(config, None)
    if state is None:
        raise StoreError("prove: it needs the configuration, for the checkpoints and the public key")
    with Archive(path) as archive:
        try:
            subject = archive.subject(record)
        except NotFoundError as error:
            sys.stderr.write(f"onrecord: {error}\n")
            raise typer.Exit(1) from None
        proofs = make(archive, archive.record_numbers(subject), path, state)
        if proofs.problem:
            sys.stderr.write(f"onrecord: {proofs.problem}\n")
        status = 1 if proofs.problem or not proofs.records else 0
        if output is None:
            with quiet_pipe(status):
                sys.stdout.writelines(proof_lines(proofs))
        else:
            write_file(output, proof_lines(proofs), force=force)
    raise typer.Exit(status)


def _places(config: Path, store: Path | None) -> tuple[Path, Path | None]:
    if store is not None:
        return store, None
    from onrecord.policies.config import load_config

    loaded = load_config(config)
    return loaded.recordings.store, loaded.gateway.state


def register(app: typer.Typer) -> None:
    """Add `export` and `prove`."""
    for command in (export, prove):
        app.command()(command)
