"""Build hook: with ONRECORD_COMPILE=1 the hot modules go into the wheel compiled by mypyc.

The source is the same and stays in the wheel; only calls and attributes get faster. A C compiler and Python's headers
are needed. Without the variable nothing is compiled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = ("addons", "policies", "recordings", "scripts", "shims")


class CompileHook(BuildHookInterface):
    """`[tool.hatch.build.targets.wheel.hooks.custom]`: `modules` are globs below the repository."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add what came out to the wheel."""
        if os.environ.get("ONRECORD_COMPILE") != "1" or version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="onrecord-compile-")
        top = Path(self._folder.name)
        _copy(Path(self.root), top)
        _run_mypyc(Path(self.root), top, _modules(top, self.config))
        for path in sorted(top.rglob("*.so")):
            if "build" not in path.relative_to(top).parts:
                build_data["force_include"][str(path)] = str(path.relative_to(top))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  # as hatchling calls it
        """The compiled files are in the wheel now."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()


def _modules(top: Path, config: dict[str, Any]) -> list[str]:
    left_out = set(config.get("exclude", []))
    found = []
    for pattern in config["modules"]:
        paths = sorted((top / "onrecord").glob(pattern))
        if not paths:
            raise ValueError(f"pyproject.toml: hooks.custom.modules: {pattern!r} names no file")
        found += [str(path.relative_to(top)) for path in paths]
    return [path for path in found if path.removeprefix("onrecord/") not in left_out and "__" not in path]


def _copy(root: Path, top: Path) -> None:
    target = top / "onrecord"
    target.mkdir()
    shutil.copy(root / "src/onrecord/__init__.py", target)
    shutil.copy(root / "src/onrecord/py.typed", target)
    for package in PACKAGES:
        shutil.copytree(root / package, target / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))


def _run_mypyc(root: Path, top: Path, modules: list[str]) -> None:
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mypy"]
    kept = {name: value for name, value in settings.items() if isinstance(value, bool)}
    lines = ["[mypy]", *[f"{name} = {value}" for name, value in kept.items()]]
    (top / "mypy.ini").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypyc", "--config-file", "mypy.ini", *modules],
        cwd=top,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"mypyc failed:\n{done.stdout[-8000:]}")
