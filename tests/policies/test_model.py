"""What policies read: frozen, comparable, and bound by a digest."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from onrecord.policies.model import (
    HttpCommand,
    Identity,
    KubeCommand,
    NameSet,
    Resource,
    Run,
    Session,
    SqlCommand,
    body_text,
)


def session(**identity: Any) -> Session:
    return Session(
        id="0",
        run=Run("run-1"),
        identity=Identity(issuer="https://idp", subject="devin", **identity),
        resource=Resource(name="orders", type="postgres"),
        protocol="postgres",
        client="127.0.0.1:1",
        started_at=0,
    )


def sql(text: str = "SELECT 1", **fields: Any) -> SqlCommand:
    return SqlCommand(session=session(), action="read", text=text, kind="SELECT", **fields)


def test_a_bare_name_answers_for_any_schema_and_a_qualified_one_only_for_its_own():
    names = NameSet({"public.orders", "audit.log"})
    assert "orders" in names
    assert "public.orders" in names
    assert "sales.orders" not in names
    assert "rders" not in names
    assert not names.__contains__(7)


def test_commands_cannot_be_changed_by_a_policy():
    with pytest.raises(AttributeError):
        sql().text = "SELECT 2"  # type: ignore[misc]


@pytest.mark.parametrize(
    "other",
    [
        sql("SELECT 2"),
        sql(parameters=("1",)),
        sql(role="admin"),
        SqlCommand(session=session(on_behalf_of="eve"), action="read", text="SELECT 1", kind="SELECT"),
        msgspec.structs.replace(
            sql(), session=msgspec.structs.replace(session(), resource=Resource(name="b", type="postgres"))
        ),
        msgspec.structs.replace(sql(), session=msgspec.structs.replace(session(), run=Run("run-2"))),
    ],
)
def test_the_digest_binds_identity_run_resource_and_the_exact_command(other):
    assert sql().digest != other.digest
    assert sql().digest == sql().digest


def test_detail_has_this_kinds_fields_and_nothing_of_the_head():
    detail = sql(tables_read=NameSet({"public.b", "public.a"})).detail()
    assert detail["tables_read"] == ["public.a", "public.b"]
    assert not {"session", "text", "action", "cause"} & set(detail)
    msgspec.json.encode(detail)


def test_a_body_that_is_no_text_is_kept_as_base64():
    assert body_text(b"\xff\x00") == {"base64": base64.b64encode(b"\xff\x00").decode()}
    command = HttpCommand(
        session=session(), action="write", text="POST /", method="POST", scheme="https", host="a", port=443, path="/",
        body=b"hello",
    )  # fmt: skip
    assert command.detail()["body"] == "hello"


def test_kubernetes_keeps_its_own_word_resource():
    command = KubeCommand(
        session=session(), action="read", text="get pods", verb="get", group="", version="v1", resource="pods"
    )
    assert command.resource == "pods"
    assert command.session.resource.name == "orders"


def test_text_that_is_no_unicode_has_a_digest_of_its_own() -> None:
    one, other = (sql(text=f"SELECT '{char}'") for char in ("\udcff", "\udcfe"))
    assert one.digest != other.digest
