"""What hooks are given: frozen records, which a hook may answer with a changed copy of."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from flujo_core.config import Policy, Profile
from flujo_core.model.agent import AgentKind
from flujo_core.model.draft import Drafting, drafted
from flujo_core.model.result import PipelineResult
from flujo_core.model.run import StepResult
from flujo_core.model.slotted import NamedTuple

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


NOTHING: Mapping[str, tuple[str, ...]] = {}

UNCHANGED: Any = object()
"""Stands for a field that stays as it is."""


class PluginInfo(NamedTuple):
    """A plugin of a ``Flujo``.

    Attributes:
        name: Its name.
        distribution: What brought it; None if it was given to ``Flujo``.
        version: That distribution's version, or None.
        policy: What an error in it means: ``closed`` (the run ends), or ``open``.
        hooks: The names of the hooks that it has, in alphabetical order.
        clears: The labels that nothing carries any more which an agent sends to its model.
    """

    name: str
    distribution: str | None
    version: str | None
    policy: Policy
    hooks: tuple[str, ...]
    clears: tuple[str, ...] = ()


class AppInfo(NamedTuple):
    """The ``Flujo`` that starts up.

    Attributes:
        version: The version of flujo-core.
        pipeline: The name of the pipeline that it runs.
        plugins: The names of its plugins, in order.
        profile: What is asked of the deployment: ``dev``, ``default`` or ``regulated``.
        captures_content: Whether plugins that trace runs may take prompts, inputs and outputs with it.
        inventory: What is known of each plugin, in order.
        configuration: A digest (SHA-256) of the configuration that it has, however that was said.
        clearances: The labels that nodes of the pipeline clear, by their addresses.
    """

    version: str
    pipeline: str
    plugins: tuple[str, ...]
    profile: Profile = "default"
    captures_content: bool = False
    inventory: tuple[PluginInfo, ...] = ()
    configuration: str = ""
    clearances: Mapping[str, tuple[str, ...]] = NOTHING


class AgentInfo(NamedTuple):
    """A pydantic-ai agent of the pipeline.

    Attributes:
        address: The address of the step that asks it.
        step_name: The step's name.
        model: The name of its model, or None.
    """

    address: str
    step_name: str
    model: str | None


AuthorizedAction: TypeAlias = Literal["start_run", "run_step", "answer", "mutate", "reconfigure"]
"""What a plugin may be asked to authorize."""


class AuthorizationRequest(NamedTuple):
    """What is about to happen, if no plugin says no.

    Attributes:
        action: What it is.
        run_id: The run's id.
        tenant: Whose run it is, or None.
        pipeline: The pipeline's name.
        address: The step's address; empty for the run.
        model: The name of the agent's model, or None for a step without an agent.
        approver: Who gives an answer, as the caller says, or None.
        change: What a step would change of its pipeline, as JSON (see ``PipelineMutated.change``), or None.
    """

    action: AuthorizedAction
    run_id: str
    tenant: str | None
    pipeline: str
    address: str
    model: str | None
    approver: str | None = None
    change: str | None = None


class Decision(NamedTuple):
    """A plugin's answer to an ``AuthorizationRequest``: ``Decision.allow()`` or ``Decision.deny("why")``.

    Attributes:
        allowed: Whether it may happen.
        reason: Why not; it becomes part of the run's record.
    """

    allowed: bool
    reason: str = ""

    @classmethod
    def allow(cls) -> Self:
        """Yes; no other plugin is asked."""
        return cls(True)

    @classmethod
    def deny(cls, reason: str) -> Self:
        """No: the run is refused.

        Args:
            reason: Why; it becomes part of the run's record, so it holds no secret.
        """
        return cls(False, reason)


class RunStart(NamedTuple):
    """A run that is about to begin.

    Attributes:
        run_id: The run's id.
        tenant: Whose run it is, or None.
        pipeline: The pipeline's name.
        initial_input: Its input.
        context: The context that it begins with. What ``on_pipeline_start`` sets in it is part of the run's start;
            later hooks are given a copy.
        resumed: Whether the run began earlier and goes on now.
        subject: A digest of whom the run's data is about; empty if nobody said.
    """

    run_id: str
    tenant: str | None
    pipeline: str
    initial_input: Any
    context: PipelineContext
    resumed: bool
    subject: str = ""

    def replace(self, *, initial_input: Any = UNCHANGED, context: PipelineContext | None = None) -> Self:
        """A copy with another input or context: ``run.replace(initial_input=...)``; both are validated again."""
        return self._replace(
            initial_input=self.initial_input if initial_input is UNCHANGED else initial_input,
            context=self.context if context is None else context,
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


class _StepCallFields(NamedTuple):
    run_id: str
    tenant: str | None
    address: str
    step_name: str
    step_input: Any
    model: str | None
    drafting: Drafting
    answer: Any = None
    subject: str = ""
    agent: AgentKind = ""


class StepCall(_StepCallFields):
    """A step that is about to run, or has run.

    Attributes:
        run_id: The run's id.
        tenant: Whose run it is, or None.
        address: The step's address.
        step_name: The step's name.
        step_input: Its input.
        model: The name of the agent's model, or None for a step without an agent.
        drafting: What ``context`` is made from when a hook asks for it.
        answer: The answer to what this hook has asked with ``PauseForHumanInput``; None until it has.
        subject: A digest of whom the run's data is about; empty if nobody said.
        agent: What kind of agent the step asks: ``"pydantic-ai"``, which has the capabilities of plugins; ``"other"``,
            which has none; or empty, none.
    """

    __slots__ = ()

    @property
    def context(self) -> PipelineContext:
        """The step's draft of the context: what a hook sets in it is committed with the step, or not at all.

        Ask for it again after ``proceed``: what the step left is another draft.
        """
        return drafted(self.drafting)

    def replace(self, *, step_input: Any) -> Self:
        """A copy with another input, which is validated against what the step takes."""
        return self._replace(step_input=step_input)

    def result(self, output: Any) -> StepResult:
        """A result that stands for the step's own, for ``around_step`` and ``on_step_error``.

        Args:
            output: Its output; validated as the step's own would be.
        """
        return StepResult(self.address, "completed", 0, time(), 0.0, None, None, output)

    def __repr__(self) -> str:
        return f"<StepCall '{self.address}'>"
