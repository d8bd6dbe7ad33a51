"""What the tests of an agent's calls share: a log, and an agent step without the engine. All models are simulated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from flujo_core import Merge, PipelineContext
from flujo_core.agents.pydantic_ai import OnPiece, ask
from flujo_core.agents.tool_drafts import ToolDrafts
from flujo_core.model.agent import AgentReply, Call, Deferred
from flujo_core.model.draft import State, draft, state_of, touched
from flujo_core.model.patch import Patch, patch_adapter


class Crash(BaseException):
    """Stands for the end of the process."""


class Log:
    """Keeps calls as the journal does: as bytes. It ends the process after ``lasts`` of them."""

    def __init__(self, kind: type[PipelineContext] | None = None, lasts: int | None = None) -> None:
        self.kept: dict[str, tuple[Call, bytes]] = {}
        self.kind = kind
        self.lasts = lasts
        self.found: list[str] = []

    def find(self, call: str, /) -> Call | None:
        if call not in self.kept:
            return None
        self.found.append(call)
        made, patch = self.kept[call]
        return made._replace(patch=self._adapter.decoded(patch) if self.kind else {})

    async def keep(self, call: str, made: Call, /) -> None:
        assert call not in self.kept, "a call is kept once"
        if self.lasts is not None and len(self.kept) >= self.lasts:
            raise Crash
        self.kept[call] = (made, self._adapter.encoded(made.patch)[0] if self.kind else b"{}")

    def patch(self, call: str) -> Patch:
        return self.kept[call][0].patch

    @property
    def _adapter(self) -> Any:
        assert self.kind is not None
        return patch_adapter(self.kind)


class NoModels:
    def find_model(self, name: str, /) -> None:
        return None

    def model_prefixes(self) -> list[str]:
        return []


class Script:
    """A simulated model: gives one response after the other, by how many the messages have already; counts requests."""

    def __init__(self, *responses: ModelResponse | str) -> None:
        self.responses = [ModelResponse([TextPart(one)]) if isinstance(one, str) else one for one in responses]
        self.requests: list[list[ModelMessage]] = []
        self.model = FunctionModel(self.answer, stream_function=self.stream, model_name="script")

    def answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.requests.append(messages)
        given = sum(isinstance(one, ModelResponse) for one in messages)
        return ModelResponse(self.responses[given].parts)

    async def stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        for place, part in enumerate(self.answer(messages, info).parts):
            if isinstance(part, TextPart):
                for word in part.content.split(" "):
                    yield word + " "
            if isinstance(part, ToolCallPart):
                yield {place: DeltaToolCall(part.tool_name, part.args_as_json_str(), tool_call_id=part.tool_call_id)}


def calling(*calls: tuple[str, dict[str, Any]], first: int = 1) -> ModelResponse:
    """A model's response that calls tools; their ids are ``c1``, ``c2``, ..."""
    return ModelResponse([ToolCallPart(name, args, f"c{n}") for n, (name, args) in enumerate(calls, first)])


class Attempt:
    """An attempt of an agent step, as ``AskModelAgent`` makes it.

    Attributes:
        context: The attempt's draft.
        result: What the agent gave.
    """

    def __init__(
        self,
        agent: Agent[Any, Any],
        log: Log | None,
        context: PipelineContext | None = None,
        deps: Callable[[Any], Any] = lambda context: context,
    ) -> None:
        self.agent = agent
        self.log = log
        self.state: State = {} if context is None else state_of(context)
        self.context: Any = None if context is None else draft(type(context), self.state)
        self.deps = deps

    async def run(
        self, prompt: str | None = "Go", *, on_piece: OnPiece | None = None, capabilities: Any = (), **more: Any
    ) -> AgentReply[Any] | Deferred:
        drafts = None if self.context is None else ToolDrafts(self.context, restored=self.log is not None)
        return await ask(
            self.agent,
            prompt,
            deps=self.deps(None if drafts is None else drafts.context),
            models=NoModels(),
            capabilities=capabilities,
            metadata={},
            on_piece=on_piece,
            log=self.log,
            drafts=drafts,
            **more,
        )

    @property
    def changed(self) -> dict[str, Any]:
        """What the step would commit to the context."""
        return {name: value for name, value in touched(self.context).items() if value != self.state[name]}


async def reply(attempt: Attempt, **more: Any) -> AgentReply[Any]:
    got = await attempt.run(**more)
    assert isinstance(got, AgentReply)
    return got


class Desk(PipelineContext):
    stamps: int = 0
    owner: str = ""
    notes: Annotated[list[str], Merge.append] = []
    seen: dict[str, int] = {}


@dataclass
class Deps:
    desk: Desk
    calls: list[str] = field(default_factory=list)


def desk_agent(script: Script, **more: Any) -> Agent[Deps, str]:
    """An agent whose tools change the context; each notes that it was called."""
    agent = Agent(script.model, deps_type=Deps, **more)

    @agent.tool
    async def stamp(ctx: RunContext[Deps], by: int) -> int:
        ctx.deps.calls.append(f"stamp {by}")
        ctx.deps.desk.stamps += by
        return ctx.deps.desk.stamps

    @agent.tool
    def note(ctx: RunContext[Deps], text: str) -> str:
        ctx.deps.calls.append(f"note {text}")
        ctx.deps.desk.notes.append(text)
        return f"noted, {len(ctx.deps.desk.notes)} in all"

    @agent.tool
    async def own(ctx: RunContext[Deps], who: str) -> None:
        ctx.deps.desk.owner = who

    return agent


class Desks:
    """One desk agent, several attempts of it with one log."""

    def __init__(self, *responses: ModelResponse | str, log: Log | None = None, context: Desk | None = None) -> None:
        self.script = Script(*responses)
        self.agent = desk_agent(self.script)
        self.log = log
        self.calls: list[str] = []
        self.context = context or Desk()

    async def attempt(self, **more: Any) -> Attempt:
        made = Attempt(self.agent, self.log, self.context, lambda desk: Deps(desk, self.calls))
        made.result = await made.run(**more)  # type: ignore[attr-defined]
        return made


async def replayed(desks: Desks) -> tuple[Any, Any]:
    """An attempt, and the same once more with what it has journaled: nothing is called again, all else is the same."""
    first = await desks.attempt()
    asked, called = len(desks.script.requests), list(desks.calls)
    again = await desks.attempt()
    assert len(desks.script.requests) == asked, "no model request"
    assert desks.calls == called, "no tool call"
    assert again.changed == first.changed
    assert again.result.output == first.result.output  # type: ignore[attr-defined]
    assert again.result.usage == first.result.usage  # type: ignore[attr-defined]
    return first, again
