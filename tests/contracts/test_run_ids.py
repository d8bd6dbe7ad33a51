"""The id of a run: SEMANTICS 13: the same call again starts nothing twice, and never passes a gate."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest
from crash_kit import Counted, crashed, done, durable, events_in, eventually
from test_pause import NESTINGS, Gate

from flujo_core import (
    MemoryStore,
    Parallel,
    Plugin,
    RunBusy,
    RunCancelled,
    RunExists,
    RunFailed,
    RunRefused,
    SQLiteStore,
    StepCall,
    Stop,
    Store,
    UnknownRun,
    Veto,
    step,
)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")


def three(ran: Counted) -> Any:
    return ran.plus("a") >> ran.plus("b", 10) >> ran.plus("c", 100)


def test_an_unknown_id_starts_a_run(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        result = await durable(three(ran), store).run_async(1, run_id="mine")
        assert (result.run_id, result.output) == ("mine", 112)
        await store.close()

    done(main())


def test_resuming_an_unknown_id_is_an_error() -> None:
    async def main() -> None:
        with pytest.raises(UnknownRun):
            await durable(three(Counted()), MemoryStore()).resume_async("mine")

    done(main())


def test_another_input_under_the_same_id_is_an_error_and_changes_nothing(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(three(ran), store)
        await flujo.run_async(1, run_id="r")
        before = list(await store.read("r"))
        for other in (2, 0):
            with pytest.raises(RunExists):
                await flujo.run_async(other, run_id="r")
        with pytest.raises(RunExists):
            await flujo.run_async(1, run_id="r", tenant="another")
        assert list(await store.read("r")) == before and set(ran.values()) == {1}
        await store.close()

    done(main())


def test_the_input_is_compared_as_the_caller_gave_it_though_a_plugin_changed_it() -> None:
    class Doubling(Plugin):
        name: ClassVar[str] = "doubling"

        async def on_pipeline_start(self, run: Any, /) -> Any:
            return None if run.resumed else run.replace(initial_input=run.initial_input * 2)

    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(three(ran), store, plugins=[Doubling()])
        assert (await flujo.run_async(2, run_id="r")).output == 115
        assert (await flujo.run_async(2, run_id="r")).output == 115 and set(ran.values()) == {1}
        with pytest.raises(RunExists):
            await flujo.run_async(4, run_id="r")

    done(main())


def test_a_completed_run_is_told_again_and_nothing_runs(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        first = await durable(three(ran), store).run_async(1, run_id="r")
        before = list(await store.read("r"))
        flujo = durable(three(ran), store)
        for call in (flujo.run_async(1, run_id="r"), flujo.resume_async("r")):
            again = await call
            assert (again.run_id, again.status, again.output) == ("r", "completed", 112)
            assert again.context == first.context
            assert [(one.address, one.output) for one in again.steps] == [("a", 2), ("b", 12), ("c", 112)]
        assert list(await store.read("r")) == before and set(ran.values()) == {1}
        await store.close()

    done(main())


def test_a_crashed_run_goes_on_by_the_same_call() -> None:
    ran = Counted()

    async def main() -> None:
        kept = MemoryStore()
        assert await crashed(three(ran), 1, kept, 3)
        result = await durable(three(ran), kept).run_async(1, run_id="r")
        assert result.output == 112
        with pytest.raises(RunExists):
            await durable(three(ran), kept).run_async(2, run_id="r")

    done(main())


def test_a_run_that_crashed_is_not_gone_on_with_under_another_input() -> None:
    ran = Counted()

    async def main() -> None:
        kept = MemoryStore()
        assert await crashed(three(ran), 1, kept, 3)
        before, times = list(await kept.read("r")), dict(ran)
        with pytest.raises(RunExists):
            await durable(three(ran), kept).run_async(2, run_id="r")
        assert list(await kept.read("r")) == before and ran == times

    done(main())


def test_a_run_that_somebody_goes_on_with_is_busy(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        sign = asyncio.Event()

        @step
        async def slow(value: int) -> int:
            await sign.wait()
            return value

        running = asyncio.create_task(durable(slow >> ran.plus("a"), store).run_async(1, run_id="r"))
        await eventually(lambda: store.read("r"))
        other = durable(slow >> ran.plus("a"), store)
        for call in (other.run_async(1, run_id="r"), other.resume_async("r")):
            with pytest.raises(RunBusy) as busy:
                await call
            assert busy.value.until > await store.time()
        with pytest.raises(RunExists):
            await other.run_async(2, run_id="r")
        sign.set()
        assert (await running).output == 2 and ran == {"a": 1}
        await store.close()

    done(main())


@pytest.mark.parametrize("name", NESTINGS)
def test_a_paused_run_called_again_never_passes_the_gate(name: str) -> None:
    ran = Counted()
    make, address = NESTINGS[name]

    async def main() -> None:
        store = MemoryStore()
        made = lambda: durable(ran.plus("first") >> make(ran) >> ran.plus("last"), store)  # noqa: E731
        await made().run_async(1, run_id="r")
        before, times = list(await store.read("r")), dict(ran)
        for _ in range(3):
            for call in (made().run_async(1, run_id="r"), made().resume_async("r")):
                again = await call
                assert again.status == "paused"
                assert [(one.address, one.token) for one in again.questions] == [(address, None)]
        assert not await made().recover_async()
        assert ran == times and ran["last"] == 0
        assert list(await store.read("r")) == before, "reading writes nothing"

    done(main())


@pytest.mark.parametrize("when", ["pre", "post"])
def test_a_paused_run_called_again_never_passes_the_gate_of_a_plugin(when: str) -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        for _ in range(3):
            flujo = durable(ran.plus("a") >> ran.plus("b") >> ran.plus("c"), store, plugins=[Gate(when)])
            assert (await flujo.run_async(1, run_id="r")).status == "paused"
        assert ran == ({"a": 1} if when == "pre" else {"a": 1, "b": 1})

    done(main())


def test_a_run_that_is_called_again_at_once_runs_once() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        calls = [durable(three(ran), store).run_async(1, run_id="r") for _ in range(10)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(one, RunBusy) or getattr(one, "output", None) == 112 for one in found), found
        assert any(not isinstance(one, BaseException) for one in found)
        assert ran == {"a": 1, "b": 1, "c": 1}

    done(main())


# ---------------------------------------------------------------------------------------------------------- other ends


def test_a_failed_run_raises_again_and_nothing_runs(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        node = ran.plus("a") >> ran.plus("bad", fails=9) >> ran.plus("c")
        with pytest.raises(RunFailed) as first:
            await durable(node, store).run_async(1, run_id="r")
        before = list(await store.read("r"))
        flujo = durable(node, store)
        for call in (flujo.run_async(1, run_id="r"), flujo.resume_async("r")):
            with pytest.raises(RunFailed) as again:
                await call
            assert type(again.value) is type(first.value)
            assert again.value.result.status == "failed" and again.value.result.run_id == "r"
            assert again.value.result.context == first.value.result.context
            assert str(again.value) == str(first.value) and again.value.result.error
            assert repr(again.value.result.error) == repr(first.value.result.error)
        assert list(await store.read("r")) == before and ran == {"a": 1, "bad": 1}
        await store.close()

    done(main())


def test_a_stopped_run_is_told_again() -> None:
    ran, store = Counted(), MemoryStore()

    @step
    async def stops(value: int) -> int | Stop:
        ran["stops"] += 1
        return Stop("enough")

    async def main() -> None:
        for _ in range(3):
            result = await durable(stops, store).run_async(1, run_id="r")
            assert (result.status, result.reason) == ("stopped", "enough")
        assert ran["stops"] == 1

    done(main())


def test_a_refused_run_raises_again() -> None:
    class No(Plugin):
        name: ClassVar[str] = "no"

        async def pre_step_execution(self, call: StepCall, /) -> None:
            ran["asked"] += 1
            raise Veto("no")

    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(RunRefused):
                await durable(ran.plus("a"), store, plugins=[No()]).run_async(1, run_id="r")
        assert ran == {"asked": 1}

    done(main())


def test_a_cancelled_run_raises_again() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(ran.asks("ask"), store)
        await flujo.run_async(1, run_id="r")
        await flujo.cancel_async("r")
        for _ in range(2):
            with pytest.raises(RunCancelled):
                await flujo.run_async(1, run_id="r")

    done(main())


# -------------------------------------------------------------------------------------------------------- retry_failed


def test_a_failed_run_can_be_tried_again_from_what_failed(store: Store) -> None:
    ran, broken = Counted(), [True]

    @step
    async def shaky(value: int) -> int:
        ran["shaky"] += 1
        if broken[0]:
            raise ValueError("on purpose")
        return value * 2

    async def main() -> None:
        flujo = durable(ran.plus("a") >> shaky >> ran.plus("c"), store)
        for _ in range(2):
            with pytest.raises(RunFailed):
                await (flujo.resume_async("r", retry_failed=True) if ran else flujo.run_async(1, run_id="r"))
        broken[0] = False
        with pytest.raises(RunFailed):
            await flujo.resume_async("r")
        result = await flujo.resume_async("r", retry_failed=True)
        assert (result.status, result.output) == ("completed", 5)
        assert ran == {"a": 1, "shaky": 3, "c": 1}, "what was committed is not run again"
        events = await events_in(store)
        assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
        await store.close()

    done(main())


def test_trying_a_failed_parallel_again_keeps_the_branches_that_were_committed() -> None:
    ran, store, broken = Counted(), MemoryStore(), [True]

    @step
    async def shaky(value: int) -> int:
        ran["shaky"] += 1
        if broken[0]:
            raise ValueError("on purpose")
        return value * 2

    async def main() -> None:
        fan = Parallel("fan", a=ran.plus("x") >> ran.plus("y"), b=shaky, on_error="collect")
        flujo = durable(fan >> ran.total(), store)
        with pytest.raises(RunFailed):
            await flujo.run_async(1, run_id="r")
        broken[0] = False
        assert (await flujo.resume_async("r", retry_failed=True)).output == 5
        assert ran == {"fan[a]/x": 1, "fan[a]/y": 1, "shaky": 2, "total": 1}

    done(main())


def test_trying_again_what_has_not_failed_changes_nothing() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(three(ran), store)
        await flujo.run_async(1, run_id="r")
        assert (await flujo.resume_async("r", retry_failed=True)).output == 112
        assert set(ran.values()) == {1}

    done(main())
