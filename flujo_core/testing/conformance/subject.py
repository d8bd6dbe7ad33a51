"""Subject: the plugin that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeAlias

from flujo_core.hooks.spec import Plugin
from flujo_core.testing.stand_in import lifecycle_hooks

Given: TypeAlias = Plugin | type[Plugin] | Callable[[], Plugin]


class Subject:
    """The plugin that is looked at, made anew for each trial where that is possible.

    Args:
        given: A plugin, its class, or a function without parameters that makes one.

    Attributes:
        given: As it was given.
        is_fresh: Whether each trial has a plugin of its own.
    """

    def __init__(self, given: Given) -> None:
        self.given = given
        self.is_fresh = callable(given) and not isinstance(given, Plugin)
        self._shown: Plugin | None = None

    @property
    def title(self) -> str:
        """What it is called in messages: its name, or, of what has none, the name of what was given."""
        name = self._shown.name if isinstance(self._shown, Plugin) and hasattr(self._shown, "name") else None
        given = self.given
        return name or (given.__name__ if isinstance(given, type | FunctionType) else type(given).__name__)

    def make(self) -> Plugin:
        """A plugin for one trial."""
        made: Any = self.given() if callable(self.given) and self.is_fresh else self.given
        return made  # type: ignore[no-any-return]

    @property
    def shown(self) -> Plugin:
        """A plugin to look at, that takes part in no trial where each has one of its own."""
        if self._shown is None:
            self._shown = self.make()
        return self._shown

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.shown.name

    @property
    def hooks(self) -> tuple[str, ...]:
        """The async hooks that it overrides."""
        return lifecycle_hooks(self.shown)

    def overrides(self, hook: str) -> bool:
        """Whether it overrides an async hook."""
        return hook in self.hooks
