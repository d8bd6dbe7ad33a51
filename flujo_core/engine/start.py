"""How a run begins: what plugins make of its input and context, and what is recorded of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from flujo_core.engine.failure import Stopped
from flujo_core.engine.journal import EMPTY, NULL, now
from flujo_core.engine.live import LiveRun
from flujo_core.engine.program import Program
from flujo_core.errors import InvalidValue
from flujo_core.hooks.call import AuthorizationRequest, RunStart
from flujo_core.model.draft import State, state_of
from flujo_core.model.event import NO_ORIGIN, Origin, RunStarted
from flujo_core.model.outcome import Stop
from flujo_core.model.value import encoded, flaws
from flujo_core.store.byte_codec import Hidden

if TYPE_CHECKING:
    pass


async def begin(program: Program, run: LiveRun) -> Any:
    """Records the start, as the plugins leave it; of a run that they do not let begin, without its input.

    Returns:
        The input, as it comes back from the journal.
    """
    start, given_input = run.start, None
    try:
        run.hidden = _hidden(program, start.run_id)
        begun = NO_ORIGIN.changed(subject=run.journal.subject) if run.journal.subject else NO_ORIGIN
        if run.hidden is not None:
            begun = begun.changed(names_key=run.hidden.names_key, names_in=run.hidden.run_id)
        if program.hooks.authorize is not None:
            request = AuthorizationRequest("start_run", start.run_id, start.tenant, start.pipeline, "", None)
            await program.hooks.authorize(run.watch, request)
        if program.hooks.start is not None:
            if run.journal.store is not None:
                given_input = encoded(start.initial_input, program.takes, "the input")[0]
            start = await _start_hooks(program, run, start)
        if run.journal.store is None:
            run.state = state_of(start.context)
            _stage_start(run, start.pipeline, start.initial_input, run.state, NULL, EMPTY, begun)
            run.begin(start)
            return start.initial_input
        value, restored = encoded(start.initial_input, program.takes, "the input")
        known = input_digest(given_input or value)
        origin = program.origin.hiding_as(begun, known)
        fields, context = encoded(start.context, program.context_type, "the context")
    except BaseException:
        run.state = {name: getattr(start.context, name) for name in program.context_type.model_fields}
        _stage_start(run, start.pipeline, None, run.state, NULL, EMPTY)
        if program.hooks.end is not None:  # what hooks then see is a copy, and not the caller's
            run.start = run.start._replace(context=run.start.context.model_copy(deep=True))
        raise
    run.state = state_of(context)
    _stage_start(run, start.pipeline, start.initial_input, run.state, value, fields, origin)
    run.begin(start._replace(initial_input=restored))
    return restored


def _hidden(program: Program, run_id: str) -> Hidden | None:
    """What hides the names of a new run that stand in clear; None if nothing is to.

    Raises:
        KeyLost: The key cannot be had.
    """
    if program.codecs is None:
        return None
    key = program.codecs.names_key()
    return Hidden(program.codecs, key, run_id) if key else None


def input_digest(data: bytes) -> str:
    """A digest of an input, by which the same run is known when it is begun again."""
    import hashlib  # noqa: PLC0415 - only runs with a store need it

    return hashlib.sha256(data).hexdigest()


async def _start_hooks(program: Program, run: LiveRun, start: RunStart) -> RunStart:
    """What the plugins make of the start, validated again; the context that they see is not the caller's."""
    assert program.hooks.start is not None
    changed = await program.hooks.start(run.watch, start._replace(context=start.context.model_copy(deep=True)))
    if isinstance(changed, Stop):
        raise Stopped(changed)
    kind = program.context_type
    try:
        context = kind.model_validate(dict(changed.context), by_alias=False, by_name=True)
    except ValidationError as error:
        raise InvalidValue(f"'on_pipeline_start' left a context that is not valid: {flaws(error, kind)}") from None
    return start._replace(initial_input=program.input(changed.initial_input), context=context)


def _stage_start(
    run: LiveRun, pipeline: str, value: Any, state: State, encoded: bytes, fields: bytes, origin: Origin = NO_ORIGIN
) -> None:
    started = RunStarted(*run.journal.head("", now()), pipeline, value, dict(state), origin)
    run.journal.stage(started, encoded, fields)
