"""Documents: specs as text, in JSON or YAML, read safely; and where in the text something stands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flujo_core.errors import ConfigurationError, DefinitionError


class Document:
    """A spec as text, read.

    A file whose name ends in ``.json``, and a text that is JSON, need nothing else; any other is YAML, which is read
    with PyYAML: only plain data, and no key twice.

    Args:
        source: The text, or the path of a file.
        where: What it is, for messages: "the agent spec".
        example: What it may begin with, for messages.

    Attributes:
        data: What is in it.

    Raises:
        DefinitionError: It cannot be read.
        ConfigurationError: It is YAML, and PyYAML is not installed: it is the extra ``yaml``.
    """

    def __init__(self, source: str | Path, where: str, example: str) -> None:
        self._text = source if isinstance(source, str) else _text_of(source, where)
        self._is_json = source.suffix == ".json" if isinstance(source, Path) else _is_json(self._text)
        data = _from_json(self._text, where) if self._is_json else self._from_yaml(where)
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise DefinitionError(f"{where} has names with values, such as '{example}'; it is a {type(data).__name__}")
        self.data: Mapping[str, Any] = data

    def _from_yaml(self, where: str) -> Any:
        try:
            from flujo_core.agents.yaml_text import read  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigurationError(f"{where} is YAML, which PyYAML reads; pip install 'flujo-core[yaml]'") from error
        return read(self._text, where)

    def line(self, place: Sequence[str | int]) -> int | None:
        """The line on which something stands, from 1; None where that is not known.

        Args:
            place: The keys and indexes that lead there.
        """
        if self._is_json:
            return None
        from flujo_core.agents.yaml_text import line_of  # noqa: PLC0415 - an extra, which has read the text

        return line_of(self._text, place)


def _text_of(file: Path, where: str) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise DefinitionError(f"{where} cannot be read: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise DefinitionError(f"{where} cannot be read: it is not UTF-8") from None


def _is_json(text: str) -> bool:
    """Whether a text is JSON; YAML may begin with a brace, too."""
    try:
        json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def _from_json(text: str, where: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DefinitionError(f"{where} has '{twice}' twice in one place")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DefinitionError(f"{where} cannot be read: {place} is not JSON") from None
    except RecursionError:
        raise DefinitionError(f"{where} cannot be read: it is too deep") from None
