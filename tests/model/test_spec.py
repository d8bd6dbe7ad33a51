"""Pipelines as plain data: what is written is read back as it was, and what has no name is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal

import pytest
import spec_kit
import yaml
from hypothesis import HealthCheck, given, settings
from pydantic import Field
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from spec_kit import Mail, Pipelines, Queue, made, plain, says, strict, text_of

from flujo_core import (
    Branch,
    Cache,
    DefinitionError,
    HumanInput,
    Loop,
    Map,
    Node,
    Parallel,
    ResourceHints,
    Retry,
    SpecError,
    Step,
    StepPolicy,
    StreamingStep,
    step,
)
from flujo_core.model.flow import everything
from flujo_core.model.import_path import is_path
from flujo_core.model.manifest import Manifest
from flujo_core.model.spec import exception_named, field_of, spec_of
from flujo_core.model.spec_data import check_data
from flujo_core.model.spec_reader import node_from_spec
from flujo_core.model.spec_schema import FORMAT

USE: Step[Any, Any] = Step.registered("acme/mask", takes=Any, gives=Any)


class Kit:
    """What the kit has, by the paths that are written; it imports nothing."""

    def find(self, path: str, /) -> Any:
        assert is_path(path)
        module, _, name = path.partition(":")
        assert module == "spec_kit"
        found: Any = spec_kit
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def agent(self, spec: Mapping[str, Any], /) -> Any:
        return Agent(TestModel(), name=spec["name"])


def read(spec: Mapping[str, Any]) -> Node[Any, Any]:
    return node_from_spec(spec, Kit())


def only(node: Node[Any, Any]) -> dict[str, Any]:
    """The spec of one node."""
    return {key: value for key, value in spec_of(node).items() if key != "format"}


@given(Pipelines)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_pipeline_comes_back_from_its_spec_as_it_was(pipeline: Node[Any, Any]) -> None:
    spec = spec_of(pipeline)
    for text in (json.dumps(spec), yaml.safe_dump(spec, sort_keys=False, allow_unicode=True)):
        again = yaml.safe_load(text) if text[0] != "{" else json.loads(text)
        assert again == spec
        back = read(again)
        assert spec_of(back) == spec
        assert list(json.dumps(spec_of(back))) == list(json.dumps(spec))  # in the same order
        assert Manifest.of(back) == Manifest.of(pipeline)
        assert _policies(back) == _policies(pipeline)


def _policies(node: Node[Any, Any]) -> list[Any]:
    """The policies of all nodes, as values that can be compared."""
    found = []
    for _, part in everything(node):
        said = {name: getattr(part.policies, name) for name in StepPolicy._fields}  # type: ignore[attr-defined]
        cache, fallback = said.pop("cache"), said.pop("fallback")
        found.append((said, fallback is None, cache and (repr(cache.key), cache.ttl)))
    return found


def test_a_step_is_named_by_its_function_and_says_only_what_its_definition_does_not() -> None:
    assert only(made) == {"call": "spec_kit:made"}
    assert only(strict) == {"call": "spec_kit:strict"}
    assert only(strict.policy(timeout=3).named("other")) == {"call": "spec_kit:strict", "name": "other", "timeout": 3}
    assert only(step(plain)) == {"call": "spec_kit:plain"}
    assert only(step(name="x")(plain)) == {"call": "spec_kit:plain", "name": "x"}


def test_types_stand_with_a_registered_step_where_they_are_known() -> None:
    step = Step.registered("acme/mask", takes=str, gives=Mail | None)
    assert only(step) == {"use": "acme/mask", "takes": "str", "gives": "spec_kit:Mail | None"}
    assert only(USE.named("hide")) == {"use": "acme/mask", "name": "hide"}


def test_a_sequence_is_a_list_and_one_with_a_name_is_a_node() -> None:
    flow = made >> USE
    nodes = [{"call": "spec_kit:made"}, {"use": "acme/mask"}]
    assert spec_of(flow) == {"format": FORMAT, "steps": nodes}
    assert spec_of(flow.named("both")) == {"format": FORMAT, "pipeline": "both", "steps": nodes}


def test_what_is_as_it_is_unless_told_is_not_said() -> None:
    assert only(Parallel("p", a=made)) == {"parallel": "p", "branches": {"a": {"call": "spec_kit:made"}}}
    assert only(Parallel("p", a=made, b=made, into=spec_kit.Pair, max_concurrency=1, on_error="collect")) == {
        "parallel": "p", "into": "spec_kit:Pair", "max_concurrency": 1, "on_error": "collect",
        "branches": {"a": {"call": "spec_kit:made"}, "b": {"call": "spec_kit:made"}},
    }  # fmt: skip


def test_cases_that_are_all_texts_are_a_mapping_and_others_a_list() -> None:
    texts: Any = Branch("route", on=says).case("a", made).default(USE)
    assert only(texts) == {
        "branch": "route", "on": "spec_kit:says", "cases": {"a": {"call": "spec_kit:made"}},
        "default": {"use": "acme/mask"},
    }  # fmt: skip
    others: Any = Branch("route", on=field_of("kind")).case(Queue.OTHER, made).case(True, USE)
    assert only(others) == {
        "branch": "route", "on": {"field": "kind"}, "cases": [
            {"value": {"member": "spec_kit:Queue.OTHER"}, "then": {"call": "spec_kit:made"}},
            {"value": True, "then": {"use": "acme/mask"}},
        ],
    }  # fmt: skip
    back: Any = read(spec_of(others))
    assert [*back.cases] == [Queue.OTHER, True] and back.cases[True].name == "mask"


def test_a_question_has_a_duration_of_iso_8601() -> None:
    asked: Any = HumanInput("ask", bool, ask="Now?", expires_in=timedelta(days=2, minutes=1), on_expiry="stop")
    said = only(asked)
    assert said == {"human": "ask", "answer": "bool", "ask": "Now?", "expires_in": "P2DT1M", "on_expiry": "stop"}


def test_an_agent_that_is_described_in_place_or_by_its_path_is_written_as_it_was_read() -> None:
    described = {
        "format": FORMAT,
        "agent": "sort",
        "of": {"name": "sorter"},
        "input": "str",
        "prompt": "Do {{ input }}",
    }
    named = {"format": FORMAT, "agent": "say", "of": "spec_kit:echo"}
    assert spec_of(read(described)) == described
    assert spec_of(read(named)) == named
    assert read(named).takes is str and read(named).gives is str


def test_a_registered_agent_without_a_prompt_takes_text_if_that_is_said() -> None:
    assert only(Step.agent("ask", "acme/writer")) == {"agent": "ask", "of": "acme/writer"}
    assert only(Step.agent("ask", "acme/writer", input=str)) == {"agent": "ask", "of": "acme/writer", "input": "str"}


anonymous: Any = step(name="double")(lambda value: value * 2)
shadowed: Any = step(plain)


def _local() -> Any:
    @step
    async def inner(value: Any) -> Any:
        return value

    class Local:
        pass

    return inner, Local


inner, Local = _local()


def gone(value: Any) -> Any:
    return value


old = step(gone)
gone = plain


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (anonymous, "the function of step 'double' is a lambda, which has no name; define it in a module, with a name"),
        (inner, "the function of step 'inner' is 'inner', made inside a function"),
        (old, "the function of step 'gone' is 'gone', which is not what module '.*' has under that name"),
        (step(name="part")(partial(plain)), "the function of step 'part' is a 'partial', which has no name"),
        (step(name="method")(spec_kit.Echo().__eq__), "is 'Echo.__eq__', which is not what module|'object.__eq__'"),
        (Loop("l", made, until=lambda x: True, max_iterations=1), "'until' of loop 'l' is a lambda"),
        (Map("m", made, over=lambda x: x), "'over' of map 'm' is a lambda"),
        (Map("m", made, key=lambda x: ""), "'key' of map 'm' is a lambda"),
        (Branch("b", on=lambda x: x).default(made), "'on' of branch 'b' is a lambda"),
        (made.policy(validators=[lambda x: None]), "'validators' of 'made' is a lambda"),
        (made.policy(validators=["a:b"]), "'validators' of 'made' has the name 'a:b', which reads as an import path"),
        (made.policy(cache=Cache(lambda x: "")), "'cache' of 'made' is a lambda"),
        (made.policy(version="2", migrations={"1": lambda x: x}), "'migrations' of 'made' is a lambda"),
        (made.policy(retry=Retry(2, on=(Local,))), "'retry' of 'made' is 'Local', made inside a function"),
        (made.policy(fallback=anonymous), "step 'double' is a lambda"),
        (Step.registered("a/b", takes=Local, gives=str), "step 'b' has a type that is 'Local', made inside"),
        (Step.registered("a/b", takes=Annotated[str, Field(max_length=1)], gives=str), "has an annotated type"),
        (Step.agent("ask", Agent(TestModel())), "the agent of step 'ask' is an object, which no spec can name"),
        (Step.agent("ask", spec_kit.echo), "the agent of step 'ask' is an object"),
        (Step.agent("ask", "a:b"), "is registered as 'a:b', which reads as an import path"),
        (Step.agent("ask", "a/b", prompt=lambda x: ""), "the prompt of step 'ask' is a lambda"),
        (Step.agent("ask", "a/b", deps=lambda x: ""), "'deps' of step 'ask' is a lambda"),
        (Step.agent("ask", "a/b", prompt="", input=Local), "the input of step 'ask' has a type that is 'Local'"),
        (Step("renamed", strict.action), "step 'renamed' has no 'retry', and the step that stands where"),
        (made.policy(retry=Retry(2, max_backoff=float("inf"))), "retry.max_backoff': JSON has no number 'inf'"),
    ],
)  # fmt: skip
def test_what_has_no_name_is_refused_with_its_step(node: Node[Any, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        spec_of(made.named("before") >> node)


def test_a_type_of_branches_that_has_no_name_is_refused() -> None:
    @dataclass
    class Both:
        a: Any

    with pytest.raises(
        DefinitionError, match="'into' of parallel 'p' has a type that is 'Both', made inside a function"
    ):
        spec_of(Parallel("p", a=made, into=Both))
    with pytest.raises(DefinitionError, match="the answer of step 'ask' has a type that is 'Both'"):
        spec_of(HumanInput("ask", Both, ask="?"))


def test_a_member_of_an_enum_that_has_no_name_is_refused() -> None:
    class Colour(Enum):
        RED = 1

    branch: Any = Branch("b", on=says).case(Colour.RED, made)
    with pytest.raises(DefinitionError, match="case 'RED' of branch 'b' is 'Colour', made inside a function"):
        spec_of(branch)


def test_a_node_of_another_kind_is_refused() -> None:
    class Other(Node[Any, Any]):
        label = "other"

    with pytest.raises(DefinitionError, match="'other' is a 'Other', which no spec can say"):
        spec_of(Other())


@pytest.mark.parametrize("hints", [ResourceHints(cpu=2, labels={"zone": "eu"}), ResourceHints(gpu=1, required=())])
def test_hints_and_a_backend_come_back(hints: ResourceHints) -> None:
    node = made.policy(backend="acme/ray", resources=hints)
    back = read(spec_of(node))
    assert back.policies.backend == "acme/ray" and back.policies.resources == hints
    assert spec_of(back) == spec_of(node)


def test_a_step_of_an_agent_that_streams_comes_back() -> None:
    node = Step.agent("say", "acme/speaker").streaming()
    assert only(node)["stream"] is True
    back = read(spec_of(node))
    assert isinstance(back, StreamingStep) and spec_of(back) == spec_of(node)
    assert "stream" not in only(Step.agent("say", "acme/speaker"))


def test_every_policy_is_written() -> None:
    policies: dict[str, Any] = {
        "retry": Retry(2), "timeout": 3, "fallback": USE, "validators": [says], "cache": Cache(), "version": "2",
        "was": "x", "migrations": {"1": None}, "backend": "process",
        "resources": ResourceHints(cpu=2, required=["cpu"]),
    }  # fmt: skip
    others = {"allow_reconfigure", "labels"}  # which only agents have, and no spec
    of_steps = {*StepPolicy._fields} - others  # type: ignore[attr-defined]
    assert {*only(made.policy(**policies))} == {"call", *policies} == {"call", *of_steps}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"a": [1, {2: 3}]}, r"at 'a\[1\]': a key is text, not 'int'"),
        ({"a": {"b": {1}}}, r"at 'a\.b': JSON has no 'set'"),
        ({"a": float("nan")}, "JSON has no number 'nan'"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(data: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        check_data(data)


def test_a_spec_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SpecError, match=r"at '\[0\]\[0\]\[0\]': it is more than 100 levels deep"):
        check_data(endless)
    wide: Any = "x"
    for _ in range(40):
        wide = [wide, wide]
    with pytest.raises(SpecError, match="it has more than 100000 values"):
        check_data(wide)


def test_exceptions_have_the_names_of_python_or_flujo() -> None:
    assert exception_named("ConnectionError") is ConnectionError
    assert exception_named("SpecError") is SpecError
    assert exception_named("int") is exception_named("nothing") is None


def test_a_field_is_taken_of_mappings_and_objects() -> None:
    assert field_of("a.text")({"a": Mail(text="x")}) == "x"
    assert only(Map("m", made, key=text_of)) == {
        "map": "m",
        "key": "spec_kit:text_of",
        "body": {"call": "spec_kit:made"},
    }
    literal: Any = Literal["x"]
    assert only(Step.registered("a/b", takes=literal, gives=Any))["takes"] == "Literal['x']"
