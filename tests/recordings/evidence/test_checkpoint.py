"""Signed notes: what is signed opens, anything else raises only CheckpointError."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.evidence.checkpoint import CheckpointError, Signer, Verifier, join_notes, split_notes

SIGNER = Signer("onrecord/test", b"k" * 32)
VERIFIER = Verifier.parse(SIGNER.vkey)
ROOT = bytes(range(32))


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_what_is_signed_opens(size: int, root: bytes) -> None:
    note = SIGNER.sign(size, root)
    checkpoint = VERIFIER.open(note)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root, checkpoint.note) == ("onrecord/test", size, root, note)


def test_the_form_is_that_of_c2sp() -> None:
    lines = SIGNER.sign(7, ROOT).split("\n")
    assert lines[:4] == ["onrecord/test", "7", base64.b64encode(ROOT).decode(), ""]
    assert lines[4].startswith("\u2014 onrecord/test ")
    assert lines[5:] == [""]
    name, key_id, key = SIGNER.vkey.split("+", 2)
    assert name == "onrecord/test"
    assert base64.b64decode(lines[4].split(" ")[2])[:4].hex() == key_id
    assert base64.b64decode(key)[0] == 1


def test_the_example_key_of_the_go_implementation_is_read() -> None:
    # golang.org/x/mod/sumdb/note: the key of the Go checksum database
    verifier = Verifier.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
    assert verifier.name == "sum.golang.org"


def test_a_signer_survives_storage() -> None:
    again = Signer.parse(SIGNER.encode())
    assert again.sign(3, ROOT) == SIGNER.sign(3, ROOT)


@given(st.text(max_size=300))
def test_junk_raises_only_checkpoint_errors(text: str) -> None:
    for parse in (VERIFIER.open, Verifier.parse, Signer.parse):
        with pytest.raises(CheckpointError):
            parse(text)


@given(st.data())
def test_an_altered_note_never_opens(data: st.DataObject) -> None:
    note = SIGNER.sign(1234, ROOT)
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda char: char != note[at]))
    with pytest.raises(CheckpointError):
        VERIFIER.open(note[:at] + other + note[at + 1 :])


def test_another_logs_and_another_keys_notes_are_refused() -> None:
    for signer in (Signer("onrecord/other", b"k" * 32), Signer("onrecord/test", b"x" * 32)):
        with pytest.raises(CheckpointError):
            VERIFIER.open(signer.sign(1, ROOT))


def test_a_note_with_a_witness_beside_our_signature_opens() -> None:
    witness = Signer("witness", b"w" * 32)
    note = SIGNER.sign(1, ROOT)
    line = witness.sign(1, ROOT).rpartition("\n\n")[2]
    assert VERIFIER.open(note + line).size == 1
    assert VERIFIER.open(note.replace("\n\n", "\n\n" + line)).size == 1


@given(st.lists(st.integers(0, 1000), max_size=5), st.integers(0, 80))
def test_a_file_of_notes_is_read_back_whatever_was_cut_off_its_end(sizes: list[int], cut: int) -> None:
    notes = [SIGNER.sign(size, ROOT) for size in sizes]
    data = join_notes(notes)
    assert split_notes(data) == (notes, b"")
    whole, tail = split_notes(data[: len(data) - cut])
    assert whole == notes[: len(whole)]
    assert join_notes(whole) + tail == data[: len(data) - cut]


@given(st.binary(max_size=300))
def test_a_junk_file_raises_only_checkpoint_errors(data: bytes) -> None:
    try:
        notes, tail = split_notes(data)
    except CheckpointError:
        return
    assert join_notes(notes) + tail == data


@pytest.mark.parametrize("name", ["", "with space", "with+plus", "line\nbreak"])
def test_a_logs_name_has_no_separators(name: str) -> None:
    with pytest.raises(CheckpointError):
        Signer(name, b"k" * 32)
