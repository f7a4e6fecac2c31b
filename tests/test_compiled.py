"""The hot modules compile with mypyc, and what comes out can be imported: `ONRECORD_COMPILE=1` is no dead letter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    assert importlib.import_module(name).__file__.endswith(".so"), name
"""


def hook() -> Any:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_listed_modules_compile_and_can_be_imported(tmp_path: Path) -> None:
    build = hook()
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    build._copy(ROOT, tmp_path)
    modules = build._modules(tmp_path, config["hooks"]["custom"])
    build._run_mypyc(ROOT, tmp_path, modules)
    names = [path.removesuffix(".py").replace("/", ".") for path in modules]
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", IMPORT, *names], cwd=tmp_path, env=env, check=True)
