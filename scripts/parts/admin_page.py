"""A browser without a screen at the admin page, logged in by tokens of the dev issuer: for demo and benchmarks."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Self

import httpx

from onrecord.scripts.parts.postgres import PartError

PATIENCE = 60.0


class AdminPage:
    """`origin` is gateway.admin_url; `mint` gives a human's fresh token. Raises PartError where the page says no."""

    def __init__(self, origin: str, mint: Callable[[], str]) -> None:
        self.origin, self._mint = origin, mint
        self.client = httpx.Client(base_url=origin, trust_env=False, timeout=PATIENCE)

    def __enter__(self) -> Self:
        try:
            self.log_in()
        except BaseException:
            self.client.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def log_in(self) -> None:
        """Log in anew, as a decision needs it."""
        fields = _fields(self.client.get("/login").text, "form_token") | {"token": self._mint(), "next": "/approvals"}
        self._send("/login/token", fields)

    def waiting(self) -> list[str]:
        """The ids in the queue."""
        html = self.client.get("/approvals").text
        queue = html.partition('id="waiting"')[2].partition("</ul>")[0]
        return list(dict.fromkeys(re.findall(r"/approvals/([0-9a-f-]{36})", queue)))

    def review(self, id: str) -> Callable[[str], None]:
        """Open an approval and read it to its end; what is returned approves it, with a reason."""
        html = self._get(f"/approvals/{id}")
        while (more := re.search(r'id="unread".*?href="([^"#]+)', html, re.DOTALL)) is not None:
            html = self._get(more[1])
        fields = _fields(html, "form_token|seen")

        def approve(reason: str) -> None:
            self._send(f"/approvals/{id}/decide", fields | {"decision": "approve", "reason": reason})

        return approve

    def _get(self, path: str) -> str:
        answer = self.client.get(path)
        if answer.status_code != httpx.codes.OK:
            raise PartError(f"the page answered {answer.status_code} to {path}")
        return answer.text

    def _send(self, path: str, fields: dict[str, str]) -> None:
        answer = self.client.post(path, data=fields, headers={"Origin": self.origin})
        if answer.status_code != httpx.codes.SEE_OTHER:
            raise PartError(f"the page answered {answer.status_code} to {path}")


def _fields(html: str, names: str) -> dict[str, str]:
    return dict(re.findall(rf'name="({names})" value="([0-9a-f]+)"', html))
