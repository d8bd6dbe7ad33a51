"""A run from its start to its end, whatever that end is: statuses, records, cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_core import (
    ConfigurationError,
    DefinitionError,
    Flujo,
    FlujoError,
    InvalidValue,
    MemoryStore,
    NoOutput,
    PipelineContext,
    PluginError,
    Record,
    Retry,
    RunEnd,
    RunExists,
    RunFailed,
    RunRefused,
    RunStart,
    StepCall,
    StepCompleted,
    StepResult,
    Stop,
    Store,
    StoreError,
    Veto,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Lease


class State(PipelineContext):
    count: int = 0
    log: list[str] = []


@step
async def add(value: int, context: State) -> int:
    await asyncio.sleep(0)
    context.count += 1
    context.log.append(str(value))
    return value + 1


@step
async def plain(value: int) -> int:
    return value + 1


@step
async def bad(value: int) -> int:
    raise ValueError("CANARY")


class SlowStore(MemoryStore):
    """Keeps records in memory, and lets others run before and after it does; ``broken`` from a given append on."""

    def __init__(self, *, before: int = 2, after: int = 2, broken_from: int = 10**9) -> None:
        super().__init__()
        self.before = before
        self.after = after
        self.appends = 0
        self.broken_from = broken_from

    async def append(self, records: Sequence[Record], lease: Lease, /, **more: Any) -> None:
        self.appends += 1
        if self.appends >= self.broken_from:
            raise StoreError("the disk is full")
        for _ in range(self.before):
            await asyncio.sleep(0)
        await super().append(records, lease, **more)
        for _ in range(self.after):
            await asyncio.sleep(0)


def _journal(store: Store, run_id: str = "r") -> list[Any]:
    return [decode(record) for record in asyncio.run(_read(store, run_id))]


async def _read(store: Store, run_id: str) -> Sequence[Record]:
    return await store.read(run_id)


def check_journal(events: Sequence[Any], status: str) -> None:
    """What holds for the journal of every run that has ended."""
    kinds = [event.kind for event in events]
    assert kinds[0] == "run_started" and kinds[-1] == "run_ended", kinds
    assert kinds.count("run_started") == kinds.count("run_ended") == 1, kinds
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.at for event in events] == sorted(event.at for event in events)
    state = fold(events)
    assert state.status == status
    assert all(one.status != "running" for one in state.steps.values())


# ---------------------------------------------------------------------------------------------------- statuses


def test_a_completed_run_has_its_output_its_context_and_its_steps() -> None:
    result = Flujo(add >> plain, context=State).run(1, run_id="r", tenant="acme")
    assert (result.status, result.output, result.context.count, result.run_id, result.tenant) == (
        "completed", 3, 1, "r", "acme",
    )  # fmt: skip
    assert [(one.address, one.status, one.output, one.attempts) for one in result.steps] == [
        ("add", "completed", 2, 1), ("plain", "completed", 3, 1),
    ]  # fmt: skip
    assert all(one.duration is not None and one.duration >= 0 for one in result.steps)
    assert result.error is None and result.reason is None


@pytest.mark.parametrize("status", ["completed", "stopped", "failed", "refused"])
@pytest.mark.parametrize("where", ["memory", "slow", "none"])
def test_every_end_is_recorded_once_with_a_truthful_status(status: str, where: str) -> None:
    async def after(call: StepCall, result: StepResult) -> Stop | None:
        if call.step_name != "second":
            return None
        if status == "refused":
            raise Veto("not today")
        return Stop("enough") if status == "stopped" else None

    second = (bad if status == "failed" else plain).named("second")
    store: Any = {"memory": MemoryStore(), "slow": SlowStore(), "none": None}[where]
    flujo = Flujo(add >> second >> plain, context=State, store=store, post_step_execution=after)
    if status in ("failed", "refused"):
        with pytest.raises(RunFailed) as failed:
            flujo.run(1, run_id="r")
        assert isinstance(failed.value, RunRefused) is (status == "refused")
        result = failed.value.result
        assert result.error is not None and status in str(failed.value)
    else:
        result = flujo.run(1, run_id="r")
    assert result.status == status and result.context.count == 1
    assert (result.reason == "enough") is (status == "stopped")
    if status != "completed":
        with pytest.raises(NoOutput, match=status):
            _ = result.output
        with pytest.raises(NoOutput, match=status):
            result.replace(output=1)
    if store is not None:
        events = _journal(store)
        check_journal(events, status)
        assert [one.status for one in fold(events).steps.values()] == [one.status for one in result.steps]


def test_a_stop_in_a_nested_pipeline_ends_the_whole_run() -> None:
    @step
    async def halt(value: int) -> int | Stop:
        return Stop("deep")

    ran: list[int] = []

    @step
    async def later(value: int) -> int:
        ran.append(1)
        return value

    inner = (plain >> halt >> plain.named("after")).named("inner")
    result = Flujo((inner >> later).named("outer")).run(1)
    assert result.status == "stopped" and ran == [] and [one.address for one in result.steps][-1] == "outer/inner/halt"


@pytest.mark.parametrize("retry", [None, Retry(attempts=3)], ids=["once", "retried"])
@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_veto_that_a_step_itself_raises_refuses_the_run_or_fails_it_but_is_never_swallowed(
    retry: Retry | None, store: str | None
) -> None:
    async def veto(value: int) -> int:
        raise Veto("no")

    with pytest.raises(RunFailed) as failed:
        Flujo(step(veto).policy(retry=retry), store=store).run(1)
    assert failed.value.result.status in ("refused", "failed")


def test_a_wrong_input_starts_no_run() -> None:
    store = MemoryStore()
    seen: list[Any] = []

    async def start(run: RunStart) -> None:
        seen.append(run)

    with pytest.raises(InvalidValue, match="plain") as failed:
        Flujo(plain, store=store, on_pipeline_start=start).run("CANARY")  # type: ignore[arg-type]
    assert "CANARY" not in str(failed.value) and seen == []
    assert asyncio.run(store.runs()) == []


def test_an_input_is_validated_as_the_steps_type_says() -> None:
    class Mail(BaseModel):
        subject: str

    @step
    async def read(mail: Mail) -> str:
        return mail.subject

    assert Flujo(read).run({"subject": "hi"}).output == "hi"  # type: ignore[arg-type]


@pytest.mark.parametrize("run_id", ["", "  ", "\n"])
def test_an_empty_run_id_is_refused(run_id: str) -> None:
    with pytest.raises(ConfigurationError):
        Flujo(plain).run(1, run_id=run_id)


def test_run_ids_are_made_up_unlike_each_other_and_sort_by_time() -> None:
    flujo = Flujo(plain)
    ids = [flujo.run(1).run_id for _ in range(3)]
    assert len(set(ids)) == 3


def test_what_is_no_pipeline_is_refused() -> None:
    with pytest.raises(DefinitionError):
        Flujo(lambda x: x)  # type: ignore[call-overload]


def test_a_context_of_another_class_is_refused() -> None:
    class Other(PipelineContext):
        pass

    with pytest.raises(ConfigurationError, match=r"Other.*State"):
        Flujo(add, context=State).run(1, context=Other())  # type: ignore[call-overload]


def test_a_context_without_defaults_must_be_given() -> None:
    class Needy(PipelineContext):
        owner: str

    flujo = Flujo(plain, context=Needy)
    with pytest.raises(ConfigurationError, match=r"Needy.*owner"):
        flujo.run(1)
    assert flujo.run(1, context=Needy(owner="me")).context.owner == "me"


def test_the_context_of_a_result_can_begin_another_run() -> None:
    flujo = Flujo(add, context=State)
    first = flujo.run(1)
    second = flujo.run(5, context=first.context)
    assert first.context.log == ["1"] and second.context.log == ["1", "5"]


def test_runs_side_by_side_do_not_see_each_others_context() -> None:
    async def main() -> list[Any]:
        flujo = Flujo(add >> add.named("b"), context=State)
        return list(await asyncio.gather(*(flujo.run_async(n * 10) for n in range(20))))

    for number, result in enumerate(asyncio.run(main())):
        assert result.context.log == [str(number * 10), str(number * 10 + 1)]


def test_run_is_refused_inside_a_running_event_loop() -> None:
    async def main() -> None:
        with pytest.raises(FlujoError, match="run_async"):
            Flujo(plain).run(1)

    asyncio.run(main())


def test_addresses_are_percent_encoded_names_joined_by_scope() -> None:
    odd = plain.named("a/b [x]#~!%ü")
    result = Flujo((odd >> plain).named("s/t") >> plain).run(1)
    assert [one.address for one in result.steps] == ["s%2Ft/a%2Fb%20%5Bx%5D%23%7E%21%25%C3%BC", "s%2Ft/plain", "plain"]


def test_events_hold_the_run_and_its_tenant() -> None:
    store = MemoryStore()
    Flujo(add, context=State, store=store).run(1, run_id="r", tenant="acme")
    assert {(event.run_id, event.tenant) for event in _journal(store)} == {("r", "acme")}
    assert [one.tenant for one in asyncio.run(store.runs(tenant="acme"))] == ["acme"]


# ---------------------------------------------------------------------------------------------------- the journal


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_the_fold_of_the_decoded_records_is_the_fold_of_what_the_caller_got(end: str) -> None:
    class Rich(PipelineContext):
        by_number: dict[int, str] = {1: "a", 2: "b"}
        names: list[str] = []

    @step
    async def change(value: int, context: Rich) -> int:
        context.by_number[1] = "changed"
        context.by_number[3] = "c"
        del context.by_number[2]
        context.names.append("n")
        return value

    store = MemoryStore()
    flujo = Flujo(change >> (plain if end == "completed" else bad), context=Rich, store=store)
    try:
        result: Any = flujo.run(1, run_id="r")
    except RunFailed as failed:
        result = failed.result
    state = fold(_journal(store))
    assert state.status == result.status == end
    assert [(one.address, one.status, one.attempts, one.output) for one in state.steps.values()] == [
        (one.address, one.status, one.attempts, one.output) for one in result.steps
    ]
    context = state.context
    assert context["names"] == ["n"]
    assert sorted((str(key), value) for key, value in context["by_number"].items()) == [("1", "changed"), ("3", "c")]


def test_an_event_is_durable_before_anything_that_depends_on_it_starts() -> None:
    store = MemoryStore()
    seen: list[list[str]] = []

    async def kinds() -> list[str]:
        return [f"{record.kind} {record.address}".strip() for record in await store.read("r")]

    @step
    async def first(value: int) -> int:
        seen.append(await kinds())
        return value

    @step
    async def second(value: int) -> int:
        seen.append(await kinds())
        return value

    async def before(call: StepCall) -> None:
        if call.step_name == "second":
            seen.append(await kinds())

    Flujo(first >> second, store=store, pre_step_execution=before).run(1, run_id="r")
    started = ["run_started", "step_started first"]
    later = [*started, "step_completed first", "step_started second"]
    assert seen == [started, later, later]


def test_no_end_hook_hears_of_a_step_that_is_not_durable() -> None:
    """SEMANTICS 2: no event reaches hooks, streams or callers before it is durable."""
    store = MemoryStore()
    seen: list[list[str]] = []

    async def end(run: RunStart, end: RunEnd) -> None:
        assert [one.status for one in end.pipeline_result.steps] == ["completed"]
        seen.append([record.kind for record in await store.read("r")])

    Flujo(plain, store=store, on_pipeline_end=end).run(1, run_id="r")
    assert seen == [["run_started", "step_started", "step_completed"]]


def test_nothing_is_recorded_before_the_start_hooks() -> None:
    store = MemoryStore()
    seen: list[int] = []

    async def start(run: RunStart) -> None:
        seen.append(len(await store.runs()))

    Flujo(plain, store=store, on_pipeline_start=start).run(1)
    assert seen == [0]


def test_a_run_id_that_is_taken_is_refused_and_the_first_run_stays_as_it_is() -> None:
    store = MemoryStore()
    ran: list[int] = []

    @step
    async def work(value: int) -> int:
        ran.append(value)
        return value

    flujo = Flujo(work, store=store)
    flujo.run(1, run_id="r")
    before = _records(store)
    with pytest.raises(RunExists, match="'r'"):
        flujo.run(2, run_id="r")
    assert ran == [1] and _records(store) == before


def _records(store: Store) -> list[Record]:
    return list(asyncio.run(_read(store, "r")))


@pytest.mark.parametrize("broken_from", [1, 2, 3])
def test_a_store_that_fails_stops_the_run_and_is_not_taken_for_a_failed_step(broken_from: int) -> None:
    ran: list[str] = []

    @step(retry=Retry(attempts=5))
    async def one(value: int) -> int:
        ran.append("one")
        return value

    @step(retry=Retry(attempts=5))
    async def two(value: int) -> int:
        ran.append("two")
        return value

    store = SlowStore(broken_from=broken_from)
    with pytest.raises(StoreError, match="disk is full"):
        Flujo(one >> two, store=store).run(1, run_id="r")
    assert ran == ["one", "two"][: broken_from - 1]


# ---------------------------------------------------------------------------------------------------- hooks of the run


def test_the_start_hook_may_give_another_input_and_context() -> None:
    store = MemoryStore()

    async def start(run: RunStart) -> RunStart:
        assert isinstance(run.context, State)
        run.context.log.append("start")
        return run.replace(initial_input=run.initial_input + 10)

    result = Flujo(add, context=State, store=store, on_pipeline_start=start).run(1, run_id="r")
    assert result.output == 12 and result.context.log == ["start", "11"]
    events = _journal(store)
    assert events[0].input == 11 and events[0].context["log"] == ["start"]


def test_the_start_hooks_changes_do_not_reach_the_context_that_the_caller_gave() -> None:
    async def start(run: RunStart) -> None:
        assert isinstance(run.context, State)
        run.context.log.append("start")

    mine = State()
    assert Flujo(add, context=State, on_pipeline_start=start).run(1, context=mine).context.log == ["start", "1"]
    assert mine.log == []


@pytest.mark.parametrize("stored", [False, True])
def test_an_input_of_a_start_hook_that_does_not_fit_runs_nothing(stored: bool) -> None:
    store = MemoryStore() if stored else None
    ran: list[int] = []

    @step
    async def work(value: int) -> int:
        ran.append(value)
        return value

    async def start(run: RunStart) -> RunStart:
        return run.replace(initial_input="CANARY")

    with pytest.raises(RunFailed) as failed:
        Flujo(work, store=store, on_pipeline_start=start).run(1, run_id="r")
    assert ran == [] and "CANARY" not in str(failed.value)
    if store:
        check_journal(_journal(store), failed.value.result.status)


@pytest.mark.parametrize("stored", [False, True])
def test_a_context_of_a_start_hook_that_does_not_fit_runs_nothing(stored: bool) -> None:
    store = MemoryStore() if stored else None
    ran: list[int] = []

    @step
    async def work(value: int) -> int:
        ran.append(value)
        return value

    async def start(run: RunStart) -> None:
        assert isinstance(run.context, State)
        run.context.count = "CANARY"  # type: ignore[assignment]

    with pytest.raises(RunFailed) as failed:
        Flujo(work, context=State, store=store, on_pipeline_start=start).run(1, run_id="r")
    assert ran == [] and "CANARY" not in str(failed.value)
    if store:
        check_journal(_journal(store), failed.value.result.status)


@pytest.mark.parametrize("how", ["stop", "veto", "error"])
def test_a_start_hook_that_does_not_let_the_run_begin_records_neither_its_input_nor_its_context(how: str) -> None:
    store = MemoryStore()

    async def start(run: RunStart) -> Stop | None:
        if how == "veto":
            raise Veto("no")
        if how == "error":
            raise ValueError("CANARY")
        return Stop("no")

    flujo = Flujo(add, context=State, store=store, on_pipeline_start=start)
    if how == "stop":
        assert flujo.run(123454321, run_id="r").status == "stopped"
    else:
        with pytest.raises(RunRefused):
            flujo.run(123454321, run_id="r", context=State(log=["CANARY"]))
    check_journal(_journal(store), "stopped" if how == "stop" else "refused")
    payloads = b"".join(record.payload for record in _records(store))
    assert b"123454321" not in payloads and b"CANARY" not in payloads


def test_the_end_hook_may_give_another_output_which_is_what_the_journal_has() -> None:
    store = MemoryStore()

    async def end(run: RunStart, end: RunEnd) -> RunEnd:
        return end.replace(pipeline_result=end.pipeline_result.replace(output="77"))

    result = Flujo(plain, store=store, on_pipeline_end=end).run(1, run_id="r")
    assert result.output == 77 and fold(_journal(store)).output == 77


class Animal(BaseModel):
    name: str = ""


class Dog(Animal):
    barks: bool = True


@pytest.mark.parametrize("output", ["CANARY", Dog(name="CANARY")], ids=["misfit", "lost"])
def test_an_output_of_an_end_hook_that_does_not_fit_ends_the_run_truthfully(output: Any) -> None:
    store = MemoryStore()

    @step
    async def make(value: int) -> Animal:
        return Animal()

    async def end(run: RunStart, end: RunEnd) -> RunEnd:
        return end.replace(pipeline_result=end.pipeline_result.replace(output=output))

    with pytest.raises(RunFailed) as failed:
        Flujo(make, store=store, on_pipeline_end=end).run(1, run_id="r")
    check_journal(_journal(store), failed.value.result.status)
    assert "CANARY" not in str(failed.value)


@pytest.mark.parametrize("how", ["error", "veto", "none_result"])
def test_an_end_hook_that_fails_refuses_a_completed_run(how: str) -> None:
    store = MemoryStore()

    async def end(run: RunStart, end: RunEnd) -> RunEnd:
        if how == "error":
            raise ValueError("CANARY")
        if how == "veto":
            raise Veto("the output may not leave")
        return end.replace(pipeline_result=None)

    with pytest.raises(RunRefused) as refused:
        Flujo(plain, store=store, on_pipeline_end=end).run(1, run_id="r")
    check_journal(_journal(store), "refused")
    assert "on_pipeline_end" in str(refused.value) and "CANARY" not in str(refused.value)
    if how == "error":
        assert isinstance(refused.value.__cause__, PluginError)
    with pytest.raises(NoOutput):
        _ = refused.value.result.output
    assert fold(_journal(store)).output is None


def test_an_end_hook_that_fails_after_a_failure_does_not_hide_that_failure() -> None:
    async def end(run: RunStart, end: RunEnd) -> None:
        raise Veto("not like this")

    with pytest.raises(RunRefused) as refused:
        Flujo(bad, on_pipeline_end=end).run(1)
    assert refused.value.__cause__ is not None
    assert any("the run had failed before that: step 'bad' failed" in n for n in refused.value.__cause__.__notes__)


@pytest.mark.parametrize("status", ["completed", "stopped", "failed", "refused"])
def test_the_end_hook_is_called_however_the_run_ends(status: str) -> None:
    seen: list[str] = []

    async def after(call: StepCall, result: StepResult) -> Stop | None:
        if status == "refused":
            raise Veto("no")
        return Stop("x") if status == "stopped" else None

    async def end(run: RunStart, end: RunEnd) -> None:
        seen.append(f"{run.run_id} {end.pipeline_result.status}")

    flujo = Flujo(bad if status == "failed" else plain, post_step_execution=after, on_pipeline_end=end)
    with suppress(RunFailed):
        flujo.run(1, run_id="r")
    assert seen == [f"r {status}"]


def test_the_end_hook_sees_the_context_at_the_end() -> None:
    seen: list[list[str]] = []

    async def end(run: RunStart, end: RunEnd) -> None:
        assert isinstance(end.context, State)
        seen.append(end.context.log)

    result = Flujo(add, context=State, on_pipeline_end=end).run(1)
    assert seen == [["1"]] and result.context.log == ["1"]


# ---------------------------------------------------------------------------------------------------- cancellation


@asynccontextmanager
async def no_task_is_left() -> AsyncIterator[None]:
    """Checks that what ran in the block has left no task behind."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before
    assert not left, left


