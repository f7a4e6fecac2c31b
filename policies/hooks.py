"""Policy files → modules → hooks, validated so that no rule is silently left out.

A mistyped hook would never run, and a rule that never runs lets everything pass: whatever looks like a hook and is
none is refused when the file is loaded.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from onrecord.policies.errors import PolicyError
from onrecord.policies.policy_set import PolicyFile, PolicySet, check_policy_set
from onrecord.policies.watchdog import Interrupted, Watchdog

DECISION_HOOKS = ("command", "sql", "http", "kubernetes", "ssh", "sftp", "forward", "llm", "mcp")
EVENT_HOOKS = ("session_start", "session_end", "outcome")
HOOKS = DECISION_HOOKS + EVENT_HOOKS
_SAFE_NAMES = frozenset({"history"})

_counter = itertools.count(1)


class Hook(NamedTuple):
    """One callable of one policy; `is_async` where calling it gives a coroutine."""

    policy: str
    call: Callable[..., Any]
    is_async: bool


class LoadedPolicy:
    """One file's hooks by name, and where they apply."""

    __slots__ = ("groups", "hooks", "module", "name", "resources")

    def __init__(self, file: PolicyFile, module: ModuleType, hooks: dict[str, list[Hook]]) -> None:
        self.name, self.module, self.hooks = file.name, module, hooks
        self.resources, self.groups = frozenset(file.resources), frozenset(file.groups)

    def applies(self, resource: str, groups: Iterable[str]) -> bool:
        """Whether this policy speaks about `resource` for an identity in `groups`."""
        if self.resources and resource not in self.resources:
            return False
        return not self.groups or not self.groups.isdisjoint(groups)


class LoadedSet:
    """A compiled policy set. Its modules belong to it alone: no state outlives a reload."""

    __slots__ = ("digest", "names", "policies")

    def __init__(self, policy_set: PolicySet, watchdog: Watchdog, limit: float) -> None:
        """Compile and run every file. Raises PolicyError; then nothing of it stays."""
        check_policy_set(policy_set)
        self.digest, self.names = policy_set.digest, policy_set.names
        self.policies: list[LoadedPolicy] = []
        try:
            for file in policy_set.files:
                self.policies.append(_load(file, watchdog, limit))
        except BaseException:
            self.close()
            raise

    def hooks(self, name: str, resource: str, groups: Sequence[str]) -> list[Hook]:
        """The hooks called `name` of all policies that apply, in order."""
        return [hook for policy in self.policies if policy.applies(resource, groups) for hook in policy.hooks[name]]

    def close(self) -> None:
        """Forget the modules."""
        for policy in self.policies:
            sys.modules.pop(policy.module.__name__, None)


def _load(file: PolicyFile, watchdog: Watchdog, limit: float) -> LoadedPolicy:
    module = ModuleType(f"onrecord_policy_{next(_counter)}_{file.name.replace('.', '_')}")
    module.__file__ = file.ref
    sys.modules[module.__name__] = module  # dataclasses and msgspec look their own module up
    try:
        hooks = watchdog.run(file.name, limit, _execute, file, module)
    except BaseException as error:  # noqa: BLE001
        sys.modules.pop(module.__name__, None)
        raise _load_error(file, error, limit) from (None if isinstance(error, PolicyError) else error)
    return LoadedPolicy(file, module, hooks)


