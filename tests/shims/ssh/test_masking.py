"""Masking of what commands print, with the real ssh: as it flows, split, on terminals; binary output as it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from onrecord.scripts.parts.openssh import OpenSshPart
from tests.shims.ssh.conftest import LabMaker
from tests.shims.ssh.test_shell import chunks
from tests.shims.ssh.typing import terminal

CARD = "4111111111111111"
MASKS = [{"detect": ["payment_card", "email"], "strategy": "redact"}]


def test_a_card_in_output_is_masked_before_the_client_and_the_record(make_lab: LabMaker):
    lab = make_lab(masks=MASKS)
    done = lab.client().run("app1@gateway", f"echo card {CARD}; echo mail bob@example.com >&2")
    assert CARD.encode() not in done.stdout
    assert done.stdout.startswith(b"card ")
    assert b"bob@example.com" not in done.stderr
    (row,) = lab.commands(finished=1)
    assert row["outcome"]["masked"] == {"payment_card": 1, "email": 1}
    assert CARD not in json.dumps([row["outcome"], chunks(lab, row)])


def test_a_card_that_comes_in_pieces_is_masked(make_lab: LabMaker):
    lab = make_lab(masks=MASKS)
    done = lab.client().run("app1@gateway", "printf 'card 4111'; sleep 1; printf 11111111; sleep 1; printf '1111\\n'")
    assert done.stdout.startswith(b"card ")
    assert b"4111" not in done.stdout
    assert b"1111" not in done.stdout


def test_a_card_at_the_very_end_is_masked(make_lab: LabMaker):
    lab = make_lab(masks=MASKS)
    assert CARD.encode() not in lab.client().run("app1@gateway", f"printf {CARD}").stdout


def test_a_prompt_shows_although_its_line_is_not_complete(make_lab: LabMaker):
    lab = make_lab(masks=MASKS)
    with terminal(lab.client(), "-T", "app1@gateway", "printf 'name: '; read n; echo hello $n") as screen:
        screen.wait("name: ")
        screen.type("bob\r")
        screen.wait("hello bob")


def test_on_a_terminal_escape_sequences_stay_whole_and_a_card_is_masked(make_lab: LabMaker):
    lab = make_lab(masks=MASKS)
    command = f"printf '\\033[1;31mred\\033[0m {CARD} \\033[2K\\r\\n'; tput cup 5 10"
    with terminal(lab.client(), "-tt", "app1@gateway", command) as screen:
        screen.end()
        assert b"\x1b[1;31mred\x1b[0m " in screen.shown
        assert b"\x1b[2K" in screen.shown
        assert b"\x1b[6;11H" in screen.shown
        assert CARD.encode() not in screen.shown


def test_binary_output_is_as_it_is_where_nothing_is_masked(make_lab: LabMaker, sshd: OpenSshPart):
    data = bytes(range(256)) * 8192
    (sshd.home / "binary").write_bytes(data)
    lab = make_lab()
    done = lab.client().run("app1@gateway", "cat $HOME/binary")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    (row,) = lab.commands(finished=1)
    assert row["outcome"]["size"] == len(data)


def test_what_cannot_be_searched_ends_the_command(make_lab: LabMaker, sshd: OpenSshPart, tmp_path: Path):
    (sshd.home / "long").write_bytes(b"x" * 1024 * 1024)
    lab = make_lab(masks=MASKS)
    done = lab.client().run("app1@gateway", "cat $HOME/long")
    assert done.returncode == 255
    assert b"onrecord:masking: over 262144 bytes without a line's end" in done.stderr
    (row,) = lab.commands(finished=1)
    assert row["outcome"]["status"] == "aborted"
