"""What a pydantic-ai agent used, in our words and in its own."""

from __future__ import annotations

from decimal import Decimal

from pydantic_ai.usage import RunUsage

from flujo_core.model.agent import Usage


def usage_of(used: RunUsage) -> Usage:
    """What pydantic-ai has counted."""
    return Usage(used.requests, used.input_tokens, used.output_tokens, used.tool_calls, used.cost)


def between(before: Usage, after: Usage) -> Usage:
    """What was used from one count to a later one."""
    return Usage(
        after.requests - before.requests,
        after.input_tokens - before.input_tokens,
        after.output_tokens - before.output_tokens,
        after.tool_calls - before.tool_calls,
        None if after.cost_usd is None else after.cost_usd - (before.cost_usd or Decimal()),
    )


def together(one: Usage, other: Usage) -> Usage:
    """The sum as pydantic-ai counts it: of costs, those that are known."""
    costs = [cost for cost in (one.cost_usd, other.cost_usd) if cost is not None]
    return (
        one._replace(cost_usd=Decimal())
        .plus(other._replace(cost_usd=Decimal()))
        ._replace(cost_usd=sum(costs, Decimal()) if costs else None)
    )


def counted(usage: Usage) -> RunUsage:
    """The usage as pydantic-ai counts it."""
    made = RunUsage(
        requests=usage.requests,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        tool_calls=usage.tool_calls,
    )
    if usage.cost_usd is not None:
        made.cost = usage.cost_usd
    return made
