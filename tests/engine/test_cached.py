"""The keys of caches: equal for equal inputs of one tenant and one node, and for nothing else."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from flujo_core import Cache, Flujo, From, InvalidValue, Loop, MemoryCache, PipelineContext, RunFailed, step


class Login(BaseModel):
    password: SecretStr


class Hidden(BaseModel):
    name: str = Field(exclude=True)


class Base(BaseModel):
    pass


class Person(Base):
    name: str


class Cat(BaseModel):
    name: str


class Dog(BaseModel):
    name: str


def failure(run: Any) -> BaseException:
    with pytest.raises(RunFailed) as failed:
        run()
    assert failed.value.__cause__ is not None
    return failed.value.__cause__


@pytest.mark.parametrize(
    ("hint", "value"), [(Login, Login(password=SecretStr("a"))), (Hidden, Hidden(name="a")), (Base, Person(name="a"))]
)
def test_an_input_that_its_bytes_do_not_tell_needs_a_key(hint: Any, value: Any) -> None:
    @step(cache=Cache())
    async def who(value: hint) -> str:  # type: ignore[valid-type]
        return "somebody"

    cause = failure(lambda: Flujo(who).run(value))
    assert isinstance(cause, InvalidValue) and "Cache(key=...)" in str(cause) and cause.address == "who"


def test_values_of_two_types_that_look_alike_do_not_share_an_entry() -> None:
    @step(cache=Cache())
    async def kind(value: Cat | Dog) -> str:
        return type(value).__name__

    flujo = Flujo(kind)
    assert flujo.run(Cat(name="a")).output == "Cat"
    assert "Cache(key=...)" in str(failure(lambda: flujo.run(Dog(name="a"))))  # which would come back as a Cat


def test_named_inputs_are_part_of_the_key_beside_a_key_function() -> None:
    class Tally(PipelineContext):
        count: int = 0

    @step(cache=Cache(key=lambda value, context: str(context.count)))
    async def add(value: int, context: Tally, *, run: Annotated[int, From.run_input]) -> int:
        return run

    flujo = Flujo(step(name="one")(lambda value: 1) >> add, context=Tally)
    assert [flujo.run(1).output, flujo.run(2).output, flujo.run(1).output] == [1, 2, 1]


@pytest.mark.parametrize("key", [lambda value: None, lambda value: "", lambda value: 5])
def test_a_key_is_text_that_is_not_empty(key: Any) -> None:
    @step(cache=Cache(key=key))
    async def same(value: int) -> int:
        return value

    assert "a key is text" in str(failure(lambda: Flujo(same).run(1)))


def test_no_tenant_is_none_of_the_tenants() -> None:
    calls: list[int] = []

    @step(cache=Cache())
    async def same(value: int) -> int:
        calls.append(value)
        return value

    flujo = Flujo(same)
    for tenant in (None, "", "a"):
        flujo.run(1, tenant=tenant)
    assert len(calls) == 3


def scaling(factor: int) -> Any:
    @step(name="scale", cache=Cache())
    async def scale(value: int) -> int:
        return value * factor

    return scale


def with_default(factor: int) -> Any:
    @step(name="scale", cache=Cache())
    async def scale(value: int, by: int = factor) -> int:
        return value * by

    return scale


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    async def by_method(self, value: int) -> int:
        return value * self.factor


async def by(factor: int, value: int) -> int:
    return value * factor


@pytest.mark.parametrize(
    "make",
    [
        scaling,
        with_default,
        lambda factor: step(name="scale", cache=Cache())(partial(by, factor)),
        lambda factor: Loop("loop", step(name="more")(lambda value: value + 1), until=lambda value: value >= factor,
                            max_iterations=99).policy(cache=Cache()),
        lambda factor: Loop("loop", step(name="more")(lambda value: value + 1), until=lambda value: False,
                            max_iterations=factor, on_exhausted="return").policy(cache=Cache()),
    ],
)  # fmt: skip
def test_nodes_that_are_not_alike_share_no_entries(make: Any) -> None:
    cache = MemoryCache()
    first, other = (Flujo(make(factor), cache=cache).run(1).output for factor in (3, 7))
    assert first != other and Flujo(make(3), cache=cache).run(1).output == first


def test_a_method_can_be_cached() -> None:
    one = step(name="scale", cache=Cache())(Scale(2).by_method)
    assert Flujo(one).run(2).output == 4


@pytest.mark.parametrize("entry", ["x\ny", 5, b"", b"1", b'"x"\n{}'])
def test_an_entry_that_is_none_is_no_hit(entry: Any) -> None:
    class Odd(MemoryCache):
        async def get(self, key: str, /) -> Any:
            return entry

    @step(cache=Cache())
    async def same(value: int) -> int:
        return value

    assert Flujo(same, cache=Odd()).run(3).output == 3
