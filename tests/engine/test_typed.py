"""The types of the values that a run writes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from crash_kit import durable

from flujo_core import HumanInput, Label, LabelledPath, MemoryStore, Node, PauseForHumanInput, PipelineContext, step
from flujo_core.engine.typed import typed, types_in
from flujo_core.store.parts import ANSWER, OUTPUT, Part

Name = Annotated[str, Label("phi")]


@step
async def first(text: Name) -> Name:
    return text


@step
async def plain(text: str) -> str:
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


def test_what_a_step_asks_for_is_of_its_type_or_may_be_of_anything() -> None:
    records = paused(first >> number)
    answered = next(one for one in records if one.kind == "question_answered")
    asked = next(one for one in records if one.kind == "question_asked")
    for record in (asked, answered):
        known = types(first >> number, records).of(record, ANSWER)
        assert labels(known) == {(): ("count",)}
        for changed in (first >> text, first):
            assert types(changed, records).of(record, ANSWER) == (Any, (LabelledPath((), ("phi",)),))


def test_of_what_is_not_in_the_pipeline_nothing_is_known() -> None:
    records = paused(first >> number)
    asked = next(one for one in records if one.kind == "question_asked")
    state = Part("state", 1)
    for part in (OUTPUT, state, Part("item", 1)):
        assert labels(types(first, records).of(asked, part)) == {(): ("phi",)}
    assert labels(types(first >> number, records).of(asked, state)) == {
        ("output",): ("count",),
        ("messages",): ("count", "phi"),
        ("change",): ("count", "phi"),
    }


def test_texts_without_a_type_carry_all_labels_that_there_are() -> None:
    records = paused(first >> number)
    for part in (Part("question", 1), Part("error", 0), Part("model", 1), Part("tool", 1), Part("feedback", 1)):
        assert labels(types(first >> number, records).of(records[0], part)) == {(): ("count", "phi")}
    assert not types(plain, records).of(records[0], Part("error", 0)).labels


def test_the_output_of_a_run_is_of_its_type() -> None:
    records = paused(first >> number)
    assert labels(types(first >> number, records).of(records[-1], OUTPUT)) == {(): ("count",)}


def test_a_type_that_cannot_be_hashed_is_looked_into_too() -> None:
    assert labels(typed(Annotated[Name, []])) == {(): ("phi",)}


def test_a_question_of_a_person_says_what_its_answer_is() -> None:
    node = first >> HumanInput("ask", int, ask="?")
    records = paused(node)
    asked = next(one for one in records if one.kind == "question_asked")
    assert types(node, records).of(asked, ANSWER).hint is int
