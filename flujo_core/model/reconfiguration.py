"""What may be changed of an agent from within a run, and what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from flujo_core.errors import DefinitionError, did_you_mean
from flujo_core.model.slotted import frozen


@frozen()
class Reconfigurable:
    """What earlier steps may change of a step's agent, by ``Reconfigure``: nothing but what is named here.

    Args:
        models: The names of models that it may be given instead of its own.
        settings: Settings of the model, by name, each with its least and its greatest value.
        instructions: Whether it may be told more, beside its own instructions.
        tools: The names of registered tools that it may be given beside its own.

    Raises:
        DefinitionError: One of them is something else.
    """

    models: Sequence[str] = ()
    settings: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    instructions: bool = False
    tools: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, given in (("models", self.models), ("tools", self.tools)):
            if isinstance(given, str) or not all(type(one) is str for one in given):
                raise DefinitionError(f"'{name}' of a 'Reconfigurable' is a list of names")
            object.__setattr__(self, name, tuple(given))
        if not _are_ranges(self.settings):
            raise DefinitionError("'settings' of a 'Reconfigurable' has a range for each name, such as (0.0, 0.7)")
        object.__setattr__(self, "settings", {name: (least, most) for name, (least, most) in self.settings.items()})
        if type(self.instructions) is not bool:
            raise DefinitionError("'instructions' of a 'Reconfigurable' is True or False")

    def __bool__(self) -> bool:
        return True

    def flaw(self, said: Mapping[str, Any]) -> str | None:
        """Why a request is not allowed, as the end of a sentence, or None."""
        model: str | None = said.get("model")
        if model is not None and model not in self.models:
            return f"the model '{model}', which is not one of those that it may have{did_you_mean(model, self.models)}"
        if said.get("instructions") and not self.instructions:
            return "instructions, and it takes none but its own"
        for tool in said.get("tools") or ():
            if tool not in self.tools:
                return f"the tool '{tool}', which is not one of those that it may have{did_you_mean(tool, self.tools)}"
        for name, value in (said.get("settings") or {}).items():
            if name not in self.settings:
                return f"the setting '{name}', which may not be changed{did_you_mean(name, self.settings)}"
            least, most = self.settings[name]
            if not _is_number(value) or not least <= value <= most:
                return f"a '{name}' outside of its range, which is from {least:g} to {most:g}"
        return None


def _are_ranges(given: object) -> bool:
    return isinstance(given, Mapping) and all(map(_is_range, given.values()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_range(given: object) -> bool:
    return isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_number, given)) and given[0] <= given[1]


class NotAllowed(Exception):
    """A step does not allow what another would change of its agent."""


@frozen()
class Reconfigured:
    """What was changed of an agent.

    Attributes:
        model: The name of the model that it asks instead of its own, or None.
        instructions: What it is told beside its own instructions, in order.
        settings: The settings of its model that are others.
        tools: The names of the registered tools that it has beside its own.
    """

    model: str | None = None
    instructions: tuple[str, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)
    tools: tuple[str, ...] = ()

    def plus(self, said: Mapping[str, Any], allowed: Reconfigurable, target: str) -> Reconfigured:
        """These changes and one more.

        Args:
            said: What is to be changed: ``model``, ``instructions``, ``settings``, ``tools``.
            allowed: What may be.
            target: The name of the step, for the message.

        Raises:
            NotAllowed: It may not be.
        """
        if (flaw := allowed.flaw(said)) is not None:
            raise NotAllowed(f"it would give '{target}' {flaw}")
        told = (said["instructions"],) if said.get("instructions") else ()
        return Reconfigured(
            said.get("model") or self.model,
            (*self.instructions, *told),
            {**self.settings, **(said.get("settings") or {})},
            tuple(dict.fromkeys((*self.tools, *(said.get("tools") or ())))),
        )
