"""Which plugins a run has: those that it began with, whatever ``change_plugins`` does meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from plugin_kit import ALONE

from flujo_core import (
    AppInfo,
    Flujo,
    FlujoError,
    Plugin,
    PluginError,
    PluginLoadError,
    Registry,
    RunEnd,
    RunStart,
    Settings,
    StepCall,
    Veto,
    step,
)


class Noting(Plugin):
    """Notes when it starts and shuts down, and which runs it hears of."""

    def __init__(self, name: str, *, broken: bool = False) -> None:
        self.name = name  # type: ignore[misc]
        self.broken = broken
        self.ups = 0
        self.downs = 0
        self.begun: list[str] = []
        self.steps: Counter[str] = Counter()
        self.ended: list[str] = []

    async def on_startup(self, app: AppInfo, /) -> None:
        self.ups += 1
        self.app = app
        if self.broken:
            raise OSError("CANARY")

    async def on_shutdown(self) -> None:
        self.downs += 1
        self.heard_when_down = (len(self.begun), len(self.ended))

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        assert self.ups == 1 and self.downs == 0
        self.begun.append(run.run_id)

    async def pre_step_execution(self, call: StepCall, /) -> None:
        assert self.ups == 1 and self.downs == 0
        self.steps[call.run_id] += 1

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
        assert self.ups == 1 and self.downs == 0
        self.ended.append(run.run_id)


class Gates:
    """A step that waits until its run is let go on, between two that do not."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Event] = {}

    def pipeline(self) -> Any:
        @step
        async def first(run_id: str) -> str:
            return run_id

        @step
        async def gate(run_id: str) -> str:
            await self.open.setdefault(run_id, asyncio.Event()).wait()
            return run_id

        return first >> gate >> first.named("last")

    def let(self, run_id: str) -> None:
        self.open.setdefault(run_id, asyncio.Event()).set()


def in_a_block(
    do: Callable[[Flujo[Any, Any], Gates], Any], *plugins: Plugin, settings: Settings = ALONE
) -> Flujo[Any, Any]:
    """Does that with a ``Flujo`` that has started with these plugins."""
    gates = Gates()
    flujo: Flujo[Any, Any] = Flujo(gates.pipeline(), plugins=plugins, settings=settings)

    async def main() -> None:
        async with flujo:
            await do(flujo, gates)

    asyncio.run(asyncio.wait_for(main(), 20))
    return flujo


async def _begin(flujo: Flujo[Any, Any], run_id: str) -> asyncio.Task[Any]:
    task = asyncio.create_task(flujo.run_async(run_id, run_id=run_id))
    await asyncio.sleep(0.005)
    assert not task.done()
    return task


def test_a_run_keeps_the_plugin_set_it_started_with() -> None:
    a, b, c = Noting("a"), Noting("b"), Noting("c")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        old = await _begin(flujo, "old")
        await flujo.change_plugins(add=[c], remove=["a"])
        assert flujo.plugins == ("b", "c")
        new = await _begin(flujo, "new")
        for run_id, task in (("old", old), ("new", new)):
            gates.let(run_id)
            await task

    in_a_block(do, a, b)
    assert a.begun == a.ended == ["old"] and a.steps == {"old": 3}
    assert sorted(b.begun) == sorted(b.ended) == ["new", "old"] and b.steps == {"old": 3, "new": 3}
    assert c.begun == c.ended == ["new"] and c.steps == {"new": 3}


def test_plugins_that_were_removed_are_shut_down_when_the_last_run_that_has_them_has_ended() -> None:
    a = Noting("a")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        tasks = {run_id: await _begin(flujo, run_id) for run_id in ("x", "y")}
        await flujo.change_plugins(remove=["a"])
        for run_id in ("x", "y"):
            await asyncio.sleep(0.02)
            assert a.downs == 0
            gates.let(run_id)
            await tasks[run_id]
        await asyncio.sleep(0.02)
        assert a.downs == 1 and a.heard_when_down == (2, 2)

    in_a_block(do, a)
    assert a.downs == 1, "shut down again with the block"


def test_a_plugin_that_no_run_has_is_shut_down_as_it_is_removed() -> None:
    a = Noting("a")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        await flujo.change_plugins(remove=["a"])
        await asyncio.sleep(0)
        assert (a.ups, a.downs) == (1, 1) and flujo.plugins == ()

    in_a_block(do, a)
    assert a.downs == 1