def _busy(store: Store | None) -> Flujo[int, int, State]:
    """A run that waits in every place where a run can wait: hooks, steps, a retry, a thread, the store."""

    async def start(run: RunStart) -> None:
        await asyncio.sleep(0)

    async def before(call: StepCall) -> None:
        assert isinstance(call.context, State)
        call.context.log.append("pre")
        await asyncio.sleep(0)

    async def after(call: StepCall, result: StepResult) -> None:
        await asyncio.sleep(0)

    async def end(run: RunStart, end: RunEnd) -> None:
        await asyncio.sleep(0)

    @step(retry=Retry(attempts=2), timeout=60)
    async def flaky(value: int, context: State) -> int:
        context.count += 1
        calls.append(1)
        await asyncio.sleep(0)
        if len(calls) % 2:
            raise ValueError
        return value

    calls: list[int] = []
    return Flujo(
        add >> flaky >> add.named("last"), context=State, store=store, on_pipeline_start=start,
        pre_step_execution=before, post_step_execution=after, on_pipeline_end=end,
    )  # fmt: skip


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (0, 3), (2, 2)])
def test_a_run_cancelled_at_any_await_leaves_no_task_and_a_truthful_journal(
    times: int, before: int, after: int
) -> None:
    async def cancelled_at(tick: int) -> bool:
        store = SlowStore(before=before, after=after)
        task: asyncio.Task[Any]
        async with no_task_is_left():
            task = asyncio.create_task(_busy(store).run_async(1, run_id="r"))
            for _ in range(tick):
                await asyncio.sleep(0)
            finished = task.done()
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([task])
        if tick == 0:
            return False
        assert task.cancelled() or finished or task.exception() is None, f"tick {tick}: {task.exception()!r}"
        records = await store.read("r")
        if task.cancelled():
            events = [decode(record) for record in records]
            status = events[-1].status if events[-1].kind == "run_ended" else "running"  # type: ignore[union-attr]
            assert status in ("cancelled", "completed"), f"tick {tick}: {[event.kind for event in events]}"
            check_journal(events, status)
            completed = [event for event in events if isinstance(event, StepCompleted)]
            assert fold(events).context.get("count", 0) == len(completed), "a step is committed with its context"
        return finished

    async def main() -> None:
        ticks = 0
        while not await cancelled_at(ticks):
            ticks += 1
            assert ticks < 400
        assert ticks > 10

    asyncio.run(main())


