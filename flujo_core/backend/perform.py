"""perform_call: does one attempt of a step where it has come to, and says how it ended."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from flujo_core.backend.protocol import (
    RemoteCall,
    RemoteFailure,
    RemoteOutcome,
    RemoteOutput,
    RemotePause,
    RemoteStop,
)
from flujo_core.errors import ConfigurationError, FlujoError
from flujo_core.model.action import FunctionAction
from flujo_core.model.crossing import action_at, at_place, field_types
from flujo_core.model.draft import State, draft, touched
from flujo_core.model.outcome import Default, PauseForHumanInput, Stop
from flujo_core.model.patch import EMPTY_PATCH, changes, patch_adapter
from flujo_core.model.question import response_name
from flujo_core.model.value import adapter, encoded, validated

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext

HERE = "another process"
"""Where values cross to, for messages."""


def perform_call(call: RemoteCall, /) -> RemoteOutcome:
    """Does what a call says, in this thread, which has no running event loop; never raises an ``Exception``.

    Args:
        call: The call; ``RemoteCall.decoded`` makes it of what has crossed.
    """
    try:
        return _Attempt(call).outcome()
    except BaseException as error:  # whatever it is, it belongs to the step
        return failure_of(error)


def failure_of(error: BaseException) -> RemoteFailure:
    """What crosses of an error: its classes, and where it came from; its text only if it is one of Flujo's."""
    lineage = tuple(_place(kind) for kind in type(error).__mro__[:-2])
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__]
    return RemoteFailure(
        str(error) if isinstance(error, FlujoError) else "", lineage, "".join(traceback.format_list(own))
    )


def _place(kind: type[BaseException]) -> str:
    module = "__main__" if kind.__module__ == "__mp_main__" else kind.__module__
    return f"{module}:{kind.__qualname__}"


class _Attempt:
    """One attempt of a step, where it runs."""

    def __init__(self, call: RemoteCall) -> None:
        self._call = call
        self._action = _found(call)
        self._state: State = {}
        self._context: PipelineContext | None = None
        if call.context_type:
            kind = _context_class(call)
            self._state = _fields(kind, call.context)
            self._context = draft(kind, self._state)

    def outcome(self) -> RemoteOutcome:
        """What it comes to."""
        given = self._called()
        if isinstance(given, Stop):
            return RemoteStop(given.reason)
        if isinstance(given, PauseForHumanInput):
            return self._pause(given)
        gives = self._action.signature.gives
        data, _ = encoded(validated(given, gives, "its output"), gives, "its output", HERE)
        return RemoteOutput(data, self._patch())

    def _called(self) -> Any:
        """What the function gives."""
        call, signature = self._call, self._action.signature
        arguments = (_read(call.input, signature.takes),) if signature.has_input else ()
        injected = {name: _read(data, signature.named[name].hint) for name, data in call.named.items()}
        for kind, name in signature.injected.items():
            injected[name] = self._context if kind == "context" else call.info
        given = self._action.function(*arguments, **injected)
        return asyncio.run(_awaited(given)) if iscoroutine(given) else given

    def _patch(self) -> bytes:
        if self._context is None:
            return EMPTY_PATCH
        fields = patch_adapter(type(self._context))
        patch = changes(touched(self._context), self._state, fields.growing)
        return fields.encoded(fields.validate(patch))[0]

    def _pause(self, pause: PauseForHumanInput[Any]) -> RemotePause:
        seconds = None if pause.expires_in is None else pause.expires_in.total_seconds()
        if isinstance(pause.on_expiry, Default):
            answer = validated(pause.on_expiry.value, pause.response_model, "the default answer")
            expiry, default = "default", encoded(answer, pause.response_model, "the default answer", HERE)[0]
        else:
            expiry, default = pause.on_expiry, b"null"
        response = response_name(pause.response_model)
        return RemotePause(
            pause.question, response, seconds, expiry, default, pause.approvers, pause.quorum, self._patch()
        )


async def _awaited(given: Any) -> Any:
    return await given


def _found(call: RemoteCall) -> FunctionAction:
    """The step's function.

    Raises:
        ConfigurationError: It is not there.
    """
    try:
        return action_at(call.step, call.name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"its function '{call.step}' is not found where it is to run ({type(error).__name__}); install there what"
            " this process has"
        ) from error


def _context_class(call: RemoteCall) -> type[PipelineContext]:
    try:
        kind: type[PipelineContext] = at_place(call.context_type)
        return kind
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"the class of its context, '{call.context_type}', is not found where it is to run ({type(error).__name__})"
        ) from error


def _fields(kind: type[PipelineContext], data: bytes) -> State:
    values: Mapping[str, Any] = from_json(data)
    return {name: _read(to_json(values[name]), hint) for name, hint in field_types(kind).items() if name in values}


def _read(data: bytes, hint: Any) -> Any:
    return adapter(hint).validate_json(data, by_alias=False, by_name=True)
