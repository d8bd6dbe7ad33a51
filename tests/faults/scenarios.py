"""What is run, killed and resumed: each kind of node, pauses, retries, an agent, and mixtures of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from kit import Scenario, note, noted
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from vault import Turned

from flujo_core import (
    AesGcmCodec,
    Branch,
    Codec,
    From,
    Loop,
    Map,
    Merge,
    Parallel,
    Pipeline,
    PipelineContext,
    PipelineMutation,
    Plugin,
    Reconfigurable,
    Reconfigure,
    Registry,
    Retry,
    RunInfo,
    Step,
    StepCall,
    StepResult,
    ZstdCodec,
    key_ring,
    step,
)
from flujo_core.model.human import HumanInput
from flujo_core.model.outcome import PauseForHumanInput


class Ledger(PipelineContext):
    """A context in which every body leaves a trace."""

    log: Annotated[list[str], Merge.append] = []
    total: Annotated[int, Merge(lambda base, values: base + sum(value - base for value in values))] = 0
    facts: Annotated[dict[str, int], Merge.union] = {}
    text: str = ""


def leaf(name: str, amount: int = 1, *, fails: int = 0, naps: int = 2) -> Step[Any, Any]:
    """A step that changes the context, and fails in its first attempts."""

    @step(name=name)
    async def act(value: int, context: Ledger, info: RunInfo) -> int:
        with noted(info):
            context.log.append(f"{name}:{value}")
            context.total += value
            context.facts[info.address] = value
            for _ in range(naps):
                await asyncio.sleep(0.001)
            if info.attempt <= fails:
                raise ValueError("on purpose")
        return (value * 3 + amount) % 1000

    return act


def sync_leaf(name: str) -> Step[Any, Any]:
    """A step that runs in a thread."""

    @step(name=name)
    def act(value: int, context: Ledger, info: RunInfo) -> int:
        with noted(info):
            context.log.append(f"{name}:{value}")
        return value + 7

    return act


def asks(name: str) -> Step[Any, Any]:
    """A step that changes the context, and then asks a person."""

    @step(name=name)
    async def ask(value: int, context: Ledger, info: RunInfo) -> int | PauseForHumanInput[int]:
        with noted(info):
            context.log.append(f"{name}?{value}")
            context.total += value
        return PauseForHumanInput(f"How many, after {value}?", int)

    return ask


# ------------------------------------------------------------------------------------------------------ kinds of node


def sequence() -> Any:
    return leaf("a") >> leaf("b", 2) >> sync_leaf("c") >> leaf("d", 4) >> leaf("e", 5)


def parallel() -> Any:
    @step
    async def joined(value: dict[str, int], context: Ledger, info: RunInfo) -> int:
        with noted(info):
            context.log.append("joined")
        return sum(value.values())

    left = leaf("one", naps=1) >> leaf("two", naps=4)
    return leaf("a") >> Parallel("fan", left=left, right=leaf("one", 5, naps=3), third=sync_leaf("one")) >> joined


def _items(value: int) -> list[int]:
    return [value, value + 1, value + 2, value + 3]


@step
async def added(values: list[int], info: RunInfo) -> int:
    with noted(info):
        return sum(values)


def mapping() -> Any:
    body = leaf("one", naps=1) >> leaf("two")
    return leaf("a") >> Map("items", body, over=_items, key=lambda item: f"k{item}", max_concurrency=2) >> added


def source() -> Any:
    """A map over an async source: the items are journaled, and the source goes on after the last key."""

    async def stream(value: int, after: str | None = None) -> AsyncIterator[int]:
        for item in _items(value):
            if after is None or f"k{item}" > after:
                await asyncio.sleep(0.002)
                yield item

    return leaf("a") >> Map("items", leaf("one", naps=3), over=stream, key=lambda item: f"k{item}") >> added


def loop() -> Any:
    body = leaf("work", naps=1) >> leaf("check", 1, naps=1)
    return leaf("a") >> Loop("again", body, until=lambda value: value > 700, max_iterations=4, on_exhausted="return")


def branch() -> Any:
    def which(value: int) -> int:
        return value % 2

    route = Branch("route", on=which).case(0, leaf("even") >> leaf("more")).default(leaf("odd") >> leaf("less"))
    return leaf("a") >> route >> leaf("z")


def sub_pipeline() -> Any:
    inner = (leaf("a", 2) >> leaf("b")).named("inner")
    outer = (leaf("a") >> inner >> leaf("c")).named("outer")
    return leaf("a") >> outer >> leaf("z")


def retry() -> Any:
    tried = leaf("b", fails=2).policy(retry=Retry(attempts=3, backoff=0.01, jitter=0.0))
    given_up = leaf("c", fails=9).policy(retry=Retry(attempts=2), fallback=leaf("plan_b"))
    return leaf("a") >> tried >> given_up >> leaf("z")


def failure() -> Any:
    """A branch fails, and takes the run with it."""

    @step(name="bad")
    async def bad(value: int, info: RunInfo) -> int:
        with noted(info):
            await asyncio.sleep(0.003)
        raise ValueError("on purpose")

    return leaf("a") >> Parallel("fan", left=leaf("one", naps=9), right=bad)


# ------------------------------------------------------------------------------------------------------------- pauses


def pause() -> Any:
    return leaf("a") >> asks("ask") >> leaf("b") >> HumanInput("confirm", int, ask="Is {{ input }} right?") >> leaf("z")


def pauses_side_by_side() -> Any:
    """Two branches ask while a third works on; a map in a loop asks as well."""

    @step
    async def joined(value: dict[str, int], info: RunInfo) -> int:
        with noted(info):
            return sum(value.values())

    left = leaf("one", naps=1) >> asks("ask") >> leaf("two")
    right = asks("ask") >> leaf("three")
    return leaf("a") >> Parallel("fan", left=left, right=right, other=leaf("one", naps=6) >> leaf("two")) >> joined


def pause_in_loop() -> Any:
    body = leaf("work", naps=1) >> asks("ask") >> leaf("after", naps=1)
    return Loop("again", body, until=lambda value: value % 2 == 2, max_iterations=2, on_exhausted="return") >> leaf("z")


# ----------------------------------------------------------------------------------------------------------- mixtures


def mixture() -> Any:
    """A map of pipelines within a branch of a parallel within a loop."""

    def which(value: int) -> int:
        return value % 3

    each = (leaf("one", naps=1) >> leaf("two", naps=1)).named("each")
    left = leaf("make", naps=1) >> Map("items", each, over=lambda value: [value, value + 1], key=str) >> added
    route = Branch("route", on=which).case(0, leaf("zero")).case(1, asks("ask")).default(leaf("other"))

    @step
    async def joined(value: dict[str, int], context: Ledger, info: RunInfo) -> int:
        with noted(info):
            context.text = f"{value['left']}-{value['right']}"
        return sum(value.values()) % 1000

    body = leaf("first", naps=1) >> Parallel("fan", left=left, right=route) >> joined
    return Loop("again", body, until=lambda value: False, max_iterations=2, on_exhausted="return") >> leaf("z")


def named_inputs() -> Any:
    """Values that are taken from afar: from before a loop, from the iteration before, from the run's input."""

    @step
    async def improved(
        value: int, *, last: Annotated[int, From("check")] = 0, given: Annotated[int, From.run_input], info: RunInfo
    ) -> int:
        with noted(info):
            return value + last + given

    @step
    async def closed(value: int, *, first: Annotated[int, From("a")], info: RunInfo) -> int:
        with noted(info):
            return value * 1000 + first

    body = improved >> leaf("check", naps=1)
    return leaf("a") >> Loop("again", body, until=lambda v: v > 900, max_iterations=3, on_exhausted="return") >> closed


