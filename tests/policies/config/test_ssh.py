"""policies/config/ssh.py: what an SSH resource says, and what is refused of it."""

from __future__ import annotations

import pytest

from onrecord.policies.config import SecretRef, SshResource
from tests.policies.config.loading import GATEWAY, load, one_problem

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmPjZHyeKXXs9FGN6RkqSKXpQnH0JXcQAbdxLzVqM8U"
SSH = (
    '[resources.app1]\ntype = "ssh"\ngroups = ["agents"]\nupstream = "ssh://deploy@app1.internal:2200"\n'
    f'host_key = "{HOST_KEY} a comment"\n'
)
KEY = 'key = "env:KEY"\n'


def test_an_ssh_resource_is_read(tmp_path):
    resource = load(tmp_path, GATEWAY + SSH + KEY + 'users = ["root", "deploy"]\n').resources["app1"]
    assert isinstance(resource, SshResource)
    assert (resource.host, resource.port, resource.user, resource.users) == ("app1.internal", 2200, "deploy", ("root",))
    assert resource.key == SecretRef("env", "KEY", "mitm.toml: resources.app1.key")
    assert resource.host_keys == (HOST_KEY,)
    assert (resource.interactive, resource.forwards, resource.default) == ("deny", (), "deny")


def test_host_keys_come_from_a_file_too(tmp_path):
    (tmp_path / "hosts").write_text(f"# of app1\n{HOST_KEY}\n")
    text = SSH.replace(f'"{HOST_KEY} a comment"', '"file:hosts"')
    resource = load(tmp_path, GATEWAY + text + KEY).resources["app1"]
    assert isinstance(resource, SshResource)
    assert resource.host_keys == (HOST_KEY,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SSH, "resources.app1.key: missing"),
        (SSH.partition("host_key")[0] + KEY, "resources.app1.host_key: missing"),
        (SSH.replace("AAAAC3", "AAAA!!") + KEY, "resources.app1.host_key: a public key that is no base64"),
        (SSH.replace('"ssh-ed25519', '"ssh-rsa') + KEY, "resources.app1.host_key: a public key that is no ssh-rsa"),
        (SSH.replace('"ssh-ed25519', '"ssh-dss') + KEY, "resources.app1.host_key: not a public key"),
        (SSH + 'key = "hunter2"\n', "resources.app1.key: a secret in clear"),
        (SSH.replace("deploy@", "") + KEY, "resources.app1.upstream: no user"),
        (SSH.replace("deploy@", "de:ploy@") + KEY, "resources.app1.upstream: a password"),
        (SSH.replace(":2200", ":2200/x") + KEY, "resources.app1.upstream: a path"),
        (SSH + KEY + 'users = ["a b"]\n', "resources.app1.users[0]: not a login name"),
        (SSH + KEY + 'users = ["-oProxyCommand"]\n', "resources.app1.users[0]: not a login name"),
        (SSH + KEY + 'certificate = "issue"\n', "resources.app1.key: a second credential"),
        (SSH + 'agent = "agent.sock"\n', "resources.app1.agent: not an absolute path"),
        (SSH + KEY + 'interactive = "allow"\n', "resources.app1.interactive: no such choice"),
        (SSH + KEY + 'env = ["LD_PRELOAD"]\n', "resources.app1.env[0]: a variable that makes"),
        (SSH + KEY + 'env = ["BASH_ENV"]\n', "resources.app1.env[0]: a variable that makes"),
        (SSH + KEY + 'env = ["*"]\n', "resources.app1.env[0]: not the name"),
        (SSH + KEY + 'forwards = ["db"]\n', "resources.app1.forwards[0]: not a destination"),
        (SSH.replace("app1.internal:2200", "127.0.0.1:8080") + KEY, "resources.app1.upstream: '127.0.0.1:8080' is"),
    ],
)
def test_what_an_ssh_resource_must_not_be(tmp_path, text, problem):
    assert one_problem(tmp_path, GATEWAY + text).startswith(problem)
