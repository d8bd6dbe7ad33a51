"""The boundary of a deployment: what its plugins say of what is inside; and the leaks of a pipeline over it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from flujo_core.errors import LabelLeak
from flujo_core.hooks.host import Host
from flujo_core.log import warning
from flujo_core.model.flow import AsWritten
from flujo_core.model.leak import Leak, leaks_of
from flujo_core.model.mutation import Refused
from flujo_core.model.tool import ToolFacts, tool_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from flujo_core.model.context import PipelineContext
    from flujo_core.model.flow import Node
    from flujo_core.model.wiring import Wiring


class Enclosure:
    """The boundary, as plugins tell it.

    Args:
        host: The plugins.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.masks = host.clears

    def has_model(self, name: str, /) -> bool:
        """Whether a plugin has a model of that name, and says that it is inside."""
        prefix, colon, _ = name.partition(":")
        return bool(colon) and self._host.is_inside(self._host.models, prefix)

    def has_backend(self, name: str, /) -> bool:
        """Whether a plugin has a backend of that name, and says that it is inside."""
        return self._host.is_inside(self._host.backends, name)

    def tool(self, name: str, /) -> ToolFacts | None:
        """A registered tool, by its name; None if there is none."""
        if self._host.tools.find(name) is None:
            return None
        return tool_facts(self._host.tools.get(name).as_tool())


class Flows:
    """The flow of labels in one pipeline, over the boundary of one deployment.

    Args:
        whole: The pipeline, with registered steps and agents in the places of their names.
        wiring: Where its named inputs come from.
        context: The class of its context.
        host: The plugins.
        refuses: Whether a leak is refused.
    """

    def __init__(
        self,
        whole: Node[Any, Any],
        wiring: Wiring,
        context: type[PipelineContext],
        host: Host,
        *,
        refuses: bool,
    ) -> None:
        self._whole = whole
        self._wiring = wiring
        self._context = context
        self._host = host
        self._refuses = refuses

    @cached_property
    def leaks(self) -> tuple[Leak, ...]:
        """Its leaks."""
        return leaks_of(self._whole, self._wiring, self._context, Enclosure(self._host))

    def check(self) -> None:
        """Checks it, where a leak is refused.

        Raises:
            LabelLeak: There is one.
        """
        if self._refuses and self.leaks:
            raise LabelLeak(self.leaks)

    def check_changed(self, wiring: Wiring, changed: Mapping[str, Sequence[Node[Any, Any]]] = AsWritten) -> None:
        """Checks the pipeline as a run would change it; what it adds is logged, where a leak is not refused.

        Args:
            wiring: Where its named inputs come from then.
            changed: The nodes of the scopes that were changed, by the scopes' addresses.

        Raises:
            Refused: It would add a leak.
        """
        known = {one._replace(way=()) for one in self.leaks}
        after = leaks_of(self._whole, wiring, self._context, Enclosure(self._host), changed)
        for one in (one for one in after if one._replace(way=()) not in known):
            if self._refuses:
                raise Refused("leak", str(one))
            warning("run.label_leak", leak=str(one))
