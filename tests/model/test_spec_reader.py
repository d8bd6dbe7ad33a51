"""Pipelines from specs: what cannot be is refused with its place, and what is said is what the node does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import spec_kit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spec_kit import Echo, Mail, MyError, Pipelines, Queue

from flujo_core import (
    Branch,
    Default,
    DefinitionError,
    EdgeError,
    HumanInput,
    Loop,
    Map,
    Node,
    Parallel,
    Pipeline,
    Retry,
    SpecError,
    Timeout,
)
from flujo_core.model.spec import spec_of
from flujo_core.model.spec_reader import node_from_spec
from flujo_core.model.spec_schema import FORMAT, SHAPES


class Kit:
    """What the kit has, without its module's name."""

    def find(self, path: str, /) -> Any:
        found: Any = spec_kit
        for part in path.partition(":")[2].split("."):
            if not hasattr(found, part):
                raise LookupError(f"there is no '{path}'")
            found = getattr(found, part)
        return found

    def agent(self, spec: Mapping[str, Any], /) -> Any:
        if not spec:
            raise DefinitionError("it says nothing")
        return Echo()


def read(**spec: Any) -> Any:
    return node_from_spec({"format": FORMAT, **spec}, Kit())


def steps(*nodes: Any) -> Any:
    return read(steps=[*nodes])


USE = {"use": "acme/mask"}


def test_a_step_of_a_function_is_the_one_where_the_function_was_defined() -> None:
    node = read(call="k:strict")
    assert node.name == "renamed" and node.policies == spec_kit.strict.policies
    other = read(call="k:strict", name="mine", retry={"attempts": 5}, validators=["k:says", "x"])
    assert other.name == "mine" and other.policies.retry == Retry(5) and other.policies.version == "3"
    assert other.policies.validators == (spec_kit.says, "x")
    function = read(call="k:plain")
    assert function.name == "plain" and function.action.function is spec_kit.plain and function.takes is Any
    assert read(call="k:plain", name="x").name == "x"


def test_each_policy_is_what_the_spec_says() -> None:
    node = read(
        use="a/b",
        retry={"attempts": 2, "jitter": 0, "on": ["ConnectionError", "ModelUnavailable", "k:MyError"]},
        timeout={"run": 3, "idle": 0.5}, cache={"key": {"field": "a.b"}, "ttl": 9}, fallback=[USE], version="2",
        was="old", migrations={"": None, "1": "k:says"},
    )  # fmt: skip
    policies = node.policies
    assert policies.retry == Retry(2, jitter=0, on=(ConnectionError, policies.retry.on[1], MyError))
    assert policies.timeout == Timeout(3, 0.5) and policies.cache.ttl == 9
    assert policies.cache.key({"a": {"b": "x"}}) == "x"
    assert isinstance(policies.fallback, Pipeline) and policies.fallback.label == "mask"
    assert policies.migrations == {"": None, "1": spec_kit.says} and (policies.version, policies.was) == ("2", "old")
    assert read(use="a/b", timeout=3).policies.timeout == 3 and read(use="a/b", cache={}).policies.cache.key is None


def test_nodes_in_which_others_run_are_as_the_spec_says() -> None:
    found: Pipeline[Any, Any] = steps(
        {"parallel": "p", "branches": {"a": USE, "b": [USE]}, "into": "k:Pair", "max_concurrency": 1},
        {"map": "m", "body": USE, "over": {"field": "a"}, "key": "k:text_of", "on_error": "collect"},
        {"loop": "l", "body": USE, "until": "k:says", "max_iterations": 3, "on_exhausted": "return", "was": "x"},
        {"branch": "b", "on": "k:says", "cases": {"a": USE}, "default": [USE]},
        {"branch": "c", "on": "k:says", "cases": [{"value": {"member": "k:Queue.OTHER"}, "then": USE}]},
        {"pipeline": "s", "steps": [USE], "timeout": 3},
    )
    parallel, each, loop, branch, choice, scope = found.nodes
    assert isinstance(parallel, Parallel) and [*parallel.branches] == ["a", "b"] and parallel.into is spec_kit.Pair
    assert isinstance(each, Map) and each.over is not None and each.over.function({"a": 1}) == 1
    assert each.key is not None and each.key.function is spec_kit.text_of and each.on_error == "collect"
    assert isinstance(loop, Loop) and loop.until.function is spec_kit.says and loop.policies.was == "x"
    assert (loop.max_iterations, loop.on_exhausted) == (3, "return")
    assert isinstance(branch, Branch) and [*branch.bodies] == ["a", "~default"]
    assert isinstance(choice, Branch) and [*choice.cases] == [Queue.OTHER]
    assert isinstance(scope, Pipeline) and scope.name == "s" and scope.policies.timeout == 3


