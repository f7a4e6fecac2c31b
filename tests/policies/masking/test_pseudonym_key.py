"""policies/masking/pseudonym_key.py: one key a state folder, only ours to read."""

from __future__ import annotations

import pytest

from onrecord.policies.masking import MaskError, pseudonym_key


def test_the_key_is_made_once_and_private(tmp_path):
    key = pseudonym_key(tmp_path)
    assert len(key) == 32
    assert pseudonym_key(tmp_path) == key
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_can_read_or_that_is_cut_is_refused(tmp_path):
    pseudonym_key(tmp_path)
    path = tmp_path / "pseudonym.key"
    path.chmod(0o644)
    with pytest.raises(MaskError, match="others could read"):
        pseudonym_key(tmp_path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(MaskError, match="holds 5 bytes"):
        pseudonym_key(tmp_path)
