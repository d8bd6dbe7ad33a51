"""Step, the leaf of every pipeline: one function, agent or question, run as a transaction."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, Never, Protocol, Self, TypeAlias, overload

from typing_extensions import TypeVar, Unpack

from flujo_core.errors import ConfigurationError, DefinitionError, SignatureError
from flujo_core.model.action import (
    Action,
    AgentAction,
    FunctionAction,
    HumanAction,
    RegisteredAction,
    agent_action,
    check_deps,
    function_action,
    protocol_action,
)
from flujo_core.model.agent import AgentProtocol, ModelAgent, StreamingAgentProtocol, output_type
from flujo_core.model.clearance import Labels
from flujo_core.model.flow import Node, StreamingNode, checked_name
from flujo_core.model.hints import ResourceHints
from flujo_core.model.inputs import NamedInput
from flujo_core.model.outcome import PauseForHumanInput, PipelineMutation, Reconfigure, Stop
from flujo_core.model.policy import NO_POLICY, Cache, Migrations, Policies, Retry, StepPolicy, Timeout, Validator
from flujo_core.model.reader import Reader
from flujo_core.model.signature import Signature, item_of
from flujo_core.model.slotted import frozen
from flujo_core.model.template import Template

if TYPE_CHECKING:
    from pydantic_ai import DeferredToolRequests
    from pydantic_ai.agent import AbstractAgent

    from flujo_core.agents.contextual import ContextualAgentFactory

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Item = TypeVar("Item", covariant=True)
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
Deps = TypeVar("Deps")
Made = TypeVar("Made", default=Never)  # of a step that only stops

Returned: TypeAlias = O | PauseForHumanInput[O] | PipelineMutation[O] | Reconfigure[O] | Stop
"""What a step's function may give: its output, or an outcome."""


