"""scripts/checks/upstreams.py: which rights are too many. Real servers: tests/scripts/test_check.py."""

from __future__ import annotations

import pytest

from onrecord.scripts.checks.upstreams import privileges


def row(*flags: str, own: bool = True, role: str = "svc") -> list[object]:
    return [own, role, *(flag in flags for flag in ("super", "bypass", "replication", "createrole"))]


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ([row()], []),
        ([row("super")], ["a superuser"]),
        ([row("bypass", "replication")], ["BYPASSRLS", "REPLICATION"]),
        ([row(), row("createrole", own=False, role="ops")], ["through role ops: CREATEROLE"]),
        ([row(), row(own=False, role="pg_read_server_files")], ["member of pg_read_server_files"]),
        ([row(), row(own=False, role="pg_read_all_data")], []),
    ],
)
def test_privileges_of_a_login_and_of_the_roles_it_can_take(roles, words):
    found = privileges(roles)
    assert len(found) == len(words)
    assert all(text.startswith(word) for text, word in zip(found, words, strict=True))
