"""Nodes in which others run: what the contract tests do not come to."""

from __future__ import annotations

import asyncio
import sys
import time
import typing
from collections.abc import AsyncIterator
from typing import Annotated, Any, NamedTuple

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import (
    Cache,
    DefinitionError,
    EdgeError,
    Flujo,
    From,
    InvalidValue,
    Loop,
    Map,
    MemoryStore,
    Node,
    NodeResult,
    OutputRejected,
    Parallel,
    PipelineContext,
    Plugin,
    Retry,
    RunEvent,
    RunFailed,
    Step,
    StepTimeout,
    Stop,
    StoreError,
    Timeout,
    step,
)
from flujo_core.model.outputs import output_of
from flujo_core.model.run import RunState, StepResult, fold
from flujo_core.testing import virtual_time


class Tally(PipelineContext):
    count: int = 0


class Opaque:
    """What cannot be written."""


@step
async def same(value: int) -> int:
    return value


@step
async def count(value: int, context: Tally) -> int:
    context.count += 1
    return value


def cause_of(run: Any) -> BaseException:
    with pytest.raises(RunFailed) as failed:
        run()
    assert failed.value.__cause__ is not None
    return failed.value.__cause__


def test_an_input_that_is_no_key_needs_one() -> None:
    @step(cache=Cache())
    async def look(value: Opaque) -> int:
        return 1

    cause = cause_of(lambda: Flujo(look).run(Opaque()))
    assert isinstance(cause, InvalidValue) and cause.address == "look" and "Cache(key=...)" in str(cause)
    cause = cause_of(lambda: Flujo((look >> same).named("both").policy(cache=Cache())).run(Opaque()))
    assert cause.address == "both"  # type: ignore[attr-defined]


def test_an_output_that_would_come_back_as_something_else_is_not_cached() -> None:
    @step(cache=Cache())
    async def make(value: int) -> object:
        return {1: 2}

    cause = cause_of(lambda: Flujo(make).run(1))
    assert isinstance(cause, InvalidValue) and cause.address == "make"


def test_what_a_fallback_gave_is_not_cached() -> None:
    calls: list[int] = []

    @step
    async def fail(value: int) -> int:
        calls.append(value)
        raise ValueError

    node = (fail >> same).named("both").policy(cache=Cache(), fallback=same.named("instead"))
    flujo = Flujo(node)
    assert [flujo.run(1).output, flujo.run(1).output] == [1, 1] and calls == [1, 1]


def test_named_inputs_from_outside_are_part_of_the_key_of_a_node_and_those_from_inside_are_not() -> None:
    calls: list[int] = []

    @step
    async def add(value: int, *, start: Annotated[int, From("start")], run: Annotated[int, From.run_input]) -> int:
        calls.append(value)
        return value + start + run

    @step
    async def inner(value: int, *, added: Annotated[int, From("add")]) -> int:
        return added

    node = (add >> inner).named("both").policy(cache=Cache())
    flujo = Flujo(step(name="start")(lambda value: value * 2) >> step(name="one")(lambda: 1) >> node)
    assert [flujo.run(2).output for _ in range(2)] == [7, 7] and calls == [1]
    assert flujo.run(3).output == 10 and calls == [1, 1]


@pytest.mark.parametrize("validator", [lambda value: 5, lambda value: False])
def test_a_validator_gives_none_or_what_is_wrong(validator: Any) -> None:
    cause = cause_of(lambda: Flujo(same.policy(validators=[validator])).run(1))
    assert isinstance(cause, InvalidValue) and "it gives None, or what is wrong" in str(cause)


def test_a_validator_may_say_true() -> None:
    assert Flujo(same.policy(validators=[lambda value: True])).run(1).output == 1


def test_what_a_validator_said_is_in_the_error_and_not_in_its_message() -> None:
    cause = cause_of(lambda: Flujo(same.policy(validators=[lambda value: "CANARY"])).run(1))
    assert isinstance(cause, OutputRejected) and cause.feedback == "CANARY" and "CANARY" not in str(cause)


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_step_that_swallows_its_timeout_has_timed_out_all_the_same(store: str | None) -> None:
    @step(timeout=0.01)
    async def deaf(value: int) -> int:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return value
        return value

    assert isinstance(cause_of(lambda: Flujo(deaf, store=store).run(1)), StepTimeout)
    alone = Step("alone", deaf.action)
    whole = Flujo(Parallel("fan", a=alone).policy(timeout=0.01), store=store)
    assert isinstance(cause_of(lambda: whole.run(1)), StepTimeout)
    last = Flujo((same >> alone).named("both").policy(timeout=0.01), store=store)
    assert isinstance(cause_of(lambda: last.run(1)), StepTimeout)


def test_a_kind_of_node_that_is_not_known_is_refused() -> None:
    class Odd(Node[int, int]):
        name = "odd"
        label = "odd"
        takes = gives = int

    with pytest.raises(DefinitionError, match="'odd' is 'Odd'"):
        Flujo(Odd())