@frozen(eq=False, repr=False)
class Step(Node[In, Out]):
    """One function, one agent, or one question to a person. Made by ``@step``, ``Step.agent`` and ``HumanInput``.

    A step is a transaction: it sees a draft of the context, and its output and its changes are committed together, or
    not at all.

    Attributes:
        name: Unique within its scope.
        action: What it does.
        policies: What holds for each of its runs.
    """

    name: str
    action: Action
    policies: StepPolicy = NO_POLICY

    @property
    def label(self) -> str:
        return self.name

    @property
    def takes(self) -> Any:
        return self.action.takes

    @property
    def gives(self) -> Any:
        return self.action.gives

    @property
    def item(self) -> Any:
        if isinstance(self.action, AgentAction) and self.action.streams:
            return self.action.gives
        return self.action.signature.item if isinstance(self.action, FunctionAction) else None

    @property
    def takes_item(self) -> Any:
        return item_of(self.takes)

    @property
    def signatures(self) -> list[Signature]:
        """What the functions that the step calls take: its own, or its prompt's and deps', and its agent's tools'."""
        action = self.action
        if isinstance(action, RegisteredAction | HumanAction):
            return []
        if isinstance(action, FunctionAction):
            return [action.signature]
        return [*(part.signature for part in action.parts), *action.tools]

    @property
    def named_inputs(self) -> list[NamedInput]:
        """The inputs that it takes by the names of what gives them."""
        found = [one for signature in self.signatures for one in signature.named.values()]
        return found if self.template is None else [*found, *self.template.named]

    @property
    def template(self) -> Template | None:
        """The text that it makes from its input: a prompt, or a question for a person."""
        action = self.action
        if isinstance(action, HumanAction):
            return action.ask
        prompt = action.prompt if isinstance(action, AgentAction) else None
        return prompt if isinstance(prompt, Template) else None

    @property
    def shows_life(self) -> bool:
        """Whether it gives signs of life before its output: pieces that it yields, or of an agent's answer."""
        agent = self.action.agent if isinstance(self.action, AgentAction) else None
        return isinstance(agent, ModelAgent | str) or isinstance(self.action, RegisteredAction) or self.item is not None

    def streaming(self) -> StreamingStep[In, Out, Out]:
        """The same step of an agent, giving its output in pieces: text as it comes; of any other output, what there is
        of it each time that more of it is there and valid, and last the whole.

        What it has streamed is its output: of an agent that says something before it calls a tool, that too.

        Raises:
            DefinitionError: It does not ask an agent, or one that cannot stream.
        """
        action = self.action
        if not isinstance(action, AgentAction):
            raise DefinitionError(f"step '{self.name}' asks no agent; a function streams by yielding")
        if not isinstance(action.agent, ModelAgent | StreamingAgentProtocol | str):
            what = f"the agent of step '{self.name}' cannot stream"
            raise DefinitionError(f"{what}; give it 'def stream(self, input, /, *, info) -> AsyncIterator[...]'")
        return StreamingStep(self.name, replace(action, streams=True), self.policies)

    @property
    def readers(self) -> tuple[Reader, ...]:
        """Its validators, apart from those of which only the names are known."""
        validators = (one for one in self.policies.validators if not isinstance(one, str))
        return tuple(Reader(one, f"validator '{_named(one)}'", {}, may_await=True) for one in validators)

    def policy(
        self,
        *,
        retry: Retry | None = None,
        timeout: float | Timeout | None = None,
        fallback: Node[In, Out] | None = None,  # pyright: ignore[reportGeneralTypeIssues]
        cache: Cache | None = None,
        version: str | None = None,
        was: str | None = None,
        migrations: Migrations | None = None,
        validators: Sequence[Validator | str] | None = None,
        backend: str | None = None,
        resources: ResourceHints | None = None,
        labels: Labels | None = None,
    ) -> Self:
        """As ``Node.policy``, and ``validators``, ``backend``, ``resources``.

        Args:
            retry: When it is tried again.
            timeout: How long one attempt may take, in seconds; or a ``Timeout``.
            fallback: What runs, with the same input, when it has failed for good.
            cache: Whether its outputs are kept for equal inputs.
            version: Changed by the author when its meaning changes, so that what was cached is not used any more.
            was: The name that it had before, so that runs that were begun under that name go on.
            migrations: How runs go on that were begun under another ``version``; see ``Policies``.
            validators: What an output must pass.
            backend: The name of what it runs on.
            resources: What it needs of that.
            labels: What it does to the labels of data that goes through it.
        """
        made = super().policy(
            retry=retry,
            timeout=timeout,
            fallback=fallback,
            cache=cache,
            version=version,
            was=was,
            migrations=migrations,
            labels=labels,
        )
        if backend is not None or resources is not None:
            made = made._with_policies(Policies(backend=backend, resources=resources))
        return made if validators is None else made._with_policies(Policies(validators=validators))

    @overload
    @staticmethod
    def agent(
        name: str,
        agent: AbstractAgent[None, O | DeferredToolRequests] | AbstractAgent[object, O | DeferredToolRequests],
        *,
        prompt: Callable[Concatenate[I, ...], str],
        **policies: Unpack[Policies],
    ) -> Step[I, O]: ...
    @overload
    @staticmethod
    def agent(
        name: str,
        agent: AbstractAgent[None, O | DeferredToolRequests] | AbstractAgent[object, O | DeferredToolRequests],
        *,
        input: type[I],
        prompt: str,
        **policies: Unpack[Policies],
    ) -> Step[I, O]: ...
    @overload
    @staticmethod
    def agent(
        name: str,
        agent: AbstractAgent[None, O | DeferredToolRequests] | AbstractAgent[object, O | DeferredToolRequests],
        *,
        prompt: str,
        **policies: Unpack[Policies],
    ) -> Step[Any, O]: ...
    @overload
    @staticmethod
    def agent(
        name: str,
        agent: AbstractAgent[None, O | DeferredToolRequests] | AbstractAgent[object, O | DeferredToolRequests],
        **policies: Unpack[Policies],
    ) -> Step[str, O]: ...
    @overload
    @staticmethod
    def agent(
        name: str,
        agent: AbstractAgent[Deps, O | DeferredToolRequests],
        *,
        deps: Callable[..., Deps],
        input: type[I],
        prompt: str,
        **policies: Unpack[Policies],
    ) -> Step[I, O]: ...
    @overload
    @staticmethod
    def agent(
        name: str,
        agent: AbstractAgent[Deps, O | DeferredToolRequests],
        *,
        deps: Callable[..., Deps],
        prompt: str | Callable[..., str] = ...,
        **policies: Unpack[Policies],
    ) -> Step[Any, O]: ...
    @overload
    @staticmethod
    def agent(name: str, agent: AgentProtocol[I, O], **policies: Unpack[Policies]) -> Step[I, O]: ...
    @overload
    @staticmethod
    def agent(
        name: str,
        agent: ContextualAgentFactory[I, O],
        *,
        prompt: str | Callable[..., str] = ...,
        **policies: Unpack[Policies],
    ) -> Step[I, O]: ...
    @overload
    @staticmethod
    def agent(
        name: str,
        agent: str,
        *,
        input: Any = ...,
        prompt: str | Callable[..., str] | None = ...,
        deps: Callable[..., Any] | None = ...,
        **policies: Unpack[Policies],
    ) -> Step[Any, Any]: ...
    @staticmethod
    def agent(
        name: str,
        agent: Any,
        *,
        input: Any = None,
        prompt: str | Callable[..., str] | None = None,
        deps: Callable[..., Any] | None = None,
        **policies: Unpack[Policies],
    ) -> Any:
        """A step that asks an agent.

        Args:
            name: The step's name.
            agent: A pydantic-ai agent (its output type is the step's), a ``ContextualAgentFactory``, which builds one,
                an ``AgentProtocol`` (its ``run`` is annotated), or the name that a plugin registered an agent by.
            input: The input's type, for a prompt that is a text.
            prompt: A text with placeholders (``{{ input.subject }}``, or ``{{ read.body }}`` for what another step
                gave), or a function that makes the prompt from the input and, if it takes them, named inputs, the
                context, the resources and the run's info. None: the input, a ``str``, is the prompt.
            deps: Makes the agent's dependencies; takes what a prompt function may take.
            policies: What holds for each of its runs; see ``Policies``.

        Raises:
            DefinitionError: The agent, the prompt and the input do not go together; the message says how.
        """
        scope = sys._getframe(1).f_locals
        action = agent_action(checked_name(name), agent, input, prompt, deps, scope)
        return _made(name, action, policies)

    @staticmethod
    def registered(name: str, /, *, takes: type[I], gives: type[O]) -> Step[I, O]:
        """A step that a plugin has registered, by its name. It is looked up when a ``Flujo`` is made.

        Args:
            name: ``plugin/name``, or the short name while only one plugin has it. What follows the slash is the name
                of the step.
            takes: The type of input that it is given.
            gives: The type of output that is counted on.

        Raises:
            DefinitionError: The name is empty.
        """
        return Step(checked_name(name).rpartition("/")[2] or name, RegisteredAction(name, takes, gives))


