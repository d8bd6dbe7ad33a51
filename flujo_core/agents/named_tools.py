"""Tools that an agent has by the names that plugins registered them by, until a ``Flujo`` is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from pydantic_ai import RunContext
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool

from flujo_core.errors import DefinitionError


class NamedTools(AbstractToolset[Any]):
    """Names of tools. A ``Flujo`` looks them up when it is made, and gives the agent the tools when it asks it.

    Args:
        names: The names: ``acme/find_order``.

    Attributes:
        flujo_names: The same.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.flujo_names = tuple(names)

    @property
    def id(self) -> None:
        """None: there is nothing in it that another process would have to find."""
        return None

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """None: a ``Flujo`` adds the tools itself.

        Raises:
            DefinitionError: The agent is asked without one, and would lack them.
        """
        if "flujo" not in (ctx.metadata or {}):
            raise DefinitionError(
                f"the agent has the tool '{self.flujo_names[0]}' by its name, which only a Flujo looks up; ask the"
                " agent in a 'Step.agent', or give it the tool itself"
            )
        return {}

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> NoReturn:
        raise NotImplementedError("it has no tools")
