"""What a function's signature says of the step made from it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_core import Flujo, PipelineContext, Resources, RunInfo, SignatureError, Step, Stop, step


class Context(PipelineContext):
    n: int = 0


class Tools(Resources):
    pass


def test_the_first_parameter_is_the_input_and_the_return_type_the_output() -> None:
    @step
    async def one(a: int, context: Context, tools: Tools, info: RunInfo) -> list[str]:
        return []

    assert (one.takes, one.gives, one.name) == (int, list[str], "one")


def test_a_function_that_ignores_its_input_takes_anything() -> None:
    @step
    async def none() -> int:
        return 1

    @step
    async def keyword(*, info: RunInfo) -> int:
        return 1

    assert none.takes is object and keyword.takes is object


def test_what_is_not_annotated_can_be_anything() -> None:
    @step
    async def loose(a):  # type: ignore[no-untyped-def]
        return a

    assert loose.takes is Any and loose.gives is Any


def test_outcomes_beside_the_output_are_no_part_of_its_type() -> None:
    @step
    async def may_stop(a: int) -> str | Stop:
        return ""

    @step
    async def may_stop_or_none(a: int) -> str | Stop | None:
        return ""

    @step
    async def only_stops(a: int) -> Stop:
        return Stop("x")

    assert may_stop.gives is str and may_stop_or_none.gives == str | None
    assert Flujo(only_stops).run(1).status == "stopped"


@pytest.mark.parametrize("kind", ["context", "tools", "info"])
def test_an_injected_parameter_in_first_place_is_refused_and_told_how_to_mend_it(kind: str) -> None:
    def first_context(context: Context) -> int:
        return 1

    def first_tools(tools: Tools) -> int:
        return 1

    def first_info(info: RunInfo) -> int:
        return 1

    functions: dict[str, Any] = {"context": first_context, "tools": first_tools, "info": first_info}
    with pytest.raises(SignatureError, match=rf"'first_{kind}'.*{kind}.*put '\*") as refused:
        step(functions[kind])
    assert len(str(refused.value).splitlines()) == 1


def test_a_parameter_that_nothing_gives_is_refused() -> None:
    def two(a: int, b: int) -> int:
        return a

    with pytest.raises(SignatureError, match=r"'two'.*'b'"):
        step(two)


@pytest.mark.parametrize("stars", ["*args", "**kwargs"])
def test_open_parameters_are_refused(stars: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def wide(a: int, {stars}) -> int: return a", space)
    with pytest.raises(SignatureError, match="'wide'"):
        step(space["wide"])


def test_an_injected_parameter_by_position_only_is_refused() -> None:
    def odd(a: int, context: Context, /) -> int:
        return a

    with pytest.raises(SignatureError, match="context"):
        step(odd)


def test_a_generator_that_is_not_async_is_refused() -> None:
    def generator(a: int) -> Iterator[int]:
        yield a

    with pytest.raises(SignatureError, match="step 'generator' yields, and is not async: write 'async def'"):
        step(generator)


@pytest.mark.parametrize("thing", [5, "text", None.__class__(), [], {}])
def test_what_is_no_function_is_refused(thing: Any) -> None:
    if thing is None:
        return
    with pytest.raises(SignatureError):
        step(thing)


def test_string_annotations_and_local_classes_work() -> None:
    class Local(BaseModel):
        n: int = 1

    @step
    async def make(value: int) -> Local:
        return Local(n=value)

    @step(name="use")
    async def use(local: Local) -> list[Local]:
        return [local]

    assert make.gives is Local and use.takes is Local and use.gives == list[Local]
    assert Flujo(make >> use).run(3).output == [Local(n=3)]


@step
async def early(value: int) -> Later:
    return Later(n=value)


class Later(BaseModel):
    n: int = 0


def test_a_forward_reference_is_resolved_when_the_pipeline_is_built() -> None:
    assert early.gives is Later and Flujo(early).run(2).output == Later(n=2)


def test_an_annotation_that_names_nothing_is_a_clear_error_when_the_step_is_used() -> None:
    @step
    async def lost(value: int) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        return value

    with pytest.raises(SignatureError, match=r"'lost'.*'Nowhere'"):
        Flujo(lost)


def test_a_method_of_a_local_class_is_resolved() -> None:
    class Local(BaseModel):
        n: int = 1

    class Service:
        async def act(self, local: Local) -> Local:
            return local

    assert step(Service().act).takes is Local


def test_a_wrapped_function_keeps_its_signature() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return wrapper

    @step
    @logged
    async def inner(value: int, context: Context) -> str:
        context.n = value
        return str(value)

    assert inner.takes is int and inner.gives is str
    assert Flujo(inner, context=Context).run(2).context.n == 2


def test_a_partial_function_keeps_its_signature() -> None:
    async def scale(factor: int, value: int) -> str:
        return str(value * factor)

    made: Step[int, str] = step(name="scaled")(functools.partial(scale, 3))
    assert made.takes is int and made.gives is str and Flujo(made).run(2).output == "6"


def test_an_optional_context_is_no_context_and_told_so() -> None:
    def odd(value: int, context: Context | None) -> int:
        return value

    with pytest.raises(SignatureError, match="context"):
        step(odd)
