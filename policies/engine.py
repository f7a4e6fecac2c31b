"""The policy engine: loads policy sets, asks every policy that applies, and says no where anything goes wrong.

Order of a decision: the built-in rules (`onrecord:admin`, `onrecord:unknown`), then every hook of every policy that
applies, then `combine` (deny > hold > allow); where nobody speaks, the resource's default (`onrecord:default`).
A hook that raises, answers something else than a verdict or None, or does not end in time is a Deny
(`onrecord:engine`, `onrecord:timeout`) that names the policy; the client never reads an exception's text.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from threading import get_ident
from time import monotonic
from typing import Any, NamedTuple

from onrecord.policies.answers import presentable, sound
from onrecord.policies.built_in import ASK, BROKEN, NOT_LOADED, STALE, default_of, rules_on_action
from onrecord.policies.errors import PolicyError
from onrecord.policies.hooks import Hook, LoadedSet
from onrecord.policies.masking.names import DETECTORS
from onrecord.policies.model import Command, Outcome, Session
from onrecord.policies.policy_set import PolicySet
from onrecord.policies.verdict import Allow, Deny, Hold, Ruling, combine
from onrecord.policies.watchdog import Interrupted, Watchdog, stepwise

_log = logging.getLogger("onrecord.policies")

_MAX_PLANS = 4096
_MAX_ABANDONED = 64
_LOAD_LIMIT = 10.0


class Plan(NamedTuple):
    """The hooks that one kind of command meets on one resource for one set of groups."""

    plain: tuple[Hook, ...]
    waiting: tuple[Hook, ...]


class Answer(NamedTuple):
    """What one hook said, for `explain`; `ruling` is None where it had nothing to say."""

    policy: str
    ruling: Ruling | None


class _Failure(NamedTuple):
    """A hook that raised `error`, or (None) took too long."""

    error: BaseException | None


class PolicyEngine:
    """Decides commands under one policy set at a time; with none it denies all.

    `timeout` limits each hook, in seconds; after `mark_stale` the last good set holds for `stale_after` seconds.
    `detectors` are the masks this gateway can apply: an Allow that asks for another is refused.
    """

    def __init__(
        self,
        *,
        timeout: float,
        stale_after: float,
        detectors: frozenset[str] = frozenset(DETECTORS),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limit, self._stale_after, self._detectors, self._clock = timeout, stale_after, detectors, clock
        self._watch = Watchdog(timeout)
        self._loaded: LoadedSet | None = None
        self._prepared: LoadedSet | None = None
        self._plans: dict[tuple[str, tuple[str, ...], str], Plan] = {}
        self._stale_since: float | None = None
        self._stale_error = ""
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._events: set[asyncio.Task[Any]] = set()

    # -- policy sets -------------------------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """The digest of the set in force; empty where none is."""
        return self._loaded.digest if self._loaded is not None else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the policies in force, in order."""
        return self._loaded.names if self._loaded is not None else ()

    @property
    def stale_error(self) -> str:
        """Why the newest policies are not in force; empty where they are."""
        return self._stale_error

    def prepare(self, policy_set: PolicySet) -> None:
        """Compile a set aside; nothing changes until `commit`. Raises PolicyError."""
        digest = policy_set.digest
        if digest == self.digest or (self._prepared is not None and self._prepared.digest == digest):
            return
        prepared = LoadedSet(policy_set, self._watch, max(_LOAD_LIMIT, self._limit))
        if self._prepared is not None:
            self._prepared.close()
        self._prepared = prepared

    def commit(self, digest: str) -> None:
        """Put the prepared set into force, whole; the set already in force stays as it is. Raises PolicyError."""
        if self._loaded is None or digest != self._loaded.digest:
            prepared = self._prepared
            if prepared is None or prepared.digest != digest:
                raise PolicyError(f"policy set {digest} was not prepared in this process")
            self._watch.start()
            old, self._loaded, self._prepared = self._loaded, prepared, None
            self._plans = {}
            if old is not None:
                old.close()
        self._stale_since, self._stale_error = None, ""

    def mark_stale(self, error: str, *, age: float = 0.0) -> None:
        """The newest policies cannot be used, since `age` seconds: the old ones hold for `stale_after` in all."""
        since = self._clock() - max(age, 0.0)
        self._stale_since = since if self._stale_since is None else min(since, self._stale_since)
        if error != self._stale_error:
            self._stale_error = error
            if self._loaded is None:
                _log.error("no policies could be loaded, so everything is denied: %s", error)
            else:
                _log.error("policies could not be reloaded; the old ones hold for %g s: %s", self._stale_after, error)

    # -- decisions ---------------------------------------------------------------------------------------------------

    def decide(self, command: Command) -> Ruling | Awaitable[Ruling]:
        """Rule on one command: at once where no hook waits, else an awaitable. Never raises."""
        try:
            return self._decide(command)
        except Interrupted:
            return self._late()
        except Exception:  # noqa: BLE001  # whatever it is, it is a refusal
            _log.exception("a decision failed")
            return BROKEN

    def _decide(self, command: Command) -> Ruling | Awaitable[Ruling]:
        loaded = self._loaded
        if loaded is None or self._stale_since is not None:
            closed = self._closed()
            if closed is not None:
                return closed
        session = command.session
        resource = session.resource
        key = (resource.name, session.identity.groups, command.command_kind)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(key)
        rulings = rules_on_action(command)
        if plan.plain:
            self._ask_plain(plan.plain, command, rulings)
        if plan.waiting:
            return self._decide_later(command, plan, rulings)
        if not rulings:
            return default_of(resource)
        return rulings[0] if len(rulings) == 1 else combine(rulings, BROKEN)

    async def _decide_later(self, command: Command, plan: Plan, rulings: list[Ruling]) -> Ruling:
        loaded = self._loaded
        try:
            await self._ask_waiting(plan.waiting, command, rulings)
        except Exception:  # noqa: BLE001  # whatever it is, it is a refusal
            _log.exception("a decision failed")
            return BROKEN
        if self._loaded is not loaded:  # swapped meanwhile: the record names the set that decided
            answer = self.decide(command)
            return answer if isinstance(answer, Ruling) else await answer
        resource = command.session.resource
        return combine(rulings, default_of(resource))

    async def explain(self, command: Command) -> tuple[tuple[Answer, ...], Ruling]:
        """Each policy's answer and the final ruling: what `policy explain` prints."""
        closed = self._closed()
        if closed is not None:
            return (), closed
        session = command.session
        plan = self._plan((session.resource.name, session.identity.groups, command.command_kind))
        answers: list[Answer] = []
        rulings = rules_on_action(command)
        answers += [Answer(ruling.policy, ruling) for ruling in rulings]
        for hook in plan.plain + plan.waiting:
            said: list[Ruling] = []
            if hook.is_async:
                await self._ask_waiting((hook,), command, said)
            else:
                try:
                    self._ask_plain((hook,), command, said)
                except Interrupted:
                    said = [self._late()]
            answers.append(Answer(hook.policy, said[0] if said else None))
            rulings.extend(said)
        default = default_of(session.resource)
        return tuple(answers), combine(rulings, default)

    def session_start(self, session: Session) -> Ruling | None:
        """Ask whether a session may begin; None where nobody objects. Never raises."""
        try:
            closed = self._closed()
            if closed is not None or self._loaded is None:
                return closed
            hooks = self._loaded.hooks("session_start", session.resource.name, session.identity.groups)
            rulings: list[Ruling] = []
            self._ask_plain(tuple(hooks), session, rulings)
        except Interrupted:
            return self._late()
        except Exception:  # noqa: BLE001  # whatever it is, it is a refusal
            _log.exception("a decision failed")
            return BROKEN
        return combine(rulings, rulings[0]) if rulings else None

    def session_end(self, session: Session) -> None:
        """Tell the policies that a session ended. Never raises."""
        self._tell("session_end", session, (session,))

    def outcome(self, command: Command, outcome: Outcome) -> None:
        """Tell the policies what became of a command. Never raises."""
        self._tell("outcome", command.session, (command, outcome))

    # -- asking ------------------------------------------------------------------------------------------------------

    def _closed(self) -> Ruling | None:
        """Why nothing can be decided now, or None."""
        if self._loaded is None:
            return NOT_LOADED
        if self._stale_since is not None and self._clock() - self._stale_since >= self._stale_after:
            return STALE
        return None

    def _plan(self, key: tuple[str, tuple[str, ...], str]) -> Plan:
        resource, groups, kind = key
        assert self._loaded is not None  # noqa: S101  # callers looked
        hooks = self._loaded.hooks("command", resource, groups)
        hooks += self._loaded.hooks(kind, resource, groups)
        plan = Plan(tuple(hook for hook in hooks if not hook.is_async), tuple(hook for hook in hooks if hook.is_async))
        if len(self._plans) >= _MAX_PLANS:  # groups come from tokens: no caller makes this grow without end
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def _ask_plain(self, hooks: tuple[Hook, ...], subject: Command | Session, rulings: list[Ruling]) -> None:
        """Call plain hooks under the watchdog. Raises Interrupted where the interrupt came after a hook's end."""
        watch, limit = self._watch, self._limit
        watch.thread = get_ident()
        for policy, call, _ in hooks:
            watch.name = policy
            answer: Any
            watch.started = started = monotonic()
            try:
                answer = call(subject)
            except BaseException as error:  # noqa: BLE001  # SystemExit in a policy must not open or end anything
                answer = _Failure(error)
            watch.started = None
            if watch.fired is not None:
                watch.settle()
            if monotonic() - started > limit:
                answer = _Failure(None)
            if answer is not None:
                rulings.append(self._checked(policy, answer))

    async def _ask_waiting(self, hooks: tuple[Hook, ...], command: Command, rulings: list[Ruling]) -> None:
        """Run async hooks side by side, each a task that is left behind where it does not end."""
        if len(self._abandoned) >= _MAX_ABANDONED:
            rulings.append(_timeout(hooks[0].policy))
            return
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._await_hook(hook, (command,))) for hook in hooks]
        try:
            _, pending = await asyncio.wait(tasks, timeout=self._limit)
        except asyncio.CancelledError:
            for task in tasks:
                self._abandon(task)
            raise
        for hook, task in zip(hooks, tasks, strict=True):
            if task in pending:
                self._abandon(task)
                answer: Any = _Failure(None)
            else:
                answer = _result(task)
            if answer is not None:
                rulings.append(self._checked(hook.policy, answer))

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Cancel without waiting: a hook may swallow the cancellation."""
        if task.done():
            return
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
        task.cancel()

    async def _await_hook(self, hook: Hook, arguments: tuple[Any, ...]) -> Any:
        """One async hook's answer; what it raises comes back as a _Failure (asyncio lets SystemExit end the loop)."""
        started = monotonic()
        try:
            answer = await stepwise(self._watch, hook.policy, hook.call(*arguments))
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001
            return _Failure(error)
        return answer if monotonic() - started <= self._limit else _Failure(None)

    def _checked(self, policy: str, answer: object) -> Ruling:
        """What a hook returned as a ruling; anything that is no sound verdict is a Deny."""
        kind = type(answer)
        if kind is Allow:
            masks = answer.mask  # type: ignore[attr-defined]
            if isinstance(masks, tuple | list) and (not masks or self._detectors.issuperset(masks)):
                return Ruling(answer, policy)  # type: ignore[arg-type]
            _log.error("policy %s: asks for masks that this gateway cannot apply: %r", policy, masks)
            return Ruling(Deny(f"policy {policy} asks for masking that is not available", ASK), "onrecord:engine")
        if isinstance(answer, Hold) and kind is Hold and sound(answer) and not self._detectors.issuperset(answer.mask):
            _log.error("policy %s: asks for masks that this gateway cannot apply: %r", policy, answer.mask)
            return Ruling(Deny(f"policy {policy} asks for masking that is not available", ASK), "onrecord:engine")
        if isinstance(answer, Deny | Hold) and kind in (Deny, Hold) and sound(answer):
            return Ruling(presentable(answer), policy)
        if isinstance(answer, _Failure):
            return self._failed(policy, answer)
        if inspect.iscoroutine(answer):
            answer.close()
        _log.error("policy %s: a hook returned %s, which is no verdict", policy, kind.__name__)
        return Ruling(Deny(f"policy {policy} gave no valid answer", ASK), "onrecord:engine")

    def _failed(self, policy: str, failure: _Failure) -> Ruling:
        error = failure.error
        if error is None or isinstance(error, Interrupted):
            return _timeout(policy)
        with contextlib.suppress(Exception):  # an exception class of a policy may fail even at being printed
            _log.error("policy %s: a hook raised", policy, exc_info=error)
        return Ruling(Deny(f"policy {policy} failed", ASK), "onrecord:engine")

    def _late(self) -> Ruling:
        """An interrupt came between two steps of ours: the hook before it was too slow."""
        self._watch.started = None
        return _timeout(self._watch.name)

    def _tell(self, name: str, session: Session, arguments: tuple[Any, ...]) -> None:
        loaded = self._loaded
        if loaded is None:
            return
        try:
            for hook in loaded.hooks(name, session.resource.name, session.identity.groups):
                if hook.is_async:
                    self._tell_later(hook, arguments)
                    continue
                self._watch.run(hook.policy, self._limit, hook.call, *arguments)
        except Interrupted:
            self._late()
        except BaseException as error:  # noqa: BLE001
            with contextlib.suppress(Exception):
                _log.error("a policy's %s hook raised", name, exc_info=error)

    def _tell_later(self, hook: Hook, arguments: tuple[Any, ...]) -> None:
        if len(self._events) >= 1024:
            _log.error("policy %s: its async event hooks do not end; this one is not called", hook.policy)
            return
        task = asyncio.get_running_loop().create_task(self._event(hook, arguments))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def _event(self, hook: Hook, arguments: tuple[Any, ...]) -> None:
        task = asyncio.ensure_future(self._await_hook(hook, arguments))
        await asyncio.wait([task], timeout=self._limit)
        if not task.done():
            self._abandon(task)
            _timeout(hook.policy)
            return
        result = _result(task)
        if isinstance(result, _Failure):
            self._failed(hook.policy, result)


def _result(task: asyncio.Task[Any]) -> Any:
    """What a task that is done gave, whatever it raised."""
    if task.cancelled():
        return _Failure(asyncio.CancelledError())
    error = task.exception()
    return task.result() if error is None else _Failure(error)


def _timeout(policy: str) -> Ruling:
    _log.error("policy %s: a hook did not end in time", policy)
    return Ruling(Deny(f"policy {policy} did not answer in time", "try again; " + ASK), "onrecord:timeout")
