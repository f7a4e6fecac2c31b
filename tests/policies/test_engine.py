"""policies/engine.py"""

from __future__ import annotations

import asyncio
import inspect
import logging
import subprocess
import sys
from typing import Any

import pytest

from onrecord.policies.engine import PolicyEngine
from onrecord.policies.errors import PolicyError
from onrecord.policies.model import (
    Command,
    HttpCommand,
    Identity,
    Outcome,
    Resource,
    Run,
    Session,
    SqlCommand,
)
from onrecord.policies.policy_set import PolicyFile, PolicySet
from onrecord.policies.verdict import Allow, Deny, Hold, Ruling

HEAD = "import asyncio, time\nfrom onrecord.policies import Allow, Deny, Hold\n"


def hook(body: str, name: str = "sql", before: str = "def", arguments: str = "self, command") -> str:
    lines = "\n".join("        " + line for line in body.splitlines())
    return f"{HEAD}class P:\n    {before} {name}({arguments}):\n{lines}\naddons = [P()]\n"


def policies(*sources: str, **filters: tuple[str, ...]) -> PolicySet:
    files = (PolicyFile(name=f"p{n}", ref=f"p{n}.py", source=text, **filters) for n, text in enumerate(sources))
    return PolicySet(tuple(files))


def engine(*sources: str, timeout: float = 5.0, **filters: tuple[str, ...]) -> PolicyEngine:
    made = PolicyEngine(timeout=timeout, stale_after=60)
    put(made, policies(*sources, **filters))
    return made


def put(made: PolicyEngine, policy_set: PolicySet) -> None:
    made.prepare(policy_set)
    made.commit(policy_set.digest)


def module(made: PolicyEngine) -> Any:
    """The first policy's module: tests look at what it kept."""
    assert made._loaded is not None
    return made._loaded.policies[0].module


def begin(made: PolicyEngine, of: Session | None = None) -> Any:
    return made.session_start(of or session())


def session(groups: Any = ("agents",), **resource: Any) -> Session:
    return Session(
        id="s",
        run=Run("r"),
        identity=Identity(issuer="i", subject="devin", groups=groups),
        resource=Resource(name=resource.pop("name", "orders"), type="postgres", **resource),
        protocol="postgres",
        client="127.0.0.1:1",
        started_at=0,
    )


def sql(kind: str = "SELECT", action: Any = "read", within: Session | None = None, **resource: Any) -> SqlCommand:
    return SqlCommand(session=within or session(**resource), action=action, text=kind, kind=kind)


def rule(made: PolicyEngine, command: Command) -> Any:
    answer = made.decide(command)
    assert isinstance(answer, Ruling)
    return answer


async def wait_rule(made: PolicyEngine, command: Command) -> Any:
    answer = made.decide(command)
    assert inspect.isawaitable(answer)
    return await answer


def test_without_policies_everything_is_denied():
    made = PolicyEngine(timeout=1, stale_after=60)
    for found in (rule(made, sql(default="allow")), begin(made)):
        assert isinstance(found.verdict, Deny)
        assert found.policy == "onrecord:engine"
    assert made.digest == ""


@pytest.mark.parametrize(("default", "kind"), [("allow", Allow), ("hold", Hold), ("deny", Deny), ("nonsense", Deny)])
def test_where_no_policy_speaks_the_resources_default_holds(default, kind):
    found = rule(engine(hook("return None")), sql(default=default))
    assert (type(found.verdict), found.policy) == (kind, "onrecord:default")


def test_an_empty_set_leaves_all_to_the_default():
    made = PolicyEngine(timeout=1, stale_after=60)
    put(made, PolicySet(()))
    assert rule(made, sql(default="deny")).policy == "onrecord:default"
    assert isinstance(rule(made, sql(default="allow")).verdict, Allow)


@pytest.mark.parametrize("action", ["admin", "unknown"])
@pytest.mark.parametrize(("setting", "kind"), [("allow", Allow), ("hold", Hold), ("deny", Deny)])
def test_admin_and_unknown_commands_follow_the_resource(action, setting, kind):
    found = rule(engine(hook("return None")), sql(action=action, default="deny", **{action: setting}))
    assert (type(found.verdict), found.policy) == (kind, f"onrecord:{action}")


@pytest.mark.parametrize("action", ["", "READ", "nonsense"])
def test_an_action_nobody_knows_is_unknown(action):
    assert rule(engine(hook("return None")), sql(action=action, default="allow")).policy == "onrecord:unknown"


def test_an_explicit_allow_overrides_the_default_but_not_the_built_in_rules():
    made = engine(hook("return Allow()"))
    assert rule(made, sql(default="deny")) == Ruling(Allow(), "p0")
    assert rule(made, sql(action="admin")).policy == "onrecord:admin"
    assert rule(made, sql(action="unknown")).policy == "onrecord:unknown"


