"""The pydantic-ai tool that a ``FlujoTool`` becomes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic_ai import RunContext, Tool

from flujo_core.agents.tool_call import injected

if TYPE_CHECKING:
    from flujo_core.agents.tool import FlujoTool

CONTEXT = "flujo_run_context"
"""The parameter that gets pydantic-ai's context of the call; no function has one of that name."""


class RunTool(Tool[Any]):
    """A pydantic-ai tool that gives a function what it takes of a run.

    Args:
        tool: The tool.

    Attributes:
        flujo_signature: What the function takes; pipelines are checked by it.
    """

    def __init__(self, tool: FlujoTool[Any, Any]) -> None:
        documented = tool.description == inspect.getdoc(tool.function)
        super().__init__(
            _called(tool),
            takes_ctx=True,
            name=tool.name,
            description=None if documented else tool.description,  # a docstring may describe the parameters too
            requires_approval=tool.requires_approval,
            timeout=tool.timeout,
            sequential=tool.sequential,
            metadata={"egress": tool.egress} if tool.egress else None,
        )
        self.flujo_signature = tool.signature


def _called(tool: FlujoTool[Any, Any]) -> Callable[..., Any]:
    """The function as pydantic-ai calls and reads it."""
    function, own = tool.function, tool.signature.step

    async def call_async(ctx: RunContext[Any], /, **arguments: Any) -> Any:
        return await function(**arguments, **injected(tool, ctx.tool_call_id))

    def call_sync(ctx: RunContext[Any], /, **arguments: Any) -> Any:
        return function(**arguments, **injected(tool, ctx.tool_call_id))

    made: Callable[..., Any] = call_async if own.is_async else call_sync
    first = inspect.Parameter(CONTEXT, inspect.Parameter.POSITIONAL_ONLY, annotation=RunContext[Any])
    read = inspect.Signature([first, *tool.signature.parameters], return_annotation=own.gives)
    made.__dict__["__signature__"] = read
    made.__annotations__ = {one.name: one.annotation for one in read.parameters.values()} | {"return": own.gives}
    made.__name__ = made.__qualname__ = tool.name
    made.__doc__ = inspect.getdoc(function)
    return made