def test_plugins_that_were_added_are_started_before_any_run_has_them_and_shut_down_with_the_block() -> None:
    a, b = Noting("b"), Noting("a")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        await flujo.change_plugins(add=[b])
        assert b.ups == 1 and flujo.plugins == ("a", "b") and b.app.plugins == ("a", "b")
        gates.let("r")
        await flujo.run_async("r", run_id="r")

    in_a_block(do, a)
    assert b.begun == ["r"] and (b.ups, b.downs) == (a.ups, a.downs) == (1, 1)


def _check_nothing_has_changed(flujo: Flujo[Any, Any], kept: Noting) -> None:
    assert flujo.plugins == ("kept",) and (kept.ups, kept.downs) == (1, 0)


def test_if_an_added_plugin_does_not_start_nothing_has_changed() -> None:
    kept, good, bad = Noting("kept"), Noting("a"), Noting("b", broken=True)

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        with pytest.raises(PluginError) as refused:
            await flujo.change_plugins(add=[good, bad], remove=["kept"])
        assert (refused.value.plugin, refused.value.hook) == ("b", "on_startup")
        _check_nothing_has_changed(flujo, kept)
        gates.let("r")
        await flujo.run_async("r", run_id="r")

    in_a_block(do, kept)
    assert kept.begun == ["r"] and good.begun == bad.begun == []
    assert (good.ups, good.downs) == (1, 1) and bad.downs == 0


class Incompatible(Noting):
    api = ">=2"


class Registering(Noting):
    def register_agents(self, registry: Registry[Any], /) -> None:
        raise OSError("CANARY")


class Sync(Noting):
    def authorize(self, request: Any, /) -> None:  # type: ignore[override]
        pass


@pytest.mark.parametrize("kind", [Incompatible, Registering, Sync])
def test_if_loading_an_added_plugin_fails_nothing_has_changed(kind: type[Noting]) -> None:
    kept, good, bad = Noting("kept"), Noting("good"), kind("bad")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        with pytest.raises(PluginLoadError, match="'bad'"):
            await flujo.change_plugins(add=[good, bad], remove=["kept"])
        _check_nothing_has_changed(flujo, kept)
        assert good.ups == good.downs and bad.ups == 0
        gates.let("r")
        await flujo.run_async("r", run_id="r")

    in_a_block(do, kept)
    assert kept.begun == ["r"] and good.begun == []


def test_a_plugin_of_a_name_that_is_there_is_not_added() -> None:
    kept = Noting("kept")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        with pytest.raises(PluginLoadError, match="'kept'"):
            await flujo.change_plugins(add=[Noting("kept")])
        _check_nothing_has_changed(flujo, kept)

    in_a_block(do, kept)


def test_a_plugin_that_is_not_there_cannot_be_removed_and_nothing_has_changed() -> None:
    kept, other = Noting("kept"), Noting("other")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        with pytest.raises(FlujoError, match=r"'kepd'.*'kept'"):
            await flujo.change_plugins(add=[other], remove=["kepd"])
        _check_nothing_has_changed(flujo, kept)
        assert other.ups == other.downs

    in_a_block(do, kept)


class Slowly(Noting):
    async def on_startup(self, app: AppInfo, /) -> None:
        await asyncio.sleep(0.02)
        await super().on_startup(app)


def test_changes_side_by_side_all_take_place() -> None:
    kept, gone, a, b = Noting("kept"), Noting("gone"), Slowly("a"), Slowly("b")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        changes = [
            flujo.change_plugins(add=[a]), flujo.change_plugins(remove=["gone"]), flujo.change_plugins(add=[b])
        ]  # fmt: skip
        await asyncio.gather(*changes)
        assert flujo.plugins == ("a", "b", "kept"), "a change was lost, and nobody was told"
        gates.let("r")
        await flujo.run_async("r", run_id="r")

    in_a_block(do, kept, gone)
    assert [(one.ups, one.downs, one.begun) for one in (a, b, kept)] == [(1, 1, ["r"])] * 3
    assert (gone.ups, gone.downs, gone.begun) == (1, 1, [])


def test_a_change_that_is_cancelled_has_changed_nothing() -> None:
    kept, slow = Noting("kept"), Slowly("slow")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        change = asyncio.create_task(flujo.change_plugins(add=[slow], remove=["kept"]))
        await asyncio.sleep(0.005)
        change.cancel()
        await asyncio.wait([change])
        assert change.cancelled()
        _check_nothing_has_changed(flujo, kept)
        gates.let("r")
        await flujo.run_async("r", run_id="r")

    in_a_block(do, kept)
    assert kept.begun == ["r"] and slow.begun == []


