"""What a name stands for after the fallback of the node that it is in has stood in for that node."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from flujo_core import Branch, Flujo, From, Loop, Node, Parallel, PipelineContext, step


class State(PipelineContext):
    number: int = 0


@step
async def same(value: int) -> int:
    return value


@step
async def fail(value: int) -> int:
    raise ValueError("CANARY")


@step
async def set_it(value: int, context: State) -> int:
    context.number += value
    return value


@step
async def stand_in(value: int) -> int:
    return 7


@step
async def stand_in_for_both(value: int) -> dict[str, int]:
    return {}


nodes: dict[str, tuple[Node[int, Any], str]] = {
    "pipeline": ((same >> fail).named("node").policy(fallback=stand_in), "node/same"),
    "loop": (Loop("node", same, until=lambda _: False, max_iterations=2).policy(fallback=stand_in), "node/same"),
    "branch": (Branch("node", on=lambda _: 1).case(1, same >> fail).policy(fallback=stand_in), "node[1]/same"),
    "join": (Parallel("node", a=set_it, b=set_it).policy(fallback=stand_in_for_both), "node[a]/set_it"),
    "parallel": (Parallel("node", a=same, b=fail).policy(fallback=stand_in_for_both), "node[a]/same"),
}


@pytest.mark.parametrize("kind", nodes)
@pytest.mark.parametrize("store", [None, "memory://"])
def test_what_ran_in_a_node_that_failed_has_no_name_where_its_fallback_stood_in(kind: str, store: str | None) -> None:
    node, name = nodes[kind]

    @step
    async def take(*, found: Annotated[int, From(name)] = -1) -> int:
        return found

    assert Flujo(node >> take, context=State, store=store).run(1).output == -1
