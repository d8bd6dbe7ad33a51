"""From, and where named inputs come from."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from flujo_core import (
    Branch,
    DefinitionError,
    EdgeError,
    From,
    Loop,
    Map,
    Parallel,
    RunInfo,
    SignatureError,
    Stop,
    step,
)


class Customer(BaseModel):
    name: str


@step
async def same(value: int) -> int:
    return value


def taking(source: From, hint: Any = int, *, default: bool = False) -> Any:
    if default:

        @step
        async def take(*, found: Annotated[hint, source] = None) -> int:  # type: ignore[valid-type]
            return 1

        return take

    @step(name="take")
    async def sure(*, found: Annotated[hint, source]) -> int:  # type: ignore[valid-type]
        return 1

    return sure


def test_a_source_is_told_by_its_name_and_path() -> None:
    assert From("a") == From(same.named("a")) != From("a", path="b")
    assert len({From("a"), From("a"), From("a", path="b")}) == 2
    assert repr(From("a")) == "From('a')" and repr(From("a", path="b.c")) == "From('a', path='b.c')"


@pytest.mark.parametrize("make", [lambda: From(same >> same.named("b")), lambda: From("")])
def test_a_source_has_a_name(make: Any) -> None:
    with pytest.raises(DefinitionError, match="names a step"):
        make()


@pytest.mark.parametrize("path", ["", "a..b", "."])
def test_a_path_is_made_of_fields(path: str) -> None:
    with pytest.raises(DefinitionError, match="path of a field"):
        From("a", path=path)


LOOP = Loop("loop", same, until=bool, max_iterations=1)
FAN = Parallel("fan", left=same, right=same)
PIPE = (same >> same.named("b")).named("pipe").policy(fallback=same)
ROUTE = Branch("route", on=lambda value: value).case(1, same).case(2, same)


@pytest.mark.parametrize(
    ("before", "source", "said"),
    [
        (same, From("smae"), "did you mean 'same'"),
        (same, From("take"), "which is the step itself"),
        (same.named("a") >> same.named("b"), From("end"), "which runs after it"),
        (PIPE, From("b"), "runs in 'pipe'; did you mean 'pipe/b'?"),
        (same, From("same/inner"), "'same' is a step, and nothing runs in it"),
        (LOOP, From("loop[2]/same"), "without brackets"),
        (LOOP, From("loop/smae"), "no 'smae' in 'loop'; did you mean 'same'"),
        (FAN, From("fan[lef]/same"), "no branch 'lef'; did you mean 'left'"),
        (FAN, From("fan/same"), "say which branch of 'fan', as in 'fan[left]/...'"),
        (FAN, From("fan[left]"), "name the step in it"),
        (ROUTE, From("route[1]/same"), "only if branch 'route' has taken that case; give it a default"),
        (Map("each", same, over=lambda value: [value]), From("each/same"), "has no name outside"),
        (same.policy(fallback=same.named("other")).named("x"), From.scope_input, "no map or loop is around it"),
        (PIPE, From("pipe/b"), "fallback or the cache of 'pipe'"),
    ],
)  # fmt: skip
def test_what_is_not_sure_to_have_run_is_refused(before: Any, source: From, said: str) -> None:
    whole = step(name="start")(lambda: 1) >> before >> taking(source) >> same.named("end")
    with pytest.raises(DefinitionError) as refused:
        whole.check()
    assert said in str(refused.value) and "'take'" in str(refused.value)


def test_the_input_of_the_run_cannot_be_two_things() -> None:
    whole = taking(From.run_input, Customer).named("one") >> taking(From.run_input, int).named("other")
    with pytest.raises(EdgeError, match=r"'one'.*'Customer'.*'other'.*'int'"):
        whole.check()
    (taking(From.run_input, int).named("one") >> taking(From.run_input, float).named("other")).check()


def test_what_follows_a_step_that_only_stops_never_runs() -> None:
    @step
    async def end(value: int) -> Stop:
        return Stop("enough")

    with pytest.raises(DefinitionError, match="'same' never runs: 'end'"):
        (end >> same).check()
    end.check()


def test_a_model_is_no_source_of_items() -> None:
    @step
    async def read(value: int) -> Customer:
        return Customer(name="Ana")

    @step
    async def greet(customer: Customer) -> str:
        return customer.name

    with pytest.raises(EdgeError, match=r"'read' gives 'Customer'.*'each'"):
        _ = read >> Map("each", greet)  # type: ignore[operator]


def test_what_is_injected_is_injected_once() -> None:
    with pytest.raises(SignatureError, match="takes its info twice, as 'one' and as 'other'"):

        @step
        async def twice(value: int, one: RunInfo, other: RunInfo) -> int:
            return value


def test_a_step_cannot_name_what_it_runs_in() -> None:
    with pytest.raises(DefinitionError, match="'take' takes 'found' from 'pipe', which it runs in"):
        (same >> taking(From("pipe")).named("take")).named("pipe").check()
