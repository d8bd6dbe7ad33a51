"""Splunk: records at the HTTP Event Collector, with its acknowledgements if it has them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, Literal
from uuid import uuid4

from flujo_audit_advanced.export.http import posted, secret_of
from flujo_audit_advanced.export.sink import Exported, Options, SinkFailed
from flujo_audit_advanced.web import checked_url

WHO = "the event collector"


class SplunkOptions(Options):
    """Options of the sink ``splunk``.

    Attributes:
        url: The collector: ``https://splunk.example:8088``.
        token_variable: The environment variable with its token.
        index: The index; None: the token's.
        sourcetype: The type of the source.
        acknowledged: Whether the token has indexer acknowledgement: a batch counts when it is indexed.
        timeout: Seconds in which the collector has to answer, and to acknowledge.
    """

    kind: Literal["splunk"] = "splunk"
    url: str
    token_variable: str = "FLUJO_AUDIT_SPLUNK_TOKEN"
    index: str | None = None
    sourcetype: str = "flujo:audit"
    acknowledged: bool = False
    timeout: float = 20.0


class SplunkSink:
    """Posts records to the collector; the fields ``id`` and ``number`` of an event are indexed.

    Args:
        options: Where.

    Raises:
        ConfigurationError: The URL is none, or there is no token.
    """

    def __init__(self, options: SplunkOptions) -> None:
        self._options, self._url = options, f"{checked_url(options.url, WHO)}/services/collector"
        token = secret_of(options.token_variable, "token for the event collector")
        self._headers = {"Authorization": f"Splunk {token}", "Content-Type": "application/json"}
        if options.acknowledged:
            self._headers["X-Splunk-Request-Channel"] = str(uuid4())

    async def send(self, records: Sequence[Exported], /) -> None:
        """Posts records, and waits until they are acknowledged where that is so."""
        data = b"\n".join(json.dumps(self._event(one)).encode() for one in records)
        told = await self._asked("event", data)
        if self._options.acknowledged:
            await self._indexed(told.get("ackId"))

    async def aclose(self) -> None:
        """No connection is open between two batches."""

    def _event(self, one: Exported) -> dict[str, Any]:
        fields, told = one.fields, self._options
        made: dict[str, Any] = {
            "time": f"{fields['at'] / 1e6:.6f}",
            "source": one.origin,
            "sourcetype": told.sourcetype,
            "event": fields,
            "fields": {"id": fields["id"], "number": one.number, "kind": fields["kind"]},
        }
        return made | ({"index": told.index} if told.index is not None else {})

    async def _indexed(self, batch: object) -> None:
        """Waits until a batch is indexed.

        Raises:
            SinkFailed: It was not, in time.
        """
        until = time.monotonic() + self._options.timeout
        while time.monotonic() < until:
            told = await self._asked("ack", json.dumps({"acks": [batch]}).encode())
            if told.get("acks", {}).get(str(batch)):
                return
            await asyncio.sleep(0.2)
        raise SinkFailed(f"{WHO} has not acknowledged a batch in {self._options.timeout:g} s")

    async def _asked(self, what: str, data: bytes) -> dict[str, Any]:
        answer = await posted(f"{self._url}/{what}", data, self._headers, self._options.timeout, WHO)
        try:
            told = json.loads(answer.body)
        except ValueError:
            told = None
        if not isinstance(told, dict) or told.get("code", 0) != 0:
            raise SinkFailed(f"{WHO} gave an answer that is not its own")
        return told
