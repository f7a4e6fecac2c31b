"""Everything else, by way of apprise (the extra `notify`): mail, Teams, Matrix, ntfy, PagerDuty and a hundred more."""

from __future__ import annotations

import asyncio
import importlib.util
import logging

from onrecord.policies.errors import ConfigError, Problem
from onrecord.recordings.admin.notify.delivery import UndeliveredError
from onrecord.recordings.admin.notify.notice import Notice

TIMEOUT = 30.0


class Others:
    """Sends to one address of apprise's. Raises ConfigError where it is not installed or does not know the address."""

    def __init__(self, url: str, where: str) -> None:
        if importlib.util.find_spec("apprise") is None:
            raise ConfigError([Problem(where, "apprise is not installed", "pip install 'onrecord[notify]'")])
        import apprise

        logging.getLogger("apprise").disabled = True  # it logs addresses, which are secrets
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise ConfigError([Problem(where, "apprise does not know such an address; it is not shown")])

    async def send(self, notice: Notice, delivery: str) -> None:  # noqa: ARG002  # apprise has no place for it
        """One attempt. Raises UndeliveredError."""
        body = "\n".join([*notice.lines(), notice.url])
        sent = asyncio.to_thread(
            self._apprise.notify, body=body, title=notice.title(), body_format="text", interpret_escapes=False
        )
        try:
            done = await asyncio.wait_for(sent, TIMEOUT)
        except TimeoutError:
            raise UndeliveredError(f"no answer within {TIMEOUT:g} s") from None
        except Exception as error:  # noqa: BLE001  # a plugin's, of any kind; its text may hold the address
            raise UndeliveredError(f"apprise failed ({type(error).__name__})") from None
        if not done:
            raise UndeliveredError("apprise could not deliver it")
