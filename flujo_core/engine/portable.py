"""A run that is taken along as data: its records, as a ``PipelineState``, sealed or not, and a store made of them."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from pydantic_core import to_json

from flujo_core.engine.finder import Finder, finder
from flujo_core.engine.program import Program
from flujo_core.errors import CodecError, InvalidValue, SealBroken, StaleState, StateError, StoreError, UnknownRun
from flujo_core.model.event import (
    ItemTaken,
    JournaledEvent,
    NodeCompleted,
    QuestionAnswered,
    QuestionAsked,
    RunEvent,
    RunStarted,
    StepCompleted,
    VoteCast,
)
from flujo_core.model.map import Map
from flujo_core.model.patch import patch_adapter
from flujo_core.model.value import encoded
from flujo_core.store.byte_codec import Codecs, written_with
from flujo_core.store.codec import encode
from flujo_core.store.coded import encoded_record
from flujo_core.store.coding import coded
from flujo_core.store.memory import MemoryStore
from flujo_core.store.protocol import Lease, Record, Store

if TYPE_CHECKING:
    from flujo_core.engine.journal import Journal
    from flujo_core.model.state import PipelineState

SealKey: TypeAlias = bytes | Callable[[], bytes]
"""A key, or what gives it."""


class Portable:
    """Makes the states of the runs of a program.

    Args:
        program: The program.
        key: What they are sealed with, or None.
        is_kept: Whether a store has the runs, so that a state need not.
    """

    def __init__(self, program: Program, key: SealKey | None, *, is_kept: bool) -> None:
        self._program = program
        self._key = key
        self._is_kept = is_kept

    def of(self, journal: Journal) -> PipelineState:
        """The state of a run.

        Raises:
            InvalidValue: It holds a value that cannot be written.
        """
        return self._state(journal, self._records(journal))

    async def ahead(self, journal: Journal) -> Callable[[], PipelineState]:
        """What gives the state of a run: value codecs are asked now, as they have to be waited for."""
        if self._program.values is None or self._is_kept:
            return partial(self.of, journal)
        from flujo_core.engine.typed import types_in  # noqa: PLC0415 - few programs have value codecs
        from flujo_core.store.valued import encoded_record_values  # noqa: PLC0415

        try:
            records = self._records(journal)
            types = types_in(self._program, records)
            encoded = [await encoded_record_values(self._program.values, one, types) for one in records]
        except (CodecError, InvalidValue) as error:
            return partial(_raise, error)
        return partial(self._state, journal, encoded)

    def _records(self, journal: Journal) -> Sequence[Record]:
        if self._is_kept:
            return ()
        nodes = finder(self._program, journal.earlier, journal.events)
        return (*journal.earlier, *(_record(self._program, one, nodes) for one in journal.events))

    def _state(self, journal: Journal, records: Sequence[Record]) -> PipelineState:
        from flujo_core.model.state import PipelineState  # noqa: PLC0415 - dear to import

        last = journal.events[-1].sequence if journal.events else journal.earlier[-1].sequence
        if self._program.codecs is not None:
            records = tuple(encoded_record(self._program.codecs, one) for one in records)
        rows = tuple((*one[2:7], _text(one.payload), *one[8:]) for one in records)
        made = PipelineState(run_id=journal.run_id, tenant=journal.tenant, sequence=last, records=rows)
        return sealed(made, self._key)


def _raise(error: Exception) -> NoReturn:
    raise error


def sealed(state: PipelineState, key: SealKey | None) -> PipelineState:
    """The state with its seal, if there is a key."""
    found = _key(key)
    return state if found is None else state.model_copy(update={"seal": _seal(state, found)})


def check_seal(state: PipelineState, key: SealKey | None, *, needs_one: bool = False) -> None:
    """Checks the seal of a state, if there is a key.

    Args:
        state: The state.
        key: What it must be sealed with, or None.
        needs_one: Whether a state is refused if there is no key.

    Raises:
        SealBroken: It has none, or one that does not fit.
    """
    import hmac  # noqa: PLC0415 - only who has states needs it

    found = _key(key)
    if found is None and needs_one:
        what = f"the state of run '{state.run_id}' cannot be proved, and the deployment is regulated"
        raise SealBroken(f"{what}; give 'Flujo(seal_key=...)', or set 'FLUJO_SEAL_KEY', when states are made and read")
    if found is not None and not hmac.compare_digest(state.seal or "", _seal(state, found)):
        what = "has no seal" if state.seal is None else "has a seal that does not fit: it was changed, or the key was"
        raise SealBroken(f"the state of run '{state.run_id}' {what}; it is not gone on from")


async def stored(state: PipelineState, store: Store | None, codecs: Codecs | None) -> Store:
    """The store that has the run of a state; without one, a store in memory, made of the state.

    Args:
        state: The state.
        store: The store, or None.
        codecs: What the payloads in the state have gone through, or None.

    Raises:
        StaleState: The store has more of the run.
        UnknownRun: It does not have the run.
        StateError: The state holds no records, and there is no store; or they are no run's.
    """
    if store is not None:
        known = await store.run(state.run_id)
        if known is None:
            raise UnknownRun(f"there is no run '{state.run_id}' in the store")
        if known.records > state.sequence:
            what = f"is of event {state.sequence}, and the store has {known.records}"
            raise StaleState(f"the state of run '{state.run_id}' {what}; take the run by its id")
        return store
    if not state.records:
        raise StateError(f"the state of run '{state.run_id}' holds no records, as a store has them; give that 'store='")
    made = MemoryStore()
    try:
        records = [_from_row(state, row) for row in state.records]
        lease = Lease(state.run_id, records[-1].epoch, "", 0.0)
        await made.append([one._replace(epoch=lease.epoch) for one in records], lease, release=True)
    except (TypeError, ValueError, AttributeError, IndexError, StoreError) as error:
        raise StateError(f"the state of run '{state.run_id}' is damaged") from error
    return coded(made, codecs)


def _from_row(state: PipelineState, row: tuple[Any, ...]) -> Record:
    sequence, kind, address, outcome, at, payload, *rest = row
    return Record(state.run_id, state.tenant, sequence, kind, address, outcome, at, _bytes(payload), *rest)


BASE64 = "base64:"
"""What the text of a payload begins with that is no JSON, as a codec has made it."""


def _text(payload: bytes) -> str:
    return BASE64 + b64encode(payload).decode() if written_with(payload) else payload.decode()


def _bytes(text: str) -> bytes:
    return b64decode(text.removeprefix(BASE64), validate=True) if text.startswith(BASE64) else text.encode()


def has_key(given: SealKey | None) -> bool:
    """Whether states are sealed."""
    return given is not None or bool(os.environ.get("FLUJO_SEAL_KEY"))


def _key(given: SealKey | None) -> bytes | None:
    if given is None:
        named = os.environ.get("FLUJO_SEAL_KEY")
        return named.encode() if named else None
    return given() if callable(given) else given


def _seal(state: PipelineState, key: bytes) -> str:
    import hashlib  # noqa: PLC0415 - only who has states needs it
    import hmac  # noqa: PLC0415

    return hmac.new(key, to_json(state.model_dump(exclude={"seal"})), hashlib.sha256).hexdigest()


def _record(program: Program, event: RunEvent, nodes: Finder) -> Record:
    """The record of an event of a run without a store.

    Raises:
        InvalidValue: It holds a value that cannot be written.
    """
    patches = patch_adapter(program.context_type)
    match event:
        case RunStarted():
            value = encoded(event.input, program.takes, "the input")[0]
            context = program.context_type.model_construct(**event.context)
            event.origin = program.origin.hiding_as(event.origin, "")
            return encode(event, value, encoded(context, program.context_type, "the context")[0])
        case StepCompleted() | NodeCompleted():
            kept = isinstance(event, StepCompleted) or event.source == "cache"
            hint = nodes(event.address).gives if kept else None
            value = encoded(event.output, hint, f"what '{event.address}' gave")[0] if kept else b"null"
            return encode(event, value, patches.encoded(event.patch)[0])
        case ItemTaken():
            node = nodes(event.address)
            hint = node.item if isinstance(node, Map) else Any
            return encode(event, encoded(event.item, hint, f"an item of '{event.address}'")[0])
        case QuestionAsked():
            return encode(event, to_json(event.payload), patches.encoded(event.patch)[0])
        case VoteCast() | QuestionAnswered():
            return encode(event, to_json(event.answer))
    made: JournaledEvent = event  # type: ignore[assignment]
    return encode(made)
