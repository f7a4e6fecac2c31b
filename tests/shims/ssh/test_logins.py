"""The ways in: tokens, certificates, listed keys; and what `onrecord env` writes for plain `ssh RESOURCE`."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import asyncssh
import pytest

from onrecord.policies.model import Identity
from onrecord.scripts.parts.openssh import OpenSshPart, make_key, program, ssh_resource
from onrecord.shims.ssh.authority import AGENTS_CA, HOSTS_CA, PRINCIPAL, agent_certificate
from onrecord.shims.ssh.hostkeys import gateway_key
from tests.shims.ssh.conftest import Lab, LabMaker

BY_KEY = {"PubkeyAuthentication": "yes", "PreferredAuthentications": "publickey", "IdentitiesOnly": "yes"}


def key_client(lab: Lab, key: Path):
    return lab.client(token="unused", **BY_KEY, IdentityFile=str(key))


def test_a_token_by_keyboard_interactive_logs_in_and_is_nowhere_in_clear(make_lab: LabMaker):
    lab = make_lab()
    token = lab.gateway.setup.mint("devin")
    done = lab.client(token, PreferredAuthentications="keyboard-interactive").run("app1@gateway", "echo in")
    assert done.stdout == b"in\n"
    (row,) = lab.commands(finished=1)
    assert token not in json.dumps(row)
    state = lab.gateway.setup.state
    files = [path for path in state.rglob("*") if path.is_file()]
    signature = token.rpartition(".")[2].encode()
    assert files
    assert not any(signature in path.read_bytes() for path in files)
    assert signature.decode() not in lab.gateway.output()


def test_a_certificate_from_onrecord_token_logs_in_with_its_identity_and_run(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    key = tmp_path / "id_agent"
    more = ("--groups", "agents", "--on-behalf-of", "alice@example.com", "--run", "run-7")
    made = lab.gateway.onrecord("token", "--subject", "devin", *more, "--ssh", str(key)).stdout.strip()
    shown = subprocess.run([program("ssh-keygen"), "-L", "-f", made], capture_output=True, text=True, check=True).stdout
    assert '"sub":"devin"' in shown
    assert '"run":"run-7"' in shown
    assert key_client(lab, key).run("app1@gateway", "echo in").stdout == b"in\n"
    (row,) = lab.commands(finished=1)
    assert (row["identity"]["subject"], row["identity"]["on_behalf_of"], row["run"]) == (
        "devin",
        "alice@example.com",
        "run-7",
    )


IDENTITY = Identity(issuer="onrecord:dev", subject="devin", groups=("agents",))


@pytest.mark.parametrize("what", ["expired", "another authority", "the hosts' authority", "no principal", "a host's"])
def test_a_certificate_that_is_not_right_does_not_log_in(make_lab: LabMaker, tmp_path: Path, what: str):
    lab = make_lab()
    state = lab.gateway.setup.state
    key = asyncssh.read_private_key(make_key(tmp_path / "id"))
    good = agent_certificate(state, key, IDENTITY, "run-1")
    key_id = good._key_id  # type: ignore[attr-defined]
    now = int(time.time())
    authority = gateway_key(state, AGENTS_CA)
    if what == "expired":
        made = authority.generate_user_certificate(key, key_id, principals=[PRINCIPAL], valid_before=now - 5)
    elif what == "another authority":
        other = asyncssh.generate_private_key("ssh-ed25519")
        made = other.generate_user_certificate(key, key_id, principals=[PRINCIPAL])
    elif what == "the hosts' authority":
        made = gateway_key(state, HOSTS_CA).generate_user_certificate(key, key_id, principals=[PRINCIPAL])
    elif what == "no principal":
        made = authority.generate_user_certificate(key, key_id)
    else:
        made = authority.generate_host_certificate(key, key_id, principals=[PRINCIPAL])
    (tmp_path / "id-cert.pub").write_bytes(made.export_certificate())
    done = key_client(lab, tmp_path / "id").run("app1@gateway", "echo in")
    assert (done.returncode, done.stdout) == (255, b"")
    (tmp_path / "id-cert.pub").write_bytes(good.export_certificate())
    assert key_client(lab, tmp_path / "id").run("app1@gateway", "echo in").stdout == b"in\n"


def test_asking_with_anothers_certificate_lends_nobody_its_identity(make_lab: LabMaker, tmp_path: Path):
    """The certificate is offered by one who lacks its key; then a key of one's own is proved."""
    lab = make_lab()
    state = lab.gateway.setup.state
    stolen, own = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    certificate = agent_certificate(state, stolen, IDENTITY, "run-1")
    forged = tmp_path / "own"
    forged.write_bytes(own.export_private_key())
    forged.chmod(0o600)
    (tmp_path / "own-cert.pub").write_bytes(certificate.export_certificate())
    done = key_client(lab, forged).run("app1@gateway", "echo in")
    assert (done.returncode, done.stdout) == (255, b"")


