"""What a step does: calls a function, asks an agent, or asks a person; read from what the author gave, and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from inspect import isasyncgenfunction
from typing import Any, TypeAlias, get_args

from flujo_core.errors import DefinitionError, SignatureError
from flujo_core.model.agent import AgentProtocol, BuildsAgents, ModelAgent, TypedAgent, output_type
from flujo_core.model.check import bare, fits, type_name
from flujo_core.model.inputs import From
from flujo_core.model.outcome import OnExpiry, PauseForHumanInput
from flujo_core.model.reconfiguration import Reconfigured
from flujo_core.model.signature import Signature, read_signature, without_outcomes
from flujo_core.model.slotted import frozen
from flujo_core.model.template import NOTHING, Template, parse
from flujo_core.model.tool import signatures_of, tool_signatures


@frozen(eq=False)
class FunctionAction:
    """A step that calls a function.

    Attributes:
        function: Async, or sync (then it runs in a worker thread).
        name: The step's name, for messages.
        scope: The local names where it was defined, for annotations that are strings.
        known: Its signature, where that could be read when the step was made.
    """

    function: Callable[..., Any]
    name: str
    scope: Mapping[str, Any]
    known: Signature | None = None

    @cached_property
    def signature(self) -> Signature:
        """What the function takes and gives."""
        if self.known:
            return self.known
        try:
            return read_signature(self.function, self.name, self.scope)
        except NameError as error:
            raise SignatureError(
                f"step '{self.name}' has an annotation that names '{error.name}', which is not defined where the"
                " step is; define it before the step is used, or import it at run time"
            ) from error

    @property
    def streams(self) -> bool:
        """Whether it gives a stream, as far as that can be told before its annotations can be read."""
        return isasyncgenfunction(self.function) if self.known is None else self.known.item is not None

    @property
    def takes(self) -> Any:
        return self.signature.takes

    @property
    def gives(self) -> Any:
        return self.signature.gives


@frozen(eq=False)
class AgentAction:
    """A step that asks an agent.

    Attributes:
        agent: A pydantic-ai agent, an ``AgentProtocol``, or the name that a plugin registered one by.
        takes: The input's type.
        gives: The output's type; ``Any`` while only the agent's name is known.
        prompt: Makes the prompt from the input; None: the input is the prompt.
        deps: Makes the agent's dependencies from the input, or None.
        capabilities: pydantic-ai capabilities that plugins add to the agent's own.
        streams: Whether its output is given in pieces.
        factory: Builds the agent just before it runs, or None.
        source: What a spec says of the agent, where it is from one: an import path, or the agent's own spec. None: it
            is not, or its name is all that it says.
        added: pydantic-ai tools that the agent has by their registered names, made by ``FlujoTool``.
        changed: What the run has changed of the agent, or None.
    """

    agent: Any
    takes: Any
    gives: Any
    prompt: Template | FunctionAction | None
    deps: FunctionAction | None
    capabilities: tuple[Any, ...] = ()
    streams: bool = False
    factory: FunctionAction | None = None
    source: str | Mapping[str, Any] | None = None
    added: tuple[Any, ...] = ()
    changed: Reconfigured | None = None

    @property
    def parts(self) -> Sequence[FunctionAction]:
        """The functions that it calls beside the agent."""
        return [part for part in (self.prompt, self.deps, self.factory) if isinstance(part, FunctionAction)]

    @cached_property
    def tools(self) -> Sequence[Signature]:
        """What the agent's tools take and are given that were made by ``FlujoTool``."""
        own = tool_signatures(self.agent) if isinstance(self.agent, ModelAgent) else []
        return [one.step for one in (*own, *signatures_of(self.added))]


@frozen(eq=False)
class RegisteredAction:
    """A step that a plugin registered, while only its name is known.

    Attributes:
        name: The name: ``acme/mask``.
        takes: The type of input that is counted on.
        gives: The type of output that is counted on.
    """

    name: str
    takes: Any
    gives: Any


@frozen(eq=False)
class HumanAction:
    """A step that asks a person.

    Attributes:
        ask: Makes the question from the input.
        response: The answer's type.
        expires_in: For how long it can be answered, or None.
        on_expiry: What happens then.
        approvers: Who may answer; empty: anybody.
        quorum: How many different approvers must give the same answer.
    """

    ask: Template
    response: Any
    expires_in: timedelta | None
    on_expiry: OnExpiry[Any]
    approvers: tuple[str, ...]
    quorum: int

    @property
    def takes(self) -> Any:
        return Any

    @property
    def gives(self) -> Any:
        return self.response

    def pause(self, value: Any, named: Mapping[From, Any] = NOTHING) -> PauseForHumanInput[Any]:
        """What it asks.

        Args:
            value: The step's input.
            named: The named inputs that the question shows.
        """
        return PauseForHumanInput(
            self.ask.render(value, named),
            self.response,
            expires_in=self.expires_in,
            on_expiry=self.on_expiry,
            approvers=self.approvers,
            quorum=self.quorum,
        )


