"""Tool calls that wait for people or others: questions, answers, and the agent goes on. Models are simulated."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from agent_calls import Attempt, Log, Script, calling
from pydantic_ai import Agent, ApprovalRequired, CallDeferred, DeferredToolRequests, NativeOutput, RunContext
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset

from flujo_core import PipelineContext, Step
from flujo_core.model.agent import AgentReply, Deferred, ToolApproval, ToolQuestion, output_type
from flujo_core.model.value import adapter


class Till(PipelineContext):
    paid: int = 0
    looked: int = 0


@dataclass
class Deps:
    till: Till


def till_agent(script: Script) -> tuple[Agent[Deps, Any], list[str]]:
    """An agent with a tool to approve, one that asks for itself, one that others answer, and a plain one."""
    agent: Agent[Deps, Any] = Agent(script.model, deps_type=Deps, output_type=[str, DeferredToolRequests])
    called: list[str] = []

    @agent.tool(requires_approval=True)
    async def pay(ctx: RunContext[Deps], amount: int) -> str:
        called.append(f"pay {amount}")
        ctx.deps.till.paid += amount
        return f"paid {amount}"

    @agent.tool
    async def pay_much(ctx: RunContext[Deps], amount: int) -> str:
        if amount > 100 and not ctx.tool_call_approved:
            raise ApprovalRequired
        called.append(f"pay_much {amount}")
        ctx.deps.till.paid += amount
        return f"paid {amount}"

    @agent.tool
    async def ask_bank(ctx: RunContext[Deps], account: str) -> str:
        raise CallDeferred

    @agent.tool
    async def look(ctx: RunContext[Deps]) -> int:
        called.append("look")
        ctx.deps.till.looked += 1
        return ctx.deps.till.paid

    return agent, called


class Case:
    """An agent that waits, and what it makes of answers."""

    def __init__(self, *responses: ModelResponse | str, log: Log | None = None) -> None:
        self.script = Script(*responses)
        self.agent, self.called = till_agent(self.script)
        self.log = log
        self.changed: dict[str, Any] = {}

    def go(self, context: Till | None = None, **more: Any) -> Any:
        attempt = Attempt(self.agent, self.log, context or Till(**self.changed), Deps)
        got = asyncio.run(attempt.run(**more))
        self.changed |= attempt.changed
        return got

    def asked(self) -> Deferred:
        got = self.go()
        assert isinstance(got, Deferred)
        return got

    def answered(self, waiting: Deferred, **answers: Any) -> Any:
        got = self.go(prompt=None, resumed=waiting, answers=answers)
        return got.output if isinstance(got, AgentReply) else got

    def returned(self) -> dict[str, Any]:
        """What the model was told of its tool calls."""
        messages = self.script.requests[-1]
        parts = [part for message in messages for part in message.parts]
        return {part.tool_call_id: part.content for part in parts if isinstance(part, ToolReturnPart)}


def test_an_approval_is_a_question_that_names_the_tool_and_its_arguments() -> None:
    (question,) = Case(calling(("pay", {"amount": 5})), "Done").asked().questions
    assert isinstance(question, ToolQuestion)
    assert (question.call_id, question.tool, question.approval) == ("c1", "pay", True)
    assert "'pay'" in question.text
    assert '"amount": 5' in question.text
    validate = adapter(question.answer_type).validator.validate_python
    assert validate(True) is True
    assert validate({"approved": False, "message": "no"}) == ToolApproval(approved=False, message="no")
    assert question.json_schema["anyOf"][0] == {"type": "boolean"}


@pytest.mark.parametrize("yes", [True, ToolApproval(approved=True), {"approved": True}])
@pytest.mark.parametrize("with_log", [True, False])
def test_an_approved_call_is_made(yes: Any, with_log: bool) -> None:
    case = Case(calling(("pay", {"amount": 5})), "Done", log=Log(Till) if with_log else None)
    waiting = case.asked()
    assert case.called == []
    assert case.answered(waiting, c1=yes) == "Done"
    assert case.called == ["pay 5"]
    assert case.changed == {"paid": 5}
    assert case.returned() == {"c1": "paid 5"}


@pytest.mark.parametrize(
    ("no", "told"),
    [
        (False, "The tool call was denied."),
        (ToolApproval(approved=False), "The tool call was denied."),
        (ToolApproval(approved=False, message="Too late."), "Too late."),
        ({"approved": False, "message": "Too late."}, "Too late."),
    ],
)
def test_a_refused_call_is_not_made(no: Any, told: str) -> None:
    case = Case(calling(("pay", {"amount": 5})), "Done")
    assert case.answered(case.asked(), c1=no) == "Done"
    assert case.called == []
    assert case.returned() == {"c1": told}
    assert case.changed == {}


def test_a_call_is_approved_with_other_arguments() -> None:
    case = Case(calling(("pay", {"amount": 5})), "Done", log=Log(Till))
    assert case.answered(case.asked(), c1=ToolApproval(approved=True, override_args={"amount": 3})) == "Done"
    assert case.called == ["pay 3"]
    assert case.changed == {"paid": 3}


def test_a_tool_that_asks_for_itself() -> None:
    case = Case(calling(("pay_much", {"amount": 500}), ("pay_much", {"amount": 7})), "Done", log=Log(Till))
    waiting = case.asked()
    assert [one.call_id for one in waiting.questions] == ["c1"]
    assert case.changed == {"paid": 7}, "the call that needs no approval is made at once"
    assert case.answered(waiting, c1=True) == "Done"
    assert case.called == ["pay_much 7", "pay_much 500"]
    assert case.changed == {"paid": 507}


def test_the_result_of_another_is_given_to_the_model() -> None:
    case = Case(calling(("ask_bank", {"account": "A1"})), "Done", log=Log(Till))
    waiting = case.asked()
    (question,) = waiting.questions
    assert not question.approval
    assert question.json_schema == {}
    assert question.answer_type is Any
    assert case.answered(waiting, c1={"balance": 12.5, "open": [None]}) == "Done"
    assert case.returned() == {"c1": {"balance": 12.5, "open": [None]}}


def test_tools_that_are_not_there() -> None:
    outside: ExternalToolset[Any] = ExternalToolset(
        [ToolDefinition(name="far", parameters_json_schema={"type": "object"})]
    )
    script = Script(calling(("far", {"a": 1})), "Done")
    agent: Agent[None, Any] = Agent(script.model, output_type=[str, DeferredToolRequests], toolsets=[outside])
    waiting = asyncio.run(Attempt(agent, Log()).run())
    assert isinstance(waiting, Deferred)
    got = asyncio.run(Attempt(agent, Log()).run(None, resumed=waiting, answers={"c1": None}))
    assert isinstance(got, AgentReply)
    assert got.output == "Done"


def test_several_questions_at_once_and_a_plain_call_beside_them() -> None:
    log = Log(Till)
    case = Case(
        calling(("pay", {"amount": 5}), ("look", {}), ("ask_bank", {"account": "A1"}), ("pay", {"amount": 6})),
        "Done",
        log=log,
    )
    waiting = case.asked()
    assert sorted(one.call_id for one in waiting.questions) == ["c1", "c3", "c4"]
    assert case.called == ["look"]
    assert case.changed == {"looked": 1}
    assert list(log.kept) == ["model.1", "tool.c2"]
    assert case.answered(waiting, c1=True, c3="rich", c4=False) == "Done"
    assert case.called == ["look", "pay 5"]
    assert case.returned() == {"c1": "paid 5", "c2": 0, "c3": "rich", "c4": "The tool call was denied."}
    assert list(log.kept) == ["model.1", "tool.c2", "tool.c1", "model.2"]


def test_it_may_wait_again_and_a_crash_after_an_answer_repeats_nothing() -> None:
    log = Log(Till)
    case = Case(calling(("pay", {"amount": 5})), calling(("pay", {"amount": 6}), first=2), "Done", log=log)
    first = case.asked()
    second = case.answered(first, c1=True)
    assert isinstance(second, Deferred)
    assert [one.call_id for one in second.questions] == ["c2"]
    assert second.usage is not None
    assert second.usage.requests == 2
    asked = len(case.script.requests)
    again = case.go(Till(), prompt=None, resumed=first, answers={"c1": True})
    assert (len(case.script.requests), case.called) == (asked, ["pay 5"])
    assert again.usage == second.usage
    assert again.questions == second.questions
    got = case.go(prompt=None, resumed=second, answers={"c2": True})
    assert got.output == "Done"
    assert got.usage.requests == 3
    assert got.usage.tool_calls == 2
    assert case.changed == {"paid": 11}
    assert list(log.kept) == ["model.1", "tool.c1", "model.2", "tool.c2", "model.3"]


def test_a_crash_before_the_question_asks_the_same() -> None:
    case = Case(calling(("look", {}), ("pay", {"amount": 5})), "Done", log=Log(Till))
    one, other = case.asked(), case.go(Till())
    assert one.questions == other.questions
    assert one.usage == other.usage
    assert len(case.script.requests) == 1
    assert case.called == ["look"]


def test_while_it_streams() -> None:
    told: list[str] = []

    async def on_piece(text: str) -> None:
        told.append(text)

    case = Case(calling(("pay", {"amount": 5})), "Done now", log=Log(Till))
    waiting = case.go(on_piece=on_piece)
    assert isinstance(waiting, Deferred)
    got = case.go(prompt=None, resumed=waiting, answers={"c1": True}, on_piece=on_piece)
    assert got.output == "Done now "
    assert told == ["Done ", "now "]


def test_the_history_is_that_of_one_conversation() -> None:
    case = Case(calling(("pay", {"amount": 5})), "Done")
    case.answered(case.asked(), c1=True)
    prompts = [p for m in case.script.requests[-1] for p in m.parts if isinstance(p, UserPromptPart)]
    assert [one.content for one in prompts] == ["Go"]


@pytest.mark.parametrize(
    ("declared", "gives"),
    [
        ([str, DeferredToolRequests], str),
        (str | DeferredToolRequests, str),
        ([int, str, DeferredToolRequests], int | str),
        ([NativeOutput[Any]([int, str]), DeferredToolRequests], int | str),
        (int | str | DeferredToolRequests, int | str),
    ],
)
def test_requests_are_no_output_of_the_step(declared: Any, gives: Any) -> None:
    assert output_type(declared) == gives
    assert Step.agent("a", Agent(TestModel(), output_type=declared)).gives == gives


def test_the_model_may_answer_without_a_tool() -> None:
    case = Case(ModelResponse([TextPart("Hi"), ToolCallPart("look", {}, "c1")]), "Done")
    assert case.go().output == "Done"
