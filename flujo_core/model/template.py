"""Texts with placeholders: ``{{ input.subject }}``, and ``{{ read.body }}`` for what the step ``read`` gave."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from flujo_core.errors import DefinitionError
from flujo_core.model.field import field_type, value_at
from flujo_core.model.inputs import RUN_INPUT, SCOPE_INPUT, From, NamedInput
from flujo_core.model.slotted import NamedTuple, frozen

PLACEHOLDER = r"(?s)\{\{\s*(.*?)\s*\}\}"
NAME = r"[A-Za-z_][\w-]*"
PATH = rf"(?P<root>(?:{NAME}(?:\[[^\]{{}}]+\])?/)*{NAME})(?P<path>(?:\.\w+)*)"
NOTHING: Mapping[From, Any] = {}
SPECIAL = {"run_input": RUN_INPUT, "scope_input": SCOPE_INPUT}


class Placeholder(NamedTuple):
    """One placeholder.

    Attributes:
        source: The named input that it shows, or None for the step's own.
        path: A field of that.
    """

    source: From | None
    path: tuple[str, ...]


@frozen()
class Template:
    """A text with placeholders.

    Attributes:
        pieces: Literal texts and, between them, placeholders.
        step: The step's name, for messages.
        role: What the text is to the step, for messages.
    """

    pieces: tuple[str | Placeholder, ...]
    step: str
    role: str = "prompt"

    @property
    def named(self) -> Sequence[NamedInput]:
        """The named inputs that it shows."""
        found = dict.fromkeys(one.source for one in self.pieces if isinstance(one, Placeholder) and one.source)
        return [
            NamedInput(f"{{{{ {_written(source)} }}}}", source, Any, False, is_placeholder=True) for source in found
        ]

    @property
    def text(self) -> str:
        """The text that it was read from, but for the spaces in placeholders."""
        return "".join(one if isinstance(one, str) else f"{{{{ {_placed(one)} }}}}" for one in self.pieces)

    def check(self, takes: Any) -> None:
        """Checks the placeholders that name the step's input, which is of type ``takes``.

        Raises:
            DefinitionError: One does not resolve.
        """
        for one in self.pieces:
            if isinstance(one, Placeholder) and one.source is None:
                field_type(one.path, takes, _said(self, ".".join(["input", *one.path])))

    def render(self, value: Any, named: Mapping[From, Any] = NOTHING) -> str:
        """The text with each placeholder replaced by what it names; models become JSON.

        Args:
            value: The step's input.
            named: The named inputs.
        """
        return "".join(one if isinstance(one, str) else _shown(one, value, named) for one in self.pieces)


def parse(text: str, step: str, takes: Any, role: str = "prompt") -> Template:
    """Reads a text, and checks those of its placeholders that name the input.

    Args:
        text: The text. ``{{ input }}`` is the step's input, ``{{ input.a.b }}`` a field of it; any other name is that
            of a step before this one, or ``run_input`` or ``scope_input``.
        step: The step's name, for messages.
        takes: The type of the step's input.
        role: What the text is to the step, for messages.

    Raises:
        DefinitionError: A placeholder does not resolve.
    """
    pieces: list[str | Placeholder] = []
    end = 0
    for found in re.finditer(PLACEHOLDER, text):
        pieces += [text[end : found.start()], _placeholder(found[1], Template((), step, role))]
        end = found.end()
    made = Template(tuple(piece for piece in [*pieces, text[end:]] if piece != ""), step, role)
    made.check(takes)
    return made


def _placeholder(written: str, of: Template) -> Placeholder:
    found = re.fullmatch(PATH, written)
    if found is None:
        raise DefinitionError(
            f"{_said(of, written)}, which names nothing; write '{{{{ input.field }}}}', or '{{{{ step.field }}}}' for"
            " what another step gave"
        )
    path = tuple(found["path"].split(".")[1:])
    if found["root"] != "input":
        root = SPECIAL.get(found["root"], found["root"])
        return Placeholder(From(root, path=".".join(path) or None), ())
    return Placeholder(None, path)


def _said(of: Template, written: str) -> str:
    """How messages name a placeholder."""
    return f"the {of.role} of step '{of.step}' has a placeholder '{{{{ {written} }}}}'"


def _placed(one: Placeholder) -> str:
    """What stands between the braces of a placeholder."""
    return ".".join(["input", *one.path]) if one.source is None else _written(one.source)


def _written(source: From) -> str:
    root = next((word for word, name in SPECIAL.items() if name == source.name), source.name)
    return ".".join([root, *source.path])


def _shown(one: Placeholder, value: Any, named: Mapping[From, Any]) -> str:
    shown = value_at(value if one.source is None else named[one.source], one.path)
    return shown if isinstance(shown, str) else to_json(shown, fallback=str).decode()
