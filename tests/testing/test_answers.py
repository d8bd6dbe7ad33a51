"""Answers in a harness: by step, in order, for several approvers, with a store and without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flujo_core import (
    Branch,
    DefinitionError,
    HumanInput,
    InvalidValue,
    Loop,
    Map,
    Parallel,
    PauseForHumanInput,
    Plugin,
    StepCall,
    Stop,
    step,
)
from flujo_core.testing import harness


@step
async def up(text: str) -> str:
    return text.upper()


@step
async def ask(text: str) -> bool | PauseForHumanInput[bool]:
    return text == "SURE" or PauseForHumanInput(f"{text}?", bool)


@step
async def tell(ok: bool) -> str:
    return "yes" if ok else "no"


ok = HumanInput("ok", bool, ask="{{ input }}?")


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


@pytest.fixture(params=["none", "memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return {"none": None, "memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/runs.db"}[request.param]


@pytest.mark.parametrize("asker", [ok, ask], ids=["HumanInput", "PauseForHumanInput"])
def test_an_answer_is_the_output_of_what_asks(store: str | None, asker: Any) -> None:
    async def test() -> None:
        async with harness(up >> asker >> tell, store=store) as h:
            h.answer(asker, True)
            result = await h.run_async("a")
            assert result.output == "yes" and h.output_of(asker) is True and h.result is result
            assert (await h.run_async("b")).output == "yes"  # and again for the next run

    run(test)


def test_a_run_that_nobody_was_told_to_answer_is_paused(store: str | None) -> None:
    async def test() -> None:
        async with harness(up >> ok >> tell >> ask, store=store) as h:
            first = await h.run_async("a")
            assert [one.address for one in first.questions] == ["ok"] and first.questions[0].text == "A?"
            h.answer(ok, False)
            second = await h.run_async("a")
            assert (second.status, [one.text for one in second.questions]) == ("paused", ["no?"])

    run(test)


def test_answers_are_given_in_order_and_the_last_one_from_then_on(store: str | None) -> None:
    async def test() -> None:
        async with harness(Map("all", ok >> tell), store=store) as h:
            h.answer(ok, True, False)
            assert (await h.run_async(["a", "b", "c"])).output == ["yes", "no", "no"]

    run(test)


def test_a_loop_asks_until_it_has_its_answer(store: str | None) -> None:
    async def test() -> None:
        more = HumanInput("more", str, ask="more than {{ input }}?")
        async with harness(Loop("again", more, until=str.isdigit, max_iterations=5), store=store) as h:
            h.answer(more, "a", "b", "3")
            assert (await h.run_async("x")).output == "3" and list(h.outputs_of(more)) == ["a", "b", "3"]

    run(test)


def test_branches_ask_side_by_side(store: str | None) -> None:
    async def test() -> None:
        both = Parallel("both", a=ok >> tell, b=up >> ask)
        async with harness(both, store=store) as h:
            h.answer(ask, False)
            paused = await h.run_async("a")
            assert [one.address for one in paused.questions] == ["both[a]/ok"]
            h.answer(ok, True)
            assert (await h.run_async("a")).output == {"a": "yes", "b": False}

    run(test)


def test_a_step_in_several_places_is_answered_in_each(store: str | None) -> None:
    async def test() -> None:
        route = Branch("route", on=str.isupper).case(True, ok).default(up >> ok)
        async with harness(route >> tell, store=store) as h:
            h.answer(ok, True)
            assert (await h.run_async("a")).output == (await h.run_async("A")).output == "yes"

    run(test)


def test_a_quorum_is_answered_by_different_approvers(store: str | None) -> None:
    async def test() -> None:
        for approvers in ([], ["ops", "cfo", "legal"]):
            pay = HumanInput("pay", bool, ask="?", quorum=2, approvers=approvers)
            async with harness(pay, store=store) as h:
                h.answer(pay, True)
                assert (await h.run_async("a")).output is True

    run(test)


def test_an_approver_may_be_named() -> None:
    async def test() -> None:
        pay = HumanInput("pay", bool, ask="?", approvers=["ops", "cfo"])
        async with harness(pay) as h:
            h.answer(pay, True, approver="cfo")
            result = await h.run_async("a")
            assert [getattr(one, "approver", None) for one in result.events if one.kind == "question_answered"] == [
                "cfo"
            ]

    run(test)


def test_what_a_hook_asks_is_answered_by_its_step() -> None:
    class FourEyes(Plugin):
        name = "four-eyes"

        async def pre_step_execution(self, call: StepCall, /) -> PauseForHumanInput[bool] | Stop | None:
            if call.answer is None:
                return PauseForHumanInput("go on?", bool)
            return None if call.answer else Stop("no")

    async def test() -> None:
        async with harness(tell, plugins=[FourEyes()]) as h:
            answer: Any = True
            h.answer(tell, answer)
            assert (await h.run_async(False)).output == "no"

    run(test)


def test_an_answer_that_does_not_fit_is_refused(store: str | None) -> None:
    async def test() -> None:
        async with harness(up >> ok, store=store) as h:
            wrong: Any = "perhaps"
            h.answer(ok, wrong)
            with pytest.raises(InvalidValue, match="'bool'"):
                await h.run_async("a")

    run(test)


def test_what_is_not_in_the_pipeline_cannot_be_answered() -> None:
    async def test() -> None:
        async with harness(up >> ok) as h:
            with pytest.raises(DefinitionError, match="the pipeline has no step 'ask'"):
                h.answer(ask, True)

    run(test)
