"""A trial: the whole life of one ``Flujo`` with one run, and what was seen of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any, NamedTuple

from flujo_core.config import PluginSettings, Policy, Settings
from flujo_core.errors import PluginError
from flujo_core.flujo import Flujo
from flujo_core.hooks.spec import Plugin
from flujo_core.model.result import RunFailed
from flujo_core.model.run import fold
from flujo_core.store.codec import decode
from flujo_core.store.memory import MemoryStore
from flujo_core.testing.conformance.finding import place_of
from flujo_core.testing.conformance.scenario import Notes, Scenario

STUCK_AFTER = 3.0
"""Seconds after which a trial is stuck, beyond ten times the hooks' timeout."""

SETTLING = 10
"""Turns of the loop that tasks have to end in when the ``Flujo`` has been closed."""


class Setup(NamedTuple):
    """What a trial is made of.

    Attributes:
        scenario: The pipeline and its input.
        plugins: The plugins.
        order: The names of those that are called first.
        policies: What an error in a plugin means.
        patience: How long one call of one hook may take, in seconds.
        runs: How many runs there are.
        side_by_side: Whether they go on at once, if there are several.
    """

    scenario: Scenario
    plugins: Sequence[Plugin]
    order: tuple[str, ...] = ()
    policies: Mapping[str, Policy] = {}
    patience: float = 5.0
    runs: int = 1
    side_by_side: bool = False


@dataclass(slots=True, eq=False)
class Seen:
    """What was seen of a trial.

    Attributes:
        status: The first run's status in its journal; ``not started`` if there was no run.
        error: What came out of it, or None.
        outputs: The outputs of the runs; empty if one of them had none.
        events: The kind and the address of each event in the first run's journal.
        stuck: Whether it did not come to an end.
        left: The tasks that were left when the ``Flujo`` had been closed.
        unheard: Exceptions of tasks that nobody asked for.
        task: The task that runs it.
        ended: When it ended, by the loop's clock.
        tasks: All tasks that began in it.
    """

    status: str = "not started"
    error: BaseException | None = None
    outputs: list[Any] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    stuck: bool = False
    left: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    ended: float = 0.0
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def cancel(self) -> None:
        """Cancels the run; called by what goes on in it."""
        assert self.task is not None
        self.task.cancel()

    @property
    def cause(self) -> BaseException | None:
        """What ended the run, or kept it from beginning."""
        return self.error.__cause__ if isinstance(self.error, RunFailed) else self.error

    def blames(self, plugin: str) -> PluginError | None:
        """The failure of that plugin that it ended with, or None."""
        cause = self.cause
        return cause if isinstance(cause, PluginError) and cause.plugin == plugin else None


_trial: ContextVar[Seen] = ContextVar("flujo_testing_trial")


def current() -> Seen:
    """The trial that the running task belongs to."""
    return _trial.get()


def tried(setups: Sequence[Setup]) -> list[Seen]:
    """What is seen of these trials; they take place side by side, on an event loop of their own."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(_noting)
    loop.set_exception_handler(lambda loop, context: None)  # it is looked at, not logged
    try:
        return loop.run_until_complete(_all([(setup, Seen()) for setup in setups]))
    finally:
        loop.run_until_complete(_cleared(loop))
        loop.close()


def _noting(loop: asyncio.AbstractEventLoop, work: Any, **keywords: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **keywords)
    if (seen := _trial.get(None)) is not None:
        seen.tasks.append(task)
    return task


async def _all(trials: list[tuple[Setup, Seen]]) -> list[Seen]:
    for setup, seen in trials:
        seen.task = asyncio.ensure_future(_begun(setup, seen))
    limit = STUCK_AFTER + 10 * max(setup.patience for setup, _ in trials)
    tasks = [seen.task for _, seen in trials if seen.task is not None]
    await asyncio.wait(tasks, timeout=limit)
    for _ in range(SETTLING):
        await asyncio.sleep(0)
    for _, seen in trials:
        _look(seen)
    return [seen for _, seen in trials]


def _look(seen: Seen) -> None:
    """Notes what a trial left behind."""
    assert seen.task is not None
    if not seen.task.done():
        seen.stuck = True
        return
    seen.left = [_told(task) for task in seen.tasks if not task.done()]
    for task in seen.tasks:
        if task.done() and not task.cancelled() and task._log_traceback:
            error = task.exception()
            seen.unheard.append(f"{type(error).__name__} in {_told(task)}")


def _told(task: asyncio.Task[Any]) -> str:
    work = task.get_coro()
    if not isinstance(work, CoroutineType):
        return f"'{task.get_name()}'"
    return f"'{work.__qualname__}' ({place_of(work.cr_code, work.cr_code.co_firstlineno)})"


async def _begun(setup: Setup, seen: Seen) -> None:
    _trial.set(seen)
    try:
        await _live(setup, seen)
    except (Exception, asyncio.CancelledError) as error:
        seen.error = error
    finally:
        seen.ended = asyncio.get_running_loop().time()


async def _live(setup: Setup, seen: Seen) -> None:
    """Makes a ``Flujo``, runs, and closes it."""
    store = MemoryStore()
    plugins = PluginSettings(allow=(), order=setup.order, policies=setup.policies, hook_timeout=setup.patience)
    try:
        flujo = Flujo(
            setup.scenario.pipeline,
            context=Notes,
            store=store,
            plugins=[*setup.plugins, *setup.scenario.helpers],
            settings=Settings(plugins),
        )
        async with flujo:
            numbers = range(setup.runs)
            if setup.side_by_side:
                seen.outputs = await asyncio.gather(*(_run(flujo, setup.scenario.input, one) for one in numbers))
            else:
                seen.outputs = [await _run(flujo, setup.scenario.input, one) for one in numbers]
    finally:
        await _read(store, seen)


async def _run(flujo: Flujo[str, Any, Any], text: str, number: int) -> Any:
    return (await flujo.run_async(f"{text} {number}", run_id=f"run-{number}")).end.output


async def _read(store: MemoryStore, seen: Seen) -> None:
    if not await store.runs():
        return
    events = [decode(record) for record in await store.read("run-0")]
    seen.events = [(event.kind, event.address) for event in events]
    seen.status = fold(events).status


async def _cleared(loop: asyncio.AbstractEventLoop) -> None:
    """Ends what is left on the loop, as far as it can be ended."""
    await loop.shutdown_asyncgens()
    rest = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=0.5)
    for task in rest:
        task._log_destroy_pending = False  # type: ignore[attr-defined] # it was found, and needs no further word