def test_deny_wins_over_hold_over_allow_in_any_order():
    texts = ["return Allow()", "return Hold(approvers='dba')", "return Deny('no')"]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        found = rule(engine(*(hook(texts[n]) for n in order)), sql())
        assert (found.verdict, found.policy) == (Deny("no"), f"p{order.index(2)}")
    assert isinstance(rule(engine(*(hook(text) for text in texts[:2])), sql()).verdict, Hold)


def test_command_sees_every_kind_and_the_kinds_own_hook_only_its_own():
    made = engine(hook("return Deny('any')", "command"), hook("return Deny('http')", "http"))
    assert rule(made, sql()).policy == "p0"
    request = HttpCommand(
        session=session(), action="read", text="", method="GET", scheme="https", host="h", port=1, path="/"
    )
    assert rule(engine(hook("return Deny('http')", "http")), request).policy == "p0"
    assert rule(engine(hook("return Deny('http')", "http")), sql(default="allow")).policy == "onrecord:default"


def test_policies_apply_by_resource_and_group():
    made = engine(hook("return Deny('no')"), resources=("orders",), groups=("agents", "interns"))
    allow = {"default": "allow"}
    assert rule(made, sql(within=session(("agents",), **allow))).policy == "p0"
    assert rule(made, sql(within=session(("x", "interns"), **allow))).policy == "p0"
    assert rule(made, sql(within=session(("dba",), **allow))).policy == "onrecord:default"
    assert rule(made, sql(within=session((), **allow))).policy == "onrecord:default"
    assert rule(made, sql(within=session(("agents",), name="billing", **allow))).policy == "onrecord:default"


@pytest.mark.parametrize("before", ["def", "async def"])
@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError('s3cret')",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "raise asyncio.CancelledError",
        "raise GeneratorExit",
        "raise StopIteration",
        "1 / 0",
        "return command.no_such_field",
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
    ],
)
async def test_a_hook_that_raises_is_a_deny_that_tells_the_client_nothing(body, before, caplog):
    made = engine(hook(body, before=before), hook("return Allow()"))
    answer = made.decide(sql(default="allow"))
    found = answer if isinstance(answer, Ruling) else await answer
    assert isinstance(found.verdict, Deny)
    assert found.policy == "onrecord:engine"
    assert "p0" in found.verdict.reason
    assert "s3cret" not in found.verdict.reason + found.verdict.hint
    assert "policy p0: a hook raised" in caplog.text


@pytest.mark.parametrize("before", ["def", "async def"])
@pytest.mark.parametrize(
    "value",
    [
        "True", "False", "0", "''", "'allow'", "Allow", "Deny", "[Allow()]", "(Allow(), )", "{'type': 'allow'}",
        "object()", "Deny(None)", "Deny('x', hint=5)", "Hold(timeout='1')", "Hold(timeout=float('nan'))",
        "Hold(timeout=-1)", "Hold(approvers=None)",
        "type('A', (Allow,), {})()", "Allow(mask=('no_such_detector',))", "Allow(mask='email')", "Allow(mask=5)",
        "Allow(mask=None)", "Allow(mask='')",
    ],
)  # fmt: skip
async def test_what_is_no_sound_verdict_is_a_deny(value, before):
    made = engine(hook(f"return {value}", before=before))
    answer = made.decide(sql(default="allow"))
    found = answer if isinstance(answer, Ruling) else await answer
    assert isinstance(found.verdict, Deny)
    assert found.policy == "onrecord:engine"


@pytest.mark.parametrize("made_of", ["Deny({0}, {0})", "Hold({0}, {0})"])
def test_texts_that_quote_the_agent_cannot_break_a_protocol_a_log_or_a_terminal(made_of):
    nasty = r"'a\x00b\r\nX-Admin: 1\x1b[2J\u202ec\ud800' + 'x' * 5000"
    verdict = rule(engine(hook("return " + made_of.format(nasty))), sql(default="allow")).verdict
    for text in (verdict.reason, getattr(verdict, "hint", None) or verdict.approvers):
        assert text.startswith("a\ufffdb  X-Admin: 1\ufffd[2J\ufffdc\ufffdx")
        assert len(text) == 1000


def test_a_plain_hook_that_returns_a_coroutine_is_a_deny():
    source = HEAD + "async def late(): return Allow()\nclass P:\n    def sql(self, c): return late()\naddons = [P()]\n"
    assert rule(engine(source), sql(default="allow")).policy == "onrecord:engine"


def test_masks_pass_where_the_gateway_can_apply_them():
    made = PolicyEngine(timeout=1, stale_after=60)
    put(made, policies(hook("return Allow(mask=('email',))"), hook("return Allow()")))
    assert rule(made, sql()).verdict == Allow(mask=("email",))


