"""A third party's plugin, as its author writes it: everything comes from the public face."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, assert_type

from flujo_core import (
    AgentInfo,
    AppInfo,
    AuthorizationRequest,
    BackendFactory,
    Check,
    CodecFactory,
    Decision,
    Flujo,
    MemoryStore,
    ModelFactory,
    Node,
    PipelineContext,
    PipelineResult,
    Plugin,
    PluginSettings,
    ProcessPool,
    Registry,
    RunEnd,
    RunEvent,
    RunStart,
    Settings,
    Skip,
    Step,
    StepCall,
    StepCompleted,
    StepError,
    StepResult,
    Stop,
    Store,
    StoreFactory,
    Veto,
    ZstdCodec,
    hookimpl,
    step,
    walk,
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


@step
async def mask(text: str) -> str:
    return "*" * len(text)


def europe_only(node: Node[Any, Any]) -> Iterable[str]:
    for address, part in walk(node):
        if address == "export":
            yield f"step '{part.label}' exports"


def redis(url: str) -> Store:
    return MemoryStore()


class Whole(Plugin):
    """Every other hook."""

    name: ClassVar[str] = "whole"
    api: ClassVar[str] = ">=1,<2"
    before: ClassVar[Sequence[str]] = ("eu-only",)
    after: ClassVar[Sequence[str]] = ()

    async def on_startup(self, app: AppInfo, /) -> None:
        assert_type(app.plugins, tuple[str, ...])

    async def on_shutdown(self) -> None: ...

    def register_steps(self, registry: Registry[Step[Any, Any]], /) -> None:
        registry.add("mask", mask)
        registry.add("lazy", "acme.steps:lazy")

    def register_stores(self, registry: Registry[StoreFactory], /) -> None:
        registry.add("redis", redis)

    def register_backends(self, registry: Registry[BackendFactory], /) -> None:
        registry.add("two", lambda: ProcessPool(workers=2))
        registry.add("ray", "acme.ray:Ray")

    def register_codecs(self, registry: Registry[CodecFactory], /) -> None:
        registry.add("zstd", ZstdCodec)

    def register_checks(self, registry: Registry[Check], /) -> None:
        registry.add("europe", europe_only)

    def register_commands(self, registry: Registry[Any], /) -> None:
        registry.add("audit", "acme.cli:app")

    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        if request.action == "start_run":
            return Decision.allow() if request.tenant else Decision.deny("no tenant")
        return None

    async def around_run(self, run: RunStart, proceed: Callable[[], Awaitable[RunEnd]], /) -> RunEnd:
        return await proceed()

    async def around_step(self, call: StepCall, proceed: Callable[[], Awaitable[StepResult]], /) -> StepResult:
        try:
            return await proceed()
        except StepError:
            return call.result("instead")

    async def on_step_error(self, call: StepCall, error: StepError, /) -> StepResult | None:
        return call.result("instead") if error.attempts > 2 else None

    async def on_event(self, event: RunEvent, /) -> None:
        if isinstance(event, StepCompleted):
            print(event.address, event.duration)

    def agent_capabilities(self, agent: AgentInfo, /) -> Sequence[object]:
        return [agent.address]


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

masked = Step.registered("acme/mask", takes=str, gives=str)
assert_type(masked, Step[str, str])
assert_type(flujo.plugins, tuple[str, ...])


async def change() -> None:
    await flujo.change_plugins(add=[Whole()], remove=["narrow"])
