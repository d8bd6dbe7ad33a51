"""Sink: where records are exported to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from flujo_audit_advanced.errors import AuditError
from flujo_audit_advanced.record import parse_record


class SinkFailed(AuditError):
    """A sink has not taken records: it is away, slow or full. They are sent again, from the same one on."""


class SinkRefused(AuditError):
    """A sink will never take a record, however often it is sent. The export stops before it and says which one."""


class Exported(NamedTuple):
    """A record on its way out.

    Attributes:
        origin: The name of the log, which is the stream: records of one log keep their order.
        number: The record's number in the log.
        data: Its bytes, as they are in the log.
    """

    origin: str
    number: int
    data: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The record as an object; its ``id`` is how a receiver knows what it was sent twice."""
        return parse_record(self.data)

    @property
    def line(self) -> bytes:
        """It as a line of JSON, with the name of its log and its number."""
        head = json.dumps({"origin": self.origin, "number": self.number}).encode()
        return b'%b, "record": %b}\n' % (head[:-1], self.data)


class Options(BaseModel):
    """What a configuration says of a sink; each sink has its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sink(Protocol):
    """Takes records in order; what it has taken is on the other side for good.

    ``send`` is called by one task at a time, with the records that follow those that it took last; after a failure with
    the same ones again, perhaps with more after them. Each must have its record's ``id`` there, and its number.
    """

    async def send(self, records: Sequence[Exported], /) -> None:
        """Sends records, and returns when the other side has taken all of them.

        Raises:
            SinkFailed: It has not, and may later.
            SinkRefused: It never will.
        """

    async def aclose(self) -> None:
        """Lets go of connections; it is not used any more."""
