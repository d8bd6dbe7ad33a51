"""What a leaf does: calls its function, or asks its agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from flujo_core.backend.local import workers
from flujo_core.backend.task import uninterrupted
from flujo_core.engine.channel import close
from flujo_core.engine.frame import MISSING, Frame
from flujo_core.engine.journal import NULL
from flujo_core.errors import InvalidValue
from flujo_core.hooks.call import AuthorizationRequest
from flujo_core.model.action import AgentAction, FunctionAction, HumanAction, RegisteredAction
from flujo_core.model.agent import (
    AgentProtocol,
    AgentReply,
    BuildsAgents,
    CallLog,
    CallsDiffer,
    Deferred,
    ModelAgent,
    StreamingAgentProtocol,
    Usage,
    model_name,
    told_again,
)
from flujo_core.model.agent import Call as AgentCall
from flujo_core.model.check import bare
from flujo_core.model.flow import encoded_name
from flujo_core.model.inputs import From
from flujo_core.model.rename import plain_address
from flujo_core.model.signature import RunInfo
from flujo_core.model.step import Step
from flujo_core.model.template import Template
from flujo_core.model.wiring import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flujo_core.agents.tool_call import ToolSurroundings
    from flujo_core.agents.tool_drafts import ToolDrafts
    from flujo_core.engine.ledger import StepMeter
    from flujo_core.engine.pieces import Pieces
    from flujo_core.model.context import PipelineContext


BUILT = "agent"
"""The name of the record of the agent that was built for a step."""


class Turn(NamedTuple):
    """One attempt of a leaf.

    Attributes:
        frame: The scope that it runs in.
        address: The leaf's address.
        value: The step's input.
        context: The attempt's draft; None if the step does not look at it.
        attempt: The attempt's number, from 1.
        deadline: When it times out, in seconds since the epoch, or None.
        feedback: What a validator said of the attempt before, or None.
        alive: Called at each sign of life, where somebody waits for one.
        calls: The finished calls of an agent's attempt; None where nothing is journaled.
        deferred: What an agent waited for, and the answers by the ids of the tool calls; None: it begins anew.
        pieces: Where the pieces of the output go, if anybody wants them.
    """

    frame: Frame
    address: str
    value: Any
    context: PipelineContext | None
    attempt: int
    deadline: float | None
    feedback: str | None = None
    alive: Callable[[], None] | None = None
    calls: CallLog | None = None
    deferred: tuple[Deferred, Mapping[str, Any]] | None = None
    pieces: Pieces | None = None


class Action(Protocol):
    """What a leaf does.

    Attributes:
        model: The name of the agent's model, or None.
        needs_context: Whether it looks at the context.
        has_calls: Whether it journals the calls that it makes.
    """

    model: str | None
    needs_context: bool
    has_calls: bool

    async def act(self, turn: Turn, /) -> tuple[Any, Usage | None]:
        """Does it; gives the output, not validated yet, and what an agent used."""
        ...


def action_of(step: Step[Any, Any], sources: Mapping[From, Source]) -> Action:
    """What ``step`` does, ready to be done.

    Args:
        step: The step.
        sources: Where its named inputs come from.
    """
    assert not isinstance(step.action, RegisteredAction)  # what it stands for is in its place
    if isinstance(step.action, FunctionAction):
        return Call(step.action, sources) if step.item is None else CallStream(step.action, sources)
    if isinstance(step.action, HumanAction):
        return AskPerson(step.action, sources)
    if isinstance(step.action.agent, ModelAgent):
        return AskModelAgent(step.action, sources)
    return AskStreamingAgent(step.action) if step.action.streams else AskAgent(step.action)


def direct_call(step: Step[Any, Any]) -> Callable[[Any], Awaitable[Any]] | None:
    """The function of a step that does nothing but call it with its input; None where there is more to do."""
    if not isinstance(step.action, FunctionAction):
        return None
    signature = step.action.signature
    if not signature.is_async or signature.injected or signature.named or not signature.has_input:
        return None
    if step.item is not None or step.takes_item is not None:
        return None
    return step.action.function


class Call:
    """Calls a function: on the event loop if it is async, else in a worker thread."""

    model: str | None = None
    has_calls: bool = False

    def __init__(self, action: FunctionAction, sources: Mapping[From, Source]) -> None:
        self._function = action.function
        self._signature = action.signature
        self._named = [(name, sources[one.source]) for name, one in action.signature.named.items()]
        self.needs_context = "context" in action.signature.injected

    async def act(self, turn: Turn, /) -> tuple[Any, None]:
        return await self.call(turn), None

    def call(self, turn: Turn) -> Awaitable[Any]:
        """The function's result."""
        signature = self._signature
        arguments = (turn.value,) if signature.has_input else ()
        injected = {name: self._injected(kind, turn) for kind, name in signature.injected.items()}
        for name, source in self._named:
            if (found := turn.frame.find(source)) is not MISSING:
                injected[name] = found
        if signature.is_async:
            return cast(Awaitable[Any], self._function(*arguments, **injected))
        return self._call_in_thread(turn, workers.submit(self._function, *arguments, **injected))

    async def _call_in_thread(self, turn: Turn, thread: asyncio.Future[Any]) -> Any:
        """The result of a thread; one that is not waited for any more is remembered, and its result dropped."""
        try:
            result = await asyncio.shield(thread)
        except asyncio.CancelledError:
            turn.frame.run.threads[plain_address(turn.address)] = thread
            thread.add_done_callback(lambda late: late.exception())
            raise
        return await result if iscoroutine(result) else result  # a sync wrapper around an async function gives one

    def _injected(self, kind: str, turn: Turn) -> Any:
        if kind == "context":
            return turn.context
        return turn.frame.run.resources if kind == "resources" else run_info(turn)


