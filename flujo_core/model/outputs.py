"""The outputs of nodes in which others run: the journal has those of steps, and these follow from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from flujo_core.model.branch import Branch
from flujo_core.model.contexts import attempt_path
from flujo_core.model.flow import FALLBACK, Node, Pipeline, join, parts_of
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.parallel import Parallel
from flujo_core.model.rename import pattern_of
from flujo_core.model.run import NodeResult, RunState, StepResult
from flujo_core.model.value import validated


def addresses_of(static: str, state: RunState) -> Sequence[str]:
    """The addresses in a run of a node, which ``walk`` gives one address; in the order in which they began.

    Args:
        static: Its address as ``walk`` gives it: ``refine[*]/write``.
        state: The run.
    """
    found = re.compile(pattern_of(static))
    known: list[StepResult | NodeResult] = [*state.steps.values(), *state.nodes.values()]
    results = sorted(known, key=lambda one: one.started_at)
    return [one.address for one in results if found.fullmatch(one.address)]


def output_of(node: Node[Any, Any], address: str, state: RunState) -> Any:
    """What a node gave.

    Args:
        node: The node.
        address: Its address in the run.
        state: The run.

    Raises:
        LookupError: It was not completed.
    """
    if (step := state.steps.get(address)) is not None:
        if step.status not in ("completed", "skipped"):
            raise LookupError(f"'{address}' is {step.status}")
        return step.output
    result = state.nodes.get(address)
    if result is None or result.status != "completed":
        raise LookupError(f"'{address}' was not completed")
    if result.source == "cache":
        return result.output
    if result.source == "fallback" and node.policies.fallback is not None:
        return output_of_scope(node.policies.fallback, address + FALLBACK, state)
    path = attempt_path(address, result.attempts)
    match node:
        case Parallel():
            outputs = {
                name: output_of_scope(body, path + scope.segment, state)
                for (name, body), scope in zip(node.branches.items(), node.scopes, strict=True)
            }
            return outputs if node.into is None else validated(outputs, node.into, "what its branches gave")
        case Map():
            return [output_of_scope(node.body, path + scope, state) for scope in result.scopes]
        case Loop():
            return output_of_scope(node.body, f"{path}[{result.iterations}]", state)
        case Branch() if result.case is not None:
            return output_of_scope(node.bodies[result.case], f"{path}[{result.case}]", state)
        case Pipeline():
            return output_of_scope(node.scopes[0].body, path, state)
    raise LookupError(f"'{address}' is no node whose output is known")


def output_of_scope(body: Node[Any, Any], path: str, state: RunState) -> Any:
    """What a scope gave: the output of the last of its nodes.

    Args:
        body: What runs in it.
        path: Its path; empty for the run's.
        state: The run.

    Raises:
        LookupError: It was not completed.
    """
    last = parts_of(body)[-1]
    return output_of(last, join(path, last.label), state)
