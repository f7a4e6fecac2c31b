"""What is copied does what is shown and nothing else: run by a real shell, whatever was recorded."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.recordings.console.copying import CopyError, copy, formats, shell_quote
from tests.recordings.console.story import EVIL


def view(kind: str, text: str = "", detail: dict[str, Any] | None = None, resource: str = "orders") -> dict[str, Any]:
    return {"id": "01a2", "kind": kind, "text": text, "detail": detail or {}, "resource": resource}


HTTP = {
    "method": "POST", "scheme": "https", "host": "billing.internal", "port": 8443, "path": "/a b/é",
    "query": [["q", "1&2"]],
    "headers": [
        ["accept", "a/b"], ["authorization", "Bearer sesame"], ["cookie", "s=sesame"], ["x-api-key", "sesame"],
        ["host", "x"],
    ],
    "body": "it's $(touch x) `y`",
}  # fmt: skip
POD = {"verb": "delete", "group": "", "version": "v1", "resource": "pods", "namespace": "shop", "name": "web-1"}


def argv(line: str, tmp_path: Path) -> list[list[str]]:
    """The programs that bash really runs for `line`, each a list of words."""
    log = tmp_path / "ran"
    for name in ("curl", "psql", "ssh", "kubectl"):
        program = tmp_path / name
        program.write_text(f'#!/bin/bash\nfor word; do printf "%s\\0" "$word"; done >> {log}; printf "\\1" >> {log}\n')
        program.chmod(0o700)
    log.write_bytes(b"")
    before = set(tmp_path.iterdir())
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(tmp_path.iterdir()) == before
    return [part.decode().split("\0")[:-1] for part in log.read_bytes().split(b"\1")[:-1]]


def test_a_request_becomes_one_curl_without_credentials(tmp_path):
    line = copy(view("http", detail=HTTP), "curl")
    assert "sesame" not in line
    assert argv(line, tmp_path) == [
        ["--globoff", "-X", "POST", "-H", "accept: a/b", "--data-raw", "it's $(touch x) `y`",
         "https://billing.internal:8443/a%20b/%C3%A9?q=1%262"],
    ]  # fmt: skip


def test_a_statement_becomes_one_psql_and_its_parameters_values(tmp_path):
    assert argv(copy(view("sql", "SELECT 'a''b' -- $(x)"), "psql"), tmp_path) == [
        ["service=orders", "-c", "SELECT 'a''b' -- $(x)"]
    ]
    line = copy(view("sql", "SELECT $1, $2;", {"parameters": ["o'clock", None]}), "psql")
    assert argv(line, tmp_path) == [
        [
            "service=orders",
            "-c",
            "PREPARE onrecord_copy AS SELECT $1, $2",
            "-c",
            "EXECUTE onrecord_copy('o''clock', NULL)",
        ]
    ]


@pytest.mark.parametrize("text", ["\\! touch owned", "  \\copy t to program 'x'", "\n\\i /etc/passwd"])
def test_what_psql_would_take_for_its_own_command_is_refused(text):
    with pytest.raises(CopyError, match="backslash"):
        copy(view("sql", text), "psql")


def test_kubernetes_requests_become_kubectl(tmp_path):
    def lines(**more: object) -> list[list[str]]:
        return argv(copy(view("kubernetes", detail=POD | more, resource="prod"), "kubectl"), tmp_path)

    head = ["--context", "prod", "-n", "shop"]
    assert lines() == [[*head, "delete", "pods", "web-1"]]
    assert lines(verb="get", resource="deployments", group="apps") == [[*head, "get", "deployments.apps", "web-1"]]
    run = lines(verb="create", subresource="exec", argv=["sh", "-c", "echo '$HOME'"])
    assert run == [[*head, "exec", "web-1", "--", "sh", "-c", "echo '$HOME'"]]
    body = {"kind": "Pod", "metadata": {"name": "a'b"}}
    line = copy(view("kubernetes", detail=POD | {"verb": "create", "body": body}, resource="prod"), "kubectl")
    assert json.loads(shlex.split(line)[2]) == body
    assert argv(line, tmp_path) == [[*head, "create", "-f", "-"]]
    assert lines(verb="patch", body={"a": 1}) == [[*head, "patch", "pods", "web-1", "--type=merge", "-p", '{"a": 1}']]


def test_a_command_line_becomes_one_word_of_ssh(tmp_path):
    assert argv(copy(view("ssh", "rm -rf '/tmp/a b'; ls", resource="app1"), "ssh"), tmp_path) == [
        ["--", "app1", "rm -rf '/tmp/a b'; ls"]
    ]


@pytest.mark.parametrize(
    ("kind", "name", "detail", "resource"),
    [
        ("ssh", "ssh", {}, "-oProxyCommand=touch owned"),
        ("sql", "psql", {}, "x host=evil"),
        ("kubernetes", "kubectl", POD | {"name": "--kubeconfig=evil"}, "prod"),
        ("kubernetes", "kubectl", POD | {"namespace": "-A"}, "prod"),
        ("kubernetes", "kubectl", POD | {"resource": "-f evil"}, "prod"),
        ("kubernetes", "kubectl", POD | {"verb": "create"}, "prod"),
        ("http", "curl", HTTP | {"method": "GET -K evil"}, "x"),
        ("http", "curl", HTTP | {"host": "a/b?c"}, "x"),
        ("http", "curl", HTTP | {"scheme": "file"}, "x"),
        ("http", "curl", {}, "x"),
        ("sql", "psql", "not a detail", "orders"),
    ],
)
def test_what_could_become_something_else_is_refused(kind, name, detail, resource):
    with pytest.raises(CopyError):
        copy(view(kind, "\\x" if kind == "sql" else "ls", detail, resource), name)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_a_quoted_text_is_one_word_and_acts_on_no_terminal(text):
    word = shell_quote(text)
    done = subprocess.run(
        ["bash", "-c", f"printf %s {word}"], capture_output=True, env={"LC_ALL": "C.UTF-8"}, timeout=60, check=True
    )
    assert done.stdout.decode() == text
    assert not any((ord(char) < 0x20 and char != "\n") or 0x7F <= ord(char) < 0xA0 for char in word)


def test_what_ends_a_paste_or_turns_text_around_is_escaped():
    for kind, name in (("sql", "psql"), ("ssh", "ssh")):
        line = copy(view(kind, "x" + EVIL + "\x1b[201~rm -rf /\n"), name)
        assert not set("\x1b\x07\x9b\u202e\u2066\x7f\u200b\r") & set(line)


def test_every_kind_offers_text_and_id():
    for kind in ("sql", "http", "kubernetes", "ssh", "sftp", "refusal", "unreadable"):
        assert formats(view(kind))[-2:] == ["text", "id"]
    assert copy(view("sftp", "a" + EVIL), "text").isprintable()
