"""A pipeline made ready to run: each node becomes a part, and what can be worked out before a run is done here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from flujo_core.backend.protocol import Backend
from flujo_core.engine.block import Block
from flujo_core.engine.cached import NodeCache
from flujo_core.engine.call import Leaf
from flujo_core.engine.fork import MapBlock, ParallelBlock
from flujo_core.engine.frame import Part, Parts
from flujo_core.engine.plan import Plan
from flujo_core.engine.segment import Segment
from flujo_core.engine.sequence import BranchBlock, LoopBlock, PipelineBlock
from flujo_core.errors import DefinitionError
from flujo_core.model.branch import Branch
from flujo_core.model.contexts import is_below
from flujo_core.model.flow import FALLBACK, Node, Pipeline, join, parts_of, streams_of
from flujo_core.model.inputs import RUN_INPUT
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.parallel import Parallel
from flujo_core.model.step import Step
from flujo_core.model.wiring import Source, Wiring

Prepare = Callable[[Step[Any, Any], str], Step[Any, Any]]
"""Gives a step, by its address, what plugins have for it."""


BackendOf = Callable[[Step[Any, Any], str], Backend | None]
"""Gives the backend that a step, by its address, runs on; None: it runs here."""


def here(_: Step[Any, Any], __: str) -> None:
    """The backend of a step that runs here, whatever it says."""


def compiled(whole: Node[Any, Any], wiring: Wiring, prepare: Prepare, backend_of: BackendOf = here) -> Parts:
    """The parts of a pipeline whose names are resolved.

    Args:
        whole: The pipeline.
        wiring: Where its named inputs come from.
        prepare: Gives each step what plugins have for it.
        backend_of: Gives each step the backend that it runs on.
    """
    return Compiler(wiring, prepare, backend_of).parts(whole, "")


class Compiler:
    """Makes the parts of one pipeline.

    Args:
        wiring: Where its named inputs come from.
        prepare: Gives each step what plugins have for it.
        backend_of: Gives each step the backend that it runs on.
        strangers: The addresses of nodes that a run has put in: of their outputs the pipeline knows no earlier version.
    """

    def __init__(
        self, wiring: Wiring, prepare: Prepare, backend_of: BackendOf, strangers: Collection[str] = ()
    ) -> None:
        self._strangers = strangers
        self._wiring = wiring
        self._backend_of = backend_of
        self._prepare = prepare

    def parts(self, node: Node[Any, Any], path: str) -> Parts:
        """The parts that run in a scope, one after the other."""
        made: list[Part] = []
        for group in streams_of(parts_of(node)):
            found = [self._part(one, join(path, one.label)) for one in group]
            leaves = [one for one in found if isinstance(one, Leaf)]
            made.append(found[0] if len(group) == 1 else Segment(leaves))
        return tuple(made)

    def _part(self, node: Node[Any, Any], address: str) -> Part:
        keeps = address in self._wiring.kept
        fallback = node.policies.fallback
        stand_in = None if fallback is None else self.parts(fallback, address + FALLBACK)
        if isinstance(node, Step):
            prepared = self._prepare(node, address)
            sources = self._wiring.sources.get(address, {})
            backend = self._backend_of(prepared, address)
            plan = Plan(prepared, sources, stand_in, self._cache(prepared, address), backend)
            return Leaf(plan, address, keeps=keeps, is_own=self._is_own(address))
        cache = self._cache(node, address)
        more = {"keeps": keeps, "fallback": stand_in, "cache": cache, "is_own": self._is_own(address)}
        return self._block(node, address, more)

    def _is_own(self, address: str) -> bool:
        """Whether a node is of the pipeline, and was not put in by a run."""
        return not any(address == one or is_below(address, one) for one in self._strangers)

    def _block(self, node: Node[Any, Any], address: str, more: dict[str, Any]) -> Block:
        bodies = {scope.segment: self.parts(scope.body, address + scope.segment) for scope in node.scopes}
        entered = {segment for segment in bodies if address + segment in self._wiring.entered}
        keeps_input = f"{address}[*]" in self._wiring.inputs
        match node:
            case Parallel():
                return ParallelBlock(node, bodies, entered, static=address, **more)
            case Branch():
                cases = {segment[1:-1]: parts for segment, parts in bodies.items()}
                return BranchBlock(node, cases, entered, static=address, **more)
            case Map():
                return MapBlock(node, bodies["[*]"], keeps_items=keeps_input, static=address, **more)
            case Loop():
                return LoopBlock(
                    node, bodies["[*]"], entered=bool(entered), keeps_input=keeps_input, static=address, **more
                )
            case Pipeline():
                return PipelineBlock(node, bodies[""], entered=bool(entered), static=address, **more)
        raise DefinitionError(f"'{node.label}' is {type(node).__name__!r}, and no kind of node that can be run")

    def _cache(self, node: Node[Any, Any], address: str) -> NodeCache | None:
        if node.policies.cache is None:
            return None
        return NodeCache(node, address, outer_sources(self._wiring.sources, address))


def outer_sources(sources: Mapping[str, Mapping[Any, Source]], address: str) -> list[Source]:
    """The named inputs that a node, and what runs in it, takes from outside, as seen from the node's own scope."""
    found: list[Source] = []  # and no set: a hint need not be hashable
    for leaf, wanted in sources.items():
        if leaf != address and not (leaf.startswith(address) and leaf[len(address)] in "/[~"):
            continue
        depth = _depth(leaf[len(address) :])
        for source in wanted.values():
            if source.name == RUN_INPUT:
                found.append(source)
            elif source.up >= depth:
                found.append(source._replace(up=source.up - depth))
    return found


def _depth(below: str) -> int:
    """How many scopes a leaf is below a node: one for each '/'."""
    return below.count("/")
