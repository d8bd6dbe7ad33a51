"""Mistakes that both type checkers must find. An ignore that is not needed any more is an error itself."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from typing import Any, ClassVar

from pydantic_ai import Agent

from flujo_core import Flujo, Pipeline, PipelineContext, Plugin, Registry, Retry, Step, StepCall, StepResult, step


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