# ------------------------------------------------------------------------------------------------------------ plugins


class Meddling(Plugin):
    """Changes what goes into steps and what comes out of them, and notes its calls."""

    name: ClassVar[str] = "meddling"

    async def pre_step_execution(self, call: StepCall, /) -> StepCall | None:
        note("pre", call.address)
        call.context.log.append(f"pre {call.step_name}")  # type: ignore[attr-defined]
        return call.replace(step_input=call.step_input + 1) if type(call.step_input) is int else None

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult | None:
        note("post", call.address)
        return result.replace(output=result.output + 1) if type(result.output) is int else None


class Listening(Plugin):
    """Hears of events, slowly."""

    name: ClassVar[str] = "listening"

    async def on_event(self, event: object, /) -> None:
        await asyncio.sleep(0)


class Gate(Plugin):
    """Asks before one step, and after another; what it is told goes into the context."""

    name: ClassVar[str] = "gate"

    async def pre_step_execution(self, call: StepCall, /) -> PauseForHumanInput[int] | None:
        if call.step_name != "b":
            return None
        if call.answer is None:
            return PauseForHumanInput("May b run?", int)
        call.context.log.append(f"before b: {call.answer}")  # type: ignore[attr-defined]
        return None

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> PauseForHumanInput[int] | None:
        if call.step_name != "c" or call.answer is not None:
            return None
        return PauseForHumanInput("Is that what c should say?", int)


