"""What a portal or a name is to the gateway, it is to the server: attempts to bring the two out of step."""

from __future__ import annotations

from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.shims.postgres.messages import encode_query
from onrecord.shims.postgres.wire import message
from tests.shims.postgres.conftest import Shim
from tests.shims.postgres.raw import Answer, RawClient

SYNC = message(b"S")


def parse(name: str, text: str) -> bytes:
    return message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def bind(portal: str, statement: str) -> bytes:
    return message(b"B", portal.encode() + b"\0" + statement.encode() + b"\0" + bytes(6))


def execute(portal: str) -> bytes:
    return message(b"E", portal.encode() + b"\0" + bytes(4))


def close(what: str, name: str) -> bytes:
    return message(b"C", what.encode() + name.encode() + b"\0")


class Attacker(RawClient):
    """Asks and reads up to ReadyForQuery; `t` is its table of three rows."""

    def __init__(self, shim: Shim) -> None:
        super().__init__(shim)
        self.query("CREATE TEMP TABLE t AS SELECT * FROM generate_series(1, 3) AS a")

    def query(self, text: str) -> list[Answer]:
        self.send(encode_query(text))
        return self.until(b"Z")

    def pipeline(self, *messages: bytes) -> list[Answer]:
        self.send(b"".join(messages) + SYNC)
        return self.until(b"Z")


def tags(answers: list[Answer]) -> list[bytes]:
    return [body.rstrip(b"\0") for kind, body in answers if kind == b"C"]


def errors(answers: list[Answer]) -> bytes:
    return b" ".join(body for kind, body in answers if kind == b"E")


def no_deletes(command: Command) -> Ruling:
    """The strictest simple rule: whatever deletes is denied, all else passes."""
    if getattr(command, "kind", "") == "DELETE":
        return Ruling(Deny("no"), "guard")
    return Ruling(Allow(), "guard")


def test_names_that_the_server_cuts_to_the_same_63_bytes_are_no_second_name(shim: Shim) -> None:
    shim.engine.rule = no_deletes
    long = "A" * 63
    with Attacker(shim) as client:
        client.send(  # at once: the session ends in the middle of it
            parse(long + "1", "SELECT 1")
            + SYNC
            + close("S", long + "2")
            + SYNC
            + parse(long + "3", "DELETE FROM t")
            + bind("", long + "3")
            + SYNC
            + bind("", long + "1")
            + execute("")
            + SYNC
        )
        answers = client.rest_until_silent()
    assert not [tag for tag in tags(answers) if tag.startswith(b"DELETE")]
    assert b"63 bytes" in errors(answers)


def test_a_statement_whose_bind_is_refused_never_reaches_the_server(shim: Shim) -> None:
    shim.engine.rule = no_deletes
    with Attacker(shim) as client:
        assert b"42501" in errors(client.pipeline(parse("p", "DELETE FROM t"), bind("", "p"), execute("")))
        answers = client.query("SELECT count(*) FROM pg_prepared_statements")
        assert answers[1][1].endswith(b"0")
        assert b"26000" in errors(client.pipeline(bind("", "p"), execute("")))


def test_an_execute_bound_earlier_never_runs_what_the_name_means_later(shim: Shim) -> None:
    """The Close is skipped by the server, which is behind an error; the portal lives on in its subtransaction."""
    shim.engine.rule = no_deletes
    with Attacker(shim) as client:
        client.query("PREPARE p AS SELECT 1")
        client.query("BEGIN")
        client.pipeline(parse("s", "EXECUTE p"), bind("X", "s"))
        client.query("SAVEPOINT a")
        client.pipeline(parse("", "SELECT nonsense"), close("P", "X"))
        client.query("ROLLBACK TO a")
        client.query("DEALLOCATE p")
        client.pipeline(parse("p", "DELETE FROM t"), bind("", "p"))
        client.query("ROLLBACK TO a")
        answers = client.pipeline(execute("X"))
    assert tags(answers) == []
    assert errors(answers)


