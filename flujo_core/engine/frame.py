"""An open scope of a run: what runs in it sees its context, and finds named inputs from here outwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flujo_core.engine.journal import Journal
from flujo_core.engine.later import Later, given
from flujo_core.engine.migrations import Migrations
from flujo_core.engine.past import Edge
from flujo_core.errors import InvalidValue
from flujo_core.hooks.dispatch import Hooks
from flujo_core.hooks.watchdog import Watch
from flujo_core.model.agent import ModelSource
from flujo_core.model.draft import State, own
from flujo_core.model.field import value_at
from flujo_core.model.inputs import RUN_INPUT, SCOPE_INPUT
from flujo_core.model.signature import Resources
from flujo_core.model.wiring import Source
from flujo_core.store.byte_codec import Hidden
from flujo_core.store.cache import CacheStore

if TYPE_CHECKING:
    from flujo_core.engine.design import Design
    from flujo_core.engine.ledger import Ledger
    from flujo_core.engine.shape import Shape
    from flujo_core.engine.typed import RunTypes
    from flujo_core.model.context import PipelineContext
    from flujo_core.store.value_codec import Values

MISSING: Any = object()
"""Stands for a named input that is not there (yet)."""


class Run(Protocol):
    """What parts must know of the run that they are part of.

    Attributes:
        journal: The run's journal.
        pipeline: The name of the pipeline.
        bare: Whether nothing but the list of its events follows the run: no hooks on steps, no store, no stream.
        hooks: The plugins' hooks.
        hooked: Whether a hook is called at each step.
        watched: Whether any hook is called, and so the watchdog looks.
        context_type: The class of the context.
        resources: What steps get as their resources.
        models: Where plugins' models are found.
        cache: Where cached outputs are.
        streams_text: Whether the pieces of an agent's text are wanted as they come.
        threads: The threads that attempts which were cancelled or timed out have left at work, by address.
        input: The run's input, where a step names it.
        max_recoveries: How often an attempt of a step may begin without coming to anything.
        edge: What is recorded of a resumed run, and where its parts wait for each other; None in a run that begins.
        former: The addresses that steps had when they first began, by those that they have now, if others.
        migrations: What turns recorded outputs into ones of the present versions.
        shape: How its steps have changed its pipeline; None: not at all.
        hidden: What hides the names that stand in clear, or None.
        types: What is known of the types of its values, where there are value codecs and a store; or None.
        values: The value codecs that entries of its cache go through, or None.
        ledger: What it may still spend; None: what it likes.
    """

    journal: Journal
    pipeline: str
    bare: bool
    hooks: Hooks
    hooked: bool
    watched: bool
    context_type: type[PipelineContext]
    resources: Resources | None
    models: ModelSource
    cache: CacheStore
    streams_text: bool
    threads: dict[str, asyncio.Future[Any]]
    input: Any
    max_recoveries: int
    edge: Edge | None
    former: dict[str, str]
    ledger: Ledger | None
    migrations: Migrations
    shape: Shape | None
    hidden: Hidden | None
    types: RunTypes | None
    values: Values | None

    @property
    def design(self) -> Design | None:
        """What its pipeline is made of, to make parts of it anew; None where it cannot be changed."""
        ...


class Closing(Protocol):
    """What tells whether anything is still to begin."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is to begin."""
        ...


