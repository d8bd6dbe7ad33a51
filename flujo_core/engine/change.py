"""A step that asks for a change of the pipeline behind it: whether it may be, and what follows then."""

from __future__ import annotations

from typing import NamedTuple

from flujo_core.engine.attempt import Execution
from flujo_core.engine.frame import Frame, Parts
from flujo_core.engine.journal import Journal, now
from flujo_core.engine.shape import Next, Shape, Spot
from flujo_core.errors import ConfigurationError, DefinitionError, EdgeError
from flujo_core.hooks.call import AuthorizationRequest, AuthorizedAction
from flujo_core.log import warning
from flujo_core.model.event import (
    AgentReconfigured,
    ChangeKind,
    ChangeRefused,
    PipelineMutated,
    RefusalReason,
    ScopeChanged,
)
from flujo_core.model.mutation import Asked, Refused
from flujo_core.model.outcome import Veto


class Decision(NamedTuple):
    """What comes of a change that a step asks for.

    Attributes:
        kind: What kind of change it is.
        data: What it changes, as JSON.
        made: What it comes to; None: it is refused, or changes nothing.
        refused: Why it is refused, in a word and for people, or None.
    """

    kind: ChangeKind
    data: str
    made: Next | None = None
    refused: tuple[RefusalReason, str] | None = None

    @property
    def rest(self) -> Parts | None:
        """What follows the step, if that is something else now."""
        return None if self.made is None else self.made.rest

    def record(self, journal: Journal, address: str, attempt: int) -> None:
        """Records it, in the transaction of the step's commit."""
        if self.refused is not None:
            journal.stage(ChangeRefused(*journal.head(address, now()), attempt, self.kind, *self.refused))
            warning("run.change_refused", run_id=journal.run_id, address=address, reason=self.refused[0])
        elif self.made is not None:
            manifest = self.made.instance.manifest
            event = PipelineMutated if self.kind == "mutation" else AgentReconfigured
            head = journal.head(address, now())
            journal.stage(event(*head, attempt, self.data, manifest.to_json(), manifest.digest))


async def decided(work: Execution, static: str, change: Asked) -> Decision:
    """Whether a change may be; it is made then.

    Args:
        work: The execution of the step that asks, which is to be committed next.
        static: The step's address, as ``walk`` gives it.
        change: What it asks for.

    Raises:
        PluginError: A plugin that was asked failed.
    """
    try:
        change.check()
        if not change.data:
            return Decision(change.kind, "")
        made = await _allowed(work, static, change)
    except Refused as refused:
        return Decision(change.kind, change.data, None, (refused.reason, refused.message))
    return Decision(change.kind, change.data, made)


async def _allowed(work: Execution, static: str, change: Asked) -> Next:
    """What a change comes to.

    Raises:
        Refused: It may not be.
    """
    if work.run.design is None:
        raise Refused("alone", f"step '{work.address}' runs alone, with nothing behind it to change")
    if work.run.shape is None:
        work.run.shape = Shape(work.run.design)
    shape, most = work.run.shape, work.run.design.most
    counts = change.kind == "mutation"
    if counts and shape.mutations >= most:
        raise Refused("limit", f"the run has changed its pipeline {most} times, as often as 'max_mutations' allows")
    try:
        made = shape.next(Spot.of(work.address, static), change.data)
    except EdgeError as error:
        raise Refused("types", str(error)) from error
    except ConfigurationError as error:
        raise Refused("unknown", str(error)) from error
    except DefinitionError as error:
        raise Refused("spec", str(error)) from error
    shape.mutations += counts  # before anybody is waited for: a sibling may ask meanwhile
    try:
        await _authorize(work, "mutate" if counts else "reconfigure", change.data)
    except BaseException:
        shape.mutations -= counts
        raise
    shape.take(made)
    return made


async def _authorize(work: Execution, action: AuthorizedAction, change: str) -> None:
    """Asks the plugins.

    Raises:
        Refused: One says no.
    """
    run, journal = work.run, work.run.journal
    if run.hooks.authorize is None:
        return
    about = (journal.run_id, journal.tenant, run.pipeline, work.address, work.plan.model)
    try:
        await run.hooks.authorize(work.frame.watch, AuthorizationRequest(action, *about, change=change))
    except Veto as veto:
        raise Refused("vetoed", veto.reason) from veto


def remade(frame: Frame, address: str, static: str, event: ScopeChanged) -> Parts:
    """What follows a step that has changed the pipeline before the run was resumed.

    Raises:
        IncompatiblePipeline: The change cannot be made any more.
    """
    run = frame.run
    assert run.design is not None
    if run.shape is None:
        run.shape = Shape(run.design)
    return run.shape.again(event, static).rest
