"""What Slack sends when its button is pressed: checked, and nothing else. A decision is made on the page."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from onrecord.recordings.admin.notify.slack import SlackRequests
from onrecord.recordings.admin.site import Site, client_of

PATH = "/notify/slack"


def slack_routes(site: Site, requests: SlackRequests) -> list[Route]:
    """The route of Slack's requests."""

    async def answer(request: Request) -> Response:
        body = await request.body()
        reason = requests.objection(
            request.headers.get("x-slack-request-timestamp", ""),
            request.headers.get("x-slack-signature", ""),
            body,
            now=site.clock(),
        )
        if reason:
            site.looks.refuse("a request that claims to be Slack's", client=client_of(request), detail=reason)
            return Response(status_code=HTTPStatus.UNAUTHORIZED)
        return Response(status_code=HTTPStatus.OK)

    return [Route(PATH, answer, methods=["POST"])]
