"""What a leaf does: calls its function, or asks its agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from flujo_core.backend.local import workers
from flujo_core.engine.journal import Journal
from flujo_core.model.action import AgentAction, FunctionAction, RegisteredAction
from flujo_core.model.agent import AgentProtocol, AgentReply, ModelAgent, ModelSource, Usage, model_name
from flujo_core.model.signature import Resources, RunInfo
from flujo_core.model.step import Step
from flujo_core.model.template import Template

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Surroundings(Protocol):
    """What an action must know of the run that it is part of.

    Attributes:
        journal: The run's journal.
        resources: What steps get as their resources.
        models: Where plugins' models are found.
        streams_text: Whether the pieces of an agent's text are wanted as they come.
        threads: The threads that attempts which were cancelled or timed out have left at work, by address.
    """

    journal: Journal
    resources: Resources | None

    models: ModelSource
    streams_text: bool
    threads: dict[str, asyncio.Future[Any]]


class Turn(NamedTuple):
    """One attempt of a leaf.

    Attributes:
        run: The run.
        value: The step's input.
        context: The attempt's draft; None if the step does not look at it.
        attempt: The attempt's number, from 1.
        deadline: When it times out, in seconds since the epoch, or None.
    """

    run: Surroundings
    value: Any
    context: PipelineContext | None
    attempt: int
    deadline: float | None


class Action(Protocol):
    """What a leaf does."""

    model: str | None
    needs_context: bool

    async def act(self, turn: Turn, /) -> tuple[Any, Usage | None]:
        """Does it; gives the output, not validated yet, and what an agent used."""
        ...


def action_of(step: Step[Any, Any], address: str) -> Action:
    """What ``step`` does, ready to be done."""
    assert not isinstance(step.action, RegisteredAction)  # what it stands for is in its place
    if isinstance(step.action, FunctionAction):
        return Call(step.action, address)
    if isinstance(step.action.agent, ModelAgent):
        return AskModelAgent(step.action, address)
    return AskAgent(step.action, address)


def direct_call(step: Step[Any, Any]) -> Callable[[Any], Awaitable[Any]] | None:
    """The function of a step that does nothing but call it with its input; None where there is more to do."""
    if not isinstance(step.action, FunctionAction):
        return None
    signature = step.action.signature
    if not signature.is_async or signature.injected or not signature.has_input:
        return None
    return step.action.function


class Call:
    """Calls a function: on the event loop if it is async, else in a worker thread."""

    model: str | None = None

    def __init__(self, action: FunctionAction, address: str) -> None:
        self._function = action.function
        self._signature = action.signature
        self._address = address
        self.needs_context = "context" in action.signature.injected

    async def act(self, turn: Turn, /) -> tuple[Any, None]:
        return await self.call(turn), None

    def call(self, turn: Turn) -> Awaitable[Any]:
        """The function's result."""
        signature = self._signature
        arguments = (turn.value,) if signature.has_input else ()
        injected = {name: self._injected(kind, turn) for kind, name in signature.injected.items()}
        if signature.is_async:
            return cast(Awaitable[Any], self._function(*arguments, **injected))
        return self._call_in_thread(turn, workers.submit(self._function, *arguments, **injected))

    async def _call_in_thread(self, turn: Turn, thread: asyncio.Future[Any]) -> Any:
        """The result of a thread; one that is not waited for any more is remembered, and its result dropped."""
        try:
            result = await asyncio.shield(thread)
        except asyncio.CancelledError:
            turn.run.threads[self._address] = thread
            thread.add_done_callback(lambda late: late.exception())
            raise
        return await result if iscoroutine(result) else result  # a sync wrapper around an async function gives one

    def _injected(self, kind: str, turn: Turn) -> Any:
        if kind == "context":
            return turn.context
        return turn.run.resources if kind == "resources" else run_info(turn, self._address)


class AskAgent:
    """Asks an agent that keeps the ``AgentProtocol``."""

    model: str | None = None
    needs_context: bool = False

    def __init__(self, action: AgentAction, address: str) -> None:
        self._agent = cast(AgentProtocol[Any, Any], action.agent)
        self._address = address

    async def act(self, turn: Turn, /) -> tuple[Any, Usage | None]:
        reply = await self._agent.run(turn.value, info=run_info(turn, self._address))
        return reply.output, reply.usage


class AskModelAgent:
    """Asks a pydantic-ai agent."""

    def __init__(self, action: AgentAction, address: str) -> None:
        from flujo_core.agents.pydantic_ai import ask  # noqa: PLC0415 - imports pydantic_ai

        self._ask: Callable[..., Awaitable[AgentReply[Any]]] = ask
        self._agent = action.agent
        self._capabilities = action.capabilities
        self._address = address
        self._template = action.prompt if isinstance(action.prompt, Template) else None
        self._prompt = Call(action.prompt, address) if isinstance(action.prompt, FunctionAction) else None
        self._deps = None if action.deps is None else Call(action.deps, address)
        self.model = model_name(action.agent.model)
        self.needs_context = any(part is not None and part.needs_context for part in (self._prompt, self._deps))

    async def act(self, turn: Turn, /) -> tuple[Any, Usage | None]:
        journal = turn.run.journal

        async def on_text(text: str) -> None:
            await journal.chunk(self._address, turn.attempt, text)

        about = {"run_id": journal.run_id, "tenant": journal.tenant, "address": self._address, "attempt": turn.attempt}
        reply = await self._ask(
            self._agent,
            await self._prompt_text(turn),
            deps=None if self._deps is None else await self._deps.call(turn),
            models=turn.run.models,
            capabilities=self._capabilities,
            metadata={"flujo": about},
            on_text=on_text if turn.run.streams_text else None,
        )
        return reply.output, reply.usage

    async def _prompt_text(self, turn: Turn) -> Any:
        if self._template is not None:
            return self._template.render(turn.value)
        return turn.value if self._prompt is None else await self._prompt.call(turn)


def run_info(turn: Turn, address: str) -> RunInfo:
    """What a step may know of where it runs."""
    journal = turn.run.journal
    import hashlib  # noqa: PLC0415 - few steps ask for it

    key = hashlib.sha256(f"{journal.run_id}\0{address}".encode()).hexdigest()[:32]
    return RunInfo(journal.run_id, journal.tenant, address, turn.attempt, key, turn.deadline)