def with_plugins(*plugins: type[Plugin]) -> dict[str, Any]:
    return {"plugins": [plugin() for plugin in plugins]}


# -------------------------------------------------------------------------------------------------------------- agents


@dataclass
class Deps:
    """What the agent's tools have."""

    ledger: Ledger


def agent() -> Any:
    """An agent whose tools change the context; its model is a function of the messages."""

    async def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        number = 1 + sum(isinstance(message, ModelResponse) for message in messages)
        note("call", f"ask!model.{number}")
        if number > 3:
            return ModelResponse([TextPart(f"done after {number}")])
        calls = [ToolCallPart("add", {"amount": number * 10 + n}, f"call-{number}-{n}") for n in range(number)]
        return ModelResponse([*calls])

    helper = Agent(FunctionModel(reply), deps_type=Deps)

    @helper.tool
    async def add(ctx: RunContext[Deps], amount: int) -> int:
        note("call", f"ask!tool.{ctx.tool_call_id}")
        ctx.deps.ledger.log.append(f"add {amount}")
        ctx.deps.ledger.total += amount
        await asyncio.sleep(0.002)
        return amount

    def deps(subject: int, context: Ledger) -> Deps:
        return Deps(context)

    @step
    async def closed(text: str, context: Ledger, info: RunInfo) -> str:
        with noted(info):
            context.log.append("closed")
        return f"{text}!"

    asked: Any = Step.agent("ask", helper, deps=deps, input=int, prompt="{{ input }}")
    return leaf("a") >> asked >> closed


# ----------------------------------------------------------------------------------------------------------- streaming


def yields(name: str, *, fails: int = 0) -> Any:
    """A step that changes the context, and streams."""

    @step(name=name)
    async def give(value: int, context: Ledger, info: RunInfo) -> AsyncIterator[int]:
        with noted(info):
            context.total += value
            for number in range(4):
                await asyncio.sleep(0.001)
                yield value + number
            if info.attempt <= fails:
                raise ValueError("on purpose")

    return give


def passes(name: str) -> Any:
    """A step that takes a stream, and streams."""

    @step(name=name)
    async def give(pieces: AsyncIterator[int], context: Ledger, info: RunInfo) -> AsyncIterator[int]:
        with noted(info):
            context.facts[name] = 1
            async for piece in pieces:
                yield piece * 2

    return give


def adds(name: str) -> Any:
    """A step that takes a stream, and gives one value."""

    @step(name=name)
    async def add(pieces: AsyncIterator[int], context: Ledger, info: RunInfo) -> int:
        with noted(info):
            context.log.append(name)
            return sum([piece async for piece in pieces]) % 1000

    return add


def streaming() -> Any:
    inner = (yields("give") >> adds("add")).named("inner")
    side = Parallel("fan", left=inner, right=leaf("one", naps=5))
    again = yields("flaky", fails=1).policy(retry=Retry(attempts=2)) >> added
    before = leaf("a") >> yields("give") >> passes("double") >> passes("redouble") >> adds("add") >> leaf("b")
    return before >> again >> side


# ------------------------------------------------------------------------------------------------------------- changes


class Shelf(Plugin):
    """Registers steps that changes of a pipeline name, and the models of a reconfigured agent."""

    name: ClassVar[str] = "shelf"

    def register_steps(self, registry: Registry[Any], /) -> None:
        for made in (leaf("better", 5), leaf("late", 7), leaf("more", 2), leaf("tail", 3)):
            registry.add(made.name, made)
        registry.add("growing", growing)

    def register_models(self, registry: Registry[Any], /) -> None:
        registry.add("shelf", _model)


@step
async def growing(value: int, context: Ledger, info: RunInfo) -> int | PipelineMutation[int]:
    """Put in by another step, it changes the pipeline itself: the second change."""
    with noted(info):
        context.log.append("growing")
    return PipelineMutation(value + 1, replace={"old": "shelf/better"}, insert_after={"old": ["shelf/late"]})


