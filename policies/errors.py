"""The error tree.

OnrecordError
├── ConfigError          mitm.toml, a policy file or a secret reference is wrong; holds every problem found
├── SecretError          a secret reference cannot be resolved (never carries the secret)
├── IdentityError        a token was not accepted; `str()` is generic, `.detail` is for the operator
├── PolicyError          a policy set does not load, or a hook broke its contract
├── RefusedError         the gateway says no to a session or a command; carries the verdict and the record id
├── StoreError           the journal or the store cannot write
├── ControlError         the control channel is lost or spoke nonsense
└── DecodeError          a peer sent what the protocol does not allow
    (each pure decoder derives its own: WireError, FrameError, ...)

A peer's fault is a DecodeError or IdentityError; ours is any other.
"""

from __future__ import annotations

from dataclasses import dataclass


class OnrecordError(Exception):
    """Base of all errors that onrecord raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where it is, what was read and why it is wrong, how to mend it."""

    path: str
    reason: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" + (f" ({self.fix})" if self.fix else "")


class ConfigError(OnrecordError):
    """All problems of a configuration at once, one line each."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class SecretError(OnrecordError):
    """A secret reference could not be resolved. The text names the reference, never the value."""


class IdentityError(OnrecordError):
    """A token was not accepted.

    `str(error)` is what the client may read; `error.detail` says why, for the operator's log and the record.
    """

    def __init__(self, detail: str, public: str = "the token was not accepted") -> None:
        super().__init__(public)
        self.detail = detail


class PolicyError(OnrecordError):
    """A policy file does not load or a hook returned something that is no verdict."""


class StoreError(OnrecordError):
    """The journal or the store cannot write; nothing may go upstream."""


class ControlError(OnrecordError):
    """The recorder's control channel is lost, silent or spoke nonsense."""


class DecodeError(OnrecordError):
    """A peer sent bytes that its protocol does not allow, or more than a limit allows."""
