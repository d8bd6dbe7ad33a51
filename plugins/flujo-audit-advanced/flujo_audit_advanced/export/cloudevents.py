"""CloudEvents: records as events of CloudEvents 1.0, in batches over HTTP (its JSON batch format)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from flujo_audit_advanced.export.http import posted, secret_of
from flujo_audit_advanced.export.sink import Exported, Options
from flujo_audit_advanced.web import checked_url


class CloudEventsOptions(Options):
    """Options of the sink ``cloudevents``.

    Attributes:
        url: Where events are posted.
        token_variable: The environment variable with a bearer token; None: there is none.
        timeout: Seconds in which the server has to answer.
    """

    kind: Literal["cloudevents"] = "cloudevents"
    url: str
    token_variable: str | None = None
    timeout: float = 10.0


class CloudEventsSink:
    """Posts records as events. Who gets one twice knows it by ``source`` and ``id``.

    Args:
        options: Where.

    Raises:
        ConfigurationError: The URL is none, or there is no token.
    """

    def __init__(self, options: CloudEventsOptions) -> None:
        self._url, self._timeout = checked_url(options.url, "the receiver of events"), options.timeout
        self._headers = {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}
        if options.token_variable is not None:
            self._headers["Authorization"] = f"Bearer {secret_of(options.token_variable, 'token')}"

    async def send(self, records: Sequence[Exported], /) -> None:
        """Posts records."""
        data = json.dumps([event(one) for one in records]).encode()
        await posted(self._url, data, self._headers, self._timeout, "the receiver of events")

    async def aclose(self) -> None:
        """No connection is open between two batches."""


def event(one: Exported) -> dict[str, Any]:
    """A record as a CloudEvent: its ``type`` is ``dev.flujo.audit.KIND``, its ``source`` the name of the log."""
    fields = one.fields
    at = datetime.fromtimestamp(fields["at"] / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    made = {
        "specversion": "1.0",
        "id": fields["id"],
        "source": f"//{one.origin}",
        "type": f"dev.flujo.audit.{fields['kind']}",
        "time": at,
        "datacontenttype": "application/json",
        "sequence": f"{one.number:020}",
        "data": fields,
    }
    return made | ({"subject": fields["run"]} if "run" in fields else {})
