"""policies/config/ownership.py: nobody but root and the gateway's user may write what the gateway obeys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onrecord.policies.config import load_config
from onrecord.policies.config.ownership import certificates_of, check_files, weak_places

TOML = """
[gateway]
http = "127.0.0.1:8080"
[[policies]]
file = "policy.py"
[resources.billing]
type = "http"
hosts = ["billing.internal"]
groups = ["agents"]
bearer = "exec:{program} --flag"
headers = {{ X-Api-Key = "file:secret" }}
"""


@pytest.fixture
def folder(tmp_path):
    """A folder that is safe all the way down, with everything that a configuration names."""
    place = tmp_path / "safe"
    (place / "state").mkdir(parents=True, mode=0o700)
    place.chmod(0o755)
    (place / "program").write_text("#!/bin/sh\necho x\n")
    (place / "program").chmod(0o755)
    (place / "policy.py").write_text("addons = []\n")
    (place / "secret").write_text("s")
    (place / "mitm.toml").write_text(TOML.format(program=place / "program"))
    for name in ("secret", "policy.py", "mitm.toml"):
        (place / name).chmod(0o600)
    return place


def problems(folder: Path, **arguments: bool) -> list[str]:
    return [str(problem) for problem in check_files(load_config(folder / "mitm.toml"), **arguments)]


def test_files_of_the_own_user_are_fine(folder):
    assert problems(folder) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("mitm.toml", "(the file itself)"),
        ("policy.py", "policies[0].file"),
        ("program", "resources.billing.bearer"),
        ("secret", "resources.billing.headers.X-Api-Key"),
        ("state", "gateway.state"),
    ],
)
@pytest.mark.parametrize("bit", [0o020, 0o002])
def test_a_file_that_others_can_write_is_reported_with_its_key(folder, name, key, bit):
    path = folder / name
    path.chmod(path.stat().st_mode | bit)
    (found,) = problems(folder)
    assert found.startswith(f"mitm.toml: {key}: '{path}' can be written by ")
    assert "chmod go-w" in found


def test_the_demo_skips_the_check(folder):
    (folder / "mitm.toml").chmod(0o666)
    assert problems(folder, demo=True) == []


def test_a_folder_on_the_way_that_others_can_write_is_reported_once(folder):
    folder.chmod(0o777)
    assert len(problems(folder)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_reported(folder):
    os.chown(folder / "policy.py", 12345, 0)
    assert "belongs to another user (uid 12345)" in problems(folder)[0]


def test_a_sticky_folder_protects_what_exists_but_not_what_does_not(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "ours").mkdir(mode=0o700)
    assert weak_places(shared / "ours" / "later" / "x") == []
    assert "does not exist yet" in weak_places(shared / "later" / "x")[0][1]
    assert "can be written by all" in weak_places(shared)[0][1]


def test_links_are_followed_and_judged_where_they_lead(tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "file").write_text("x")
    loose.chmod(0o777)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "absolute").symlink_to(loose / "file")
    (tmp_path / "deep" / "relative").symlink_to("../deep/../loose/file")
    for name in ("absolute", "relative"):
        assert [place for place, _, _ in weak_places(tmp_path / "deep" / name)] == [loose]
    (tmp_path / "loop").symlink_to("loop")
    assert "loop" in weak_places(tmp_path / "loop")[-1][1]


def test_a_file_in_the_place_of_a_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o600)
    assert "cannot be examined" in weak_places(tmp_path / "file" / "x")[0][1]


def test_certificates_are_named_apart(folder):
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (folder / "ca.pem").chmod(0o666)
    with (folder / "mitm.toml").open("a") as file:
        file.write('ca = "file:ca.pem"\n')
    assert problems(folder) == []
    assert list(certificates_of(load_config(folder / "mitm.toml"))) == [("resources.billing.ca", folder / "ca.pem")]