class CallStream(Call):
    """Calls a function that yields; it is closed, however it is left."""

    async def act(self, turn: Turn) -> tuple[Any, None]:
        pieces, source = turn.pieces, cast("AsyncIterator[Any]", self.call(turn))
        assert pieces is not None
        try:
            async for piece in source:
                if turn.alive is not None:
                    turn.alive()
                if not await pieces.give(piece):
                    break
            else:
                await pieces.end()
        finally:
            await uninterrupted(close(source))
        return pieces.whole(), None


class AskAgent:
    """Asks an agent that keeps the ``AgentProtocol``."""

    model: str | None = None
    needs_context: bool = False
    has_calls: bool = False

    def __init__(self, action: AgentAction) -> None:
        self._agent = cast(AgentProtocol[Any, Any], action.agent)

    async def act(self, turn: Turn, /) -> tuple[Any, Usage | None]:
        async with unseen(turn) as used:
            reply = await self._agent.run(turn.value, info=run_info(turn))
            used.append(reply.usage)
        return reply.output, reply.usage


class AskStreamingAgent:
    """Asks an agent that keeps the ``StreamingAgentProtocol``."""

    model: str | None = None
    needs_context: bool = False
    has_calls: bool = False

    def __init__(self, action: AgentAction) -> None:
        self._agent = cast("StreamingAgentProtocol[Any, Any]", action.agent)

    async def act(self, turn: Turn, /) -> tuple[Any, Usage | None]:
        """Asks it; what it gives last is its reply.

        Raises:
            InvalidValue: It gave none.
        """
        pieces, reply, said = turn.pieces, None, list[str]()
        assert pieces is not None
        source = self._agent.stream(turn.value, info=run_info(turn))
        async with unseen(turn) as used:
            try:
                async for piece in source:
                    if turn.alive is not None:
                        turn.alive()
                    if isinstance(piece, AgentReply):
                        reply = piece
                        used.append(reply.usage)
                        continue
                    if isinstance(piece, str):
                        said.append(piece)
                    if not await pieces.give(piece):
                        return pieces.whole(), None
            finally:
                await uninterrupted(close(source))
        if reply is None:
            raise InvalidValue("its agent streamed no 'AgentReply'; it gives that behind its pieces")
        await pieces.complete(reply.output, "".join(said))
        return pieces.outcome(reply.output), reply.usage


