"""best_of: candidates side by side, of which the best wins, and one that fails is out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from crash_kit import Counted, Dying, crashed, done, durable

from flujo_core import (
    Checklist,
    ChecklistItem,
    DefinitionError,
    EdgeError,
    Flujo,
    MemoryStore,
    Node,
    RunFailed,
    RunInfo,
    RunRefused,
    SQLiteStore,
    StepCall,
    Veto,
    best_of,
    scoring,
    step,
)

LONG = scoring("score", checklist=Checklist(ChecklistItem("long", lambda text: min(len(text) / 10, 1))))


def number_of(info: RunInfo) -> int:
    """Which candidate a step is part of."""
    return int(info.address.partition("candidates[")[2].partition("]")[0])


def writer(*, failing: tuple[int, ...] = (), ran: Counted | None = None) -> Node[str, str]:
    """A step that writes the topic as often as its candidate's number says, and fails in some of them."""

    @step
    async def write(topic: str, info: RunInfo) -> str:
        if ran is not None:
            ran.note(info)
        if number_of(info) in failing:
            raise ValueError
        return topic * number_of(info)

    return write


def test_the_best_candidate_wins() -> None:
    result = Flujo(best_of("best", 3, writer(), score=LONG)).run("ab")
    assert result.output == "ababab"
    assert {one.address for one in result.steps} == {
        *(f"best/candidates[{n}]/candidate/{name}" for n in (1, 2, 3) for name in ("write", "score/checks", "entry")),
        "best/best",
    }


def test_of_equal_scores_the_first_wins() -> None:
    same = scoring("score", checklist=Checklist(ChecklistItem("there", bool)))
    assert Flujo(best_of("best", 12, writer(), score=same)).run("a").output == "a"


def test_a_candidate_that_fails_is_out_and_the_others_go_on() -> None:
    result = Flujo(best_of("best", 3, writer(failing=(1, 3)), score=LONG)).run("ab")
    assert result.output == "abab"
    assert [one.address for one in result.steps if one.status == "failed"] == [
        "best/candidates[1]/candidate/write",
        "best/candidates[3]/candidate/write",
    ]


def test_a_candidate_whose_scoring_fails_is_out() -> None:
    def odd(text: str) -> float:
        return len(text)  # above 1 from the second candidate on

    score = scoring("score", checklist=Checklist(ChecklistItem("odd", odd)))
    assert Flujo(best_of("best", 3, writer(), score=score)).run("a").output == "a"


def test_when_all_candidates_fail_the_node_does() -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(best_of("best", 2, writer(failing=(1, 2)), score=LONG)).run("ab")
    assert str(failed.value.result.error) == (
        "step 'best/best' failed: all 2 candidates failed; the steps of the run's result say how"
    )


def test_a_veto_in_a_candidate_refuses_the_run() -> None:
    async def refuse(call: StepCall) -> None:
        if "candidates[2]" in call.address:
            raise Veto("not this one")

    with pytest.raises(RunRefused):
        Flujo(best_of("best", 2, writer(), score=LONG), pre_step_execution=refuse).run("ab")


def test_a_pipeline_without_a_name_can_be_a_candidate() -> None:
    @step
    async def mark(text: str) -> str:
        return text + "!"

    assert Flujo(best_of("best", 2, writer() >> mark, score=LONG)).run("ab").output == "abab!"


def test_two_uses_in_one_pipeline_do_not_clash() -> None:
    two = best_of("first", 2, writer(), score=LONG) >> best_of("second", 2, writer(), score=LONG)
    assert Flujo(two).run("a").output == "aaaa"


def test_no_more_candidates_run_at_once_than_it_is_told() -> None:
    running = [0, 0]

    @step
    async def write(topic: str, info: RunInfo) -> str:
        running[0] += 1
        running[1] = max(running)
        running[0] -= 1
        return topic

    Flujo(best_of("best", 4, write, score=LONG, max_concurrency=1)).run("a")
    assert running == [0, 1]


@pytest.mark.parametrize("n", [1, 0, -1, 2.0, True, "3"])
def test_a_number_of_candidates_that_cannot_be_is_refused(n: Any) -> None:
    with pytest.raises(DefinitionError) as error:
        best_of("best", n, writer(), score=LONG)
    assert str(error.value) == f"'n' of best_of 'best' is a whole number from 2, not {n!r}"


def test_a_score_that_takes_something_else_is_refused() -> None:
    @step
    async def count(text: str) -> int:
        return len(text)

    @step
    async def length(text: str) -> str:
        return text

    with pytest.raises(EdgeError):
        best_of("best", 2, count, score=length >> LONG)  # type: ignore[arg-type, operator]
    with pytest.raises(DefinitionError, match="'score' of best_of 'best' is a step or a pipeline"):
        best_of("best", 2, count, score=len)  # type: ignore[arg-type]


def test_the_edges_around_it_are_checked() -> None:
    node = best_of("best", 2, writer(), score=LONG)
    assert (node.takes, node.gives) == (str, str)


def test_it_survives_a_crash_at_every_write(tmp_path: Path) -> None:
    """No candidate that was committed is made again, and the same one wins."""

    async def main() -> None:
        count = Dying()
        await durable(best_of("best", 2, writer(failing=(1,)), score=LONG), count).run_async("ab", run_id="r")
        assert count.writes > 5
        for at in range(1, count.writes + 1):
            kept = SQLiteStore(tmp_path / f"{at}.db") if at % 5 == 0 else MemoryStore()
            ran = Counted()
            node = best_of("best", 2, writer(failing=(1,), ran=ran), score=LONG)
            await crashed(node, "ab", kept, at)
            over = {one.address for one in await kept.read("r") if one.kind == "step_completed"}
            before = dict(ran)
            again = best_of("best", 2, writer(failing=(1,), ran=ran), score=LONG)
            result = await durable(again, kept).run_async("ab", run_id="r")
            assert result.output == "abab"
            assert all(ran[address] == before[address] for address in over if address in before)

    done(main())
