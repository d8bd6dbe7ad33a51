"""From: an input that a step takes by the name of what gives it, and not from the step before."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from flujo_core.errors import DefinitionError


class Named(Protocol):
    """What an input can be named after: a step, or any other node."""

    @property
    def name(self) -> str | None:
        """Its name; None for a pipeline without one."""
        ...


class From:
    """Where a keyword-only parameter of a step comes from: ``email: Annotated[Email, From("read")]``.

    ``From.run_input`` is the input of the run. ``From.scope_input`` is that of the scope around the step: the item of a
    ``Map``, or what a ``Loop`` began with.

    Args:
        source: A step before this one, or its name; or the path of a child: ``"refine/write"`` is what ``write`` gave
            in the last iteration of the loop ``refine``, ``"fan[left]/draft"`` what ``draft`` gave in a branch.
        path: A field of that output: ``"customer.name"``.

    Raises:
        DefinitionError: The source has no name, or the path is empty.
    """

    run_input: ClassVar[From]
    scope_input: ClassVar[From]

    __slots__ = ("name", "path")

    def __init__(self, source: str | Named, *, path: str | None = None) -> None:
        name = source if isinstance(source, str) else source.name
        if not name:
            raise DefinitionError("'From' names a step; give the pipeline that it is to name one, by '.named(...)'")
        if path is not None and not all(path.split(".")):
            raise DefinitionError(f"'path' of From('{name}') is the path of a field, such as 'customer.name'")
        self.name = name
        self.path: tuple[str, ...] = tuple(path.split(".")) if path else ()

    @property
    def said(self) -> str:
        """How messages name it."""
        return {RUN_INPUT: "From.run_input", SCOPE_INPUT: "From.scope_input"}.get(self.name, f"'{self.name}'")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, From) and (self.name, self.path) == (other.name, other.path)

    def __hash__(self) -> int:
        return hash((self.name, self.path))

    def __repr__(self) -> str:
        return f"From({self.name!r})" if not self.path else f"From({self.name!r}, path={'.'.join(self.path)!r})"


RUN_INPUT = "~run_input"
SCOPE_INPUT = "~scope_input"
"""Names that no step can be addressed by, as '~' is percent-encoded in addresses."""

From.run_input = From(RUN_INPUT)
From.scope_input = From(SCOPE_INPUT)


class NamedInput:
    """One parameter, or placeholder, that takes a named input.

    Args:
        parameter: What messages call it.
        source: Where it comes from.
        hint: The type that it is declared with.
        has_default: Whether it can do without.
        is_placeholder: Whether a prompt text shows it.
    """

    __slots__ = ("has_default", "hint", "is_placeholder", "parameter", "source")

    def __init__(
        self, parameter: str, source: From, hint: Any, has_default: bool, *, is_placeholder: bool = False
    ) -> None:
        self.parameter = parameter
        self.source = source
        self.hint = hint
        self.has_default = has_default
        self.is_placeholder = is_placeholder
