"""What the tests of this folder share: a mitm.toml from text, and the problems in it."""

from __future__ import annotations

from pathlib import Path

from onrecord.policies.config import Config, load_config
from onrecord.policies.errors import ConfigError

GATEWAY = '[gateway]\nhttp = "127.0.0.1:8080"\npostgres = "127.0.0.1:5433"\n'
HTTP = '[resources.billing]\ntype = "http"\nhosts = ["billing.internal"]\ngroups = ["agents"]\n'
POSTGRES = '[resources.orders]\ntype = "postgres"\ngroups = ["agents"]\n'
UPSTREAM = 'upstream = "postgresql://svc@orders.internal:5432/shop"\n'
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def load(folder: Path, text: str) -> Config:
    """The configuration that `text` is, written to `folder`."""
    path = folder / "mitm.toml"
    path.write_text(text)
    return load_config(path)


def problems(folder: Path, text: str) -> list[str]:
    """The problems of `text`, each as `key: reason (fix)`; empty where it is valid."""
    try:
        load(folder, text)
    except ConfigError as error:
        found = error.problems
    else:
        found = []
    assert all(problem.path.startswith("mitm.toml") for problem in found)
    return [str(problem).removeprefix("mitm.toml: ") for problem in found]


def one_problem(folder: Path, text: str) -> str:
    """The only problem of `text`."""
    found = problems(folder, text)
    assert len(found) == 1, found
    return found[0]