@pytest.mark.parametrize(
    "body",
    [
        "while True: int()",
        "while True:\n    pass",
        "while True:\n    try:\n        while True: pass\n    except Exception: pass",
        "try:\n    while True: int()\nexcept BaseException:\n    return Allow()",
        "time.sleep(0.15)\nreturn Allow()",
    ],
)
@pytest.mark.parametrize("before", ["def", "async def"])
async def test_a_hook_that_blocks_is_interrupted_and_denied(body, before):
    made = engine(hook("return Allow()"), hook(body, before=before), timeout=0.1)
    answer = made.decide(sql(default="allow"))
    found = answer if isinstance(answer, Ruling) else await answer
    assert isinstance(found.verdict, Deny)
    assert found.policy == "onrecord:timeout"
    assert "p1" in found.verdict.reason
    put(made, policies(hook("return Allow()")))
    assert isinstance(rule(made, sql()).verdict, Allow)


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.sleep(30)",
        "while True:\n  try:\n    await asyncio.sleep(0.2)\n  except asyncio.CancelledError:\n    if stop: raise",
        "try:\n    await asyncio.sleep(30)\nfinally:\n    return Allow()",
    ],
    ids=["waits", "swallows cancellation", "answers when cancelled"],
)
async def test_an_async_hook_that_waits_too_long_is_denied_and_holds_nobody_up(body):
    source = "stop = []\n" + hook(body, before="async def")
    made = engine(source, timeout=0.05)
    found = await wait_rule(made, sql(default="allow"))
    assert found.policy == "onrecord:timeout"
    module(made).stop.append(1)
    for task in tuple(made._abandoned):
        task.cancel()
        await asyncio.wait([task])


async def test_hooks_that_never_end_do_not_pile_up():
    source = "stop = []\n" + hook(
        "while not stop:\n    try:\n        await asyncio.sleep(0.05)\n    except asyncio.CancelledError: pass",
        before="async def",
    )
    made = engine(source, timeout=0.01)
    answers = await asyncio.gather(*(wait_rule(made, sql(default="allow")) for _ in range(70)))
    assert {found.policy for found in answers} == {"onrecord:timeout"}
    before = len(made._abandoned)
    assert (await wait_rule(made, sql(default="allow"))).policy == "onrecord:timeout"
    assert len(made._abandoned) == before
    module(made).stop.append(1)
    await asyncio.wait(made._abandoned)


async def test_async_hooks_answer_side_by_side_and_combine_with_plain_ones():
    made = engine(
        hook("await asyncio.sleep(0)\nreturn Allow()", before="async def"),
        hook("return Hold(reason='wait')"),
        hook("await asyncio.sleep(0.01)\nreturn Deny('no')", before="async def"),
    )
    assert await wait_rule(made, sql()) == Ruling(Deny("no"), "p2")


