"""docs/enforcement.md from the rows beside the tests: `python -m tests.docs.enforcement > docs/enforcement.md`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "HTTP": ROOT / "tests/addons/enforcement_http.json",
    "Kubernetes": ROOT / "tests/addons/kubernetes_api/enforcement_kubernetes.json",
    "Kubernetes: exec, attach, cp, port-forward": ROOT / "tests/addons/kubernetes_api/streams/enforcement_streams.json",
    "SSH": ROOT / "tests/shims/ssh/enforcement_ssh.json",
    "SSH: files, copies, tunnels": ROOT / "tests/shims/ssh/enforcement_files.json",
    "PostgreSQL": ROOT / "tests/shims/postgres/enforcement_postgres.json",
    "The admin page": ROOT / "tests/recordings/admin/enforcement_admin.json",
}
HEAD = """# What is enforced

For each protocol and operation: what is decided by policy, recorded, masked or refused, and the test that shows it.
This page is generated from those tests' data. What is not listed is refused.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation; `test` is `path::function`."""

    operation: str
    effects: tuple[str, ...]
    test: str
    note: str


def rows(source: Path) -> list[Row]:
    """The rows of one protocol, in the file's order."""
    return [
        Row(row["operation"], tuple(row.get("effects", row.get("effect", ()))), row["test"], row.get("note", ""))
        for row in json.loads(source.read_text())
    ]


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, source in SOURCES.items():
        parts += [f"\n## {title}\n\n| operation | effect | note | test |\n|---|---|---|---|\n"]
        for row in rows(source):
            file, _, function = row.test.partition("::")
            shown = f"`{Path(file).name}` `{function}`" if function else ""
            cells = (row.operation, ", ".join(row.effects) or "not in this version", row.note, shown)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
