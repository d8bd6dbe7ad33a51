"""FlujoTool: one function that agents call as a tool, and that pipelines run as a step."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypedDict, overload

from typing_extensions import TypeVar, Unpack

from flujo_core.agents.tool_step import ToolBody, approved_step_of, step_of
from flujo_core.errors import DefinitionError, SignatureError
from flujo_core.model.flow import Node, checked_name
from flujo_core.model.slotted import frozen
from flujo_core.model.tool import ToolSignature, read_tool

if TYPE_CHECKING:
    from pydantic_ai import Tool

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

CALLABLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The names that providers of models take for tools."""


class ToolOptions(TypedDict, total=False):
    """What a tool is made with beside its function.

    Attributes:
        name: What models call it, and the name of its step; the function's name, unless given.
        description: What models are told of it; the function's docstring, unless given.
        requires_approval: Whether a person must approve each call.
        egress: Whether the data leaves for somewhere else, or a label that says where to.
        timeout: How long a call may take, in seconds.
        sequential: Whether no other call of the agent runs beside one of it.
    """

    name: str
    description: str
    requires_approval: bool
    egress: bool | str
    timeout: float
    sequential: bool


@frozen(eq=False, repr=False)
class FlujoTool(Generic[In, Out]):
    """One function, as a tool of agents and as a step of pipelines. Made by ``@tool``.

    Attributes:
        name: What models call it, and the name of its step.
        description: What models are told of it.
        function: The function.
        signature: What it takes and gives.
        requires_approval: Whether a person must approve each call.
        egress: Whether the data leaves for somewhere else, or a label that says where to; kept for checks.
        timeout: How long a call may take, in seconds, or None.
        sequential: Whether no other call of the agent runs beside one of it.
    """

    name: str
    description: str
    function: Callable[..., Any]
    signature: ToolSignature
    requires_approval: bool = False
    egress: bool | str = False
    timeout: float | None = None
    sequential: bool = False

    @property
    def parameters(self) -> Any:
        """The type of the step's input: of one parameter its type, of several a Pydantic model of them."""
        return self.signature.step.takes

    def as_tool(self) -> Tool[Any]:
        """The tool for a pydantic-ai agent: ``Agent(..., tools=[lookup.as_tool()])``.

        Where a step asks the agent, each call is journaled if there is a store, and is given its own ``RunInfo``, the
        run's resources, and its own draft of the context. A call that takes longer than the timeout is cut off, and the
        model is told so. An agent that is asked elsewhere can call tools that take none of these, or have defaults for
        them.
        """
        from flujo_core.agents.tool_adapter import RunTool  # noqa: PLC0415 - imports pydantic_ai

        return RunTool(self)

    def as_step(self) -> Node[In, Out]:
        """The step: it takes what a model would give, as one value, and gives what the function gives.

        Of a tool that needs approval it is a pipeline of the tool's name: it asks a person, calls the function when the
        answer is yes, and fails with ``NotApproved`` when it is no.
        """
        body = ToolBody(self.name, self.function, self.signature, self.timeout, self.egress)
        return approved_step_of(body) if self.requires_approval else step_of(body)

    def __repr__(self) -> str:
        return f"<FlujoTool '{self.name}'>"


class _ToolDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[[I], Coroutine[Any, Any, O]], /) -> FlujoTool[I, O]: ...
    @overload
    def __call__(self, fn: Callable[[I], O], /) -> FlujoTool[I, O]: ...
    @overload
    def __call__(self, fn: Callable[..., Coroutine[Any, Any, O]], /) -> FlujoTool[Any, O]: ...
    @overload
    def __call__(self, fn: Callable[..., O], /) -> FlujoTool[Any, O]: ...


@overload
def tool(fn: Callable[[I], Coroutine[Any, Any, O]], /) -> FlujoTool[I, O]: ...
@overload
def tool(fn: Callable[[I], O], /) -> FlujoTool[I, O]: ...
@overload
def tool(fn: Callable[..., Coroutine[Any, Any, O]], /) -> FlujoTool[Any, O]: ...
@overload
def tool(fn: Callable[..., O], /) -> FlujoTool[Any, O]: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> _ToolDecorator: ...
def tool(fn: Any = None, /, **options: Unpack[ToolOptions]) -> Any:
    """Makes a tool from a function: ``@tool`` or ``@tool(requires_approval=True, timeout=10)``.

    What a model gives are the function's parameters. Beside these it may take the context, ``Resources`` and
    ``RunInfo``, told by their types, as a step does; with None as a default where the tool is called outside of a run
    too. An async function runs on the event loop, any other in a worker thread.

    Args:
        fn: The function.
        options: What else there is to say of the tool; see ``ToolOptions``.

    Raises:
        SignatureError: The function cannot be a tool and a step.
        DefinitionError: The name is none that models can call, or the timeout is not above 0.
    """
    if fn is not None:
        return _made(fn, options, sys._getframe(1).f_locals)
    return lambda function: _made(function, options, sys._getframe(1).f_locals)


def _made(function: Any, options: ToolOptions, scope: Mapping[str, Any]) -> FlujoTool[Any, Any]:
    if not callable(function):
        raise SignatureError(f"'@tool' makes a tool from a function, not from {type(function).__name__!r}")
    name = options.get("name", getattr(function, "__name__", type(function).__name__))
    described = {"description": inspect.getdoc(function) or "", **options, "name": name}
    return FlujoTool(function=function, signature=read_tool(function, name, scope), **checked(described))


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a tool, if they can be.

    Raises:
        DefinitionError: The name is none that models can call, or the timeout is not above 0.
    """
    name, timeout = checked_name(options["name"]), options.get("timeout")
    if not CALLABLE.fullmatch(name):
        raise DefinitionError(
            f"tool '{name}' has a name that models cannot call; give 'name=', up to 64 letters, digits, '_' and '-'"
        )
    if timeout is not None and timeout <= 0:
        raise DefinitionError(f"tool '{name}' has a timeout of {timeout:g} s; give one above 0")
    return options
