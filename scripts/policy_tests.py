"""The runner behind `onrecord policy test`: plain functions with plain asserts, no test framework needed."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import itertools
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import msgspec

_counter = itertools.count(1)


class TestResult(msgspec.Struct, frozen=True):
    """One test: where, and what went wrong."""

    __test__ = False  # pytest collects names that begin with Test

    file: str
    name: str
    ok: bool
    error: str = ""


def find_tests(paths: Iterable[Path]) -> list[Path]:
    """The test_*.py files among and below `paths`, sorted, each once."""
    found: set[Path] = set()
    for path in paths:
        found.update(path.rglob("test_*.py") if path.is_dir() else [path])
    return sorted(found)


def run_file(path: Path) -> Iterator[TestResult]:
    """Run each `test_…` function of a file, in order. A file that does not load, or holds none, is one failure."""
    try:
        module = _load(path)
    except BaseException as error:  # noqa: BLE001  # a test file may raise anything, SystemExit too
        yield TestResult(str(path), "(load)", ok=False, error=_describe(error, path))
        return
    tests = [(name, value) for name, value in vars(module).items() if name.startswith("test_") and callable(value)]
    if not tests:
        yield TestResult(str(path), "(load)", ok=False, error="holds no test_… function")
    for name, test in tests:
        try:
            result = test()
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001
            yield TestResult(str(path), name, ok=False, error=_describe(error, path))
        else:
            yield TestResult(str(path), name, ok=True)


def _load(path: Path) -> ModuleType:
    name = f"onrecord_policy_test_{next(_counter)}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _describe(error: BaseException, path: Path) -> str:
    """The failing line of the test file, and the error."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path.resolve())]
    where = f"line {lines[-1].lineno}: {lines[-1].line}\n" if lines else ""
    return where + "".join(traceback.format_exception_only(error)).strip()
