"""What the model layer must know of agents: how one is called, what it gives, and what it says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from typing_extensions import TypeVar

from flujo_core.model.check import union
from flujo_core.model.patch import Patch
from flujo_core.model.signature import RunInfo, without_outcomes
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.spend import Most, Spend

if TYPE_CHECKING:
    from flujo_core.model.budget import Price

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)

ModelFactory: TypeAlias = Callable[[str], Any]
"""Makes a pydantic-ai ``Model`` from what follows the prefix of a model name: ``"smollm2"`` of ``"local:smollm2"``."""


class Usage(NamedTuple):
    """What an agent used.

    Attributes:
        requests: Requests to the model.
        input_tokens: Tokens sent.
        output_tokens: Tokens received.
        tool_calls: Tools called.
        cost_usd: What it cost in US dollars, or None where the price is not known.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    cost_usd: Decimal | None = None

    def plus(self, other: Usage) -> Usage:
        """The sum; its cost is known only if both are."""
        if self == Usage():
            return other
        cost = None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.tool_calls + other.tool_calls,
            cost,
        )


class AgentReply(Generic[Out]):
    """What an agent gives back: its output, and what that took.

    Args:
        output: The output; validated against the step's output type.
        usage: What it used, if that is known.
    """

    __slots__ = ("output", "usage")

    def __init__(self, output: Out, usage: Usage | None = None) -> None:
        self.output = output
        self.usage = usage

    def __repr__(self) -> str:
        return f"AgentReply(..., usage={self.usage!r})"


FEEDBACK = "Your answer to this was not accepted. Give another one that mends what was wrong with it:"
"""What an agent is told before it is told what a validator said."""


def told_again(prompt: Any, feedback: str) -> str:
    """A prompt with what a validator has said of the answer to it."""
    return f"{prompt}\n\n{FEEDBACK}\n{feedback}"


class Call(NamedTuple):
    """A finished call of a model or a tool inside an agent step, as the journal has it.

    Attributes:
        digest: What was asked, as a digest: model, messages, settings and tools; or the tool's name and arguments.
        result: What came back, as JSON.
        patch: What the tool changed in the context.
        usage: What the call used, or None.
    """

    digest: str
    result: bytes
    patch: Patch
    usage: Usage | None


class CallLog(Protocol):
    """The finished calls of one attempt of an agent step.

    A call is known as ``model.<run_step>`` or ``tool.<call_id>``.
    """

    def find(self, call: str, /) -> Call | None:
        """The call, if it is finished."""
        ...

    async def keep(self, call: str, made: Call, /) -> None:
        """Keeps a finished call: it is durable when this returns."""
        ...


class Meter(Protocol):
    """What the calls of one attempt of a step may spend.

    A call is known as ``model.<run_step>`` or ``tool.<call_id>``.

    Attributes:
        prices: The deployment's prices, by patterns of names of models.
        counts_tools: Whether calls of tools are counted.
    """

    @property
    def prices(self) -> Mapping[str, Price]: ...

    @property
    def counts_tools(self) -> bool: ...

    async def reserve(self, call: str, most: Most, /) -> str:
        """Holds the most that a call can spend; it is durable when this returns.

        Returns:
            What the reservation is called.

        Raises:
            OverBudget: A budget has no room for it.
        """
        ...

    async def settle(self, call: str, hold: str, used: Spend, /, *, is_known: bool = True) -> None:
        """Gives back what is held, and counts what was spent.

        Args:
            call: The call.
            hold: What the reservation is called.
            used: What was spent.
            is_known: Whether that is known; else it is the most that it can have been.
        """
        ...


class CallsDiffer(Exception):
    """An agent asked for something else than what its journal has; the attempt is discarded, and a new one started.

    Args:
        call: The call that differs.
    """

    def __init__(self, call: str) -> None:
        super().__init__(f"the agent's call '{call}' is not the one that the journal has")
        self.call = call


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolApproval:
    """The answer to whether an agent may call a tool; ``True`` and ``False`` are short for it.

    Attributes:
        approved: Whether it may.
        message: What the model is told where it may not.
        override_args: The arguments that the tool is called with instead of the model's.
    """

    approved: bool
    message: str | None = None
    override_args: dict[str, Any] | None = None


class ToolQuestion(NamedTuple):
    """What an agent's tool waits for.

    Attributes:
        call_id: The id of the tool call.
        tool: The tool's name.
        text: The question, for people. It holds the arguments: it is payload.
        approval: Whether it asks if the tool may be called; else it asks for the tool's result.
        json_schema: The JSON Schema of the answer.
    """

    call_id: str
    tool: str
    text: str
    approval: bool
    json_schema: dict[str, Any]

    @property
    def answer_type(self) -> Any:
        """The type of the answer."""
        return bool | ToolApproval if self.approval else Any


