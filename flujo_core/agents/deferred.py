"""Tool calls that an agent cannot make by itself: they become questions, and the answers go back to the agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ToolCallPart
from pydantic_core import to_json

from flujo_core.model.agent import Deferred, ToolApproval, ToolQuestion, Usage


def deferred(requests: DeferredToolRequests, messages: bytes, usage: Usage) -> Deferred:
    """What an agent waits for.

    Args:
        requests: What it gave instead of an output.
        messages: All its messages so far, as JSON.
        usage: All that it used so far.
    """
    return Deferred(tuple(_questions(requests)), messages, usage)


def history(resumed: Deferred) -> list[ModelMessage]:
    """The agent's messages up to where it waits."""
    return ModelMessagesTypeAdapter.validate_json(resumed.messages)


def results(resumed: Deferred, answers: Mapping[str, Any]) -> DeferredToolResults:
    """The answers, as the agent takes them."""
    found = DeferredToolResults()
    for question in resumed.questions:
        answer = answers[question.call_id]
        if question.approval:
            found.approvals[question.call_id] = _approval(answer)
        else:
            found.calls[question.call_id] = answer
    return found


def _questions(requests: DeferredToolRequests) -> Iterator[ToolQuestion]:
    for call in requests.approvals:
        text = f"May the agent call the tool '{call.tool_name}' with these arguments?\n\n{_arguments(call)}"
        yield ToolQuestion(call.tool_call_id, call.tool_name, text, True, APPROVAL_SCHEMA)
    for call in requests.calls:
        text = f"What is the result of the tool '{call.tool_name}' for these arguments?\n\n{_arguments(call)}"
        yield ToolQuestion(call.tool_call_id, call.tool_name, text, False, {})


APPROVAL_SCHEMA = TypeAdapter[Any](bool | ToolApproval).json_schema()


def _arguments(call: ToolCallPart) -> str:
    return to_json(call.args_as_dict(), indent=2).decode()


def _approval(answer: bool | ToolApproval | Mapping[str, Any]) -> ToolApproved | ToolDenied:
    if isinstance(answer, Mapping):
        answer = ToolApproval(**answer)
    if isinstance(answer, bool):
        answer = ToolApproval(approved=answer)
    if answer.approved:
        return ToolApproved(override_args=answer.override_args)
    return ToolDenied() if answer.message is None else ToolDenied(answer.message)
