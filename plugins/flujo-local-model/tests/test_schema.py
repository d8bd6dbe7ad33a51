"""``bounded``: every string, array and open mapping gets an end, and no bound gets wider."""

import json
from typing import Any, Literal

import pytest
from flujo_local_model import bounded
from flujo_local_model.schema import MAX_ITEMS, MAX_LENGTH
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

SCALAR = {"anyOf": [{"type": "string", "maxLength": MAX_LENGTH}, *({"type": k} for k in ("number", "boolean", "null"))]}


@pytest.mark.parametrize(
    ("given_schema", "expected"),
    [
        ({"type": "string"}, {"type": "string", "maxLength": MAX_LENGTH}),
        ({"type": "string", "maxLength": 5}, {"type": "string", "maxLength": 5}),
        ({"type": "string", "maxLength": 9999}, {"type": "string", "maxLength": MAX_LENGTH}),
        ({"type": "string", "minLength": 300}, {"type": "string", "minLength": 300, "maxLength": 300}),
        ({"type": "array", "items": {"type": "null"}}, {"type": "array", "items": {"type": "null"}, "maxItems": 8}),
        ({"type": "array"}, {"type": "array", "items": SCALAR, "maxItems": MAX_ITEMS}),
        ({"type": "array", "items": True, "maxItems": 2}, {"type": "array", "items": SCALAR, "maxItems": 2}),
        ({"type": "object"}, {"type": "object", "additionalProperties": SCALAR, "maxProperties": MAX_ITEMS}),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        ({}, SCALAR),
        ({"title": "Anything"}, {"title": "Anything", **SCALAR}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"], "maxLength": MAX_LENGTH}),
        ({"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}),
        ({"type": "string", "pattern": "^.+$"}, {"type": "string", "maxLength": MAX_LENGTH}),
        ({"type": "integer"}, {"type": "integer"}),
    ],
)
def test_each_kind_gets_its_bound(given_schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert bounded(given_schema) == expected


@pytest.mark.parametrize("pattern", ["^[A-Z]{2}-[0-9]{1,6}$", r"^\d{5}$", "^(yes|no)$", "^a?b{2}$"])
def test_a_pattern_with_an_end_stays(pattern: str) -> None:
    assert bounded({"type": "string", "pattern": pattern})["pattern"] == pattern


@pytest.mark.parametrize("pattern", ["a", "^a*$", "^a+$", "^a{2,}$", "^(?=a)b$", "^(a+)$", r"^\ba$", "^a|b$", "^.$"])
def test_a_pattern_without_an_end_goes(pattern: str) -> None:
    assert "pattern" not in bounded({"type": "string", "pattern": pattern})


class Line(BaseModel):
    text: str
    tags: list[str]
    extra: dict[str, str]


class Report(BaseModel, extra="allow"):
    kind: Literal["a", "b"]
    lines: list[Line] = Field(max_length=3)
    note: str | None = None
    pair: tuple[int, str] = (1, "")
    anything: Any = None


def test_a_real_model_is_bounded_all_the_way_down() -> None:
    schema = bounded(Report.model_json_schema())
    assert schema["additionalProperties"] is False
    assert schema["properties"]["lines"]["maxItems"] == 3
    assert schema["properties"]["note"]["anyOf"][0]["maxLength"] == MAX_LENGTH
    assert schema["properties"]["pair"]["prefixItems"][1]["maxLength"] == MAX_LENGTH
    line = schema["$defs"]["Line"]["properties"]
    assert line["text"]["maxLength"] == MAX_LENGTH
    assert line["tags"]["items"]["maxLength"] == MAX_LENGTH
    assert line["extra"]["maxProperties"] == MAX_ITEMS


def test_a_field_named_like_a_keyword_is_a_field() -> None:
    schema = bounded(TypeAdapter(dict[Literal["type", "items"], str]).json_schema())
    assert schema["type"] == "object"
    fields = {"type": "object", "properties": {"type": {"type": "string"}, "not": {"type": "string"}}}
    assert set(bounded(fields)["properties"]) == {"type", "not"}


LEAVES = st.sampled_from([{}, {"type": "integer"}, {"enum": ["a", 1]}, {"type": ["string", "integer"]}])
STRINGS = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={"maxLength": st.integers(0, 999), "pattern": st.sampled_from(["^a$", "a*", "^[a-z]{2}$"])},
)


def _deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    fields = st.dictionaries(st.sampled_from(["a", "type", "items", "properties"]), inner, max_size=3)
    arrays = st.fixed_dictionaries(
        {"type": st.just("array")},
        optional={"items": inner, "maxItems": st.integers(0, 99), "uniqueItems": st.booleans()},
    )
    objects = st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={"properties": fields, "additionalProperties": inner | st.booleans()},
    )
    unions = st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3))
    return arrays | objects | unions


SCHEMAS = st.recursive(LEAVES | STRINGS, _deeper, max_leaves=12)


@given(SCHEMAS)
def test_bounding_twice_is_bounding_once(schema: dict[str, Any]) -> None:
    once = bounded(schema)
    assert bounded(once) == once


@given(SCHEMAS)
def test_the_given_schema_is_left_alone(schema: dict[str, Any]) -> None:
    before = json.dumps(schema)
    bounded(schema)
    assert json.dumps(schema) == before


@given(SCHEMAS)
def test_nothing_in_the_result_is_open(schema: dict[str, Any]) -> None:
    assert not list(_open_parts(bounded(schema)))


@given(SCHEMAS)
def test_no_bound_gets_wider(schema: dict[str, Any]) -> None:
    result = bounded(schema)
    for key in ("maxLength", "maxItems", "maxProperties"):
        if key in schema:
            assert result[key] <= schema[key]


def _open_parts(schema: Any) -> Any:
    """Every schema in ``schema`` that allows something without end."""
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    limits = {"string": "maxLength", "array": "maxItems", "object": "maxProperties"}
    for kind in kinds & set(limits):
        closed = kind == "object" and schema.get("additionalProperties") is False
        if limits[kind] not in schema and not closed and "enum" not in schema:
            yield schema
    if not kinds and not {"anyOf", "enum", "$ref", "const"} & set(schema):
        yield schema
    for part in [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), schema.get("items")]:
        yield from _open_parts(part)
    yield from _open_parts(schema.get("additionalProperties"))
