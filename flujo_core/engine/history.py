"""The state of a run that is in a store."""

from __future__ import annotations

from collections.abc import Sequence

from flujo_core.errors import StoreError, UnknownRun
from flujo_core.model.run import RunState, fold
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record, Store


async def folded(store: Store, run_id: str) -> RunState:
    """The state of a run.

    Raises:
        UnknownRun: There is no such run.
        StoreError: Its journal cannot be read.
    """
    return folded_records(run_id, await store.read(run_id))


def folded_records(run_id: str, records: Sequence[Record]) -> RunState:
    """As ``folded``, of records that were read.

    Raises:
        UnknownRun: There are none.
        StoreError: They cannot be read.
    """
    if not records:
        raise UnknownRun(f"there is no run '{run_id}' in the store; 'flujo runs list' shows those that there are")
    try:
        return fold(decode(record) for record in records)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the journal of run '{run_id}' cannot be read ({type(error).__name__})") from error
