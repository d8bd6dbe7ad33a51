"""The backends of one Flujo: made when a pipeline names them, kept until it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from flujo_core.backend.protocol import Backend
from flujo_core.engine.compile import BackendOf
from flujo_core.errors import ConfigurationError, DefinitionError
from flujo_core.hooks.host import Host
from flujo_core.log import warning
from flujo_core.model.policy import LOCAL
from flujo_core.model.step import Step


class Backends:
    """The backends that steps of one ``Flujo`` run on."""

    def __init__(self) -> None:
        self._made: dict[object, Backend] = {}

    def of(self, host: Host) -> BackendOf:
        """What gives each step the backend that it runs on, of those that the plugins have registered.

        What it gives raises ``ConfigurationError`` if there is none of a name, and ``DefinitionError`` if it does not
        honour a hint that a step requires.
        """
        return lambda step, address: self._of(step, address, host)

    def _of(self, step: Step[Any, Any], address: str, host: Host) -> Backend | None:
        name, hints = step.policies.remote, step.policies.hints
        if name is None:
            _check_hints(f"step '{address}'", hints.needed, LOCAL, frozenset())
            return None
        try:
            factory = host.backends.get(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"step '{address}' cannot have its backend: {error}") from error
        backend = self._made[factory] if factory in self._made else self._make(factory, name)
        _check_hints(f"step '{address}'", hints.needed, name, backend.honours)
        return backend

    def _make(self, factory: Callable[[], Any], name: str) -> Backend:
        try:
            made = factory()
        except Exception as error:
            raise ConfigurationError(f"backend '{name}' cannot be made: it raised {type(error).__name__}") from error
        if not isinstance(made, Backend):
            raise ConfigurationError(
                f"what makes backend '{name}' gave {type(made).__name__!r}, which is none; it has 'honours',"
                " 'isolates', 'execute' and 'aclose'"
            )
        self._made[factory] = made
        return made

    async def aclose(self) -> None:
        """Closes them all; they can be used again. What one raises is logged."""
        found = await asyncio.gather(*(one.aclose() for one in self._made.values()), return_exceptions=True)
        for error in found:
            if error is not None:
                warning("backend.not_closed", failure=type(error).__name__)


def _check_hints(what: str, needed: frozenset[str], name: str, honours: frozenset[str]) -> None:
    if missing := sorted(needed - honours):
        known = f"it honours {', '.join(map(repr, sorted(honours)))}" if honours else "it honours none"
        raise DefinitionError(
            f"{what} requires '{missing[0]}' in its 'resources', which backend '{name}' does not honour: {known}; give"
            " another 'backend', or leave it out of 'ResourceHints(required=...)'"
        )
