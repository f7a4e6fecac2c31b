"""Which functions and operators only read, and what the others do.

An allow-list: immutable and stable built-ins (data/functions.txt) read; volatile built-ins are listed here by hand;
every other name is unknown, for a function's body is not in the text.
"""

from __future__ import annotations

from onrecord.policies.model import Action
from onrecord.policies.sql.wordlists import load_names, words

STABLE = load_names("functions")
# `uuid('…')` is a cast where no function has that name.
TYPES = load_names("types")
OPERATORS = load_names("operators")
# Columns of the rows that built-ins return: `(aclexplode(relacl)).grantee`.
FIELDS = load_names("fields")
# They return rows whose columns the text or a table gives, never a plain value.
ROWS = words(
    "json_to_record json_to_recordset jsonb_to_record jsonb_to_recordset json_populate_record json_populate_recordset "
    "jsonb_populate_record jsonb_populate_recordset"
)
# Functions of information_schema; drivers use them. Immutable or stable, as are those in data/functions.txt.
SCHEMA_HELPERS = words(
    "_pg_expandarray _pg_index_position _pg_truetypid _pg_truetypmod _pg_char_max_length _pg_char_octet_length "
    "_pg_numeric_precision _pg_numeric_precision_radix _pg_numeric_scale _pg_datetime_precision _pg_interval_type"
)

# Volatile, but a caller can change nothing with them. Unlocking gives up only what this session holds: connection pools
# do it with every connection that they take back.
_READS = """
lo_get pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared
array_sample array_shuffle clock_timestamp current_query currtid2 currval gen_random_uuid lastval timeofday uuidv4
uuidv7 random random_normal setseed txid_status pg_xact_status pg_sleep pg_sleep_for pg_sleep_until
pg_blocking_pids pg_safe_snapshot_blocking_pids pg_isolation_test_session_is_blocked pg_collation_actual_version
pg_database_collation_actual_version pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_last_committed_xact pg_last_wal_receive_lsn
pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_is_in_recovery pg_is_wal_replay_paused
pg_get_wal_replay_pause_state pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_available_wal_summaries
pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_tablespace_size pg_total_relation_size
pg_get_aios pg_get_backend_memory_contexts pg_get_loaded_modules pg_get_multixact_members pg_get_sequence_data
pg_get_shmem_allocations pg_get_shmem_allocations_numa pg_get_wait_events pg_jit_available pg_lock_status
pg_notification_queue_usage pg_partition_ancestors pg_partition_tree pg_prepared_xact pg_replication_origin_progress
pg_replication_origin_session_is_setup pg_replication_origin_session_progress pg_sequence_last_value
pg_show_replication_origin_status pg_stat_clear_snapshot pg_stat_force_next_flush pg_stat_get_backend_io
pg_stat_get_backend_wal pg_stat_get_io pg_stat_get_recovery_prefetch pg_stat_get_xact_blocks_fetched
pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time
pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted
pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated pg_stat_get_xact_tuples_inserted
pg_stat_get_xact_tuples_newpage_updated pg_stat_get_xact_tuples_returned pg_stat_get_xact_tuples_updated
pg_stat_have_stats pg_wal_summary_contents pg_xact_commit_timestamp pg_xact_commit_timestamp_origin
"""

_WRITES = """
nextval setval pg_notify brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list
lo_close lo_creat lo_create lo_from_bytea lo_lseek lo_lseek64 lo_open lo_put lo_tell lo_tell64 lo_truncate
lo_truncate64 lo_unlink loread lowrite pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock
pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock
pg_try_advisory_xact_lock_shared
"""

# Server files, other sessions, replication, statistics that others rely on, the server's own life.
_ADMIN = """
lo_import lo_export pg_read_file pg_read_binary_file pg_stat_file pg_ls_dir pg_ls_archive_statusdir pg_ls_logdir
pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir
pg_current_logfile pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings pg_file_write pg_file_read
pg_file_rename pg_file_unlink pg_file_sync pg_logdir_ls
pg_cancel_backend pg_terminate_backend pg_log_backend_memory_contexts pg_reload_conf pg_rotate_logfile pg_promote
pg_switch_wal pg_create_restore_point pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup
pg_wal_replay_pause pg_wal_replay_resume pg_log_standby_snapshot pg_export_snapshot pg_logical_emit_message
pg_copy_logical_replication_slot pg_copy_physical_replication_slot pg_create_logical_replication_slot
pg_create_physical_replication_slot pg_drop_replication_slot pg_replication_slot_advance pg_sync_replication_slots
pg_logical_slot_get_binary_changes pg_logical_slot_get_changes pg_logical_slot_peek_binary_changes
pg_logical_slot_peek_changes pg_replication_origin_advance pg_replication_origin_create pg_replication_origin_drop
pg_replication_origin_session_reset pg_replication_origin_session_setup pg_replication_origin_xact_reset
pg_replication_origin_xact_setup pg_import_system_collations pg_extension_config_dump pg_nextoid
pg_stop_making_pinned_objects pg_clear_attribute_stats pg_clear_relation_stats pg_restore_attribute_stats
pg_restore_relation_stats pg_stat_reset pg_stat_reset_backend_stats pg_stat_reset_replication_slot
pg_stat_reset_shared pg_stat_reset_single_function_counters pg_stat_reset_single_table_counters pg_stat_reset_slru
pg_stat_reset_subscription_stats
"""

# They run SQL that stands in a string, here or on another server.
_RUNS_TEXT = """
query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema table_to_xml
table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema
database_to_xml database_to_xmlschema database_to_xml_and_xmlschema ts_stat ts_rewrite dblink dblink_exec
dblink_connect dblink_connect_u dblink_send_query dblink_open dblink_fetch crosstab connectby
"""

LISTED: dict[str, tuple[Action, str]] = {
    **dict.fromkeys(_READS.split(), ("read", "")),
    **dict.fromkeys(_WRITES.split(), ("write", "changes state")),
    **dict.fromkeys(_ADMIN.split(), ("admin", "reaches beyond the data of this session")),
    **dict.fromkeys(_RUNS_TEXT.split(), ("unknown", "runs SQL given as text")),
}


# Extensions whose functions run SQL, open connections or read files, whatever their volatility says.
RUNNERS = words("dblink tablefunc xml2 file_fdw postgres_fdw adminpack pg_background pg_cron plsh")
# Volatile functions of extensions with which a caller can change nothing.
EXTENSION_READS = {
    "uuid-ossp": words("uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4"),
    "pgcrypto": words(
        "gen_random_bytes gen_random_uuid gen_salt pgp_sym_encrypt pgp_sym_encrypt_bytea pgp_pub_encrypt "
        "pgp_pub_encrypt_bytea"
    ),
    "pg_trgm": words("show_limit"),
}


def is_built_in(name: str) -> bool:
    """Whether PostgreSQL brings along a function or a type of this name."""
    return name in LISTED or name in STABLE or name in TYPES


def classify(name: str) -> tuple[Action, str]:
    """Action of the built-in `name` and why; ("unknown", …) for a name that PostgreSQL does not bring along."""
    listed = LISTED.get(name)
    if listed is not None:
        return listed
    if name in STABLE or name in TYPES:
        return "read", ""
    return "unknown", "is no known built-in: its body is not in the text"
