"""Loop: a body that runs again with its own output (DESIGN 4, SEMANTICS 1, 4, 5)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from flow_kit import State, Watched, adds, alone, double, fail, kinds, logs, plus, ran, ran_async

from flujo_core import (
    DefinitionError,
    EdgeError,
    Flujo,
    InvalidValue,
    Loop,
    LoopExhausted,
    Parallel,
    Retry,
    RunInfo,
    SignatureError,
    SQLiteStore,
    StepError,
    Stop,
    step,
)


def at_least(limit: int) -> Any:
    def enough(value: int) -> bool:
        return value >= limit

    return enough


# ---------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("store", [None, "memory://"])
def test_each_iteration_gets_what_the_last_one_gave_and_the_loop_gives_the_last_output(store: str | None) -> None:
    assert alone(Loop("grow", double, until=at_least(20), max_iterations=9), store=store).run(3).output == 24


def test_the_body_runs_once_even_if_the_input_is_enough_already() -> None:
    assert ran(Loop("grow", plus, until=at_least(0), max_iterations=9), 5).output == 6


def test_until_is_asked_once_an_iteration_with_the_output() -> None:
    asked: list[int] = []

    def enough(value: int) -> bool:
        asked.append(value)
        return value > 3

    assert ran(Loop("grow", plus, until=enough, max_iterations=9), 1).output == 4 and asked == [2, 3, 4]


def test_until_may_take_the_context_as_the_iteration_left_it() -> None:
    def enough(value: int, context: State) -> bool:
        return len(context.log) >= 3

    done = ran(Loop("grow", logs("note"), until=enough, max_iterations=9))
    assert done.context.log == ["note"] * 3


@pytest.mark.parametrize("change", ["context.count = 99", "context.log.append('x')"])
def test_an_until_that_changes_the_context_fails_the_loop_and_the_change_is_not_kept(change: str) -> None:
    def enough(value: int, context: State) -> bool:
        exec(change, {"context": context})
        return True

    done = ran(Loop("grow", logs("note") >> plus, until=enough, max_iterations=9))
    assert isinstance(done.cause, InvalidValue) and done.cause.address == "grow"
    assert (done.context.count, done.context.log) == (0, ["note"])
    assert done.state.context["log"] == ["note"]


def test_with_a_store_what_until_changes_in_an_output_is_not_what_goes_on() -> None:
    """Else a resumed run, which reads the recorded output, would not equal an undisturbed one."""

    def enough(value: list[int]) -> bool:
        value.append(99)
        return len(value) > 3

    @step
    async def make(value: object) -> list[int]:
        return [1]

    @step
    async def grow(value: list[int]) -> list[int]:
        return [*value, 2]

    node = make >> Loop("l", grow, until=enough, max_iterations=3)
    done = ran(node)
    assert done.output == done.one("step_completed", f"l[{done.state.nodes['l'].iterations}]/grow").output


def test_until_may_be_any_callable() -> None:
    class Enough:
        def __call__(self, value: int) -> bool:
            return value > 2

    assert ran(Loop("grow", plus, until=Enough(), max_iterations=9)).output == 3
    assert ran(Loop("grow", plus, until=bool, max_iterations=9)).output == 2


@pytest.mark.parametrize("given", [1, "yes", [0], None, 0])
def test_what_until_gives_counts_as_true_or_false(given: Any) -> None:
    done = ran(Loop("grow", plus, until=lambda value: given, max_iterations=2, on_exhausted="return"))
    assert done.output == (2 if given else 3)


def test_an_until_that_gives_an_awaitable_fails_the_loop() -> None:
    async def later(value: int) -> bool:
        return False

    done = ran(Loop("grow", plus, until=lambda value: later(value), max_iterations=3))
    assert done.result.status == "failed" and done.cause.address == "grow"


# ---------------------------------------------------------------------------------------------------- exits


def test_after_the_last_iteration_it_fails_with_loop_exhausted() -> None:
    done = ran(Loop("grow", plus, until=at_least(4711), max_iterations=3))
    assert isinstance(done.cause, LoopExhausted) and done.cause.address == "grow"
    assert "'grow'" in str(done.error) and "3" in str(done.error)
    assert done.addresses() == ["grow[1]/plus", "grow[2]/plus", "grow[3]/plus"]
    assert done.state.nodes["grow"].status == "failed"


def test_on_exhausted_return_gives_the_last_output() -> None:
    done = ran(Loop("grow", plus, until=at_least(4711), max_iterations=3, on_exhausted="return"))
    assert done.output == 4
    assert [event.done for event in done.events if event.kind == "loop_decided"] == [False, False, False]


def test_an_until_that_raises_fails_the_loop_as_if_a_leaf_in_it_had() -> None:
    def broken(value: int) -> bool:
        raise ValueError("CANARY")

    done = ran(Loop("grow", plus, until=broken, max_iterations=3))
    assert isinstance(done.cause, StepError) and done.cause.address == "grow"
    assert isinstance(done.cause.__cause__, ValueError) and "CANARY" not in str(done.error)
    assert done.addresses() == ["grow[1]/plus"]


def test_a_failure_in_the_body_ends_the_loop() -> None:
    @step
    async def third(value: int) -> int:
        if value == 3:
            raise ValueError
        return value + 1

    done = ran(Loop("grow", third, until=at_least(9), max_iterations=9))
    assert done.cause.address == "grow[3]/third" and done.state.nodes["grow"].iterations == 2


def test_stop_in_the_body_ends_the_run() -> None:
    @step
    async def stops(value: int) -> int | Stop:
        return Stop("enough") if value == 3 else value + 1

    done = ran(Loop("outer", Loop("inner", stops, until=at_least(9), max_iterations=9), until=bool, max_iterations=2))
    assert (done.result.status, done.result.reason) == ("stopped", "enough")


# ---------------------------------------------------------------------------------------------------- addresses


def test_iterations_are_numbered_from_one() -> None:
    done = ran(Loop("refine", plus >> double, until=at_least(10), max_iterations=5))
    assert done.addresses() == ["refine[1]/plus", "refine[1]/double", "refine[2]/plus", "refine[2]/double"]


def test_loops_nest_and_the_inner_one_begins_anew_in_each_iteration_of_the_outer() -> None:
    inner = Loop("inner", plus, until=lambda value: value % 2 == 0, max_iterations=5)
    done = ran(Loop("outer", inner, until=at_least(4), max_iterations=5), 1)
    assert done.addresses() == ["outer[1]/inner[1]/plus", "outer[2]/inner[1]/plus", "outer[2]/inner[2]/plus"]


def test_each_iteration_has_its_own_address_and_idempotency_key() -> None:
    found: list[RunInfo] = []

    @step
    async def look(value: int, info: RunInfo) -> int:
        found.append(info)
        return value + 1

    ran(Loop("l", look, until=at_least(3), max_iterations=5))
    assert [one.address for one in found] == ["l[1]/look", "l[2]/look"]
    assert len({one.idempotency_key for one in found}) == 2


# ---------------------------------------------------------------------------------------------------- contexts


def test_an_iteration_sees_what_the_one_before_changed() -> None:
    counts: list[int] = []

    @step
    async def count(value: int, context: State) -> int:
        counts.append(context.count)
        context.count += 1
        return value + 1

    done = ran(Loop("l", count, until=at_least(4), max_iterations=5))
    assert counts == [0, 1, 2] and done.context.count == 3 == done.state.context["count"]


def test_in_sequence_setting_is_setting_also_on_a_field_with_a_reducer() -> None:
    @step
    async def reset(value: int, context: State) -> int:
        context.log, context.top, context.seen = [str(value)], -value, {str(value)}
        return value + 1

    done = ran(Loop("l", reset, until=at_least(4), max_iterations=5))
    assert (done.context.log, done.context.top, done.context.seen) == (["3"], -3, {"3"})


def test_appending_a_hundred_bytes_in_a_thousand_iterations_writes_about_a_tenth_of_a_megabyte() -> None:
    @step
    async def append(value: int, context: State) -> int:
        context.notes.append("x" * 100)
        return value + 1

    store = Watched(turns=0)
    ran(Loop("l", append, until=at_least(1001), max_iterations=1000), store=store)
    records = asyncio.run(_records(store))
    patches = sum(len(record.payload.split(b"\n")[-1]) for record in records if record.kind == "step_completed")
    assert patches < 150_000
    assert sum(len(record.payload) for record in records) < 600_000
    deltas = [json.loads(r.payload.split(b"\n")[-1]) for r in records if r.kind == "step_completed"]
    assert all(delta == {"notes": {"extend": ["x" * 100]}} for delta in deltas)


async def _records(store: Watched) -> Any:
    return await store.read("r")


# ---------------------------------------------------------------------------------------------------- decisions


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_each_decision_is_in_the_same_append_as_the_commit_that_it_reads(kind: str, tmp_path: Any) -> None:
    store = Watched(SQLiteStore(tmp_path / "runs.db") if kind == "sqlite" else None)

    async def main() -> None:
        await ran_async(Loop("l", plus >> double, until=at_least(20), max_iterations=5), store=store)
        await store.close()

    asyncio.run(main())
    decided = [event for event in store.events if event.kind == "loop_decided"]
    assert [(one.iteration, one.done) for one in decided] == [(1, False), (2, False), (3, True)]
    for one in decided:
        (batch,) = (batch for batch in store.batches if one in batch)
        assert f"step_completed l[{one.iteration}]/double" in kinds(batch)


def test_a_decision_on_a_join_is_in_the_same_append_as_the_join() -> None:
    @step
    async def total(found: dict[str, int]) -> int:
        return sum(found.values())

    body = Parallel("fan", a=plus, b=plus)

    def enough(found: dict[str, int]) -> bool:
        return True

    @step
    async def start(value: dict[str, int]) -> int:
        return value.get("a", 0)

    node = Loop("l", start >> body, until=enough, max_iterations=5)
    done = ran(node, {"a": 1})
    assert "loop_decided l" in kinds(done.store.batch_of("node_completed", "l[1]/fan"))


def test_a_decision_on_an_inner_loop_is_in_the_same_append_as_the_last_commit() -> None:
    inner = Loop("inner", plus, until=bool, max_iterations=1)
    done = ran(Loop("outer", inner, until=bool, max_iterations=1))
    batch = kinds(done.store.batch_of("step_completed", "outer[1]/inner[1]/plus"))
    assert "loop_decided outer[1]/inner" in batch and "loop_decided outer" in batch


def test_its_events_say_what_happened() -> None:
    done = ran(Loop("l", plus, until=at_least(3), max_iterations=5))
    assert kinds(done.events) == [
        "run_started", "node_started l",
        "step_started l[1]/plus", "step_completed l[1]/plus", "loop_decided l",
        "step_started l[2]/plus", "step_completed l[2]/plus", "loop_decided l",
        "node_completed l", "run_ended",
    ]  # fmt: skip
    assert done.one("node_started", "l").node == "loop"
    assert done.state.nodes["l"].iterations == 2


def test_a_loop_that_is_tried_again_begins_with_its_first_iteration_and_its_input() -> None:
    tried: list[int] = []

    @step
    async def once(value: int) -> int:
        tried.append(value)
        if len(tried) == 2:
            raise ValueError
        return value + 1

    node = Loop("l", once, until=at_least(3), max_iterations=5).policy(retry=Retry(attempts=2))
    assert ran(node).output == 3 and tried == [1, 2, 1, 2]


def test_ten_thousand_iterations_are_no_deeper_than_one() -> None:
    assert Flujo(Loop("l", plus, until=at_least(10_001), max_iterations=10_000)).run(1).output == 10_001


# ---------------------------------------------------------------------------------------------------- what it refuses


def test_what_cannot_be_is_refused_when_it_is_made() -> None:
    made: Any = Loop

    async def awaits(value: int) -> bool:
        return True

    def of_text(value: str) -> bool:
        return True

    def two(value: int, other: int) -> bool:
        return True

    @step
    async def text(value: int) -> str:
        return ""

    with pytest.raises(DefinitionError, match="body of loop 'l'"):
        made("l", len, until=bool, max_iterations=1)
    for number in (0, -1, 1.5, True, None, "3"):
        with pytest.raises(DefinitionError, match="'max_iterations' of loop 'l'"):
            made("l", plus, until=bool, max_iterations=number)
    with pytest.raises(DefinitionError, match="'on_exhausted' of loop 'l'"):
        made("l", plus, until=bool, max_iterations=1, on_exhausted="raise")
    with pytest.raises(SignatureError, match="'until' of loop 'l' is async"):
        made("l", plus, until=awaits, max_iterations=1)
    with pytest.raises(SignatureError, match=r"'until' of loop 'l'.*'other'"):
        made("l", plus, until=two, max_iterations=1)
    with pytest.raises(EdgeError, match=r"'until' of loop 'l' takes 'str'.*'int'"):
        made("l", plus, until=of_text, max_iterations=1)
    with pytest.raises(EdgeError, match=r"loop 'l' gives 'str'.*'text'.*'int'"):
        made("l", text, until=bool, max_iterations=1)


def test_a_body_that_ignores_its_input_may_give_anything() -> None:
    @step
    async def say() -> str:
        return "said"

    assert ran(Loop("l", say, until=bool, max_iterations=1)).output == "said"


def test_a_body_that_never_gives_an_output_is_refused() -> None:
    @step
    async def stops(value: int) -> Stop:
        return Stop("always")

    with pytest.raises(DefinitionError, match="'stops'"):
        (Loop("l", stops >> plus, until=bool, max_iterations=2)).check()


def test_a_failing_body_without_a_store_fails_the_same_way() -> None:
    with pytest.raises(Exception, match=r"'l\[1\]/fail'"):
        Flujo(Loop("l", adds("a") >> fail, until=bool, max_iterations=2)).run(1)
