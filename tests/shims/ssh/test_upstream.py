"""The way out: the credentials that the gateway may hold, and how it knows the host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh

from onrecord.scripts.parts.gateway import wait_until
from onrecord.scripts.parts.openssh import OpenSshPart, make_key, program
from tests.shims.ssh.conftest import LabMaker

PASSPHRASE = "correct horse battery"


def test_a_key_with_a_passphrase_logs_in(make_lab: LabMaker, sshd: OpenSshPart, tmp_path: Path):
    key = asyncssh.read_private_key(sshd.key)
    locked = tmp_path / "locked"
    locked.write_bytes(key.export_private_key("openssh", passphrase=PASSPHRASE, rounds=64))
    locked.chmod(0o600)
    phrase = tmp_path / "phrase"
    phrase.write_text(PASSPHRASE)
    phrase.chmod(0o600)
    lab = make_lab(key=f"file:{locked}", passphrase=f"file:{phrase}")
    assert lab.client().run("app1@gateway", "echo in").stdout == b"in\n"
    assert PASSPHRASE not in lab.gateway.output()


def test_an_agent_socket_holds_the_key(make_lab: LabMaker, sshd: OpenSshPart, tmp_path: Path):
    sock = tmp_path / "agent"
    agent = subprocess.Popen([program("ssh-agent"), "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        wait_until(sock.exists, timeout=60)
        subprocess.run(
            [program("ssh-add"), "-q", str(sshd.key)], env={"SSH_AUTH_SOCK": str(sock)}, check=True, timeout=60
        )
        lab = make_lab(key=None, agent=str(sock))
        assert lab.client().run("app1@gateway", "echo in $SSH_AUTH_SOCK").stdout == b"in\n"
    finally:
        agent.terminate()
        agent.wait()


def test_a_host_is_known_by_its_authority(make_lab: LabMaker, tmp_path: Path):
    authority, host_key = (make_key(tmp_path / name) for name in ("ca", "host"))
    sign = [program("ssh-keygen"), "-q", "-s", str(authority), "-I", "app1", "-h", "-n", "127.0.0.1"]
    subprocess.run([*sign, str(host_key.with_suffix(".pub"))], check=True, timeout=60)
    settings = (f"HostKey {host_key}", f"HostCertificate {host_key}-cert.pub")
    with OpenSshPart(settings=settings) as host:
        text = " ".join(authority.with_suffix(".pub").read_text().split()[:2])
        lab = make_lab(host=host, host_key=None, host_ca=text)
        assert lab.client().run("app1@gateway", "echo in").stdout == b"in\n"


def test_a_host_with_the_certificate_of_another_authority_is_refused(make_lab: LabMaker, tmp_path: Path):
    authority, other, host_key = (make_key(tmp_path / name) for name in ("ca", "other", "host"))
    sign = [program("ssh-keygen"), "-q", "-s", str(other), "-I", "app1", "-h", "-n", "127.0.0.1"]
    subprocess.run([*sign, str(host_key.with_suffix(".pub"))], check=True, timeout=60)
    settings = (f"HostKey {host_key}", f"HostCertificate {host_key}-cert.pub")
    with OpenSshPart(settings=settings) as host:
        text = " ".join(authority.with_suffix(".pub").read_text().split()[:2])
        lab = make_lab(host=host, host_key=None, host_ca=text)
        done = lab.client().run("app1@gateway", "echo in")
        assert (done.returncode, done.stdout) == (255, b"")


def test_a_host_that_is_not_there_is_said_so(make_lab: LabMaker):
    lab = make_lab(upstream="ssh://deploy@127.0.0.1:1")
    done = lab.client().run("app1@gateway", "echo in")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"the host of resource app1 did not run it: UpstreamError; the gateway's log says why" in done.stderr
    (row,) = lab.commands(finished=1)
    assert row["outcome"]["status"] == "aborted"


def test_the_credential_is_nowhere_in_what_the_gateway_prints_or_keeps(make_lab: LabMaker, sshd: OpenSshPart):
    lab = make_lab()
    lab.client().run("app1@gateway", "echo in")
    lab.commands(finished=1)
    secret = sshd.key.read_text().splitlines()[2]
    assert secret not in lab.gateway.output()
    state = lab.gateway.setup.state
    assert not any(secret.encode() in path.read_bytes() for path in state.rglob("*") if path.is_file())
