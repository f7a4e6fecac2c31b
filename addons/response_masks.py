"""What an agent sees masked of an upstream's answers: which masks hold for an exchange, how its parts are cleaned."""

from __future__ import annotations

from mitmproxy import http

from onrecord.addons.body_masks import BodyMask, body_mask, whole_json
from onrecord.addons.exchange import Exchange
from onrecord.policies.config import Config
from onrecord.policies.masking import (
    MaskError,
    Masks,
    clean_record,
    masks_for,
    no_masks,
    pseudonym_key,
)
from onrecord.policies.verdict import Deny

# They frame a message or say what it is; what they say of the unmasked body goes.
_KEPT = frozenset({b"content-length", b"transfer-encoding", b"content-type", b"date", b"connection", b"upgrade"})
_OF_THE_BODY = frozenset(
    {b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges", b"content-range"}
)
_PARTS = frozenset({b"range", b"if-range"})


class ResponseMasks:
    """The masks of each resource for each set of groups. Raises MaskError where they cannot be made."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._key = pseudonym_key(config.gateway.state)

    def of(self, exchange: Exchange) -> Masks | None:
        """The masks of an exchange, with those that its verdict asks for; None where nothing is masked."""
        identity = exchange.opened.session.identity
        masks = masks_for(self._config, exchange.route.resource.name, identity.groups, key=self._key)
        verdict = exchange.decision.ruling.verdict if exchange.decision is not None else None
        if verdict is not None and not isinstance(verdict, Deny) and verdict.mask:
            masks = (masks or no_masks(self._key)).with_detectors(verdict.mask)
        return masks if masks is not None and (masks.detectors is not None or masks.json_paths) else None

    def guard_records(self, exchange: Exchange) -> None:
        """What the detectors find does not go on record either, whoever sent it."""
        masks = self.of(exchange)
        if masks is not None and exchange.opened.clean is None:
            detectors = masks.detectors
            exchange.opened.clean = lambda payload: clean_record(payload, detectors)

    def request_fields(self, exchange: Exchange, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """What goes upstream: a part of a body could hold half a finding, so the whole is asked for."""
        if self.of(exchange) is None:
            return fields
        return [(name, value) for name, value in fields if name.lower() not in _PARTS]

    def head(self, exchange: Exchange, response: http.Response) -> None:
        """Clean the fields and the reason of an answer. Raises ValueError for a part of a body."""
        masks = self.of(exchange)
        if masks is None:
            return
        if response.status_code == 206 or "content-range" in response.headers:
            raise ValueError("an upstream sent a part of a body, which cannot be searched for what is masked")
        found = exchange.masked
        fields = [(n, v) for n, v in response.headers.fields if n.lower() not in _OF_THE_BODY]
        response.data.headers = http.Headers(
            [(n, v if n.lower() in _KEPT else clean_bytes(masks, v, found)) for n, v in fields]
        )
        response.data.reason = clean_bytes(masks, response.data.reason, found)

    def body(self, exchange: Exchange, response: http.Response) -> BodyMask | None:
        """What masks the body that follows. Raises ValueError for one that cannot be read."""
        masks = self.of(exchange)
        if masks is None:
            return None
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise ValueError("an upstream's answer has a content coding that was not asked for")
        try:
            return body_mask(response.headers.get("content-type", ""), masks)
        except MaskError as error:
            raise ValueError(str(error)) from None

    def trailers(self, exchange: Exchange, response: http.Response) -> None:
        """Clean the fields behind a body."""
        masks = self.of(exchange)
        if masks is not None and response.trailers:
            fields = response.trailers.fields
            response.trailers = http.Headers([(n, clean_bytes(masks, v, exchange.masked)) for n, v in fields])

    def message(self, exchange: Exchange, content: bytes, *, is_text: bool = True) -> bytes:
        """A WebSocket message of the server. Raises MaskError where it cannot be searched."""
        masks = self.of(exchange)
        if masks is None:
            return content
        found = exchange.masked
        try:
            return whole_json(content, masks, found)
        except MaskError:  # no JSON: any other text
            if masks.json_paths and not is_text:
                raise MaskError("a binary message that is no JSON cannot be masked by path") from None
            mask = body_mask("text/plain", masks)
            clean = mask.feed(content) + mask.finish()
            add(found, mask.found)
            return clean


def add(total: dict[str, int], found: dict[str, int]) -> None:
    """Count `found` into `total`."""
    for name, count in found.items():
        total[name] = total.get(name, 0) + count


def clean_bytes(masks: Masks, data: bytes, found: dict[str, int]) -> bytes:
    """A short text without what detectors find."""
    if masks.detectors is None or not data:
        return data
    text = data.decode("utf-8", "surrogateescape")
    return masks.detectors.clean(text, found).encode("utf-8", "surrogateescape")
