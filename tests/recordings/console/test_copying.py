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
    """The programs that sh (dash on Debian) and bash really run for `line`, each a list of words."""
    ran = [_argv(shell, line, tmp_path) for shell in ("sh", "bash")]
    assert ran[0] == ran[1]
    return ran[0]


def _argv(shell: str, line: str, tmp_path: Path) -> list[list[str]]:
    log = tmp_path / "ran"
    for name in ("curl", "psql", "ssh", "kubectl"):
        program = tmp_path / name
        program.write_text(f'#!/bin/bash\nfor word; do printf "%s\\0" "$word"; done >> {log}; printf "\\1" >> {log}\n')
        program.chmod(0o700)
    log.write_bytes(b"")
    before = set(tmp_path.iterdir())
    done = subprocess.run(
        [shell, "-c", line], cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(tmp_path.iterdir()) == before
    return [part.decode("utf-8", "surrogateescape").split("\0")[:-1] for part in log.read_bytes().split(b"\1")[:-1]]


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
    for shell in ("sh", "bash"):
        done = subprocess.run(
            [shell, "-c", f"printf %s {word}"], capture_output=True, env={"LC_ALL": "C.UTF-8"}, timeout=60, check=True
        )
        assert done.stdout.decode() == text
    assert not any((ord(char) < 0x20 and char != "\n") or 0x7F <= ord(char) < 0xA0 for char in word)


def test_what_ends_a_paste_or_turns_text_around_is_escaped():
    for kind, name in (("sql", "psql"), ("ssh", "ssh")):
        line = copy(view(kind, "x" + EVIL + "\x1b[201~rm -rf /\n"), name)
        assert not set("\x1b\x07\x9b\u202e\u2066\x7f\u200b\r") & set(line)


# each ends the quotes of one way to read a shell, and would leave a file behind
BREAKOUTS = (
    "\x1b'; touch owned; #", "x\x1b'; touch owned; '", "x\x1b\\'; touch owned; \\'", "$'\\'; touch owned #",
    '\t"; touch owned; "', "`touch owned`\x1b", "$(touch owned)\u202e", "\r\ntouch owned\n", "a\\",
    "\n'\ntouch owned\n'\x7f", "\\'; touch owned; \\'", "%n%s%\x1b\\047; touch owned", "-\x1b", "!!\x1b!touch\n",
    "\x1b[201~\ntouch owned\n", '\x1b)"; touch owned; "$(', "\udc80' touch owned", "'\u2028touch owned;'",
)  # fmt: skip


@pytest.mark.parametrize("text", BREAKOUTS)
def test_no_text_leaves_its_quotes_in_any_shell(text, tmp_path):
    """Where a shell has no $'…', a quote in it would end the word: the rest would run."""
    views = [
        (view("sql", text), "psql"),
        (view("sql", "SELECT $1", {"parameters": [text]}), "psql"),
        (view("ssh", text, resource="app1"), "ssh"),
        (view("http", detail=HTTP | {"body": text, "headers": [["x-note", text]], "query": [["q", text]]}), "curl"),
        (view("kubernetes", detail=POD | {"subresource": "exec", "argv": ["echo", text]}), "kubectl"),
        (view("kubernetes", detail=POD | {"verb": "patch", "body": {"a": text}}), "kubectl"),
    ]
    for each, name in views:
        try:
            line = copy(each, name)
        except CopyError:
            continue  # refused is as good
        (words,) = argv(line, tmp_path)
        assert not (tmp_path / "owned").exists()
        assert len(words) >= 2
        if name == "ssh":
            assert words[2].encode("utf-8", "surrogateescape") == text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_pasted_text_runs_nothing_in_a_shell_that_reads_from_a_person(shell, tmp_path):
    """An interactive bash looks for "!" and completes at a tab, also within quotes; no line of a paste ends a word."""
    lines = [copy(view("sql", f"a{text} !! !touch"), "psql") for text in BREAKOUTS if "\udc80" not in text]
    typed = "set -o history -o histexpand 2>/dev/null\ntrue 'a' ; true\n" + "".join(f": {line}\n" for line in lines)
    done = subprocess.run(
        [shell, "-i"], input=typed.encode(), cwd=tmp_path, capture_output=True, timeout=60,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(tmp_path), "HISTFILE": "", "PS1": ""},
    )  # fmt: skip
    assert not list(tmp_path.iterdir())
    assert b"not found" not in done.stderr, done.stderr


