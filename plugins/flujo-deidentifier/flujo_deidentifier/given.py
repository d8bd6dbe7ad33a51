"""Given: what an agent is given with tokens in it, and what it gave with values, whatever types these are of."""

from __future__ import annotations

from typing import Any

from flujo_deidentifier.deidentifier import Deidentifier
from flujo_deidentifier.errors import ModelGuarded
from flujo_deidentifier.known import Known
from flujo_deidentifier.labelled import everywhere, relabelled
from flujo_deidentifier.vault import Scope


def labels_masked(deidentifier: Deidentifier, scope: Scope, value: Any) -> Any:
    """A value with tokens in the places of its labelled texts; its numbers and dates are masked in messages only."""

    def change(one: Any, label: str) -> Any:
        return deidentifier.deidentify(one, **scope._asdict(), label=label) if isinstance(one, str) else one

    return relabelled(value, change)


def masked(deidentifier: Deidentifier, scope: Scope, value: Any) -> Any:
    """A value with tokens in its texts, where they are labelled or something is found in them.

    Raises:
        ModelGuarded: A number or date is labelled, or something is found in it: no token can take its place.
    """
    known = Known(deidentifier, scope)

    def change(one: Any) -> Any:
        shown = one if isinstance(one, str) else str(one)
        after = deidentifier.deidentify_value(known.hidden(shown), scope)
        if isinstance(one, str) and after != one:
            return after
        if after != shown and one is not None:
            raise ModelGuarded(
                f"a '{type(one).__name__}' that identifies somebody would go to an agent that is not of pydantic-ai;"
                " give it as a text, or name the step in 'trusted'"
            )
        return one

    return everywhere(labels_masked(deidentifier, scope, value), change)


def unmasked(deidentifier: Deidentifier, scope: Scope, value: Any) -> Any:
    """A value with what tokens stand for in its texts."""

    def restore(one: Any) -> Any:
        if not isinstance(one, str):
            return one
        return deidentifier.restore(one, session=scope.session, tenant=scope.tenant)

    return everywhere(value, restore)
