"""constraints.txt keeps installations repeatable: exact versions of everything that pyproject.toml names."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = [Requirement(line) for line in LINES]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_line_is_one_exact_version():
    assert all(re.fullmatch(r'[a-z0-9-]+==[0-9a-z.+]+(; python_version (<|>=) "3\.\d+")?', line) for line in LINES)


def test_the_pins_are_within_the_declared_ranges():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    pinned = {canonical(pin.name): pin for pin in PINS}
    for text in declared:
        requirement = Requirement(text)
        if requirement.name == "onrecord":
            continue
        pin = pinned[canonical(requirement.name)]
        (version,) = (Version(specifier.version) for specifier in pin.specifier)
        assert requirement.specifier.contains(version), f"{text} and {pin}"
