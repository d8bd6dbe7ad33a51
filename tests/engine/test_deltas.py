"""What a context's changes weigh in the journal: deltas, wherever the step is that made them."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from flujo_core import Branch, Flujo, Loop, Map, MemoryStore, Merge, Parallel, PipelineContext, Retry, step

TIMES = 1000
TEXT = "x" * 100


class Log(PipelineContext):
    lines: Annotated[list[str], Merge.append] = []
    table: Annotated[dict[str, str], Merge.union] = {}


@step
async def append(value: int, context: Log) -> int:
    context.lines.append(TEXT)
    return value + 1


@step
async def put(value: int, context: Log) -> int:
    context.table[f"{value}"] = TEXT
    return value + 1


def patches(node: Any) -> int:
    """Bytes of patches in the journal of a run that changes the context ``TIMES`` times."""
    store = MemoryStore()
    result = Flujo(node, context=Log, store=store).run(0, run_id="r")
    assert len(result.context.lines) + len(result.context.table) == TIMES
    kinds = ("step_completed", "node_completed")
    return sum(len(one.payload.split(b"\n")[2]) for one in store._journals["r"] if one.kind in kinds)


def looped(body: Any) -> Loop[int, int]:
    return Loop("loop", body, until=lambda value: value >= TIMES, max_iterations=TIMES)


@pytest.mark.parametrize("body", [append, put], ids=["list", "dict"])
def test_a_thousand_changes_in_a_loop_write_what_they_add(body: Any) -> None:
    assert patches(looped(body)) < 1.5 * TIMES * len(TEXT)


def test_so_they_do_in_a_branch_in_the_loop() -> None:
    route = Branch("route", on=lambda value: value % 2 == 0).case(True, append).case(False, append.named("other"))
    assert patches(looped(route)) < 1.5 * TIMES * len(TEXT)


@pytest.mark.parametrize(
    "node",
    [
        Parallel("fan", left=looped(append)),
        looped(append).policy(retry=Retry(attempts=2)),
        (looped(append) >> step(name="end")(lambda value: value)).named("both").policy(retry=Retry(attempts=2)),
        Map("each", append, over=lambda value: range(TIMES)),
    ],
    ids=["parallel", "attempt", "pipeline", "map"],
)
def test_a_join_writes_what_was_added_once_more_and_not_the_whole(node: Any) -> None:
    assert patches(node) < 3 * TIMES * len(TEXT)
