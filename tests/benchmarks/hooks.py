"""What calling hooks costs, with the watchdog on, against plain awaits of the same functions."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from measure import Ratio, compare

from flujo_core import Flujo, Pipeline, Plugin, PluginSettings, Settings, StepCall, StepResult, step
from flujo_core.hooks.dispatch import compile_hooks
from flujo_core.hooks.failure import Implementation
from flujo_core.hooks.spec import HOOKS
from flujo_core.hooks.watchdog import Watch

CALLS = 100
STEPS = 100
LISTENERS = 5


class Listener(Plugin):
    name: ClassVar[str]

    async def pre_step_execution(self, call: StepCall, /) -> None: ...

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None: ...


async def measure() -> list[Ratio]:
    return [await _dispatch(1, limit=5), await _dispatch(5, limit=12), await _chain()]


async def _dispatch(count: int, limit: float) -> Ratio:
    async def hook(call: StepCall) -> None: ...

    found = [Implementation(hook, "pre_step_execution", f"p{n}", None, None) for n in range(count)]
    hooks = compile_hooks({name: found if name == "pre_step_execution" else [] for name in HOOKS}, 30)
    watch = Watch(asyncio.current_task(), 30)
    call: Any = StepCall("r", None, "a", "a", 1, None, None)  # type: ignore[arg-type]
    compiled = hooks.pre
    assert compiled is not None

    async def ours() -> None:
        for _ in range(CALLS):
            await compiled(watch, call)

    async def plain() -> None:
        for _ in range(CALLS):
            await hook(call)

    what = f"a hook that {count} plugin{'s' * (count > 1)} answer{'s' * (count == 1)}, against one plain await"
    return await compare(what, ours, plain, per=CALLS, limit=limit)


async def _chain() -> Ratio:
    async def same(text: str) -> str:
        return text

    async def hook(call: object) -> None: ...

    pipeline: Pipeline[str, str] = Pipeline(None, tuple(step(same).named(f"s{n}") for n in range(STEPS)))
    settings = Settings(PluginSettings(allow=()))
    listeners = [type(f"L{n}", (Listener,), {"name": f"l{n}"})() for n in range(LISTENERS)]
    bare, hooked = Flujo(pipeline, settings=settings), Flujo(pipeline, plugins=listeners, settings=settings)

    async def without() -> None:
        await bare.run_async("a")

    async def with_listeners() -> None:
        await hooked.run_async("a")

    async def plain() -> None:
        for _ in range(2 * LISTENERS * STEPS):
            await hook(None)

    added = await compare("", with_listeners, without, per=STEPS, limit=0)
    awaits = await compare("", plain, plain, per=STEPS, limit=0)
    what = "5 listeners on pre and post of a step, against 10 plain awaits"
    return Ratio(what, added.ours - added.baseline, awaits.ours, 4)
