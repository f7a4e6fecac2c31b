"""The wait of one command: from the ruling "hold" to a decision. What the auditor does when a human has to agree."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic, time

import msgspec
from msgspec.structs import replace

from onrecord.policies.approvals import Preview, Request
from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Command
from onrecord.policies.verdict import Deny, Hold, Ruling
from onrecord.recordings.approvals.bound import HIDDEN, Bound, loose
from onrecord.recordings.approvals.holds import GRANTED, Holds, Ticket
from onrecord.recordings.decision import WITHDRAWN, Approved, OpenSession, Waiting
from onrecord.recordings.frames import id_text, new_id

_log = logging.getLogger("onrecord.approvals")

POLICY = "onrecord:approval"
AGAIN = 60.0  # seconds between two words to a client that waits
RETRY_AFTER = 30
PREVIEW_TIME = 15.0
PREVIEW_TEXT = 64 * 1024
QUERY_CANCELED = "57014"

Check = Callable[[], Ruling | None]

_previews: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly


def objection(ruling: Ruling, bound: Bound) -> str:
    """Why this command cannot even be asked for; empty where it can."""
    verdict = ruling.verdict
    if not isinstance(verdict, Hold):
        return "it is not held"
    if verdict.max_rows is not None and not bound.limits_rows:
        return "its policy limits the rows (max_rows), and that cannot be enforced for this command"
    if not verdict.wait and not bound.exact:
        return "its policy does not hold the connection, and a repeat of it could not be told from another command"
    return ""


def request_of(
    command: Command,
    ruling: Ruling,
    bound: Bound,
    policies: str,
    payload: bytes,
    *,
    hidden: bool = False,
    clean: Callable[[str], str] = str,
) -> Request:
    """What is asked for. `payload` is the command's record (JSON) as it may be shown; `hidden`: not all of it is.

    `clean` masks a text beside it: a policy's reason may quote the command.
    """
    verdict, session = ruling.verdict, command.session
    if not isinstance(verdict, Hold):
        raise TypeError("only a Hold is asked for")
    return Request(
        id=id_text(new_id()),
        identity=session.identity,
        run=session.run.id,
        session=session.id,
        resource=session.resource.name,
        protocol=session.protocol,
        client=session.client,
        login=session.login,
        command=msgspec.Raw(payload),
        policy=ruling.policy,
        reason=clean(verdict.reason),
        policies=policies,
        digest=command.digest,
        approvers=verdict.groups,
        minimum=verdict.people,
        timeout=verdict.timeout,
        reuse=verdict.reuse,
        max_rows=verdict.max_rows,
        wait=verdict.wait,
        rests_on=bound.rests_on,
        unbound=(*bound.unbound, *loose(command), *((HIDDEN,) if hidden else ())),
        repeatable=bound.exact,
        keep=bound.exact and (bound.keep or not verdict.wait),
    )


class Left(asyncio.CancelledError):
    """The wait was cancelled: why, and which approval it was about."""

    def __init__(self, why: str, approval: str) -> None:
        super().__init__(why)
        self.approval = approval


class Settled:
    """How the wait ended: `denied` is the ruling to refuse with; without it the command may run, once."""

    __slots__ = ("approval", "code", "denied")

    def __init__(self, approval: Approved, denied: Ruling | None, code: str = "") -> None:
        self.approval, self.denied, self.code = approval, denied, code


async def hold(
    holds: Holds,
    opened: OpenSession,
    command: Command,
    ruling: Ruling,
    request: Request,
    bound: Bound,
    check: Check,
    clean: Callable[[str], str],
) -> Settled:
    """Ask, wait, and take the grant. Cancelling it withdraws the request (or leaves it to a repeat: `bound.keep`).

    `ruling` holds a Hold. `check` says why nothing may start now, in this process, at the last moment before the grant
    is taken. `clean` takes out of a preview what may not go on record.
    """
    verdict = ruling.verdict
    if not isinstance(verdict, Hold):
        raise TypeError("only a Hold is held")
    ticket = holds.open(request)
    opened.waits.add(ticket)
    previewing: asyncio.Task[None] | None = None
    if opened.preview is not None:
        preview = _preview(holds, ticket, opened.preview(command), clean)
        previewing = asyncio.get_running_loop().create_task(preview, name="preview")
        _previews.add(previewing)
        previewing.add_done_callback(_previews.discard)
    try:
        settled = await _outcome(holds, opened, ticket, command, ruling, verdict, bound, check)
    except BaseException as error:
        why = str(error.args[0]) if isinstance(error, asyncio.CancelledError) and error.args else "the client left"
        holds.cancel(ticket, why, keep=request.keep)
        if isinstance(error, asyncio.CancelledError):
            raise Left(why, ticket.approval or request.id) from error
        raise
    finally:
        opened.waits.discard(ticket)
        if bound.together is not None:
            bound.together.arrive(allowed=False)  # where it did already, this changes nothing
        if previewing is not None and not (ticket.waits and not verdict.wait):
            previewing.cancel()
    holds.close(ticket)
    return settled


async def _outcome(
    holds: Holds,
    opened: OpenSession,
    ticket: Ticket,
    command: Command,
    ruling: Ruling,
    verdict: Hold,
    bound: Bound,
    check: Check,
) -> Settled:
    policy = ruling.policy
    await _wait(opened, ticket, verdict)
    if ticket.state == WITHDRAWN:
        holds.cancel(ticket, ticket.reason, keep=False)
        return _refused(policy, ticket, f"{ticket.reason} while it waited for approval", code=QUERY_CANCELED)
    if ticket.waits and ticket.deadline > monotonic():  # the policy says not to hold the connection
        who = f" by {verdict.who}" if verdict.who else ""
        reason = f"approval required{who}: {verdict.reason}"
        hint = "once it is granted, ask again with exactly the same command"
        return _refused(policy, ticket, reason, hint, retry_after=RETRY_AFTER)
    if ticket.state != GRANTED:
        return _refused(policy, ticket, _why(ticket, verdict))
    if bound.together is not None:
        bound.together.arrive(allowed=True)
        if not await bound.together.all_allowed():
            holds.cancel(ticket, "another statement of the same message was refused", keep=False)
            return _refused(policy, ticket, "another statement of the same message was refused")
    return await _take(holds, opened, ticket, command, policy, bound, check)


async def _wait(opened: OpenSession, ticket: Ticket, verdict: Hold) -> None:
    """Until it is decided, expired, withdrawn; or, where the client is not to wait, until the recorder knows of it."""
    began = monotonic()
    told = 0
    while ticket.waits:
        if ticket.approval and not verdict.wait:
            return
        remaining = ticket.deadline - monotonic()
        if remaining <= 0:
            ticket.set("expired", "nobody decided in time")
            return
        if ticket.approval and monotonic() - began >= told * AGAIN:
            waited = 0.0 if not told else monotonic() - began
            told = int((monotonic() - began) // AGAIN) + 1
            if opened.on_wait is not None:
                expires = time() + remaining
                try:
                    opened.on_wait(Waiting(ticket.approval, verdict.who, verdict.reason, expires, waited))
                except Exception:  # noqa: BLE001  # a client that cannot be told waits nevertheless
                    _log.exception("a client could not be told that it waits")
        limit = remaining if not ticket.approval else min(remaining, began + told * AGAIN - monotonic())
        await ticket.changed(limit)


async def _take(
    holds: Holds, opened: OpenSession, ticket: Ticket, command: Command, policy: str, bound: Bound, check: Check
) -> Settled:
    """It is granted: everything is looked at once more, and the grant taken."""
    by = ticket.by
    if bound.recheck is not None:
        now = await bound.recheck()
        if now is None or now.digest != command.digest:
            holds.cancel(ticket, "what the command means has changed meanwhile", keep=False)
            return _refused(
                policy, ticket, "what the command means has changed while it waited", "look at it and ask again"
            )
    blocked = check()
    if blocked is None:
        taken = await holds.consume(ticket, command.digest, ticket.request.policies)
        if not taken.ok:
            return _refused(policy, ticket, f"its approval {ticket.approval} could not be used: {taken.reason}")
        by = taken.by or by
        blocked = check()
        if ticket.state == WITHDRAWN:
            blocked = Ruling(Deny(f"{ticket.reason} while its approval was used"), policy)
    if blocked is None and opened.ended:
        blocked = Ruling(Deny("the session has ended"), POLICY)
    if blocked is not None:
        holds.cancel(ticket, "it was granted, and could not run any more", keep=ticket.request.keep)
        return Settled(Approved(ticket.approval, GRANTED, by), blocked)
    return Settled(Approved(ticket.approval, "used", by, ticket.reason), None)


def _why(ticket: Ticket, verdict: Hold) -> str:
    """Why it was not granted, with the approval's id, who and why."""
    if not ticket.approval:
        return ticket.reason or "the gateway's recorder does not answer: nobody could be asked"
    by = f" by {ticket.by}" if ticket.by else ""
    why = f": {ticket.reason}" if ticket.reason else ""
    asked = f" (asked because: {verdict.reason})" if verdict.reason else ""
    return f"approval {ticket.approval} was {_WORDS.get(ticket.state, ticket.state)}{by}{why}{asked}"


