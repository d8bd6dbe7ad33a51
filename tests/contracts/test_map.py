"""Map: one body, run for each item at the same time (DESIGN 4, SEMANTICS 1, 3, 13, 19)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Annotated, Any

import pytest
from flow_kit import Ran, State, Watched, adds, alone, double, fail, kinds, logs, plus, ran_async
from pydantic import BaseModel

from flujo_core import (
    BranchesFailed,
    DefinitionError,
    EdgeError,
    Flujo,
    From,
    Map,
    Parallel,
    Retry,
    RunInfo,
    SignatureError,
    SQLiteStore,
    StepError,
    Stop,
    step,
)


class Doc(BaseModel):
    id: str
    size: int = 0


def ran(node: Any, given: Any = 1, *, kind: Any = None, **keywords: Any) -> Ran:
    """Runs a node with a journal; the items of a list are what a step before it gave."""
    if not isinstance(given, list):
        return asyncio.run(ran_async(node, given, **keywords))
    items = kind or list[type(given[0])]  # type: ignore[misc]

    @step
    async def load(value: int) -> items:
        return given

    return asyncio.run(ran_async(load >> node, 1, **keywords))


@step
async def size(doc: Doc) -> int:
    return doc.size


@step
async def fails_at_three(value: int) -> int:
    if value == 3:
        raise ValueError("CANARY")
    return value


DOCS = [Doc(id="z", size=1), Doc(id="a", size=2), Doc(id="m", size=3)]


# ---------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("store", [None, "memory://"])
def test_it_gives_the_outputs_as_a_list_in_the_order_of_the_items(store: str | None) -> None:
    @step
    async def backwards(value: int) -> int:
        await asyncio.sleep(0.02 / (value + 1))
        return value * 10

    assert alone(Map("each", backwards), store=store).run([3, 1, 2, 0]).output == [30, 10, 20, 0]


def test_with_a_store_a_map_may_be_the_first_node_of_a_pipeline() -> None:
    assert asyncio.run(ran_async(Map("each", plus), [1, 2])).output == [2, 3]


@pytest.mark.parametrize("store", [None, "memory://"])
def test_of_no_items_it_gives_an_empty_list(store: str | None) -> None:
    assert alone(Map("each", plus), store=store).run([]).output == []


def test_the_input_may_be_any_iterable() -> None:
    @step
    async def many(value: int) -> tuple[int, ...]:
        return tuple(range(value))

    assert alone(many >> Map("each", plus)).run(3).output == [1, 2, 3]
    assert alone(Map("each", plus)).run((1, 2)).output == [2, 3]


def test_over_makes_the_items_from_the_input() -> None:
    def sizes(docs: list[Doc]) -> Iterable[int]:
        return (doc.size for doc in docs)

    assert ran(Map("each", plus, over=sizes), DOCS).output == [2, 3, 4]


def test_over_and_key_may_take_the_context() -> None:
    def repeated(value: int, context: State) -> list[int]:
        return [value] * context.count

    node = Map("each", plus, over=repeated)
    assert ran(node, 5, begin=State(count=3)).output == [6, 6, 6]


# ---------------------------------------------------------------------------------------------------- addresses


def test_without_key_an_item_is_named_by_its_index_from_zero() -> None:
    assert sorted(ran(Map("each", plus), [7, 7]).addresses()) == ["each[0]/plus", "each[1]/plus", "load"]


def test_key_names_an_item_and_is_percent_encoded() -> None:
    done = ran(Map("each", size, key=lambda doc: doc.id), [Doc(id="a/b"), Doc(id="x]#~ä "), Doc(id="inv-17")])
    assert sorted(done.addresses())[:3] == ["each[a%2Fb]/size", "each[inv-17]/size", "each[x%5D%23%7E%C3%A4%20]/size"]
    assert done.one("node_started", "each").scopes == ("[a%2Fb]", "[x%5D%23%7E%C3%A4%20]", "[inv-17]")


def test_duplicate_keys_fail_the_node_before_any_body_starts_and_the_message_holds_no_key() -> None:
    done = ran(Map("each", size, key=lambda doc: doc.id), [Doc(id="CANARY"), Doc(id="b"), Doc(id="CANARY")])
    assert done.result.status == "failed" and done.cause.address == "each"
    assert done.addresses("step_started") == ["load"] and "CANARY" not in str(done.error)
    assert "'each'" in str(done.error) and "key" in str(done.error)


@pytest.mark.parametrize("key", [lambda doc: doc.size, lambda doc: None, lambda doc: ""])
def test_a_key_that_is_no_text_fails_the_node_before_any_body_starts(key: Any) -> None:
    done = ran(Map("each", size, key=key), DOCS)
    assert done.result.status == "failed" and done.addresses("step_started") == ["load"]
    assert "'each'" in str(done.error) and "key" in str(done.error)


def test_a_key_or_source_that_raises_fails_the_node_as_if_a_leaf_in_it_had() -> None:
    def broken(value: Any) -> Any:
        raise ValueError("CANARY")

    for node in (Map("each", plus, key=broken), Map("each", plus, over=broken)):
        done = ran(node, [1])
        assert isinstance(done.cause, StepError) and done.cause.address == "each"
        assert isinstance(done.cause.__cause__, ValueError) and "CANARY" not in str(done.error)
        assert done.state.nodes["each"].status == "failed"


def test_a_source_that_raises_half_way_fails_the_node_before_any_body_starts() -> None:
    def halfway(value: int) -> Iterable[int]:
        yield 1
        raise ValueError

    done = ran(Map("each", plus, over=halfway), 1)
    assert done.result.status == "failed" and done.addresses("step_started") == []


def test_keys_are_recorded_before_any_body_starts() -> None:
    done = ran(Map("each", size, key=lambda doc: doc.id), DOCS)
    assert done.one("node_started", "each").scopes == ("[z]", "[a]", "[m]")
    assert done.index("node_started", "each") < min(done.index("step_started", f"each[{k}]/size") for k in "zam")


def test_the_keys_of_a_map_are_in_the_same_append_as_the_commit_that_they_are_read_from() -> None:
    @step
    async def load(value: int) -> list[Doc]:
        return DOCS

    done = ran(load >> Map("each", size, key=lambda doc: doc.id))
    assert "node_started each" in kinds(done.store.batch_of("step_completed", "load"))


def test_key_is_called_once_for_each_item() -> None:
    asked: list[str] = []

    def key(doc: Doc) -> str:
        asked.append(doc.id)
        return doc.id

    assert ran(Map("each", size, key=key), DOCS).output == [1, 2, 3] and asked == ["z", "a", "m"]


# ---------------------------------------------------------------------------------------------------- side by side


def test_no_more_than_max_concurrency_items_run_at_the_same_time() -> None:
    now, most = 0, 0

    @step
    async def work(value: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        return value

    done = ran(Map("each", work, max_concurrency=3), list(range(10)))
    assert most == 3 and done.output == list(range(10))


def test_every_item_is_run_in_its_own_scope_by_a_body_of_several_steps() -> None:
    done = ran(Map("each", plus >> Parallel("fan", a=plus, b=double)), [1, 2])
    assert done.output == [{"a": 3, "b": 4}, {"a": 4, "b": 6}]
    assert "each[1]/fan[b]/double" in done.addresses()


def test_maps_nest() -> None:
    done = ran(Map("rows", Map("cells", plus)), [[1, 2], [3]], kind=list[list[int]])
    assert done.output == [[2, 3], [4]]
    assert sorted(done.addresses())[1:] == ["rows[0]/cells[0]/plus", "rows[0]/cells[1]/plus", "rows[1]/cells[0]/plus"]


@pytest.mark.parametrize("store", [None, "memory://"])
def test_items_that_are_one_object_are_not_shared(store: str | None) -> None:
    @step
    async def spoil(items: list[int]) -> list[int]:
        items.append(1)
        await asyncio.sleep(0.001)
        return items

    shared: list[int] = []
    assert alone(Map("each", spoil), store=store).run([shared, shared]).output == [[1], [1]]
    assert shared == []


# ---------------------------------------------------------------------------------------------------- failures


def test_when_an_item_fails_the_others_are_cancelled_and_the_node_fails_with_its_error() -> None:
    cancelled: list[int] = []

    @step
    async def work(value: int) -> int:
        if value == 3:
            raise ValueError("CANARY")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(value)
            raise
        return value

    done = ran(Map("each", work), [1, 2, 3])
    assert sorted(cancelled) == [1, 2] and done.cause.address == "each[2]/work" and "CANARY" not in str(done.error)


def test_with_collect_all_items_run_and_the_error_has_each_failure_by_address() -> None:
    done = ran(Map("each", fails_at_three, on_error="collect", key=str), [1, 3, 2])
    assert isinstance(done.cause, BranchesFailed) and list(done.cause.errors) == ["each[3]"]
    assert sorted(done.addresses()) == ["each[1]/fails_at_three", "each[2]/fails_at_three", "load"]


def test_stop_in_an_item_ends_the_run() -> None:
    @step
    async def stops(value: int) -> int | Stop:
        return Stop("enough") if value else 1

    done = ran(Map("each", Map("inner", stops)), [[0, 0], [0, 1]], kind=list[list[int]])
    assert (done.result.status, done.result.reason) == ("stopped", "enough")


# ---------------------------------------------------------------------------------------------------- async sources


async def counted(stop: int, after: str | None = None) -> AsyncIterator[int]:
    for number in range(stop):
        await asyncio.sleep(0)
        yield number


@pytest.mark.parametrize("store", [None, "memory://"])
def test_over_may_give_an_async_iterable(store: str | None) -> None:
    assert alone(Map("each", plus, over=counted), store=store).run(4).output == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_each_key_and_item_of_an_async_source_is_durable_before_its_body_starts(kind: str, tmp_path: Any) -> None:
    store = Watched(SQLiteStore(tmp_path / "runs.db") if kind == "sqlite" else None, turns=2)
    known: dict[int, list[Any]] = {}

    @step
    async def look(value: int) -> int:
        known[value] = [(e.scope, e.item) for e in store.events if e.kind == "item_taken"]
        return value

    async def main() -> None:
        done = await ran_async(Map("each", look, over=counted, key=lambda n: f"k{n}"), 3, store=store)
        assert done.output == [0, 1, 2]
        await store.close()

    asyncio.run(main())
    assert all((f"[k{value}]", value) in seen for value, seen in known.items()) and len(known) == 3


def test_items_of_an_async_source_start_as_they_come() -> None:
    first_ran = asyncio.Event()

    async def waits_for_the_first(value: int, after: str | None = None) -> AsyncIterator[int]:
        yield 1
        async with asyncio.timeout(5):
            await first_ran.wait()
        yield 2

    @step
    async def work(value: int) -> int:
        first_ran.set()
        return value

    assert ran(Map("each", work, over=waits_for_the_first)).output == [1, 2]


def test_of_an_async_source_no_more_items_are_taken_than_run() -> None:
    taken, ended = 0, 0
    most = 0

    async def source(value: int, after: str | None = None) -> AsyncIterator[int]:
        nonlocal taken, most
        for number in range(10):
            taken += 1
            most = max(most, taken - ended)
            yield number

    @step
    async def work(value: int) -> int:
        nonlocal ended
        await asyncio.sleep(0.001)
        ended += 1
        return value

    assert len(ran(Map("each", work, over=source, max_concurrency=2)).output) == 10
    assert most <= 3  # two that run, and the one that is being taken


def test_in_a_durable_run_an_async_source_must_be_able_to_go_on_after_its_last_key() -> None:
    async def source(value: int) -> AsyncIterator[int]:
        yield value

    node = Map("each", plus, over=source)
    assert alone(node).run(1).output == [2]
    for whole in (node, Parallel("fan", a=node), (plus >> node).named("scope")):
        with pytest.raises(DefinitionError, match=r"'over' of map 'each'.*'after"):
            alone(whole, store="memory://")


def test_an_async_source_is_closed_when_an_item_fails() -> None:
    closed: list[bool] = []

    async def source(value: int, after: str | None = None) -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
                await asyncio.sleep(0.001)
        finally:
            closed.append(True)

    done = ran(Map("each", fails_at_three, over=source))
    assert done.result.status == "failed" and closed == [True]


def test_an_async_source_that_raises_fails_the_node_and_cancels_the_items() -> None:
    async def source(value: int, after: str | None = None) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0.005)
        raise ValueError("CANARY")

    @step
    async def long(value: int) -> int:
        await asyncio.sleep(30)
        return value

    done = ran(Map("each", long, over=source))
    assert done.cause.address == "each" and isinstance(done.cause.__cause__, ValueError)
    assert done.state.steps["each[0]/long"].status == "cancelled"


def test_duplicate_keys_of_an_async_source_fail_the_node() -> None:
    done = ran(Map("each", plus, over=counted, key=lambda n: "CANARY"), 2)
    assert done.result.status == "failed" and "key" in str(done.error) and "CANARY" not in str(done.error)


def test_an_async_source_of_nothing_gives_an_empty_list() -> None:
    assert ran(Map("each", plus, over=counted), 0).output == []


def test_with_a_retry_an_async_source_is_asked_again() -> None:
    tried: list[int] = []

    @step
    async def once(value: int, *, info: RunInfo) -> int:
        tried.append(value)
        if len(tried) == 1:
            raise ValueError
        return value

    assert ran(Map("each", once, over=counted).policy(retry=Retry(attempts=2)), 1).output == [0]


# ---------------------------------------------------------------------------------------------------- what it refuses


def test_what_cannot_be_is_refused_when_it_is_made() -> None:
    made: Any = Map

    async def awaits(value: int) -> list[int]:
        return [value]

    def texts(value: int) -> list[str]:
        return []

    def takes_text(item: str) -> str:
        return item

    def two(item: int, other: int) -> str:
        return ""

    with pytest.raises(DefinitionError, match="body of map 'each'"):
        made("each", 5)
    with pytest.raises(DefinitionError, match="max_concurrency"):
        made("each", plus, max_concurrency=-1)
    with pytest.raises(SignatureError, match="'over' of map 'each'"):
        made("each", plus, over=awaits)
    with pytest.raises(EdgeError, match=r"'each'.*'str'.*'plus'.*'int'"):
        made("each", plus, over=texts)
    with pytest.raises(EdgeError, match=r"'key' of map 'each'.*'str'.*'int'"):
        made("each", plus, key=takes_text)
    with pytest.raises(SignatureError, match=r"'key' of map 'each'.*'other'"):
        made("each", plus, key=two)


def test_the_edge_into_it_is_checked_by_item() -> None:
    @step
    async def words(value: int) -> list[str]:
        return []

    @step
    async def one(value: int) -> int:
        return value

    made: Any = Map("each", plus)
    with pytest.raises(EdgeError, match=r"'words'.*'list\[str\]'.*'each'"):
        words >> made
    with pytest.raises(EdgeError, match=r"'one'.*'int'.*'each'"):
        one >> made


def test_a_join_of_items_merges_in_the_order_of_the_items() -> None:
    @step
    async def late_first(value: int, context: State) -> int:
        await asyncio.sleep(0.02 / (value + 1))
        context.log.append(str(value))
        return value

    done = ran(Map("each", late_first), [0, 5, 2])
    assert done.context.log == ["0", "5", "2"] == done.state.context["log"]


def test_what_runs_in_it_has_no_name_outside_and_its_list_has() -> None:
    @step
    async def reads(*, found: Annotated[list[int], From("each")]) -> int:
        return sum(found)

    @step
    async def peeks(*, found: Annotated[int, From("each/plus")]) -> int:
        return found

    assert ran(Map("each", plus) >> adds_nothing >> reads, [1, 2]).output == 5
    with pytest.raises(DefinitionError, match=r"'peeks'.*'each'"):
        (Map("each", plus) >> peeks).check()


@step
async def adds_nothing(found: Sequence[int]) -> Sequence[int]:
    return found


def test_a_thousand_items_in_a_thousand_scopes() -> None:
    done = ran(Map("each", logs("w", "x"), max_concurrency=50), list(range(1000)))
    assert done.output == list(range(1000)) and len(done.context.log) == 1000


def test_without_a_store_it_does_the_same() -> None:
    assert Flujo(Map("each", plus >> adds("b"))).run([1]).output == [3]
    with pytest.raises(Exception, match="fail"):
        Flujo(Map("each", fail)).run([1])
