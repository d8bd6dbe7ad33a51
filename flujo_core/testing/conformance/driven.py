"""A coroutine that is driven step by step, so that it is known when it runs and when it waits."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, Protocol


class Driver(Protocol):
    """Who hears of the steps of a coroutine."""

    def resumes(self) -> None:
        """It goes on."""

    def rests(self, waiting: bool) -> None:
        """It gives the loop back.

        Args:
            waiting: Whether it waits for something; else it has ended.
        """


class Driven:
    """Awaits a coroutine, and tells a driver of its steps.

    Args:
        work: The coroutine.
        driver: Who hears of it.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], driver: Driver) -> None:
        self._work = work
        self._driver = driver

    def __await__(self) -> Generator[Any, Any, Any]:
        thrown: BaseException | None = None
        while True:
            waiting = False
            self._driver.resumes()
            try:
                wanted = self._work.send(None) if thrown is None else self._work.throw(thrown)
                waiting = True
            except StopIteration as ended:
                return ended.value
            finally:
                self._driver.rests(waiting)
            thrown = None
            try:
                yield wanted
            except BaseException as error:  # it is the coroutine's to handle
                thrown = error
