"""The agent that decides on a loan. Its model is simulated: a rule that stands for one, so that it needs no key."""

import re

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

LIMIT = 1000


class Verdict(BaseModel):
    """What the underwriter decides."""

    granted: bool
    reason: str


def underwriter() -> Agent[None, Verdict]:
    """Makes the agent."""
    return Agent(FunctionModel(_simulated, model_name="simulated-underwriter"), output_type=Verdict)


def _simulated(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    prompts = [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    asked = max((int(number) for number in re.findall(r"\d+", str(prompts))), default=0)
    verdict = {"granted": asked <= LIMIT, "reason": f"the limit is {LIMIT}"}
    return ModelResponse([ToolCallPart(info.output_tools[0].name, verdict)])
