"""The connection under the channels, with the real ssh: rekeying, keepalives, full-screen programs at several sizes."""

from __future__ import annotations

import hashlib
import os

import pytest

from onrecord.scripts.parts.openssh import OpenSshPart
from tests.shims.ssh.conftest import LabMaker
from tests.shims.ssh.test_shell import chunks
from tests.shims.ssh.typing import terminal


def test_keys_are_exchanged_anew_in_the_middle_of_a_transfer(make_lab: LabMaker, sshd: OpenSshPart):
    data = os.urandom(4 * 1024 * 1024)
    (sshd.home / "rekey").write_bytes(data)
    lab = make_lab()
    client = lab.client(RekeyLimit="256K")
    done = client.run("-v", "app1@gateway", "cat $HOME/rekey")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.stderr.count(b"SSH2_MSG_KEXINIT received") > 1
    up = client.run("app1@gateway", "sha256sum", stdin=data)
    assert up.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_keepalives_are_answered_while_a_command_is_silent(make_lab: LabMaker):
    lab = make_lab()
    client = lab.client(ServerAliveInterval="1", ServerAliveCountMax="2")
    assert client.run("app1@gateway", "sleep 6; echo alive").stdout == b"alive\n"


def test_a_client_that_speaks_gcm_gets_it_and_one_that_does_not_gets_ctr(make_lab: LabMaker):
    lab = make_lab()
    assert b"cipher: aes128-gcm@openssh.com" in lab.client().run("-v", "app1@gateway", "true").stderr
    done = lab.client(Ciphers="aes256-ctr").run("-v", "app1@gateway", "true")
    assert (done.returncode, b"cipher: aes256-ctr" in done.stderr) == (0, True)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60), (40, 10)])
def test_top_fills_terminals_of_any_size(make_lab: LabMaker, columns: int, rows: int):
    lab = make_lab()
    with terminal(lab.client(), "-tt", "app1@gateway", "top", columns=columns, rows=rows) as screen:
        screen.wait("load average" if columns >= 80 else "top - ")
        screen.type("q")
        assert screen.end() == 0
    (row,) = lab.commands(finished=1)
    found = chunks(lab, row)
    assert found[0]["data"] == {"columns": columns, "rows": rows}
    assert any("top - " in str(one.get("data")) for one in found if one["direction"] == "to_client")


def test_a_full_screen_editor_works_with_masks_on(make_lab: LabMaker, sshd: OpenSshPart):
    lab = make_lab(masks=[{"detect": ["payment_card"], "strategy": "redact"}])
    path = sshd.home / "edited"
    with terminal(lab.client(), "-tt", "app1@gateway", f"vi {path}") as screen:
        screen.wait("edited")
        screen.type("ihello from vi\x1b:wq\r")
        assert screen.end() == 0
    assert path.read_text() == "hello from vi\n"
