"""Which paths of a host plant code or access when they are written."""

from __future__ import annotations

import re

_PLANTS = re.compile(
    r"/\.ssh(/|$)"
    r"|/authorized_keys[^/]*$"
    r"|^/etc(/|$)|^/boot(/|$)|^/root/\.[^/]+$"
    r"|/cron[^/]*(/|$)|/systemd(/|$)|/\.config/(autostart|environment\.d|systemd)(/|$)|/init\.d(/|$)"
    r"|^(/usr|/usr/local|)/s?bin(/|$)|/\.local/bin(/|$)|^(/usr|/usr/local|)/lib[^/]*(/|$)|/lib/python[^/]*(/|$)"
    r"|/\.git/(hooks|config)(/|$)|/hooks/(pre|post|update|commit|prepare|applypatch|push|reference)[^/]*$"
    r"|/\.(bash|zsh|k?sh|csh|tcsh)?(rc|profile|_profile|_login|_logout|login|logout|env|aliases)$"
    r"|/\.(z(shenv|profile|shrc|login|logout)|vimrc|exrc|emacs|gitconfig|inputrc|pam_environment|forward|rhosts|shosts)$"
    r"|^/dev(/|$)|^/proc(/|$)|^/sys(/|$)"
)


def plants(path: str) -> bool:
    """Whether writing at `path` (absolute, resolved) makes something run later, or lets someone in."""
    return _PLANTS.search(path) is not None
