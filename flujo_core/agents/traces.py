"""Whether what a pydantic-ai agent is told goes into traces; told without importing pydantic-ai."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from flujo_core.model.agent import ModelAgent


@runtime_checkable
class _Settings(Protocol):
    """pydantic-ai's ``InstrumentationSettings``."""

    include_content: bool


@runtime_checkable
class _TracedModel(Protocol):
    """pydantic-ai's ``InstrumentedModel``."""

    instrumentation_settings: Any


@runtime_checkable
class _Tracing(Protocol):
    """pydantic-ai's capability ``Instrumentation``."""

    settings: _Settings


@runtime_checkable
class _Several(Protocol):
    """pydantic-ai's ``CombinedCapability``."""

    capabilities: Sequence[Any]


def traces_content(agent: object) -> bool:
    """Whether what an agent is told and says goes into traces: by its own settings, its model's, or those of all."""
    if not isinstance(agent, ModelAgent):
        return False
    return any(one.include_content if isinstance(one, _Settings) else bool(one) for one in _settings(agent))


def _settings(agent: ModelAgent) -> Iterator[object]:
    """All that is said of an agent's traces: settings, or whether there are any."""
    about = _attributes(agent)
    own = about.get("_instrument")
    yield own if own is not None else _default(type(agent))
    if isinstance(agent.model, _TracedModel):
        yield agent.model.instrumentation_settings
    root = about.get("_root_capability")
    for one in root.capabilities if isinstance(root, _Several) else (root,):
        if isinstance(one, _Tracing):
            yield one.settings


def _default(kind: type) -> object:
    """What ``Agent.instrument_all`` has said."""
    return next((found for one in kind.__mro__ if (found := vars(one).get("_instrument_default")) is not None), None)


def _attributes(one: object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(one, "__dict__", {})
    return found