class StreamingStep(StreamingNode[In, Out, Item], Step[In, Out]):
    """A step that gives its output in pieces: its function yields. Made by ``@step``.

    The next step takes the pieces as they come if it declares an ``AsyncIterator``; any other gets the whole: text of
    pieces of text, else a list.
    """


class _StepDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[Concatenate[I, ...], AsyncIterator[str]], /) -> StreamingStep[I, str, str]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[Concatenate[I, ...], AsyncIterator[O]], /) -> StreamingStep[I, list[O], O]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[I, ...], Coroutine[Any, Any, Returned[Made]]], /) -> Step[I, Made]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[I, ...], Returned[Made]], /) -> Step[I, Made]: ...
    @overload
    def __call__(self, fn: Callable[..., Coroutine[Any, Any, Returned[Made]]], /) -> Step[object, Made]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, fn: Callable[..., Returned[Made]], /) -> Step[object, Made]: ...  # pyright: ignore[reportOverlappingOverload]


@overload
def step(fn: Callable[Concatenate[I, ...], AsyncIterator[str]], /) -> StreamingStep[I, str, str]: ...  # type: ignore[overload-overlap]
@overload
def step(fn: Callable[Concatenate[I, ...], AsyncIterator[O]], /) -> StreamingStep[I, list[O], O]: ...
@overload
def step(fn: Callable[Concatenate[I, ...], Coroutine[Any, Any, Returned[Made]]], /) -> Step[I, Made]: ...
@overload
def step(fn: Callable[Concatenate[I, ...], Returned[Made]], /) -> Step[I, Made]: ...
@overload
def step(fn: Callable[..., Coroutine[Any, Any, Returned[Made]]], /) -> Step[object, Made]: ...  # pyright: ignore[reportOverlappingOverload]
@overload
def step(fn: Callable[..., Returned[Made]], /) -> Step[object, Made]: ...  # pyright: ignore[reportOverlappingOverload]
@overload
def step(*, name: str = ..., **policies: Unpack[Policies]) -> _StepDecorator: ...
def step(fn: Any = None, /, *, name: str | None = None, **policies: Unpack[Policies]) -> Any:
    """Makes a step from a function: ``@step`` or ``@step(name=..., retry=..., timeout=...)``.

    The function's first parameter is the step's input, its return type the step's output. Beside the input it may take
    the context, ``Resources`` and ``RunInfo``, told by their types, and by keyword what earlier steps gave:
    ``email: Annotated[Email, From(read)]``. An async function runs on the event loop, any other in a worker thread. One
    that yields gives a stream.

    Args:
        fn: The function.
        name: The step's name; the function's, unless given.
        policies: What holds for each of its runs; see ``Policies``.

    Raises:
        SignatureError: The function cannot be a step.
    """
    if fn is not None:
        return _function_step(fn, name, policies, sys._getframe(1).f_locals)
    return lambda function: _function_step(function, name, policies, sys._getframe(1).f_locals)