_WORDS = {"expired": "not decided in time"}


def _refused(
    policy: str, ticket: Ticket, reason: str, hint: str = "", *, code: str = "", retry_after: int = 0
) -> Settled:
    approved = Approved(ticket.approval, ticket.state, ticket.by, ticket.reason, retry_after)
    if ticket.approval and ticket.approval not in reason:
        reason = f"{reason} [approval {ticket.approval}]"
    return Settled(approved, Ruling(Deny(reason, hint), policy), code)


async def _preview(holds: Holds, ticket: Ticket, looking: Awaitable[Preview], clean: Callable[[str], str]) -> None:
    """Find out what would happen, beside the wait; a failure is told, not hidden."""
    try:
        async with asyncio.timeout(PREVIEW_TIME):
            preview = await looking
    except TimeoutError:
        preview = Preview(kind="none", reason=f"it took longer than {PREVIEW_TIME:g} s")
    except (OnrecordError, OSError) as error:
        preview = Preview(kind="none", reason=str(error)[:1000])
    except Exception as error:  # noqa: BLE001  # a preview that breaks is no reason to refuse
        _log.exception("a preview failed")
        preview = Preview(kind="none", reason=f"internal error: {type(error).__name__}")
    preview = replace(preview, text=clean(preview.text), reason=clean(preview.reason))
    if len(preview.text) > PREVIEW_TEXT:
        cut = f"{preview.text[:PREVIEW_TEXT]}\n… ({len(preview.text)} characters in all)"
        preview = replace(preview, text=cut)
    await ticket.known.wait()
    holds.previewed(ticket, preview)
