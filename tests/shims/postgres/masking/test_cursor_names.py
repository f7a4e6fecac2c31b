"""One name that is a portal, then a cursor, or the other way: what comes out is masked as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.policies.config import MaskConfig
from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Ruling
from onrecord.shims.postgres.messages import encode_query
from onrecord.shims.postgres.wire import message
from tests.conftest import Shop
from tests.shims.postgres.conftest import Shim, resource_of, start_shim
from tests.shims.postgres.raw import Answer, RawClient
from tests.shims.postgres.test_exchange import SYNC, bind, close, execute, parse

MASKED = "SELECT upper(phone) AS x FROM named.people"
PLAIN = "SELECT upper(note) AS x FROM named.people"
SETUP = """
CREATE SCHEMA IF NOT EXISTS named;
CREATE SCHEMA IF NOT EXISTS named_too;
DROP TABLE IF EXISTS named.people, named.things, named_too.things;
CREATE TABLE named.people (id int, phone text, note text);
CREATE TABLE named.things (thing text);
CREATE TABLE named_too.things (thing text);
INSERT INTO named.people VALUES (1, 'zzmarkerzz', 'seen'), (2, 'zzmarkerzz', 'seen');
INSERT INTO named.things VALUES ('seen'), ('seen');
INSERT INTO named_too.things VALUES ('zzmarkerzz'), ('zzmarkerzz');
GRANT USAGE ON SCHEMA named, named_too TO svc_agent;
GRANT ALL ON ALL TABLES IN SCHEMA named, named_too TO svc_agent;
"""


@pytest.fixture
def masked(tmp_path: Path, shop: Shop) -> Iterator[Shim]:
    shop.server.sql(SETUP, database=shop.database)
    masks = (MaskConfig(columns=("named.people.phone", "named_too.things.thing")),)
    resource = resource_of(shop, catalog="auto", unknown="allow", masked_flows="allow", masked_predicates="allow")
    for shim in start_shim(tmp_path / "state", {"orders": resource}, {"SHOP_PASSWORD": shop.password}, masks=masks):
        shim.engine.rule = allow
        yield shim


def allow(command: Command) -> Ruling:
    return Ruling(Allow(), "test")


class Client(RawClient):
    """Asks, and keeps everything that came."""

    def query(self, text: str) -> list[Answer]:
        self.send(encode_query(text))
        return self.until(b"Z")

    def pipeline(self, *messages: bytes) -> list[Answer]:
        self.send(b"".join((*messages, SYNC)))
        return self.until(b"Z")


def rows(answers: list[Answer]) -> list[bytes]:
    return [body[6:] for kind, body in answers if kind == b"D"]


def describe(name: str) -> bytes:
    return message(b"D", b"P" + name.encode() + b"\0")


def seen(answers: list[Answer]) -> bytes:
    return b"".join(body for _, body in answers).lower()


def test_a_cursor_declared_where_a_portal_was_closed_is_masked_as_itself(masked: Shim) -> None:
    with Client(masked) as client:
        client.query("BEGIN")
        client.pipeline(parse("plain", PLAIN), bind("p", "plain"))
        client.query("CLOSE p")
        client.query(f"DECLARE p CURSOR FOR {MASKED}")
        fetched = client.query("FETCH 1 FROM p")
        executed = client.pipeline(execute("p"))
        assert rows(fetched) == [b"[redacted]"]
        assert rows(executed) == [b"[redacted]"]


def test_a_portal_whose_name_was_taken_hides_not_the_one_that_has_it(masked: Shim) -> None:
    for first in (bind("p", "masked"), b""):
        with Client(masked) as client:
            client.query("BEGIN")
            client.pipeline(parse("masked", MASKED), parse("plain", PLAIN), first)
            if not first:
                client.query(f"DECLARE p CURSOR FOR {MASKED}")
            client.query("SAVEPOINT s")
            assert b"42P03" in dict(client.pipeline(bind("p", "plain")))[b"E"]
            client.query("ROLLBACK TO s")
            assert rows(client.query("FETCH 1 FROM p")) == [b"[redacted]"]
            assert b"marker" not in seen(client.pipeline(execute("p")))


def test_a_fetch_is_of_the_cursor_that_its_own_text_declares_before_it(masked: Shim) -> None:
    with Client(masked) as client:
        client.query("BEGIN")
        client.query(f"DECLARE p CURSOR FOR {PLAIN}")
        assert rows(client.query("FETCH 1 FROM p")) == [b"SEEN"]
        assert rows(client.query(f"CLOSE p; DECLARE p CURSOR FOR {MASKED}; FETCH 1 FROM p")) == [b"[redacted]"]


def test_a_portal_that_a_rollback_took_is_not_what_code_opened_in_its_place(masked: Shim) -> None:
    opens = f"DO $$ DECLARE p refcursor := 'p'; BEGIN OPEN p FOR {MASKED}; END $$"
    with Client(masked) as client:
        client.query("BEGIN")
        client.query("SAVEPOINT s")
        client.pipeline(parse("plain", PLAIN), bind("p", "plain"))
        client.query("ROLLBACK TO s")
        client.query(opens)
        assert rows(client.query("FETCH 1 FROM p")) == [b"[redacted]"]
        assert rows(client.pipeline(execute("p"))) == [b"[redacted]"]


def test_a_name_declared_twice_with_one_text_is_what_the_path_makes_of_it(masked: Shim) -> None:
    text = "DECLARE p CURSOR FOR SELECT thing || '' AS x FROM things"
    with Client(masked) as client:
        client.query("SET search_path = named")
        client.query("BEGIN")
        client.query(text)
        assert rows(client.query("FETCH 1 FROM p")) == [b"seen"]
        client.query("CLOSE p; SET LOCAL search_path = named_too")
        client.query(text)
        assert rows(client.query("FETCH 1 FROM p")) == [b"[redacted]"]


def test_an_execute_bound_before_the_path_changed_is_bound_again(masked: Shim) -> None:
    with Client(masked) as client:
        client.query("SET search_path = named")
        client.query("BEGIN")
        client.query("PREPARE q AS SELECT thing || '' AS x FROM things")
        client.pipeline(parse("run", "EXECUTE q"), bind("", "run"))
        client.pipeline(parse("path", "SET search_path = named_too"), bind("other", "path"), execute("other"))
        answers = client.pipeline(execute(""))
        assert b"bind it again" in seen(answers)
        assert not rows(answers)


def test_what_is_described_under_a_name_that_may_be_another_says_nothing_of_the_statement(masked: Shim) -> None:
    with Client(masked) as client:
        client.query("BEGIN")
        client.pipeline(parse("text", "SELECT phone AS x FROM named.people"), bind("p", "text"))
        client.query("CLOSE p")
        client.query("DECLARE p CURSOR FOR SELECT oid AS x FROM pg_class")
        client.pipeline(describe("p"))
        assert rows(client.pipeline(bind("", "text"), execute(""))) == [b"[redacted]"] * 2


def test_portals_are_read_in_pieces_and_their_names_used_again(masked: Shim) -> None:
    with Client(masked) as client:
        client.query("BEGIN")
        for text, expected in ((PLAIN, b"SEEN"), (MASKED, b"[redacted]"), (PLAIN, b"SEEN")):
            client.pipeline(parse("s", text), bind("p", "s"))
            assert rows(client.pipeline(message(b"E", b"p\0\0\0\0\1"))) == [expected]
            assert rows(client.pipeline(message(b"E", b"p\0\0\0\0\1"))) == [expected]
            client.pipeline(close("S", "s"), close("P", "p"))
        client.query("COMMIT")
    kinds = [detail for detail, verdict, _ in masked.commands() if "FETCH" in detail or "portal" in detail]
    assert not kinds, "each was what its Bind said"


def test_columns_that_were_described_before_the_path_changed_prove_nothing(masked: Shim) -> None:
    """The text alone does not say which columns there are; that they were another table's is no proof any more."""
    text = "SELECT t.thing, r.* FROM things t, named.people p, jsonb_populate_record(p, '{}') r WHERE p.id = 1"
    with Client(masked) as client:
        client.query("SET search_path = named")
        client.pipeline(parse("s", text), message(b"D", b"Ss\0"))
        assert all(row.startswith(b"seen") for row in rows(client.pipeline(bind("", "s"), execute(""))))
        client.query("SET search_path = named_too")
        answers = client.pipeline(bind("", "s"), execute(""))
        assert len(rows(answers)) == 2
        assert b"zzmarkerzz" not in b"".join(body for kind, body in answers if kind == b"D")


def test_a_portal_bound_after_code_that_may_do_anything_is_executed_as_itself(masked: Shim) -> None:
    with Client(masked) as client:
        client.query("BEGIN")
        client.query("DO $$ BEGIN PERFORM 1; END $$")
        add = parse("add", "INSERT INTO named.things VALUES ('new') RETURNING 1")
        assert (b"C", b"INSERT 0 1\0") in client.pipeline(add, bind("p", "add"), execute("p"))
        client.pipeline(parse("plain", PLAIN), bind("q", "plain"))
        client.query("DO $$ BEGIN PERFORM 1; END $$")
        assert b"bind it again" in seen(client.pipeline(execute("q")))
        client.query("ROLLBACK")
        client.query("BEGIN")
        assert rows(client.pipeline(bind("q", "plain"), execute("q"))) == [b"SEEN"] * 2
