"""What is told of a run with branches: hooks at its leaves, its stream, its appends (DESIGN 4 to 6, SEMANTICS 2)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from flow_kit import ALONE, State, Watched, adds, alone, fail, kinds, logs, plus, ran, ran_async, slow

from flujo_core import (
    Branch,
    Decision,
    Flujo,
    Loop,
    Map,
    Parallel,
    Plugin,
    PluginError,
    PluginSettings,
    Retry,
    RunEvent,
    RunRefused,
    Settings,
    Skip,
    SQLiteStore,
    Veto,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

WHOLE = Parallel(
    "fan",
    a=(plus >> adds("two")).named("scope"),
    b=Loop("l", plus, until=lambda value: value > 3, max_iterations=5),
    c=Map("each", plus, over=lambda value: [1, 2]),
    d=Branch("route", on=str).default(plus),
)
LEAVES = [
    "fan[a]/scope/plus", "fan[a]/scope/two", "fan[b]/l[1]/plus", "fan[b]/l[2]/plus", "fan[b]/l[3]/plus",
    "fan[c]/each[0]/plus", "fan[c]/each[1]/plus", "fan[d]/route[~default]/plus",
]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- hooks


def test_lifecycle_hooks_fire_on_leaves_and_on_nothing_else() -> None:
    seen: dict[str, list[str]] = defaultdict(list)

    class Sees(Plugin):
        name = "sees"

        async def authorize(self, request: Any, /) -> Decision | None:
            seen["authorize"].append(request.address)
            return None

        async def pre_step_execution(self, call: Any, /) -> None:
            seen["pre"].append(call.address)

        async def around_step(self, call: Any, proceed: Any, /) -> Any:
            seen["around"].append(call.address)
            return await proceed()

        async def post_step_execution(self, call: Any, result: Any, /) -> None:
            seen["post"].append(result.address)

    ran(WHOLE, plugins=[Sees()])
    assert sorted(seen.pop("authorize")) == ["", *LEAVES]
    assert {name: sorted(found) for name, found in seen.items()} == dict.fromkeys(("pre", "around", "post"), LEAVES)


def test_hooks_of_branches_run_side_by_side_each_in_the_task_of_its_branch() -> None:
    met = asyncio.Barrier(2)
    tasks: dict[str, set[Any]] = defaultdict(set)

    async def pre(call: Any) -> None:
        tasks[call.address].add(asyncio.current_task())
        async with asyncio.timeout(5):
            await met.wait()

    node = Parallel("fan", a=plus, b=plus)
    assert ran(node, pre_step_execution=pre).result.status == "completed"
    assert len(tasks["fan[a]/plus"] | tasks["fan[b]/plus"]) == 2


def test_a_hook_that_hangs_in_a_branch_refuses_the_run_and_cancels_the_siblings() -> None:
    did: list[str] = []

    async def pre(call: Any) -> None:
        if call.step_name == "plus":
            await asyncio.sleep(30)

    settings = Settings(PluginSettings(allow=(), hook_timeout=0.05))
    node = Parallel("fan", a=slow("long", 30, did), b=plus)
    flujo: Any = Flujo(node, pre_step_execution=pre, settings=settings)
    with pytest.raises(RunRefused) as refused:
        flujo.run(1)
    assert isinstance(refused.value.__cause__, PluginError) and refused.value.__cause__.step == "fan[b]/plus"
    assert did == ["long cancelled"]


def test_hooks_that_take_their_time_in_many_branches_are_timed_each_for_itself() -> None:
    async def pre(call: Any) -> None:
        await asyncio.sleep(0.06)

    settings = Settings(PluginSettings(allow=(), hook_timeout=0.3))
    node = Map("each", plus >> adds("b") >> adds("c"), over=lambda value: range(30))
    flujo: Any = Flujo(node, pre_step_execution=pre, settings=settings)
    assert len(flujo.run(1).output) == 30


def test_a_hook_may_skip_a_leaf_in_a_branch_and_change_its_context() -> None:
    async def pre(call: Any) -> Any:
        call.context.log.append(call.address)
        return Skip(100) if call.address == "fan[a]/plus" else None

    done = ran(Parallel("fan", a=plus >> adds("x"), b=plus), pre_step_execution=pre)
    assert done.output == {"a": 101, "b": 2}
    assert done.context.log == ["fan[a]/plus", "fan[a]/x", "fan[b]/plus"]


def test_hooks_do_not_run_again_for_what_an_attempt_of_the_step_fails() -> None:
    calls: list[str] = []

    async def pre(call: Any) -> None:
        calls.append(call.address)

    tried: list[int] = []

    @step(retry=Retry(attempts=3))
    async def flaky(value: int) -> int:
        tried.append(value)
        if len(tried) < 3:
            raise ValueError
        return value

    ran(Parallel("fan", a=flaky), pre_step_execution=pre)
    assert calls == ["fan[a]/flaky"] and len(tried) == 3


def test_the_fallback_of_a_step_is_a_leaf_with_hooks_of_its_own() -> None:
    calls: list[str] = []

    async def pre(call: Any) -> None:
        calls.append(f"pre {call.address}")

    async def post(call: Any, result: Any) -> None:
        calls.append(f"post {call.address} {result.output}")

    ran(fail.policy(fallback=adds("other", 4)), pre_step_execution=pre, post_step_execution=post)
    assert calls == ["pre fail", "pre fail~fallback/other", "post fail~fallback/other 5", "post fail 5"]


def test_on_step_error_may_give_a_result_for_a_leaf_in_a_branch() -> None:
    class Mends(Plugin):
        name = "mends"

        async def on_step_error(self, call: Any, error: Any, /) -> Any:
            assert (error.address, error.attempts) == ("fan[a]/fail", 1)
            return call.result(7)

    assert ran(Parallel("fan", a=fail, b=plus), plugins=[Mends()]).output == {"a": 7, "b": 2}


def test_on_event_gets_every_event_in_order_after_it_is_durable() -> None:
    store = Watched(turns=2)
    got: list[Any] = []

    class Hears(Plugin):
        name = "hears"

        async def on_event(self, event: RunEvent, /) -> None:
            assert any(known.sequence == event.sequence for known in store.events)
            await asyncio.sleep(0)
            got.append(event)

    done = ran(WHOLE, store=store, plugins=[Hears()])
    assert done.result.status == "completed" and kinds(got) == kinds(done.events)


def test_a_veto_of_a_leaf_deep_inside_refuses_the_run_and_every_scope_has_ended() -> None:
    async def pre(call: Any) -> None:
        if call.address == "fan[c]/each[1]/plus":
            raise Veto("no")

    done = ran(WHOLE, pre_step_execution=pre)
    assert done.result.status == "refused" and done.events[-1].kind == "run_ended"
    everything = [*done.state.steps.values(), *done.state.nodes.values()]
    assert all(one.status != "running" for one in everything)


# ---------------------------------------------------------------------------------------------------- streams


async def streamed(node: Any, given: Any = 1, **keywords: Any) -> list[Any]:
    events = []
    async with alone(node, **keywords).stream(given) as run:
        async for event in run:
            events.append(event)
    assert run.result.status == "completed"
    return events


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_stream_has_the_events_of_each_branch_in_order(store: str | None) -> None:
    events = asyncio.run(streamed(WHOLE, store=store))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    for branch in "abcd":
        told = [event for event in events if event.address.startswith(f"fan[{branch}]/")]
        for leaf in (leaf for leaf in LEAVES if leaf.startswith(f"fan[{branch}]/")):
            assert [e.kind for e in told if e.address == leaf] == ["step_started", "step_completed"]
    addresses = [event.address for event in events if event.kind == "step_started"]
    assert [one for one in addresses if one.startswith("fan[b]")] == [f"fan[b]/l[{n}]/plus" for n in (1, 2, 3)]
    assert [one for one in addresses if one.startswith("fan[a]")] == ["fan[a]/scope/plus", "fan[a]/scope/two"]


def test_the_stream_and_the_journal_tell_the_same() -> None:
    store = Watched()

    async def main() -> list[Any]:
        return await streamed(WHOLE, store=store)

    told = asyncio.run(main())
    assert kinds(told) == kinds(store.events)
    assert [event.sequence for event in told] == [event.sequence for event in store.events]


def test_no_event_reaches_a_stream_before_it_is_durable() -> None:
    store = Watched(turns=3)

    async def main() -> None:
        async with alone(WHOLE, store=store).stream(1) as run:
            async for event in run:
                assert event.sequence <= len(store.events)

    asyncio.run(main())


def test_a_slow_consumer_makes_all_branches_wait() -> None:
    ran_steps = 0

    @step
    async def count(value: int) -> int:
        nonlocal ran_steps
        ran_steps += 1
        return value + 1

    def loop() -> Any:
        return Loop("l", count, until=lambda value: value > 2000, max_iterations=2000)

    async def main() -> int:
        async with alone(Parallel("fan", a=loop(), b=loop(), c=loop())).stream(1) as run:
            async for _ in run:
                await asyncio.sleep(0.3)
                return ran_steps
        return -1

    assert 0 <= asyncio.run(main()) < 1000


def test_leaving_a_stream_early_cancels_every_branch_and_leaves_no_task() -> None:
    did: list[str] = []
    store = Watched()

    async def main() -> int:
        async with alone(Parallel("fan", a=slow("x", 30, did), b=slow("y", 30, did)), store=store).stream(1) as run:
            async for event in run:
                if event.address == "fan[b]/y":
                    await asyncio.sleep(0.01)
                    break
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1 and sorted(did) == ["x cancelled", "y cancelled"]
    assert store.events[-1].status == "cancelled"


# ---------------------------------------------------------------------------------------------------- appends


def test_an_event_is_durable_before_anything_that_depends_on_it_starts() -> None:
    store = Watched(turns=3)
    missing: list[str] = []

    def after(name: str, *needed: str) -> Any:
        @step(name=name)
        async def look(value: Any) -> int:
            known = kinds(store.events)
            missing.extend(f"{name} began without {one}" for one in needed if one not in known)
            return 1

        return look

    node = Parallel(
        "fan", a=plus >> after("second", "step_completed fan[a]/plus", "node_started fan"), b=plus
    ) >> after("last", "node_completed fan", "step_completed fan[b]/plus", "step_completed fan[a]/second")
    ran(node, store=store)
    assert missing == []


def test_a_step_is_told_to_have_started_before_its_function_is_called() -> None:
    store = Watched(turns=3)
    known: dict[int, bool] = {}

    @step
    async def look(value: int) -> int:
        known[value] = f"step_started each[{value}]/look" in kinds(store.events)
        return value

    ran(Map("each", look, over=lambda value: range(20)), store=store)
    assert len(known) == 20 and all(known.values())


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_journal_of_every_node_reads_back_to_the_same_state(kind: str, tmp_path: Any) -> None:
    store = Watched(SQLiteStore(tmp_path / "runs.db") if kind == "sqlite" else None)

    async def main() -> Any:
        done = await ran_async(logs("a") >> WHOLE, store=store)
        records = await store.read("r")
        await store.close()
        return done, fold(decode(record) for record in records)

    done, state = asyncio.run(main())
    assert state.status == "completed" and state.output == done.output
    assert state.context["log"] == ["a"]
    assert sorted(one for one in state.steps if one != "a") == LEAVES
    assert {one.status for one in state.nodes.values()} == {"completed"}
    assert {name: one.node for name, one in state.nodes.items()} == {
        "fan": "parallel", "fan[a]/scope": "pipeline", "fan[b]/l": "loop", "fan[c]/each": "map",
        "fan[d]/route": "branch",
    }  # fmt: skip


def test_headers_are_clear_and_say_how_a_node_ended() -> None:
    done = ran(Parallel("fan", a=plus, b=fail, on_error="collect"))
    records = asyncio.run(_read(done.store))
    outcomes = {(record.kind, record.address): record.outcome for record in records}
    assert outcomes["step_completed", "fan[a]/plus"] == "completed"
    assert outcomes["step_failed", "fan[b]/fail"] == outcomes["node_failed", "fan"] == "failed"
    assert not any(b"CANARY" in record.payload for record in records)


async def _read(store: Watched) -> Any:
    return await store.read("r")


def test_a_broken_store_ends_the_run_and_leaves_nothing_running() -> None:
    did: list[str] = []

    class Broken(Watched):
        async def append(self, records: Any, lease: Any, /, **more: Any) -> None:
            if len(self.batches) >= 2:
                raise OSError("the disk is full")
            await super().append(records, lease, **more)

    async def main() -> int:
        node = Parallel("fan", a=slow("x", 30, did), b=plus >> adds("more") >> adds("again"))
        flujo: Any = Flujo(node, store=Broken(), settings=ALONE, context=State)
        with pytest.raises(Exception, match=r"disk|append|store|journal"):
            await asyncio.wait_for(flujo.run_async(1), 5)
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1 and did == ["x cancelled"]
