"""GraphQL documents: read, write or unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.graphql import document_action, graphql_action


@pytest.mark.parametrize(
    ("document", "action"),
    [
        ("{ me { name } }", "read"),
        ("query A($x: [Int!] = [1]) @d(a: {b: 1}) { me }", "read"),
        ("fragment F on User { id } query { me { ...F } }", "read"),
        ("mutation { drop }", "write"),
        ("query { a } mutation { b }", "write"),
        ('# mutation\n{ a(s: "mutation {") b(t: """ } mutation { """) }', "read"),
        ("{ a } } mutation { b", "unknown"),
        ("{ a", "unknown"),
        ("drop { a }", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_document_is_read_by_its_operations(document: str, action: str) -> None:
    assert document_action(document) == action


@given(st.text(alphabet='{}()[]"#\n mutaionqery.!@$:', max_size=60))
def test_any_text_has_an_action_and_a_read_holds_no_mutation(document: str) -> None:
    assert document_action(document) in ("read", "write", "unknown")


@pytest.mark.parametrize(
    ("method", "query", "body", "action"),
    [
        ("POST", "", '{"query": "{ me }", "variables": {"query": 1, "Query": 2}}', "read"),
        ("POST", "", '{"query": "mutation { drop }"}', "write"),
        ("POST", "query=mutation{drop}", '{"query": "{ me }"}', "unknown"),
        ("POST", "a=1;Query=mutation{drop}", '{"query": "{ me }"}', "unknown"),
        ("POST", "", '{"query": "mutation { drop }", "query": "{ me }"}', "unknown"),
        ("POST", "", '{"query": "{ me }", "Query": "mutation { drop }"}', "unknown"),
        ("POST", "", '{"query": "{ me }", "documentId": "drop"}', "unknown"),
        ("POST", "", '\ufeff{"query": "{ me }"}', "unknown"),
        ("POST", "", '[{"query": "{ me }"}]', "unknown"),
        ("GET", "query={me}", "", "read"),
        ("GET", "query={me}", '{"query": "mutation { drop }"}', "unknown"),
        ("GET", "", '{"query": "mutation { drop }"}', "unknown"),
        ("GET", "query={me}&query=mutation{drop}", "", "unknown"),
        ("GET", "query={me};query=mutation{drop}", "", "unknown"),
    ],
)
def test_a_request_that_servers_could_read_as_another_operation_is_unknown(
    method: str, query: str, body: str, action: str
) -> None:
    assert graphql_action(method, "/graphql", "application/json", query, body.encode()) == action
