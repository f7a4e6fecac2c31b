import json

from onrecord.scripts.benchmarks.report import Result, in_turns


def result() -> Result:
    return Result("A title", ["x", "y"], {"case": {"x": 12345.6, "y": "none"}}, ["a note"])


def test_json_is_one_object(capsys):
    result().print(as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "title": "A title",
        "rows": {"case": {"x": 12345.6, "y": "none"}},
        "notes": ["a note"],
    }


def test_the_table_shows_every_figure(capsys):
    result().print(as_json=False)
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("A title", "case", "12,346", "none", "a note"))


def test_cases_are_measured_in_turns_and_the_median_counts():
    order: list[str] = []
    figures = {"a": iter([1.0, 9.0, 2.0]), "b": iter([5.0, 5.0, 5.0])}

    def measure(name: str) -> float:
        order.append(name)
        return next(figures[name])

    assert in_turns({"a": lambda: measure("a"), "b": lambda: measure("b")}, 3) == {"a": 2.0, "b": 5.0}
    assert "".join(order) == "ababab"
