"""Paths into JSON, as mitm.toml writes them: `$.user.email`, `$.items[*].card`, `$..password`, or a bare key. Pure.

More is masked rather than less: names are compared without regard to case, and a step to a name looks into arrays on
its way, as PostgreSQL's lax mode does (`$.users.email` also means each element of the array `users`).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

MAX_STEPS = 32

_BARE = re.compile(r"[^\s$.\[\]*\"'@]+(?: [^\s$.\[\]*\"'@]+)*")
_STEP = re.compile(
    r"""(?P<deep>\.\.)(?=[^.])
    | \.?\[\s*(?: (?P<index>\d{1,9}) | (?P<every>\*) | '(?P<single>[^']+)' | "(?P<double>[^"]+)" )\s*\]
    | \.(?P<dot>[^\s$.\[\]*"'@]+)
    | \.(?P<star>\*)""",
    re.VERBOSE | re.ASCII,
)
_AFTER_DEEP = re.compile(r"""(?P<dot>[^\s$.\[\]*"'@]+)|(?P<star>\*)|(?=\[)""")


class Step(NamedTuple):
    """`key`: the member `name` (casefolded); `every`: all children; `index`: one element; `deep`: at any depth."""

    kind: Literal["key", "every", "index", "deep"]
    name: str = ""
    number: int = 0


class JsonPath(NamedTuple):
    """`text` as mitm.toml has it, and its steps."""

    text: str
    steps: tuple[Step, ...]


def json_path(text: str) -> JsonPath:
    """Parse `text`. Raises ValueError with the reason."""
    if _BARE.fullmatch(text):
        return JsonPath(text, (Step("deep"), Step("key", text.casefold())))
    if not text.startswith("$"):
        raise ValueError("it starts neither with $ nor is it a bare key")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        match = _AFTER_DEEP.match(text, at) if steps and steps[-1].kind == "deep" else _STEP.match(text, at)
        if match is None or (match.end() == at and match.re is _STEP):
            raise ValueError(f"not understood from character {at + 1} on")
        at = match.end()
        found = match.groupdict()
        if match.re is _AFTER_DEEP and not any(found.values()):
            match = _STEP.match(text, at)
            if match is None or match["deep"]:
                raise ValueError(f"not understood from character {at + 1} on")
            at, found = match.end(), match.groupdict()
        steps.append(_step(found))
    if not steps:
        raise ValueError("it names the whole document")
    if steps[-1].kind == "deep":
        raise ValueError("nothing follows the last ..")
    if len(steps) > MAX_STEPS:
        raise ValueError(f"more than {MAX_STEPS} steps")
    return JsonPath(text, tuple(steps))


def _step(found: dict[str, str | None]) -> Step:
    if found.get("deep"):
        return Step("deep")
    if found.get("every") or found.get("star"):
        return Step("every")
    if found.get("index") is not None:
        return Step("index", number=int(found["index"] or 0))
    name = found.get("dot") or found.get("single") or found.get("double") or ""
    return Step("key", name.casefold())


def into_key(paths: tuple[Step, ...], states: frozenset[int], key: str) -> frozenset[int]:
    """The states of `paths` after a step into the member `key`; `len(paths)` among them: the member is meant."""
    key = key.casefold()
    found = set()
    for state in states:
        if state == len(paths):
            continue
        at = state
        if paths[at].kind == "deep":
            found.add(at)
            at += 1
        step = paths[at]
        if step.kind == "every" or (step.kind == "key" and step.name == key):
            found.add(at + 1)
    return frozenset(found)


def into_element(paths: tuple[Step, ...], states: frozenset[int], index: int) -> frozenset[int]:
    """The same for the element `index` of an array. A step to a name stays where it is: it looks into arrays."""
    found = set()
    for state in states:
        if state == len(paths):
            continue
        at = state
        if paths[at].kind == "deep":
            found.add(at)
            at += 1
        step = paths[at]
        if step.kind == "every" or (step.kind == "index" and step.number == index):
            found.add(at + 1)
        elif step.kind == "key":
            found.add(state)
    return frozenset(found)
