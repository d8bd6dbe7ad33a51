"""The JSON Schema of specs agrees with what is read."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from spec_kit import Pipelines

from flujo_core import Node, SpecError
from flujo_core.model.spec import spec_of
from flujo_core.model.spec_schema import SHAPES, schema_of_specs, shape_at

SCHEMA = schema_of_specs({"type": "object", "$defs": {"Other": {}}})
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_one_and_is_json() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert {kind.__name__ for kind in SHAPES.values()} | {"Node", "Body", "InlineAgent", "Other"} <= {*SCHEMA["$defs"]}
    assert "flujo:ref" not in json.dumps(SCHEMA)


@given(Pipelines)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_valid(pipeline: Node[Any, Any]) -> None:
    VALIDATOR.validate(spec_of(pipeline))


def test_every_kind_of_node_has_a_key_of_its_own() -> None:
    for kind, shape in SHAPES.items():
        assert next(name for name, field in shape.model_fields.items() if field.is_required()) == kind


@pytest.mark.parametrize(
    "node",
    [
        {"use": "a", "nope": 1},
        {"use": 3},
        {"call": "a:b", "retry": {}},
        {"human": "h", "answer": "bool"},
        {"use": "a", "retry": {"attempts": "2"}},
        {"use": "a", "timeout": "3s"},
        {"human": "h", "answer": "bool", "ask": "?", "on_expiry": "later"},
        {"nothing": 1},
    ],
)
def test_what_is_not_read_is_not_valid(node: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({"format": "flujo/1", "steps": [node]})
    with pytest.raises(SpecError):
        shape_at(node, ())


def test_a_schema_wants_a_format_and_a_step() -> None:
    assert VALIDATOR.is_valid({"format": "flujo/1", "use": "a"})
    assert VALIDATOR.is_valid({"format": "flujo/1", "map": "m", "body": [{"use": "a"}]})
    assert not VALIDATOR.is_valid({"format": "flujo/1", "steps": [[{"use": "a"}]]})
    for wrong in ({"use": "a"}, {"format": "flujo/2", "use": "a"}, {"format": "flujo/1", "steps": []}):
        assert not VALIDATOR.is_valid(wrong)
