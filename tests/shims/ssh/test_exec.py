"""exec with the real ssh: decided, recorded, relayed."""

from __future__ import annotations

from pathlib import Path

from tests.shims.ssh.conftest import LabMaker


def policy(folder: Path, body: str) -> dict[str, str]:
    """A policy file with one hook `ssh` of this body."""
    path = folder / "policy.py"
    path.write_text(
        "from onrecord.policies import Allow, Deny, Hold\n\n\nclass Policy:\n    def ssh(self, command):\n"
        + "".join(f"        {line}\n" for line in body.splitlines())
        + "\n\naddons = [Policy()]\n"
    )
    path.chmod(0o600)
    return {"file": str(path)}


def test_a_command_runs_and_is_on_record_with_its_output_and_status(make_lab: LabMaker):
    lab = make_lab()
    done = lab.client().run("app1@gateway", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)
    (row,) = lab.commands(finished=1)
    assert row["text"] == "echo out; echo err >&2; exit 3"
    assert (row["protocol"], row["resource"], row["identity"]["subject"]) == ("ssh", "app1", "devin")
    assert (row["outcome"]["status"], row["outcome"]["code"]) == ("error", "3")
    assert row["outcome"]["size"] == len(b"out\nerr\n")


def test_a_denied_command_never_reaches_the_host_and_exits_126(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(
        policies=[policy(tmp_path, 'return Deny("not this one", hint="ask") if "touch" in command.text else None')]
    )
    mark = tmp_path / "mark"
    done = lab.client().run("app1@gateway", f"touch {mark}")
    assert done.returncode == 126
    assert b"onrecord: policy: not this one (ask) [record " in done.stderr
    assert not mark.exists()
    (row,) = lab.commands(finished=1)
    assert (row["verdict"]["type"], row["outcome"]["status"], row["outcome"]["code"]) == ("deny", "refused", "126")


def test_standard_input_reaches_the_command_and_is_recorded(make_lab: LabMaker):
    lab = make_lab()
    done = lab.client().run("app1@gateway", "cat; echo end", stdin=b"one\ntwo\n")
    assert done.stdout == b"one\ntwo\nend\n"
    (row,) = lab.commands(finished=1)
    shown = lab.gateway.onrecord("replay", row["session"], "--no-wait").stdout
    assert "one" in shown


def test_a_wrong_token_and_a_wrong_resource_do_not_log_in(make_lab: LabMaker):
    lab = make_lab()
    done = lab.client(token="eyJhbGciOiJub25lIn0.e30.").run("app1@gateway", "true")
    assert done.returncode == 255
    assert b"Permission denied" in done.stderr
    done = lab.client().run("nowhere@gateway", "true")
    assert done.returncode == 255
    assert b"no resource of this gateway, or not one for you" in done.stderr
    outsider = lab.client(token=lab.gateway.setup.mint("mallory", groups=["others"]))
    assert outsider.run("app1@gateway", "true").returncode == 255


def test_an_exit_signal_is_passed_on(make_lab: LabMaker):
    lab = make_lab()
    done = lab.client().run("app1@gateway", "kill -TERM $$")
    assert done.returncode == 255
    (row,) = lab.commands(finished=1)
    assert (row["outcome"]["status"], row["outcome"]["code"]) == ("error", "TERM")
