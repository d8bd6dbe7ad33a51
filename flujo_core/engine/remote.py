"""A leaf whose function is called on a backend: what crosses to it, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from flujo_core.backend.protocol import Backend, RemoteCall, RemoteFailure, RemoteOutcome, RemotePause, RemoteStop
from flujo_core.engine.action import Turn, run_info
from flujo_core.engine.again import changed_by, exception_again
from flujo_core.engine.frame import MISSING
from flujo_core.errors import FlujoError, IncompatiblePipeline, InvalidValue, PluginError, StepError
from flujo_core.model.action import FunctionAction
from flujo_core.model.check import type_name
from flujo_core.model.draft import source
from flujo_core.model.inputs import From
from flujo_core.model.outcome import Default, OnExpiry, PauseForHumanInput, Stop, Veto
from flujo_core.model.patch import EMPTY_PATCH, patch_adapter
from flujo_core.model.question import response_of
from flujo_core.model.step import Step
from flujo_core.model.value import adapter, encoded, flaws
from flujo_core.model.wiring import Source

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext

PLACE = "its backend"
"""Where values cross to, for messages."""


class CallElsewhere:
    """Calls a function on a backend."""

    model: str | None = None
    has_calls: bool = False

    def __init__(self, step: Step[Any, Any], sources: Mapping[From, Source], backend: Backend) -> None:
        from flujo_core.model.crossing import place_of  # noqa: PLC0415 - few steps cross

        action = cast(FunctionAction, step.action)  # as is checked when it names a backend
        self._backend = backend
        self._policies = step.policies
        self._name = step.name
        self._signature = action.signature
        self._place = place_of(action.function)
        self._named = [(name, sources[one.source], one.hint) for name, one in action.signature.named.items()]
        self.needs_context = "context" in action.signature.injected

    async def act(self, turn: Turn, /) -> tuple[Any, None]:
        """Has it called; gives what it gave, as a local call does, and leaves what it changed in the draft.

        Raises:
            StepError: The backend gave no outcome, or more than one, or one that does not fit.
        """
        items = [item async for item in self._backend.execute(self._call(turn))]
        if len(items) != 1:
            raise StepError(f"backend '{self._policies.backend}' gave {len(items)} outcomes of one attempt")
        return self._given(items[0], turn), None

    def _call(self, turn: Turn) -> RemoteCall:
        takes = self._signature.takes
        value = encoded(turn.value, takes, "its input", PLACE)[0] if self._signature.has_input else b"null"
        named = {}
        for name, at, hint in self._named:
            if (found := turn.frame.find(at)) is not MISSING:
                named[name] = encoded(found, hint, f"its named input '{name}'", PLACE)[0]
        call = RemoteCall(
            self._place, self._name, value, run_info(turn), named,
            hints=self._policies.hints, timeout=self._policies.limits.run,
        )  # fmt: skip
        if turn.context is None:
            return call
        return call._replace(context=_fields(turn.context), context_type=_place(turn.context))

    def _given(self, outcome: RemoteOutcome, turn: Turn) -> Any:
        """What an outcome stands for.

        Raises:
            Exception: That of a failure.
        """
        if isinstance(outcome, RemoteFailure):
            raise _error(outcome)
        if isinstance(outcome, RemoteStop):
            return Stop(outcome.reason)
        if turn.context is not None and outcome.patch != EMPTY_PATCH:
            _change(turn.context, outcome.patch)
        if isinstance(outcome, RemotePause):
            return self._pause(outcome)
        return self._read(outcome.output, self._signature.gives, "its output")

    def _pause(self, pause: RemotePause) -> PauseForHumanInput[Any]:
        try:
            response = response_of(self._signature.gives, pause.response)
        except LookupError:
            raise InvalidValue(
                f"it asks a person for '{pause.response}', and gives '{type_name(self._signature.gives)}', which has no"
                " such type"
            ) from None
        expiry: OnExpiry[Any] = "stop" if pause.on_expiry == "stop" else "fail"
        if pause.on_expiry == "default":
            expiry = Default(self._read(pause.default, response, "the default answer"))
        seconds = None if pause.expires_in is None else timedelta(seconds=pause.expires_in)
        return PauseForHumanInput(
            pause.question, response,
            expires_in=seconds, on_expiry=expiry, approvers=pause.approvers, quorum=pause.quorum,
        )  # fmt: skip

    def _read(self, data: bytes, hint: Any, what: str) -> Any:
        try:
            return adapter(hint).validate_json(data, by_alias=False, by_name=True)
        except ValidationError as error:
            found = flaws(error, hint)
            raise InvalidValue(f"{what} came from {PLACE} as no '{type_name(hint)}': {found}") from None


def _place(context: PipelineContext) -> str:
    from flujo_core.model.crossing import place_of  # noqa: PLC0415 - few steps cross

    return place_of(type(context))


def _fields(context: PipelineContext) -> bytes:
    """The fields of a context as JSON; it does not count as looked at."""
    from flujo_core.model.crossing import field_types  # noqa: PLC0415 - few steps cross

    read, texts = source(context), []
    for name, hint in field_types(type(context)).items():
        value = getattr(context, name) if read is None else read[name]
        texts.append(b'"%s":%s' % (name.encode(), encoded(value, hint, f"field '{name}' of the context", PLACE)[0]))
    return b"{" + b",".join(texts) + b"}"


def _change(context: PipelineContext, data: bytes) -> None:
    """Makes the changes that a patch tells of."""
    patch = patch_adapter(type(context)).decoded(data)
    now = {name: getattr(context, name) for name in patch}
    for name, value in changed_by(patch, now).items():
        setattr(context, name, value)


def _error(failure: RemoteFailure) -> Exception:
    """The error of a failure: of the same class, with the text of Flujo's own."""
    error = exception_again(failure.lineage)
    if error is None:
        name = failure.lineage[0].rpartition(":")[2] if failure.lineage else "an unknown error"
        error = StepError(f"it raised '{name}'")
    elif isinstance(error, Veto):
        error = Veto(failure.message)
    elif isinstance(error, (PluginError, IncompatiblePipeline)):  # which say of the run what no step can know
        error = StepError(f"it raised '{type(error).__name__}'")
    elif isinstance(error, FlujoError):
        Exception.__init__(error, failure.message)
    if failure.trace:
        error.add_note(f"on its backend:\n{failure.trace}")
    return error