async def test_a_caller_that_goes_away_takes_the_hook_with_it():
    source = "ended = []\n" + hook(
        "try:\n    await asyncio.sleep(30)\nfinally:\n    ended.append(1)", before="async def"
    )
    made = engine(source)
    task = asyncio.ensure_future(wait_rule(made, sql()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.01)
    assert module(made).ended == [1]


async def test_in_an_eager_task_loop_async_hooks_work_too():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    made = engine(
        hook("return Deny('at once')", before="async def"), hook("await asyncio.sleep(0.01)", before="async def")
    )
    assert (await wait_rule(made, sql())).policy == "p0"


def test_a_broken_set_changes_nothing():
    made = engine(hook("return Deny('old')"))
    digest = made.digest
    with pytest.raises(PolicyError):
        made.prepare(policies(hook("return Allow()"), "def ("))
    with pytest.raises(PolicyError, match="not prepared"):
        made.commit(policies(hook("return Allow()")).digest)
    assert made.digest == digest
    assert rule(made, sql()).verdict == Deny("old")


def test_prepare_alone_changes_nothing_and_commit_swaps_the_whole_set():
    made = engine(hook("return Deny('old')"))
    new = policies(hook("return Allow()"))
    made.prepare(new)
    assert rule(made, sql()).verdict == Deny("old")
    made.commit(new.digest)
    assert made.digest == new.digest
    assert isinstance(rule(made, sql()).verdict, Allow)


def test_no_state_outlives_a_reload_and_the_same_set_again_keeps_its_own():
    source = "seen = []\n" + hook("seen.append(1)\nreturn Deny(str(len(seen)))")
    made = engine(source)
    assert [rule(made, sql()).verdict.reason for _ in range(2)] == ["1", "2"]
    put(made, policies(source))
    assert rule(made, sql()).verdict.reason == "3"
    put(made, policies(source + "# changed\n"))
    assert rule(made, sql()).verdict.reason == "1"


async def test_a_set_swapped_while_a_hook_waits_decides_anew():
    made = engine(hook("await asyncio.sleep(0.05)\nreturn Allow()", before="async def"))
    waiting = asyncio.ensure_future(wait_rule(made, sql()))
    await asyncio.sleep(0)
    put(made, policies(hook("return Deny('new')")))
    assert (await waiting).verdict == Deny("new")


def test_stale_policies_hold_for_a_while_then_all_is_denied_until_a_good_set(caplog):
    now = [1000.0]
    made = PolicyEngine(timeout=1, stale_after=60, clock=lambda: now[0])
    put(made, policies(hook("return Allow()")))
    made.mark_stale("p.py:1: does not compile")
    assert "does not compile" in caplog.text
    now[0] += 59
    made.mark_stale("another error")  # no later failure starts the time anew
    assert isinstance(rule(made, sql()).verdict, Allow)
    now[0] += 1
    assert (rule(made, sql()).policy, rule(made, sql()).verdict.reason) == (
        "onrecord:engine",
        "policies could not be reloaded",
    )
    assert begin(made).policy == "onrecord:engine"
    put(made, policies(hook("return Allow()")))
    assert isinstance(rule(made, sql()).verdict, Allow)
    assert made.stale_error == ""


def test_a_process_that_starts_into_a_failure_gets_no_time_of_its_own():
    now = [1000.0]
    made = PolicyEngine(timeout=1, stale_after=60, clock=lambda: now[0])
    put(made, policies(hook("return Allow()")))
    made.mark_stale("broken", age=61)
    assert rule(made, sql()).policy == "onrecord:engine"


@pytest.mark.parametrize("body", ["raise ValueError", "return 'no'", "while True: int()"])
def test_session_start_may_refuse_and_fails_closed(body):
    made = engine(
        hook(
            "return Deny('not today') if session.identity.subject == 'devin' else None",
            "session_start",
            arguments="self, session",
        )
    )
    assert begin(made) == Ruling(Deny("not today"), "p0")
    broken = engine(hook(body, "session_start"), timeout=0.1)
    assert isinstance(begin(broken).verdict, Deny)
    assert engine(hook("return None", "session_start")).session_start(session()) is None


@pytest.mark.parametrize("body", ["raise SystemExit", "while True: int()"])
def test_what_event_hooks_do_wrong_harms_nobody(body, caplog):
    text = f"class P:\n  def session_end(self, s):\n    {body}\n  def outcome(self, c, o):\n    {body}\naddons = [P()]"
    source = HEAD + text
    made = engine(source, timeout=0.1)
    made.session_end(session())
    made.outcome(sql(), Outcome(status="ok"))
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2


async def test_event_hooks_hear_of_ends_and_outcomes_plain_or_async():
    source = (
        f"{HEAD}heard = []\nclass P:\n    def session_end(self, s): heard.append(s.id)\n"
        "    async def outcome(self, c, o):\n        await asyncio.sleep(0)\n        heard.append(o.status)\n"
        "addons = [P()]\n"
    )
    made = engine(source)
    made.session_end(session())
    made.outcome(sql(), Outcome(status="ok"))
    await asyncio.wait(made._events)
    assert module(made).heard == ["s", "ok"]


async def test_explain_tells_each_answer_and_the_same_ruling_as_decide():
    made = engine(hook("return None"), hook("return Hold(reason='ask')", before="async def"), hook("raise ValueError"))
    answers, ruling = await made.explain(sql(action="admin"))
    assert [(answer.policy, answer.ruling and answer.ruling.policy) for answer in answers] == [
        ("onrecord:admin", "onrecord:admin"),
        ("p0", None),
        ("p2", "onrecord:engine"),
        ("p1", "p1"),
    ]
    assert ruling == await wait_rule(made, sql(action="admin"))


def test_the_plan_cache_is_bounded():
    made = engine(hook("return None"))
    for number in range(5000):
        rule(made, sql(within=session((f"g{number}",), default="allow")))
    assert len(made._plans) <= 4096


def test_a_command_that_breaks_the_engine_itself_is_denied():
    broken = sql(within=session(["not", "hashable"]))
    assert rule(engine(hook("return Allow()")), broken).policy == "onrecord:engine"


def test_a_policy_in_c_code_for_ever_ends_the_process_and_nothing_is_let_through():
    script = (
        "from tests.policies.test_engine import *\n"
        "made = engine(hook('time.sleep(30)\\nreturn Allow()'), timeout=0.1)\n"
        "print(made.decide(sql()), 'passed')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 70
    assert "passed" not in ended.stdout
    assert "policy p0" in ended.stderr
