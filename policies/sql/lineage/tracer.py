"""What one statement gathers on the way: predicates, flows, and how much work is left."""

from __future__ import annotations

from collections.abc import Callable

from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.lineage.relations import Knowledge
from onrecord.policies.sql.lineage.scopes import Env
from onrecord.policies.sql.lineage.values import EMPTY, Node, Result, Value

# Nodes looked at, and sources carried, for one text: about a second. A recursive query inside recursive queries is
# evaluated many times over.
WORK = 400_000


class TooMuchWorkError(SqlError):
    """The statement takes too long to trace."""


class Facts:
    """Predicates and flows so far."""

    __slots__ = ("flows", "predicates", "unsure_flows", "unsure_predicates")

    def __init__(self) -> None:
        self.predicates: set[str] = set()
        self.flows: set[str] = set()
        self.unsure_predicates = False
        self.unsure_flows = False

    def predicate(self, value: Value) -> None:
        self.predicates.update(value.sources)
        self.unsure_predicates = self.unsure_predicates or value.unsure

    def flow(self, value: Value, into: frozenset[str] = EMPTY) -> None:
        """`value` goes into a column that whoever reads it sees under all the names `into`: those are no flow, if it is
        the value of that column as it stands.

        What an expression makes of it is one: it could move what is hidden of the value to where it is shown.
        """
        self.flows.update(value.sources - into if value.plain else value.sources)
        self.unsure_flows = self.unsure_flows or value.unsure

    def add(self, other: Facts) -> None:
        self.predicates |= other.predicates
        self.flows |= other.flows
        self.unsure_predicates = self.unsure_predicates or other.unsure_predicates
        self.unsure_flows = self.unsure_flows or other.unsure_flows


class Tracer:
    """The state of one evaluation. `query` evaluates a statement node that returns rows (queries.py sets it)."""

    __slots__ = ("effects", "facts", "functions", "knowledge", "left", "query")

    def __init__(
        self, knowledge: Knowledge, query: Callable[[Tracer, str, Node, Env], Result], work: int = WORK
    ) -> None:
        self.knowledge = knowledge
        self.functions = knowledge.functions
        self.query = query
        self.facts = Facts()
        self.left = work
        self.effects = 0  # calls seen that do something beside returning a value

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise TooMuchWorkError("the statement takes too long to trace")

    def inside(self, name: str, fields: Node, env: Env) -> Value:
        """A query inside an expression as one value: all that it reads decides it, its conditions too."""
        outer, self.facts = self.facts, Facts()
        try:
            whole = self.query(self, name, fields, env).whole()
        finally:
            inner, self.facts = self.facts, outer
        outer.add(inner)
        return Value(whole.sources | inner.predicates, False, whole.unsure or inner.unsure_predicates)
