"""What a pipeline is made of: with it, the rest of a scope can be made anew in the middle of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from flujo_core.engine.bind import check_by_plugins, may_change, resolved
from flujo_core.engine.compile import BackendOf, Compiler, Prepare
from flujo_core.engine.enclosure import Flows
from flujo_core.engine.frame import Parts
from flujo_core.hooks.host import Host
from flujo_core.model.contexts import is_below
from flujo_core.model.flow import Node, Pipeline, join, parts_of, scope_at
from flujo_core.model.mutation import Applied, Nearby, Refused, applied, check_end
from flujo_core.model.signature import Resources
from flujo_core.model.surroundings import check_surroundings
from flujo_core.model.wiring import Wiring, wire

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext

ChangedScopes: TypeAlias = Mapping[str, Sequence[Node[Any, Any]]]
"""The nodes of scopes that have others than the pipeline says, by the scopes' addresses."""


class Given(NamedTuple):
    """What steps get of the ``Flujo`` that runs them.

    Attributes:
        context_type: The class of the context.
        resources: Their resources, or None.
        durable: Whether runs are journaled in a store.
        flows: The flow of labels in it.
    """

    context_type: type[PipelineContext]
    resources: Resources | None
    durable: bool
    flows: Flows


class Design:
    """What a pipeline is made of.

    Args:
        whole: The pipeline, resolved.
        authored: The same as it was written, with the names of what plugins have registered.
        wiring: Where its named inputs come from.
        host: The plugins.
        prepare: Gives each step what plugins have for it.
        backend_of: Gives each step the backend that it runs on.
        given: What steps get.
        most: How many mutations a run may have.
    """

    def __init__(
        self,
        whole: Node[Any, Any],
        authored: Node[Any, Any],
        wiring: Wiring,
        *,
        host: Host,
        prepare: Prepare,
        backend_of: BackendOf,
        given: Given,
        most: int,
    ) -> None:
        self.whole = whole
        self.most = most
        self._authored = authored
        self._wiring = wiring
        self._host = host
        self._prepare = prepare
        self._backend_of = backend_of
        self._given = given
        self._keeps_all = may_change(whole)

    def scope(self, static: str, changed: ChangedScopes, authored: ChangedScopes) -> Applied:
        """A scope as it was before the run changed it, by its address as ``walk`` gives it.

        Args:
            static: The address.
            changed: The scopes around it that were changed.
            authored: The same, as they were written.
        """
        nodes = parts_of(scope_at(self.whole, static, changed))
        return Applied(nodes, parts_of(scope_at(self._authored, static, authored)), frozenset())

    def changed(self, before: Applied, reached: int, data: str, gives: Any) -> Applied:
        """A scope after a change.

        Args:
            before: The scope before.
            reached: How many of its nodes have been reached.
            data: The change, as JSON.
            gives: The type that the scope is counted on to give.

        Raises:
            Refused: It cannot be.
            ConfigurationError: It names what is not registered.
            DefinitionError: The parts do not fit each other.
        """
        nearby = Nearby(before.nodes, reached, before.gone)
        after = applied(data, nearby, before.authored, lambda node: resolved(node, self._host))
        check_end(after.nodes, gives)
        return after._replace(added=before.added | after.added)

    def rest(self, static: str, after: Applied, reached: int, changed: ChangedScopes) -> Parts:
        """What follows in a changed scope, ready to run.

        Args:
            static: Its address, as ``walk`` gives it.
            after: The scope.
            reached: How many of its nodes have been reached.
            changed: The scopes around that were changed before.

        Raises:
            Refused: A named input was not kept, or labelled data would leave the boundary.
            DefinitionError: The parts do not fit each other, or what is around them.
        """
        rest = after.nodes[reached:]
        changed = {**changed, static: after.nodes}
        wiring = wire(self.whole, changed, keeps_all=self._keeps_all)
        coming = [join(static, node.label) for node in rest]
        _check_kept(self._wiring, wiring, coming)
        if not rest:
            return ()
        following: Node[Any, Any] = Pipeline(None, rest)
        check_surroundings(following, self._given.context_type, self._given.resources, durable=self._given.durable)
        check_by_plugins(following, self._host)
        self._given.flows.check_changed(wiring, changed)
        strangers = [join(static, name) for name in after.added]
        return Compiler(wiring, self._prepare, self._backend_of, strangers).parts(following, static)


def _check_kept(before: Wiring, after: Wiring, coming: Collection[str]) -> None:
    """Checks that what the parts name that come was kept when it ran: what has streamed was not.

    Raises:
        Refused: Something was not.
    """
    for address in sorted((after.kept & after.streamed) - before.kept):
        if not any(address == one or is_below(address, one) for one in coming):
            what = f"it would add a step that takes what '{address}' gave, which has streamed, and was not kept"
            raise Refused("past", what)
