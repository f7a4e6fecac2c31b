"""policies/hooks.py: what loads, and what is refused because it would silently never run."""

from __future__ import annotations

import sys

import pytest

from onrecord.policies.errors import PolicyError
from onrecord.policies.hooks import HOOKS, LoadedSet
from onrecord.policies.policy_set import PolicyFile, PolicySet
from onrecord.policies.watchdog import Watchdog


def load(source: str, limit: float = 5.0) -> LoadedSet:
    files = (PolicyFile(name="p", ref="policies/p.py", source=source),)
    return LoadedSet(PolicySet(files), Watchdog(limit), limit)


def method(name: str, arguments: str = "self, x", before: str = "def", body: str = "return None") -> str:
    return f"class P:\n    {before} {name}({arguments}):\n        {body}\naddons = [P()]\n"


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_collected(name):
    loaded = load(method(name, "self, x, y" if name == "outcome" else "self, x"))
    assert [hook.policy for hook in loaded.hooks(name, "orders", ())] == ["p"]
    loaded.close()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "no `addons` list"),
        ("addons = []", "no `addons` list"),
        ("addons = 'P'", "no `addons` list"),
        (method("sqll"), "did you mean sql"),
        (method("request"), "request is no hook"),
        (method("Sql"), "did you mean sql"),
        (method("sql").replace("[P()]", "[P]"), "write P()"),
        (method("_helper"), "has no hook"),
        (method("sql", "self"), "must take 1 argument"),
        (method("sql", "self, a, b"), "must take 1 argument"),
        (method("outcome"), "must take 2 argument"),
        (method("sql", body="yield None"), "uses yield"),
        (method("sql", before="async def", body="yield None"), "uses yield"),
        (method("session_start", before="async def"), "session_start is async"),
        ("class P:\n    sql = 'deny'\naddons = [P()]", "cannot be called"),
        ("class P:\n    def sql(self, c): pass\naddons = [P()]\naddons[0].htpp = print", "did you mean http"),
        ("def (", "policies/p.py:1: does not compile"),
        ("\nraise ValueError('boom')", "policies/p.py:2: raised ValueError while loading: boom"),
        ("import sys\nsys.exit(0)", "raised SystemExit"),
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
        ("import no_such_helper", "a policy is one file"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", r"\(no text\)"),
        ("history = True\n" + method("sql"), "history = True is not supported"),
        (method("sql").replace("class P:", "class P:\n    history = True"), "history = True is not supported"),
        ("x = '\x00'", "while loading|does not compile"),
    ],
)
def test_a_policy_that_would_not_do_what_it_seems_to_is_refused(source, said):
    with pytest.raises(PolicyError, match=said):
        load(source)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("class Q:\n    def http(self, c): pass\n", r"class Q has a hook \(http\) and is not in `addons`"),
        ("class Q:\n    @staticmethod\n    async def sql(c): pass\n", "class Q has a hook"),
        ("class Q(P):\n    pass\n", "class Q has a hook"),
        ("def sql(command): pass\n", "function sql is named like a hook"),
        ("async def http(command): pass\n", "function http is named like a hook"),
    ],
)
def test_a_rule_that_is_left_out_of_addons_is_refused(more, said):
    with pytest.raises(PolicyError, match=said):
        load(method("sql") + more)


def test_bases_helpers_and_what_is_imported_need_not_be_in_addons():
    source = "from onrecord.policies.library.read_only import *\nfrom collections import OrderedDict\n"
    source += "class _Base:\n    def sql(self, c): pass\nclass Common(_Base): pass\nclass Facts:\n    sql: str = ''\n"
    source += "def helper(c): pass\nclass P(Common): pass\naddons = [P()]\n"
    load(source).close()


def test_an_unknown_hook_names_the_known_ones():
    with pytest.raises(PolicyError) as caught:
        load(method("on_query"))
    assert all(name in str(caught.value) for name in HOOKS)


def test_a_policy_that_hangs_while_loading_is_interrupted():
    with pytest.raises(PolicyError, match="took longer than"):
        load("while True: pass", limit=0.1)


def test_each_set_has_modules_of_its_own_and_leaves_none_behind():
    before = set(sys.modules)
    source = "import dataclasses\n@dataclasses.dataclass\nclass P:\n    seen: 'int' = 0\n    def sql(self, c): pass\n"
    one, two = load(source + "addons = [P()]\n"), load(source + "addons = [P()]\n")
    assert one.policies[0].module is not two.policies[0].module
    one.close()
    two.close()
    with pytest.raises(PolicyError):
        load("addons = 1")
    assert {name for name in set(sys.modules) - before if "policy" in name} == set()


def test_inherited_hooks_and_static_methods_count():
    loaded = load("class A:\n    @staticmethod\n    def sql(c): pass\nclass P(A): pass\naddons = (P(),)\n")
    assert len(loaded.hooks("sql", "any", ())) == 1
    loaded.close()
