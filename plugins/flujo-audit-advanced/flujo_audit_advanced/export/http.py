"""HTTP: what sinks have in common that post records to a server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Final

from flujo_audit_advanced.export.sink import SinkFailed, SinkRefused
from flujo_audit_advanced.web import Answer, Unreachable, ask
from flujo_core import ConfigurationError

NEVER: Final = frozenset((400, 413, 415, 422))
"""The statuses that say that it is the records which are not right; after others it is tried again."""


async def posted(url: str, data: bytes, headers: Mapping[str, str], timeout: float, whose: str) -> Answer:
    """Posts something, and gives the answer if it is a yes.

    Args:
        url: Where.
        data: What.
        headers: With what.
        timeout: Seconds in which the server has to answer.
        whose: What the server is called in messages.

    Raises:
        SinkFailed: It did not answer, or not now.
        SinkRefused: It does not take these records.
    """
    try:
        answer = await asyncio.to_thread(ask, url, data, headers, timeout)
    except Unreachable as error:
        raise SinkFailed(f"{whose} did not answer ({error})") from None
    if answer.status in NEVER:
        raise SinkRefused(f"{whose} refused it (HTTP {answer.status})")
    if not 200 <= answer.status < 300:
        raise SinkFailed(f"{whose} answered HTTP {answer.status}")
    return answer


def secret_of(variable: str, what: str) -> str:
    """A secret that an environment variable has.

    Raises:
        ConfigurationError: It has none.
    """
    if not (found := os.environ.get(variable)):
        raise ConfigurationError(f"the environment variable '{variable}' has no {what}")
    return found