def test_an_agents_certificate_opens_no_host(make_lab: LabMaker, tmp_path: Path):
    """A host that trusts the gateway's authority for hosts takes what the gateway signs, and no agent's."""
    authority = tmp_path / "hosts_ca.pub"
    settings = (f"TrustedUserCAKeys {authority}",)
    authority.write_text("")
    with OpenSshPart(settings=settings) as host:
        lab = make_lab(host=host, certificate="issue", key=None)
        state = lab.gateway.setup.state
        client = lab.client()
        assert client.run("app1@gateway", "echo in").returncode != 0, "the host does not trust the authority yet"
        authority.write_bytes(gateway_key(state, HOSTS_CA).export_public_key())
        assert client.run("app1@gateway", "echo in").stdout == b"in\n"
        assert '"sub":"devin"' in host.log()
        key = make_key(tmp_path / "id")
        made = agent_certificate(state, asyncssh.read_private_key(key), IDENTITY, "run-1")
        (tmp_path / "id-cert.pub").write_bytes(made.export_certificate())
        direct = subprocess.run(
            [program("ssh"), "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o",
             "UserKnownHostsFile=/dev/null", "-i", str(key), "-p", str(host.port), f"{host.user}@127.0.0.1", "echo in"],
            capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert direct.stdout == b""


def test_a_listed_key_logs_in(make_lab: LabMaker, tmp_path: Path):
    key = make_key(tmp_path / "id")
    public = " ".join((tmp_path / "id.pub").read_text().split()[:2])
    lab = make_lab(ssh_keys=[{"key": public, "subject": "builder", "groups": ["agents"]}])
    assert key_client(lab, key).run("app1@gateway", "echo in").stdout == b"in\n"
    (row,) = lab.commands(finished=1)
    assert (row["identity"]["issuer"], row["identity"]["subject"]) == ("onrecord:ssh-key", "builder")
    other = make_key(tmp_path / "other")
    assert key_client(lab, other).run("app1@gateway", "echo in").returncode == 255


def test_another_user_of_the_host_must_be_listed(make_lab: LabMaker, sshd: OpenSshPart):
    lab = make_lab(users=["nobody9"])
    assert lab.client().run(f"app1+{sshd.user}@gateway", "echo in").stdout == b"in\n"
    done = lab.client().run("app1+daemon@gateway", "echo in")
    assert done.returncode == 255
    assert b"no resource of this gateway, or not one for you" in done.stderr
    done = lab.client().run("app1+nobody9@gateway", "echo in")
    assert (done.returncode, done.stdout) == (255, b""), "the host does not know that user"


@pytest.mark.parametrize("login", ["app1+", "+root", "app1+root+x", "../app1", "APP1", "app1 ", "-app1", "a" * 900])
def test_odd_login_names_open_nothing(make_lab: LabMaker, login: str):
    lab = make_lab()
    assert lab.client().run("-l", login, "gateway", "echo in").stdout == b""


def test_plain_ssh_works_with_what_env_writes(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    token = tmp_path / "token"
    token.write_text(lab.gateway.setup.mint("devin"))
    variables = json.loads(lab.gateway.onrecord("env", "--token", str(token), "--json").stdout)
    assert variables["ONRECORD_SSH_KNOWN_HOSTS"].endswith(lab.host_key.rpartition(" ")[0].split()[1])
    done = subprocess.run(["ssh", "app1", "echo in"], env=variables, capture_output=True, stdin=subprocess.DEVNULL)
    assert (done.stdout, done.stderr) == (b"in\n", b"")


def test_a_token_that_is_renewed_in_its_file_logs_in(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    token = tmp_path / "token"
    token.write_text(lab.gateway.setup.mint("devin"))
    variables = json.loads(lab.gateway.onrecord("env", "--token", str(token), "--json").stdout)
    variables["ONRECORD_SSH_TOKEN"] = "expired"  # as it is after an hour
    token.write_text(lab.gateway.setup.mint("devin"))
    done = subprocess.run(["ssh", "app1", "echo in"], env=variables, capture_output=True, stdin=subprocess.DEVNULL)
    assert (done.stdout, done.stderr) == (b"in\n", b"")
    token.unlink()
    done = subprocess.run(["ssh", "app1", "echo in"], env=variables, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 255


def test_the_host_certificate_is_enough_to_know_the_gateway(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    authority = gateway_key(lab.gateway.setup.state, AGENTS_CA).export_public_key().decode().split()
    client = lab.client()
    known = client.folder / "known_hosts"
    known.write_text(f"@cert-authority [127.0.0.1]:{lab.gateway.setup.ssh_port} {authority[0]} {authority[1]}\n")
    assert client.run("app1@gateway", "echo in").stdout == b"in\n"


def test_a_host_with_another_key_is_not_logged_in_to(make_lab: LabMaker, sshd: OpenSshPart, tmp_path: Path):
    other = " ".join(make_key(tmp_path / "other").with_suffix(".pub").read_text().split()[:2])
    lab = make_lab(host_key=other)
    done = lab.client().run("app1@gateway", "echo in")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"the gateway's log says why" in done.stderr
    assert "its host key is none of host_key and host_ca" in lab.gateway.output()


def test_check_logs_in_to_the_host(make_lab: LabMaker):
    lab = make_lab()
    done = lab.gateway.onrecord("check", "--json")
    assert "the host key is the pinned one" in done.stdout


def test_the_resource_of_a_part_is_valid(sshd: OpenSshPart):
    assert ssh_resource(sshd)["host_key"].startswith("ssh-ed25519 ")
