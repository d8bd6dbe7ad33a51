"""Tallies: what became of each place of a pipeline in a run, over all its iterations, items and attempts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flujo_core.errors import StepError
from flujo_core.model.contexts import attempt_path
from flujo_core.model.duration import span
from flujo_core.model.event import ErrorInfo
from flujo_core.model.flow import FALLBACK, Node, Scope, everything, join, parts_of
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.reshaped import Reshaped
from flujo_core.model.run import NodeResult, RunState, StepResult

Result: TypeAlias = StepResult | NodeResult
Outcome: TypeAlias = Literal["failed", "paused", "running", "cancelled", "fallback", "completed", "skipped", "cached"]
"""What became of one execution: its status; ``fallback`` and ``cached`` are ways to be completed."""

GRAVITY: tuple[Outcome, ...] = (
    "failed", "paused", "running", "cancelled", "fallback", "completed", "skipped", "cached",
)  # fmt: skip
"""All outcomes, first the one that tells most of a place that had several."""

SAID = {"fallback": "completed by its fallback", "cached": "completed from the cache"}
"""How outcomes are said that do not say it themselves."""

SEGMENT = re.compile(r"(?P<name>[^#\[~]+)(?:#(?P<attempt>\d+))?(?P<scope>\[.*\]|~fallback)?")


@dataclass(slots=True)
class Tally:
    """What became of one place, each time that the run came to it.

    Attributes:
        results: What became of it each time, in order.
        last: Those of them that no later attempt of a node around has replaced.
        iterations: How often a loop's body has begun.
        items: How many items of a map there are, by what became of them.
        cases: How often a branch took each case, by its place: ``[billing]``.
    """

    results: list[Result] = field(default_factory=list)
    last: list[Result] = field(default_factory=list)
    iterations: int = 0
    items: Counter[str] = field(default_factory=Counter)
    cases: Counter[str] = field(default_factory=Counter)

    @property
    def outcome(self) -> Outcome | None:
        """What became of it in all; None if the run never came to it."""
        found = {outcome(result) for result in self.last or self.results}
        return next((one for one in GRAVITY if one in found), None)

    @property
    def facts(self) -> list[str]:
        """What there is to say of it, the outcome first; never a value."""
        tries, times = sum(result.attempts for result in self.results), len(self.results)
        spent = [result.duration for result in self.results if result.duration is not None]
        in_all = " in all" if times > 1 else ""
        facts = [
            self._outcomes(),
            counted(word for result in self.results for word in error_type(result.error)),
            f"{tries} attempts{in_all}" if tries > max(times, 1) else "",
            f"{self.iterations} {'iteration' if self.iterations == 1 else 'iterations'}" if self.iterations else "",
            self._items(),
            f"{span(sum(spent))}{in_all}" if spent else "",
        ]
        return [fact for fact in facts if fact]

    def taken(self, scope: Scope) -> str:
        """Whether a branch took a case, or how often; nothing of other scopes, and before it is decided."""
        if not self.cases or scope.segment == FALLBACK:
            return ""
        return counted("taken" for _ in range(self.cases[scope.segment])) or "not taken"

    def idle(self, scope: Scope, otherwise: str) -> str:
        """What is said of nodes in a scope that the run never came to.

        Args:
            scope: A scope of the node.
            otherwise: What is said where the node itself does not explain it.
        """
        if scope.segment == FALLBACK and self.outcome in ("completed", "skipped", "cached"):
            return "not needed"
        return "not taken" if self.taken(scope) == "not taken" else otherwise

    def _outcomes(self) -> str:
        found = Counter(outcome(result) for result in self.results)
        if len(found) > 1:
            return f"{len(self.results)} times: " + ", ".join(f"{found[one]} {one}" for one in GRAVITY if found[one])
        return counted(SAID.get(one, one) for one in found.elements())

    def _items(self) -> str:
        if not self.items:
            return ""
        number = self.items.total()
        kinds = ", ".join(word if number == 1 else f"{count} {word}" for word, count in self.items.items())
        return f"{number} {'item' if number == 1 else 'items'}: {kinds}"


def outcome(result: Result) -> Outcome:
    """What became of one execution."""
    if result.status == "completed" and result.source != "node":
        return "cached" if result.source == "cache" else "fallback"
    return result.status


def error_type(error: ErrorInfo | None) -> list[str]:
    """The type of an error; nothing if that says no more than that a step failed, which then says why."""
    return [] if error is None or error.type == StepError.__name__ else [error.type]


def counted(words: Iterable[str]) -> str:
    """Words, each once, with how often it came: ``ValueError 2 times, KeyError``."""
    found = Counter(words)
    return ", ".join(word if count == 1 else f"{word} {count} times" for word, count in found.items())


class Tallies:
    """What became of a pipeline in a run, by the addresses of ``walk``: iterations and items are ``[*]``.

    Args:
        whole: The pipeline.
        state: The run.

    Attributes:
        state: The run.
        shape: The pipeline with what the run has put into it.
        strays: What the run came to and the pipeline does not have, by address: it is a run of another pipeline, or the
            code has changed.
    """

    def __init__(self, whole: Node[Any, Any], state: RunState) -> None:
        self.state = state
        self.strays: dict[str, Tally] = {}
        self.shape = Reshaped(whole, state.changes)
        self._nodes = dict(everything(whole, "", self.shape.scopes))
        self._found: dict[str, Tally] = {address: Tally() for address in self._nodes}
        self._repeating = {
            address for address, node in self._nodes.items() if any(scope.segment == "[*]" for scope in node.scopes)
        }
        self._begun: Counter[str] = Counter()
        scopes: set[str] = set()
        results: list[Result] = [*state.nodes.values(), *state.steps.values()]
        for result in results:
            self._sort(result, scopes)
        for address, tally in self._found.items():
            self._look_inside(self._nodes[address], tally)

    def of(self, address: str) -> Tally:
        """What became of a place of the pipeline."""
        return self._found[address]

    def fate(self, address: str, idle: str) -> str:
        """What there is to say of a place of the pipeline; ``idle``, if the run never came to it."""
        return ", ".join([*(self.of(address).facts or [idle]), *self.shape.marks(address)])

    @property
    def facts(self) -> list[str]:
        """What there is to say of the run, its status first; never a value."""
        state = self.state
        spent = None if state.ended_at is None else state.ended_at - state.started_at
        facts = [state.status, *error_type(state.error), span(spent)]
        return [fact for fact in facts if fact]

    def _sort(self, result: Result, scopes: set[str]) -> None:
        """Adds a result to the tally of its place."""
        static, concrete, is_last = "", "", True
        for segment in result.address.split("/"):
            found = SEGMENT.fullmatch(segment)
            if found is None:  # an address of a kind that there is not yet
                static = ""
                break
            name, scope = found["name"], found["scope"] or ""
            node = self.state.nodes.get(concrete + name)
            is_last &= (
                node is None or scope == FALLBACK or node is result or int(found["attempt"] or 1) >= node.attempts
            )
            static += name
            if static in self._repeating and scope != FALLBACK:
                opened = concrete + segment
                if scope and opened not in scopes:
                    scopes.add(opened)
                    self._begun[opened.removesuffix(scope)] += 1
                scope = scope and "[*]"
            static, concrete = f"{static}{scope}/", f"{concrete}{segment}/"
        tally = self._found.get(static[:-1]) or self.strays.setdefault(result.address, Tally())
        tally.results.append(result)
        if is_last:
            tally.last.append(result)

    def _look_inside(self, node: Node[Any, Any], tally: Tally) -> None:
        """Counts iterations, items and cases."""
        for result in tally.last:
            if isinstance(result, NodeResult):
                path = attempt_path(result.address, result.attempts)
                tally.iterations += max(result.iterations, self._begun[path] if isinstance(node, Loop) else 0)
                if isinstance(node, Map):
                    labels = [one.label for one in parts_of(node.body)]
                    tally.items.update(self._item(path + scope, labels, result) for scope in result.scopes)
                if result.case is not None:
                    tally.cases[f"[{result.case}]"] += 1

    def _item(self, path: str, labels: Sequence[str], around: NodeResult) -> str:
        """What became of one item of a map."""
        places = [join(path, label) for label in labels]
        results = [self.state.steps.get(place) or self.state.nodes.get(place) for place in places]
        ended = [result.status for result in results if result is not None]
        if not ended:
            return "not run"
        if ended[-1] not in ("completed", "skipped"):
            return ended[-1]
        if len(ended) == len(labels) or around.status == "completed":  # a run may have changed what is in it
            return "completed"
        return "running" if around.status == "running" else "cancelled"
