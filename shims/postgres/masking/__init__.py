"""Masking of what a PostgreSQL session's client receives: pure, apart from I/O."""
