import os
import shutil

import psycopg
import pytest

from onrecord.scripts.parts.postgres import PartError, PostgresPart, embedded_bindir


def test_the_shop_has_rows_and_its_login_has_no_superuser_rights(shop):
    with psycopg.connect(shop.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (200,)
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE orders")


def test_a_wrong_password_is_refused(shop):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(shop.server.dsn(shop.user, "wrong", shop.database))


def test_with_tls_plaintext_is_refused(tls_shop):
    server = tls_shop.server
    with psycopg.connect(tls_shop.dsn) as connection:
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert connection.execute(query).fetchone() == (True,)
    plain = f"host={server.host} port={server.port} user=svc_agent dbname=shop password=x sslmode=disable"
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(plain)


def test_halt_keeps_the_data_and_stop_removes_the_folder():
    with PostgresPart() as server:
        folder = server.folder
        server.sql("CREATE TABLE kept (n integer)")
        server.halt()
        server.restart()
        assert server.sql("SELECT count(*) FROM kept") == [[0]]
    assert not folder.exists()


def test_a_server_that_cannot_start_says_why():
    with pytest.raises(PartError, match="no_such_setting"):
        PostgresPart(settings={"no_such_setting": "1"}).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
def test_binaries_below_a_closed_folder_are_copied_for_the_other_user(tmp_path):
    closed = tmp_path / "site-packages"
    embedded = embedded_bindir().parents[1]
    shutil.copytree(embedded / "pginstall18", closed / embedded.name / "pginstall18", symlinks=True)
    shutil.copytree(embedded.parent / f"{embedded.name}.libs", closed / f"{embedded.name}.libs")
    tmp_path.chmod(0o700)
    with PostgresPart(bindir=closed / embedded.name / "pginstall18" / "bin") as server:
        assert server.sql("SELECT 1") == [[1]]
        assert server.bindir.is_relative_to(server.folder)