def test_a_cancelled_run_is_cancelled_even_if_its_end_cannot_be_recorded() -> None:
    async def main() -> None:
        entered = asyncio.Event()

        @step
        async def wait(value: int) -> int:
            entered.set()
            await asyncio.sleep(60)
            return value

        store = SlowStore(broken_from=2)
        task = asyncio.create_task(Flujo(wait, store=store).run_async(1))
        await entered.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()

    asyncio.run(main())


def test_a_run_under_a_timeout_of_the_caller_ends_cancelled() -> None:
    store = MemoryStore()

    @step(retry=Retry(attempts=5))
    async def wait(value: int, context: State) -> int:
        context.count = 1
        await asyncio.sleep(60)
        return value

    async def main() -> None:
        async with no_task_is_left():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await Flujo(wait, context=State, store=store).run_async(1, run_id="r")

    asyncio.run(main())
    events = _journal(store)
    check_journal(events, "cancelled")
    state = fold(events)
    assert state.context["count"] == 0 and state.steps["wait"].status == "cancelled"


def test_a_run_cancelled_while_it_waits_for_the_next_attempt_ends_cancelled() -> None:
    store = MemoryStore()

    async def main() -> None:
        patient = bad.policy(retry=Retry(attempts=2, backoff=60))
        task = asyncio.create_task(Flujo(patient, store=store).run_async(1, run_id="r"))
        await asyncio.sleep(0.05)
        assert [record.kind for record in await store.read("r")][-1] == "attempt_failed"
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    check_journal(_journal(store), "cancelled")


