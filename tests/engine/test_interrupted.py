"""Random pipelines that are cancelled, or fail, at each point where that can be: nothing is left, nothing is untrue."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plugin_kit import alone
from random_pipelines import Leaks, Shared, Wishes, World, built, pipelines
from reference_interpreter import Expected, Plans, expected
from run_checks import TracedStore, check_state, events_of, plain

from flujo_core import MemoryStore, RunFailed, Store
from flujo_core.model.run import RunState, fold
from flujo_core.store.codec import decode

SLOW = settings(
    phases=set(Phase) - {Phase.explain}, report_multiple_bugs=False, suppress_health_check=[*HealthCheck]
)  # fmt: skip


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop that counts what it calls, and cancels a task before a call of a given number."""

    def __init__(self, cancel_at: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.calls = 0
        self.task: asyncio.Task[Any] | None = None
        self.cancel_at = cancel_at
        self.was_cancelled = False

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        def counted(*given: Any) -> Any:
            if self.task is not None:
                self.calls += 1
                if self.calls in self.cancel_at and not self.task.done():
                    self.was_cancelled = self.task.cancel() or self.was_cancelled
            return callback(*given)

        return super().call_soon(counted, *args, context=context)


def driven(main: Any, cancel_at: tuple[int, ...] = ()) -> tuple[Any, SteppedLoop]:
    """What a task gives or raises, in a loop that cancels it; checks that no other task is left."""
    loop = SteppedLoop(cancel_at)
    leaks = Leaks()
    loop.set_exception_handler(lambda _, about: leaks.append(about))
    try:
        loop.task = loop.create_task(main)
        try:
            found = loop.run_until_complete(loop.task)
        except (Exception, asyncio.CancelledError) as error:
            found = error
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
            with suppress(BaseException):
                loop.run_until_complete(task)
        assert not left, f"tasks were left: {left}"
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert not leaks, leaks
    return found, loop


def journal(store: Store) -> list[Any]:
    async def read() -> list[Any]:
        return [decode(record) for record in await store.read("r")]

    return asyncio.run(read())


def check_truthful(state: RunState, wanted: Expected | None, statuses: tuple[str, ...]) -> None:
    """A run that has ended says how, and has nothing that runs; its context is one that there was."""
    assert state.status in statuses, state.status
    for one in (*state.steps.values(), *state.nodes.values()):
        assert one.status != "running", f"{one} although the run has ended"
    if wanted is not None:
        known = [plain(context) for context in wanted.history]
        found = plain({name: set_of(name, state.context[name]) for name in Shared.model_fields})
        assert found in known, f"{found} is none of {known}"


def set_of(name: str, value: Any) -> Any:
    return set(value) if name == "tags" else value


@settings(SLOW, max_examples=15)
@given(
    pipelines(Wishes(depth=2, width=2, sync=False, tidies=2)),
    st.integers(0, 30),
    st.booleans(),
    st.sampled_from([0, 1, 5]),
)
def test_cancelled_at_any_point_a_run_leaves_nothing_and_says_so(
    plans: Plans, value: int, is_slow: bool, again: int
) -> None:
    wanted, world = expected(plans, value), World()
    pipeline = built(plans, world)
    point = 0
    while True:
        point += 1
        world.clear()
        store: Any = TracedStore(world, point) if is_slow else MemoryStore()
        flujo = alone(pipeline, context=Shared, store=store)
        found, loop = driven(flujo.run_async(value, run_id="r"), (point, point + again))
        events = journal(store)
        if not loop.was_cancelled:
            break
        assert isinstance(found, asyncio.CancelledError), found
        if events:
            usual = "failed" if wanted.failures else "completed"
            check_truthful(fold(events), wanted, ("cancelled", usual))
            assert events[-1].kind == "run_ended"
        begun = [one for one in world.trace if one[0] == "begin"]
        assert events or not begun
    gc.collect()


@settings(SLOW, max_examples=15)
@given(pipelines(Wishes(depth=2, width=2, sync=False, tidies=1)), st.integers(0, 30), st.booleans())
def test_failing_at_any_await_a_run_leaves_nothing_and_says_so(plans: Plans, value: int, is_slow: bool) -> None:
    world = World()
    pipeline = built(plans, world)
    point = 0
    while True:
        point += 1
        world.clear(breaks_at=point)
        store: Any = TracedStore(world, point) if is_slow else MemoryStore()
        found, _ = driven(alone(pipeline, context=Shared, store=store).run_async(value, run_id="r"))
        if isinstance(found, BaseException):
            assert isinstance(found, RunFailed), found
            found = found.result
        state = fold(journal(store))
        check_truthful(state, None, ("completed", "failed"))
        check_state(state, found)
        check_state(fold(events_of(found)), found)
        if world.awaits < point:
            break
    gc.collect()
