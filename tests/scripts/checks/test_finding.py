"""scripts/checks/finding.py: what a peer sent is neither trusted nor shown with secrets."""

from __future__ import annotations

from onrecord.policies.redaction import MARK, Redactor
from onrecord.scripts.checks.finding import Finding


def test_secrets_and_terminal_bytes_are_taken_out():
    clean = Redactor(["hunter2-secret"]).clean_text
    finding = Finding("x", "failed", "FATAL \x1b[2J hunter2-secret", "try hunter2-secret").cleaned(clean)
    assert "\x1b" not in finding.text
    assert MARK in finding.text
    assert "hunter2-secret" not in finding.text + finding.fix
    assert (finding.where, finding.status) == ("x", "failed")
