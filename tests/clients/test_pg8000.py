"""pg8000 through the gateway."""

from __future__ import annotations

import io
import ssl
from typing import Any

import pg8000.dbapi

from tests.clients.lab import STRICT, Lab


def test_parameters_transactions_copy_and_notifications(each_lab: Lab):
    driver: Any = pg8000.dbapi
    context = ssl.create_default_context(cafile=str(each_lab.ca)) if each_lab.tls else None
    connection = driver.connect(
        "devin", host=each_lab.host, port=each_lab.port, database=STRICT, password=each_lab.token, ssl_context=context
    )
    try:
        cursor = connection.cursor()
        for sql in ("DROP TABLE IF EXISTS cl_pg8000", "CREATE TABLE cl_pg8000 (id int, name text)"):
            cursor.execute(sql)
            connection.commit()  # what a session made is unknown until it is committed
        cursor.executemany("INSERT INTO cl_pg8000 VALUES (%s, %s)", [(1, "a"), (2, None)])
        connection.commit()
        cursor.execute("COPY cl_pg8000 FROM STDIN", stream=io.BytesIO(b"3\tc\n"))
        out = io.BytesIO()
        cursor.execute("COPY cl_pg8000 TO STDOUT", stream=out)
        assert out.getvalue() == b"1\ta\n2\t\\N\n3\tc\n"
        connection.rollback()
        cursor.execute("SELECT count(*) FROM cl_pg8000 WHERE id = ANY(%s)", ([1, 2, 3],))
        assert cursor.fetchone() == [2]
    finally:
        connection.close()
