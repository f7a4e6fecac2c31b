"""policies/policy_set.py"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onrecord.policies.config import PolicyConfig
from onrecord.policies.errors import PolicyError
from onrecord.policies.policy_set import MAX_FILE, MAX_FILES, PolicyFile, PolicySet, check_policy_set, read_policy_set


def entry(path: Path, **filters: tuple[str, ...]) -> PolicyConfig:
    return PolicyConfig(name=path.stem, file=path.name, path=path, **filters)


def file(name: str = "p", source: str = "x = 1\n", ref: str = "p.py", **filters: tuple[str, ...]) -> PolicyFile:
    return PolicyFile(name=name, ref=ref, source=source, **filters)


def test_a_set_holds_the_files_in_order_with_their_filters(tmp_path):
    (tmp_path / "a.py").write_text("a = 'ü'\n")
    (tmp_path / "b.py").write_text("b = 2\n")
    found = read_policy_set([entry(tmp_path / "b.py", resources=("orders",)), entry(tmp_path / "a.py")])
    assert found.names == ("b", "a")
    assert found.files[0].resources == ("orders",)
    assert found.files[1].source == "a = 'ü'\n"


def test_the_digest_is_of_content_and_filters_not_of_where_the_file_lies():
    one = PolicySet((file(ref="/one/p.py", resources=("b", "a")),))
    assert one.digest == PolicySet((file(ref="/two/p.py", resources=("a", "b")),)).digest
    assert one.digest.startswith("sha256:")
    others = [
        PolicySet(()),
        PolicySet((file(),)),
        PolicySet((file(name="q", resources=("a", "b")),)),
        PolicySet((file(source="x = 2\n", resources=("a", "b")),)),
        PolicySet((file(groups=("a", "b")),)),
        PolicySet((file(resources=("a", "b")), file(resources=("a", "b")))),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 7


def test_the_order_of_policies_is_part_of_the_digest():
    a, b = file("a"), file("b")
    assert PolicySet((a, b)).digest != PolicySet((b, a)).digest


def test_every_file_that_does_not_read_is_named(tmp_path):
    (tmp_path / "latin.py").write_bytes(b"x = '\xfc'")
    (tmp_path / "long.py").write_bytes(b"#" * (MAX_FILE + 1))
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "fifo.py")
    names = ["latin.py", "long.py", "folder.py", "fifo.py", "missing.py"]
    with pytest.raises(PolicyError) as caught:
        read_policy_set([entry(tmp_path / name) for name in names])
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("name", ["onrecord:engine", "", "a b", "../x", "x" * 101, "a\n"])
def test_a_name_that_could_pass_for_a_built_in_or_break_a_line_is_refused(name):
    with pytest.raises(PolicyError, match="cannot name a policy"):
        check_policy_set(PolicySet((file(name),)))


def test_two_different_policies_of_one_name_are_refused_one_policy_twice_is_not():
    check_policy_set(PolicySet((file(resources=("a",)), file(resources=("b",)))))
    with pytest.raises(PolicyError, match="two different policies are called p"):
        check_policy_set(PolicySet((file(), file(source="other = 1\n"))))


def test_a_set_is_bounded():
    with pytest.raises(PolicyError, match="are more than"):
        check_policy_set(PolicySet(tuple(file(f"p{n}") for n in range(MAX_FILES + 1))))
    with pytest.raises(PolicyError, match="characters together"):
        check_policy_set(PolicySet(tuple(file(f"p{n}", "#" * MAX_FILE) for n in range(17))))
