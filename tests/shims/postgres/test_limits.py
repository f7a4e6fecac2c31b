"""What one session may hold open is bounded, and ordinary clients never meet the bounds."""

from __future__ import annotations

import pytest

from onrecord.shims.postgres import limits
from onrecord.shims.postgres.wire import message
from tests.shims.postgres.conftest import Shim
from tests.shims.postgres.test_exchange import SYNC, Attacker, bind, close, errors, execute, parse, tags


def large(portal: str, statement: str) -> bytes:
    value = b"x" * 100_000
    body = portal.encode() + b"\0" + statement.encode() + b"\0\0\0\0\1" + len(value).to_bytes(4, "big") + value
    return message(b"B", body + b"\0\0")


def test_a_session_holds_bounded_parameters_and_a_pipeline_of_large_ones_passes(
    shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_HELD", 250_000)
    with Attacker(shim) as client:
        client.pipeline(parse("s", "SELECT length($1)"))
        many = client.pipeline(*[large("", "s") + execute("") for _ in range(20)])
        assert tags(many) == [b"SELECT 1"] * 20
        client.query("BEGIN")
        client.send(b"".join(large(f"p{number}", "s") for number in range(4)) + SYNC)
        assert b"53200" in errors(client.rest())


def test_a_session_holds_bounded_prepared_texts(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_HELD", 50_000)
    text = "SELECT 1 /*" + "x" * 20_000 + "*/"
    with Attacker(shim) as client:
        assert not errors(client.pipeline(parse("a", text), parse("b", text)))
        client.send(parse("c", text) + SYNC)
        assert b"53200" in errors(client.rest())
    shim.wait_ended()
    assert "hold too many bytes" in shim.refusals()[-1]["reason"]


def test_texts_of_prepare_are_bounded_as_those_of_parse_are(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_HELD", 50_000)
    text = "SELECT '" + "x" * 20_000 + "'"
    with Attacker(shim) as client:
        assert not errors(client.query(f"PREPARE a AS {text}") + client.query(f"PREPARE b AS {text}"))
        client.send(message(b"Q", f"PREPARE c AS {text}".encode() + b"\0"))
        assert b"53200" in errors(client.rest())


def test_a_session_has_a_bounded_number_of_portals(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PORTALS", 5)
    with Attacker(shim) as client:
        client.pipeline(parse("s", "SELECT 1"))
        many = client.pipeline(*[bind(f"p{n}", "s") + execute(f"p{n}") + close("P", f"p{n}") for n in range(20)])
        assert tags(many) == [b"SELECT 1"] * 20, "what is closed in time is no portal more"
        client.query("BEGIN")
        assert not errors(client.pipeline(*[bind(f"p{n}", "s") for n in range(5)]))
        assert tags(client.pipeline(execute("p4"))) == [b"SELECT 1"]
        client.send(bind("p5", "s") + SYNC)
        assert b"53200" in errors(client.rest())
    shim.wait_ended()
    assert shim.refusals()[-1]["reason"] == "the session has 5 open portals"
    assert all(outcome for _, _, outcome in shim.commands())


def test_a_session_has_a_bounded_number_of_prepared_statements(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PREPARED", 5)
    with Attacker(shim) as client:
        for _ in range(3):
            many = client.pipeline(*[parse(f"s{n}", "SELECT 1") + close("S", f"s{n}") for n in range(20)])
            assert not errors(many), "what is closed in time is no statement more"
        client.pipeline(*[parse(f"s{n}", "SELECT 1") for n in range(4)])
        assert not errors(client.query("PREPARE s4 AS SELECT 1"))
        assert tags(client.pipeline(parse("", "SELECT 1"), bind("", ""), execute(""))) == [b"SELECT 1"]
        client.query("DEALLOCATE s0")
        assert not errors(client.query("PREPARE s5 AS SELECT 1"))
        client.send(message(b"Q", b"PREPARE s6 AS SELECT 1\0"))
        assert b"53200" in errors(client.rest())
    shim.wait_ended()
    assert shim.refusals()[-1]["reason"].startswith("the session has 5 prepared statements")
