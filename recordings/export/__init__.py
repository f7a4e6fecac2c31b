"""Exports of a run, a session or a command: one pure writer a format, all from the same material."""
