"""refine: drafts, reviews, and drafts made with them; and review_solve_validate, which is one with criteria."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from crash_kit import Counted, Dying, crashed, done, durable
from pydantic import BaseModel

from flujo_core import (
    DefinitionError,
    EdgeError,
    Flujo,
    HumanInput,
    LoopExhausted,
    MemoryStore,
    Node,
    PipelineContext,
    Round,
    RunFailed,
    RunInfo,
    SQLiteStore,
    refine,
    step,
)
from flujo_core.model.fingerprint import fingerprint


class Remarks(BaseModel):
    ok: bool
    rank: float = 0.0
    remark: str = ""


def is_ok(remarks: Remarks) -> bool:
    return remarks.ok


def rank_of(remarks: Remarks) -> float:
    return remarks.rank


def writer(ran: Counted | None = None) -> Node[Round[str, str, Remarks], str]:
    @step
    async def write(now: Round[str, str, Remarks], info: RunInfo) -> str:
        if ran is not None:
            ran.note(info)
        return now.task if now.review is None else f"{now.draft}, {now.review.remark}"

    return write


def reviewer(*ranks: float, ran: Counted | None = None) -> Node[str, Remarks]:
    """A step that approves the draft with two commas, and ranks drafts by how many commas they have."""

    @step
    async def critique(draft: str, info: RunInfo) -> Remarks:
        if ran is not None:
            ran.note(info)
        commas = draft.count(",")
        return Remarks(ok=commas == 2, rank=ranks[commas] if ranks else 0, remark=f"remark {commas + 1}")

    return critique


def test_it_writes_again_with_the_review_until_that_is_good() -> None:
    result = Flujo(refine("better", writer(), reviewer(), until=is_ok, max_rounds=5)).run("leaves")
    assert result.output == "leaves, remark 1, remark 2"
    assert [one.address for one in result.steps] == [
        "better/task",
        *(f"better/rounds[{n}]/{name}" for n in (1, 2, 3) for name in ("brief", "write", "critique")),
        "better/draft",
    ]


def test_a_first_draft_that_is_good_is_given() -> None:
    assert Flujo(refine("better", writer(), reviewer(), until=is_ok, max_rounds=1)).run("a, b, c").output == "a, b, c"


def test_it_fails_where_no_draft_was_good() -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(refine("better", writer(), reviewer(), until=is_ok, max_rounds=2)).run("leaves")
    assert isinstance(failed.value.__cause__, LoopExhausted)
    assert str(failed.value.result.error) == (
        "step 'better/rounds' failed: 'until' was not satisfied after 2 iterations"
    )


@pytest.mark.parametrize(
    ("ranks", "given"),
    [
        ((3, 2), "leaves"),
        ((2, 3), "leaves, remark 1"),
        ((3, 3), "leaves, remark 1"),
        ((), "leaves, remark 1"),
    ],
    ids=["the first is best", "the last is best", "of equals the last", "nothing says what is best"],
)
def test_it_gives_the_best_draft_or_the_last(ranks: tuple[float, ...], given: str) -> None:
    best = rank_of if ranks else None
    node = refine("r", writer(), reviewer(*ranks), until=is_ok, max_rounds=2, on_exhausted="return", best=best)
    assert Flujo(node).run("leaves").output == given


def test_the_best_is_kept_over_several_rounds_and_the_writer_sees_it() -> None:
    seen: list[tuple[str | None, float | None]] = []

    @step
    async def write(now: Round[str, str, Remarks]) -> str:
        seen.append((now.best, now.rank))
        return now.task if now.draft is None else f"{now.draft},"

    node = refine(
        "r", write, reviewer(1, 5, 2, 3), until=lambda _: False, max_rounds=4, on_exhausted="return", best=rank_of
    )
    assert Flujo(node).run("a").output == "a,"
    assert seen == [(None, None), ("a", 1), ("a,", 5), ("a,", 5)]


def test_until_may_take_the_context() -> None:
    class Mood(PipelineContext):
        lenient: bool = True

    def enough(remarks: Remarks, context: Mood) -> bool:
        return context.lenient

    node = refine("better", writer(), reviewer(), until=enough, max_rounds=1)
    assert Flujo(node, context=Mood).run("leaves").output == "leaves"


def test_writer_and_reviewer_may_be_pipelines_without_names() -> None:
    @step
    async def trim(text: str) -> str:
        return text.strip()

    @step
    async def copy(text: str) -> str:
        return text

    node = refine("better", writer() >> trim, copy >> reviewer(), until=is_ok, max_rounds=5)
    assert Flujo(node).run(" leaves").output == "leaves, remark 1, remark 2"


def test_two_uses_in_one_pipeline_do_not_clash() -> None:
    first = refine("first", writer(), reviewer(), until=is_ok, max_rounds=5)
    second = refine("second", writer(), reviewer(), until=lambda _: True, max_rounds=1)
    assert Flujo(first >> second).run("leaves").output == "leaves, remark 1, remark 2"


def test_a_draft_may_be_of_a_class_that_json_does_not_know() -> None:
    class Plain:
        pass

    @step
    async def make(now: Round[str, Plain, bool]) -> Plain:
        return Plain()

    @step
    async def look(draft: Plain) -> bool:
        return True

    assert isinstance(Flujo(refine("r", make, look, until=bool, max_rounds=1)).run("x").output, Plain)


def test_a_round_of_unnamed_types_is_a_round_of_anything() -> None:
    @step
    async def write(now: Round) -> str:  # type: ignore[type-arg]
        return str(now.task)

    node: Any = refine("r", write, reviewer(), until=is_ok, max_rounds=1, on_exhausted="return")
    assert Flujo(node).run("leaves").output == "leaves"


@step
async def takes_text(text: str) -> str:
    return text


@step
async def takes_number(number: int) -> Remarks:
    return Remarks(ok=True)


def until_number(number: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: refine("r", takes_text, reviewer(), until=is_ok, max_rounds=1),  # type: ignore[arg-type]
            EdgeError,
            "'takes_text' of refine 'r' takes 'str'; what it is given is a 'Round': the task, and the last draft with"
            " its review",
        ),
        (
            lambda: refine("r", writer(), takes_number, until=is_ok, max_rounds=1),  # type: ignore[arg-type]
            EdgeError,
            "step 'write' gives 'str' and the next step, 'takes_number', takes 'int'",
        ),
        (
            lambda: refine("r", writer(), reviewer(), until=until_number, max_rounds=1),
            EdgeError,
            "'until' of loop 'rounds' takes 'int', and the body gives 'Remarks'",
        ),
        (
            lambda: refine("r", len, reviewer(), until=is_ok, max_rounds=1),  # type: ignore[arg-type]
            DefinitionError,
            "'write' of refine 'r' is a step or a pipeline, not 'builtin_function_or_method'; make it one with '@step'",
        ),
        (
            lambda: refine("r", writer(), reviewer(), until=is_ok, max_rounds=0),
            DefinitionError,
            "'max_iterations' of loop 'rounds' is a whole number from 1, so that the loop has an exit; it is 0",
        ),
        (
            lambda: refine("r", writer(), reviewer(), until=is_ok, max_rounds=1, best=rank_of),
            DefinitionError,
            "'best' of refine 'r' is of use with 'on_exhausted=\"return\"' only; give both",
        ),
    ],
)
def test_what_cannot_be_is_found_when_it_is_built(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        make()
    assert str(error.value).startswith(message)


def test_a_writer_of_other_drafts_than_its_round_says_is_found_when_the_whole_is_given() -> None:
    @step
    async def write(now: Round[str, int, Remarks]) -> str:
        return now.task

    node: Any = refine("r", write, reviewer(), until=is_ok, max_rounds=1)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="takes 'draft' from 'write', which gives 'str'"):
        Flujo(node)


def test_the_edges_around_it_are_checked() -> None:
    node = refine("better", writer(), reviewer(), until=is_ok, max_rounds=2)
    assert (node.takes, node.gives) == (str, str)
    with pytest.raises(EdgeError):
        node >> takes_number  # type: ignore[operator]


def test_a_person_may_review_and_the_run_waits_for_it(tmp_path: Path) -> None:
    def make() -> Flujo[Any, Any, Any]:
        review = HumanInput("approve", Remarks, ask="Is this good?\n\n{{ input }}")
        return Flujo(refine("r", writer(), review, until=is_ok, max_rounds=3), store=SQLiteStore(tmp_path / "runs.db"))

    async def main() -> None:
        async with make() as flujo:
            paused = await flujo.run_async("leaves", run_id="r")
        assert [one.address for one in paused.questions] == ["r/rounds[1]/approve"]
        async with make() as flujo:
            paused = await flujo.resume_async("r", Remarks(ok=False, remark="in autumn"))
            assert "leaves, in autumn" in paused.questions[0].text
            assert (await flujo.resume_async("r", Remarks(ok=True))).output == "leaves, in autumn"

    asyncio.run(main())


def test_two_uses_survive_a_crash_at_every_write(tmp_path: Path) -> None:
    """No draft that was committed is written again, and the rounds go on where they were, each in its own use."""

    def make(ran: Counted) -> Node[str, str]:
        ranked = reviewer(1, 3, 2, ran=ran)
        first = refine("a", writer(ran), ranked, until=is_ok, max_rounds=2, on_exhausted="return", best=rank_of)
        return first >> refine("b", writer(ran), reviewer(ran=ran), until=is_ok, max_rounds=2)

    async def main() -> None:
        count = Dying()
        await durable(make(Counted()), count).run_async("leaves", run_id="r")
        for at in range(1, count.writes + 1):
            kept = SQLiteStore(tmp_path / f"{at}.db") if at % 5 == 0 else MemoryStore()
            ran = Counted()
            await crashed(make(ran), "leaves", kept, at)
            over = {one.address for one in await kept.read("r") if one.kind == "step_completed"}
            before = dict(ran)
            result = await durable(make(ran), kept).run_async("leaves", run_id="r")
            assert result.output == "leaves, remark 1, remark 2"
            assert all(ran[address] == before[address] for address in over if address in before)
            assert {one.rpartition("/")[0] for one in ran} == {
                "a/rounds[1]",
                "a/rounds[2]",
                "b/rounds[1]",
                "b/rounds[2]",
            }

    done(main())


def test_what_is_best_is_part_of_what_a_step_is() -> None:
    """So that a paused run is told of a changed ranking; the same one, made anew, is the same."""

    def of(best: Any) -> str:
        made = refine("r", writer(), reviewer(), until=is_ok, max_rounds=2, on_exhausted="return", best=best)
        return fingerprint(made)

    assert of(rank_of) == of(rank_of)
    assert len({of(rank_of), of(lambda remarks: -remarks.rank), of(None)}) == 3
