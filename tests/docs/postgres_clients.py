"""docs/reference/postgres-clients.md from the rows beside the tests.

python -m tests.docs.postgres_clients > docs/reference/postgres-clients.md
"""

from __future__ import annotations

import json
import sys

from tests.docs.enforcement import ROOT

SOURCE = ROOT / "tests/clients/matrix.json"
PAGE = ROOT / "docs/reference/postgres-clients.md"
HEAD = """# PostgreSQL clients

Clients that are driven through a running gateway, and the test that does it. This page is generated from those tests'
data. The servers are PostgreSQL 18 in clear and Debian's PostgreSQL 15 with TLS on both sides.

Settings: *strict* is a resource with its defaults (`unknown`, `admin`, `default` are "deny") and a policy that allows
reading and writing. *wide* has `unknown = "allow"` and `admin = "allow"` besides: what a session has created counts as
unknown until it commits, and tools that build a whole schema in one transaction need that.

| client | what | settings | test |
|---|---|---|---|
"""


def rows() -> list[dict[str, str]]:
    """The rows in the file's order: client, what, settings, test (`path::function`)."""
    found: list[dict[str, str]] = json.loads(SOURCE.read_text())
    return found


def page() -> str:
    """The whole page."""
    lines = []
    for row in rows():
        file, _, function = row["test"].partition("::")
        cells = (row["client"], row["what"], row["settings"], f"`{file.rsplit('/', 1)[1]}` `{function}`")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
