"""A context that shows another one to each who looks: to a tool call of an agent, the draft of that call."""

from __future__ import annotations

from copy import copy
from functools import cache
from types import new_class
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Stage(Protocol):
    """What knows which context is to be seen."""

    def current(self) -> PipelineContext:
        """The context that whoever asks is to see."""
        ...


def view(kind: type[PipelineContext], stage: Stage) -> PipelineContext:
    """A context of class ``kind``, all of whose reads and writes go to the one that ``stage`` tells at that moment."""
    made = _view_class(kind).__new__(_view_class(kind))
    object.__setattr__(made, "_read_from", stage)
    return made


def _seen(made: Any) -> PipelineContext:
    stage: Stage = object.__getattribute__(made, "_read_from")
    return stage.current()


class _View:
    """Goes before the class of the context; what Python looks up on the class is told here, all else is passed on."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        return getattr(_seen(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_seen(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_seen(self), name)

    def __eq__(self, other: object) -> bool:
        return _seen(self) == (_seen(other) if isinstance(other, _View) else other)

    __hash__ = None  # type: ignore[assignment]  # as contexts have none

    def __iter__(self) -> Any:
        return iter(_seen(self))

    def __copy__(self) -> Any:
        return copy(_seen(self))

    def __repr__(self) -> str:
        return repr(_seen(self))

    __str__ = __repr__


@cache
def _view_class(kind: type[PipelineContext]) -> type[PipelineContext]:
    names: dict[str, Any] = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return new_class(kind.__name__, (_View, kind), exec_body=lambda body: body.update(names))