Action: TypeAlias = FunctionAction | AgentAction | RegisteredAction | HumanAction


def function_action(fn: Callable[..., Any], name: str, scope: Mapping[str, Any]) -> FunctionAction:
    """The action of a function; its signature is read now, or later if it names what is not defined yet."""
    try:
        return FunctionAction(fn, name, {}, read_signature(fn, name, scope))
    except NameError:
        return FunctionAction(fn, name, dict(scope))


def agent_action(name: str, agent: Any, input: Any, prompt: Any, deps: Any, scope: Mapping[str, Any]) -> AgentAction:
    if not isinstance(agent, ModelAgent | str):
        return protocol_action(name, agent, prompt or deps or input, scope)
    made = _prompt(name, prompt, input, scope)
    factory = function_action(agent.build, f"{name} (agent)", agent.scope) if isinstance(agent, BuildsAgents) else None
    takes = _input_type(name, input, made)
    if factory is not None:
        takes = _built_of(name, takes, factory)
    makes_deps = None if deps is None else function_action(deps, f"{name} (deps)", scope)
    if isinstance(agent, str):
        takes_any = prompt is None and input is None  # an agent of another kind may take what it likes
        return AgentAction(agent, Any if takes_any else takes, Any, made, makes_deps)
    check_deps(name, agent, makes_deps)
    return AgentAction(agent, takes, output_type(agent.output_type), made, makes_deps, factory=factory)


def _built_of(name: str, takes: Any, factory: FunctionAction) -> Any:
    """The input's type of a step whose agent is built of it.

    Raises:
        DefinitionError: The prompt takes another one.
    """
    if bare(takes) is Any:
        return factory.takes
    if not fits(takes, factory.takes):
        raise DefinitionError(
            f"the prompt of step '{name}' takes '{type_name(takes)}', and its agent is built of"
            f" '{type_name(factory.takes)}'; both get the step's input"
        )
    return takes


def check_deps(name: str, agent: ModelAgent, deps: FunctionAction | None) -> None:
    if deps is None and agent.deps_type not in (type(None), object):
        raise DefinitionError(
            f"the agent of step '{name}' has dependencies of type '{agent.deps_type.__name__}';"
            " give 'deps=', a function that makes them from the input"
        )


def protocol_action(name: str, agent: Any, extra: Any, scope: Mapping[str, Any]) -> AgentAction:
    if isinstance(agent, type):
        raise DefinitionError(f"the agent of step '{name}' is the class '{agent.__name__}'; give an instance of it")
    if not isinstance(agent, AgentProtocol):
        raise DefinitionError(
            f"step '{name}' was given {type(agent).__name__!r} as its agent; give a pydantic-ai agent, an object with"
            " 'async def run(self, input, /, *, info) -> AgentReply', or the name of a registered agent"
        )
    if extra is not None:
        raise DefinitionError(
            f"the agent of step '{name}' takes its input as it is; leave 'prompt', 'input', 'deps' out"
        )
    if isinstance(agent, TypedAgent):
        return AgentAction(agent, agent.takes, agent.gives, None, None)
    hints = read_signature(agent.run, name, scope)
    reply = get_args(hints.gives)
    return AgentAction(agent, hints.takes, without_outcomes(reply[0]) if reply else Any, None, None)


def _prompt(name: str, prompt: Any, input: Any, scope: Mapping[str, Any]) -> Template | FunctionAction | None:
    if prompt is None or isinstance(prompt, str):
        return None if prompt is None else parse(prompt, name, Any if input is None else input)
    if not callable(prompt):
        raise DefinitionError(f"the prompt of step '{name}' is a text or a function, not {type(prompt).__name__!r}")
    if input is not None:
        raise DefinitionError(
            f"step '{name}' has a prompt function, which declares the input's type; leave 'input' out"
        )
    return function_action(prompt, f"{name} (prompt)", scope)


def _input_type(name: str, input: Any, made: Template | FunctionAction | None) -> Any:
    if isinstance(made, FunctionAction):
        return made.takes
    if made is None and input not in (None, str):
        raise DefinitionError(
            f"step '{name}' has no prompt, so its input is 'str'; give 'prompt=', or leave 'input' out"
        )
    return (str if made is None else Any) if input is None else input
