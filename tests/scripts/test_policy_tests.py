"""scripts/policy_tests.py"""

from __future__ import annotations

from onrecord.scripts.policy_tests import find_tests, run_file


def run(tmp_path, text: str) -> list[tuple[str, bool]]:
    path = tmp_path / "test_x.py"
    path.write_text(text)
    return [(result.name, result.ok) for result in run_file(path)]


def test_each_function_is_one_result_in_order(tmp_path):
    text = "def test_b(): pass\nasync def test_a(): assert False\ndef helper(): 1 / 0\ndef test_c(): raise SystemExit\n"
    assert run(tmp_path, text) == [("test_b", True), ("test_a", False), ("test_c", False)]


def test_what_cannot_run_is_a_failure(tmp_path):
    assert run(tmp_path, "def (") == [("(load)", False)]
    assert run(tmp_path, "raise SystemExit(0)") == [("(load)", False)]
    assert run(tmp_path, "x = 1") == [("(load)", False)]
    assert run(tmp_path, "def test_a(fixture): pass") == [("test_a", False)]


def test_a_failure_names_the_line_and_the_error(tmp_path):
    path = tmp_path / "test_x.py"
    path.write_text("def test_a():\n    assert 1 == 2, 'numbers differ'\n")
    (result,) = run_file(path)
    assert result.error == "line 2: assert 1 == 2, 'numbers differ'\nAssertionError: numbers differ"


def test_files_are_found_once(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("test_a.py", "a.py", "deep/test_b.py", "deep/test_b.txt"):
        (tmp_path / name).touch()
    found = find_tests([tmp_path, tmp_path / "test_a.py"])
    assert [path.name for path in found] == ["test_b.py", "test_a.py"]
