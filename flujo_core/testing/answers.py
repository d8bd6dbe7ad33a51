"""Answers: what stands for the people whom a run asks in a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from flujo_core.flujo import Flujo
from flujo_core.model.outputs import addresses_of
from flujo_core.model.question import Question
from flujo_core.model.result import PipelineResult
from flujo_core.model.run import fold

O = TypeVar("O")  # noqa: E741


class Answers:
    """Answers what the runs of one harness ask."""

    def __init__(self) -> None:
        self._given: dict[str, list[tuple[Any, str | None]]] = {}

    def add(self, places: Sequence[str], values: Sequence[Any], approver: str | None) -> None:
        """Adds answers to what is asked in some places, by the addresses of ``walk``; the last one is for all more."""
        for place in places:
            self._given.setdefault(place, []).extend((value, approver) for value in values)

    async def to(self, flujo: Flujo[Any, O, Any], result: PipelineResult[O, Any]) -> PipelineResult[O, Any]:
        """Goes on with a run until it ends, or asks what nobody has an answer to."""
        tokens: dict[tuple[str, float], str] = {}
        left = {place: list(given) for place, given in self._given.items()}
        while result.status == "paused":
            tokens |= {(one.address, one.asked_at): one.token for one in result.questions if one.token is not None}
            found = self._next(left, result)
            if found is None:
                return result
            question, value, approver = found
            token = tokens.get((question.address, question.asked_at))
            result = await flujo.resume_async(result.state, value, token=token, approver=approver)
        return result

    def _next(
        self, left: Mapping[str, list[tuple[Any, str | None]]], result: PipelineResult[Any, Any]
    ) -> tuple[Question, Any, str | None] | None:
        """A question that there is an answer to, the answer, and whose it is."""
        state = fold(result.events)
        for place, given in left.items():
            asking = set(addresses_of(place, state))
            for question in result.questions:
                if question.address.partition("!")[0] in asking:
                    value, approver = given.pop(0) if len(given) > 1 else given[0]
                    return question, value, approver or _approver(question)
        return None


def _approver(question: Question) -> str | None:
    """Somebody who may answer a question, and has not yet."""
    if question.approvers:
        return question.approvers[question.votes % len(question.approvers)]
    return f"approver {question.votes + 1}" if question.quorum > 1 else None
