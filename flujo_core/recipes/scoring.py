"""scoring: a node that scores an output, by a judge, a checklist, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from typing_extensions import TypeVar

from flujo_core import DefinitionError, InvalidValue, Node, Parallel, Pipeline, Verdict, step
from flujo_core.recipes.part import checked_node, checked_weight, typed
from flujo_core.recipes.score import Checklist, ItemScore, Score

D = TypeVar("D")


class Opinions(BaseModel):
    """What a judge and a checklist make of one output."""

    judge: Verdict
    checklist: Score


def scoring(
    name: str,
    *,
    judge: Node[D, Verdict] | None = None,
    checklist: Checklist[D] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Pipeline[D, Score]:
    """A node that scores an output. With a judge and a checklist, it has the items of both.

    The judge runs beside the checklist, as ``NAME/opinions[judge]``.

    Args:
        name: The node's name.
        judge: A node that gives a ``Verdict``, such as a step that asks a ``JudgeAgent``; its scale is 0 to 1.
        checklist: What is scored without a model.
        weights: How much a criterion of the judge counts, by its name; 1 unless given.

    Raises:
        DefinitionError: There is neither, a part is something else, or a weight is not above 0.
    """
    if judge is None and checklist is None:
        raise DefinitionError(f"scoring '{name}' has neither 'judge' nor 'checklist'; give it one, or both")
    if checklist is not None and not isinstance(checklist, Checklist):
        raise DefinitionError(f"'checklist' of scoring '{name}' is a 'Checklist', not {type(checklist).__name__!r}")
    counts = _counts(name, judge, weights)
    if judge is None:
        assert checklist is not None
        return Pipeline(name, (_checks(checklist, Any),))
    checked_node(judge, f"the judge of scoring '{name}'")
    if checklist is None:
        return Pipeline(name, (judge, _weighed(counts)))
    opinions = Parallel("opinions", into=Opinions, judge=judge, checklist=_checks(checklist, judge.takes))
    return Pipeline(name, (opinions, _joined(counts)))


def _counts(name: str, judge: object, weights: Mapping[str, float] | None) -> Mapping[str, float]:
    """The weights, by criterion, checked."""
    if weights is not None and judge is None:
        raise DefinitionError(f"'weights' of scoring '{name}' are of a judge's criteria, and it has no judge")
    return {
        criterion: checked_weight(weight, f"the weight of criterion '{criterion}' of scoring '{name}'")
        for criterion, weight in (weights or {}).items()
    }


def _checks(checklist: Checklist[Any], takes: Any) -> Any:
    """The step that goes through a checklist."""
    score = checklist.scorer()

    async def checks(output: Any) -> Score:
        return score(output)

    return step(typed(checks, output=takes, **{"return": Score}))


def _weighed(counts: Mapping[str, float]) -> Any:
    """The step that makes a score of what a judge says."""
    parts = tuple(sorted(counts.items()))

    async def total(verdict: Verdict) -> Score:
        return Score(items=_judged(verdict, dict(parts)))

    return step(total)


def _joined(counts: Mapping[str, float]) -> Any:
    """The step that makes one score of what a judge and a checklist say."""
    parts = tuple(sorted(counts.items()))

    async def total(opinions: Opinions) -> Score:
        return Score(items=[*opinions.checklist.items, *_judged(opinions.judge, dict(parts))])

    return step(total)


def _judged(verdict: Verdict, counts: Mapping[str, float]) -> list[ItemScore]:
    """The items of a verdict.

    Raises:
        InvalidValue: It has no scores, a score is not from 0 to 1, or a weight is of a criterion that it does not have.
    """
    if not verdict.scores:
        raise InvalidValue("the judge gave no scores")
    for name, score in verdict.scores.items():
        if not 0 <= score <= 1:
            raise InvalidValue(f"the judge's score of '{name}' is not from 0 to 1; give the judge 'scale=(0, 1)'")
    for name in counts:
        if name not in verdict.scores:
            raise InvalidValue(f"the judge gave no score for '{name}', which has a weight")
    return [
        ItemScore(name=name, score=score, weight=counts.get(name, 1.0), reason=verdict.reasons.get(name, ""))
        for name, score in verdict.scores.items()
    ]
