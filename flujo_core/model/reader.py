"""Functions that decide something from a value and, if they take it, the context: predicates, keys, validators."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from flujo_core.errors import SignatureError
from flujo_core.model.check import bare
from flujo_core.model.draft import ContextBase

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Reader:
    """A function of a value and, if it has a parameter ``context``, of the context, which it only reads.

    Args:
        function: The function.
        what: What it is, for messages: ``'until' of loop 'refine'``.
        scope: The local names where it was given, for annotations that are strings.
        may_await: Whether it may be async.

    Raises:
        SignatureError: It cannot be called so.
    """

    def __init__(
        self, function: Callable[..., Any], what: str, scope: Mapping[str, Any], *, may_await: bool = False
    ) -> None:
        self.function = function
        self.what = what
        self._scope = scope
        if not callable(function):
            raise SignatureError(f"{what} is a function, not {type(function).__name__!r}")
        awaits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        if awaits and not may_await:
            raise SignatureError(f"{what} is async; what awaits is a step: put that before, and decide on its output")
        parameters = self._parameters()
        if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY or parameters[0].name == "context":
            raise SignatureError(f"{what} takes the value first, and then, if at all, 'context'")
        first, *rest = parameters
        self.context_parameter = next((p.name for p in rest if p.name == "context"), None)
        self._first = first.name
        wanting = [p.name for p in rest if p.name != "context" and p.default is p.empty]
        if wanting:
            raise SignatureError(
                f"{what} has a parameter '{wanting[0]}' that nothing gives it: it takes the value, and 'context'"
            )

    def _parameters(self) -> list[inspect.Parameter]:
        try:
            found = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError):  # a built-in that does not say
            return [inspect.Parameter("value", inspect.Parameter.POSITIONAL_ONLY)]
        return [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)] or [
            p.replace(kind=p.POSITIONAL_ONLY) for p in found if p.kind is p.VAR_POSITIONAL
        ]

    @cached_property
    def _hints(self) -> Mapping[str, Any]:
        plain = inspect.isfunction(self.function) or inspect.ismethod(self.function)
        try:
            return get_type_hints(
                self.function if plain else type(self.function).__call__, localns=dict(self._scope), include_extras=True
            )
        except (NameError, TypeError):  # what is not there cannot be checked
            return {}

    @property
    def takes(self) -> Any:
        """The type of the value."""
        if isinstance(self.function, type):
            return Any
        return self._hints.get(self._first, Any)

    @property
    def gives(self) -> Any:
        """The type of what it decides."""
        return self.function if isinstance(self.function, type) else self._hints.get("return", Any)

    @property
    def context(self) -> type[PipelineContext] | None:
        """The context's type, if it takes one and says which."""
        hint: Any = bare(self._hints.get(self.context_parameter or "", None))
        return hint if isinstance(hint, type) and issubclass(hint, ContextBase) else None  # type: ignore[return-value]

    @property
    def gives_async(self) -> bool:
        """Whether it says that it gives an async iterable."""
        gives = bare(self.gives)
        kind = get_origin(gives) or gives
        declared = isinstance(kind, type) and issubclass(kind, AsyncIterable)
        return declared or inspect.isasyncgenfunction(self.function)

    def takes_parameter(self, name: str) -> bool:
        """Whether it has a parameter of this name."""
        return any(p.name == name for p in self._parameters())

    @property
    def name(self) -> str:
        """The function's name, for messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)
