"""PipelineState: a run that waits, as JSON, for callers without a store.

It makes a pydantic model class, which is dear: it is imported when it is used.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class PipelineState(BaseModel):
    """A run that waits, as plain data: ``model_dump_json()`` and ``model_validate_json()`` take it elsewhere and back.

    It holds the values of the run. Whoever may change it can make the run do anything that its pipeline can: keep it
    where only you write, or seal it (``Flujo(seal_key=...)``). A seal says that it was not changed; it hides nothing.

    Attributes:
        run_id: The run.
        tenant: Whose run it is, or None.
        sequence: The sequence of its last event.
        records: Its records; empty where a store has them.
        seal: The HMAC-SHA256 of all else under the key of who made it, in hexadecimal; None: it is not sealed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    tenant: str | None
    sequence: int
    records: tuple[tuple[Any, ...], ...] = ()
    seal: str | None = None

    def __repr__(self) -> str:
        return f"<PipelineState '{self.run_id}' #{self.sequence}>"

    __str__ = __repr__
