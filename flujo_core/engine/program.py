"""A pipeline, ready to run, with all that its runs have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from flujo_core.engine.frame import Parts
from flujo_core.errors import InvalidValue
from flujo_core.hooks.dispatch import Hooks
from flujo_core.model.agent import ModelSource
from flujo_core.model.check import type_name
from flujo_core.model.event import Origin
from flujo_core.model.flow import Node, everything, located
from flujo_core.model.signature import Resources
from flujo_core.model.value import adapter, concrete, flaws
from flujo_core.store.byte_codec import Codecs
from flujo_core.store.cache import CacheStore
from flujo_core.store.coded import CodedCache

if TYPE_CHECKING:
    from flujo_core.engine.design import Design
    from flujo_core.engine.ledger import Metering
    from flujo_core.model.context import PipelineContext


class Beginning:
    """What is kept with each run, made when the first one needs it.

    Args:
        pipeline: The pipeline.
        authored: The same as its author wrote it, with the names of what plugins have registered.
        required: The versions of the plugins that must be there, by the names of their distributions.
    """

    def __init__(self, pipeline: Node[Any, Any], authored: Node[Any, Any], required: Mapping[str, str]) -> None:
        self._pipeline = pipeline
        self._authored = authored
        self._required = required

    @cached_property
    def origin(self) -> Origin:
        """It, as the journal has it."""
        from flujo_core.model.manifest import Manifest  # noqa: PLC0415 - only runs that can be resumed need it

        return Origin(Manifest.of(self._pipeline, self._authored).to_json(), self._required)


class Recovery(NamedTuple):
    """How runs are gone on with that were left.

    Attributes:
        refuses_body_changes: Whether a changed body of a step that may run again stands against going on.
        most: How often an attempt of a step may begin without coming to anything.
        refuses_unverified: Whether an answer is refused if no plugin has confirmed whose it is.
    """

    refuses_body_changes: bool = False
    most: int = 3
    refuses_unverified: bool = False


class Program:
    """A pipeline, ready to run, with all that its runs have in common.

    Args:
        pipeline: The pipeline.
        parts: Its nodes, ready to run.
        hooks: The plugins' hooks.
        context_type: The class of the context.
        resources: What steps get as their resources.
        models: Where plugins' models are found.
        cache: Where cached outputs are.
        takes: The type of its input.
        keeps_input: Whether a step names the input of the run.
        beginning: What is kept with a run, to be compared when it is resumed.
        recovery: How runs are gone on with that were left.
        codecs: What the payloads of its runs go through, or None.
        design: Gives what it is made of, so that parts of it can be made anew in a run; None: it cannot be changed.
        metering: What its runs may spend; None: what they like.

    Attributes:
        label: The pipeline's name.
        gives: The type of its output.
        values: The value codecs among the codecs, or None.
        cache_values: Those that entries of the cache go through, or None.
        on_steps: Whether any hook is called at each step.
        on_runs: Whether any hook is called in a run.
    """

    def __init__(
        self,
        pipeline: Node[Any, Any],
        parts: Parts,
        hooks: Hooks,
        *,
        context_type: type[PipelineContext],
        resources: Resources | None,
        models: ModelSource,
        cache: CacheStore,
        takes: Any,
        keeps_input: bool = False,
        beginning: Beginning,
        recovery: Recovery = Recovery(),  # noqa: B008 - it cannot change
        codecs: Codecs | None = None,
        design: Callable[[], Design] | None = None,
        metering: Metering | None = None,
    ) -> None:
        self.metering = metering
        self.codecs = codecs
        self.values = None if codecs is None else codecs.values
        self.cache_values = self.values if isinstance(cache, CodedCache) else None
        self._design = design
        self.recovery = recovery
        self._beginning = beginning
        self.pipeline = pipeline
        self.parts = parts
        self.hooks = hooks
        self.context_type = context_type
        self.resources = resources
        self.models = models
        self.cache = cache
        self.keeps_input = keeps_input
        self.label = pipeline.label
        self.takes = concrete(takes)
        self.gives = pipeline.gives
        self.on_steps = hooks.on_steps
        self.on_runs = hooks.on_runs
        self.validate = adapter(self.takes).validator.validate_python

    @cached_property
    def design(self) -> Design | None:
        """What it is made of; None where it cannot be changed."""
        return None if self._design is None else self._design()

    @cached_property
    def nodes(self) -> dict[str, Node[Any, Any]]:
        """Its nodes, by their addresses as ``walk`` gives them."""
        return dict(everything(self.pipeline))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The names of all labels that its types carry: those of its inputs, its outputs and its context."""
        from flujo_core.model.label import labels_of  # noqa: PLC0415 - only value codecs want to know

        hints = [
            self.context_type,
            self.takes,
            *(one for node in self.nodes.values() for one in (node.takes, node.gives)),
        ]
        return tuple(sorted({name for hint in hints for one in labels_of(hint) for name in one.labels}))

    def node_of(self, address: str) -> Node[Any, Any]:
        """A node, by its address in a run.

        Raises:
            LookupError: There is no such node.
        """
        if address in self.nodes:
            return self.nodes[address]
        return located(self.pipeline, address)[1]

    @property
    def origin(self) -> Origin:
        """What is kept with a run, to be compared when it is resumed."""
        return self._beginning.origin

    def input(self, value: Any) -> Any:
        """An input, validated.

        Raises:
            InvalidValue: It does not fit.
        """
        try:
            return self.validate(value)
        except ValidationError as error:
            what = f"the input of pipeline '{self.label}' is not a '{type_name(self.takes)}'"
            raise InvalidValue(f"{what}: {flaws(error, self.takes)}") from None