def test_a_question_is_as_the_spec_says() -> None:
    node = read(
        human="ask", answer="k:Mail", ask="{{ input }}?", approvers=["ada", "bob"], quorum=2, expires_in="P2DT1S",
        on_expiry={"default": {"text": "x"}}, version="2",
    )  # fmt: skip
    action = node.action
    assert isinstance(node, HumanInput) and action.expires_in == timedelta(days=2, seconds=1)
    assert isinstance(action.on_expiry, Default) and action.on_expiry.value == Mail(text="x")
    assert (action.approvers, action.quorum, node.policies.version) == (("ada", "bob"), 2, "2")


def test_a_step_asks_the_agent_that_the_spec_names_or_describes() -> None:
    registered = read(agent="ask", of="acme/writer", prompt="{{ input.text }}", input="k:Mail", deps="k:says")
    assert registered.action.agent == "acme/writer" and registered.takes is Mail and registered.action.source is None
    assert registered.action.deps.function is spec_kit.says
    assert read(agent="ask", of="k:echo").action.agent is spec_kit.echo
    assert read(agent="ask", of={"role": "x"}).action.source == {"role": "x"}
    made = read(agent="ask", of="acme/writer", prompt={"call": "k:text_of"})
    assert made.action.prompt.function is spec_kit.text_of


LOOP = {"loop": "l", "body": {"use": "a/b", "gives": "k:Mail"}, "until": {"field": "ok"}, "max_iterations": 2}