class AskPerson:
    """Asks a person."""

    model: str | None = None
    needs_context: bool = False
    has_calls: bool = False

    def __init__(self, action: HumanAction, sources: Mapping[From, Source]) -> None:
        self._action = action
        self._shown = [(one.source, sources[one.source]) for one in action.ask.named]

    async def act(self, turn: Turn, /) -> tuple[Any, None]:
        named = {wanted: turn.frame.find(source) for wanted, source in self._shown}
        return self._action.pause(turn.value, named), None


class AskModelAgent:
    """Asks a pydantic-ai agent."""

    has_calls: bool = True

    def __init__(self, action: AgentAction, sources: Mapping[From, Source]) -> None:
        from flujo_core.agents.pydantic_ai import ask  # noqa: PLC0415 - imports pydantic_ai
        from flujo_core.agents.tool_call import ToolSurroundings  # noqa: PLC0415
        from flujo_core.agents.tool_drafts import ToolDrafts  # noqa: PLC0415

        self._ask: Callable[..., Awaitable[AgentReply[Any] | Deferred]] = ask
        self._drafts = ToolDrafts
        self._given = ToolSurroundings
        self._agent = action.agent
        self._capabilities = action.capabilities
        self._added = action.added
        self._template = action.prompt if isinstance(action.prompt, Template) else None
        self._shown = (
            [] if self._template is None else [(one.source, sources[one.source]) for one in self._template.named]
        )
        self._prompt = Call(action.prompt, sources) if isinstance(action.prompt, FunctionAction) else None
        self._deps = None if action.deps is None else Call(action.deps, sources)
        self._factory = None if action.factory is None else Call(action.factory, sources)
        self._changed = action.changed
        changed = None if action.changed is None else action.changed.model
        self.model = model_name(action.agent.model) if changed is None else changed
        taken = {kind for one in action.tools for kind in one.injected}
        self._tools_take = bool(taken) or self._factory is not None
        self._tools_change = "context" in taken or (self._deps is not None and self._deps.needs_context)
        parts = (self._prompt, self._factory)
        self.needs_context = self._tools_change or any(one is not None and one.needs_context for one in parts)
        self._streams = action.streams
        self._partial = action.gives if action.streams and bare(action.gives) is not str else None

    async def act(self, turn: Turn, /) -> tuple[Any, Usage | None]:
        """Asks it; gives a ``Deferred`` as the output where it waits for answers.

        Raises:
            CallsDiffer: It asked for something else than the journal has.
        """
        run, journal = turn.frame.run, turn.frame.run.journal

        said: list[str] = []

        async def on_piece(piece: Any) -> None:
            if turn.alive is not None:
                turn.alive()
            if turn.pieces is not None:
                if self._streams and isinstance(piece, str):
                    said.append(piece)
                await turn.pieces.give(piece)

        about = {
            "run_id": journal.run_id, "tenant": journal.tenant, "subject": journal.subject, "address": turn.address,
            "attempt": turn.attempt,
        }  # fmt: skip
        resumed, answers = turn.deferred or (None, None)
        agent = self._agent if self._factory is None else await self._built(self._factory, turn)
        drafts = self._tool_drafts(turn)
        reply = await self._ask(
            agent,
            await self._prompt_text(turn) if resumed is None else None,
            deps=await self._dependencies(turn, drafts),
            models=run.models,
            capabilities=self._capabilities,
            tools=self._added,
            changed=self._changed,
            metadata={"flujo": about},
            on_piece=on_piece if turn.pieces is not None or turn.alive is not None else None,
            partial=self._partial,
            log=turn.calls,
            drafts=drafts,
            surroundings=self._surroundings(turn, drafts) if self._tools_take or turn.calls is not None else None,
            resumed=resumed,
            answers=answers,
            meter=meter_of(turn),
        )
        if isinstance(reply, Deferred):
            return reply, reply.usage
        if turn.pieces is None:
            return reply.output, reply.usage
        if not self._streams:
            await turn.pieces.end()
            return reply.output, reply.usage
        await turn.pieces.complete(reply.output, "".join(said))
        return turn.pieces.outcome(reply.output), reply.usage

    async def _built(self, factory: Call, turn: Turn) -> Any:
        """The agent that is built of what the step is given; it is the one that the journal knows, if it knows one.

        Raises:
            InvalidValue: What was built is no agent.
            CallsDiffer: It is another one than before a crash.
            Veto: A plugin refuses its model.
        """
        from flujo_core.model.body import agent_of, digest  # noqa: PLC0415 - few agents are built so

        agent, run = await factory.call(turn), turn.frame.run
        if not isinstance(agent, ModelAgent) or isinstance(agent, BuildsAgents):
            raise InvalidValue(f"its builder gave {type(agent).__name__!r}, and no pydantic-ai agent")
        if run.hooks.authorize is not None:
            model = model_name(agent.model) if self._changed is None else self._changed.model
            about = (run.journal.run_id, run.journal.tenant, run.pipeline, turn.address, model or self.model)
            await run.hooks.authorize(turn.frame.watch, AuthorizationRequest("run_step", *about))
        if turn.calls is not None:
            made = digest(agent_of(agent))
            known = turn.calls.find(BUILT)
            if known is None:
                await turn.calls.keep(BUILT, AgentCall(made, NULL, {}, None))
            elif known.digest != made:
                raise CallsDiffer(BUILT)
        return agent

    def _tool_drafts(self, turn: Turn) -> ToolDrafts | None:
        """The drafts of tool calls, where the agent's tools or its dependencies have the context."""
        if turn.context is None or not self._tools_change:
            return None
        return self._drafts(turn.context, restored=turn.calls is not None)

    def _surroundings(self, turn: Turn, drafts: ToolDrafts | None) -> ToolSurroundings:
        """What the agent's tool calls are given."""
        context = None if drafts is None else drafts.current
        return self._given(lambda call: run_info(turn, call), turn.frame.run.resources, context)

    async def _dependencies(self, turn: Turn, drafts: ToolDrafts | None) -> Any:
        if self._deps is None:
            return None
        return await self._deps.call(turn if drafts is None else turn._replace(context=drafts.context))

    async def _prompt_text(self, turn: Turn) -> Any:
        if self._template is not None:
            named = {wanted: turn.frame.find(source) for wanted, source in self._shown}
            prompt = self._template.render(turn.value, named)
        else:
            prompt = turn.value if self._prompt is None else await self._prompt.call(turn)
        return prompt if turn.feedback is None else told_again(prompt, turn.feedback)


