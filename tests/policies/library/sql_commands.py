"""Commands as the gateway makes them, for the tests of policies."""

from __future__ import annotations

from onrecord.policies import HttpCommand, Identity, Resource, Run, Session, SqlCommand
from onrecord.policies.sql import analyse


def session(type: str = "postgres") -> Session:
    return Session(
        id="s1",
        run=Run("r1"),
        identity=Identity(issuer="https://idp.example.com", subject="devin", groups=("agents",)),
        resource=Resource(name="orders", type=type),  # type: ignore[arg-type]
        protocol=type,
        client="127.0.0.1:5",
        started_at=0,
    )


def sql(text: str) -> SqlCommand:
    """The command for the first statement of `text`."""
    found = analyse(text).statements[0]
    return SqlCommand(
        session=session(),
        action=found.action,
        text=found.text,
        kind=found.kind,
        tables_read=found.tables_read,
        tables_written=found.tables_written,
        columns_read=found.columns_read,
        functions=found.functions,
        has_where=found.has_where,
    )


def http(host: str, method: str = "GET") -> HttpCommand:
    return HttpCommand(
        session=session("http"),
        action="read" if method == "GET" else "write",
        text=f"{method} https://{host}/",
        method=method,
        scheme="https",
        host=host,
        port=443,
        path="/",
    )
