"""What may happen around a step's attempts: how often it is tried, and how long one attempt may take."""

from __future__ import annotations

import os
from dataclasses import dataclass

from flujo_core.errors import ConfigurationError, DefinitionError, ModelRejected

HOPELESS = (ConfigurationError, ModelRejected)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failing step is tried, and how long it waits in between.

    The wait before attempt n is ``backoff * factor ** (n - 2)`` seconds, at most ``max_backoff``, changed at random by
    up to the share ``jitter`` of itself.

    Args:
        attempts: How often the step is tried in all, at least 1.
        backoff: Seconds before the second attempt.
        factor: How much longer each further wait is.
        max_backoff: The longest wait, in seconds.
        jitter: A share from 0 to 1.
        on: The exceptions after which the step is tried again; but never after a ``ConfigurationError`` or a
            ``ModelRejected``, which the same again would meet again.

    Raises:
        DefinitionError: A number is out of its range.
    """

    attempts: int
    backoff: float = 0.0
    factor: float = 2.0
    max_backoff: float = 60.0
    jitter: float = 0.1
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int):
            raise DefinitionError(f"'attempts' of a Retry is a whole number, not {type(self.attempts).__name__!r}")
        if self.attempts < 1:
            raise DefinitionError(
                f"'attempts' of a Retry counts the first attempt too; it is {self.attempts}, not >= 1"
            )
        for name in ("backoff", "max_backoff"):
            if not getattr(self, name) >= 0:  # so that NaN is refused too
                raise DefinitionError(f"'{name}' of a Retry is in seconds; it is {getattr(self, name)}, not >= 0")
        if not self.factor >= 1 or not 0 <= self.jitter <= 1:
            raise DefinitionError("'factor' of a Retry is at least 1, and 'jitter' between 0 and 1")

    def wants(self, error: BaseException, attempt: int) -> bool:
        """Whether there is to be another attempt after ``error`` in attempt number ``attempt``."""
        return attempt < self.attempts and isinstance(error, self.on) and not isinstance(error, HOPELESS)

    def wait(self, attempt: int, chance: float) -> float:
        """Seconds between attempt number ``attempt`` and the next one.

        Args:
            attempt: From 1.
            chance: A random number from 0 to 1.
        """
        try:
            seconds = min(self.backoff * self.factor ** (attempt - 1), self.max_backoff)
        except OverflowError:
            seconds = self.max_backoff if self.backoff else 0.0
        return seconds * (1 + self.jitter * (2 * chance - 1))


@dataclass(frozen=True, slots=True)
class StepPolicy:
    """What holds for each run of one step.

    Args:
        retry: When it is tried again; None: never.
        timeout: How long one attempt may take, in seconds; None: as long as it takes.

    Raises:
        DefinitionError: The timeout is not above 0.
    """

    retry: Retry | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.retry, Retry | None):
            raise DefinitionError(
                f"'retry' is a 'Retry', such as 'Retry(attempts=3)', not {type(self.retry).__name__!r}"
            )
        if not isinstance(self.timeout, int | float | None):
            raise DefinitionError(f"'timeout' is a number of seconds, not {type(self.timeout).__name__!r}")
        if self.timeout is not None and not self.timeout > 0:
            raise DefinitionError(f"'timeout' is in seconds and above 0, not {self.timeout}")


NO_POLICY = StepPolicy()
"""One attempt, as long as it takes."""


def chance() -> float:
    """A random number from 0 to 1, of the operating system: the ``random`` module is dear to import."""
    return int.from_bytes(os.urandom(4)) / 0xFFFFFFFF