def unseen(turn: Turn) -> AbstractAsyncContextManager[list[Usage | None]]:
    """Around an agent whose requests nobody sees: gives a list that takes what it has used.

    Raises:
        OverBudget: A budget takes no such agent.
    """
    meter = meter_of(turn)
    return nullcontext([]) if meter is None else meter.unseen()


def meter_of(turn: Turn) -> StepMeter | None:
    """What the calls of an attempt may spend; None: what they like."""
    ledger = turn.frame.run.ledger
    return None if ledger is None or not ledger.terms.is_of_calls else ledger.of(turn.address, turn.attempt)


def run_info(turn: Turn, call: str = "") -> RunInfo:
    """What a step may know of where it runs; or, with the name of a call of its agent, a tool of that."""
    run, journal, behind = turn.frame.run, turn.frame.run.journal, f"!{encoded_name(call)}" if call else ""
    import hashlib  # noqa: PLC0415 - few steps ask for it

    address = plain_address(turn.address) + behind
    began_as = plain_address(run.former.get(turn.address, turn.address)) + behind
    key = hashlib.sha256(f"{journal.run_id}\0{began_as}".encode()).hexdigest()[:32]
    about = (journal.run_id, journal.tenant, address, turn.attempt, key, turn.deadline, turn.feedback)
    return RunInfo(*about, journal.lease.epoch, journal.subject)
