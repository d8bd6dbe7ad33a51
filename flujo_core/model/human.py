"""HumanInput: the step at which a run waits for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Self

from typing_extensions import TypeVar

from flujo_core.errors import DefinitionError, InvalidValue
from flujo_core.model.action import HumanAction
from flujo_core.model.clearance import Labels
from flujo_core.model.flow import checked_name
from flujo_core.model.outcome import Default, OnExpiry, checked_terms
from flujo_core.model.policy import NO_POLICY, Migrations, Policies
from flujo_core.model.question import schema_of, validated_answer
from flujo_core.model.step import Step
from flujo_core.model.template import parse

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
O = TypeVar("O")  # noqa: E741

HERE = ("version", "was", "migrations", "labels")
"""The policies that make sense for a question."""


class HumanInput(Step[In, Out]):
    """Asks a person; the answer is its output.

    The run pauses here, and holds nothing in memory while it does. It goes on, in this process or another, with
    ``resume_async``.

    Args:
        name: The node's name.
        response_model: The answer's type.
        ask: The question; ``{{ input.text }}`` shows a field of its input, ``{{ read.body }}`` what a step before gave.
        approvers: Who may answer; empty: anybody.
        expires_in: For how long it can be answered; None: as long as the run lives.
        on_expiry: What happens then: the step fails, the run is stopped, or ``Default(value)`` is the answer.
        quorum: How many different approvers must give the same answer.
        version: Changed by the author when its meaning changes.
        was: The name that it had before, so that runs that were begun under that name go on.
        migrations: How runs go on that were begun under another ``version``; see ``Policies``.
        labels: What it does to the labels of data that goes through it.

    Raises:
        DefinitionError: JSON has no values of the answer's type; or a placeholder, or a term, cannot be.
    """

    def __init__(
        self: HumanInput[Any, O],
        name: str,
        response_model: type[O],
        *,
        ask: str,
        approvers: Sequence[str] = (),
        expires_in: timedelta | None = None,
        on_expiry: OnExpiry[O] = "fail",
        quorum: int = 1,
        version: str | None = None,
        was: str | None = None,
        migrations: Migrations | None = None,
        labels: Labels | None = None,
    ) -> None:
        name = checked_name(name)
        if not isinstance(ask, str):
            raise DefinitionError(f"'ask' of step '{name}' is text, not {type(ask).__name__!r}")
        try:
            terms = checked_terms(expires_in, on_expiry, approvers, quorum)
            schema_of(response_model)
            expires_in, on_expiry, approvers, quorum = terms
            if isinstance(on_expiry, Default):
                on_expiry = Default(validated_answer(on_expiry.value, response_model, "the default answer")[1])
        except (DefinitionError, InvalidValue) as error:
            raise DefinitionError(f"step '{name}': {error}") from error
        template = parse(ask, name, Any, "question")
        action = HumanAction(template, response_model, expires_in, on_expiry, tuple(approvers), quorum)
        policies = Policies(version=version, was=was, migrations=migrations, labels=labels)
        super().__init__(name, action, NO_POLICY.changed(policies))

    def _with_policies(self, policies: Policies) -> Self:
        for name, value in policies.items():
            if value is not None and name not in HERE:
                raise DefinitionError(f"step '{self.name}' waits for a person, and cannot have '{name}'; leave it out")
        return super()._with_policies(policies)
