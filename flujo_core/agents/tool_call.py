"""What a tool is given of the run that its agent is asked in: told by which call of which agent the code runs in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from flujo_core.errors import DefinitionError
from flujo_core.model.signature import Resources, RunInfo

if TYPE_CHECKING:
    from flujo_core.agents.tool import FlujoTool
    from flujo_core.model.context import PipelineContext


class ToolSurroundings(NamedTuple):
    """What the tools of one attempt of an agent step are given.

    Attributes:
        info: Makes the info of a call, from its name as it stands in the journal: ``tool.<call_id>``.
        resources: The run's resources.
        context: Gives the draft of the call that the code runs in; None where no tool takes the context.
    """

    info: Callable[[str], RunInfo]
    resources: Resources | None
    context: Callable[[], PipelineContext] | None


class _UnderWay(NamedTuple):
    call_id: str
    name: str
    surroundings: ToolSurroundings


_HERE: ContextVar[_UnderWay | None] = ContextVar("flujo_tool_call", default=None)
"""The tool call that the code runs in."""


@contextmanager
def under_way(call_id: str, name: str, surroundings: ToolSurroundings | None) -> Iterator[None]:
    """A tool is called.

    Args:
        call_id: The id that the model gave the call.
        name: What the call is known as in the journal.
        surroundings: What it may be given; None: it is called where nothing is known of a run.
    """
    token = _HERE.set(None if surroundings is None else _UnderWay(call_id, name, surroundings))
    try:
        yield
    finally:
        _HERE.reset(token)


def injected(tool: FlujoTool[Any, Any], call_id: str | None) -> dict[str, Any]:
    """What a tool's function is given beside its arguments, by parameter.

    Args:
        tool: The tool.
        call_id: The id of the call.

    Raises:
        DefinitionError: It takes something that is not there, and has no default for it.
    """
    here = _HERE.get()
    if here is not None and here.call_id != call_id:  # of an agent that a tool has asked by itself
        here = None
    found = {}
    for kind, parameter in tool.signature.step.injected.items():
        if here is not None and (kind != "context" or here.surroundings.context is not None):
            found[parameter] = _given(kind, here, tool.timeout)
        elif kind not in tool.signature.optional:
            raise DefinitionError(
                f"tool '{tool.name}' takes the {kind} of a run as '{parameter}', and is called where there is none; ask"
                " its agent in a 'Step.agent' and give the agent the tool when it is made, or give the parameter a"
                " default"
            )
    return found


def _given(kind: str, here: _UnderWay, timeout: float | None) -> Any:
    if kind == "resources":
        return here.surroundings.resources
    if kind == "context":
        assert here.surroundings.context is not None
        return here.surroundings.context()
    info = here.surroundings.info(here.name)
    ends = [one for one in (info.deadline, None if timeout is None else time() + timeout) if one is not None]
    return info._replace(deadline=min(ends, default=None))
