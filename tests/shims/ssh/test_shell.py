"""Shells with the real ssh on a terminal: refused, recorded whole, or line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.shims.ssh.conftest import Lab, LabMaker
from tests.shims.ssh.test_exec import policy
from tests.shims.ssh.typing import terminal


def chunks(lab: Lab, row: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lab.gateway.onrecord("show", row["id"], "--json").stdout)["chunks"]
    return found


def kept(found: list[dict[str, Any]], direction: str, channel: str = "terminal") -> str:
    return "".join(
        str(one.get("data") or "") for one in found if (one["direction"], one["channel"]) == (direction, channel)
    )


def test_a_shell_is_refused_by_default(make_lab: LabMaker):
    lab = make_lab()
    with terminal(lab.client(), "-tt", "app1@gateway") as screen:
        screen.wait("shells are refused on this resource")
        assert screen.end() == 126
    (row,) = lab.commands(finished=1)
    assert (row["text"], row["verdict"]["type"]) == ("(shell)", "deny")


def test_a_recorded_shell_keeps_both_directions_with_sizes(make_lab: LabMaker):
    lab = make_lab(interactive="record")
    with terminal(lab.client(), "-tt", "app1@gateway", columns=90, rows=30) as screen:
        screen.type("PS1='$'' '; stty size\r")
        screen.wait("30 90")
        screen.resize(100, 40)
        screen.type("sleep 1; stty size\r")
        screen.wait("40 100")
        screen.wait("$ ", times=screen.shown.partition(b"40 100")[0].count(b"$ ") + 1)  # the prompt behind it
        screen.type("echo mark$((40+2))\r")
        screen.wait("mark42")
        screen.type("exit 5\r")
        assert screen.end() == 5
    (row,) = lab.commands(finished=1)
    assert (row["text"], row["outcome"]["code"], row["detail"]["interactive"]) == ("(shell)", "5", True)
    found = chunks(lab, row)
    assert found[0]["channel"] == "resize"
    assert found[0]["data"] == {"columns": 90, "rows": 30}
    assert {"columns": 100, "rows": 40} in [one["data"] for one in found if one["channel"] == "resize"]
    assert "mark42" in kept(found, "to_client")
    assert "echo mark$((40+2))\r" in kept(found, "to_upstream")
    assert "$ echo mark$((40+2))" in [one["data"] for one in found if one["channel"] == "line"]


def test_what_is_typed_without_echo_is_nowhere_on_record(make_lab: LabMaker):
    lab = make_lab(interactive="record")
    secret = "tr0ub4dor-and-3"
    with terminal(lab.client(), "-tt", "app1@gateway") as screen:
        screen.type("PS1='$'' '; read -s -p 'Pass''word: ' word; echo got ${#word}\r")
        screen.wait("Password: ")
        for key in secret:
            screen.type(key)
        screen.type("\r")
        screen.wait(f"got {len(secret)}")
        screen.type("exit\r")
        screen.end()
    (row,) = lab.commands(finished=1)
    found = chunks(lab, row)
    assert secret not in json.dumps(found)
    assert "tr0ub" not in kept(found, "to_upstream")
    assert any("not echoed" in one.get("note", "") for one in found)
    state = lab.gateway.setup.state
    assert not any(secret.encode() in path.read_bytes() for path in state.rglob("*") if path.is_file())


def test_an_exec_on_a_terminal_is_decided_like_any(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(policies=[policy(tmp_path, 'return Deny("no") if "rm" in command.programs else None')])
    with terminal(lab.client(), "-tt", "app1@gateway", "tty; exit 4") as screen:
        screen.wait("/dev/pts/")
        assert screen.end() == 4
    with terminal(lab.client(), "-tt", "app1@gateway", "rm -rf x") as screen:
        screen.wait("onrecord: policy: no")
        assert screen.end() == 126


def test_per_line_decides_each_line_and_keeps_the_folder(make_lab: LabMaker, tmp_path: Path):
    rule = 'return Deny("read only") if command.action != "read" else None'
    lab = make_lab(interactive="per-line", policies=[policy(tmp_path, rule)])
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_text("content of it\n")
    with terminal(lab.client(), "-tt", "app1@gateway") as screen:
        screen.wait(":~> ")
        screen.type(f"cd {tmp_path}/here\r")
        screen.wait(f":{tmp_path}/here> ")
        screen.type("cat fike\x7f\x7fle\r")
        screen.wait("content of it")
        screen.wait(f":{tmp_path}/here> ", times=2)
        screen.type("rm file\r")
        screen.wait("onrecord: policy: read only")
        screen.type("exit\r")
        assert screen.end() == 126, "the status of the last line"
    assert (tmp_path / "here" / "file").exists()
    rows = lab.commands(finished=3)
    assert [row["verdict"]["type"] for row in rows] == ["allow", "allow", "deny"]
    assert rows[1]["text"] == f"cd {tmp_path}/here && {{\ncat file\n}}"
    assert f"{tmp_path}/here/file" in rows[1]["detail"]["paths_read"]


def test_per_line_takes_a_script_on_its_input_too(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(
        interactive="per-line", policies=[policy(tmp_path, 'return Deny("no") if "id" in command.programs else None')]
    )
    done = lab.client().run("-T", "app1@gateway", stdin=b"echo one\nid\ncat\necho two")
    assert done.stdout == b"one\ntwo\n"
    assert b"onrecord: policy: no" in done.stderr
    assert done.returncode == 0
    assert len(lab.commands(finished=4)) == 4


def test_per_line_runs_programs_that_want_a_terminal(make_lab: LabMaker):
    lab = make_lab(interactive="per-line")
    with terminal(lab.client(), "-tt", "app1@gateway") as screen:
        screen.wait(":~> ")
        screen.type("read -p 'name? ' n; echo hello $n\r")
        screen.wait("name? ", times=2)
        screen.type("bob\r")
        screen.wait("hello bob")
        screen.wait(":~> ", times=2)
        screen.type("\x04")
        assert screen.end() == 0


def test_per_line_loses_no_line_of_a_long_script(make_lab: LabMaker):
    lab = make_lab(interactive="per-line")
    script = "".join(f"# {number:05} {'x' * 200}\n" for number in range(3)) + "\n" * 3000 + "echo last\n"
    done = lab.client().run("-T", "app1@gateway", stdin=script.encode())
    assert done.stdout == b"last\n"
