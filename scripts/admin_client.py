"""How the command line talks to the admin process: HTTP, with a human's token. A decision goes no other way."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from onrecord import __version__
from onrecord.policies.config import Config
from onrecord.policies.errors import ConfigError, OnrecordError, Problem

TIMEOUT = 15.0


class AdminError(OnrecordError):
    """The admin process did not do it. `status` is HTTP's; 0 where it cannot be reached."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class AdminClient:
    """`url` is the admin process's origin; `ca` a file with the certificate authority of its certificate."""

    def __init__(self, url: str, token: str, *, ca: Path | None = None) -> None:
        self._url = url.rstrip("/")
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca)) if ca is not None else True
        headers = {"authorization": f"Bearer {token}", "user-agent": f"onrecord/{__version__}"}
        self._client = httpx.Client(
            base_url=self._url, headers=headers, verify=verify, timeout=TIMEOUT, trust_env=False, follow_redirects=False
        )

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def approvals(self, *, pending: bool = False) -> list[dict[str, Any]]:
        """What is known of approvals, oldest first. Raises AdminError."""
        found = self._ask("GET", "/api/approvals" + ("?state=pending" if pending else ""))
        return list(found["approvals"])

    def approval(self, id: str) -> dict[str, Any]:
        """One approval, by a unique beginning or end of its id. Raises AdminError."""
        return self._ask("GET", f"/api/approvals/{quote(id, safe='')}")

    def decide(self, id: str, decision: str, reason: str) -> dict[str, Any]:
        """`decision` is "approve", "deny" or "revoke". Raises AdminError."""
        return self._ask("POST", f"/api/approvals/{quote(id, safe='')}/{decision}", {"reason": reason})

    def kills(self) -> list[dict[str, Any]]:
        """The kill switches that are set. Raises AdminError."""
        return list(self._ask("GET", "/api/kills")["kills"])

    def kill(self, target: str, value: str, reason: str) -> dict[str, Any]:
        """Stop a run, a session or an identity. Raises AdminError."""
        return self._ask("POST", "/api/kills", {"target": target, "value": value, "reason": reason})

    def lift(self, id: str) -> dict[str, Any]:
        """Lift a kill switch. Raises AdminError."""
        return self._ask("DELETE", f"/api/kills/{quote(id, safe='')}")

    def _ask(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, json=content)
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            text = f"{self._url}: the admin process gives no answer: {error} (is `onrecord up` running?)"
            raise AdminError(0, text) from None
        if not isinstance(found, dict) or answer.status_code >= 400:
            said = found.get("error") if isinstance(found, dict) else None
            raise AdminError(answer.status_code, str(said or f"{self._url}: status {answer.status_code}"))
        return found


def admin_client(config: Config, token: str) -> AdminClient:
    """A client of the admin process of a configuration. Raises ConfigError where there is none."""
    if config.gateway.admin is None:
        fix = 'set admin = "127.0.0.1:8088" under [gateway]'
        raise ConfigError([Problem(f"{config.path.name}: gateway.admin", "there is no admin listener", fix)])
    ca = config.gateway.tls.cert if config.gateway.tls is not None else None
    return AdminClient(config.gateway.admin_url, token, ca=ca)
