"""YAML, by PyYAML: plain data only, and no key twice. Imported where there is YAML to read, as PyYAML is an extra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from flujo_core.errors import DefinitionError

MERGE = "tag:yaml.org,2002:merge"
BOOL = "tag:yaml.org,2002:bool"


class _Twice(Exception):
    """A mapping has a key twice."""


class _Loader(yaml.SafeLoader):
    """Reads plain data.

    It refuses a mapping that has a key twice, of which PyYAML would keep the last. ``on``, ``yes`` and ``no`` are
    texts, as they are since YAML 1.2: ``on`` is a key of specs, and the others may be cases.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            known = (key.tag, str(key.value))
            if known in seen and key.tag != MERGE:
                raise _Twice(f"line {key.start_mark.line + 1} has '{key.value}' a second time")
            seen.add(known)
        return node


_Loader.add_implicit_resolver(BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read(text: str, where: str) -> Any:
    """What a text of YAML holds.

    Args:
        text: The text.
        where: What it is, for messages.

    Raises:
        DefinitionError: It cannot be read; the message has the line.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, _Twice, ValueError, RecursionError) as error:
        raise DefinitionError(f"{where} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Why text cannot be read, without the text."""
    if isinstance(error, _Twice):
        return str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1} is not YAML"
    return "it is too deep" if isinstance(error, RecursionError) else "it is not YAML"


def line_of(text: str, place: Sequence[str | int]) -> int:
    """The line on which something stands in a text that was read, from 1.

    Args:
        text: The text.
        place: The keys and indexes that lead there.
    """
    node = yaml.compose(text, _Loader)
    line = node.start_mark.line if node is not None else 0
    for step in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line
            continue
        found = node.value if isinstance(node, yaml.MappingNode) else []
        entry = next(((key, value) for key, value in found if key.value == step), None)
        if entry is None:  # it is merged from elsewhere
            break
        line, node = entry[0].start_mark.line, entry[1]
    return line + 1


def written(data: Any) -> str:
    """Plain data as YAML, in the order that it has."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
