"""A pipeline as a tool: a call of it is a run of its own, whose id follows from the call, so that it is made once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from time import time
from typing import Any, Protocol

from flujo_core.agents.tool import FlujoTool, ToolOptions, checked
from flujo_core.errors import DefinitionError, RunBusy
from flujo_core.model.flow import everything
from flujo_core.model.human import HumanInput
from flujo_core.model.signature import RunInfo, Signature
from flujo_core.model.tool import Runs, ToolSignature

KEY = 16
"""How many digits of a call's idempotency key stand in the id of its run."""

NAP = 1.0
"""The most seconds between two looks at a run that somebody else goes on with."""


class Result(Protocol):
    """What a run came to."""

    @property
    def output(self) -> Any: ...


class Run(Protocol):
    """Runs a pipeline: ``Flujo.run_async``."""

    def __call__(self, input: Any, /, *, run_id: str | None, tenant: str | None) -> Awaitable[Result]: ...


def pipeline_tool(runs: Runs, takes: Any, run: Run, options: ToolOptions) -> FlujoTool[Any, Any]:
    """The tool that runs a pipeline.

    Args:
        runs: The pipeline.
        takes: The type of its input; ``object`` or None for one that takes none.
        run: Runs it.
        options: What else there is to say of the tool.

    Raises:
        DefinitionError: A person is asked in it, or the options cannot be.
    """
    asks = next((address for address, node in everything(runs.pipeline) if isinstance(node, HumanInput)), None)
    if asks is not None:
        raise DefinitionError(
            f"tool '{options.get('name')}' would run a pipeline that asks a person at '{asks}', and nobody could answer"
            " while its agent waits; let the tool require approval, or ask before or behind the agent's step"
        )
    has_input = takes not in (object, None, type(None))
    parameter = inspect.Parameter("input", inspect.Parameter.KEYWORD_ONLY, annotation=takes)
    gives = runs.pipeline.gives
    step = Signature(takes if has_input else object, gives, has_input, True, None, {"info": "info"}, None, {})
    signature = ToolSignature((parameter,) if has_input else (), step, frozenset({"info"}), runs=runs)
    return FlujoTool(function=_running(run), signature=signature, **checked(dict(options)))


def _running(run: Run) -> Callable[..., Any]:
    async def run_pipeline(input: Any = None, *, info: RunInfo | None = None) -> Any:
        if info is None:
            return (await run(input, run_id=None, tenant=None)).output
        run_id = f"{info.run_id}~{info.idempotency_key[:KEY]}"
        while True:
            try:
                return (await run(input, run_id=run_id, tenant=info.tenant)).output
            except RunBusy as busy:  # the call before this one crashed, and somebody has taken its run over
                await asyncio.sleep(min(max(busy.until - time(), 0.05), NAP))

    return run_pipeline
