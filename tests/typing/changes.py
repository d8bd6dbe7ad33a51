"""Steps that change their pipeline, as type checkers see them: the outcome is no part of their type."""

from __future__ import annotations

from typing import assert_type

from pydantic import BaseModel
from pydantic_ai import Agent

from flujo_core import PipelineMutation, Reconfigurable, Reconfigure, Step, step


class Plan(BaseModel):
    steps: list[str]


@step
async def plan(goal: str) -> Plan | PipelineMutation[Plan]:
    return PipelineMutation(Plan(steps=["research"]), insert_after={"plan": ["acme/research"]})


@step
def tune(plan: Plan) -> str | Reconfigure[str]:
    return Reconfigure(plan.steps[0], target="write", settings={"temperature": 0.5})


@step
async def either(text: str) -> str | PipelineMutation[str] | Reconfigure[str]:
    return PipelineMutation(text, replace={"write": {"use": "acme/better"}}, remove=["late"])


write = Step.agent("write", Agent("test", defer_model_check=True), allow_reconfigure=Reconfigurable(instructions=True))

assert_type(plan, Step[str, Plan])
assert_type(tune, Step[Plan, str])
assert_type(either, Step[str, str])
assert_type(write, Step[str, str])