def _model(name: str) -> FunctionModel:
    """A simulated model that says by which name, with which instructions and which temperature it was asked."""

    async def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told = [part for one in messages if isinstance(one, ModelRequest) and (part := one.instructions)]
        return ModelResponse([TextPart(f"{name}, {told}, {(info.model_settings or {}).get('temperature')}")])

    return FunctionModel(reply, model_name=name)


def changing() -> Any:
    """It mutates itself three times: it inserts, replaces and removes; and it reconfigures an agent twice."""

    @step
    async def plan(value: int, context: Ledger, info: RunInfo) -> int | PipelineMutation[int]:
        with noted(info):
            context.log.append("plan")
        return PipelineMutation(value + 1, insert_after={"plan": ["shelf/growing"]})

    @step
    async def prune(value: int, context: Ledger, info: RunInfo) -> int | PipelineMutation[int]:
        with noted(info):
            context.log.append("prune")
        if context.facts.get("again[1]/doomed") is not None:  # the first iteration has all of its steps
            return PipelineMutation(value, remove=["doomed"], insert_after={"kept": ["shelf/more"]})
        return value

    def tune(name: str, asked: Callable[[int], Reconfigure[int]]) -> Any:
        @step(name=name)
        async def act(value: int, context: Ledger, info: RunInfo) -> int | Reconfigure[int]:
            with noted(info):
                context.log.append(name)
            return asked(value)

        return act

    @step
    async def closed(text: str, context: Ledger, info: RunInfo) -> str:
        with noted(info):
            context.text = text
        return text

    body = prune >> leaf("doomed", naps=1) >> leaf("kept", naps=1)
    rounds = Loop("again", body, until=lambda value: False, max_iterations=2, on_exhausted="return")
    may = Reconfigurable(models=["shelf:second"], settings={"temperature": (0.0, 1.0)}, instructions=True)
    asked: Any = Step.agent(
        "ask",
        Agent(_model("first"), instructions="Be brief."),
        prompt="{{ input }}",
        input=int,
        allow_reconfigure=may,
    )
    first = tune("first", lambda value: Reconfigure(value, target="ask", model="shelf:second"))
    second = tune(
        "second",
        lambda value: Reconfigure(value, target="ask", instructions="Be kind.", settings={"temperature": 0.5}),
    )
    return plan >> leaf("old") >> rounds >> first >> second >> asked >> closed


# ----------------------------------------------------------------------------------------------------------------- all


def made(pipeline: Callable[[], Any], *plugins: type[Plugin]) -> Scenario:
    def make() -> tuple[Pipeline[Any, Any], dict[str, Any]]:
        return pipeline(), {"context": Ledger, **with_plugins(*plugins)}

    return Scenario(make)


def secret() -> list[Codec]:
    """Codecs of all kinds."""
    return [Turned(), ZstdCodec(), AesGcmCodec(key_ring({"one": bytes(range(32))}, "one"))]


SCENARIOS: dict[str, Scenario] = {
    "sequence": made(sequence),
    "sequence with plugins": made(sequence, Meddling, Listening),
    "parallel": made(parallel),
    "parallel with plugins": made(parallel, Meddling, Listening),
    "map": made(mapping),
    "map over a source": made(source),
    "loop": made(loop),
    "loop with plugins": made(loop, Meddling),
    "branch": made(branch),
    "sub-pipeline": made(sub_pipeline),
    "retry": made(retry),
    "retry with plugins": made(retry, Meddling),
    "failure": made(failure),
    "pause": made(pause),
    "pauses side by side": made(pauses_side_by_side),
    "pause in a loop": made(pause_in_loop),
    "pause of a plugin": made(sequence, Gate),
    "mixture": made(mixture),
    "mixture with plugins": made(mixture, Meddling, Listening),
    "named inputs": made(named_inputs),
    "streaming": made(streaming),
    "streaming with plugins": made(streaming, Meddling, Listening),
    "agent with tools": made(agent),
    "changes of the pipeline": made(changing, Shelf),
    "changes with plugins": made(changing, Shelf, Meddling, Listening),
}
SCENARIOS |= {
    f"{name} with codecs": replace(SCENARIOS[name], codecs=secret)
    for name in ("map", "pauses side by side", "mixture with plugins", "agent with tools")
}
