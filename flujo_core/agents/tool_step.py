"""The step that a tool is: it takes what a model would give, as one value; where it must, it asks a person first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any

from flujo_core.errors import NotApproved
from flujo_core.model.action import FunctionAction
from flujo_core.model.clearance import Labels
from flujo_core.model.flow import Node
from flujo_core.model.human import HumanInput
from flujo_core.model.inputs import From, NamedInput
from flujo_core.model.policy import NO_POLICY, Policies
from flujo_core.model.signature import Signature
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.step import Step
from flujo_core.model.tool import ToolSignature

GIVEN, APPROVE, CALL = "given", "approve", "call"
"""The steps of a tool that needs approval: its input, the question, and the call."""

VALUE = "flujo_value"
"""The parameter that gets what the model would give, behind the question."""

KEPT = ("__module__", "__name__", "__qualname__", "__doc__")
"""What a function is known by."""


class ToolBody(NamedTuple):
    """What of a tool its step is made from.

    Attributes:
        name: The tool's name.
        function: Its function.
        signature: What that takes and gives.
        timeout: How long a call may take, in seconds, or None.
        egress: Whether the data leaves for somewhere else, or the name of where to.
    """

    name: str
    function: Callable[..., Any]
    signature: ToolSignature
    timeout: float | None
    egress: bool | str = False


def step_of(tool: ToolBody) -> Step[Any, Any]:
    """The step that calls a tool."""
    spread = tool.signature.arguments
    made = _adapted(tool, lambda given: spread(*given) if given else {})
    return _calling(tool, tool.name, FunctionAction(made, tool.name, {}, tool.signature.step))


def approved_step_of(tool: ToolBody) -> Node[Any, Any]:
    """The pipeline that asks whether a tool may be called, and calls it when the answer is yes."""
    own, spread, name = tool.signature.step, tool.signature.arguments, tool.name

    def arguments(given: tuple[Any, ...], value: Any = None) -> dict[str, Any]:
        if given != (True,):
            raise NotApproved(f"the tool '{name}' was not called: somebody said no")
        return spread(value) if own.has_input else {}

    takes_answer = own._replace(takes=bool, has_input=True)
    if not own.has_input:
        ask = HumanInput(APPROVE, bool, ask=f"May the tool '{name}' be called?")
        behind = FunctionAction(_adapted(tool, arguments), CALL, {}, takes_answer)
        return (ask >> _calling(tool, CALL, behind)).named(name)
    ask = HumanInput(APPROVE, bool, ask=f"May the tool '{name}' be called with this?\n\n{{{{ input }}}}")
    takes_both = takes_answer._replace(named={VALUE: NamedInput(VALUE, From(GIVEN), own.takes, False)})
    behind = FunctionAction(_adapted(tool, arguments, named=True), CALL, {}, takes_both)
    return (_given(own.takes) >> ask >> _calling(tool, CALL, behind)).named(name)


def _adapted(tool: ToolBody, arguments: Callable[..., Mapping[str, Any]], *, named: bool = False) -> Callable[..., Any]:
    """The tool's function, as a step calls one; it is known by what the tool's function is."""
    function = tool.function

    async def call_async(*given: Any, **more: Any) -> Any:
        values = (more.pop(VALUE),) if named else ()
        return await function(**arguments(given, *values), **more)

    def call_sync(*given: Any, **more: Any) -> Any:
        values = (more.pop(VALUE),) if named else ()
        return function(**arguments(given, *values), **more)

    made = call_async if tool.signature.step.is_async else call_sync
    return update_wrapper(made, function, assigned=KEPT, updated=())


def _calling(tool: ToolBody, name: str, action: FunctionAction) -> Step[Any, Any]:
    labels = Labels(egress=tool.name if tool.egress is True else tool.egress) if tool.egress else None
    return Step(name, action, NO_POLICY.changed(Policies(timeout=tool.timeout, labels=labels)))


def _given(hint: Any) -> Step[Any, Any]:
    signature = Signature(hint, hint, True, True, None, {}, None, {})
    return Step(GIVEN, FunctionAction(_same, GIVEN, {}, signature))


async def _same(value: Any) -> Any:
    return value