def test_fetch_runs_no_execute_that_waits_in_a_portal(shim: Shim) -> None:
    """FETCH in SQL runs portals of the protocol too, and EXECUTE looks its name up only then."""
    shim.engine.rule = lambda command: no_deletes(command) if "EXECUTE" in command.text else Ruling(Allow(), "guard")
    with Attacker(shim) as client:
        client.query("PREPARE p AS SELECT 1 AS a")
        client.query("BEGIN")
        client.query("SAVEPOINT a")
        assert b"unnamed portal" in errors(client.pipeline(parse("s", "EXECUTE p"), bind("X", "s")))
        client.query("ROLLBACK TO a")
        client.query("DEALLOCATE p")
        client.query("PREPARE p AS DELETE FROM t RETURNING a")
        assert tags(client.query('FETCH ALL FROM "X"')) == []
        client.query("ROLLBACK TO a")
        assert tags(client.pipeline(parse("", "EXECUTE p"), bind("", ""), execute(""))) == []
        client.query("ROLLBACK")
        client.query("DEALLOCATE p")
        client.query("PREPARE p AS SELECT 1 AS a")
        assert tags(client.pipeline(parse("", "EXECUTE p"), bind("", ""), execute(""))) == [b"SELECT 1"]


def test_a_portal_that_an_error_hid_from_the_gateway_is_not_executed_as_a_cursor(shim: Shim) -> None:
    """On record it would be a FETCH beside a command that was never executed."""
    with Attacker(shim) as client:
        client.query("BEGIN")
        client.pipeline(parse("s", "DELETE FROM t WHERE a = 1"), bind("X", "s"))
        for hide in (close("P", "X"), execute("X"), bind("X", "s")):
            client.query("SAVEPOINT a")
            client.pipeline(parse("", "SELECT nonsense"), hide)
            client.query("ROLLBACK TO a")
        answers = client.pipeline(execute("X"))
    shim.wait_ended()
    ran = [(text, outcome) for text, _, outcome in shim.commands() if outcome.get("tag", "").startswith("DELETE")]
    assert tags(answers) == [tag.encode() for tag in [outcome["tag"] for _, outcome in ran]]
    assert all(text.startswith("DELETE") for text, _ in ran)


def test_a_prepare_that_fails_at_commit_leaves_no_name_behind_that_the_gateway_misreads(shim: Shim) -> None:
    """The error of a deferred constraint takes the place of the completion, and yet the server did it."""
    with Attacker(shim) as client:
        client.query("CREATE TEMP TABLE k (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        client.query("PREPARE p AS SELECT 1")
        for change in ("DEALLOCATE p", "PREPARE p AS DELETE FROM t WHERE a = 2"):
            assert b"23505" in errors(client.query(f"INSERT INTO k VALUES (1), (1); {change}"))
        answers = client.query("EXECUTE p")
    shim.wait_ended()
    text, _, _ = shim.commands()[-1]
    assert tags(answers) == [] or "DELETE" in text


def test_a_prepare_of_a_taken_name_leaves_what_it_was(shim: Shim) -> None:
    with Attacker(shim) as client:
        client.query("PREPARE p AS SELECT 1")
        assert b"42P05" in errors(client.query("PREPARE p AS SELECT 2"))
        assert tags(client.query("EXECUTE p")) == [b"SELECT 1"]


def test_execute_of_a_name_that_is_none_is_refused_whatever_policies_say(shim: Shim) -> None:
    """A resource may allow what is unknown; `DEALLOCATE "*"` is no DEALLOCATE ALL to the server."""
    shim.engine.rule = no_deletes
    with Attacker(shim) as client:
        assert b"26000" in errors(client.query("EXECUTE nobody"))
        client.query("PREPARE p AS SELECT 1")
        client.query('PREPARE "*" AS SELECT 1')
        client.query('DEALLOCATE "*"')
        answers = client.query("EXECUTE p")
        assert tags(answers) == [b"SELECT 1"] or b"26000" in errors(answers)
