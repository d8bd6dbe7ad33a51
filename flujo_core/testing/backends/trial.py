"""A backend that is tried: calls of the steps of the suite, and how one says no."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from flujo_core.backend.protocol import Backend, RemoteCall, RemoteFailure, RemoteOutcome, RemoteOutput
from flujo_core.model.signature import RunInfo
from flujo_core.model.step import Step
from flujo_core.testing.backends import steps
from flujo_core.testing.stores.place import claim

HERE = steps.__name__


def call_of(step: Step[Any, Any], value: Any, **more: Any) -> RemoteCall:
    """A call of a step of the suite."""
    info = RunInfo("run of a trial", None, f"scope/{step.name}", 3, "key of a trial", None)
    return RemoteCall(f"{HERE}:{step.name}", step.name, to_json(value), info, **more)


class Trying:
    """A backend that is tried.

    Attributes:
        backend: The backend.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def outcome(self, call: RemoteCall) -> RemoteOutcome:
        """What a call comes to.

        Raises:
            AssertionError: It gives more than one outcome, or none.
        """
        items = [item async for item in self.backend.execute(call)]
        claim(len(items) == 1, f"'execute' gives {len(items)} outcomes of one call")
        return items[0]

    async def output(self, step: Step[Any, Any], value: Any, **more: Any) -> Any:
        """The output of a step that succeeds.

        Raises:
            AssertionError: It does not.
        """
        outcome = await self.outcome(call_of(step, value, **more))
        if not isinstance(outcome, RemoteOutput):
            raise AssertionError(f"step '{step.name}' succeeds, and 'execute' gives {type(outcome).__name__!r}")
        return from_json(outcome.output)

    async def failure(self, step: Step[Any, Any], value: Any, error: str, **more: Any) -> RemoteFailure:
        """The failure of a step that fails with an error of some class.

        Raises:
            AssertionError: It does not, or what crosses of it holds a value.
        """
        outcome = await self.outcome(call_of(step, value, **more))
        if not isinstance(outcome, RemoteFailure):
            raise AssertionError(f"step '{step.name}' fails, and 'execute' gives {type(outcome).__name__!r}")
        claim(error in outcome.lineage, f"step '{step.name}' fails with '{error}', which is not in the 'lineage'")
        claim(steps.SECRET not in "".join(outcome[:1] + outcome[2:]), "a value of the step is in a failure")
        return outcome
