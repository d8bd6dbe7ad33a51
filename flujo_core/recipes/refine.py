"""refine: write, review, and write again with the review, until it is good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from flujo_core import DefinitionError, EdgeError, From, Loop, Node, Pipeline, step
from flujo_core.recipes.part import checked_node, hint_of, last_of, taken, typed

T = TypeVar("T")
D = TypeVar("D")
R = TypeVar("R")


class Round(BaseModel, Generic[T, D, R]):
    """What a writer is given.

    Attributes:
        task: What is to be written.
        draft: What it wrote in the round before; None in the first.
        review: What the review made of that; None in the first round.
        best: The best draft so far, where ``refine`` was told what is best; else None.
        rank: How good that is.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    task: T
    draft: D | None = None
    review: R | None = None
    best: D | None = None
    rank: float | None = None


def refine(
    name: str,
    write: Node[Round[T, D, R], D],
    review: Node[D, R],
    *,
    until: Callable[[R], bool] | Callable[..., bool],
    max_rounds: int,
    on_exhausted: Literal["fail", "return"] = "fail",
    best: Callable[[R], float] | None = None,
) -> Pipeline[T, D]:
    """A node that writes, reviews, and writes again with what the review said, until the review is good enough.

    It gives the draft that was good enough. The rounds are at ``NAME/rounds[1]/...``, with the names of ``write`` and
    ``review``. In both, ``From.scope_input`` is the task.

    Args:
        name: The node's name.
        write: Makes a draft of a ``Round``: the task, and the last draft with its review.
        review: Reviews a draft.
        until: Whether a review is good enough: a plain function of it and, if it has a parameter ``context``, of the
            context; as of a ``Loop``.
        max_rounds: After how many rounds it ends all the same, from 1.
        on_exhausted: What then happens: ``"fail"`` with ``LoopExhausted``, or ``"return"`` the last draft.
        best: How good a draft is, by its review. With it, what is returned is the best draft, and of equals the last.

    Raises:
        DefinitionError: A part is no node, a number cannot be, or ``best`` is given with ``on_exhausted="fail"``.
        EdgeError: ``write`` takes no ``Round``, ``review`` no draft, or ``until`` no review.
    """
    if best is not None and on_exhausted != "return":
        raise DefinitionError(f"'best' of refine '{name}' is of use with 'on_exhausted=\"return\"' only; give both")
    what = f"refine '{name}'"
    kind = round_of(checked_node(write, f"'write' of {what}"), what)
    checked_node(review, f"'review' of {what}")
    rounds = Loop(
        "rounds",
        briefed(kind, write, review, best) >> write >> review,
        until=until,
        max_iterations=max_rounds,
        on_exhausted=on_exhausted,
    )
    return Pipeline(name, (given(hint_of(kind, "task")), rounds, chosen(kind, write, review, best)))


def round_of(write: Node[Any, Any], what: str) -> Any:
    """The ``Round`` that a writer takes, with its types.

    Raises:
        EdgeError: It takes something else.
    """
    takes: Any = write.takes
    if not isinstance(takes, type) or not issubclass(takes, Round):
        shown = takes.__name__ if isinstance(takes, type) else str(takes)
        raise EdgeError(
            f"'{write.label}' of {what} takes '{shown}'; what it is given is a 'Round': the task, and the last draft"
            " with its review"
        )
    return Round[Any, Any, Any] if takes is Round else takes


def given(kind: Any) -> Any:
    """The step that says which type of task a recipe takes."""

    async def task(task: Any) -> Any:
        return task

    return step(typed(task, task=kind, **{"return": kind}))


def briefed(kind: Any, write: Node[Any, Any], review: Node[Any, Any], best: Callable[[Any], float] | None) -> Any:
    """The step that tells the writer what there is: the first in each round."""

    async def brief(*, task: Any, before: Any = None, draft: Any = None, review: Any = None) -> Any:
        if before is None:
            return kind(task=task)
        if best is None:
            return kind(task=task, draft=draft, review=review)
        top, rank = _better(before, draft, best(review))
        return kind(task=task, draft=draft, review=review, best=top, rank=rank)

    hints = {
        "task": taken(hint_of(kind, "task"), From.scope_input),
        "before": taken(kind | None, From("brief")),
        "draft": taken(hint_of(kind, "draft"), From(last_of(write))),
        "review": taken(hint_of(kind, "review"), From(last_of(review))),
        "return": kind,
    }
    return step(typed(brief, **hints))


def chosen(kind: Any, write: Node[Any, Any], review: Node[Any, Any], best: Callable[[Any], float] | None) -> Any:
    """The step that gives the draft: the last, or the best."""
    hints = {"last": taken(write.gives, From(f"rounds/{last_of(write)}")), "return": write.gives}
    if best is not None:
        return _chosen_best(kind, review, best, hints)

    async def draft(*, last: Any) -> Any:
        return last

    return step(typed(draft, **hints))


def _chosen_best(kind: Any, review: Node[Any, Any], best: Callable[[Any], float], hints: Mapping[str, Any]) -> Any:
    async def draft(*, last: Any, review: Any, before: Any) -> Any:
        return _better(before, last, best(review))[0]

    said = taken(review.gives, From(f"rounds/{last_of(review)}"))
    return step(typed(draft, **hints, review=said, before=taken(kind, From("rounds/brief"))))


def _better(before: Round[Any, Any, Any], draft: Any, rank: float) -> tuple[Any, float]:
    """The better one of the best draft so far and the last, and how good it is; of equals, the last."""
    return (draft, rank) if before.rank is None or rank >= before.rank else (before.best, before.rank)