def test_a_request_whose_body_is_not_on_record_is_not_copied_without_it():
    """A comment behind the line would be words for curl in a zsh, which reads none there."""
    for body in (None, {"base64": "AA=="}):
        with pytest.raises(CopyError, match="export the record"):
            copy(view("http", detail=HTTP | {"body": body}), "curl")
    assert "#" not in copy(view("http", detail=HTTP | {"method": "GET", "body": None}), "curl")


def test_what_curl_would_drop_or_wait_for_is_said_as_curl_takes_it(tmp_path):
    detail = HTTP | {"method": "HEAD", "body": "", "headers": [["x-empty", ""]], "query": []}
    assert argv(copy(view("http", detail=detail), "curl"), tmp_path) == [
        ["--globoff", "--head", "-H", "x-empty;", "https://billing.internal:8443/a%20b/%C3%A9"]
    ]


def test_a_deletion_by_selector_stays_one(tmp_path):
    some = POD | {"verb": "deletecollection", "name": "", "query": [["labelSelector", "app=web,x!=1"]]}
    body = {"gracePeriodSeconds": 0, "propagationPolicy": "Orphan"}
    assert argv(copy(view("kubernetes", detail=some | {"body": body}, resource="prod"), "kubectl"), tmp_path) == [
        ["--context", "prod", "-n", "shop", "delete", "pods", "--selector=app=web,x!=1", "--grace-period=0",
         "--cascade=orphan"],
    ]  # fmt: skip
    line = copy(view("kubernetes", detail=some | {"query": []}, resource="prod"), "kubectl")
    assert argv(line, tmp_path) == [["--context", "prod", "-n", "shop", "delete", "pods", "--all"]]


@pytest.mark.parametrize(
    "more",
    [
        {"resource": "all"},
        {"resource": "pods,secrets"},
        {"resource": "widgets,secrets", "group": "example.com"},
        {"name": "web-1,web-2"},
        {"name": "../x"},
        {"name": ""},
        {"body": {"preconditions": {"uid": "1"}}},
        {"body": {"propagationPolicy": "Whatever"}},
        {"verb": "create", "body": {"kind": "ClusterRoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1"}},
        {"verb": "create", "body": {"kind": "Pod", "apiVersion": "v2"}},
        {"verb": "create", "body": {"kind": "List", "items": []}},
        {"verb": "update", "body": {"kind": "Pod", "metadata": {"name": "another"}}},
        {"verb": "create", "body": {"kind": "Pod", "metadata": {"namespace": "kube-system"}}},
        {"verb": "patch", "body": {}, "patch_type": "apply"},
        {"subresource": "exec", "argv": []},
        {"subresource": "exec", "argv": ["ls"], "name": ""},
        {"subresource": "log", "container": "--all-containers"},
    ],
)
def test_what_kubectl_would_widen_or_read_otherwise_is_refused(more):
    with pytest.raises(CopyError):
        copy(view("kubernetes", detail=POD | more, resource="prod"), "kubectl")


def test_a_patch_keeps_its_kind():
    line = copy(view("kubernetes", detail=POD | {"verb": "patch", "body": {}, "patch_type": "strategic"}), "kubectl")
    assert " --type=strategic " in line


def test_every_kind_offers_text_and_id():
    for kind in ("sql", "http", "kubernetes", "ssh", "sftp", "refusal", "unreadable"):
        assert formats(view(kind))[-2:] == ["text", "id"]
    assert copy(view("sftp", "a" + EVIL), "text").isprintable()
