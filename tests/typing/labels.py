"""Labels and what nodes say of them, as type checkers see it."""

from __future__ import annotations

from typing import Annotated, assert_type

from flujo_core import (
    Flujo,
    HTTPAgent,
    HumanInput,
    Label,
    LabelledPath,
    Labels,
    Leak,
    Node,
    Pipeline,
    Step,
    labels_of,
    step,
)

Phi = Annotated[str, Label("phi")]


@step(labels=Labels(adds=["phi"]))
async def read(key: str) -> Phi:
    return key


@step(labels=Labels(clears=["phi"]))
async def mask(text: str) -> str:
    return text


post = Step.agent("post", HTTPAgent("https://agents.example/ask", egress="the clinic"), labels=Labels(egress=False))
approve = HumanInput("approve", bool, ask="{{ input }}?", labels=Labels(clears=("phi",)))
both: Pipeline[str, str] = (read >> mask).named("both").policy(labels=Labels(clears=["phi"]))
whole: Node[str, bool] = read >> mask.policy(labels=Labels(egress=True)) >> approve

assert_type(Flujo(both).leaks, tuple[Leak, ...])
assert_type(labels_of(Phi), tuple[LabelledPath, ...])