class Deferred(NamedTuple):
    """An agent that cannot go on until tool calls are approved, or others have given their results.

    Attributes:
        questions: What it waits for; it goes on when all are answered.
        messages: All its messages so far, as JSON.
        usage: All that it used so far, or None. What it has used in the end has this in it.
    """

    questions: tuple[ToolQuestion, ...]
    messages: bytes
    usage: Usage | None


class ModelSource(Protocol):
    """Where the models are found that plugins have for model names."""

    def find_model(self, name: str, /) -> Any:
        """The pydantic-ai ``Model`` for a name such as ``local:smollm2``, or None if no plugin claims the name."""
        ...

    def model_prefixes(self) -> Sequence[str]:
        """The prefixes of the names that plugins claim."""
        ...


@runtime_checkable
class AgentProtocol(Protocol[In, Out]):
    """Anything that answers: one coroutine method. pydantic-ai agents need no wrapping; other libraries' do."""

    async def run(self, input: In, /, *, info: RunInfo) -> AgentReply[Out]:
        """Answers ``input``."""
        ...


@runtime_checkable
class BuildsAgents(Protocol):
    """What builds the agent of a step just before it runs.

    Attributes:
        build: Builds it.
        scope: The local names where it was made, for annotations that are strings.
    """

    build: Callable[..., Any]
    scope: Mapping[str, Any]


@runtime_checkable
class TypedAgent(Protocol):
    """An agent whose types its instances know, and not its ``run``."""

    @property
    def takes(self) -> Any:
        """The type of its input."""
        ...

    @property
    def gives(self) -> Any:
        """The type of its output."""
        ...


@runtime_checkable
class DeclaresEgress(Protocol):
    """An agent that says whether what it is given leaves the boundary; of one that does not say it, that is taken.

    Attributes:
        egress: Whether it does, or the name of where to.
    """

    egress: bool | str


@runtime_checkable
class StreamingAgentProtocol(AgentProtocol[In, Out], Protocol[In, Out]):
    """An agent that can give its answer in pieces, to a step that streams: ``Step.agent(...).streaming()``."""

    def stream(self, input: In, /, *, info: RunInfo) -> AsyncIterator[Out | AgentReply[Out]]:
        """Gives pieces of text, or of another output what there is of it; and last its reply, as ``run`` would."""
        ...


AgentKind: TypeAlias = Literal["", "pydantic-ai", "other"]
"""What kind of agent a step asks: one of pydantic-ai, or built as one; another one; or none."""


@runtime_checkable
class ModelAgent(Protocol):
    """What is read from a pydantic-ai agent while a pipeline is built, without importing pydantic-ai."""

    @property
    def output_type(self) -> Any:
        """A type, a function, an output marker, or a list of these."""

    @property
    def deps_type(self) -> type:
        """The type of the agent's dependencies."""
        ...

    @property
    def model(self) -> Any:
        """A model, its name, or None."""


@runtime_checkable
class _OneOutput(Protocol):
    """pydantic-ai's ``ToolOutput``."""

    output: Any


@runtime_checkable
class _ManyOutputs(Protocol):
    """pydantic-ai's ``NativeOutput`` and ``PromptedOutput``."""

    outputs: Any


@runtime_checkable
class _FunctionOutput(Protocol):
    """pydantic-ai's ``TextOutput``."""

    output_function: Callable[..., Any]


def output_type(declared: Any) -> Any:
    """The type of value that a pydantic-ai ``output_type`` declares.

    ``DeferredToolRequests`` in it is left out: these become questions, and never a step's output.
    """
    if get_origin(declared) in (Union, UnionType) and any(map(_is_deferral, get_args(declared))):
        return union(one for one in get_args(declared) if not _is_deferral(one))
    if isinstance(declared, type):
        return declared
    if isinstance(declared, _OneOutput):
        return output_type(declared.output)
    if isinstance(declared, _ManyOutputs):
        return output_type(declared.outputs)
    if isinstance(declared, _FunctionOutput):
        return output_type(declared.output_function)
    if isinstance(declared, Sequence):
        return union(output_type(one) for one in declared if not _is_deferral(one))
    if callable(declared) and hasattr(declared, "__code__"):
        return without_outcomes(get_type_hints(declared).get("return", Any))
    return declared


def _is_deferral(declared: Any) -> bool:
    """Whether it is pydantic-ai's ``DeferredToolRequests``, without importing pydantic-ai."""
    if not isinstance(declared, type):
        return False
    return declared.__name__ == "DeferredToolRequests" and declared.__module__.partition(".")[0] == "pydantic_ai"


def model_name(model: Any) -> str | None:
    """The name of a pydantic-ai model: ``openai:gpt-5``; None where there is none."""
    if model is None or isinstance(model, str):
        return model
    return f"{model.system}:{model.model_name}" if isinstance(model, _NamedModel) else type(model).__name__


@runtime_checkable
class _NamedModel(Protocol):
    """pydantic-ai's ``Model``."""

    @property
    def system(self) -> str: ...

    @property
    def model_name(self) -> str: ...
