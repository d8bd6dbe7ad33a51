"""What is different between two runs, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal, TypeAlias

from pydantic_core import to_json

from flujo_core.model.agent import Usage
from flujo_core.model.run import NodeResult, RunState, StepResult
from flujo_core.model.slotted import NamedTuple

Verdict: TypeAlias = Literal["same", "changed", "only_first", "only_second"]


class PartTrace(NamedTuple):
    """What a step or node came to in one run.

    Attributes:
        status: Where it is: ``completed``.
        attempts: How often it was tried.
        duration: Seconds from the first attempt's start to the end; None while it runs.
        usage: What its agent used, or None.
        output_digest: The SHA-256 of its output as JSON; empty if it has none of its own.
        decisions: What it decided: ``("case billing",)``, ``("3 iterations",)``, the scopes that it opened.
        error: The name of the error that it failed with; empty if it did not.
        output: Its output, as plain data.
    """

    status: str
    attempts: int
    duration: float | None
    usage: Usage | None
    output_digest: str
    decisions: tuple[str, ...]
    error: str
    output: Any

    def __repr__(self) -> str:
        return f"<PartTrace {self.status}>"


class PartDiff(NamedTuple):
    """A step or node in two runs.

    Attributes:
        address: Its address.
        verdict: Whether it came to the same: in status, output, decisions, attempts and error. Times and usage do not
            count.
        changes: What is not the same: ``("status", "output")``.
        first: What it came to in the first run, or None.
        second: In the second one.
    """

    address: str
    verdict: Verdict
    changes: tuple[str, ...]
    first: PartTrace | None
    second: PartTrace | None


class RunDiff(NamedTuple):
    """What is different between two runs.

    Attributes:
        run_ids: Their ids.
        statuses: Where they are.
        changes: What of the whole runs is not the same: ``pipeline``, ``input``, ``output``, ``context``, ``status``.
        parts: Their steps and nodes, in the order in which they began in the first run, then those of the second only.
    """

    run_ids: tuple[str, str]
    statuses: tuple[str, str]
    changes: tuple[str, ...]
    parts: Sequence[PartDiff]

    @property
    def is_same(self) -> bool:
        """Whether nothing is different but times and usage."""
        return not self.changes and all(one.verdict == "same" for one in self.parts)


def diff(first: RunState, second: RunState) -> RunDiff:
    """Compares two runs.

    Args:
        first: The state of one.
        second: The state of the other one.
    """
    one, two = _traces(first), _traces(second)
    facts = ("pipeline", "input", "output", "context", "status")
    return RunDiff(
        (first.run_id, second.run_id),
        (first.status, second.status),
        tuple(name for name in facts if to_json(getattr(first, name)) != to_json(getattr(second, name))),
        [_part(address, one.get(address), two.get(address)) for address in dict.fromkeys([*one, *two])],
    )


def _traces(state: RunState) -> dict[str, PartTrace]:
    parts: list[StepResult | NodeResult] = [*state.steps.values(), *state.nodes.values()]
    return {one.address: _trace(one) for one in sorted(parts, key=lambda one: one.started_at)}


def _trace(one: StepResult | NodeResult) -> PartTrace:
    is_step = isinstance(one, StepResult)
    has_output = one.status in ("completed", "skipped") and (is_step or one.source == "cache")
    digest = sha256(to_json(one.output)).hexdigest() if has_output else ""
    decisions = () if isinstance(one, StepResult) else _decisions(one)
    decisions += () if one.source == "node" else (f"output of its {one.source}",)
    error = "" if one.error is None else one.error.type
    usage = one.usage if isinstance(one, StepResult) else None
    return PartTrace(one.status, one.attempts, one.duration, usage, digest, decisions, error, one.output)


def _decisions(node: NodeResult) -> tuple[str, ...]:
    case = () if node.case is None else (f"case {node.case}",)
    return (*case, *((f"{node.iterations} iterations",) if node.node == "loop" else ()), *node.scopes)


def _part(address: str, first: PartTrace | None, second: PartTrace | None) -> PartDiff:
    if first is None or second is None:
        return PartDiff(address, "only_second" if first is None else "only_first", (), first, second)
    told = {
        "status": (first.status, second.status),
        "output": (first.output_digest, second.output_digest),
        "decisions": (first.decisions, second.decisions),
        "attempts": (first.attempts, second.attempts),
        "error": (first.error, second.error),
    }
    changes = tuple(name for name, (one, two) in told.items() if one != two)
    return PartDiff(address, "changed" if changes else "same", changes, first, second)