def test_a_cancelled_sync_step_drops_what_its_thread_does_later() -> None:
    store = MemoryStore()
    go, done = threading.Event(), threading.Event()

    @step
    def stuck(value: int, context: State) -> int:
        go.wait(10)
        context.count = 9
        done.set()
        return value

    async def main() -> None:
        async with no_task_is_left():
            task = asyncio.create_task(Flujo(stuck, context=State, store=store).run_async(1, run_id="r"))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            go.set()
            await asyncio.to_thread(done.wait, 10)
            await asyncio.sleep(0.02)

    asyncio.run(main())
    events = _journal(store)
    check_journal(events, "cancelled")
    assert fold(events).context["count"] == 0


def test_a_run_that_waits_for_a_stuck_thread_can_be_cancelled() -> None:
    store = MemoryStore()
    go = threading.Event()

    @step(timeout=0.02, retry=Retry(attempts=2))
    def stuck(value: int) -> int:
        go.wait(10)
        return value

    async def main() -> None:
        async with no_task_is_left():
            task = asyncio.create_task(Flujo(stuck, store=store).run_async(1, run_id="r"))
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.wait([task], timeout=2)
            assert task.cancelled()
            go.set()

    asyncio.run(main())
    check_journal(_journal(store), "cancelled")


def test_the_end_hook_is_not_called_for_a_cancelled_run() -> None:
    seen: list[int] = []

    async def end(run: RunStart, end: RunEnd) -> None:
        seen.append(1)

    @step
    async def wait(value: int) -> int:
        await asyncio.sleep(60)
        return value

    async def main() -> None:
        task = asyncio.create_task(Flujo(wait, on_pipeline_end=end).run_async(1))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert seen == []


# ---------------------------------------------------------------------------------------------------- closing


class ClosingStore(SlowStore):
    """Counts how often it is closed."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1


def test_a_store_that_was_given_is_left_open_for_its_owner() -> None:
    store = ClosingStore()

    async def main() -> None:
        async with Flujo(plain, store=store) as flujo:
            await flujo.run_async(1)

    asyncio.run(main())
    Flujo(plain, store=store).run(1)
    assert store.closed == 0


def test_a_flujo_that_was_closed_opens_again_when_it_is_used() -> None:
    async def main() -> None:
        flujo = Flujo(plain, store="sqlite:///runs.db")
        async with flujo:
            await flujo.run_async(1, run_id="a")
        async with flujo:
            await flujo.run_async(1, run_id="b")
            with pytest.raises(RunExists):
                await flujo.run_async(2, run_id="a")

    asyncio.run(main())


def test_run_works_again_and_again_with_a_store_of_its_own() -> None:
    flujo = Flujo(plain, store="sqlite:///runs.db")
    assert [flujo.run(n).output for n in range(3)] == [1, 2, 3]
