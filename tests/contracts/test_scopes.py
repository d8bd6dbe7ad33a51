"""Scopes: names, addresses, and which context a step sees (DESIGN 2, SEMANTICS 1 and 4)."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from flow_kit import State, Watched, adds, alone, fail, logs, plus, ran, ran_async
from pydantic import BaseModel

from flujo_core import (
    Branch,
    ContextConflict,
    DefinitionError,
    Flujo,
    Loop,
    Map,
    Merge,
    Parallel,
    Pipeline,
    PipelineContext,
    Retry,
    RunInfo,
    SQLiteStore,
    Stop,
    step,
    walk,
)

CALLS: list[Any] = []


def reduced(base: str, values: list[str]) -> str:
    CALLS.append((base, values))
    return base + "".join(values)


class Words(PipelineContext):
    text: Annotated[str, Merge(reduced)] = ""


def sets(name: str, **values: Any) -> Any:
    """A step that sets fields of the context."""

    @step(name=name)
    async def put(value: int, context: State) -> int:
        for field, one in values.items():
            setattr(context, field, one)
        return value

    return put


# ---------------------------------------------------------------------------------------------------- names


def test_an_unnamed_pipeline_is_flattened_and_a_named_one_is_a_scope() -> None:
    inner = plus >> adds("two", 2)
    assert ran(adds("first") >> inner >> adds("last")).addresses() == ["first", "plus", "two", "last"]
    scoped = adds("first") >> inner.named("x y") >> adds("last")
    done = ran(scoped)
    assert done.addresses() == ["first", "x%20y/plus", "x%20y/two", "last"] and done.output == 6
    assert done.addresses("node_started") == done.addresses("node_completed") == ["x%20y"]
    assert done.one("node_started", "x%20y").node == "pipeline"


def test_using_one_pipeline_twice_in_a_scope_needs_a_name() -> None:
    twice = plus >> adds("b")
    with pytest.raises(DefinitionError, match=r"'plus'.*named"):
        _ = twice >> twice
    assert ran(twice >> twice.named("again")).addresses() == ["plus", "b", "again/plus", "again/b"]


def test_names_are_unique_within_a_scope_and_free_outside_of_it() -> None:
    with pytest.raises(DefinitionError, match=r"'fan'"):
        _ = Parallel("fan", a=plus) >> Map("fan", plus, over=lambda value: [])
    node = plus >> Parallel("fan", plus=plus, fan=plus.named("fan"))
    assert sorted(ran(node).addresses()) == ["fan[fan]/fan", "fan[plus]/plus", "plus"]


def test_named_pipelines_nest() -> None:
    node = ((plus.named("a") >> plus.named("b")).named("in") >> plus.named("c")).named("out")
    assert ran(node).addresses() == ["out/in/a", "out/in/b", "out/c"]


def test_a_pipeline_with_a_name_and_one_step_is_still_a_scope() -> None:
    node: Any = Pipeline(None, (plus,))
    assert ran(node.named("x")).addresses() == ["x/plus"]


def test_the_same_node_may_stand_in_several_scopes() -> None:
    part = plus >> adds("b")
    node = Parallel("fan", left=part, right=part)
    assert sorted(ran(node).addresses()) == ["fan[left]/b", "fan[left]/plus", "fan[right]/b", "fan[right]/plus"]


def test_walk_gives_every_leaf_with_its_address() -> None:
    node = Parallel(
        "fan",
        a=Map("each", plus, over=lambda value: [value]),
        b=Loop("l", plus.policy(fallback=adds("other")), until=bool, max_iterations=2),
    )
    assert [address for address, _ in walk(node)] == [
        "fan[a]/each[*]/plus", "fan[b]/l[*]/plus", "fan[b]/l[*]/plus~fallback/other",
    ]  # fmt: skip


def test_run_info_has_the_address_of_the_leaf() -> None:
    @step
    async def where(value: int, info: RunInfo) -> str:
        return info.address

    one = Parallel("fan", a=Map("each", (plus >> where).named("p"), over=lambda value: [value]))
    assert ran(one).output == {"a": ["fan[a]/each[0]/p/where"]}


# ---------------------------------------------------------------------------------------------------- contexts


def test_a_step_never_sees_what_a_sibling_branch_does_whichever_is_faster() -> None:
    seen: dict[str, tuple[int, list[str]]] = {}

    def peeks(name: str, before: float) -> Any:
        @step(name=name)
        async def peek(value: int, context: State) -> int:
            await asyncio.sleep(before)
            seen[name] = (context.count, list(context.log))
            return value

        return peek

    fast = sets("set", count=7) >> logs("l1") >> peeks("own", 0)
    slow = peeks("early", 0) >> peeks("late", 0.02)
    done = ran(sets("first", count=3) >> Parallel("fan", fast=fast, slow=slow))
    assert seen == {"own": (7, ["l1"]), "early": (3, []), "late": (3, [])}
    assert (done.context.count, done.context.log) == (7, ["l1"])


def test_a_leaf_sees_its_scope_as_it_was_when_the_leaf_started() -> None:
    """And a copy of it: what it does to a value that it does not commit is seen by nobody."""

    @step(retry=Retry(attempts=2))
    async def fails_once(value: int, context: State, info: RunInfo) -> int:
        context.log.append(f"try {info.attempt}")
        if info.attempt == 1:
            raise ValueError
        return value

    assert ran(logs("a") >> fails_once).context.log == ["a", "try 2"]


def test_what_runs_after_a_join_sees_what_all_branches_did() -> None:
    seen: list[Any] = []

    @step
    async def after(value: dict[str, int], context: State) -> int:
        seen.append((context.count, context.word, context.log))
        return 1

    node = Parallel("fan", a=sets("x", count=1) >> logs("a"), b=sets("y", word="w") >> logs("b")) >> after
    ran(node)
    assert seen == [(1, "w", ["a", "b"])]


def test_named_pipelines_loops_and_branches_share_the_context_around_them() -> None:
    node = (
        logs("a")
        >> (logs("b") >> logs("c")).named("scope")
        >> Loop("l", logs("d"), until=lambda value, context: len(context.log) > 4, max_iterations=5)
        >> Branch("r", on=str).default(logs("e"))
    )
    done = ran(node)
    assert done.context.log == ["a", "b", "c", "d", "d", "e"] == done.state.context["log"]


def test_contexts_nest_and_each_join_merges_into_the_context_around_it() -> None:
    each = Map("each", logs("item"), over=lambda value: [1, 2])
    inner = logs("in") >> Parallel("inner", x=logs("x") >> each, y=logs("y"))
    done = ran(logs("first") >> Parallel("fan", a=inner, b=logs("b")))
    assert done.context.log == ["first", "in", "x", "item", "item", "y", "b"] == done.state.context["log"]


@pytest.mark.parametrize("kind", ["none", "memory", "sqlite"])
def test_the_context_of_the_result_equals_the_fold_of_the_journal(kind: str, tmp_path: Any) -> None:
    node = Parallel(
        "fan",
        a=sets("x", count=2, facts={"z": 0, "a": 1}, seen={"a"}, top=3, low=-4, sum=105),
        b=sets("y", word="w", facts={"z": 0, "b": 2}, seen={"b"}, top=9, low=-1, sum=106) >> logs("b"),
    )
    begin = State(sum=100, facts={"z": 0})
    if kind == "none":
        context = alone(node).run(1, context=begin).context
    else:
        store = Watched(SQLiteStore(tmp_path / "runs.db") if kind == "sqlite" else None)

        async def main() -> Any:
            done = await ran_async(node, 1, store=store, begin=begin)
            await store.close()
            return done

        done = asyncio.run(main())
        context = done.context
        assert State.model_validate(done.state.context) == context
    assert context == State(
        count=2, word="w", log=["b"], seen={"a", "b"}, top=9, low=-4, sum=111, facts={"z": 0, "a": 1, "b": 2}
    )


def test_the_context_that_was_given_to_the_run_is_left_as_it_is() -> None:
    begin = State(notes=["x"])
    done = ran(Parallel("fan", a=logs("a") >> sets("s", notes=["y"])), begin=begin)
    assert begin == State(notes=["x"]) and done.context.notes == ["y"]


# ---------------------------------------------------------------------------------------------------- joins


def test_a_join_merges_in_the_order_of_declaration_and_never_in_that_of_completion() -> None:
    def late(name: str, seconds: float) -> Any:
        @step(name=name)
        async def log(value: int, context: State) -> int:
            await asyncio.sleep(seconds)
            context.log.append(name)
            return value

        return log

    done = ran(Parallel("fan", z=late("z", 0.02), a=late("a", 0.01), m=late("m", 0)))
    assert done.context.log == ["z", "a", "m"]


def test_a_join_is_one_event() -> None:
    done = ran(Parallel("fan", a=logs("a") >> sets("x", count=1), b=logs("b")))
    patch = done.one("node_completed", "fan").patch
    assert set(patch) == {"log", "count"}


def test_a_join_journals_what_was_appended_and_not_the_whole_list() -> None:
    begin = State(log=["old" * 100])
    store = Watched()
    ran(Parallel("fan", a=logs("a"), b=logs("b")), begin=begin, store=store)
    records = asyncio.run(_records(store))
    (join,) = (record for record in records if record.kind == "node_completed")
    assert json.loads(join.payload.split(b"\n")[-1]) == {"log": {"extend": ["a", "b"]}}


async def _records(store: Watched) -> Any:
    return await store.read("r")


def test_a_join_that_changes_nothing_has_an_empty_patch() -> None:
    assert not ran(Parallel("fan", a=plus, b=plus)).one("node_completed", "fan").patch


def test_a_custom_reducer_gets_the_value_at_the_fork_and_the_values_in_order() -> None:
    CALLS.clear()

    def says(name: str) -> Any:
        @step(name=name)
        async def say(value: int, context: Words) -> int:
            context.text = name
            return value

        return say

    node = says("before") >> Parallel("fan", b=says("x"), a=says("y"), none=plus)
    assert ran(node, context=Words).context.text == "beforexy" and CALLS == [("before", ["x", "y"])]


def test_reducers_act_only_at_joins() -> None:
    done = ran(sets("a", top=9, seen={"x"}) >> sets("b", top=1, seen={"y"}))
    assert (done.context.top, done.context.seen) == (1, {"y"})


@pytest.mark.parametrize("change", ["word", "count", "notes"])
def test_two_branches_that_change_a_field_without_a_reducer_conflict(change: str) -> None:
    values: Any = {"word": ("x", "y"), "count": (1, 2), "notes": (["x"], ["y"])}[change]
    done = ran(Parallel("fan", left=sets("a", **{change: values[0]}), right=sets("b", **{change: values[1]})))
    assert isinstance(done.cause, ContextConflict) and done.cause.address == "fan"
    text = str(done.error)
    assert f"'{change}'" in text and "left" in text and "right" in text
    assert getattr(done.context, change) == getattr(State(), change)
    assert done.state.nodes["fan"].status == "failed"


def test_two_branches_that_set_a_field_to_the_same_value_have_both_changed_it() -> None:
    done = ran(Parallel("fan", left=sets("a", count=1), right=sets("b", count=1)))
    assert isinstance(done.cause, ContextConflict)


def test_a_field_that_was_set_to_what_it_was_is_not_changed() -> None:
    done = ran(Parallel("fan", left=sets("a", count=0), right=sets("b", count=1)))
    assert done.context.count == 1


def test_a_field_that_was_changed_and_set_back_within_a_branch_is_not_changed() -> None:
    back = sets("a", count=5) >> sets("a2", count=0)
    assert ran(Parallel("fan", left=back, right=sets("b", count=1))).context.count == 1


def test_a_conflict_between_items_of_a_map_names_both_by_key() -> None:
    @step
    async def put(value: int, context: State) -> int:
        context.count = value
        return value

    done = ran(Map("each", put, over=lambda value: [1, 2], key=lambda n: f"k{n}"))
    assert isinstance(done.cause, ContextConflict)
    assert "k1" in str(done.error) and "k2" in str(done.error) and "'count'" in str(done.error)


def test_iterations_and_steps_in_sequence_never_conflict() -> None:
    node = Loop("l", sets("a", count=1) >> sets("b", count=2), until=bool, max_iterations=3)
    assert ran(node).context.count == 2


@pytest.mark.parametrize("spoilt", [[], ["other"], ["new", "old"]])
def test_on_an_append_field_any_change_but_appending_conflicts(spoilt: list[str]) -> None:
    done = ran(Parallel("fan", a=sets("x", log=spoilt), b=plus), begin=State(log=["old"]))
    assert isinstance(done.cause, ContextConflict)
    assert "'log'" in str(done.error) and "append" in str(done.error) and "'[a]'" in str(done.error).replace("fan", "")


def test_a_conflict_names_the_branch_that_broke_the_rule_and_not_those_that_kept_it() -> None:
    done = ran(Parallel("fan", good=logs("x"), bad=sets("y", log=["other"])), begin=State(log=["old"]))
    assert isinstance(done.cause, ContextConflict)
    assert "bad" in str(done.error) and "good" not in str(done.error)


def test_union_is_for_adding_and_two_values_for_one_key_conflict() -> None:
    both = Parallel("fan", a=sets("x", facts={"k": 1}), b=sets("y", facts={"k": 2}))
    assert isinstance(ran(both).cause, ContextConflict)
    taken = Parallel("fan", a=sets("x", seen=set()), b=plus)
    assert isinstance(ran(taken, begin=State(seen={"old"})).cause, ContextConflict)
    same = Parallel("fan", a=sets("x", facts={"k": 1}), b=sets("y", facts={"k": 1}))
    assert ran(same).context.facts == {"k": 1}


def test_a_reducer_that_raises_fails_the_node_and_the_message_holds_no_value() -> None:
    def broken(base: int, values: list[int]) -> int:
        raise ValueError("CANARY")

    class Broken(PipelineContext):
        n: Annotated[int, Merge(broken)] = 0

    @step
    async def put(value: int, context: Broken) -> int:
        context.n += 1
        return value

    done = ran(Parallel("fan", a=put, b=put), context=Broken)
    assert done.result.status == "failed" and done.cause.address == "fan"
    assert "'n'" in str(done.error) and "CANARY" not in str(done.error)


def test_what_a_reducer_makes_is_validated() -> None:
    class Odd(PipelineContext):
        n: Annotated[int, Merge(lambda base, values: "CANARY")] = 0

    @step
    async def put(value: int, context: Odd) -> int:
        context.n += 1
        return value

    done = ran(Parallel("fan", a=put, b=put), context=Odd)
    assert done.result.status == "failed" and "'n'" in str(done.error) and "CANARY" not in str(done.error)


def test_a_reducer_cannot_change_what_the_branches_left() -> None:
    def spoils(base: list[int], values: list[list[int]]) -> list[int]:
        base.append(99)
        return [one for value in values for one in value]

    class Spoilt(PipelineContext):
        n: Annotated[list[int], Merge(spoils)] = []

    @step
    async def put(value: int, context: Spoilt) -> int:
        context.n = [*context.n, value]
        return value

    store = Watched()
    done = ran(put.named("first") >> Parallel("fan", a=put, b=put), context=Spoilt, store=store)
    assert done.context.n == done.state.context["n"] == [1, 1, 1, 1]


# ---------------------------------------------------------------------------------------------------- rollback


def test_when_a_parallel_fails_nothing_that_its_branches_changed_is_left() -> None:
    done = ran(logs("before") >> Parallel("fan", a=logs("a"), b=logs("b") >> fail))
    assert done.context.log == ["before"] == done.state.context["log"]


def test_what_ran_before_a_failing_step_in_the_same_scope_stays() -> None:
    done = ran((logs("a") >> logs("b") >> fail).named("scope"))
    assert done.context.log == ["a", "b"] == done.state.context["log"]


def test_when_a_run_is_stopped_in_a_branch_what_its_branches_changed_is_not_joined() -> None:
    @step
    async def stops(value: int) -> int | Stop:
        return Stop("enough")

    done = ran(logs("before") >> Parallel("fan", a=logs("a") >> stops))
    assert done.result.status == "stopped"
    assert done.context.log == ["before"] == done.state.context["log"]


def test_the_result_of_a_run_whose_input_the_journal_could_not_give_back_has_its_context() -> None:
    class Base(BaseModel):
        pass

    class Special(Base):
        more: int = 1

    @step
    async def take(value: Base) -> int:
        return 1

    done = ran(take, Special(), begin=State(count=3))
    assert done.result.status == "failed" and (done.context.count, done.context.log) == (3, [])


def test_without_a_context_everything_runs_as_well() -> None:
    node = Parallel("fan", a=plus, b=Map("each", plus, over=lambda value: [value]))
    assert Flujo(node).run(1).output == {"a": 2, "b": [2]}
