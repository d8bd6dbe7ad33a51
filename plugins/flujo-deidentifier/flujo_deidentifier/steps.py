"""Steps: de-identify a text, and turn it back, anywhere in a pipeline."""

from __future__ import annotations

from flujo_core import Labels, RunInfo, Step, step
from flujo_deidentifier.deidentifier import Deidentifier

CLEARED = ("phi", "pii")
"""The labels that nothing carries any more that was de-identified."""


def deidentify_step(deidentifier: Deidentifier, name: str = "deidentify") -> Step[str, str]:
    """A step that de-identifies its input; the tokens are those of the run.

    Args:
        deidentifier: Finds, and has the vault.
        name: The step's name.
    """

    @step(name=name, labels=Labels(clears=CLEARED))
    async def deidentify(text: str, *, info: RunInfo) -> str:
        return await deidentifier.deidentify_async(
            text, session=info.run_id, tenant=info.tenant or "", subject=info.run_id
        )

    return deidentify


def reidentify_step(deidentifier: Deidentifier, name: str = "reidentify") -> Step[str, str]:
    """A step that turns the tokens of the run back; what it gives is ``phi`` again.

    Args:
        deidentifier: Has the vault.
        name: The step's name.
    """

    @step(name=name, labels=Labels(adds=("phi",)))
    async def reidentify(text: str, *, info: RunInfo) -> str:
        return await deidentifier.restore_async(text, session=info.run_id, tenant=info.tenant or "")

    return reidentify
