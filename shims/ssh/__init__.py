"""The SSH shim: asyncssh on both sides, and between them the auditor."""
