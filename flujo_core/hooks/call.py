"""What hooks are given: frozen records, which a hook may answer with a changed copy of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from flujo_core.model.run import PipelineResult

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


UNCHANGED: Any = object()
"""Stands for a field that stays as it is."""


class RunStart(NamedTuple):
    """A run that is about to begin.

    Attributes:
        run_id: The run's id.
        tenant: Whose run it is, or None.
        pipeline: The pipeline's name.
        initial_input: Its input.
        context: The context that it begins with. What a hook sets in it is part of the run's start.
        resumed: Whether the run began earlier and goes on now.
    """

    run_id: str
    tenant: str | None
    pipeline: str
    initial_input: Any
    context: PipelineContext
    resumed: bool

    def replace(self, *, initial_input: Any = UNCHANGED, context: PipelineContext | None = None) -> Self:
        """A copy with another input or context: ``run.replace(initial_input=...)``; both are validated again."""
        return self._replace(
            initial_input=self.initial_input if initial_input is UNCHANGED else initial_input,
            context=context or self.context,
        )

    def __repr__(self) -> str:
        return f"<RunStart '{self.run_id}'>"


class RunEnd(NamedTuple):
    """A run that is about to end.

    Attributes:
        pipeline_result: What it came to; ``pipeline_result.replace(output=...)`` has another output.
        context: The context at the end.
    """

    pipeline_result: PipelineResult[Any, Any]
    context: PipelineContext

    def replace(self, *, pipeline_result: PipelineResult[Any, Any]) -> Self:
        """A copy with another result: ``end.replace(pipeline_result=end.pipeline_result.replace(output=...))``."""
        return self._replace(pipeline_result=pipeline_result)

    def __repr__(self) -> str:
        return f"<RunEnd '{self.pipeline_result.run_id}'>"


class StepCall(NamedTuple):
    """A step that is about to run, or has run.

    Attributes:
        run_id: The run's id.
        tenant: Whose run it is, or None.
        address: The step's address.
        step_name: The step's name.
        step_input: Its input.
        context: The step's draft of the context: what a hook sets in it is committed with the step, or not at all.
        model: The name of the agent's model, or None for a step without an agent.
    """

    run_id: str
    tenant: str | None
    address: str
    step_name: str
    step_input: Any
    context: PipelineContext
    model: str | None

    def replace(self, *, step_input: Any) -> Self:
        """A copy with another input, which is validated against what the step takes."""
        return self._replace(step_input=step_input)

    def __repr__(self) -> str:
        return f"<StepCall '{self.address}'>"
