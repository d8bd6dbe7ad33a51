"""The types of the values that a run writes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from crash_kit import durable

from flujo_core import HumanInput, Label, MemoryStore, Node, PauseForHumanInput, PipelineContext, step
from flujo_core.engine.typed import typed, types_in
from flujo_core.store.parts import ANSWER, OUTPUT, Part

Name = Annotated[str, Label("phi")]


@step
async def first(text: Name) -> Name:
    return text


@step(name="ask")
async def number(text: str) -> Annotated[int, Label("count")] | PauseForHumanInput[int]:
    return PauseForHumanInput("?", int)


@step(name="ask")
async def text(text: str) -> list[Name]:
    return [text]


def paused(node: Node[Any, Any]) -> Any:
    store = MemoryStore()

    async def main() -> Any:
        flujo = durable(node, store, context=PipelineContext)
        await flujo.run_async("x", run_id="r")
        await flujo.resume_async("r", 1)
        return await store.read("r")

    return asyncio.run(main())


def types(node: Node[Any, Any], records: Any) -> Any:
    return types_in(durable(node, MemoryStore(), context=PipelineContext)._epoch.program, records)


def labels(found: Any) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {one.path: one.labels for one in found.labels}


def test_what_a_step_asks_for_is_of_its_type_or_as_sensitive_as_what_it_gives_now() -> None:
    records = paused(first >> number)
    answered = next(one for one in records if one.kind == "question_answered")
    asked = next(one for one in records if one.kind == "question_asked")
    for record in (asked, answered):
        known = types(first >> number, records).of(record, ANSWER)
        assert labels(known) == {(): ("count",)}
        changed = types(first >> text, records).of(record, ANSWER)
        assert changed.hint is Any
        assert labels(changed) == {("*",): ("phi",)}


def test_of_what_is_not_in_the_pipeline_nothing_is_known() -> None:
    records = paused(first >> number)
    asked = next(one for one in records if one.kind == "question_asked")
    known = types(first, records)
    assert known.of(asked, OUTPUT).hint is Any
    assert not known.of(asked, Part("state", 1)).labels
    assert labels(types(first >> number, records).of(asked, Part("state", 1))) == {("output",): ("count",)}


def test_a_type_that_cannot_be_hashed_is_looked_into_too() -> None:
    assert labels(typed(Annotated[Name, []])) == {(): ("phi",)}


def test_an_item_of_a_source_that_is_no_map_any_more_is_of_no_known_type() -> None:
    records = paused(first >> number)
    started = records[1]
    assert types(first >> number, records).of(started, Part("item", 1)).hint is Any


def test_a_question_of_a_person_says_what_its_answer_is() -> None:
    node = first >> HumanInput("ask", int, ask="?")
    records = paused(node)
    asked = next(one for one in records if one.kind == "question_asked")
    assert types(node, records).of(asked, ANSWER).hint is int