def _function_step(fn: Any, name: str | None, policies: Policies, scope: Mapping[str, Any]) -> Step[Any, Any]:
    if not callable(fn):
        raise SignatureError(f"'@step' makes a step from a function, not from {type(fn).__name__!r}")
    label = checked_name(name if name is not None else getattr(fn, "__name__", type(fn).__name__))
    return _made(label, function_action(fn, label, scope), policies)


def _named(function: Validator) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _made(name: str, action: Action, policies: Policies) -> Step[Any, Any]:
    kind: type[Step[Any, Any]] = StreamingStep if isinstance(action, FunctionAction) and action.streams else Step
    made = kind(name, action, NO_POLICY.changed(policies))
    if not isinstance(action, FunctionAction) or action.known is not None:  # else it is checked with the pipeline
        made.check_fallback()
    return made


def with_agent(step: Step[Any, Any], agent: Any) -> Step[Any, Any]:
    """A step that names a registered agent, with that agent in the name's place.

    Args:
        step: The step.
        agent: An agent, or a function without parameters that makes one.

    Raises:
        DefinitionError: It is no agent, or does not go with the step's prompt, input and deps.
        ConfigurationError: The function raised.
    """
    action = step.action
    assert isinstance(action, AgentAction)
    if isinstance(agent, type) or (not isinstance(agent, ModelAgent | AgentProtocol) and callable(agent)):
        try:
            agent = agent()
        except Exception as error:
            what = f"agent '{action.agent}' of step '{step.name}' cannot be made"
            raise ConfigurationError(f"{what}: its factory raised {type(error).__name__}") from error
    if isinstance(agent, ModelAgent):
        check_deps(step.name, agent, action.deps)
        takes = str if action.prompt is None else action.takes
        return replace(step, action=replace(action, agent=agent, takes=takes, gives=output_type(agent.output_type)))
    made = replace(step, action=protocol_action(step.name, agent, action.prompt or action.deps, {}))
    return made.streaming() if action.streams else made
