"""What a part that has run before gives on: its recorded output, read by whoever needs it, if anybody does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Later:
    """A value of the past.

    Args:
        read: Reads it; each reader gets a value of its own. Raises ``IncompatiblePipeline`` where it does not fit what
            it is declared as now.
    """

    __slots__ = ("read",)

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read


def given(value: Any) -> Any:
    """The value that a part was given."""
    return value.read() if type(value) is Later else value
