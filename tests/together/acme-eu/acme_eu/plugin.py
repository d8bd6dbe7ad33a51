"""The plugin: it registers a step and an agent, and refuses runs in which an agent would see an account number."""

from typing import Any, ClassVar

from acme_eu.account import ACCOUNT
from acme_eu.steps import mask
from flujo_core import Plugin, Registry, Step, StepCall, Veto


class AcmeEu(Plugin):
    """Keeps account numbers out of what agents see."""

    name: ClassVar[str] = "acme-eu"

    def register_steps(self, registry: Registry[Step[Any, Any]], /) -> None:
        """Adds ``acme-eu/mask``."""
        registry.add("mask", mask)

    def register_agents(self, registry: Registry[Any], /) -> None:
        """Adds ``acme-eu/underwriter``, which is imported when a pipeline has it."""
        registry.add("underwriter", "acme_eu.underwriter:underwriter")

    async def pre_step_execution(self, call: StepCall, /) -> None:
        """Refuses the run if the step is an agent's and its input has an account number."""
        if call.model is not None and ACCOUNT.search(str(call.step_input)):
            raise Veto("an agent would see an account number; put the step 'acme-eu/mask' before it")
