"""Agents made piece by piece, and in one call."""

from __future__ import annotations

from typing import Any, Generic, cast

from pydantic_ai import Agent, DeferredToolRequests, Tool
from pydantic_ai.capabilities import AgentCapability
from pydantic_ai.models import Model
from pydantic_ai.output import OutputSpec
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolFuncEither
from typing_extensions import TypeVar, Unpack

from flujo_core.agents.named_tools import NamedTools
from flujo_core.agents.tool import FlujoTool
from flujo_core.errors import DefinitionError

Out = TypeVar("Out", covariant=True)
O = TypeVar("O")  # noqa: E741 - the output that replaces another


class AgentBuilder(Generic[Out]):
    """Says what an agent is, piece by piece; ``build()`` makes it.

    Each method gives a new builder and leaves the one that it is called on as it is, so that several agents can begin
    alike::

        careful = AgentBuilder().with_model("openai:gpt-5").with_settings(temperature=0.0)
        sorter = careful.with_prompt("Say where the mail belongs.").with_output(Queue).build()
    """

    __slots__ = (
        "_capabilities",
        "_model",
        "_name",
        "_named_tools",
        "_output",
        "_prompt",
        "_retries",
        "_settings",
        "_tools",
    )

    def __init__(self: AgentBuilder[str]) -> None:
        self._model: Model | str | None = None
        self._name: str | None = None
        self._prompt: str | None = None
        self._output: Any = str
        self._settings: ModelSettings = {}
        self._retries: int | None = None
        self._tools: tuple[Tool[Any], ...] = ()
        self._named_tools: tuple[str, ...] = ()
        self._capabilities: tuple[AgentCapability[Any], ...] = ()

    def with_model(self, model: Model | str, /) -> AgentBuilder[Out]:
        """With a model, or the name of one; a name is looked up when the agent runs."""
        return self._with(_model=model)

    def with_name(self, name: str, /) -> AgentBuilder[Out]:
        """With a name, which traces show."""
        return self._with(_name=name)

    def with_prompt(self, prompt: str, /) -> AgentBuilder[Out]:
        """With instructions, which come before what the agent is asked."""
        return self._with(_prompt=prompt)

    def with_output(self, output: OutputSpec[O], /) -> AgentBuilder[O]:
        """With a type of output, or what else pydantic-ai takes for it."""
        return cast("AgentBuilder[O]", self._with(_output=output))

    def with_tool(
        self, tool: FlujoTool[Any, Any] | Tool[Any] | ToolFuncEither[Any, ...] | str, /, *, approval: bool = False
    ) -> AgentBuilder[Out]:
        """With one more tool.

        Args:
            tool: A function that the model may call, a ``FlujoTool``, a pydantic-ai ``Tool``; or the name that a
                plugin registered a tool by, which is looked up when a ``Flujo`` is made.
            approval: Whether a person must approve each call; ask for that where the tool is a function.

        Raises:
            DefinitionError: There is a tool of that name; or ``approval`` is asked for a tool that says so itself.
        """
        if isinstance(tool, str):
            if approval or tool in self._named_tools:
                what = "says itself if it needs approval" if approval else "is there already"
                raise DefinitionError(f"the tool that is registered as '{tool}' {what}; name it once, and no more")
            return self._with(_named_tools=(*self._named_tools, tool))
        if isinstance(tool, FlujoTool):
            tool = tool.as_tool()
        if isinstance(tool, Tool):
            if approval:
                raise DefinitionError(f"tool '{tool.name}' says itself if it needs approval: 'requires_approval=True'")
            added = tool
        else:
            added = Tool(tool, requires_approval=approval)
        if any(one.name == added.name for one in self._tools):
            raise DefinitionError(f"the agent has a tool '{added.name}' already; give this one another name")
        return self._with(_tools=(*self._tools, added))

    def with_settings(self, **settings: Unpack[ModelSettings]) -> AgentBuilder[Out]:
        """With settings of the model, such as ``temperature``; those that it had and that are not named stay."""
        return self._with(_settings={**self._settings, **settings})

    def with_retries(self, retries: int, /) -> AgentBuilder[Out]:
        """With how often the model is asked again where its output or a tool's arguments are not valid.

        Raises:
            DefinitionError: It is below 0.
        """
        if retries < 0:
            raise DefinitionError(f"an agent tries again 0 times or more, not {retries}")
        return self._with(_retries=retries)

    def with_capability(self, capability: AgentCapability[Any], /) -> AgentBuilder[Out]:
        """With one more capability of pydantic-ai."""
        return self._with(_capabilities=(*self._capabilities, capability))

    def build(self) -> Agent[None, Out]:
        """The agent. Its model is looked up when it runs; without one, it must be given one then."""
        asks = bool(self._named_tools) or any(tool.requires_approval for tool in self._tools)
        made: Agent[Any, Any] = Agent(
            self._model,
            name=self._name,
            instructions=self._prompt,
            output_type=[self._output, DeferredToolRequests] if asks else self._output,
            model_settings=self._settings or None,
            retries=self._retries,
            tools=self._tools,
            toolsets=[NamedTools(self._named_tools)] if self._named_tools else None,
            capabilities=self._capabilities or None,
            defer_model_check=True,
        )
        return made

    def __repr__(self) -> str:
        model = self._model if isinstance(self._model, str) else type(self._model).__name__
        return f"<AgentBuilder model={model} tools={[*(tool.name for tool in self._tools), *self._named_tools]}>"

    def _with(self, **changes: Any) -> AgentBuilder[Out]:
        made = object.__new__(type(self))
        for name in self.__slots__:
            setattr(made, name, changes.get(name, getattr(self, name)))
        return made


def make_agent_async(model: Model | str, system_prompt: str, output_type: OutputSpec[O]) -> Agent[None, O]:
    """An agent, in one call: the short form of ``AgentBuilder``. It is made at once, and runs in async code.

    Args:
        model: A model, or the name of one, which is looked up when the agent runs.
        system_prompt: Instructions, which come before what the agent is asked.
        output_type: The type of its output, or what else pydantic-ai takes for it.
    """
    return AgentBuilder().with_model(model).with_prompt(system_prompt).with_output(output_type).build()
