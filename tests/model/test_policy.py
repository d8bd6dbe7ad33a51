"""Retry and timeout as numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_core import Cache, ConfigurationError, DefinitionError, ModelNotConfigured, Retry, StepPolicy, step


@pytest.mark.parametrize(
    "values",
    [
        {"attempts": 0}, {"attempts": -1}, {"attempts": 2, "backoff": -1}, {"attempts": 2, "max_backoff": -0.1},
        {"attempts": 2, "factor": 0.5}, {"attempts": 2, "jitter": -0.1}, {"attempts": 2, "jitter": 1.1},
        {"attempts": 2, "backoff": float("nan")}, {"attempts": 2, "factor": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_a_number_out_of_its_range_is_refused_when_built(values: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="Retry"):
        Retry(**values)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_above_zero(timeout: float) -> None:
    with pytest.raises(DefinitionError, match="timeout"):
        step(timeout=timeout)(lambda x: x)


def test_the_wait_grows_by_the_factor_up_to_its_limit() -> None:
    retry = Retry(attempts=9, backoff=1, factor=2, max_backoff=5, jitter=0)
    assert [retry.wait(n, 0.5) for n in range(1, 6)] == [1, 2, 4, 5, 5]


def test_without_a_backoff_there_is_no_wait() -> None:
    assert Retry(attempts=3).wait(1, 0.9) == 0


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 100), st.floats(1, 10), st.floats(0, 1))
def test_the_wait_is_a_number_for_any_attempt(
    attempt: int, chance: float, backoff: float, factor: float, jitter: float
) -> None:
    retry = Retry(attempts=10_001, backoff=backoff, factor=factor, max_backoff=60, jitter=jitter)
    plain = Retry(attempts=10_001, backoff=backoff, factor=factor, max_backoff=60, jitter=0).wait(attempt, chance)
    assert 0 <= plain <= 60
    assert plain * (1 - jitter) - 1e-9 <= retry.wait(attempt, chance) <= plain * (1 + jitter) + 1e-9


def test_only_named_errors_are_wanted_and_never_a_wrong_configuration() -> None:
    retry = Retry(attempts=3, on=(KeyError, ConfigurationError))
    assert retry.wants(KeyError(), 1) and retry.wants(KeyError(), 2) and not retry.wants(KeyError(), 3)
    assert not retry.wants(ValueError(), 1) and not retry.wants(ConfigurationError(), 1)
    assert not Retry(attempts=3).wants(ModelNotConfigured(), 1)


def test_policies_are_changed_one_by_one_in_a_copy() -> None:
    @step(timeout=5)
    def one(value: int) -> int:
        return value

    changed = one.policy(retry=Retry(attempts=2))
    assert changed.policies.timeout == 5 and changed.policies.retry == Retry(attempts=2)
    assert one.policies.retry is None and changed.policy(timeout=1).policies.timeout == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(attempts="3"),
        lambda: Retry(attempts=True),
        lambda: Retry(attempts=2, on=ValueError),
        lambda: Retry(attempts=2, on=("ValueError",)),
        lambda: StepPolicy(retry=3),
        lambda: StepPolicy(timeout="3"),
        lambda: Cache(ttl="3"),
    ],
)
def test_a_policy_of_another_type_is_refused_when_built(make: Any) -> None:
    with pytest.raises(DefinitionError):
        make()
