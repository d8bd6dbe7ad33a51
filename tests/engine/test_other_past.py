"""Runs that are resumed by code that differs from the code that began them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import pytest
from crash_kit import Dying, crashed, done, durable
from flow_kit import ALONE
from pydantic import Field
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import (
    Branch,
    Flujo,
    FlujoError,
    IncompatiblePipeline,
    Map,
    MemoryStore,
    Parallel,
    PauseForHumanInput,
    PipelineContext,
    Plugin,
    Step,
    StepCall,
    StepCompleted,
    StepStarted,
    step,
)

Text = Step[str, str]


@step
async def keep(item: str) -> str:
    return item


twice = keep >> keep.named("again")


def spells(*keys: str) -> Map[Any, Any]:
    return Map("each", twice, over=lambda text: list(text), key=lambda item: keys["ab".index(item)])


def test_a_map_whose_items_have_other_keys_than_when_it_began_is_refused() -> None:
    async def main() -> None:
        store = MemoryStore()
        assert await crashed(spells("one", "two"), "ab", store, 2)
        with pytest.raises(IncompatiblePipeline, match="the items of 'each' have other keys than when it began"):
            await durable(spells("one", "three"), store).resume_async("r")
        assert (await durable(spells("one", "two"), store).resume_async("r")).output == ["a", "b"]

    done(main())


def router(*cases: str) -> Branch[Any, Any]:
    branch: Branch[Any, Any] = Branch("route", on=lambda text: text)
    for case in cases:
        branch = branch.case(case, twice)
    return branch


def test_a_branch_that_lacks_the_case_that_was_taken_is_refused() -> None:
    async def main() -> None:
        store = MemoryStore()
        assert await crashed(router("a", "b"), "b", store, 2)
        with pytest.raises(IncompatiblePipeline, match="part 'b'"):
            await durable(router("a"), store).resume_async("r")
        assert (await durable(router("b", "a"), store).resume_async("r")).output == "b"

    done(main())


def both(*names: str) -> Any:
    @step
    async def join(texts: dict[str, str]) -> str:
        return "".join(sorted(texts))

    return Parallel("both", **dict.fromkeys(names, twice)) >> join >> keep.named("end")


@pytest.mark.parametrize("at", range(2, 8))
def test_branches_may_change_places_once_all_have_ended(at: int) -> None:
    async def main() -> None:
        store = MemoryStore()
        assert await crashed(both("a", "b"), "x", store, at)
        is_done = any(one.kind == "node_completed" for one in await store.read("r"))
        assert is_done is (at > 5)
        turned = durable(both("b", "a"), store)
        assert bool((await turned.compat_async("r")).differences) is not is_done
        if is_done:
            assert (await turned.resume_async("r")).output == "ab"
        else:
            with pytest.raises(IncompatiblePipeline, match="has begun with the parts 'a', 'b', and has 'b', 'a' now"):
                await turned.resume_async("r")

    done(main())


def assistant(instructions: str, looks: list[str]) -> Step[Any, Any]:
    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([TextPart("Done") if len(messages) > 1 else ToolCallPart("look", {}, "c1")])

    agent = Agent(FunctionModel(respond), instructions=instructions)

    @agent.tool_plain
    async def look() -> int:
        looks.append(instructions)
        return 1

    return Step.agent("assist", agent)


def test_an_agent_that_asks_for_something_else_than_the_journal_has_is_tried_anew() -> None:
    async def main() -> None:
        store, looks = MemoryStore(), list[str]()
        assert await crashed(assistant("Be brief.", looks), "x", store, 3)
        result = await durable(assistant("Be kind.", looks), store).resume_async("r")
        assert (result.output, looks) == ("Done", ["Be brief.", "Be kind."])
        begun = [event for event in result.events if isinstance(event, StepStarted)]
        assert [event.attempt for event in begun] == [1, 1, 2]

    done(main())


def counting(version: str | None = None, migrate: Callable[[Any], Any] | None = None) -> Any:
    @step(version=version, migrations=None if migrate is None else {"": migrate})
    async def count(text: str) -> int:
        return len(text)

    @step
    async def show(number: int) -> str:
        return str(number)

    return count >> show


def failing(old: Any) -> Any:
    raise ValueError("secret")


@pytest.mark.parametrize(
    ("migrate", "said"),
    [(failing, "the migration of 'count' raised ValueError; mend it"), (lambda _: "many", "is no 'int'")],
)
def test_a_migration_that_fails_or_gives_what_does_not_fit_is_refused(migrate: Any, said: str) -> None:
    async def main() -> None:
        store = MemoryStore()
        assert await crashed(counting(), "abc", store, 2)
        with pytest.raises(IncompatiblePipeline, match=said) as refused:
            await durable(counting("2", migrate), store).resume_async("r")
        assert "secret" not in str(refused.value) and "many" not in str(refused.value)
        assert (await durable(counting("2", lambda old: old * 2), store).resume_async("r")).output == "6"

    done(main())


class Notes(PipelineContext):
    count: int = 0
    notes: list[str] = []


class Numbers(PipelineContext):
    count: int = 0
    notes: list[int] = []


class Counts(PipelineContext):
    count: list[int] = []
    notes: list[str] = []


class More(Notes):
    owner: str


@step
async def note(text: str, context: Notes) -> str:
    context.notes = [*context.notes, text]
    return text


def noting_in(kind: Any) -> Any:
    @step(name="note")
    async def other(text: str, context: kind) -> str:
        return text

    return other >> keep


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Numbers, "of what 'note' changed: .*; keep the field as it was"),
        (Counts, "the context that it began with is no 'Counts' any more .*; keep its fields"),
    ],
)
def test_a_context_whose_values_do_not_fit_its_class_any_more_is_refused(other: Any, said: str) -> None:
    async def main() -> None:
        store, noting = MemoryStore(), note >> keep
        assert await crashed(noting, "CANARY", store, 2, context=Notes)
        with pytest.raises(IncompatiblePipeline, match=said) as refused:
            await durable(noting_in(other), store, context=other).resume_async("r")
        assert "CANARY" not in str(refused.value)
        assert (await durable(noting, store, context=Notes).resume_async("r")).output == "CANARY"

    done(main())


def test_a_run_that_has_ended_is_told_though_its_context_has_another_class_now() -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(note, store, context=Notes).run_async("a", run_id="r")
        result = await durable(note, store, context=More).resume_async("r")
        assert result.output == "a" and result.context.notes == ["a"]

    done(main())


def asking(answer: Any, version: str | None = None) -> Any:
    @step(version=version, migrations=version and {"": None})
    async def ask(text: str) -> answer | PauseForHumanInput[answer]:
        return PauseForHumanInput(text, answer)

    @step
    async def show(given: Any) -> str:
        return str(given)

    return ask >> show


def test_an_answer_that_the_type_of_the_step_does_not_take_any_more_is_refused() -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(asking(int), store).run_async("How many?", run_id="r")
        with suppress(FlujoError):
            await durable(asking(int), Dying(store, 1)).resume_async("r", 5)
        assert [one.kind for one in await store.mail("r")] == ["answer"]
        with pytest.raises(IncompatiblePipeline, match="the answer that 'ask' was given is no 'int'") as refused:
            await durable(asking(Annotated[int, Field(ge=100)], version="2"), store).resume_async("r")
        assert "5" not in str(refused.value)
        assert (await durable(asking(int), store).resume_async("r")).output == "5"

    done(main())


def test_a_question_whose_type_is_gone_takes_no_answer() -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(asking(int), store).run_async("How many?", run_id="r")
        with pytest.raises(IncompatiblePipeline, match="'ask' has asked for 'int', which its output"):
            await durable(asking(str, version="2"), store).resume_async("r", "five")

    done(main())


class Gate(Plugin):
    name = "gate"

    async def pre_step_execution(self, call: StepCall, /) -> PauseForHumanInput[bool] | None:
        return None if call.answer else PauseForHumanInput("May it?", bool)


def test_a_question_of_a_plugin_that_is_gone_is_refused() -> None:
    async def main() -> None:
        store = MemoryStore()
        gated: Any = Flujo(keep, plugins=[Gate()], settings=ALONE, store=store)
        await gated.run_async("a", run_id="r")
        without: Any = Flujo(keep, settings=ALONE, store=store)
        with pytest.raises(IncompatiblePipeline, match="plugin 'gate', whose hook has asked at 'keep', is not there"):
            await without.resume_async("r", True)
        assert (await gated.resume_async("r")).output == "a"

    done(main())


def test_events_of_steps_that_are_gone_are_told_with_plain_values() -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(counting(), store).run_async("abc", run_id="r")
        told = await durable(keep, store).events_async("r", after=2)
        completed = [event for event in told if isinstance(event, StepCompleted)]
        assert [(event.address, event.output) for event in completed] == [("count", 3), ("show", "3")]

    done(main())
