"""What can be worked out of a leaf before it runs, and what it has to commit when it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from pydantic import ValidationError

from flujo_core.backend.protocol import Backend
from flujo_core.engine.action import action_of, direct_call
from flujo_core.engine.cached import NodeCache
from flujo_core.engine.failure import Stopped
from flujo_core.engine.frame import Parts
from flujo_core.engine.journal import EMPTY, NULL
from flujo_core.engine.question import Asking
from flujo_core.engine.remote import CallElsewhere
from flujo_core.errors import InvalidValue
from flujo_core.model.action import AgentAction
from flujo_core.model.agent import AgentKind, ModelAgent, Usage
from flujo_core.model.check import type_name
from flujo_core.model.draft import State
from flujo_core.model.event import OutputSource
from flujo_core.model.flow import encoded_name
from flujo_core.model.inputs import From
from flujo_core.model.outcome import CHANGES, Outcome, PauseForHumanInput, Reconfigure, Stop
from flujo_core.model.patch import Patch
from flujo_core.model.question import check_response
from flujo_core.model.step import Step
from flujo_core.model.value import adapter, flaws
from flujo_core.model.wiring import Source

if TYPE_CHECKING:
    from flujo_core.model.mutation import Asked


class Yield(NamedTuple):
    """What a leaf has to commit.

    Attributes:
        output: The output, validated.
        restored: The output as it comes back from the journal: what the next step gets.
        patch: What changes in the context, as it comes back from the journal.
        touched: The context's fields that were looked at.
        attempt: The number of the attempt that gave it; 0 if there was none.
        usage: What the agent used, or None.
        value: The output as bytes, where there is a store.
        state: The patch as bytes, where there is a store.
        source: What the output is of.
        change: What it asks to be changed behind it, or None.
    """

    output: Any
    restored: Any
    patch: Patch
    touched: State
    attempt: int
    usage: Usage | None
    value: bytes = NULL
    state: bytes = EMPTY
    source: OutputSource = "node"
    change: Asked | None = None


class Plan:
    """What can be worked out of a leaf before it runs.

    Args:
        step: The step; an agent that it names is resolved.
        sources: Where its named inputs come from.
        fallback: What runs when it has failed for good, or None.
        cache: Its cache, or None.
        backend: The backend that it runs on; None: it runs here.
    """

    __slots__ = (
        "action", "agent", "asks", "cache", "changes", "direct", "fallback", "gives", "gives_item", "item", "limits",
        "model", "name", "retry", "segment", "takes", "takes_item", "validate", "validators",
    )  # fmt: skip

    def __init__(
        self,
        step: Step[Any, Any],
        sources: Mapping[From, Source],
        fallback: Parts | None = None,
        cache: NodeCache | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.name = step.name
        self.segment = encoded_name(step.name)
        self.takes = step.takes
        self.gives = step.gives
        self.item = step.item
        self.gives_item = step.item == step.gives  # of text, and of what an agent makes: the whole is a piece
        self.takes_item = step.takes_item
        self.changes = any(one.changes for one in step.signatures)
        self.asks = isinstance(step.action, AgentAction)
        self.agent: AgentKind = _agent_of(step)
        is_plain = not step.policies.guards and not step.policies.validators and not self.changes
        self.direct = direct_call(step) if is_plain and backend is None else None
        self.retry = step.policies.retry
        self.limits = step.policies.limits
        self.validators = step.readers
        self.fallback = fallback
        self.cache = cache
        self.validate = adapter(step.gives).validator.validate_python
        self.action = action_of(step, sources) if backend is None else CallElsewhere(step, sources, backend)
        self.model = self.action.model

    def checked(self, output: Any) -> Any:
        """An output, validated.

        Raises:
            Stopped: It is a Stop.
            Asking: It is a question.
            InvalidValue: It does not fit.
        """
        if isinstance(output, Outcome):
            self._leave(output)
        try:
            return self.validate(output)
        except ValidationError as error:
            found = flaws(error, self.gives)
            raise InvalidValue(f"its output is not a '{type_name(self.gives)}': {found}") from None

    def _leave(self, outcome: Outcome) -> NoReturn:
        """Raises what an outcome stands for."""
        if isinstance(outcome, Stop):
            raise Stopped(outcome)
        if isinstance(outcome, PauseForHumanInput):
            check_response(outcome.response_model, self.gives, f"step '{self.name}'")
            raise Asking("step", {"": outcome})
        kind = type(outcome).__name__
        raise InvalidValue(
            f"it gives a '{kind}', which only a function that declares it may: write"
            f" '-> {type_name(self.gives)} | {kind}[{type_name(self.gives)}]'"
        )

    def split(self, output: Any) -> tuple[Any, Asked | None]:
        """An output, and what it asks to be changed, if it may ask for that: an agent may always have another one
        reconfigured."""
        may = (self.changes and isinstance(output, CHANGES)) or (self.asks and isinstance(output, Reconfigure))
        if not may:
            return output, None
        from flujo_core.model.mutation import asked  # noqa: PLC0415 - few steps change the pipeline

        return output.output, asked(output)


def _agent_of(step: Step[Any, Any]) -> AgentKind:
    """What kind of agent a step asks."""
    if not isinstance(step.action, AgentAction):
        return ""
    return "pydantic-ai" if isinstance(step.action.agent, ModelAgent) else "other"
