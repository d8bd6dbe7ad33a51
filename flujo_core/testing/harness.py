"""harness: runs a pipeline in a test, with fakes in the places of its steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Generic, TypeVar

from typing_extensions import Unpack

from flujo_core.config import PluginSettings, Settings
from flujo_core.engine.pieces import pieces_of
from flujo_core.errors import DefinitionError, FlujoError, did_you_mean
from flujo_core.flujo import Flujo
from flujo_core.hooks.spec import Plugin
from flujo_core.model.action import FunctionAction
from flujo_core.model.context import PipelineContext
from flujo_core.model.flow import Node, everything
from flujo_core.model.outputs import addresses_of, output_of
from flujo_core.model.result import PipelineResult, RunFailed
from flujo_core.model.run import fold
from flujo_core.model.signature import Resources, Signature, collected
from flujo_core.model.step import Step, StreamingStep
from flujo_core.model.surroundings import context_of
from flujo_core.store.protocol import Store
from flujo_core.testing.answers import Answers
from flujo_core.testing.fake import Fake
from flujo_core.testing.plugin_harness import RunOptions
from flujo_core.testing.virtual_time import VirtualTime, virtual_time

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
A = TypeVar("A")
B = TypeVar("B")


class Harness(Generic[I, O]):
    """Runs one pipeline, with exactly the plugins that it is given: no installed ones, no configuration.

    Attributes:
        result: The result of the last run; of one that failed, too.
    """

    def __init__(
        self,
        pipeline: Node[I, O],
        context: type[PipelineContext],
        clock: VirtualTime | None,
        *,
        resources: Resources | None,
        store: str | Store | None,
        plugins: Sequence[Plugin],
    ) -> None:
        pipeline.check()
        self._pipeline = pipeline
        self._context = context
        self._clock = clock
        self._resources = resources
        self._store = store
        self._plugins = plugins
        self._fakes: list[tuple[Node[Any, Any], Fake[Any, Any]]] = []
        self._answers = Answers()
        self.result: PipelineResult[O, Any] | None = None

    def fake(self, step: Node[A, B]) -> Fake[A, B]:
        """Puts a fake in the place of a step, or of a node in which others run; ``fake(step).returns(value)``.

        A step that is used in several places is faked in all of them.

        Raises:
            DefinitionError: The pipeline has no such step.
        """
        self._places(step)
        fake: Fake[A, B] = Fake(step.label)
        self._fakes.append((step, fake))
        return fake

    def answer(self, step: Node[Any, B], answer: B, /, *more: B, approver: str | None = None) -> None:
        """Answers what a ``HumanInput``, or a step that pauses, asks: with these answers, one a question, and with the
        last one from then on. A run that asks anything else ends the call as a paused one does, with its questions.

        Args:
            step: What asks.
            answer: The answer.
            more: The answers to what it asks after that: in a loop or a map, or of the others of a quorum.
            approver: Who answers; whoever may, unless given.

        Raises:
            DefinitionError: The pipeline has no such step.
        """
        self._answers.add([*self._places(step)], (answer, *more), approver)

    def output_of(self, step: Node[Any, B]) -> B:
        """What a step, or another node, gave last in the last run.

        Raises:
            FlujoError: There was no run, or it gave nothing.
        """
        outputs = self.outputs_of(step)
        if not outputs:
            raise FlujoError(f"'{step.label}' gave no output in the last run")
        return outputs[-1]

    def outputs_of(self, step: Node[Any, B]) -> Sequence[B]:
        """All that a step, or another node, gave in the last run, in order.

        Raises:
            FlujoError: There was no run.
        """
        if self.result is None:
            raise FlujoError("there was no run yet; write 'await h.run_async(...)' first")
        state, found = fold(self.result.events), []
        for place, node in self._places(step).items():
            for address in addresses_of(place, state):
                try:
                    found.append((address, output_of(node, address, state)))
                except LookupError:
                    continue  # it failed, or was cancelled
        order = [*state.steps, *state.nodes]
        return [output for _, output in sorted(found, key=lambda one: order.index(one[0]))]

    @property
    def elapsed(self) -> float:
        """How many seconds the runs have taken, as their clock has it, which may be virtual.

        Raises:
            FlujoError: Time is not virtual.
        """
        if self._clock is None:
            raise FlujoError("the time that runs take is measured with 'harness(..., virtual_time=True)'")
        return self._clock.elapsed

    async def run_async(self, input: I, /, **options: Unpack[RunOptions]) -> PipelineResult[O, Any]:
        """Runs the pipeline once, and answers what it asks.

        Args:
            input: Its input.
            options: ``context``, ``run_id``, ``tenant``.

        Returns:
            The result of a run that completed or was stopped; or is paused, at what ``answer`` was not told of.

        Raises:
            RunFailed: The run failed; the harness has its ``result`` all the same.
        """
        flujo: Flujo[I, O, Any] = Flujo(
            self._faked(self._pipeline),
            context=self._context,
            resources=self._resources,
            store=self._store,
            plugins=self._plugins,
            settings=Settings(PluginSettings(allow=())),
        )
        async with flujo:
            try:
                self.result = await self._answers.to(flujo, await flujo.run_async(input, **options))
            except RunFailed as failure:
                self.result = failure.result
                raise
        return self.result

    def _places(self, step: Node[Any, Any]) -> Mapping[str, Node[Any, Any]]:
        """A step wherever it is in the pipeline, by the addresses that ``walk`` would give."""
        known = dict(everything(self._pipeline))
        found = {address: node for address, node in known.items() if _is_alike(node, step)}
        if not found:
            names = [node.label for node in known.values()]
            raise DefinitionError(f"the pipeline has no step '{step.label}'{did_you_mean(step.label, names)}")
        return found

    def _faked(self, node: Node[Any, Any]) -> Node[Any, Any]:
        """The pipeline with fakes in their places; of two for one step, the last one."""
        fake = next((fake for step, fake in reversed(self._fakes) if _is_alike(node, step)), None)
        return node.rebuilt(self._faked) if fake is None else _stand_in(node, fake)


@asynccontextmanager
async def harness(
    pipeline: Node[I, O],
    *,
    context: type[PipelineContext] | None = None,
    resources: Resources | None = None,
    store: str | Store | None = None,
    plugins: Sequence[Plugin] = (),
    virtual_time: bool = False,
) -> AsyncIterator[Harness[I, O]]:
    """Runs a pipeline in a test: ``async with harness(pipeline) as h``.

    Args:
        pipeline: What to run.
        context: The class of the context; what the steps take, unless given.
        resources: What steps get as their resources.
        store: Where runs are journaled; None: nowhere.
        plugins: The plugins that take part.
        virtual_time: Whether backoffs, timeouts and sleeps are over at once; see ``virtual_time``.

    Raises:
        DefinitionError: The pipeline cannot be right.
        ConfigurationError: Its steps take contexts that no one class suits.
    """
    kind = context or context_of(pipeline)
    if not virtual_time:
        yield Harness(pipeline, kind, None, resources=resources, store=store, plugins=plugins)
        return
    with _virtual_time() as clock:
        yield Harness(pipeline, kind, clock, resources=resources, store=store, plugins=plugins)


_virtual_time = virtual_time


def _is_alike(node: Node[Any, Any], step: Node[Any, Any]) -> bool:
    """Whether two nodes are one, or do the same under one name, as a copy with other policies does."""
    both = isinstance(node, Step) and isinstance(step, Step) and node.action is step.action
    return node is step or (both and node.label == step.label)


def _stand_in(node: Node[Any, Any], fake: Fake[Any, Any]) -> Step[Any, Any]:
    """A step that asks a fake in the place of a node."""
    signature = Signature(node.takes, node.gives, True, True, None, {}, None, {}, node.item)
    policies = replace(node.policies, cache=None, backend=None, resources=None)
    kind: type[Step[Any, Any]] = Step if node.item is None else StreamingStep
    return kind(node.label, FunctionAction(_asking(node, fake), node.label, {}, signature), policies)


def _asking(node: Node[Any, Any], fake: Fake[Any, Any]) -> Callable[[Any], Any]:
    """What asks a fake: with the whole where its node takes a stream, and for the whole where that gives one."""
    if node.item is None and node.takes_item is None:
        return fake

    async def answer(value: Any) -> Any:
        if node.takes_item is not None:
            pieces = [piece async for piece in value]
            value = "".join(pieces) if collected(node.takes_item) is str else pieces
        return await fake(value)

    async def stream(value: Any) -> AsyncIterator[Any]:
        for piece in pieces_of(await answer(value), node.item == node.gives):
            yield piece

    return answer if node.item is None else stream
