"""Signed checkpoints: C2SP tlog-checkpoint in a C2SP signed note, Ed25519. Pure bytes ↔ values.

    onrecord/3f0c…           origin: the log's name, also the key's
    1234                     number of records
    base64(root)             RFC 6962 root hash

    — onrecord/3f0c… base64(key id · signature)

https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note. The public key travels as a note "vkey":
`name+hex(key id)+base64(0x01 · public key)`. A checkpoint file holds such notes one after another, a blank line
between them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from onrecord.policies.errors import DecodeError

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_NAME = re.compile(r"[!-*,-~]+")
_SIGNATURE = "\u2014 "


class CheckpointError(DecodeError):
    """The bytes are no checkpoint, or its signature is not by the key given."""


class Checkpoint(NamedTuple):
    """A signed statement: the log `origin` has `size` records with this `root`. `note` is the whole signed text."""

    origin: str
    size: int
    root: bytes
    note: str


class Verifier(NamedTuple):
    """A vkey, decoded."""

    name: str
    key_id: bytes
    key: Ed25519PublicKey

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read `name+hex+base64`. Raises CheckpointError."""
        name, _, rest = vkey.strip().partition("+")
        hexed, _, encoded = rest.partition("+")
        data = _decode64(encoded, "the public key")
        if not _NAME.fullmatch(name) or len(data) != 33 or data[:1] != _ED25519:
            raise CheckpointError("not a verifier key (name+hash+key, Ed25519)")
        key_id = _key_id(name, data[1:])
        if key_id.hex() != hexed:
            raise CheckpointError("the verifier key's hash does not fit its key")
        return cls(name, key_id, Ed25519PublicKey.from_public_bytes(data[1:]))

    def open(self, note: str) -> Checkpoint:
        """The checkpoint in `note`, its signature checked. Raises CheckpointError."""
        text, separator, signatures = note.rpartition("\n\n")
        if not separator or not signatures.endswith("\n"):
            raise CheckpointError("not a signed note")
        text += "\n"
        checkpoint = _read_body(text, note)
        if checkpoint.origin != self.name:
            raise CheckpointError(f"a checkpoint of another log: {checkpoint.origin!r}")
        for line in signatures[:-1].split("\n"):
            name, _, encoded = line.removeprefix(_SIGNATURE).partition(" ")
            if not line.startswith(_SIGNATURE) or not _NAME.fullmatch(name):
                raise CheckpointError("not a signature line")
            signature = _decode64(encoded, "a signature")
            if name == self.name and signature[:4] == self.key_id:
                try:
                    self.key.verify(signature[4:], text.encode())
                except InvalidSignature:
                    raise CheckpointError("the signature is wrong") from None
                return checkpoint
        raise CheckpointError("not signed by this log's key")


class Signer:
    """The log's private key and name."""

    def __init__(self, name: str, seed: bytes) -> None:
        if not _NAME.fullmatch(name):
            raise CheckpointError("a log's name has neither spaces nor '+'")
        self.name, self._seed = name, seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()
        self._id = _key_id(name, self._public)

    @classmethod
    def parse(cls, text: str) -> Signer:
        """Read what `encode` wrote. Raises CheckpointError, which never holds the key."""
        name, _, rest = text.strip().removeprefix(_PRIVATE).partition("+")
        hexed, _, encoded = rest.partition("+")
        data = _decode64(encoded, "the private key")
        if not text.startswith(_PRIVATE) or len(data) != 33 or data[:1] != _ED25519:
            raise CheckpointError("not a signing key (PRIVATE+KEY+name+hash+key, Ed25519)")
        signer = cls(name, data[1:])
        if signer._id.hex() != hexed:
            raise CheckpointError("the signing key's hash does not fit its key")
        return signer

    def encode(self) -> str:
        """The private key as text (Go's note.Signer format). Secret."""
        return f"{_PRIVATE}{self.name}+{self._id.hex()}+{_encode64(_ED25519 + self._seed)}\n"

    @property
    def vkey(self) -> str:
        """The public half, for verifiers."""
        return f"{self.name}+{self._id.hex()}+{_encode64(_ED25519 + self._public)}"

    def sign(self, size: int, root: bytes) -> str:
        """The signed note of a tree."""
        text = f"{self.name}\n{size}\n{_encode64(root)}\n"
        return f"{text}\n{_SIGNATURE}{self.name} {_encode64(self._id + self._key.sign(text.encode()))}\n"


def split_notes(data: bytes) -> tuple[list[str], bytes]:
    """The whole notes of a checkpoint file, in order, and the bytes of an unfinished one behind them.

    Raises CheckpointError where the bytes are not UTF-8.
    """
    parts = data.split(b"\n\n")
    whole = (len(parts) - 1) // 2
    notes = [parts[at] + b"\n\n" + parts[at + 1] + b"\n" for at in range(0, 2 * whole, 2)]
    try:
        return [note.decode() for note in notes], b"\n\n".join(parts[2 * whole :])
    except UnicodeDecodeError:
        raise CheckpointError("a checkpoint is not UTF-8 text") from None


def join_notes(notes: list[str]) -> bytes:
    """What is appended to a checkpoint file for `notes`."""
    return "".join(f"{note}\n" for note in notes).encode()


def _read_body(text: str, note: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or not _NUMBER.fullmatch(lines[1]):
        raise CheckpointError("not a checkpoint: origin, size and root are expected, a line each")
    root = _decode64(lines[2], "the root")
    if len(root) != 32:
        raise CheckpointError("the root is not a SHA-256 hash")
    return Checkpoint(lines[0], int(lines[1]), root, note)


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _encode64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise CheckpointError(f"{what} is not base64") from None
    if _encode64(data) != text:
        raise CheckpointError(f"{what} is not canonical base64")
    return data
