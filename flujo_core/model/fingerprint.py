"""What a node is, as a digest: it changes when the code that it names does."""

from __future__ import annotations

from typing import Any

from flujo_core.model.flow import Node
from flujo_core.model.manifest import Manifest


def fingerprint(node: Node[Any, Any]) -> str:
    """A digest of a node: the names, versions, types, bodies and agents of all that is in it; see ``Manifest``."""
    return Manifest.of(node).digest