@pytest.mark.parametrize(
    ("spec", "place", "said"),
    [
        ({"format": "flujo/2"}, (), "its format is not known; this version of Flujo reads 'format: flujo/1'"),
        ({"format": None}, (), "it has no 'format'"),
        ({"steps": [], "name": "x"}, ("name",), "'name' means nothing beside 'steps'"),
        ({"steps": {}}, ("steps",), "this is a list of nodes, not a 'dict'"),
        ({"steps": []}, ("steps",), "a pipeline needs at least one step"),
        ({}, (), "nothing says of which kind this node is"),
        ({"steps": [{"cal": "x"}]}, ("steps", 0), "of which kind this node is; did you mean 'call'"),
        ({"steps": [{"call": "k:says", "use": "x"}]}, ("steps", 0), "this one has 'call' and 'use'"),
        ({"steps": ["x"]}, ("steps", 0), "a node is a mapping, such as 'use: acme/mask', not a 'str'"),
        ({"steps": [USE, {"use": "b", "retrys": {}}]}, ("steps", 1, "retrys"), "did you mean 'retry'"),
        ({**USE, "retry": {"attemps": 3, "attempts": 2}}, ("retry", "attemps"), "'attemps' means nothing here"),
        ({**USE, "retry": {}}, ("retry",), "'attempts' is missing"),
        ({**USE, "retry": {"attempts": 0}}, ("retry",), "counts the first attempt too"),
        ({**USE, "retry": {"attempts": "3"}}, ("retry", "attempts"), "input should be a valid integer"),
        ({**USE, "retry": {"attempts": 2, "on": ["Nope"]}}, ("retry", "on", 0), "'Nope' is no exception"),
        ({**USE, "retry": {"attempts": 2, "on": ["k:Mail"]}}, ("retry", "on", 0), "'k:Mail' is no exception"),
        ({**USE, "timeout": 0}, (), "'timeout' is in seconds and above 0"),
        ({**USE, "timeout": "3s"}, ("timeout",), "none of what may stand here"),
        ({**USE, "timeout": {"run": -1}}, ("timeout",), "above 0"),
        ({**USE, "cache": {"ttl": 0}}, ("cache",), "'ttl' of a Cache"),
        ({**USE, "resources": {"cpu": 0}}, ("resources",), "'cpu' of ResourceHints is above 0"),
        ({**USE, "resources": {"cores": 1}}, ("resources", "cores"), "'cores' means nothing here"),
        ({**USE, "cache": {"key": {"field": "a..b"}}}, ("cache", "key", "field"), "such as 'verdict.ok'"),
        ({**USE, "cache": {"key": {"field": "__class__"}}}, ("cache", "key", "field"), "such as 'verdict.ok'"),
        ({**USE, "validators": ["k:none"]}, ("validators", 0), "there is no 'k:none'"),
        ({**USE, "migrations": {"1": None}}, (), "'migrations' go to a version"),
        ({**USE, "takes": "strr"}, ("takes",), "there is no type 'strr'; did you mean 'str'"),
        ({"use": ""}, ("use",), "a step's name is text that is not empty"),
        ({"use": 3}, ("use",), "input should be a valid string"),
        ({"call": "k:none"}, ("call",), "there is no 'k:none'"),
        ({"call": "k:not_a_function"}, (), "this names a 'int', and a function belongs here"),
        ({"call": "k:asks"}, (), "'k:asks' is a step that calls no function"),
        ({"agent": "a", "of": "k:not_a_function"}, (), "was given 'int' as its agent"),
        ({"agent": "a", "of": {}}, ("of",), "it says nothing"),
        ({"agent": "a", "of": "x", "prompt": "{{ input.nope }}", "input": "k:Mail"}, (), "has no field 'nope'"),
        ({"agent": "a", "of": "x", "prompt": 3}, ("prompt",), "none of what may stand here"),
        ({"agent": "a", "of": "x", "deps": "k:none"}, ("deps",), "there is no 'k:none'"),
        ({"human": "h", "answer": "bool"}, (), "'ask' is missing"),
        ({"human": "h", "answer": "bool", "ask": "?", "expires_in": "soon"}, ("expires_in",), "such as 'P2D'"),
        ({"human": "h", "answer": "bool", "ask": "?", "quorum": 0}, (), "'quorum' of a question"),
        ({"human": "h", "answer": "bool", "ask": "?", "timeout": 3}, ("timeout",), "'timeout' means nothing here"),
        ({"parallel": "p", "branches": {}}, ("branches",), "dictionary should have at least 1 item"),
        ({"parallel": "p", "branches": {"a": USE}, "into": "k:Pair", "max_concurrency": 0}, (), "'max_concurrency' of"),
        ({"map": "m", "body": {"use": ""}}, ("body", "use"), "text that is not empty"),
        ({"map": "m", "body": [USE, {"use": ""}]}, ("body", 1, "use"), "text that is not empty"),
        ({"map": "m", "body": USE, "key": "k:not_a_function"}, ("key",), "a function belongs here"),
        ({**LOOP, "until": {"field": "okk"}}, (), "'until' of loop 'l' is field 'okk', but 'Mail' has no field 'okk'"),
        ({**LOOP, "until": 3}, ("until",), "none of what may stand here"),
        ({**LOOP, "max_iterations": 0}, (), "'max_iterations' of loop 'l'"),
        ({"branch": "b", "on": "k:not_a_function"}, ("on",), "a function belongs here"),
        ({"branch": "b", "on": "k:says", "cases": {"a": {}}}, ("cases", "a"), "nothing says of which kind"),
        ({"branch": "b", "on": "k:says", "cases": [{"value": 1, "then": USE}, {"value": True, "then": USE}]},
         ("cases", 1), "has two cases"),
        ({"branch": "b", "on": "k:says", "cases": [{"then": USE}]}, ("cases", 0), "'value' is missing"),
        ({"branch": "b", "on": "k:says", "default": {"use": ""}}, ("default", "use"), "text that is not empty"),
        ({"pipeline": " ", "steps": [USE]}, (), "text that is not empty"),
        ({"pipeline": "x", "steps": [USE, USE]}, ("steps",), "mask"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(spec: dict[str, Any], place: tuple[Any, ...], said: str) -> None:
    with pytest.raises(SpecError) as wrong:
        read(**spec)
    assert said in str(wrong.value) and wrong.value.place == place
    assert "\n" not in str(wrong.value)


def test_an_edge_that_does_not_fit_is_told_by_the_place_of_its_list() -> None:
    nodes = [{"use": "a/b", "gives": "str"}, {"use": "a/c", "takes": "int"}]
    with pytest.raises(SpecError, match=r"at 'steps\[0\]\.fallback': step 'b' gives 'str' and the next") as wrong:
        steps({**USE, "fallback": nodes})
    assert isinstance(wrong.value.__cause__, EdgeError)


def test_a_loop_whose_body_says_no_type_may_end_by_any_field() -> None:
    node: Node[Any, Any] = read(loop="l", body=USE, until={"field": "a.b"}, max_iterations=2)
    assert isinstance(node, Loop) and node.until.function({"a": {"b": True}}) is True


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "k:says", "k:made", "k:Mail", "P2D", "P999999999D", "str", "fail", "{{ input }}", "{{"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["use", "call", "field", "steps", "a", "", "default", "is"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def places(data: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in a spec."""
    yield place
    for key, one in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(one, (*place, key))


@given(st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_stands_in_a_spec_is_read_or_refused_with_its_place(data: st.DataObject) -> None:
    spec: Any = {"all": spec_of(data.draw(Pipelines))}
    *above, key = data.draw(st.sampled_from([*places(spec)][1:]))
    around = spec
    for one in above:
        around = around[one]
    if isinstance(around, dict) and above and data.draw(st.booleans()):
        key = data.draw(st.sampled_from([*{name for shape in SHAPES.values() for name in shape.model_fields}, "x"]))
    around[key] = data.draw(JSON)
    if isinstance(spec["all"], dict):
        with suppress(SpecError):
            node_from_spec(spec["all"], Kit())
