"""best_of: several candidates, made side by side, of which the one with the highest score wins."""

from __future__ import annotations

from typing import Any, Generic

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from flujo_core import DefinitionError, From, Node, Parallel, Pipeline, StepError, step
from flujo_core.recipes.part import checked_node, last_of, taken, typed
from flujo_core.recipes.score import Score

In = TypeVar("In", contravariant=True)
D = TypeVar("D")
I = TypeVar("I")  # noqa: E741


class Candidate(BaseModel, Generic[D]):
    """What one of several tries came to.

    Attributes:
        output: What it gave; None if it failed.
        score: How good that is; None if it failed.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    output: D | None = None
    score: Score | None = None


def best_of(
    name: str,
    n: int,
    node: Node[I, D],
    *,
    score: Node[D, Score],
    max_concurrency: int | None = None,
) -> Pipeline[I, D]:
    """A node that runs another one several times side by side, scores what each gave, and gives the best.

    A candidate that fails, or whose scoring does, is out; the others go on. If all are out, the node fails. Of equal
    scores, the first candidate's wins. The candidates are at ``NAME/candidates[1]/candidate/...``.

    Args:
        name: The node's name.
        n: How many candidates there are, at least 2.
        node: What makes a candidate. All get the same input; what differs is what a model makes of it, or what a step
            makes of its ``RunInfo.address``.
        score: What scores one: see ``scoring``.
        max_concurrency: How many candidates run at the same time; None: all.

    Raises:
        DefinitionError: ``n`` is no whole number from 2, or a part is no node.
        EdgeError: ``score`` does not take what ``node`` gives.
    """
    if type(n) is not int or n < 2:
        raise DefinitionError(f"'n' of best_of '{name}' is a whole number from 2, not {n!r}")
    checked_node(node, f"the candidate of best_of '{name}'")
    checked_node(score, f"'score' of best_of '{name}'")
    kind: Any = Candidate[node.gives]  # type: ignore[name-defined]
    tried = (node >> score >> _entered(kind, last_of(node))).named("candidate").policy(fallback=_out(kind))
    branches = {str(number): tried for number in range(1, n + 1)}
    candidates = Parallel("candidates", branches, max_concurrency=max_concurrency)
    return Pipeline(name, (candidates, _choice(kind, node.gives)))


def _entered(kind: Any, source: str) -> Any:
    """The step that puts an output and its score together."""

    async def entry(score: Score, *, output: Any) -> Any:
        return kind(output=output, score=score)

    gives = kind.model_fields["output"].annotation
    return step(typed(entry, score=Score, output=taken(gives, From(source)), **{"return": kind}))


def _out(kind: Any) -> Any:
    """The step that stands in for a candidate that failed."""

    async def out() -> Any:
        return kind()

    return step(typed(out, **{"return": kind}))


def _choice(kind: Any, gives: Any) -> Any:
    """The step that takes the best."""

    async def best(candidates: dict[str, Any]) -> Any:
        there = [one for _, one in sorted(candidates.items(), key=lambda each: int(each[0])) if one.score is not None]
        if not there:
            raise StepError(f"all {len(candidates)} candidates failed; the steps of the run's result say how")
        return max(there, key=lambda one: one.score.total).output

    return step(typed(best, candidates=dict[str, kind], **{"return": gives}))
