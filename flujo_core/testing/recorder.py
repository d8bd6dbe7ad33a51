"""HookCall: one call of a hook. HookRecorder: a plugin that keeps the calls of its hooks, and changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flujo_core.agents.tool import FlujoTool
from flujo_core.backend.protocol import BackendFactory
from flujo_core.errors import StepError
from flujo_core.hooks.call import AgentInfo, AppInfo, AuthorizationRequest, RunEnd, RunStart, StepCall
from flujo_core.hooks.registry import Registry
from flujo_core.hooks.spec import HOOKS, Plugin
from flujo_core.model.agent import ModelFactory
from flujo_core.model.event import Chunk, RunEvent
from flujo_core.model.flow import Check
from flujo_core.model.policy import Validator
from flujo_core.model.run import StepResult
from flujo_core.model.step import Step
from flujo_core.store.byte_codec import CodecFactory
from flujo_core.store.protocol import StoreFactory
from flujo_core.testing.stand_in import Method, standing_in

E = TypeVar("E", RunEnd, StepResult)


@dataclass(slots=True, eq=False, repr=False)
class HookCall:
    """One call of one plugin's hook. Its ``repr`` shows no value of the run.

    Attributes:
        plugin: The plugin's name.
        hook: The hook's name.
        address: The address of the step that it is about; empty for a hook of the whole run, or of the plugin's life.
        given: What the hook was given: ``(call, result)``. Without ``proceed``.
        gave: What it answered; None while it has not, or if it raised.
        raised: What it raised, or None.
    """

    plugin: str
    hook: str
    address: str
    given: tuple[Any, ...]
    gave: Any = None
    raised: BaseException | None = None

    def __repr__(self) -> str:
        place = f" '{self.address}'" if self.address else ""
        what = f" raised {type(self.raised).__name__}" if self.raised is not None else ""
        return f"<HookCall '{self.plugin}' {self.hook}{place}{what}>"


def recorded(plugin: Plugin, calls: list[HookCall]) -> Plugin:
    """A plugin that does what ``plugin`` does; the calls of its async hooks are added to ``calls``."""

    def around(hook: str, method: Method) -> Method:
        async def recording(*given: Any) -> Any:
            return await _recording(calls, _hook_call(plugin.name, hook, given), method, given)

        return recording

    return standing_in(plugin, around)


async def _recording(calls: list[HookCall], call: HookCall, method: Method, given: tuple[Any, ...]) -> Any:
    calls.append(call)
    try:
        call.gave = await method(*given)
    except BaseException as error:
        call.raised = error
        raise
    return call.gave


def _hook_call(plugin: str, hook: str, given: tuple[Any, ...]) -> HookCall:
    about = given[:1] if HOOKS[hook].kind == "around" else given
    of_step = StepCall | AuthorizationRequest | RunEvent | AgentInfo
    address = about[0].address if about and isinstance(about[0], of_step) else ""
    return HookCall(plugin, hook, address, about)


class HookRecorder(Plugin):
    """A plugin that keeps each call of each hook, in order, and changes nothing.

    It is an ordinary plugin: it sees what those before it have left. It has ``transform_chunk`` too, and so the pieces
    of a stream do not wait for it.

    Args:
        name: Its name.
        calls: Where the calls go; a list that several recorders share has the calls of all of them, in order.

    Attributes:
        calls: The calls.
    """

    name = "recorder"

    def __init__(self, name: str = "recorder", calls: list[HookCall] | None = None) -> None:
        vars(self)["name"] = name  # a class variable of plugins; there may be several recorders
        self.calls: list[HookCall] = [] if calls is None else calls

    def __repr__(self) -> str:
        return f"<HookRecorder '{self.name}' {len(self.calls)} calls>"

    def of(self, hook: str) -> list[HookCall]:
        """The calls of one hook.

        Args:
            hook: Its name: ``pre_step_execution``.
        """
        return [call for call in self.calls if call.hook == hook and call.plugin == self.name]

    def _note(self, hook: str, *given: Any) -> HookCall:
        call = _hook_call(self.name, hook, given)
        self.calls.append(call)
        return call

    async def _go_on(self, hook: str, about: Any, proceed: Callable[[], Awaitable[E]]) -> E:
        answer = await _recording(self.calls, _hook_call(self.name, hook, (about,)), proceed, ())
        return answer  # type: ignore[no-any-return]

    async def on_startup(self, app: AppInfo, /) -> None:
        self._note("on_startup", app)

    async def on_shutdown(self) -> None:
        self._note("on_shutdown")

    def configure(self, table: Mapping[str, Any], /) -> None:
        self._note("configure", table)

    def register_steps(self, registry: Registry[Step[Any, Any]], /) -> None:
        self._note("register_steps", registry)

    def register_agents(self, registry: Registry[Any], /) -> None:
        self._note("register_agents", registry)

    def register_models(self, registry: Registry[ModelFactory], /) -> None:
        self._note("register_models", registry)

    def register_tools(self, registry: Registry[FlujoTool[Any, Any]], /) -> None:
        self._note("register_tools", registry)

    def register_stores(self, registry: Registry[StoreFactory], /) -> None:
        self._note("register_stores", registry)

    def register_backends(self, registry: Registry[BackendFactory], /) -> None:
        self._note("register_backends", registry)

    def register_codecs(self, registry: Registry[CodecFactory], /) -> None:
        self._note("register_codecs", registry)

    def register_checks(self, registry: Registry[Check], /) -> None:
        self._note("register_checks", registry)

    def register_validators(self, registry: Registry[Validator], /) -> None:
        self._note("register_validators", registry)

    def register_commands(self, registry: Registry[Any], /) -> None:
        self._note("register_commands", registry)

    async def authorize(self, request: AuthorizationRequest, /) -> None:
        self._note("authorize", request)

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        self._note("on_pipeline_start", run)

    async def around_run(self, run: RunStart, proceed: Callable[[], Awaitable[RunEnd]], /) -> RunEnd:
        return await self._go_on("around_run", run, proceed)

    async def pre_step_execution(self, call: StepCall, /) -> None:
        self._note("pre_step_execution", call)

    async def around_step(self, call: StepCall, proceed: Callable[[], Awaitable[StepResult]], /) -> StepResult:
        return await self._go_on("around_step", call, proceed)

    async def on_step_error(self, call: StepCall, error: StepError, /) -> None:
        self._note("on_step_error", call, error)

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        self._note("post_step_execution", call, result)

    async def transform_chunk(self, call: StepCall, chunk: Chunk, /) -> None:
        self._note("transform_chunk", call, chunk)

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
        self._note("on_pipeline_end", run, end)

    async def on_event(self, event: RunEvent, /) -> None:
        self._note("on_event", event)

    def agent_capabilities(self, agent: AgentInfo, /) -> Sequence[object]:
        self._note("agent_capabilities", agent)
        return ()
