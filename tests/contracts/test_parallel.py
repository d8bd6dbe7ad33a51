"""Parallel: branches that get the same input and run at the same time (DESIGN 4, SEMANTICS 1, 3, 13)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from flow_kit import Watched, adds, alone, double, fail, kinds, plus, ran, ran_async, slow
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from flujo_core import (
    BranchesFailed,
    DefinitionError,
    EdgeError,
    Flujo,
    InvalidValue,
    Parallel,
    RunInfo,
    SQLiteStore,
    StepError,
    Stop,
    Veto,
    step,
)


class Pair(BaseModel):
    a: int
    b: int = 0


# ---------------------------------------------------------------------------------------------------- outputs


def test_without_into_it_gives_a_dict_by_branch_in_the_order_of_declaration() -> None:
    done = ran(Parallel("fan", b=slow("x", 0.01), a=double), 5)
    assert done.output == {"b": 5, "a": 10} and list(done.output) == ["b", "a"]


def test_branches_may_be_given_in_a_mapping_whose_keys_are_no_identifiers() -> None:
    done = ran(Parallel("fan", {"the left one": plus, "r/l": double}, third=plus), 5)
    assert done.output == {"the left one": 6, "r/l": 10, "third": 6}
    assert sorted(done.addresses()) == ["fan[r%2Fl]/double", "fan[the%20left%20one]/plus", "fan[third]/plus"]


@pytest.mark.parametrize("store", [None, "memory://"])
def test_outputs_become_the_fields_of_into(store: str | None) -> None:
    assert alone(Parallel("fan", into=Pair, a=plus, b=double), store=store).run(3).output == Pair(a=4, b=6)


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_field_of_into_that_has_a_default_needs_no_branch(store: str | None) -> None:
    assert alone(Parallel("fan", into=Pair, a=plus), store=store).run(3).output == Pair(a=4)


@pytest.mark.parametrize("store", [None, "memory://"])
def test_into_may_be_a_typed_dict_or_a_dataclass(store: str | None) -> None:
    class Keyed(TypedDict):
        a: int

    @dataclass
    class Held:
        a: int
        b: int

    assert alone(Parallel("fan", into=Keyed, a=plus), store=store).run(1).output == {"a": 2}
    assert alone(Parallel("fan", into=Held, a=plus, b=double), store=store).run(1).output == Held(2, 2)


def test_a_value_that_into_refuses_fails_the_node_and_the_message_has_the_path_and_not_the_value() -> None:
    class Small(BaseModel):
        a: int = Field(lt=3)

    done = ran(Parallel("fan", into=Small, a=adds("big", 4711)), 1)
    assert done.result.status == "failed" and isinstance(done.cause, InvalidValue)
    assert "'a'" in str(done.cause) and "fan" in str(done.error) and "471" not in str(done.error)
    assert done.state.nodes["fan"].status == "failed"


def test_an_into_that_nothing_can_be_made_into_is_found_before_anything_runs() -> None:
    class Untyped:
        def __init__(self, a: int) -> None:
            self.a = a

    with pytest.raises(DefinitionError, match=r"'Untyped'.*'fan'"):
        alone(Parallel("fan", into=Untyped, a=plus))


def test_the_next_step_gets_what_into_makes() -> None:
    @step
    async def total(pair: Pair) -> int:
        return pair.a + pair.b

    assert ran(Parallel("fan", into=Pair, a=plus, b=double) >> total, 3).output == 10


# ---------------------------------------------------------------------------------------------------- side by side


def test_branches_run_at_the_same_time() -> None:
    arrived: list[str] = []
    met = asyncio.Barrier(3)

    def meets(name: str) -> Any:
        @step(name=name)
        async def meet(value: int) -> int:
            async with asyncio.timeout(5):
                await met.wait()
            arrived.append(name)
            return value

        return meet

    assert ran(Parallel("fan", a=meets("x"), b=meets("y"), c=meets("z"))).result.status == "completed"
    assert sorted(arrived) == ["x", "y", "z"]


def test_no_more_than_max_concurrency_run_at_the_same_time() -> None:
    now, most = 0, 0

    @step
    async def work(value: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return value

    done = ran(Parallel("fan", {f"b{i}": work for i in range(7)}, max_concurrency=2))
    assert most == 2 and list(done.output) == [f"b{i}" for i in range(7)]


def test_with_max_concurrency_branches_begin_in_the_order_of_declaration() -> None:
    done = ran(Parallel("fan", {f"b{i}": plus.named(f"s{i}") for i in range(5)}, max_concurrency=1))
    assert done.addresses("step_started") == [f"fan[b{i}]/s{i}" for i in range(5)]


def test_a_branch_waits_for_nothing_but_its_own_join() -> None:
    """A branch goes on to its second step while the first of another still runs."""
    went_on = asyncio.Event()

    @step
    async def second(value: int) -> int:
        went_on.set()
        return value

    @step
    async def waits(value: int) -> int:
        async with asyncio.timeout(5):
            await went_on.wait()
        return value

    assert ran(Parallel("fan", a=waits, b=plus >> second)).output == {"a": 1, "b": 2}


def test_every_branch_gets_its_own_copy_of_a_mutable_value_without_a_store() -> None:
    @step
    async def make(value: int) -> list[int]:
        return [value]

    @step
    async def spoil(items: list[int]) -> list[int]:
        items.append(99)
        await asyncio.sleep(0.001)
        return items

    node = make >> Parallel("fan", a=spoil, b=spoil)
    assert Flujo(node).run(1).output == {"a": [1, 99], "b": [1, 99]}


def test_nested_in_each_other_they_make_nested_addresses_and_outputs() -> None:
    done = ran(Parallel("fan", a=Parallel("inner", x=plus, y=double), b=plus), 4)
    assert done.output == {"a": {"x": 5, "y": 8}, "b": 5}
    assert sorted(done.addresses()) == ["fan[a]/inner[x]/plus", "fan[a]/inner[y]/double", "fan[b]/plus"]


def test_branches_may_ignore_their_input_and_take_the_run_info() -> None:
    @step
    async def where(*, info: RunInfo) -> str:
        return info.address

    assert ran(Parallel("fan", a=where, b=where)).output == {"a": "fan[a]/where", "b": "fan[b]/where"}


# ---------------------------------------------------------------------------------------------------- failures


def test_when_a_branch_fails_the_others_are_cancelled_and_the_node_fails_with_its_error() -> None:
    did: list[str] = []
    done = ran(Parallel("fan", a=slow("long", 30, did), b=fail))
    assert did == ["long cancelled"]
    assert isinstance(done.cause, StepError) and done.cause.address == "fan[b]/fail"
    assert (done.state.nodes["fan"].status, done.state.steps["fan[a]/long"].status) == ("failed", "cancelled")


def test_siblings_are_waited_for_before_the_node_has_failed() -> None:
    left: list[str] = []

    @step
    async def stubborn(value: int) -> int:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.02)
            left.append("tidied up")
        return value

    async def main() -> list[str]:
        await ran_async(Parallel("fan", a=stubborn, b=fail))
        return list(left)

    assert asyncio.run(main()) == ["tidied up"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_failure_is_journaled_before_siblings_are_cancelled(kind: str, tmp_path: Any) -> None:
    file = tmp_path / "runs.db"
    store = Watched(SQLiteStore(file) if kind == "sqlite" else None, turns=3)
    known: list[str] = []

    @step
    async def looks(value: int) -> int:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            reader = SQLiteStore(file) if kind == "sqlite" else store
            known.extend(record.kind for record in await reader.read("r"))
            if kind == "sqlite":
                await reader.close()
            raise
        return value

    async def main() -> None:
        await ran_async(Parallel("fan", a=looks, b=fail), store=store)
        await store.close()

    asyncio.run(main())
    assert "step_failed" in known and "node_failed" not in known


def test_a_branch_that_has_not_begun_does_not_begin_after_a_failure() -> None:
    done = ran(Parallel("fan", a=fail, b=plus, c=plus, max_concurrency=1))
    assert done.addresses("step_started") == ["fan[a]/fail"]


def test_what_had_been_committed_in_a_sibling_stays_in_the_journal() -> None:
    gate = asyncio.Event()

    @step
    async def opens(value: int) -> int:
        gate.set()
        await asyncio.sleep(30)
        return value

    @step
    async def late(value: int) -> int:
        await gate.wait()
        raise ValueError

    done = ran(Parallel("fan", a=plus >> opens, b=late))
    assert done.state.steps["fan[a]/plus"].status == "completed"
    assert done.state.steps["fan[a]/opens"].status == "cancelled"


def test_with_collect_all_siblings_run_to_their_ends_and_the_error_has_each_failure_by_address() -> None:
    did: list[str] = []
    done = ran(Parallel("fan", a=fail, b=slow("long", 0.01, did), c=plus >> fail, on_error="collect"))
    assert did == ["long done"] and isinstance(done.cause, BranchesFailed)
    assert {address: type(error) for address, error in done.cause.errors.items()} == {
        "fan[a]": StepError, "fan[c]": StepError,
    }  # fmt: skip
    assert [error.address for error in done.cause.errors.values()] == ["fan[a]/fail", "fan[c]/fail"]
    assert done.state.steps["fan[b]/long"].status == "completed"


def test_the_message_of_collected_failures_names_them_and_holds_no_value() -> None:
    done = ran(Parallel("fan", a=fail, b=fail, c=plus, on_error="collect"))
    assert "fan[a]" in str(done.cause) and "fan[b]" in str(done.cause) and "CANARY" not in str(done.error)


def test_with_collect_nothing_is_raised_where_nothing_failed() -> None:
    assert ran(Parallel("fan", a=plus, b=double, on_error="collect"), 5).output == {"a": 6, "b": 10}


@pytest.mark.parametrize("on_error", ["cancel", "collect"])
def test_stop_in_a_branch_ends_the_run_and_cancels_siblings_also_with_collect(on_error: Any) -> None:
    did: list[str] = []

    @step
    async def stop(value: int) -> int | Stop:
        return Stop("enough")

    @step
    async def after(found: dict[str, int]) -> int:
        return 1

    done = ran(Parallel("fan", a=slow("long", 30, did), b=stop, on_error=on_error) >> after)
    assert (done.result.status, done.result.reason, did) == ("stopped", "enough", ["long cancelled"])
    assert "after" not in done.state.steps


@pytest.mark.parametrize("on_error", ["cancel", "collect"])
def test_a_veto_in_a_branch_refuses_the_run_and_cancels_siblings_also_with_collect(on_error: Any) -> None:
    did: list[str] = []

    async def refuse(call: Any) -> None:
        if call.step_name == "plus":
            raise Veto("not here")

    node = Parallel("fan", a=slow("long", 30, did), b=plus, on_error=on_error)
    done = ran(node, pre_step_execution=refuse)
    assert (done.result.status, did) == ("refused", ["long cancelled"])


def test_of_two_ends_at_once_a_refusal_comes_before_a_stop_and_a_stop_before_a_failure() -> None:
    met = asyncio.Barrier(3)

    def ends(name: str, how: Any) -> Any:
        @step(name=name)
        async def end(value: int) -> int | Stop:
            await met.wait()
            if isinstance(how, Exception):
                raise how
            return how

        return end

    async def refuse(call: Any, result: Any) -> None:
        if call.step_name == "vetoed":
            raise Veto("no")

    branches = {"f": ends("fails", ValueError()), "s": ends("stops", Stop("enough")), "v": ends("vetoed", 1)}
    for order in (("f", "s", "v"), ("v", "s", "f"), ("s", "v", "f")):
        met = asyncio.Barrier(3)
        node = Parallel("fan", {key: branches[key] for key in order})
        assert ran(node, post_step_execution=refuse).result.status == "refused"
    for order in (("f", "s"), ("s", "f")):
        met = asyncio.Barrier(2)
        assert ran(Parallel("fan", {key: branches[key] for key in order})).result.status == "stopped"


def test_a_sibling_that_fails_while_it_is_cancelled_does_not_hide_the_first_failure() -> None:
    @step
    async def second(value: int) -> int:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            raise RuntimeError("second") from None
        return value

    done = ran(Parallel("fan", a=second, b=fail))
    assert done.result.status == "failed" and done.cause.address == "fan[b]/fail"


def test_a_sibling_that_swallows_its_cancellation_does_not_go_on() -> None:
    @step
    async def deaf(value: int) -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        return value

    done = ran(Parallel("fan", a=deaf >> plus.named("after"), b=fail))
    assert done.result.status == "failed" and "fan[a]/after" not in done.state.steps
    assert all(one.status != "running" for one in done.state.steps.values())


def test_when_a_run_is_cancelled_a_step_that_swallows_it_is_the_last_of_its_branch() -> None:
    async def main() -> Watched:
        store = Watched()
        began = asyncio.Event()

        @step
        async def deaf(value: int) -> int:
            began.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
            return value

        task = asyncio.create_task(ran_async(Parallel("fan", a=deaf >> plus.named("after"), b=deaf), store=store))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return store

    events = asyncio.run(main()).events
    assert events[-1].status == "cancelled" and "step_started fan[a]/after" not in kinds(events)


def test_cancelling_the_run_cancels_every_branch_and_the_status_is_cancelled() -> None:
    did: list[str] = []

    async def main() -> Watched:
        store = Watched()
        node = Parallel("fan", a=slow("x", 30, did), b=slow("y", 30, did))
        task = asyncio.create_task(ran_async(node, store=store))
        await asyncio.sleep(0.05)
        assert "step_started fan[b]/y" in kinds(store.events)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        return store

    store = asyncio.run(main())
    assert sorted(did) == ["x cancelled", "y cancelled"]
    assert store.events[-1].kind == "run_ended" and store.events[-1].status == "cancelled"


# ---------------------------------------------------------------------------------------------------- events


def test_its_start_says_which_contexts_it_opens_and_its_end_follows_the_last_branch() -> None:
    done = ran(Parallel("fan", a=plus, b=slow("x", 0.005)))
    assert done.one("node_started", "fan").scopes == ("[a]", "[b]")
    assert done.one("node_started", "fan").node == "parallel"
    assert done.index("node_started", "fan") < done.index("step_started", "fan[a]/plus")
    assert done.index("node_completed", "fan") > done.index("step_completed", "fan[b]/x")
    assert done.state.nodes["fan"].status == "completed"


# ---------------------------------------------------------------------------------------------------- what it refuses


def test_the_branches_and_the_numbers_are_checked_when_it_is_made() -> None:
    made: Any = Parallel
    with pytest.raises(DefinitionError, match="no branches"):
        made("fan")
    with pytest.raises(DefinitionError, match="branch 'a' of parallel 'fan'"):
        made("fan", a=5)
    with pytest.raises(DefinitionError, match="two branches named 'a'"):
        made("fan", {"a": plus}, a=plus)
    with pytest.raises(DefinitionError, match="max_concurrency"):
        made("fan", a=plus, max_concurrency=0)
    with pytest.raises(DefinitionError, match="on_error"):
        made("fan", a=plus, on_error="ignore")
    with pytest.raises(DefinitionError, match="name"):
        made("", a=plus)


def test_every_edge_into_and_out_of_it_is_checked() -> None:
    @step
    async def text(value: str) -> str:
        return value

    before: Any = plus
    with pytest.raises(EdgeError, match=r"'plus'.*'text'"):
        before >> Parallel("fan", {"a": double, "b": text})
    with pytest.raises(EdgeError, match=r"'fan'.*'text'"):
        Parallel("fan", a=before) >> text
    with pytest.raises(EdgeError, match=r"'c'.*'Pair'.*did you mean|'c'.*'Pair'"):
        Parallel("fan", into=Pair, a=plus, c=plus)
    with pytest.raises(EdgeError, match=r"'a'.*'str'.*'int'"):
        Parallel("fan", into=Pair, a=text)
    with pytest.raises(EdgeError, match=r"'Pair' needs a field 'a'"):
        Parallel("fan", into=Pair, b=plus)
