"""The suite for backends: the kernel's pass, and one that errs is told what is wrong."""

from __future__ import annotations

import asyncio

import pytest

from flujo_core import LocalBackend, ProcessPool, RemoteFailure, RemoteOutput
from flujo_core.testing.backends import BACKEND_CHECKS, assert_backend_conforms


@pytest.mark.parametrize("check", BACKEND_CHECKS)
@pytest.mark.parametrize("make", [LocalBackend, lambda: ProcessPool(workers=2)], ids=["local", "process"])
def test_the_kernels_backends_conform(make, check: str) -> None:
    asyncio.run(assert_backend_conforms(make, only=[check]))


class Constant(LocalBackend):
    """Gives the same items, whatever it is asked."""

    def __init__(self, *items) -> None:
        self.items = items

    async def execute(self, call):
        for item in self.items:
            yield item


class Raises(LocalBackend):
    async def execute(self, call):
        raise OSError
        yield


class Hangs(LocalBackend):
    async def execute(self, call):
        await asyncio.sleep(60)
        yield


class Pretends(LocalBackend):
    honours = frozenset({"gpus"})


class Chatty(LocalBackend):
    async def execute(self, call):
        async for item in super().execute(call):
            yield item._replace(message="a patient's name") if isinstance(item, RemoteFailure) else item


@pytest.mark.parametrize(
    ("make", "check", "told"),
    [
        (lambda: Constant(RemoteOutput(b"1")), "outputs", "a sync function does not give its output"),
        (lambda: Constant(), "outputs", "'execute' gives 0 outcomes"),
        (lambda: Constant(RemoteOutput(b"1")), "failures", "step 'fail' fails, and 'execute' gives 'RemoteOutput'"),
        (lambda: Constant(RemoteOutput(b"1")), "missing", "is no 'ConfigurationError'"),
        (lambda: Constant(RemoteOutput(b"1")), "info", "does not get the 'RunInfo'"),
        (lambda: Constant(RemoteOutput(b"2")), "context", "does not come back"),
        (lambda: Constant(RemoteOutput(b"2")), "stops_and_questions", "a step that stops the run does not"),
        (lambda: Constant(RemoteFailure("", ())), "side_by_side", "step 'double' succeeds"),
        (lambda: Constant(RemoteFailure("", ())), "failures", "which is not in the 'lineage'"),
        (Chatty, "validation", "a value of the step is in a failure"),
        (Raises, "outputs", "it raised OSError where nothing was wrong"),
        (Hangs, "outputs", "it was not done after 0.5 s"),
        (Pretends, "declared", r"it honours \['gpus'\]"),
    ],
)
def test_a_backend_that_errs_is_told_what_is_wrong(make, check: str, told: str) -> None:
    with pytest.raises(AssertionError, match=f"- {check}: .*{told}"):
        asyncio.run(assert_backend_conforms(make, only=[check], patience=0.5 if make is Hangs else 60))


def test_one_that_claims_to_isolate_and_does_not_is_found_out() -> None:
    class Claims(LocalBackend):
        isolates = True

        async def execute(self, call):  # its threads go on
            if call.name == "beat":
                task = asyncio.ensure_future(asyncio.sleep(60))
                await task
            async for item in super().execute(call):
                yield item

    with pytest.raises(AssertionError, match="timeouts: it was not done"):
        asyncio.run(assert_backend_conforms(Claims, only=["timeouts"], patience=1))
