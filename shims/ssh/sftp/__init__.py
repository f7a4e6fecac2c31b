"""SFTP, decided and recorded operation by operation.

`wire`, `requests`, `paths` and `transfer` are pure; `core`, `relay`, `places` and `files` do no I/O of their own;
`serve` joins them to SSH channels.
"""

from __future__ import annotations

from onrecord.shims.ssh.sftp.serve import serve_sftp

__all__ = ["serve_sftp"]
