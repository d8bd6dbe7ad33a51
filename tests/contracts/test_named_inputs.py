"""Named inputs: what a step takes by the name of what gives it, and not from the step before (DESIGN 4)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from flow_kit import adds, alone, double, fail, plus, ran
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.function import FunctionModel

from flujo_core import (
    Branch,
    Cache,
    DefinitionError,
    EdgeError,
    Flujo,
    From,
    InvalidValue,
    Loop,
    Map,
    Parallel,
    Retry,
    RunInfo,
    SignatureError,
    Step,
    step,
)


class Customer(BaseModel):
    name: str
    tags: list[str] = []


class Email(BaseModel):
    body: str
    customer: Customer = Customer(name="Ana")


@step
async def read(value: int) -> Email:
    return Email(body=f"mail {value}")


@step
async def size(email: Email) -> int:
    return len(email.body)


@step
async def reply(value: int, *, email: Annotated[Email, From(read)]) -> str:
    return f"{email.body} {value}"


def takes(name: str, source: From, kind: Any = int, **default: Any) -> Any:
    """A step that gives its named input."""

    if default:

        @step(name=name)
        async def optional(*, found: Annotated[kind, source] = default["default"]) -> kind:
            return found

        return optional

    @step(name=name)
    async def sure(*, found: Annotated[kind, source]) -> kind:
        return found

    return sure


# ---------------------------------------------------------------------------------------------------- where from


@pytest.mark.parametrize("store", [None, "memory://"])
def test_it_is_what_a_step_before_gave_by_the_step_or_by_its_name(store: str | None) -> None:
    assert alone(read >> size >> reply, store=store).run(7).output == "mail 7 6"
    assert alone(read >> size >> takes("t", From("read"), Email), store=store).run(7).output == Email(body="mail 7")


def test_a_step_may_take_several_and_its_input_beside_them() -> None:
    @step
    async def both(
        value: int, *, email: Annotated[Email, From("read")], begun: Annotated[int, From.run_input], info: RunInfo
    ) -> tuple[int, str, int, str]:
        return value, email.body, begun, info.address

    assert alone(read >> size >> both).run(3).output == (6, "mail 3", 3, "both")


def test_path_takes_a_field_of_the_output() -> None:
    node = read >> size >> takes("t", From(read, path="customer.name"), str)
    assert ran(node).output == "Ana"


def test_path_goes_through_mappings_and_dataclasses() -> None:
    @dataclass
    class Held:
        table: dict[str, dict[str, int]]

    @step
    async def make(value: int) -> Held:
        return Held({"a": {"b": value}})

    for store in (None, "memory://"):
        assert alone(make >> takes("t", From("make", path="table.a.b")), store=store).run(5).output == 5


def test_a_path_that_is_not_there_when_it_runs_fails_the_step_and_names_the_path_and_no_value() -> None:
    @step
    async def make(value: int) -> dict[str, Any]:
        return {"CANARY": 1}

    done = ran(make >> takes("t", From("make", path="a.b")))
    assert done.result.status == "failed" and done.cause.address == "t"
    assert "a.b" in str(done.error) and "CANARY" not in str(done.error)


def test_run_input_is_the_input_of_the_run_from_any_depth() -> None:
    part = takes("t", From.run_input)
    node = adds("a", 100) >> Parallel("fan", x=Loop("l", part, until=bool, max_iterations=1), y=part.named("u"))
    assert ran(node, 5).output == {"x": 5, "y": 5}


def test_scope_input_is_the_item_of_the_nearest_map() -> None:
    body = adds("a", 100) >> (adds("b", 10) >> takes("t", From.scope_input)).named("deep")
    assert ran(adds("z") >> Map("each", body, over=lambda value: [1, 2, 3])).output == [1, 2, 3]


def test_scope_input_is_what_the_nearest_loop_began_with() -> None:
    @step
    async def add(value: int, *, begun: Annotated[int, From.scope_input]) -> int:
        return value + begun

    assert ran(plus >> Loop("l", add, until=lambda value: value > 10, max_iterations=9), 2).output == 12
    node = Map("each", Loop("l", add, until=lambda v: v > 10, max_iterations=9), over=lambda value: [3, 4])
    assert ran(node).output == [12, 12]


def test_a_step_in_a_loop_may_take_the_item_of_the_map_around_it_by_name_of_what_was_made_of_it() -> None:
    body = plus >> Loop("l", takes("t", From("plus")), until=bool, max_iterations=1)
    assert ran(Map("each", body, over=lambda value: [1, 5])).output == [2, 6]


def test_a_name_is_looked_up_in_the_own_scope_first_and_then_outwards() -> None:
    near = adds("x", 1) >> takes("t", From("x"))
    node = adds("x", 100) >> Parallel("fan", near=near, far=takes("t", From("x")))
    assert ran(node, 1).output == {"near": 102, "far": 101}


def test_it_goes_through_nested_scopes_of_all_kinds() -> None:
    inner = Branch("route", on=str).default(takes("t", From("top")))
    each = Map("each", Parallel("fan", a=inner), over=lambda value: [1])
    node = adds("top", 1) >> adds("b") >> Loop("l", each >> first, until=bool, max_iterations=1)
    assert ran(node, 6).output == 7


@step
async def first(found: list[dict[str, int]]) -> int:
    return found[0]["a"]


def test_each_item_and_each_branch_has_its_own() -> None:
    body = adds("made", 10) >> plus >> takes("t", From("made"))
    assert ran(Map("each", body, over=lambda value: [1, 2, 3], max_concurrency=2)).output == [11, 12, 13]


def test_two_runs_at_once_have_their_own() -> None:
    @step
    async def wait(value: int) -> int:
        await asyncio.sleep(0.001)
        return value

    flujo = alone(adds("made", 10) >> wait >> takes("t", From("made")))

    async def main() -> list[int]:
        results = await asyncio.gather(*(flujo.run_async(number) for number in range(20)))
        return [result.output for result in results]

    assert asyncio.run(main()) == [number + 10 for number in range(20)]


def test_it_may_name_any_node_and_gets_what_that_gives() -> None:
    nodes: dict[str, Any] = {
        "fan": Parallel("fan", a=plus),
        "each": Map("each", plus, over=lambda value: [value]),
        "l": Loop("l", plus, until=bool, max_iterations=1),
        "route": Branch("route", on=str).default(plus),
        "scope": (plus >> double).named("scope"),
    }
    kinds: dict[str, Any] = {"fan": dict[str, int], "each": list[int], "l": int, "route": int, "scope": int}
    wanted = {"fan": {"a": 2}, "each": [2], "l": 2, "route": 2, "scope": 4}
    for name, node in nodes.items():
        for source in (From(name), From(node)):
            taken = takes("t", source, kinds[name])
            for store in (None, "memory://"):
                assert alone(node >> drops >> taken, store=store).run(1).output == wanted[name]


@step
async def drops() -> int:
    return 0


# ---------------------------------------------------------------------------------------------------- children


def test_a_path_of_names_takes_what_a_child_of_a_named_pipeline_gave() -> None:
    node = (plus >> double).named("scope") >> takes("t", From("scope/plus"))
    assert ran(node, 5).output == 6


def test_of_a_loop_it_is_what_the_last_iteration_gave() -> None:
    body = adds("write", 1) >> adds("check", 10)
    node = Loop("refine", body, until=lambda value: value > 30, max_iterations=9) >> takes("t", From("refine/write"))
    assert ran(node, 0).output == 23


def test_of_a_parallel_it_is_what_a_step_of_a_branch_gave() -> None:
    node = Parallel("fan", {"l/r": plus >> double, "b": plus}) >> takes("t", From("fan[l%2Fr]/plus"))
    assert ran(node, 5).output == 6
    node = Parallel("fan", left=adds("draft", 7) >> double, right=plus) >> takes("t", From("fan[left]/draft"))
    assert ran(node, 1).output == 8


def test_paths_go_down_several_scopes() -> None:
    inner = Loop("l", (adds("x", 1) >> adds("y", 1)).named("p"), until=lambda v: v > 4, max_iterations=9)
    node = Parallel("fan", a=inner, b=plus) >> takes("t", From("fan[a]/l/p/x"))
    assert ran(node, 1).output == 4


def test_a_child_of_a_branch_needs_a_default_and_is_that_where_the_case_was_not_taken() -> None:
    def parity(value: int) -> Literal["even", "odd"]:
        return "odd" if value % 2 else "even"

    route: Any = Branch("route", on=parity).case("even", adds("x", 10) >> double).case("odd", plus)
    node = route >> takes("t", From("route[even]/x"), int, default=-1)
    assert ran(node, 2).output == 12 and ran(node, 3).output == -1
    with pytest.raises(DefinitionError, match=r"'t'.*'found'.*'route\[even\]/x'.*default"):
        (route >> takes("t", From("route[even]/x"))).check()


def test_what_a_fallback_stood_in_for_has_not_run_and_needs_a_default() -> None:
    scope = (plus >> fail.named("maybe")).named("scope").policy(fallback=adds("other", 100))
    node = scope >> takes("t", From("scope/plus"), int, default=-1)
    assert ran(node).output == -1
    with pytest.raises(DefinitionError, match=r"'t'.*'scope/plus'.*default"):
        (scope >> takes("t", From("scope/plus"))).check()


def test_what_the_cache_stood_in_for_has_not_run_and_needs_a_default() -> None:
    scope = (plus >> double).named("scope").policy(cache=Cache())
    flujo = alone(scope >> takes("t", From("scope/plus"), int, default=-1))
    assert [flujo.run(1).output, flujo.run(1).output] == [2, -1]


def test_of_a_node_that_is_tried_again_it_is_what_the_last_attempt_gave() -> None:
    tries: list[int] = []

    @step
    async def numbered(value: int) -> int:
        tries.append(value)
        return len(tries)

    @step
    async def once(value: int) -> int:
        if len(tries) == 1:
            raise ValueError
        return value

    scope = (numbered >> once).named("scope").policy(retry=Retry(attempts=2))
    assert ran(scope >> takes("t", From("scope/numbered"))).output == 2


# ---------------------------------------------------------------------------------------------- the iteration before


@pytest.mark.parametrize("store", [None, "memory://"])
def test_in_a_loop_a_name_that_runs_later_is_what_the_iteration_before_gave(store: str | None) -> None:
    seen: list[int | None] = []

    @step
    async def write(value: int, *, review: Annotated[int | None, From("critique")] = None) -> int:
        seen.append(review)
        return value + (review or 0)

    @step
    async def critique(draft: int) -> int:
        return draft * 10

    node = Loop("refine", write >> critique, until=lambda value: value > 1000, max_iterations=5)
    assert alone(node, store=store).run(1).output == 4000 and seen == [None, 10, 200]


@pytest.mark.parametrize("store", [None, "memory://"])
def test_the_run_input_may_be_taken_by_name_only(store: str | None) -> None:
    """As in the refine loop of the public face: no step takes it as its input."""

    @step
    async def write(*, topic: Annotated[Customer, From.run_input], last: Annotated[int, From("check")] = 0) -> str:
        return f"{topic.name} {last}"

    @step
    async def check(draft: str) -> int:
        return len(draft)

    node = Loop("refine", write >> check, until=lambda value: value == 5, max_iterations=3)
    assert alone(node, store=store).run(Customer(name="Ana")).output == 5


def test_a_run_input_that_is_taken_by_name_only_is_validated_before_the_run() -> None:
    flujo = alone(takes("t", From.run_input, int))
    with pytest.raises(InvalidValue):
        flujo.run("no number")


def test_a_step_may_take_its_own_output_of_the_iteration_before() -> None:
    @step
    async def count(*, before: Annotated[int, From("count")] = 0) -> int:
        return before + 1

    assert ran(Loop("l", count, until=lambda value: value == 4, max_iterations=9)).output == 4


def test_what_runs_before_in_the_body_is_of_this_iteration() -> None:
    node = Loop("l", adds("x", 1) >> adds("y", 5) >> takes("t", From("x")), until=lambda v: v > 3, max_iterations=9)
    assert ran(node, 0).output == 4


def test_in_a_nested_scope_the_iteration_before_is_that_of_the_loop() -> None:
    @step
    async def peek(value: int, *, last: Annotated[int, From("end")] = -1) -> int:
        seen.append(last)
        return value

    seen: list[int] = []
    body = Parallel("fan", a=peek) >> only >> adds("end", 1)
    ran(Loop("l", body, until=lambda value: value > 2, max_iterations=9), 0)
    assert seen == [-1, 1, 2]


@step
async def only(found: dict[str, int]) -> int:
    return found["a"]


def test_an_inner_loop_begins_without_the_iterations_of_its_last_time() -> None:
    seen: list[int] = []

    @step
    async def peek(value: int, *, last: Annotated[int, From("end")] = -1) -> int:
        seen.append(last)
        return value

    inner = Loop("inner", peek >> adds("end", 1), until=lambda value: value % 2 == 0, max_iterations=9)
    ran(Loop("outer", inner, until=lambda value: value >= 4, max_iterations=9), 0)
    assert seen == [-1, 1, -1, 3]


def test_the_iteration_before_needs_a_default() -> None:
    with pytest.raises(DefinitionError, match=r"'t'.*'later'.*first iteration.*default"):
        Loop("l", takes("t", From("later")) >> adds("later"), until=bool, max_iterations=2).check()


# ---------------------------------------------------------------------------------------------------- values


def test_every_reader_gets_its_own_copy_of_a_value_that_can_be_changed() -> None:
    @step
    async def make(value: int) -> Customer:
        return Customer(name="Ana")

    @step
    async def spoil(customer: Customer) -> int:
        customer.tags.append("spoilt")
        customer.name = "Bo"
        return 1

    @step
    async def spoil_named(value: int, *, customer: Annotated[Customer, From(make)]) -> int:
        customer.tags.append("named")
        return value

    @step
    async def look(*, customer: Annotated[Customer, From(make)]) -> Customer:
        return customer

    for store in (None, "memory://"):
        node = make >> spoil >> spoil_named >> Parallel("fan", a=look, b=spoil_named.named("s")) >> end >> look
        assert alone(node, store=store).run(1).output == Customer(name="Ana")


@step
async def end() -> int:
    return 1


def test_a_run_input_that_a_step_has_changed_is_as_it_was_given() -> None:
    @step
    async def spoil(customer: Customer) -> int:
        customer.tags.append("spoilt")
        return 1

    for store in (None, "memory://"):
        given = Customer(name="Ana")
        node = spoil >> takes("t", From.run_input, Customer)
        assert alone(node, store=store).run(given).output == Customer(name="Ana")


def test_a_fallback_and_each_attempt_get_the_same_named_inputs() -> None:
    @step(retry=Retry(attempts=2))
    async def spoils(*, customer: Annotated[Customer, From("make")]) -> list[str]:
        customer.tags.append("x")
        seen.append(list(customer.tags))
        raise ValueError

    @step
    async def make(value: int) -> Customer:
        return Customer(name="Ana")

    @step
    async def other(*, customer: Annotated[Customer, From("make")]) -> list[str]:
        return customer.tags

    seen: list[list[str]] = []
    assert ran(make >> spoils.policy(fallback=other)).output == [] and seen == [["x"], ["x"]]


def test_with_a_hook_that_replaces_an_output_readers_get_the_replaced_one() -> None:
    async def replace(call: Any, result: Any) -> Any:
        return result.replace(output=99) if call.step_name == "plus" else None

    node = plus >> adds("y") >> takes("t", From("plus"))
    assert ran(node, post_step_execution=replace).output == 99


# ---------------------------------------------------------------------------------------------------- prompts


def said(prompt: Any, **more: Any) -> Any:
    """A step that gives the prompt that its pydantic-ai agent was asked with."""

    def answer(messages: Any, info: Any) -> ModelResponse:
        parts = [part for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
        return ModelResponse(parts=[TextPart(str(parts[-1].content))])

    return Step.agent("ask", Agent(FunctionModel(answer)), prompt=prompt, **more)


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_prompt_function_may_take_named_inputs(store: str | None) -> None:
    def prompt(
        value: int, *, body: Annotated[str, From(read, path="body")], begun: Annotated[int, From.run_input]
    ) -> str:
        return f"{value} {body} {begun}"

    assert alone(read >> size >> said(prompt), store=store).run(7).output == "6 mail 7 7"


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_template_shows_what_other_steps_gave(store: str | None) -> None:
    text = "{{ read.body }}|{{read.customer.name}}|{{ input }}|{{ run_input }}|{{ read.customer }}"
    node = read >> size >> said(text, input=int)
    assert alone(node, store=store).run(7).output == 'mail 7|Ana|6|7|{"name":"Ana","tags":[]}'


def test_a_template_shows_children_and_the_scopes_input() -> None:
    body = plus >> (adds("x", 1) >> double).named("deep") >> said("{{ scope_input }} {{ deep/x }}", input=int)
    assert ran(Map("each", body, over=lambda value: [1, 5])).output == ["1 3", "5 7"]


def test_a_template_in_a_case_and_in_a_fallback_resolves_from_there() -> None:
    route = Branch("route", on=str).default(said("{{ read.body }}", input=int))
    assert ran(read >> size >> route).output == "mail 1"

    @step
    async def fails(value: int) -> str:
        raise ValueError

    assert ran(read >> size >> fails.policy(fallback=said("{{ read.body }}", input=int))).output == "mail 1"


# ---------------------------------------------------------------------------------------------------- what is refused


def test_a_name_that_does_not_run_before_is_refused_with_a_close_match() -> None:
    with pytest.raises(DefinitionError, match=r"'t'.*'found'.*'raed'.*did you mean 'read'"):
        (read >> takes("t", From("raed"), Email)).check()
    with pytest.raises(DefinitionError, match=r"'t'.*'found'.*'after'"):
        (plus >> takes("t", From("after")) >> adds("after")).check()
    with pytest.raises(DefinitionError, match=r"'t'.*'t'"):
        (plus >> takes("t", From("t"))).check()


def test_a_sibling_branch_has_no_name_in_another() -> None:
    with pytest.raises(DefinitionError, match=r"'t'.*'x'"):
        (Parallel("fan", a=adds("x"), b=takes("t", From("x")))).check()
    with pytest.raises(DefinitionError, match=r"'t'.*'fan\[a\]/x'"):
        (Parallel("fan", a=adds("x"), b=takes("t", From("fan[a]/x")))).check()


def test_what_is_in_a_scope_has_no_name_outside_but_its_path() -> None:
    with pytest.raises(DefinitionError, match=r"'t'.*'double'"):
        ((plus >> double).named("scope") >> takes("t", From("double"))).check()
    with pytest.raises(DefinitionError, match=r"'t'.*'scope'.*did you mean 'double'"):
        ((plus >> double).named("scope") >> takes("t", From("scope/duble"))).check()
    with pytest.raises(DefinitionError, match=r"'t'.*'fan'.*did you mean 'left'"):
        (Parallel("fan", left=plus) >> takes("t", From("fan[lft]/plus"))).check()
    with pytest.raises(DefinitionError, match=r"'t'.*'plus'.*step"):
        (plus >> takes("t", From("plus/x"))).check()


def test_a_producer_of_another_type_is_refused_with_both_ends() -> None:
    with pytest.raises(EdgeError, match=r"'t'.*'read'.*'Email'.*'int'"):
        (read >> takes("t", From("read"), int)).check()
    with pytest.raises(EdgeError, match=r"'t'.*'read'.*'str'.*'int'"):
        (read >> takes("t", From("read", path="body"), int)).check()
    with pytest.raises(EdgeError, match=r"'t'.*From.run_input.*'int'.*'str'"):
        (plus >> takes("t", From.run_input, str)).check()
    with pytest.raises(EdgeError, match=r"'t'.*From.scope_input.*'int'.*'str'"):
        Map("each", plus >> takes("t", From.scope_input, str)).check()


def test_a_field_that_is_not_there_is_refused_with_a_close_match() -> None:
    with pytest.raises(DefinitionError, match=r"'t'.*'Email'.*'bdy'.*did you mean 'body'"):
        (read >> takes("t", From("read", path="bdy"), str)).check()


def test_scope_input_without_a_map_or_loop_around_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"'t'.*From.scope_input.*From.run_input"):
        (plus >> takes("t", From.scope_input)).check()


def test_it_is_keyword_only() -> None:
    async def positional(value: int, found: Annotated[int, From("x")]) -> int:
        return value

    async def leading(found: Annotated[int, From("x")]) -> int:
        return found

    for function in (positional, leading):
        with pytest.raises(SignatureError, match=r"'found'.*'\*, '"):
            step(function).check()


def test_the_default_of_the_parameter_is_what_a_step_without_its_input_gets() -> None:
    @step
    async def peek(*, found: Annotated[int | None, From("later")] = None) -> int:
        seen.append(found)
        return len(seen)

    seen: list[int | None] = []
    ran(Loop("l", peek >> adds("later", 10), until=lambda value: value > 11, max_iterations=3))
    assert seen == [None, 11]


def test_a_step_that_takes_only_named_inputs_follows_any_output() -> None:
    assert Flujo(read >> takes("t", From.run_input)).run(5).output == 5
