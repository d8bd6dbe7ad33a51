"""What a failure says, and how it crosses a process."""

from __future__ import annotations

import pickle

from flujo_core import Veto
from flujo_core.hooks.failure import Failures, Implementation, Refusal


async def hook() -> None: ...


BY = Implementation(hook, "pre_step_execution", "acme", "acme-eu", "1.4")


def test_a_refusal_crosses_a_process_as_a_veto_that_says_who_refused() -> None:
    refusal = Refusal("not in the EU", BY, None)
    assert refusal.reason == "not in the EU"
    again = pickle.loads(pickle.dumps(refusal))
    assert type(again) is Veto and str(again) == str(refusal)


def test_failures_that_are_passed_over_are_counted_by_plugin() -> None:
    failures = Failures()
    for _ in range(2):
        failures.fail(BY.failed("raised ValueError", None), BY._replace(policy="open"))
    assert failures.passed_over == {"acme": 2}
