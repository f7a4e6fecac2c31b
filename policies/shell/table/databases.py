"""Clients of databases: a database of its own should be a resource of its own."""

from onrecord.policies.shell.options import Program

ROWS = (
    Program("psql mysql mariadb mysqldump pg_dump pg_dumpall pg_restore createdb dropdb createuser dropuser redis-cli "
            "valkey-cli mongo mongosh mongodump mongorestore sqlplus cqlsh influx clickhouse-client clickhouse duckdb "
            "sqlcmd bcp etcdctl rabbitmqctl kafka-topics.sh memcached ldapsearch ldapmodify ldapadd ldapdelete "
            "mysqladmin pg_ctl pg_basebackup initdb vacuumdb reindexdb", special="opaque", action="unknown",
            why="acts on a database and may run commands"),
)  # fmt: skip
