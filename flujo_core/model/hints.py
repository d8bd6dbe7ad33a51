"""ResourceHints: what a step needs of the place that it runs at."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, fields
from typing import Any

from flujo_core.errors import DefinitionError, did_you_mean
from flujo_core.model.slotted import frozen

NUMBERS = ("cpu", "gpu", "memory", "max_runtime")


@frozen()
class ResourceHints:
    """What a step needs, or would like, of the backend that it runs on.

    A backend says which hints it honours. A required hint that it does not honour is an error when the ``Flujo`` is
    made; one that is not required is passed on, and may have no effect.

    Args:
        cpu: Cores.
        gpu: Devices.
        memory: Bytes.
        accelerator: A kind of device: ``"nvidia-h100"``.
        labels: What the place must be marked with: ``{"zone": "eu"}``.
        priority: What is more urgent has the greater number.
        queue: The name of the queue that it waits in.
        max_runtime: Seconds after which it is to be stopped by force, counted from when it begins there.
        required: The names of the hints that must be honoured; None: all that are given.

    Raises:
        DefinitionError: A number is not above 0, or ``required`` names what is not given.
    """

    cpu: float | None = None
    gpu: float | None = None
    memory: int | None = None
    accelerator: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    queue: str | None = None
    max_runtime: float | None = None
    required: Collection[str] | None = None

    def __post_init__(self) -> None:
        for name in NUMBERS:
            value = getattr(self, name)
            if value is None:
                continue
            kind = int if name == "memory" else int | float
            if isinstance(value, bool) or not isinstance(value, kind):
                raise DefinitionError(f"'{name}' of ResourceHints is a number, not {type(value).__name__!r}")
            if not value > 0:
                raise DefinitionError(f"'{name}' of ResourceHints is above 0, not {value}")
        if isinstance(self.required, str):
            raise DefinitionError("'required' of ResourceHints is a list of names of hints, such as '[\"gpu\"]'")
        if self.required is not None:
            object.__setattr__(self, "required", frozenset(self.required))
        for name in self.required or ():
            if name not in self.given:
                raise DefinitionError(
                    f"'required' of ResourceHints names '{name}', which is not given{did_you_mean(name, self.given)}"
                )

    @property
    def given(self) -> dict[str, Any]:
        """The hints that are given, by name."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "required"}
        return {name: value for name, value in found.items() if value is not None and value != {}}

    @property
    def needed(self) -> frozenset[str]:
        """The names of those that must be honoured."""
        return frozenset(self.given if self.required is None else self.required)


NO_HINTS = ResourceHints()
