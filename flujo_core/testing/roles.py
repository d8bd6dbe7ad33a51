"""How a model does in the roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flujo_core.config import Settings
from flujo_core.errors import DefinitionError
from flujo_core.flujo import Flujo
from flujo_core.model.result import RunFailed
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.step import Step

if TYPE_CHECKING:
    from pydantic_ai.models import Model


class RoleScore(NamedTuple):
    """How one case of a role's evaluation set came out.

    Attributes:
        asked: What the agent was asked.
        wanted: What was to hold of its answer, in words.
        held: Whether it did.
        error: Why there was no answer, or None.
    """

    asked: str
    wanted: str
    held: bool
    error: str | None


async def evaluate_role(role: str, model: Model | str, *, settings: Settings | None = None) -> Sequence[RoleScore]:
    """Asks a role's agent each case of its evaluation set, and looks at the answers.

    Args:
        role: Which role, as its agents are named: ``"classifier"``.
        model: A model, or the name of one.
        settings: Those of the ``Flujo`` that asks; None: as the configuration says.

    Returns:
        The score of each case, in order; an agent that fails, fails its case.

    Raises:
        DefinitionError: There is no such role.
    """
    from flujo_core.agents.evaluations import EVALUATIONS  # noqa: PLC0415 - imports pydantic-ai

    if role not in EVALUATIONS:
        raise DefinitionError(f"there is no role '{role}'; there are {', '.join(EVALUATIONS)}")
    make, cases = EVALUATIONS[role]
    flujo = Flujo(Step.agent("ask", make(model)), settings=settings)
    scores = []
    for case in cases:
        try:
            result = await flujo.run_async(case.asked)
        except RunFailed as failed:
            scores.append(RoleScore(case.asked, case.wanted, False, str(failed)))
        else:
            scores.append(RoleScore(case.asked, case.wanted, case.holds(result.output), None))
    return scores
