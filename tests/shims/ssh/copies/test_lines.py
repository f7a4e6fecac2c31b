"""Which lines are copies, of what, and which are not recognised."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.ssh.copies.lines import Copy, copy_of, plain_words


@pytest.mark.parametrize(
    ("line", "copy"),
    [
        ("scp -t /srv/x", Copy("scp", "write", ("/srv/x",))),
        ("scp -r -p -d -t -- /srv/x", Copy("scp", "write", ("/srv/x",), below=True, folder=True)),
        ("scp -f a ~/b", Copy("scp", "read", ("a", "~/b"))),
        ("scp -v -f 'a b'", Copy("scp", "read", ("a b",))),
        ("rsync --server -vlogDtpre.iLsfxCIvu . dest/", Copy("rsync", "write", ("dest/",), below=True)),
        ("rsync --server --sender -vlogDtpre.iLsfxCIvu . a b", Copy("rsync", "read", ("a", "b"), below=True)),
        (
            "rsync --server -logDtpre.iLsfxCIvu --delete --backup-dir=/old . /d",
            Copy("rsync", "write", ("/d",), below=True, writes=("/old",)),
        ),
        (
            "rsync --server --sender -re.iLsfxCIvu --remove-source-files . /d",
            Copy("rsync", "read", ("/d",), below=True, writes=("/d",)),
        ),
        ("git-upload-pack '/srv/repo.git'", Copy("git", "read", ("/srv/repo.git",), below=True)),
        ("git-receive-pack '~/repo.git'", Copy("git", "write", ("~/repo.git",), below=True)),
        ("scp -t '~/x'", Copy("scp", "write", ("./~/x",))),
        ("git receive-pack /r", Copy("git", "write", ("/r",), below=True)),
    ],
)
def test_lines_of_the_far_side_are_copies(line: str, copy: Copy) -> None:
    assert copy_of(line) == copy


@pytest.mark.parametrize(
    "line",
    [
        "scp /a /b",
        "scp -t",
        "scp -t a b",
        "scp -t -f x",
        "scp -t $HOME",
        "scp -t `id`",
        "scp -t x; id",
        "scp -t x > y",
        "scp -t 'a'$(id)",
        "scp -f *.txt",
        "scp -f {a,b}",
        "scp -t -S /bin/sh x",
        "scp -t x\nid",
        "scp -t ~root/x",
        "scp -t 'open",
        'scp -t "x"',
        "scp -t x #y",
        "scp -f =ls",
        "rsync --server --daemon .",
        "rsync --server -vlogDtprs.iLsfxCIvu . d",
        "rsync --server -vse.iLsfxCIvu . d",
        "rsync --server --log-file=/etc/cron.d/x -re.iLs . d",
        "rsync --server --rsh=sh -re.iLs . d",
        "rsync --server --files-from=/etc/passwd -re.iLs . d",
        "rsync --server -M--log-file=x -re.iLs . d",
        "rsync -a . d",
        "git-upload-pack --exec=x /r",
        "git-upload-pack",
        "git-upload-pack '~root/r'",
        "git -c core.sshCommand=x upload-pack /r",
        "git upload-archive /r",
        "/tmp/scp -t x",
        "env scp -t x",
        "X=1 scp -t x",
    ],
)
def test_anything_else_is_judged_as_a_shell_command(line: str) -> None:
    assert copy_of(line) is None


@given(st.lists(st.text(min_size=1), min_size=1))
def test_words_are_those_that_a_shell_would_see(words: list[str]) -> None:
    line = shlex.join(words)
    found = plain_words(line)
    if found is not None:
        assert found == ["./" + word if word.startswith("~") else word for word in words]


@given(st.text())
def test_no_line_raises(line: str) -> None:
    copy_of(line)
    copy_of("scp -t " + line)
    copy_of("rsync --server " + line)
