"""Streaming steps as data: what they take and give, what is joined, and what is refused when a pipeline is built."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from functools import partial
from typing import Annotated, Any

import pytest

from flujo_core import (
    Cache,
    DefinitionError,
    EdgeError,
    Flujo,
    From,
    Loop,
    Map,
    Parallel,
    Retry,
    SignatureError,
    Step,
    StreamingPipeline,
    StreamingStep,
    Timeout,
    step,
)
from flujo_core.model.manifest import Manifest
from flujo_core.model.patch import Extend, Set, Update, go_together


@step
async def words(text: str) -> AsyncIterator[str]:
    yield text


@step
async def upper(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    async for piece in pieces:
        yield piece


@step
async def count(pieces: AsyncIterable[str]) -> int:
    return len([piece async for piece in pieces])


@step
async def lengths(text: str) -> AsyncIterator[int]:
    yield len(text)


@step
async def plain(text: str) -> str:
    return text


class Speaks:
    async def __call__(self, text: str) -> AsyncIterator[str]:
        yield text


def relayed(text: str) -> AsyncIterator[str]:
    async def inner() -> AsyncIterator[str]:
        yield text

    return inner()


async def unsaid(text: str):  # type: ignore[no-untyped-def]
    yield text


async def generating(text: str) -> AsyncGenerator[int, None]:
    yield 1


async def bare(text: str) -> AsyncIterator:  # type: ignore[type-arg]
    yield text


@pytest.mark.parametrize(
    ("function", "item", "gives"),
    [
        (Speaks(), str, str), (relayed, str, str), (unsaid, Any, list[Any]), (generating, int, list[int]),
        (partial(generating), int, list[int]), (bare, Any, list[Any]),
    ],
)  # fmt: skip
def test_what_yields_is_a_streaming_step(function: Callable[..., Any], item: Any, gives: Any) -> None:
    made = step(name="it")(function)
    assert isinstance(made, StreamingStep) and made.item == item and made.gives == gives
    assert Flujo(made).run("a").output in ("a", ["a"], [1])


def test_a_step_of_one_value_gives_and_takes_no_pieces() -> None:
    assert plain.item is None and plain.takes_item is None and type(plain) is Step
    assert count.item is None and count.takes_item is str


def test_annotations_that_are_not_defined_yet_do_not_hide_that_a_step_streams() -> None:
    async def late(text: str) -> AsyncIterator[Later]:
        yield Later()

    class Later: ...

    assert isinstance(step(late), StreamingStep)


async def says_int(text: str) -> int:  # type: ignore[misc]
    yield 1  # type: ignore[misc]


async def never_yields(text: str) -> AsyncIterator[str]:
    return words.action.function(text)  # type: ignore[union-attr, no-any-return]


def sync_consumer(pieces: AsyncIterator[str]) -> str:
    return ""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (says_int, r"step 'says_int' yields, and declares that it gives 'int'; write '-> AsyncIterator\[int\]'"),
        (never_yields, "step 'never_yields' declares that it gives a stream, and never yields: leave 'async' out"),
        (sync_consumer, "step 'sync_consumer' takes a stream, which only async code can read: write 'async def'"),
    ],
)
def test_what_does_not_do_what_it_declares_is_refused(function: Any, message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        step(function)


def test_neighbours_are_joined_by_the_types_of_their_pieces() -> None:
    joined = words >> upper
    assert isinstance(joined, StreamingPipeline) and joined.item is None and joined.nodes[-1].item is str
    assert (joined >> count).gives is int
    with pytest.raises(EdgeError, match=r"step 'lengths' gives 'AsyncIterator\[int\]' and the next step"):
        lengths >> upper
    assert (words >> plain).gives is str  # the whole


@pytest.mark.parametrize(
    "make",
    [
        lambda: plain >> upper,
        lambda: words.named("w") >> plain >> count,
        lambda: (words >> upper).named("scope") >> upper.named("behind"),
        lambda: Parallel("fan", {"a": words}) >> count,
        lambda: words >> Parallel("fan", a=upper),
        lambda: Map("each", upper, over=lambda text: [text]),
        lambda: Loop("again", upper >> plain, until=lambda text: True, max_iterations=2),
        lambda: upper >> plain,
    ],
)
def test_a_step_that_takes_a_stream_and_has_none_before_it_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(DefinitionError, match=r"stream|AsyncItera(tor|ble)"):
        make().check()
    with pytest.raises(DefinitionError):
        Flujo(make())


@pytest.mark.parametrize(
    "policy",
    [{"retry": Retry(2)}, {"cache": Cache()}, {"fallback": plain.named("instead")}],
    ids=lambda one: next(iter(one)),
)
def test_retry_fallback_and_cache_are_declared_on_the_segment(policy: Any) -> None:
    named = next(iter(policy))
    with pytest.raises(DefinitionError, match=rf"step 'words' has '{named}', and streams from 'words' to 'upper'"):
        words.policy(**policy) >> upper
    (words >> upper).named("scope").policy(**policy).check()
    (words.policy(**policy) >> plain).check()


def test_a_step_that_streams_may_have_an_idle_timeout() -> None:
    (words.policy(timeout=Timeout(idle=1)) >> upper).check()


def test_a_step_that_names_one_that_streams_into_it_is_refused() -> None:
    @step
    async def reads(pieces: AsyncIterator[str], *, whole: Annotated[str, From(words)]) -> str:
        return whole

    with pytest.raises(DefinitionError, match="'reads' takes 'whole' from 'words', which streams at the same time"):
        (words >> upper >> reads).check()
    with pytest.raises(DefinitionError, match="streams at the same time"):
        (words >> reads).check()


def test_a_step_behind_a_stream_and_one_in_a_new_stream_may_name_what_streamed() -> None:
    @step
    async def again(text: str, *, first: Annotated[str, From(words)]) -> AsyncIterator[str]:
        yield first + text

    (words >> upper >> again >> count).check()


def test_the_manifest_of_a_streaming_step_says_what_it_takes_and_gives() -> None:
    one, other = (Manifest.of(node).to_json() for node in (words >> upper, words >> upper))
    assert one == other


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        (Extend([1]), Extend([2]), True), (Extend([1]), Set([2]), False), (Set(1), Set(1), False),
        (Update({"a": 1}, []), Update({"b": 1}, ["c"]), True), (Update({"a": 1}, []), Update({}, ["a"]), False),
        (Update({"a": 1}, []), Extend([1]), False),
    ],
)  # fmt: skip
def test_changes_of_one_field_go_together_where_neither_undoes_the_other(one: Any, other: Any, may: bool) -> None:
    assert go_together(one, other) is may is go_together(other, one)
