"""Mistakes that both type checkers must find. An ignore that is not needed any more is an error itself."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel
from pydantic_ai import Agent

from flujo_core import (
    Branch,
    Cache,
    Default,
    Flujo,
    From,
    HumanInput,
    Loop,
    Map,
    Parallel,
    PauseForHumanInput,
    Pipeline,
    PipelineContext,
    Plugin,
    Registry,
    Retry,
    Step,
    StepCall,
    StepResult,
    step,
)
from flujo_core.testing import harness, run_step


class Ticket(PipelineContext):
    severity: int = 0


class Other(PipelineContext):
    pass


@step
async def number(text: str) -> int:
    return len(text)


@step
async def text(value: int) -> str:
    return str(value)


@step
async def maybe(value: int) -> int | None:
    return value or None


def edges() -> None:
    number >> number  # type: ignore[operator]
    number >> text >> text  # type: ignore[operator]
    maybe >> text  # type: ignore[operator]
    (text >> number) >> number  # type: ignore[operator]
    (text >> number).named("x") >> number  # type: ignore[operator]
    number >> len  # type: ignore[operator]
    asked = Step.agent("ask", Agent("openai:gpt-5", output_type=int))
    asked >> number  # type: ignore[operator]


def declared() -> None:
    made = number >> text
    wrong: Pipeline[str, int] = made  # type: ignore[assignment]
    print(wrong)


def running() -> None:
    flujo = Flujo(number, context=Ticket)
    flujo.run(5)  # type: ignore[arg-type]
    flujo.run("x").output.upper()  # type: ignore[attr-defined]
    print(flujo.run("x").context.sevrity)  # type: ignore[attr-defined]
    flujo.run()  # type: ignore[call-arg]
    Flujo(number, context=5)  # type: ignore[call-overload]
    Flujo(len)  # type: ignore[call-overload]


def policies() -> None:
    number.policy(retry=3)  # type: ignore[arg-type]
    Retry()  # type: ignore[call-arg]
    Retry(attempts=2, on=(5,))  # type: ignore[arg-type]


class Found(BaseModel):
    length: int


@step
async def take_found(found: Found) -> str:
    return str(found.length)


@step
async def total(numbers: list[int]) -> int:
    return sum(numbers)


def parallels() -> None:
    take_found >> Parallel("p", a=number, b=text)  # type: ignore[arg-type]
    Parallel("p", a=number, b=len)  # type: ignore[call-overload]
    Parallel("p", into=Found, length=number, on_error="ignore")  # type: ignore[call-overload]
    Parallel("p", a=number, max_concurrency="2")  # type: ignore[call-overload]
    text >> Parallel("p", into=Found, length=number) >> total  # type: ignore[operator]
    maybe >> Parallel("p", into=Found, length=text)  # type: ignore[arg-type]
    Parallel("p", into=Found, length=number) >> total  # type: ignore[operator]
    Parallel("p", a=number, b=number) >> take_found  # type: ignore[operator]
    made: Parallel[str, dict[str, str]] = Parallel("p", a=number)  # type: ignore[arg-type]
    print(made)


def numbers_in(text: str) -> list[int]:
    return [len(text)]


async def arriving(text: str) -> AsyncIterator[int]:
    yield len(text)


def key_of_text(text: str) -> str:
    return text


def maps() -> None:
    number >> Map("m", text)  # type: ignore[operator]
    Map("m", text) >> text  # type: ignore[operator]
    Map("m", number, over=numbers_in)  # type: ignore[arg-type]
    Map("m", number, over=arriving)  # type: ignore[arg-type]
    Map("m", text, over=numbers_in) >> total  # type: ignore[operator]
    Map("m", text, key=key_of_text)  # type: ignore[arg-type]
    Map("m", text, key=lambda value: value + 1)  # type: ignore[arg-type, return-value]
    Map("m", text, over=number)  # type: ignore[call-overload]
    Map("m", len)  # type: ignore[call-overload]
    made: Map[Iterable[int], list[int]] = Map("m", text)  # type: ignore[arg-type]
    print(made)


def is_even(value: int) -> bool:
    return value % 2 == 0


def loops() -> None:
    again = Loop("l", number >> text, until=lambda value: value == "", max_iterations=2)
    again >> text  # type: ignore[operator]
    number >> again  # type: ignore[operator]
    Loop("l", number >> text, until=lambda value: value == "")  # type: ignore[call-arg]
    Loop("l", text, until=is_even, max_iterations="2")  # type: ignore[arg-type]
    Loop("l", number, until=is_even, max_iterations=2, on_exhausted="raise")  # type: ignore[arg-type]
    Loop("l", len, until=is_even, max_iterations=2)  # type: ignore[arg-type]
    Loop("l", number, until=True, max_iterations=2)  # type: ignore[arg-type]


def queue(value: int) -> Literal["even", "odd"]:
    return "even" if value % 2 == 0 else "odd"


@step
async def take_text(value: str) -> str:
    return value


def branches() -> None:
    route = Branch("b", on=queue).case("even", text).default(maybe)
    route >> take_text  # type: ignore[operator]
    take_text >> route  # type: ignore[operator]
    Branch("b", on=queue).case("evn", text)  # type: ignore[arg-type]
    Branch("b", on=queue).case(2, text)  # type: ignore[arg-type]
    Branch("b", on=queue).case("even", number)  # type: ignore[arg-type]
    Branch("b", on=queue).default(number)  # type: ignore[arg-type]
    Branch("b", on=queue).case("even", len)  # type: ignore[arg-type]
    Branch("b", on=text)  # type: ignore[arg-type]
    Branch("b", on=queue).case("even", text).default(text) >> text  # type: ignore[operator]


def policies_of_nodes() -> None:
    both = Parallel("p", a=number, b=number)
    both.policy(fallback=number)  # type: ignore[arg-type]
    number.policy(fallback=text)  # type: ignore[arg-type]
    (number >> text).named("x").policy(fallback=number)  # type: ignore[arg-type]
    Loop("l", text >> number, until=is_even, max_iterations=2).policy(retry=2)  # type: ignore[arg-type]
    both.policy(validators=[print])  # type: ignore[call-arg]
    number.policy(cache=True)  # type: ignore[arg-type]
    Cache(ttl="an hour")  # type: ignore[arg-type]
    From(5)  # type: ignore[arg-type]
    From(number, path=5)  # type: ignore[arg-type]


def questions() -> None:
    HumanInput("which", str, ask="which?") >> text  # type: ignore[operator]
    HumanInput("ok", bool)  # type: ignore[call-arg]
    HumanInput("ok", bool, ask="ok?", retry=2)  # type: ignore[call-arg]
    HumanInput("ok", bool, ask="ok?", on_expiry="skip")  # type: ignore[arg-type]
    HumanInput("ok", bool, ask="ok?", on_expiry=Default)  # type: ignore[arg-type]
    HumanInput("ok", bool, ask="ok?", expires_in=3)  # type: ignore[arg-type]
    HumanInput("ok", bool, ask="ok?", approvers=5)  # type: ignore[arg-type]
    PauseForHumanInput("ok?")  # type: ignore[call-arg]


@step
async def asks(number: int) -> int | PauseForHumanInput[int]:
    return PauseForHumanInput("how many?", str)  # type: ignore[arg-type]


async def answering() -> None:
    ok = HumanInput("ok", bool, ask="ok?")
    async with harness(number >> ok) as h:
        h.answer(ok)  # type: ignore[call-arg]
    result = await Flujo(number >> ok).run_async("5")
    print(result.questions.text)  # type: ignore[attr-defined]


async def testing() -> None:
    async with harness(number >> text) as h:
        h.fake(number).returns("5")  # type: ignore[arg-type]
        h.fake(number).does(is_even)  # type: ignore[arg-type]
        await h.run_async(5)  # type: ignore[arg-type]
        print(h.output_of(text).real)  # type: ignore[attr-defined]
    await run_step(number, 5)  # type: ignore[misc]
    (await run_step(number, "5")).upper()  # type: ignore[attr-defined]


class WrongPlugin(Plugin):
    name: ClassVar[str] = "wrong"

    async def pre_step_execution(self, call: StepResult, /) -> None:  # type: ignore[override]
        return None

    def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:  # type: ignore[override]
        return None

    async def on_pipeline_end(self, run: StepCall, /) -> None:  # type: ignore[override]
        return None

    def agent_capabilities(self, agent: StepCall, /) -> list[object]:  # type: ignore[override]
        return []

    async def authorize(self, request: StepCall, /) -> bool:  # type: ignore[override]
        return True

    async def around_step(self, call: StepCall, /) -> StepResult:  # type: ignore[override]
        return call.result(5)

    def register_steps(self, registry: Registry[Step[Any, Any]], /) -> None:
        registry.add("mask", 5)  # type: ignore[arg-type]


registered = Step.registered("acme/mask", takes=str, gives=str)
made: Step[str, int] = registered  # type: ignore[assignment]


def callback(call: StepCall) -> None:
    return None


Flujo(number, pre_step_execution=callback)  # type: ignore[arg-type]