def test_a_run_that_begins_while_added_plugins_start_has_the_plugins_from_before() -> None:
    old, new = Noting("old"), Slowly("new")

    async def do(flujo: Flujo[Any, Any], gates: Gates) -> None:
        change = asyncio.create_task(flujo.change_plugins(add=[new], remove=["old"]))
        await asyncio.sleep(0.005)
        gates.let("r")
        await flujo.run_async("r", run_id="r")
        await change

    in_a_block(do, old)
    assert old.begun == old.ended == ["r"] and new.begun == [] and (new.ups, new.downs) == (1, 1)


@pytest.mark.parametrize("how", ["fails", "is cancelled", "is refused"])
def test_however_the_last_run_of_a_removed_plugin_ends_it_is_shut_down(how: str) -> None:
    removed = Noting("removed")

    @step
    async def ending(value: int) -> int:
        await asyncio.sleep(0.02)
        if how == "is refused":
            raise Veto("never")
        raise ValueError

    async def main() -> None:
        async with Flujo(ending, plugins=[removed], settings=ALONE) as flujo:
            task = asyncio.create_task(flujo.run_async(1))
            await asyncio.sleep(0.005)
            await flujo.change_plugins(remove=["removed"])
            assert removed.downs == 0
            if how == "is cancelled":
                task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.005)
            assert removed.downs == 1

    asyncio.run(main())
    assert removed.downs == 1


def test_a_callback_given_to_the_constructor_stays_when_plugins_change() -> None:
    seen: list[str] = []

    async def callback(call: StepCall) -> None:
        seen.append(call.address)

    async def main() -> None:
        async with Flujo(Gates().pipeline(), settings=ALONE, pre_step_execution=callback) as flujo:
            await flujo.change_plugins(add=[Noting("a")])
            task = asyncio.create_task(flujo.run_async("r"))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(main())
    assert seen == ["first", "gate"]


# What may happen to a Flujo: a plugin of that name comes or goes, or a run of that name begins or ends.
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "begin", "end"]), st.sampled_from(["a", "b", "c"])), max_size=16
)


class Going(NamedTuple):
    """A run that has begun, and the plugins that there were then."""

    run_id: str
    task: asyncio.Task[Any]
    plugins: list[Noting]


class Model:
    """Does to a ``Flujo`` what it is told, and knows what must be true of it then."""

    def __init__(self, flujo: Flujo[Any, Any], gates: Gates) -> None:
        self.flujo = flujo
        self.gates = gates
        self.now: dict[str, Noting] = {}
        self.runs: dict[str, Going] = {}
        self.heard: list[tuple[Noting, list[str]]] = []

    async def do(self, action: str, name: str) -> None:
        if action == "add" and name not in self.now:
            self.now[name] = Noting(name)
            self.heard.append((self.now[name], []))
            await self.flujo.change_plugins(add=[self.now[name]])
        elif action == "remove" and name in self.now:
            del self.now[name]
            await self.flujo.change_plugins(remove=[name])
        elif action == "begin" and name not in self.runs:
            run_id = f"{name} {len(self.gates.open)}"
            self.runs[name] = Going(run_id, await _begin(self.flujo, run_id), list(self.now.values()))
            for one, runs in self.heard:
                if one in self.runs[name].plugins:
                    runs.append(run_id)
        elif action == "end" and name in self.runs:
            await self.end(self.runs.pop(name))

    async def end(self, run: Going) -> None:
        self.gates.let(run.run_id)
        await run.task
        assert all(one.steps[run.run_id] == 3 and run.run_id in one.ended for one in run.plugins)
        await asyncio.sleep(0.002)

    def check(self) -> None:
        assert self.flujo.plugins == tuple(sorted(self.now))
        needed = [*self.now.values(), *(one for run in self.runs.values() for one in run.plugins)]
        for one, runs in self.heard:
            assert (one.ups, one.downs) == (1, int(one not in needed)), one.name
            assert one.begun == runs, one.name


async def _play(actions: list[tuple[str, str]], model: Model) -> None:
    for action, name in actions:
        await model.do(action, name)
        model.check()
    for run in model.runs.values():
        await model.end(run)


@examples(max_examples=50)
@given(STEPS)
def test_whatever_comes_and_goes_each_run_has_the_plugins_it_began_with_and_each_plugin_one_life(
    actions: list[tuple[str, str]],
) -> None:
    in_a_block(lambda flujo, gates: _play(actions, Model(flujo, gates)))
