"""ResourceHints: what a step needs of the place that it runs at."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_core import DefinitionError, ResourceHints, Step, StepPolicy, step


def test_all_that_is_given_is_required_unless_said_otherwise() -> None:
    assert ResourceHints().given == {}
    assert ResourceHints().needed == frozenset()
    hints = {"cpu": 2, "labels": {"zone": "eu"}, "priority": 0, "queue": "night"}
    assert ResourceHints(**hints).given == hints
    assert ResourceHints(**hints).needed == {"cpu", "labels", "priority", "queue"}
    assert ResourceHints(**hints, required=["cpu"]).needed == {"cpu"}
    assert ResourceHints(**hints, required=()).needed == frozenset()


@pytest.mark.parametrize(
    ("hints", "told"),
    [
        ({"cpu": "2"}, "'cpu' of ResourceHints is a number, not 'str'"),
        ({"gpu": True}, "'gpu' of ResourceHints is a number, not 'bool'"),
        ({"memory": 1.5}, "'memory' of ResourceHints is a number, not 'float'"),
        ({"max_runtime": 0}, "'max_runtime' of ResourceHints is above 0, not 0"),
        ({"cpu": float("nan")}, "'cpu' of ResourceHints is above 0, not nan"),
        ({"cpu": 1, "required": "cpu"}, "is a list of names of hints"),
        ({"cpu": 1, "required": ["cpus"]}, "names 'cpus', which is not given; did you mean 'cpu'"),
    ],
)
def test_what_cannot_be_is_refused(hints: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        ResourceHints(**hints)


@pytest.mark.parametrize("policies", [{"backend": 3}, {"resources": {"cpu": 1}}])
def test_policies_are_what_they_are_called(policies: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=f"'{next(iter(policies))}' is a "):
        StepPolicy(**policies)


@step
def plain(text: str) -> str:
    return text


def test_a_step_has_its_backend_and_hints_beside_other_policies() -> None:
    hints = ResourceHints(cpu=2)
    made: Step[str, str] = plain.policy(validators=[lambda text: None]).policy(backend="process", resources=hints)
    assert (made.policies.remote, made.policies.hints, len(made.policies.validators)) == ("process", hints, 1)
    assert plain.policies.hints.given == {}


@pytest.mark.parametrize("local", [None, "local", "flujo/local"])
def test_a_step_is_local_unless_said_otherwise(local: str | None) -> None:
    assert plain.policy(backend=local).policies.remote is None
