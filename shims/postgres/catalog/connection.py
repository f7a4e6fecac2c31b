"""The side connection: a login of its own that reads the catalog and nothing else. It blocks: one thread uses it."""

from __future__ import annotations

import contextlib
import ssl
import struct
import time
from typing import Any

import msgspec
import pg8000.exceptions
import pg8000.native

from onrecord.policies.config import PostgresResource
from onrecord.policies.errors import OnrecordError
from onrecord.policies.secrets import Secrets
from onrecord.policies.sql.catalog import Catalog
from onrecord.shims.postgres.catalog import queries
from onrecord.shims.postgres.catalog.decode import CatalogError, decode_catalog, decode_texts
from onrecord.shims.postgres.tls import upstream_context
from onrecord.shims.postgres.upstream import Login

TIMEOUT = 10.0  # seconds for one answer
_JSON = 114
_LOCKED = "55P03"
# No schema is searched but pg_catalog; nothing can be written; a view whose tables are locked is not waited for.
_SETTINGS = {
    "search_path": "",
    "client_encoding": "UTF8",
    "default_transaction_read_only": "on",
    "statement_timeout": "10000",
    "lock_timeout": "100",
    "idle_in_transaction_session_timeout": "30000",
}
_native: Any = pg8000.native  # untyped
_PATIENCE = 2.0  # seconds for asking for views one by one, where one of them is locked


class _Connection(_native.Connection):  # type: ignore[misc]
    """pg8000 with the shim's own login: no password in clear without TLS, the server's proof is required."""

    def __init__(self, login: Login, **options: Any) -> None:
        self._login = login
        super().__init__(login.user, password=login.password, **options)
        self.register_in_adapter(_JSON, str)  # decoded by msgspec, not here

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: object) -> None:  # noqa: N802, ARG002  # pg8000's
        login = self._login
        if not login.tls and isinstance(self._usock, ssl.SSLSocket):
            login.tls, login.certificate = True, self._usock.getpeercert(True)
        answer = login.receive(ord("R"), b"R" + struct.pack(">I", len(data) + 4) + bytes(data))
        if answer:
            self._sock.write(answer)
            self._sock.flush()


ERRORS = (pg8000.exceptions.Error, OSError, struct.error, OnrecordError, UnicodeError)


class SideConnection:
    """Reads snapshots of one resource's catalog; connects when it must. Not for two threads at once."""

    def __init__(self, resource: PostgresResource, secrets: Secrets) -> None:
        self._resource, self._secrets = resource, secrets
        self._open: Any = None
        self._ended = False

    def read(self) -> Catalog:
        """A snapshot. Raises CatalogError; a connection that has died since the last time is replaced once."""
        again = self._open is not None
        while True:
            try:
                if self._open is None:
                    self._open = self._connect()
                return _read(self._open)
            except ERRORS as error:
                self.close()
                if not again or self._ended or isinstance(error, CatalogError):
                    raise CatalogError(reason_of(error)) from None
                again = False

    def usable(self) -> list[str]:
        """Names of the first few relations that this login may use. Raises CatalogError."""
        try:
            self._open = self._open or self._connect()
            found: list[str] = msgspec.json.decode(_value(self._open, queries.USABLE), type=list[str])
        except ERRORS as error:
            self.close()
            raise CatalogError(reason_of(error)) from None
        return found

    def _connect(self) -> Any:
        return open_side(self._resource, self._secrets, _SETTINGS, own=True, name="onrecord catalog")

    def end(self) -> None:
        """Close for good, from any thread: a read under way fails."""
        self._ended = True
        self.close()

    def close(self) -> None:
        """Give the connection up."""
        connection, self._open = self._open, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection._usock.shutdown(2)  # noqa: SLF001  # close() alone waits for a buffer
            with contextlib.suppress(Exception):
                connection.close()


def open_side(resource: PostgresResource, secrets: Secrets, settings: dict[str, str], *, own: bool, name: str) -> Any:
    """A connection beside those of clients, as `catalog_user` (`own`) or as they are. Raises one of ERRORS."""
    user = resource.catalog_user if own else ""
    reference = resource.catalog_password if user else resource.password
    password = secrets.resolve(reference) if reference is not None else ""
    options: dict[str, Any] = {"host": resource.host, "port": resource.port}
    if resource.host.startswith("/"):
        options = {"host": None, "unix_sock": f"{resource.host}/.s.PGSQL.{resource.port}"}
    context = upstream_context(resource, secrets)
    return _Connection(
        Login(user or resource.user, password, tls=False),
        database=resource.database,
        ssl_context=context if context is not None else False,  # None would mean: TLS, but unchecked
        timeout=TIMEOUT,
        application_name=name,
        startup_params=settings,
        **options,
    )


def _read(connection: Any) -> Catalog:
    answers: dict[str, str] = {}
    connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for name, text in queries.FACTS.items():
        answers[name] = _value(connection, text)
    connection.run("COMMIT")
    (version,) = connection.run("SHOW server_version_num")[0]
    bodies = _texts(connection, queries.BODIES) if int(version) >= queries.BODIES_SINCE else None
    return decode_catalog(answers, _views(connection, answers["relations"]), bodies or {})


def _value(connection: Any, text: str, **parameters: object) -> str:
    ((value,),) = connection.run(text, **parameters)
    return str(value)


def _texts(connection: Any, text: str) -> dict[int, str] | None:
    """Texts by OID; None where a migration holds a lock on something that they refer to."""
    try:
        return decode_texts(_value(connection, text))
    except pg8000.exceptions.DatabaseError as error:
        if _sqlstate(error) != _LOCKED:
            raise
        return None


def _views(connection: Any, relations: str) -> dict[int, str]:
    """The definitions of all views; where one is locked, of those that are not: the others stay without."""
    found = _texts(connection, queries.VIEWS)
    if found is not None:
        return found
    found = {}
    end = time.monotonic() + _PATIENCE
    for oid, _, _, kind, _ in msgspec.json.decode(relations):
        if kind in "vm" and time.monotonic() < end:
            with contextlib.suppress(pg8000.exceptions.DatabaseError):
                found[oid] = _value(connection, queries.VIEW, oid=oid)
    return found


def _sqlstate(error: Exception) -> str:
    detail = error.args[0] if error.args else ""
    return str(detail.get("C", "")) if isinstance(detail, dict) else ""


def reason_of(error: Exception) -> str:
    """What went wrong, for the operator's log."""
    detail = error.args[0] if error.args else ""
    if isinstance(detail, dict):
        return f"{detail.get('C', '')} {detail.get('M', '')}".strip()
    cause = error.__cause__ or error.__context__
    return f"{detail or type(error).__name__}" + (f" ({cause})" if isinstance(cause, OSError) else "")
