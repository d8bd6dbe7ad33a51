"""The types of the values that a run writes, and where they carry labels: for value codecs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from flujo_core.engine.finder import Finder, finder
from flujo_core.engine.program import Program
from flujo_core.engine.question import imported
from flujo_core.model.event import QuestionAnswered, QuestionAsked, RunEnded, RunEvent, RunStarted, VoteCast
from flujo_core.model.flow import Node
from flujo_core.model.label import ITEM, LabelledPath, labels_of
from flujo_core.model.map import Map
from flujo_core.model.question import response_of
from flujo_core.store.codec import decode
from flujo_core.store.parts import Part
from flujo_core.store.protocol import Record, Store
from flujo_core.store.value_codec import ValueAbout
from flujo_core.store.valued import Typed, ValuedStore

if TYPE_CHECKING:
    from flujo_core.engine.live import LiveRun
    from flujo_core.model.context import PipelineContext

Told: TypeAlias = Callable[[], Iterable[RunEvent]]
"""Gives the events of a run, from the first."""


class RunTypes:
    """What is known of the types of the values of one run.

    Args:
        program: What it runs.
        node_of: Gives its nodes.
        told: Gives its events.
    """

    def __init__(self, program: Program, node_of: Finder, told: Told) -> None:
        self._program = program
        self._node_of = node_of
        self._told = told

    @property
    def subject(self) -> str:
        """A digest of whom the run's data is about; empty if nobody said."""
        return self._subject

    @cached_property
    def _subject(self) -> str:
        first = next(iter(self._told()))
        return first.origin.subject if isinstance(first, RunStarted) else ""

    def of(self, record: Record, part: Part, /) -> Typed:
        """That of a part of a record."""
        program = self._program
        match part.kind:
            case "input":
                return typed(program.takes)
            case "context":
                return typed(program.context_type)
            case "patch":
                return typed_patch(program.context_type)
            case "output" if record.kind == RunEnded.kind:
                return typed(program.gives)
            case "output":
                node = self._node(record.address)
                return self._untyped if node is None else typed(node.gives)
            case "item":
                node = self._node(record.address)
                return typed(node.item) if isinstance(node, Map) else self._untyped
            case "state":
                return self._state(record.address)
            case "answer":
                return self._answer(record)
        return self._untyped

    @property
    def _untyped(self) -> Typed:
        """That of a text that has no type of its own: it may be made of anything that the pipeline knows."""
        labels = self._program.labels
        return Typed(Any, (LabelledPath((), labels),) if labels else ())

    def _answer(self, record: Record) -> Typed:
        """That of the answer that a record tells of, or of the default of what it asks."""
        asked = self._asked(record)
        if asked.source != "step":
            found = imported(asked.response)
            return self._untyped if found is None else typed(found)
        node = self._node(record.address)
        try:
            return self._untyped if node is None else typed(response_of(node.gives, asked.response))
        except LookupError:  # it has no such type any more
            return self._untyped

    def _asked(self, record: Record) -> QuestionAsked:
        event = decode(record)
        if isinstance(event, QuestionAsked):
            return event
        assert isinstance(event, QuestionAnswered | VoteCast)
        return next(one for one in self._told() if isinstance(one, QuestionAsked) and one.sequence == event.question)

    def _state(self, address: str) -> Typed:
        """That of what is to go on behind a question: see ``engine/question.py``."""
        node = self._node(address)
        if node is None:
            return self._untyped
        below = {
            "input": typed(node.takes),
            "output": typed(node.gives),
            "before": typed_patch(self._program.context_type),
            "messages": self._untyped,
            "change": self._untyped,
        }
        return Typed(
            Any, tuple(LabelledPath((key, *one.path), one.labels) for key, of in below.items() for one in of.labels)
        )

    def _node(self, address: str) -> Node[Any, Any] | None:
        try:
            return self._node_of(address.partition("!")[0])
        except LookupError:
            return None


def known_types(run: LiveRun) -> RunTypes | None:
    """The types of the values that a run writes, where its store has value codecs, which are told of them."""
    journal, program = run.journal, run.program

    def node_of(address: str) -> Node[Any, Any]:
        return program.node_of(address) if run.shape is None else run.shape.node_of(address)

    types = RunTypes(program, node_of, lambda: chain(map(decode, journal.earlier), journal.events))
    return tell_types(journal.store, journal.run_id, types)


def types_in(program: Program, records: Sequence[Record]) -> RunTypes:
    """The types of the values in the records of a run."""
    return RunTypes(program, finder(program, records), lambda: map(decode, records))


def tell_types(store: Store | None, run_id: str, types: RunTypes) -> RunTypes | None:
    """Tells a store that has value codecs of the types of a run, for as long as somebody keeps what this gives."""
    if not isinstance(store, ValuedStore):
        return None
    store.types[run_id] = types
    return types


def expecting(store: Store, hint: Any, asked: QuestionAsked, subject: str) -> Store:
    """A store that knows what the answer to a question is.

    Args:
        store: The store.
        hint: The type of the answer.
        asked: The question.
        subject: A digest of whom the run's data is about, or nothing.
    """
    assert isinstance(store, ValuedStore)
    labels = typed(hint).labels
    return store.expecting(ValueAbout(asked.run_id, asked.tenant, subject, asked.address, "answer", labels, hint))


def typed(hint: Any) -> Typed:
    """A type, and where its values carry labels."""
    try:
        return _typed(hint)
    except TypeError:  # a hint that cannot be hashed, as its metadata cannot
        return _typed.__wrapped__(hint)


@cache
def _typed(hint: Any) -> Typed:
    return Typed(hint, labels_of(hint))


@cache
def typed_patch(kind: type[PipelineContext]) -> Typed:
    """The type of the context, and where what is kept of its changes (``model/patch.py``) carries labels."""
    return Typed(kind, tuple(LabelledPath((*_in_patch(one.path),), one.labels) for one in labels_of(kind)))


def _in_patch(path: tuple[str, ...]) -> tuple[str, ...]:
    """A place in the context, in a change: what kind of change it is stands behind the field's name."""
    field, *rest = path
    return (field, ITEM, *rest) if rest else path
