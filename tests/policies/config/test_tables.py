"""policies/config/tables.py: docs/reference/configuration.md lists exactly these keys, and the example loads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from onrecord.policies.config import load_config, tables

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"

HEADINGS: dict[str, type[tables.Table]] = {
    "`[gateway]`": tables.GatewayTable,
    "`[gateway.tls]`": tables.TlsTable,
    "`[recordings]`": tables.RecordingsTable,
    "`[quotas]`": tables.QuotasTable,
    "`[approvals]`": tables.ApprovalsTable,
    "`[[issuers]]`": tables.IssuerTable,
    "`[[policies]]`": tables.PolicyTable,
    "`[[masks]]`": tables.MaskTable,
    "`[admin]`": tables.AdminTable,
    "`[[notify]]`": tables.NotifyTable,
    "`[[ssh_keys]]`": tables.SshKeyTable,
    "All types": tables.ResourceTable,
    '`type = "http"`': tables.HttpTable,
    '`type = "postgres"`': tables.PostgresTable,
    '`type = "ssh"`': tables.SshTable,
    '`type = "kubernetes"`': tables.KubernetesTable,
}


def documented() -> dict[str, dict[str, str]]:
    """Each heading's rows: key → default as written."""
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in REFERENCE.read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        elif match := re.match(r"\| `(\w+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", line):
            found.setdefault(heading, {})[match[1]] = match[2].strip()
    return found


def keys_of(table: type[tables.Table]) -> dict[str, msgspec.structs.FieldInfo]:
    shared = set(tables.ResourceTable.__struct_fields__)
    own = issubclass(table, tables.ResourceTable) and table is not tables.ResourceTable
    return {field.name: field for field in msgspec.structs.fields(table) if not (own and field.name in shared)}


@pytest.mark.parametrize("heading", HEADINGS)
def test_the_reference_lists_exactly_the_keys(heading):
    assert set(documented()[heading]) == set(keys_of(HEADINGS[heading]))


@pytest.mark.parametrize("heading", HEADINGS)
def test_the_reference_states_the_defaults(heading):
    table = HEADINGS[heading]
    for key, field in keys_of(table).items():
        stated = documented()[heading][key]
        if key in table.REQUIRED:
            assert stated == "required", key
        elif field.default_factory is not msgspec.NODEFAULT or field.default is None:
            assert "`" not in stated, key
        else:
            assert stated == f"`{json.dumps(field.default)}`", key


def test_every_table_has_its_place_in_the_reference():
    every = {
        table
        for table in vars(tables).values()
        if isinstance(table, type) and issubclass(table, tables.Table) and table is not tables.Table
    }
    assert every == set(HEADINGS.values())


def test_the_example_at_the_top_is_valid():
    config = load_config(ROOT / "mitm.toml")
    assert set(config.resources) == {"orders", "billing"}
    assert str(getattr(config.resources["orders"], "password", None)) == "env:ORDERS_PASSWORD"
    assert str(getattr(config.resources["billing"], "headers", {})["Authorization"]) == "env:BILLING_AUTH"


def test_what_the_example_comments_out_is_valid_too(tmp_path):
    text = (ROOT / "mitm.toml").read_text()
    lines = []
    for line in text.splitlines():
        loose = re.match(r"# (\[\[?[a-z.]+\]\]?|[a-z_]+ = .*)", line)
        lines.append(loose[1] if loose else line)
    (tmp_path / "mitm.toml").write_text("\n".join(lines))
    for name in ("gateway.pem", "billing-ca.pem"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "gateway-key.pem").touch(0o600)
    config = load_config(tmp_path / "mitm.toml")
    assert len(config.issuers) == 3
    assert config.gateway.tls is not None
    assert getattr(config.resources["billing"], "ca", None) == tmp_path / "billing-ca.pem"
