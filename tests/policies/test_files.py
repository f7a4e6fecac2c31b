"""Paths that plant code or access, and paths that hold secrets, in every spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.files import plants, plants_below, secret_file


@pytest.mark.parametrize(
    "path",
    ["~/.ssh/authorized_keys", ".ssh/authorized_keys", "/root/.ssh/authorized_keys", "/home/x/.ssh/authorized_keys2",
     "~x/.ssh/authorized_keys", "authorized_keys", "~/.ssh", "~/.ssh/config", "/home/x/../y/.ssh/rc", "~/../y/.bashrc",
     "//etc//passwd", "/etc/./shadow", "/tmp/../etc/sudoers.d/x", "../../etc/passwd", "etc/cron.d/x", "/etc/crontab",
     "/var/spool/cron/crontabs/root", "/etc/systemd/system/x.service", "~/.config/systemd/user/x", "/etc/init.d/x",
     "/etc/rc.local", "/usr/local/bin/ls", "~/bin/ls", "~/.local/bin/x", "bin/x", "/bin/sh", "x/.git/hooks/pre-commit",
     ".git/config", "/srv/x.git/hooks/post-receive", "~/.gitconfig", "/etc/ld.so.preload", "/lib/security/pam_x.so",
     "/etc/pam.d/sshd", "/etc/ssh/sshd_config", "/usr/lib/python3/dist-packages/x.py", "x/site-packages/y.py", "a.pth",
     "~/.netrc", "~/.profile", "/root/.bashrc", "~/.zshenv", "~/.vimrc", "/etc/profile.d/x.sh", "/etc/anything",
     "~/.s?h/authorized_keys", "~/.ssh/*", "/etc/*", "/*/passwd", "~/.bash*", "/e[t]c/passwd", "~", "/", "/home",
     "/proc/sys/kernel/core_pattern", "/proc/self/root/etc/passwd", "/dev/sda", "/sys/x", "Makefile", ".envrc",
     "node_modules/x/index.js", "/boot/vmlinuz", "/etc", "~/.aws/config", "/var/log/auth.log"],
)  # fmt: skip
def test_what_plants_code_or_access_is_known_in_every_spelling(path):
    assert plants(path)


@pytest.mark.parametrize(
    "path",
    ["x", "a/b.txt", "/srv/app/config.json", "~/notes.txt", "/tmp/x", "/var/log/app/x.log", "/home/x/work/y.py",
     "*.txt", "../x.txt", "/var/www/html/index.html", "~/Documents/a b.md", "lib/x.py", "etc", "default/x"],
)  # fmt: skip
def test_plain_files_plant_nothing(path):
    assert plants(path) is None


@pytest.mark.parametrize("path", ["/", "/etc", "~", ".", "..", "../..", "/home/x", "/usr", "/var", "/root", "~x"])
def test_folders_above_what_plants_are_known(path):
    assert plants_below(path)


@pytest.mark.parametrize("path", ["/srv/app", "/tmp/x", "build", "~/work"])
def test_other_folders_are_free(path):
    assert plants_below(path) is None


@pytest.mark.parametrize(
    "path",
    ["~/.ssh/id_rsa", ".ssh/id_ed25519", "id_rsa", "/root/.ssh/id_ecdsa", "/home/x/.ssh/deploy.pem", "server.key",
     "/etc/ssl/private/x", "/etc/shadow", "/etc/shadow-", "../../etc/shadow", "/etc/ssh/ssh_host_rsa_key", ".env",
     "/srv/app/.env", ".env.production", "prod.env", "~/.aws/credentials", "~/.kube/config", "kubeconfig", "~/.netrc",
     "~/.pgpass", "~/.bash_history", ".zsh_history", "/proc/1/environ", "/proc/self/environ", "/proc/self/root/etc/shadow",
     "/proc/1/cwd/.env", "/proc/self/fd/3", "/dev/sda1", "/dev/mem", "~/.docker/config.json", "~/.git-credentials",
     "~/.config/gcloud/x", "/run/secrets/x", "/var/run/secrets/kubernetes.io/serviceaccount/token", "terraform.tfstate",
     "~/.ssh/*", "/etc/sh*", "/etc/sh?dow", "/*/shadow", "~/.*", ".e*", "/home/*/.ssh/id_*", "/etc/[s]hadow", "*.pem",
     "~/.gnupg/private-keys-v1.d/x", "/etc/sudoers", "~/../x/.ssh/id_rsa", "/home/x/./.ssh//id_rsa", "credentials",
     "../bob/.aws/config", "../../home/bob/.aws/config", "~/../../home/bob/.aws/x", "../*/.kube/x", "../../*/bob/.aws/x",
     "../**/x.key", "../../home/**", "/**/id_rsa", "/h*/**/.aws/x", ".en[[:alpha:]]", "/etc/shado[[:lower:]]", "[[:punct:]]env"],
)  # fmt: skip
def test_secret_files_are_known_in_every_spelling(path):
    assert secret_file(path)


@pytest.mark.parametrize(
    "path",
    ["x", "/etc/passwd", "/etc/hosts", "~/.ssh/id_rsa.pub", "~/.ssh/known_hosts", "/var/log/syslog", "notes.txt",
     "/proc/cpuinfo", "/proc/meminfo", "/srv/app/main.py", "README.md", "/etc/nginx/nginx.conf", "/var/log/*.log"],
)  # fmt: skip
def test_plain_files_hold_no_secret(path):
    assert secret_file(path) is None


@given(st.text(max_size=200))
def test_no_text_is_too_odd_for_the_rules(path):
    plants(path)
    plants_below(path)
    secret_file(path)


@given(st.lists(st.sampled_from(["", ".", "x/.."]), max_size=5), st.sampled_from(["authorized_keys", "config", "x"]))
def test_detours_change_nothing(detours, name):
    assert plants("/".join(["/home/a", *detours, ".ssh", *detours, name]))


def test_a_pattern_of_any_length_is_judged_in_bounded_steps():
    assert plants("*" * 4000) or True
    assert plants("a*" * 2000 + "/" + "*a" * 20) is None or True
    assert plants("x/" * 3000) == "too long to be judged"


def test_the_null_device_and_shared_memory_plant_nothing():
    assert plants("/dev/null") is None
    assert plants("/dev/shm/x") is None
    assert plants("/dev/shm/../sda")
