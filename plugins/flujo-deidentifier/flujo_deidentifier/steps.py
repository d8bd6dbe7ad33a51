"""Steps: de-identify a text, and turn it back, anywhere in a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flujo_core import Labels, RunInfo, Step, step
from flujo_deidentifier.plugin import CLEARED
from flujo_deidentifier.vault import Scope, scope_of_run

if TYPE_CHECKING:
    from flujo_deidentifier.deidentifier import Deidentifier


def deidentify_step(deidentifier: Deidentifier, name: str = "deidentify") -> Step[str, str]:
    """A step that de-identifies its input; the tokens are those of the run, and of whom it is about.

    Args:
        deidentifier: Finds, and has the vault.
        name: The step's name.
    """
    return deidentifying(lambda: deidentifier, name)


def reidentify_step(deidentifier: Deidentifier, name: str = "reidentify") -> Step[str, str]:
    """A step that turns the tokens of the run back; what it gives is ``phi`` again.

    Args:
        deidentifier: Has the vault.
        name: The step's name.
    """
    return reidentifying(lambda: deidentifier, name)


def deidentifying(of: Callable[[], Deidentifier], name: str) -> Step[str, str]:
    """As ``deidentify_step``, with a de-identifier that is asked for when the step runs."""

    @step(name=name, labels=Labels(clears=CLEARED))
    async def deidentify(text: str, *, info: RunInfo) -> str:
        return await of().deidentify_async(text, **_scope(info)._asdict())

    return deidentify


def reidentifying(of: Callable[[], Deidentifier], name: str) -> Step[str, str]:
    """As ``reidentify_step``, likewise."""

    @step(name=name, labels=Labels(adds=("phi",)))
    async def reidentify(text: str, *, info: RunInfo) -> str:
        scope = _scope(info)
        return await of().restore_async(text, session=scope.session, tenant=scope.tenant)

    return reidentify


def _scope(info: RunInfo) -> Scope:
    return scope_of_run(info.run_id, info.tenant, info.subject)
