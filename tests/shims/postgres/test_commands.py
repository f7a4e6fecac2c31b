"""From analysed statements to commands: what is special, what is secret, what holds for EXECUTE."""

from __future__ import annotations

import msgspec

from onrecord.policies.model import Identity, Resource, Run, Session
from onrecord.shims.postgres.commands import Prepared, Template
from onrecord.shims.postgres.templates import Templates

SESSION = Session(
    id="0",
    run=Run("r"),
    identity=Identity(issuer="i", subject="devin"),
    resource=Resource(name="orders", type="postgres"),
    protocol="postgres",
    client="127.0.0.1:1",
    started_at=0,
)
INSERT = "INSERT INTO users (name, password) VALUES ($1, $2)"


def one(text: str) -> Template:
    (template,) = Templates(SESSION, "svc").of(text)
    return template


def test_a_value_bound_to_a_secret_column_is_on_no_record():
    command, detail = one(INSERT).bound(("bob", "hunter2"))
    assert command.parameters == ("bob", "hunter2")  # policies may look
    assert msgspec.json.decode(detail)["parameters"] == ["bob", "[redacted]"]


def test_the_arguments_of_execute_are_blanked_where_the_prepared_statement_takes_a_secret():
    templates = Templates(SESSION, "svc")
    (prepared,) = templates.of("PREPARE p AS " + INSERT)
    (execute,) = templates.of("EXECUTE p('bob', 'hunter2')")
    resolved = templates.executing(execute, Prepared(prepared))
    assert "hunter2" not in resolved.command.text
    assert "hunter2" not in resolved.detail.decode()
    assert resolved.command.kind == "INSERT"


def test_a_statement_that_is_unknown_and_admin_says_both():
    template = one("GRANT SELECT ON t TO x")
    assert (template.command.action, template.command.also_admin) == ("admin", False)
    both = one("CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN nobody_knows(1)").command
    assert both.action in {"admin", "unknown"}
    assert both.action == "admin" or both.also_admin


def test_an_execute_of_what_is_admin_and_unknown_meets_both_rules():
    templates = Templates(SESSION, "svc")
    (prepared,) = templates.of("PREPARE p AS SELECT pg_read_file('x'), nobody_knows(1)")
    (execute,) = templates.of("EXECUTE p")
    command = templates.executing(execute, Prepared(prepared)).command
    assert (command.action, command.also_admin) == ("unknown", True)
