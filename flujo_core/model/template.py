"""Prompts with placeholders: ``{{ input.subject }}``, resolved against the input's type when the step is built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import to_json
from typing_extensions import is_typeddict

from flujo_core.errors import DefinitionError, did_you_mean
from flujo_core.model.check import bare, is_mapping, members, type_name

PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


@dataclass(frozen=True)
class Template:
    """A prompt text with placeholders.

    Attributes:
        pieces: Literal texts and, between them, the paths of placeholders (without ``input``).
    """

    pieces: tuple[str | tuple[str, ...], ...]

    def render(self, value: Any) -> str:
        """The text with each placeholder replaced by what it names in ``value``; models become JSON."""
        return "".join(piece if isinstance(piece, str) else _text(_at(value, piece)) for piece in self.pieces)


def parse(text: str, step: str, takes: Any) -> Template:
    """Reads a prompt text and checks its placeholders.

    Args:
        text: The prompt. ``{{ input }}`` is the step's input, ``{{ input.a.b }}`` a field of it.
        step: The step's name, for messages.
        takes: The type of the step's input.

    Raises:
        DefinitionError: A placeholder does not resolve.
    """
    pieces: list[str | tuple[str, ...]] = []
    end = 0
    for found in PLACEHOLDER.finditer(text):
        pieces += [text[end : found.start()], _path(found[1], step, takes)]
        end = found.end()
    return Template(tuple(piece for piece in [*pieces, text[end:]] if piece != ""))


def _path(placeholder: str, step: str, takes: Any) -> tuple[str, ...]:
    root, *names = placeholder.split(".")
    if not PATH.fullmatch(placeholder) or root != "input":
        raise DefinitionError(
            f"the prompt of step '{step}' has a placeholder '{{{{ {placeholder} }}}}', which names nothing;"
            " write '{{ input }}' or '{{ input.field }}'"
        )
    _check_path(names, takes, f"the prompt of step '{step}' has a placeholder '{{{{ {placeholder} }}}}'")
    return tuple(names)


def _check_path(names: list[str], hint: Any, what: str) -> None:
    for name in names:
        known = _fields(hint)
        if known is None:
            return  # a mapping, or a type that does not say what is in it
        if name not in known:
            hint_name = type_name(hint)
            raise DefinitionError(f"{what}, but '{hint_name}' has no field '{name}'{did_you_mean(name, known)}")
        hint = known[name]


def _fields(hint: Any) -> Mapping[str, Any] | None:
    """The fields of a type, or None where any name may be there."""
    hint = bare(hint)
    if len(members(hint)) > 1 or hint in (Any, object) or is_mapping(hint):
        return None
    if isinstance(hint, type) and get_origin(hint) is None:
        if issubclass(hint, BaseModel):
            return {name: field.annotation for name, field in hint.model_fields.items()} | _properties(hint)
        if is_typeddict(hint) or is_dataclass(hint):
            hints = get_type_hints(hint)
            return {f.name: hints[f.name] for f in fields(hint)} if is_dataclass(hint) else hints
        return _properties(hint) | {
            name: Any for kind in hint.__mro__ for name in vars(kind).get("__annotations__", {})
        }
    return dict.fromkeys((), None) if get_args(hint) else None


def _properties(hint: type) -> dict[str, Any]:
    return {
        name: Any for kind in hint.__mro__ for name, member in vars(kind).items()
        if isinstance(member, property) and not name.startswith("_")
    }  # fmt: skip


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value, fallback=str).decode()
