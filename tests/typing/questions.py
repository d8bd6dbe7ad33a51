"""Programs that ask people, as users write them; checked by mypy and pyright, not run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any, assert_type

from pydantic import BaseModel

from flujo_core import (
    AlreadyAnswered,
    Branch,
    Default,
    Flujo,
    From,
    HumanInput,
    Loop,
    Map,
    Node,
    Parallel,
    PauseForHumanInput,
    Pipeline,
    PipelineResult,
    PipelineState,
    Plugin,
    Question,
    Retry,
    RunCancelled,
    Step,
    StepCall,
    StepResult,
    Stop,
    step,
)
from flujo_core.testing import harness


class Draft(BaseModel):
    text: str


class Approval(BaseModel):
    ok: bool
    note: str = ""


@step
async def write(topic: str) -> Draft:
    return Draft(text=topic)


# ---- 6. approval
approve = HumanInput(
    "approve",
    Approval,
    ask="Send this?\n\n{{ input.text }}",
    approvers=["ops"],
    expires_in=timedelta(days=2),
    on_expiry=Default(Approval(ok=False)),
)


@step
async def send(approval: Approval, *, draft: Annotated[Draft, From(write)]) -> str:
    return draft.text


whole = write >> approve >> send
assert_type(approve, HumanInput[Any, Approval])
assert_type(whole, Pipeline[str, str])
assert_type(approve >> send, Pipeline[Any, str])
assert_type(HumanInput("ok", bool, ask="ok?", quorum=2, on_expiry="stop"), HumanInput[Any, bool])
assert_type(approve.named("release", was="approve"), HumanInput[Any, Approval])
assert_type(approve.policy(version="2"), HumanInput[Any, Approval])
any_step: Step[Draft, Approval] = approve
any_node: Node[str, Approval] = approve

flujo = Flujo(whole, store="sqlite:///runs.db")


async def start(path: str) -> dict[str, object]:
    result = await flujo.run_async(path)
    assert_type(result.questions, tuple[Question, ...])
    return {"run": result.run_id, "questions": [(q.token, q.text) for q in result.questions]}


async def reply(run_id: str, token: str, approval: Approval, user: str) -> str:
    try:
        result = await flujo.resume_async(run_id, approval, token=token, approver=user)
    except AlreadyAnswered:
        return "somebody was faster"
    except RunCancelled as error:
        assert_type(error.result, PipelineResult[Any, Any])
        return error.result.status
    if result.status == "completed":
        assert_type(result.output, str)
    return result.status


async def without_a_store() -> None:
    result = await Flujo(whole).run_async("x")
    assert_type(result.state, PipelineState)
    assert_type((await Flujo(whole).resume_async(result.state, {"ok": True})).output, str)


# ---- in other nodes
assert_type(Parallel("p", a=approve, b=approve.named("other")), Parallel[Any, dict[str, Approval]])
assert_type(Map("each", approve), Map[Iterable[Any], list[Approval]])
route = Branch("route", on=str.isdigit).case(True, approve).default(HumanInput("ok", bool, ask="ok?"))
assert_type(route, Branch[str, Approval | bool, bool])
assert_type(Loop("again", HumanInput("more", str, ask="more?"), until=str.isdigit, max_iterations=3), Loop[Any, str])


# ---- steps that pause
@step
async def ask(draft: Draft) -> Approval | PauseForHumanInput[Approval]:
    return PauseForHumanInput("Send this?", Approval) if draft.text else Approval(ok=True)


@step(retry=Retry(attempts=2))
def in_a_thread(draft: Draft) -> Approval | PauseForHumanInput[Approval] | Stop:
    return Stop("nothing to send")


@step
async def choose() -> bool | PauseForHumanInput[bool]:
    return PauseForHumanInput("ok?", bool, expires_in=timedelta(hours=1), on_expiry=Default(False))


assert_type(ask, Step[Draft, Approval])
assert_type(in_a_thread, Step[Draft, Approval])
assert_type(choose, Step[object, bool])
assert_type(write >> ask >> send, Pipeline[str, str])


# ---- hooks that pause
class FourEyes(Plugin):
    name = "four-eyes"

    async def pre_step_execution(self, call: StepCall, /) -> PauseForHumanInput[bool] | Stop | None:
        if call.answer is None:
            return PauseForHumanInput("go on?", bool, approvers=["ops"])
        return None if call.answer else Stop("refused")

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> PauseForHumanInput[Approval] | None:
        return None


# ---- 13. testing
async def test_approval() -> None:
    async with harness(whole) as h:
        h.answer(approve, Approval(ok=True))
        h.answer(approve, Approval(ok=True), Approval(ok=False), approver="ops")
        result = await h.run_async("a")
        assert result.output == "a" and h.output_of(approve).ok
