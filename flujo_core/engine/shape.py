"""The pipeline of one run, as its steps have changed it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

from flujo_core.engine.design import ChangedScopes, Design
from flujo_core.engine.frame import Parts
from flujo_core.engine.program import Program
from flujo_core.errors import FlujoError, IncompatiblePipeline
from flujo_core.model.event import PipelineMutated, ScopeChanged
from flujo_core.model.flow import Node, Pipeline, located
from flujo_core.model.manifest import Facts, Manifest
from flujo_core.model.mutation import Applied, Refused


class Spot(NamedTuple):
    """The place of a step that asks for a change.

    Attributes:
        prefix: What the addresses in its scope begin with, in the run: ``refine[2]/``.
        static: The address of its scope, as ``walk`` gives it: ``refine[*]``.
        name: Its name.
    """

    prefix: str
    static: str
    name: str

    @classmethod
    def of(cls, address: str, static: str) -> Spot:
        """The place of a step, by its address in the run, and as ``walk`` gives that."""
        around, _, segment = address.rpartition("/")
        return cls(around + "/" if around else "", static.rpartition("/")[0], unquote(segment))

    def is_in(self, prefix: str) -> bool:
        """Whether it is in a scope, by what addresses in that begin with."""
        return self.prefix.startswith(prefix)


class Instance(NamedTuple):
    """One instance of a scope that was changed.

    Attributes:
        static: Its address, as ``walk`` gives it.
        now: What is in it.
    """

    static: str
    now: Applied

    @property
    def manifest(self) -> Manifest:
        """What its nodes are."""
        return Manifest.of(Pipeline(None, self.now.nodes), Pipeline(None, self.now.authored))


class Next(NamedTuple):
    """A change that can be made.

    Attributes:
        spot: The place of the step that asks.
        instance: The scope after it.
        rest: What follows the step then.
    """

    spot: Spot
    instance: Instance
    rest: Parts


class Shape:
    """The pipeline of one run, as its steps have changed it.

    Args:
        design: What the pipeline is made of.

    Attributes:
        mutations: How many mutations there were.
    """

    def __init__(self, design: Design) -> None:
        self._design = design
        self._instances: dict[str, Instance] = {}
        self.mutations = 0

    def next(self, spot: Spot, data: str) -> Next:
        """What a change would come to; nothing is changed yet.

        Raises:
            Refused: It cannot be.
            ConfigurationError: It names what is not registered.
            DefinitionError: The parts do not fit each other.
        """
        around = [one for prefix, one in self._instances.items() if prefix != spot.prefix and spot.is_in(prefix)]
        changed, authored = _nodes(around), {one.static: one.now.authored for one in around}
        original, known = self._design.scope(spot.static, changed, authored), self._instances.get(spot.prefix)
        before = original if known is None else known.now
        reached = [node.label for node in before.nodes].index(spot.name) + 1
        after = self._design.changed(before, reached, data, original.nodes[-1].gives)
        rest = self._design.rest(spot.static, after, reached, changed)
        return Next(spot, Instance(spot.static, after), rest)

    def take(self, made: Next) -> None:
        """Makes a change."""
        self._instances[made.spot.prefix] = made.instance

    def again(self, event: ScopeChanged, static: str | None = None) -> Next:
        """Makes a change that is recorded.

        Args:
            event: The record.
            static: The address of the step that asked, as ``walk`` gives it; looked up unless given.

        Raises:
            IncompatiblePipeline: It cannot be made any more.
        """
        try:
            found = self._located(event.address)[0] if static is None else static
            made = self.next(Spot.of(event.address, found), event.change)
        except (Refused, FlujoError, LookupError, ValueError) as error:
            why = "its step is not there" if isinstance(error, LookupError | ValueError) else str(error)
            what = f"the change of the pipeline that '{event.address}' made cannot be made any more: {why}"
            raise IncompatiblePipeline(event.run_id, [what]) from error
        self.take(made)
        self.mutations += isinstance(event, PipelineMutated)
        return made

    def node_of(self, address: str) -> Node[Any, Any]:
        """A node, by its address in the run.

        Raises:
            LookupError: There is no such node.
        """
        return self._located(address)[1]

    def _located(self, address: str) -> tuple[str, Node[Any, Any]]:
        around = _nodes(one for prefix, one in self._instances.items() if address.startswith(prefix))
        return located(self._design.whole, address, around)


def _nodes(instances: Iterable[Instance]) -> ChangedScopes:
    """The nodes of scopes that were changed, by the scopes' addresses."""
    return {one.static: one.now.nodes for one in instances}


def shape_of(program: Program, changes: Iterable[ScopeChanged]) -> Shape:
    """The pipeline of a run, as it was changed.

    Raises:
        IncompatiblePipeline: A change cannot be made any more.
    """
    assert program.design is not None
    shape = Shape(program.design)
    for one in changes:
        shape.again(one)
    return shape


def facts_of(
    program: Program, changes: Iterable[ScopeChanged]
) -> dict[str, tuple[tuple[Facts, ...], tuple[Facts, ...]]]:
    """What the nodes of the changed scopes were when they were changed, and what they are with this program, by the
    paths of the scopes in the run.

    Raises:
        IncompatiblePipeline: A change cannot be made any more.
    """
    assert program.design is not None
    shape, found = Shape(program.design), {}
    for one in changes:
        made = shape.again(one)
        path = made.spot.prefix.removesuffix("/")
        found[path] = (Manifest.from_json(one.manifest).nodes, made.instance.manifest.nodes)
    return found
