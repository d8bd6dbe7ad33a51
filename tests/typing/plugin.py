"""A third party's plugin, as its author writes it: everything comes from the public face."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from typing import Any, ClassVar, assert_type

from flujo_core import (
    Flujo,
    ModelFactory,
    PipelineContext,
    PipelineResult,
    Plugin,
    PluginSettings,
    Registry,
    RunEnd,
    RunStart,
    Settings,
    Skip,
    StepCall,
    StepResult,
    Stop,
    Veto,
    hookimpl,
    step,
)


class EuOnly(Plugin):
    """Keeps a tenant's data in the EU."""

    name: ClassVar[str] = "eu-only"

    def __init__(self, allowed: tuple[str, ...] = ("mistral:",)) -> None:
        self._allowed = allowed

    def register_agents(self, registry: Registry[Any], /) -> None:
        registry.add("underwriter", "acme.agents:underwriter")

    def register_models(self, registry: Registry[ModelFactory], /) -> None:
        registry.add("acme", self._model)

    def _model(self, name: str) -> object:
        return name

    async def on_pipeline_start(self, run: RunStart, /) -> RunStart | Stop | None:
        if run.tenant is None:
            return Stop("no tenant")
        return run.replace(initial_input=run.initial_input)

    @hookimpl(tryfirst=True)
    async def pre_step_execution(self, call: StepCall, /) -> StepCall | Skip[str] | None:
        if call.model and not call.model.startswith(self._allowed):
            raise Veto("this tenant's data stays in the EU")
        if call.step_name == "skipped":
            return Skip("nothing")
        assert_type(call.context, PipelineContext)
        return call.replace(step_input=call.step_input)

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult | None:
        return result.replace(output=result.output) if result.status == "completed" else None

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> RunEnd | None:
        assert_type(end.pipeline_result, PipelineResult[Any, Any])
        return end.replace(pipeline_result=end.pipeline_result.replace(output="masked"))


class Narrow(Plugin):
    """A hook may promise less than the specification allows, and name its parameters as it likes."""

    name: ClassVar[str] = "narrow"

    async def pre_step_execution(self, the_call: StepCall, /) -> None:
        print(the_call.step_name)


@step
async def work(text: str) -> str:
    return text


async def watch(call: StepCall) -> None:
    print(call.address)


flujo = Flujo(
    work,
    plugins=[EuOnly(), Narrow()],
    pre_step_execution=watch,
    settings=Settings(PluginSettings(allow=("acme-eu",), required=("acme-eu",))),
)
