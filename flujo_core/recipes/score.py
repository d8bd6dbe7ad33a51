"""Checklist and Score: how good an output is, by weighted items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic

from pydantic import BaseModel, Field
from typing_extensions import TypeVar

from flujo_core import DefinitionError, InvalidValue
from flujo_core.recipes.part import checked_share, checked_weight

D = TypeVar("D", contravariant=True)

ROUNDING = 1e-9
"""What a sum of floating-point weights may be off by: three items of weight 0.1 that are met are met in full."""


class ItemScore(BaseModel):
    """How far an output meets one item.

    Attributes:
        name: The item's name.
        score: From 0, not at all, to 1, fully.
        weight: How much the item counts beside the others.
        reason: Why it is so, where a judge says that.
    """

    name: str
    score: float = Field(ge=0, le=1)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    reason: str = ""


class Score(BaseModel):
    """How good an output is, item by item."""

    items: list[ItemScore] = Field(min_length=1)

    @property
    def total(self) -> float:
        """The mean of the items, weighted: from 0, nothing is met, to 1, all is."""
        return sum(one.score * one.weight for one in self.items) / sum(one.weight for one in self.items)

    @property
    def missed(self) -> list[str]:
        """The names of the items that are not fully met."""
        return [one.name for one in self.items if one.score < 1]

    def reaches(self, least: float) -> bool:
        """Whether the total is ``least`` or more; what floating-point numbers are off by does not count."""
        return self.total >= least - ROUNDING


class ChecklistItem(Generic[D]):
    """One thing that an output should be.

    Args:
        name: What it is called in scores and in feedback.
        check: A plain function of the output: whether it is so, or how far, from 0 to 1.
        weight: How much it counts beside the others; above 0.

    Raises:
        DefinitionError: The name is empty, the check cannot be called, or the weight is not above 0.
    """

    __slots__ = ("check", "name", "weight")

    def __init__(self, name: str, check: Callable[[D], bool | float], *, weight: float = 1.0) -> None:
        self.name = checked_title(name)
        if not callable(check):
            raise DefinitionError(f"the check of item '{name}' is a function, not {type(check).__name__!r}")
        self.check = check
        self.weight = checked_weight(weight, f"the weight of item '{name}'")

    def __repr__(self) -> str:
        return f"<ChecklistItem '{self.name}'>"


class Checklist(Generic[D]):
    """Weighted items that an output is scored by; no model is asked.

    Args:
        items: At least one, each of another name.

    Raises:
        DefinitionError: There is no item, two have one name, or one is something else.
    """

    __slots__ = ("items",)

    def __init__(self, *items: ChecklistItem[D]) -> None:
        if not items:
            raise DefinitionError("a checklist has at least one item; give it 'ChecklistItem(name, check)'")
        seen: set[str] = set()
        for item in items:
            if not isinstance(item, ChecklistItem):
                raise DefinitionError(
                    f"an item of a checklist is a 'ChecklistItem(name, check)', not {type(item).__name__!r}"
                )
            if item.name in seen:
                raise DefinitionError(f"two items of a checklist are called '{item.name}'; names are unique")
            seen.add(item.name)
        self.items: Sequence[ChecklistItem[D]] = items

    def score(self, output: D) -> Score:
        """How good ``output`` is.

        Raises:
            InvalidValue: A check gave something else than a bool or a number from 0 to 1.
        """
        return self.scorer()(output)

    def scorer(self) -> Callable[[D], Score]:
        """``score`` as a plain function, of which each item is a part: a run knows it again by what the items do."""
        parts = tuple((one.name, one.weight, one.check) for one in self.items)

        def score(output: D) -> Score:
            items = [
                ItemScore(name=name, score=_met(name, check(output)), weight=weight) for name, weight, check in parts
            ]
            return Score(items=items)

        return score

    def validator(self, at_least: float = 1.0) -> Callable[[D], str | None]:
        """A validator for a step: ``validators=[checklist.validator(at_least=0.8)]``.

        What it tells the next attempt has the names of the items that are not met, and nothing of the output.

        Args:
            at_least: The total with which an output may pass, from 0 to 1.

        Raises:
            DefinitionError: ``at_least`` is not from 0 to 1.
        """
        least = checked_share(at_least, "'at_least' of a checklist's validator")
        scored = self.scorer()

        def checklist(output: D) -> str | None:
            score = scored(output)
            if score.reaches(least):
                return None
            missed = ", ".join(f"'{name}'" for name in score.missed)
            return f"It scores {score.total:.2f} of 1, and needs {least:.2f}. Not fully met: {missed}."

        # What the items take is for them to say: a type variable is no type that an edge could be checked against.
        checklist.__annotations__.clear()
        return checklist


def checked_title(given: Any) -> str:
    """``given``, if it can be the name of an item.

    Raises:
        DefinitionError: It is no text, or empty.
    """
    if not isinstance(given, str) or not given.strip():
        raise DefinitionError("the name of a checklist's item is text that is not empty")
    return given


def _met(name: str, given: object) -> float:
    """What a check gave, as a number from 0 to 1."""
    if not isinstance(given, bool | int | float) or not 0 <= given <= 1:
        raise InvalidValue(f"the check of item '{name}' gave something else than a bool or a number from 0 to 1")
    return float(given)
