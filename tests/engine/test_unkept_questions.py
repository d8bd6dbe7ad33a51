"""Questions that cannot be kept: what they are about is no JSON, or does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crash_kit import done, durable
from flow_kit import ALONE, State

from flujo_core import (
    Flujo,
    MemoryStore,
    PauseForHumanInput,
    Plugin,
    RunFailed,
    StepCall,
    StepError,
    StepResult,
    step,
)


class Opaque:
    """What cannot be written."""


@step
async def make(text: str) -> Opaque:
    return Opaque()


@step
async def keep(text: str) -> str:
    return text


@step
async def spoil(text: str, context: State) -> str | PauseForHumanInput[str]:
    context.notes = [Opaque()]  # type: ignore[list-item]
    return PauseForHumanInput("Go on?", str)


class Asks(Plugin):
    """Asks before or after the step."""

    name = "asks"

    def __init__(self, when: str, response: Any = bool) -> None:
        self.when, self.response = when, response

    async def pre_step_execution(self, call: StepCall, /) -> PauseForHumanInput[Any] | None:
        return PauseForHumanInput("Go on?", self.response) if self.when == "pre" else None

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> PauseForHumanInput[Any] | None:
        return PauseForHumanInput("Go on?", self.response) if self.when == "post" else None


def failure_of(flujo: Any) -> StepError:
    async def main() -> StepError:
        with pytest.raises(RunFailed) as failed:
            await flujo.run_async("a")
        cause = failed.value.__cause__
        assert isinstance(cause, StepError)
        return cause

    return done(main())


def test_a_step_whose_context_cannot_be_kept_fails_instead_of_asking() -> None:
    failure = failure_of(durable(spoil, MemoryStore()))
    assert failure.address == "spoil" and "Opaque" not in str(failure)


def test_a_plugin_that_asks_after_an_output_that_cannot_be_kept_fails_the_step() -> None:
    failure = failure_of(Flujo(make, plugins=[Asks("post")], settings=ALONE))
    assert failure.address == "make" and "cannot be written" in str(failure)


@pytest.mark.parametrize("when", ["pre", "post"])
def test_a_plugin_that_asks_for_what_nobody_can_give_fails_the_step(when: str) -> None:
    failure = failure_of(Flujo(keep, plugins=[Asks(when, Callable[[], int])], settings=ALONE))
    assert failure.address == "keep" and "JSON has no such values" in str(failure)
