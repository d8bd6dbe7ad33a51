"""What a Map makes its items of: its input, a list, an async source; and what is left when that fails."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from flujo_core import Flujo, From, Map, NodeStarted, Parallel, Retry, RunFailed, step


@step
async def same(value: int) -> int:
    return value


def nothing(value: int) -> list[int]:
    raise ValueError("CANARY")


def text(value: int) -> Any:
    return "12"


def number(value: int) -> Any:
    return value


def two(value: int) -> list[int]:
    return [1, 2]


failing = [
    Map("each", same, over=nothing),
    Map("each", same, over=two, key=lambda item: "twice"),
    Map("each", same, over=number),
    Map("each", same, over=text),
]
PLACES = ["source", "keys", "number", "text"]


@pytest.mark.parametrize("each", failing, ids=PLACES)
@pytest.mark.parametrize("retry", [None, Retry(attempts=2)], ids=["once", "retried"])
@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_map_whose_items_cannot_be_made_is_a_node_that_failed_and_no_step(
    each: Map[Any, Any], retry: Retry | None, store: str | None
) -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(each.policy(retry=retry), store=store).run(1)
    assert failed.value.result.steps == ()


@pytest.mark.parametrize("each", failing, ids=PLACES)
def test_a_map_whose_items_cannot_be_made_has_begun_before_it_fails(each: Map[Any, Any]) -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(each).run(1)
    assert any(isinstance(event, NodeStarted) for event in failed.value.result._events)


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_map_over_the_input_of_the_run_runs(store: str | None) -> None:
    assert Flujo(Map("each", same), store=store).run([1, 2]).output == [1, 2]


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_map_over_the_input_of_the_run_may_be_tried_again(store: str | None) -> None:
    failures = [ValueError("CANARY")]

    @step
    async def once(value: int) -> int:
        if failures:
            raise failures.pop()
        return value

    assert Flujo(Map("each", once).policy(retry=Retry(attempts=2)), store=store).run([1, 2]).output == [1, 2]


@pytest.mark.parametrize("store", [None, "memory://"])
def test_two_maps_may_share_the_input_of_the_run(store: str | None) -> None:
    both = Parallel("both", one=Map("each", same), other=Map("each", same))
    assert Flujo(both, store=store).run([1, 2]).output == {"one": [1, 2], "other": [1, 2]}


@pytest.mark.parametrize("store", [None, "memory://"])
def test_what_runs_in_a_map_over_the_input_of_the_run_can_name_that_input(store: str | None) -> None:
    @step
    async def share(value: int, *, whole: Annotated[Any, From.run_input]) -> int:
        return value * 10 // sum(whole)

    assert Flujo(Map("each", share), store=store).run([1, 4]).output == [2, 8]
