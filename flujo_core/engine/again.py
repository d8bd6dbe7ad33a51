"""How a part goes on that has begun before: what its past says, as values, errors and patches of the present."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from flujo_core import errors
from flujo_core.engine.later import Later
from flujo_core.engine.migrations import Migrate
from flujo_core.engine.past import state_of, value_of
from flujo_core.engine.question import imported
from flujo_core.errors import IncompatiblePipeline, InvalidValue, StepError
from flujo_core.model.agent import Call
from flujo_core.model.check import type_name
from flujo_core.model.draft import State
from flujo_core.model.draft import state_of as state_of_context
from flujo_core.model.event import CallCompleted, ErrorInfo, NodeFailed, StepFailed
from flujo_core.model.patch import EMPTY_PATCH, Patch, apply, patch_adapter
from flujo_core.model.value import adapter, flaws
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


def output_later(run_id: str, record: Record, hint: Any, migrate: Migrate | None = None) -> Later:
    """The output in a record, read when it is needed.

    Args:
        run_id: The run.
        record: The record.
        hint: What the output is declared as now.
        migrate: Turns it into one of the present version, or None.
    """
    data = value_of(record)
    if migrate is None:
        return Later(lambda: _read(run_id, record.address, data, hint))
    return Later(lambda: _migrated(run_id, record.address, data, hint, migrate))


def value_later(run_id: str, address: str, data: bytes, hint: Any) -> Later:
    """A recorded value, read when it is needed."""
    return Later(lambda: _read(run_id, address, data, hint))


def recorded_patch(run_id: str, record: Record, kind: type[PipelineContext]) -> Patch:
    """The patch in a record.

    Raises:
        IncompatiblePipeline: It does not fit the context any more.
    """
    return patch_of(run_id, record.address, state_of(record), kind)


def patch_of(run_id: str, address: str, data: bytes, kind: type[PipelineContext]) -> Patch:
    """A recorded patch.

    Raises:
        IncompatiblePipeline: It does not fit the context any more.
    """
    if data == EMPTY_PATCH:
        return {}
    try:
        return patch_adapter(kind).decoded(data)
    except InvalidValue as error:
        raise IncompatiblePipeline(
            run_id, [f"of what '{address}' changed: {error}; keep the field as it was"]
        ) from error


def recorded_call(run_id: str, record: Record, kind: type[PipelineContext]) -> Call:
    """A finished call of an agent.

    Raises:
        IncompatiblePipeline: What it changed does not fit the context any more.
    """
    event = decode(record)
    assert isinstance(event, CallCompleted)
    return Call(event.digest, value_of(record), recorded_patch(run_id, record, kind), event.usage)


def changed_by(patch: Patch, state: State) -> State:
    """The fields that a patch changes, with their values after it."""
    after = dict(state)
    apply(after, patch)
    return {name: after[name] for name in patch}


def failure_of(record: Record) -> StepError:
    """The failure that a record tells of, as it was raised then."""
    event = decode(record)
    assert isinstance(event, StepFailed | NodeFailed)
    failure = failure_again(event.error, record.address, event.attempt)
    failure.usage = event.usage if isinstance(event, StepFailed) else None
    return failure


def failure_again(error: ErrorInfo, address: str, attempts: int) -> StepError:
    """The failure of a step or node, as it was raised before the run was resumed."""
    found = getattr(errors, error.type, None)
    kind: type[StepError] = StepError
    known = isinstance(found, type) and issubclass(found, StepError) and found.__init__ is StepError.__init__
    if known:
        kind = found  # type: ignore[assignment]
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    placed = error.message.startswith("step '")
    failure: StepError = kind(error.message if placed else f"step '{address}' failed{tries}: {error}")
    failure.address, failure.attempts = address, attempts
    failure.__cause__ = kind(error.message) if known and not placed else exception_again(error.lineage)
    return failure


def exception_again(lineage: Iterable[str]) -> Exception | None:
    """An exception of the class that a cause had, so that a retry decides as it would have then; it has no text.

    Args:
        lineage: The names of its classes; the first one counts that has been imported.
    """
    for name in lineage:
        found = imported(name)
        if found is not None and issubclass(found, Exception):
            made: Exception = found.__new__(found)
            return made
    return None


def _read(run_id: str, address: str, data: bytes, hint: Any) -> Any:
    try:
        return adapter(hint).validate_json(data, by_alias=False, by_name=True)
    except ValidationError as error:
        raise _unfit(run_id, address, hint, error) from None


def _migrated(run_id: str, address: str, data: bytes, hint: Any, migrate: Migrate) -> Any:
    try:
        value = migrate(from_json(data))
    except Exception as error:
        what = f"the migration of '{address}' raised {type(error).__name__}; mend it"
        raise IncompatiblePipeline(run_id, [what]) from error
    try:
        return adapter(hint).validate_python(value, by_name=True)
    except ValidationError as error:
        raise _unfit(run_id, address, hint, error) from None


def _unfit(run_id: str, address: str, hint: Any, error: ValidationError) -> IncompatiblePipeline:
    what = f"what '{address}' has given is no '{type_name(hint)}' ({flaws(error, hint)})"
    remedy = "let its type take that, or give it a 'version' and 'migrations'"
    return IncompatiblePipeline(run_id, [f"{what}; {remedy}"])


def started_state(record: Record, kind: type[PipelineContext]) -> State:
    """The context that a run began with.

    Raises:
        IncompatiblePipeline: It does not fit its class any more.
    """
    data = {name: value for name, value in from_json(state_of(record)).items() if name in kind.model_fields}
    try:
        return state_of_context(kind.model_validate_json(to_json(data), by_alias=False, by_name=True))
    except ValidationError as error:
        what = f"the context that it began with is no '{kind.__name__}' any more ({flaws(error, kind)})"
        raise IncompatiblePipeline(record.run_id, [f"{what}; keep its fields, or give new ones defaults"]) from None