def test_an_async_source_that_does_not_say_so_is_refused_in_a_run_with_a_store() -> None:
    def over(value: int):  # type: ignore[no-untyped-def]
        async def items() -> AsyncIterator[int]:
            yield value

        return items()

    node = Map("each", same, over=over)
    assert Flujo(node).run(1).output == [1]
    assert "takes no 'after'" in str(cause_of(lambda: Flujo(node, store="memory://").run(1)))


def test_an_async_iterator_that_cannot_be_closed_is_let_be() -> None:
    class Items:
        def __init__(self) -> None:
            self._left = [1, 2]

        def __aiter__(self) -> Items:
            return self

        async def __anext__(self) -> int:
            if not self._left:
                raise StopAsyncIteration
            return self._left.pop(0)

    assert Flujo(Map("each", same, over=lambda value: Items())).run(0).output == [1, 2]


class Broken(MemoryStore):
    """A store that is full after its first appends."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    async def append(self, records: Any, lease: Any, /, **more: Any) -> None:
        await asyncio.sleep(0)
        if self._room == 0:
            raise StoreError("full")
        self._room -= 1
        await super().append(records, lease, **more)


@pytest.mark.parametrize("room", range(1, 6))
def test_nothing_is_appended_after_an_append_that_failed_and_that_is_the_error(room: int) -> None:
    store = Broken(room)
    flujo = Flujo(Parallel("fan", a=same >> same.named("b"), c=same, d=same >> same.named("e")), store=store)

    async def run() -> list[int]:
        with pytest.raises(StoreError, match="full"):
            await flujo.run_async(1, run_id="r")
        return [record.sequence for record in await store.read("r")]

    kept = asyncio.run(run())
    assert kept == [*range(1, len(kept) + 1)]


def test_a_failure_that_cannot_be_recorded_is_the_stores() -> None:
    @step
    async def fail(value: int) -> int:
        await asyncio.sleep(0.01)
        raise ValueError

    @step
    async def wait(value: int) -> int:
        await asyncio.sleep(30)
        return value

    for room in (2, 3):
        flujo = Flujo(Parallel("fan", a=fail, b=wait), store=Broken(room))
        with pytest.raises(StoreError, match="full"):
            flujo.run(1)


def test_an_agent_that_gives_no_sign_of_life_has_timed_out() -> None:
    async def slow(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "one "
        await asyncio.sleep(3)
        yield "two"
        await asyncio.sleep(60)
        yield "never"

    async def run() -> None:
        asking = Step.agent("ask", Agent(FunctionModel(stream_function=slow)), timeout=Timeout(idle=5))
        with virtual_time():
            failed = None
            try:
                await Flujo(asking).run_async("x")
            except RunFailed as error:
                failed = error
        assert failed is not None and isinstance(failed.__cause__, StepTimeout)
        assert "no sign of life for 5 s" in str(failed.__cause__)

    asyncio.run(run())


def test_an_idle_timeout_is_for_what_shows_life() -> None:
    with pytest.raises(DefinitionError, match="'same' has an idle timeout"):
        same.policy(timeout=Timeout(idle=1)).check()
    with pytest.raises(DefinitionError, match="'both' has an idle timeout"):
        (same >> count).named("both").policy(timeout=Timeout(idle=1)).check()


def test_a_cache_knows_nothing_of_the_context() -> None:
    with pytest.raises(DefinitionError, match="'both' has a cache, and step 'both/count' takes the context"):
        (same >> count).named("both").policy(cache=Cache()).check()
    loop = Loop("loop", same, until=lambda value, context: True, max_iterations=2).policy(cache=Cache())
    with pytest.raises(DefinitionError, match="'until' of loop 'loop' takes the context"):
        loop.check()


def test_a_validator_takes_what_the_step_gives() -> None:
    def polite(text: str) -> str | None:
        return None

    with pytest.raises(EdgeError, match="step 'same' gives 'int', and its validator 'polite' takes 'str'"):
        same.policy(validators=[polite]).check()


@pytest.mark.parametrize("wrong", [{"validators": "acme/x"}, {"validators": [5]}, {"cache": 5}, {"version": 5}])
def test_policies_of_another_kind_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        same.policy(**wrong)
    with pytest.raises(DefinitionError):
        Cache(ttl=0)


def test_a_name_can_be_written() -> None:
    with pytest.raises(DefinitionError, match="surrogate"):
        same.named("\ud800")


def test_what_is_not_completed_has_no_output() -> None:
    assert repr(NodeResult("x", "loop", "failed", 1, 0.0)) == "<NodeResult 'x' failed>"
    state = RunState(steps={"same": StepResult("same", "failed", 1, 0.0)})
    with pytest.raises(LookupError, match="'same' is failed"):
        output_of(same, "same", state)
    with pytest.raises(LookupError, match="'other' was not completed"):
        output_of(same, "other", state)
    state.nodes["odd"] = NodeResult("odd", "loop", "completed", 1, 0.0)
    with pytest.raises(LookupError, match="no node whose output is known"):
        output_of(same, "odd", state)


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_cached_node_has_its_output_in_the_journal(store: str | None) -> None:
    node = (same >> count).named("both").policy(cache=Cache(key=str))
    flujo = Flujo(node, context=Tally, store=store)
    flujo.run(4)
    result = flujo.run(4)
    assert result.context.count == 1 and result.output == 4
    assert output_of(node, "both", fold(result.events)) == 4


def test_a_node_that_is_tried_again_in_a_run_with_a_store() -> None:
    tries: list[int] = []

    @step
    async def flaky(value: int, context: Tally) -> int:
        context.count += 1
        tries.append(value)
        if len(tries) < 3:
            raise ConnectionError
        return value

    node = (count >> flaky).named("both").policy(retry=Retry(attempts=3, backoff=0.001, on=(ConnectionError,)))
    result = Flujo(node, context=Tally, store="memory://").run(1)
    assert result.context.count == 2
    assert [one.address for one in result.steps if one.status == "completed"] == [
        "both/count", "both#2/count", "both#3/count", "both#3/flaky"
    ]  # fmt: skip


def test_a_listener_that_is_slow_is_told_of_all_where_a_branch_is_cancelled() -> None:
    heard: list[int] = []

    class Slow(Plugin):
        name = "slow"

        async def on_event(self, event: RunEvent, /) -> None:
            await asyncio.sleep(0.0005)
            heard.append(event.sequence)

    node = Map("each", same, over=range).policy(timeout=0.05, fallback=step(name="instead")(lambda value: [0]))
    result = Flujo(node, plugins=[Slow()]).run(400)
    assert result.output == [0] and heard == [event.sequence for event in result.events]


def test_a_step_waits_for_the_thread_that_the_attempt_of_the_node_before_has_left() -> None:
    running: list[str] = []

    @step
    def slow(value: int) -> int:
        running.append("in")
        time.sleep(0.6 if len(running) == 1 else 0)
        running.append("out")
        return value

    node = (slow >> same).named("both").policy(timeout=0.5, retry=Retry(attempts=2))
    assert Flujo(node).run(1).output == 1 and running == ["in", "out", "in", "out"]


def test_a_cached_step_that_fails_has_failed() -> None:
    @step(cache=Cache())
    async def fail(value: int) -> int:
        raise ValueError

    assert isinstance(cause_of(lambda: Flujo(fail).run(1)).__cause__, ValueError)


def test_a_prompt_function_is_part_of_what_an_agent_step_is() -> None:
    calls: list[int] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        calls.append(1)
        return ModelResponse(parts=[TextPart("done")])

    def prompt(value: int) -> str:
        return str(value)

    for made in (prompt, "{{ input }}"):
        asking = Step.agent("ask", Agent(FunctionModel(model)), prompt=made, cache=Cache())
        flujo = Flujo(asking)
        assert [flujo.run(1).output, flujo.run(1).output] == ["done", "done"]
    assert len(calls) == 2


def test_a_step_that_only_stops_gives_nothing() -> None:
    @step
    async def end(value: int) -> Stop:
        return value  # type: ignore[return-value]

    assert isinstance(cause_of(lambda: Flujo(end).run(1)), InvalidValue)


class Pair(NamedTuple):
    left: int
    right: int


def test_branches_become_the_fields_of_a_named_tuple() -> None:
    assert Flujo(Parallel("fan", into=Pair, left=same, right=same.named("b"))).run(3).output == Pair(3, 3)


def test_a_type_that_cannot_be_validated_is_found_when_it_is_built() -> None:
    class Plain(typing.TypedDict):
        a: int

    fan = Parallel("fan", into=Plain, a=same)
    if sys.version_info >= (3, 12):
        assert Flujo(fan).run(1).output == {"a": 1}
        return
    with pytest.raises(DefinitionError, match="type 'Plain' cannot be validated"):
        Flujo(fan)


def test_a_predicate_whose_annotations_name_nothing_is_not_checked() -> None:
    def until(value: "Nowhere") -> bool:  # type: ignore[name-defined]  # noqa: F821, UP037
        return True

    assert Flujo(Loop("loop", same, until=until, max_iterations=1)).run(1).output == 1


def test_after_an_item_that_failed_no_other_begins() -> None:
    begun: list[int] = []

    @step
    async def fail(value: int) -> int:
        begun.append(value)
        await asyncio.sleep(0)
        raise ValueError

    for node in (
        Map("each", fail, over=range, max_concurrency=1),
        Parallel("fan", a=fail, b=fail, c=fail, max_concurrency=1),
    ):
        begun.clear()
        assert cause_of(lambda node=node: Flujo(node).run(3)) and len(begun) == 1