def _execute(file: PolicyFile, module: ModuleType) -> dict[str, list[Hook]]:
    exec(compile(file.source, file.ref, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return _collect(file, module)


def _load_error(file: PolicyFile, error: BaseException, limit: float) -> PolicyError:
    if isinstance(error, PolicyError):
        return error
    if isinstance(error, SyntaxError):
        return PolicyError(f"{file.ref}:{error.lineno}: does not compile: {error.msg}")
    if isinstance(error, Interrupted):
        return PolicyError(f"{file.ref}: took longer than {limit:g} s to load")
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file.ref:
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    fix = ""
    if isinstance(error, ImportError):
        fix = " (a policy is one file; it may import installed packages, not files beside it)"
    return PolicyError(f"{file.ref}{line}: raised {type(error).__name__} while loading: {_short(error)}{fix}")


def _short(error: BaseException) -> str:
    try:
        return str(error)[:300]
    except BaseException:  # noqa: BLE001  # a policy's own exception class may do anything
        return "(no text)"


def _collect(file: PolicyFile, module: ModuleType) -> dict[str, list[Hook]]:
    addons = module.__dict__.get("addons")
    if not isinstance(addons, list | tuple) or not addons:
        raise PolicyError(f"{file.ref}: has no `addons` list: end the file with `addons = [YourPolicy()]`")
    if module.__dict__.get("history"):
        raise _history(file)
    hooks: dict[str, list[Hook]] = {name: [] for name in HOOKS}
    for addon in addons:
        _collect_addon(file, addon, hooks)
    _check_left_out(file, module, addons)
    return hooks


def _check_left_out(file: PolicyFile, module: ModuleType, addons: Sequence[object]) -> None:
    """Refuse a rule that stands in the file and not in `addons`: a class nobody instantiated, a bare function."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, FunctionType) and name in HOOKS:
            raise PolicyError(
                f"{file.ref}: function {name} is named like a hook and would never run: make it a method of a class "
                "in `addons`, or begin its name with _"
            )
        if isinstance(value, type) and not any(isinstance(addon, value) for addon in addons):
            found = [hook for hook in HOOKS if inspect.isroutine(inspect.getattr_static(value, hook, None))]
            if found:
                raise PolicyError(
                    f"{file.ref}: class {name} has a hook ({found[0]}) and is not in `addons`, so it would never run: "
                    f"add {name}(), or begin its name with _"
                )


def _collect_addon(file: PolicyFile, addon: object, hooks: dict[str, list[Hook]]) -> None:
    if isinstance(addon, type):
        raise PolicyError(f"{file.ref}: addons holds the class {addon.__name__}: write {addon.__name__}()")
    label = type(addon).__name__
    if getattr(addon, "history", False):
        raise _history(file)
    found = False
    for name in dir(addon):
        if name.startswith("_") or name in _SAFE_NAMES:
            continue
        static = inspect.getattr_static(addon, name, None)
        if name not in HOOKS:
            if callable(static) or isinstance(static, staticmethod | classmethod):
                raise PolicyError(_unknown(file, label, name))
            continue
        hooks[name].append(_hook(file, label, name, getattr(addon, name)))
        found = True
    if not found:
        raise PolicyError(f"{file.ref}: {label} has no hook, so it would never run; hooks are {', '.join(HOOKS)}")


def _hook(file: PolicyFile, label: str, name: str, call: object) -> Hook:
    where = f"{file.ref}: {label}.{name}"
    if not callable(call):
        raise PolicyError(f"{where} is a hook's name but cannot be called")
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise PolicyError(f"{where} uses yield: a hook returns its verdict")
    arguments = ("command", "outcome") if name == "outcome" else ("session" if name.startswith("session") else name,)
    try:
        inspect.signature(call).bind(*arguments)
    except TypeError:
        raise PolicyError(f"{where} must take {len(arguments)} argument(s) beside self") from None
    except ValueError:
        pass  # some callables have no signature: then the first call tells
    is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004
    if is_async and name == "session_start":
        raise PolicyError(f"{where} is async: session_start answers at once; wait in a command hook instead")
    return Hook(file.name, call, is_async)


def _unknown(file: PolicyFile, label: str, name: str) -> str:
    close = difflib.get_close_matches(name.lower(), HOOKS, n=1, cutoff=0.6)
    guess = f"did you mean {close[0]}? " if close else ""
    return (
        f"{file.ref}: {label}.{name} is no hook, so it would never run: {guess}"
        f"hooks are {', '.join(HOOKS)}; begin a helper's name with _"
    )


def _history(file: PolicyFile) -> PolicyError:
    return PolicyError(f"{file.ref}: history = True is not supported by this version: remove it, or the policy")
