"""FunctionCall through the gateway: libpq's large objects, and whatever else has an OID."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.config import MaskConfig
from onrecord.policies.model import Command, SqlCommand
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.shims.postgres.messages import encode_query
from tests.conftest import Shop
from tests.shims.postgres.conftest import Shim, resource_of, start_shim
from tests.shims.postgres.raw import RawClient
from tests.shims.postgres.test_exchange import SYNC, errors, parse, tags
from tests.shims.postgres.test_functioncall import call

READ = 0x40000


def i32(number: int) -> bytes:
    return struct.pack(">i", number)


def test_a_large_object_is_read_and_each_call_is_on_record(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(encode_query("BEGIN; SELECT lo_from_bytea(0, 'content')"))
        (oid,) = [int(body[6:]) for kind, body in client.until(b"Z") if kind == b"D"]
        client.send(call(952, struct.pack(">I", oid), i32(READ)))
        assert client.until(b"Z")[0] == (b"V", i32(4) + i32(0))
        client.send(call(954, i32(0), i32(100)))
        assert client.until(b"Z")[0] == (b"V", i32(7) + b"content")
        client.send(call(953, i32(0)) + encode_query("ROLLBACK"))
        client.until(b"Z")
        assert tags(client.until(b"Z")) == [b"ROLLBACK"]
    shim.wait_ended()
    calls = [(text, outcome) for text, _, outcome in shim.commands() if text.startswith("FunctionCall")]
    assert [text.split("(")[0] for text, _ in calls] == [f"FunctionCall {n}" for n in ("lo_open", "loread", "lo_close")]
    assert calls[1][1]["sample"] == {"columns": ["loread"], "rows": [["\\x" + b"content".hex()]]}
    assert {outcome["status"] for _, outcome in calls} == {"ok"}


def test_policies_see_the_function_and_its_arguments(shim: Shim) -> None:
    def rule(command: Command) -> Ruling:
        if isinstance(command, SqlCommand) and "loread" in command.functions:
            return Ruling(Deny(f"not {command.parameters}"), "mine")
        return Ruling(Allow(), "mine")

    shim.engine.rule = rule
    with RawClient(shim) as client:
        client.send(call(954, i32(0), i32(5)) + encode_query("SELECT 1"))
        answers = client.until(b"Z")
        assert b"42501" in errors(answers)
        assert b"not ('0', '5')" in errors(answers)
        assert tags(client.until(b"Z")) == [b"SELECT 1"]


def test_an_unknown_function_passes_only_where_what_is_unknown_may(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(call(1598))  # random()
        assert b"42501" in errors(client.until(b"Z"))
        shim.engine.rule = lambda _: Ruling(Allow(), "p")
        client.send(call(1598))
        assert [kind for kind, _ in client.until(b"Z")] == [b"V", b"Z"]
    shim.wait_ended()
    assert {text for text, _, _ in shim.commands()} == {"FunctionCall of function 1598()"}


def test_a_call_that_the_server_refuses_or_that_is_skipped_leaves_both_in_step(shim: Shim) -> None:
    shim.engine.rule = lambda _: Ruling(Allow(), "p")
    with RawClient(shim) as client:
        client.send(call(4294967295) + encode_query("SELECT 1"))
        assert errors(client.until(b"Z"))
        assert tags(client.until(b"Z")) == [b"SELECT 1"]
        client.send(parse("", "SELECT nonsense") + call(1598) + SYNC)
        assert [kind for kind, _ in client.until(b"Z")] == [b"E", b"Z"]
    shim.wait_ended()
    assert all(outcome for _, _, outcome in shim.commands())


@pytest.mark.parametrize("mask", [{"detect": ("email",)}, {"columns": ("public.customers.email",)}])
@pytest.mark.parametrize("form", [0, 1])
def test_what_masks_hide_does_not_come_by_loread_in_either_format(
    tmp_path: Path, shop: Shop, mask: dict[str, Any], form: int
) -> None:
    resource = resource_of(shop, masked_flows="allow", masked_predicates="allow")
    masks = (MaskConfig(**mask),)
    for shim in start_shim(tmp_path / "state", {"orders": resource}, {"SHOP_PASSWORD": shop.password}, masks=masks):
        shim.engine.rule = lambda _: Ruling(Allow(), "p")
        with RawClient(shim) as client:
            client.send(encode_query("BEGIN"))
            client.until(b"Z")
            client.send(encode_query("SELECT lo_from_bytea(765432, 'write to bob.marker@example.com today')"))
            client.until(b"Z")
            client.send(call(952, struct.pack(">I", 765432), i32(READ)))
            assert client.until(b"Z")[0] == (b"V", i32(4) + i32(0))
            request = call(954, i32(0), i32(100))
            client.send(request[:-2] + struct.pack(">h", form))
            seen = b"".join(body for _, body in client.rest_until_silent(2))
            assert b"42501" in seen
            for marker in (b"bob.marker", b"bob.marker".hex().encode()):
                assert marker not in seen
