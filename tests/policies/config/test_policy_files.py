"""policies/config/policy_files.py: what can be no policy is refused before anything runs."""

from __future__ import annotations

import pytest

from onrecord.policies.config.policy_files import LIBRARY, check_policy_file, library_path
from onrecord.policies.config.values import BadValue


@pytest.mark.parametrize(
    "source", ["addons = [1]", "addons: list = []", "a = addons = []", "x = 1\naddons = make()", "addons = (1,)"]
)
def test_a_file_with_addons_can_be_a_policy(tmp_path, source):
    (tmp_path / "p.py").write_text(source)
    check_policy_file(tmp_path / "p.py")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "no module-level list"),
        ("def f():\n    addons = []", "no module-level list"),
        ("addons: list", "no module-level list"),
        ("addons = None", "no module-level list"),
        ("addons = {}", "no module-level list"),
        ("addons = [\n", "does not compile at line 1"),
        ("addons = []\nreturn", "does not compile at line 2"),
        ("addons = []\0", "does not compile"),
        ("addons = " + "(" * 3000, "does not compile"),
    ],
)
def test_what_can_be_no_policy_is_refused(tmp_path, source, why):
    (tmp_path / "p.py").write_text(source)
    with pytest.raises(BadValue, match=why):
        check_policy_file(tmp_path / "p.py")


def test_the_code_is_not_run(tmp_path):
    (tmp_path / "p.py").write_text("raise SystemExit(1)\naddons = []\n")
    check_policy_file(tmp_path / "p.py")


def test_files_that_cannot_be_read_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "absent.py"):
        with pytest.raises(BadValue, match="no such file"):
            check_policy_file(path)
    (tmp_path / "big.py").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(BadValue, match="over"):
        check_policy_file(tmp_path / "big.py")


@pytest.mark.parametrize("name", ["absent", "__init__", "../engine", "a/b", ""])
def test_what_is_not_in_the_library_is_refused(name):
    with pytest.raises(BadValue):
        library_path(name)


def test_every_policy_of_the_library_is_found():
    for file in LIBRARY.glob("[a-z]*.py"):
        if "addons" in file.read_text():
            assert library_path(file.stem) == file
            check_policy_file(file)