class Frame:
    """One open scope.

    Attributes:
        run: The run.
        prefix: What the addresses in it begin with.
        state: The values of the context's fields, which the nearest scope with a context of its own has.
        watch: What the watchdog sees of the task that it runs in.
        around: The scope around it, or None for the run's.
        previous: The iteration before, of a loop's.
        input: The item, or what the loop began with, where a step names that.
        outputs: The outputs that other steps name, by node.
        inner: The scopes in it that other steps name, after they have ended.
        closing: What tells that nothing more is to begin in it, or None.
    """

    __slots__ = ("around", "closing", "inner", "input", "outputs", "prefix", "previous", "run", "state", "watch")

    def __init__(
        self, run: Run, prefix: str, state: State, watch: Watch, around: Frame | None = None, input: Any = None
    ) -> None:
        self.run = run
        self.prefix = prefix
        self.state = state
        self.watch = watch
        self.around = around
        self.previous: Frame | None = None
        self.input = input
        self.outputs: dict[str, Any] | None = None
        self.inner: dict[str, Frame] | None = None
        self.closing: Closing | None = None if around is None else around.closing

    def within(self, path: str, input: Any = None) -> Frame:
        """A scope in this one that shares its context."""
        return Frame(self.run, path + "/", self.state, self.watch, self, input)

    def forked(self, path: str, input: Any = None) -> Frame:
        """A scope in this one with a context of its own."""
        return Frame(self.run, path + "/", self.state.copy(), self.watch, self, input)

    def apart(self) -> Frame:
        """This scope with a context of its own, for an attempt that may fail; names mean the same in both."""
        made = Frame(self.run, self.prefix, self.state.copy(), self.watch, self.around, self.input)
        made.previous, made.closing = self.previous, self.closing
        made.outputs = self.outputs = {} if self.outputs is None else self.outputs
        made.inner = {} if self.inner is None else dict(self.inner)  # dropped with an attempt that fails
        return made

    def beside(self, closing: Closing) -> Frame:
        """This scope for a task that runs beside others in it, and is over with them."""
        made = Frame(self.run, self.prefix, self.state, self.watch, self.around, self.input)
        made.previous, made.outputs, made.inner, made.closing = self.previous, self.outputs, self.inner, closing
        return made

    def is_over(self) -> bool:
        """Whether nothing more is to begin in it, even if what runs does not heed its cancellation."""
        return self.closing is not None and self.closing.is_closed

    def keep(self, name: str, output: Any) -> None:
        """Keeps an output for the steps that name it."""
        if self.outputs is None:
            self.outputs = {}
        if type(output) is Later:
            output.read()  # so that one that does not fit any more is found before anything goes on
        self.outputs[name] = owned(output, f"what '{name}' gave")

    def enter(self, place: str, scope: Frame) -> None:
        """Keeps a scope that has ended for the steps that name what ran in it."""
        if self.inner is None:
            self.inner = {}
        self.inner[place] = scope

    def find(self, source: Source) -> Any:
        """A named input, as the reader's own; MISSING if what gives it has not run.

        Raises:
            InvalidValue: What gave it has no such field, or it cannot be copied.
        """
        value = given(self._whole(source))
        if value is MISSING:
            return MISSING
        what = f"the named input '{source.name.lstrip('~')}'"
        if source.path:
            try:
                value = value_at(value, source.path)
            except (AttributeError, KeyError, TypeError) as error:
                raise InvalidValue(f"{what} has no field '{'.'.join(source.path)}'") from error
        return owned(value, what)

    def _whole(self, source: Source) -> Any:
        if source.name == RUN_INPUT:
            return self.run.input
        scope: Frame | None = self
        for _ in range(source.up):
            assert scope is not None
            scope = scope.around
        if source.previous and scope is not None:
            scope = scope.previous
        for place in source.into:
            scope = None if scope is None or scope.inner is None else scope.inner.get(place)
        if scope is None:
            return MISSING
        if source.name == SCOPE_INPUT:
            return scope.input
        return MISSING if scope.outputs is None else scope.outputs.get(source.name, MISSING)


class Part(Protocol):
    """A node, ready to run."""

    def run(self, frame: Frame, value: Any, /) -> Awaitable[Any]:
        """Runs it in a scope, and gives its output."""
        ...


class Changed(Exception):
    """Raised by a part that has run, where other parts follow it now than those of its scope.

    Args:
        rest: What follows it.
        output: What it gave.
    """

    def __init__(self, rest: Parts, output: Any) -> None:
        super().__init__()
        self.rest = rest
        self.output = output


async def run_all(parts: Iterable[Part], frame: Frame, value: Any) -> Any:
    """Runs the parts of a scope one after the other, each with the output of the one before."""
    while True:
        try:
            for part in parts:
                value = await part.run(frame, value)
        except Changed as changed:
            parts, value = changed.rest, changed.output
        else:
            return value


def changed_fields(state: State, base: State) -> State:
    """The fields that may differ; values in a context are never changed in place."""
    return {name: value for name, value in state.items() if value is not base[name]}


def owned(value: Any, what: str) -> Any:
    """``value`` itself where it cannot change, else a copy.

    Raises:
        InvalidValue: It cannot be copied.
    """
    if type(value) is Later:
        return value  # each reader has its own
    try:
        return own(value)
    except Exception as error:
        raise InvalidValue(f"{what} cannot be copied, as it must be where more than one step gets it") from error


Parts = Sequence[Part]
