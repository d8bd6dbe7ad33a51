"""Streaming steps: what is joined, what waits for whom, what may leave, and what is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from flow_kit import Watched, alone, ran
from plugin_kit import plugin

from flujo_core import (
    Chunk,
    ContextConflict,
    From,
    InvalidValue,
    Merge,
    Parallel,
    PausedWhileStreaming,
    PauseForHumanInput,
    Pipeline,
    PipelineContext,
    PluginError,
    Retry,
    RunFailed,
    RunInfo,
    RunRefused,
    Skip,
    StepCall,
    StepCompleted,
    StepError,
    StepResult,
    StepTimeout,
    Stop,
    Timeout,
    Veto,
    step,
)
from flujo_core.engine.channel import CAPACITY
from flujo_core.testing import HookRecorder


@step
async def words(text: str) -> AsyncIterator[str]:
    for word in text.split():
        await asyncio.sleep(0)
        yield word + " "


@step
async def upper(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    async for piece in pieces:
        yield piece.upper()


@step
async def count(pieces: AsyncIterator[str]) -> int:
    return sum([len(piece) async for piece in pieces])


@step
async def numbers(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number


@step
async def total(pieces: AsyncIterator[int]) -> int:
    return sum([piece async for piece in pieces])


@step
async def exclaim(text: str) -> str:
    return text + "!"


def chunks(node: Any, given: Any, *plugins: Any, **keywords: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The chunks that a listener hears, by address; and what the run came to."""

    async def main() -> tuple[list[tuple[str, Any]], Any]:
        heard: list[tuple[str, Any]] = []
        try:
            async with alone(node, plugins=plugins, **keywords).stream(given) as run:
                async for event in run:
                    if isinstance(event, Chunk):
                        assert not event.last
                        heard.append((event.address, event.text or event.item))
        except RunFailed as failed:
            return heard, failed
        return heard, run.result

    return asyncio.run(main())


# ---------------------------------------------------------------------------------------------------- what is collected


@pytest.mark.parametrize("node", [words, words >> upper, words >> upper >> exclaim, Pipeline("all", (words, upper))])
def test_a_neighbour_that_takes_no_stream_gets_the_collected_value(node: Any) -> None:
    expected = {"words": "a b ", "words >> upper": "A B ", "all": "A B "}.get(node.label, "A B !")
    assert ran(node, "a b").output == expected
    assert alone(node).run("a b").output == expected


def test_pieces_that_are_no_text_are_collected_in_a_list() -> None:
    assert ran(numbers, 3).output == [0, 1, 2] and ran(numbers >> total, 4).output == 6


def test_an_empty_stream_is_an_empty_text_or_list() -> None:
    assert (
        ran(words >> upper, "").output == "" and ran(numbers, 0).output == [] and ran(numbers >> total, 0).output == 0
    )


def test_steps_inside_of_a_segment_have_results_and_outputs_only_where_somebody_needs_them() -> None:
    steps = {one.address: one.output for one in ran(words >> upper >> exclaim, "a").result.steps}
    assert steps == {"words": None, "upper": "A ", "exclaim": "A !"}


def test_a_step_behind_a_segment_may_name_a_step_inside_of_it() -> None:
    @step
    async def both(text: str, *, first: Annotated[str, From(words)]) -> str:
        return first + text

    assert ran(words >> upper >> both, "a b").output == "a b A B "


def test_each_step_of_a_segment_has_its_own_address_and_they_commit_in_one_append() -> None:
    found = ran(words >> upper >> count, "a b c")
    assert found.addresses() == ["words", "upper", "count"] == found.addresses("step_started")
    assert [one.address for one in found.store.batch_of("step_completed", "words")][:3] == ["words", "upper", "count"]
    assert [one.address for one in found.store.batch_of("step_started", "upper")[-3:]] == ["words", "upper", "count"]


# -------------------------------------------------------------------------------------------------------- who waits


def test_the_first_piece_reaches_the_last_step_before_the_source_has_ended() -> None:
    seen: list[str] = []

    @step
    async def source(_: int) -> AsyncIterator[int]:
        for number in range(3):
            seen.append(f"made {number}")
            yield number
            await asyncio.sleep(0.005)

    @step
    async def sink(pieces: AsyncIterator[int]) -> int:
        async for piece in pieces:
            seen.append(f"taken {piece}")
        return 0

    ran(source >> sink)
    assert seen == ["made 0", "taken 0", "made 1", "taken 1", "made 2", "taken 2"]


def test_a_slow_step_holds_a_fast_one() -> None:
    made, taken, ahead = 0, 0, 0

    @step
    async def fast(stop: int) -> AsyncIterator[int]:
        nonlocal made, ahead
        for number in range(stop):
            made += 1
            ahead = max(ahead, made - taken)
            yield number

    @step
    async def slow(pieces: AsyncIterator[int]) -> int:
        nonlocal taken
        async for _ in pieces:
            taken += 1
            await asyncio.sleep(0)
        return taken

    assert ran(fast >> slow, 1000).output == 1000
    assert 2 <= ahead <= CAPACITY + 2


class Closed:
    """Streaming steps that say when they are closed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def source(self, name: str = "source") -> Any:
        async def endless(_: Any) -> AsyncIterator[int]:
            number = 0
            try:
                while True:
                    yield number
                    number += 1
                    await asyncio.sleep(0)
            finally:
                self.names.append(name)

        return step(name=name)(endless)

    def middle(self, name: str = "middle") -> Any:
        async def through(pieces: AsyncIterator[int]) -> AsyncIterator[int]:
            try:
                async for piece in pieces:
                    yield piece
            finally:
                self.names.append(name)

        return step(name=name)(through)


def test_a_step_that_has_all_it_wants_ends_the_stream_and_what_was_taken_is_what_was_given() -> None:
    closed = Closed()

    @step
    async def three(pieces: AsyncIterator[int]) -> int:
        found = 0
        async for piece in pieces:
            found += 1
            if piece == 2:
                break
        return found

    @step
    async def look(_: int, *, given: Annotated[list[int], From("source")]) -> list[int]:
        return given

    assert ran(closed.source() >> three >> look).output == [0, 1, 2]
    assert closed.names == ["source"]
    assert ran(closed.source() >> closed.middle() >> three).output == 3
    assert sorted(closed.names) == ["middle", "source", "source"]


def test_cancelling_the_consumer_closes_every_generator() -> None:
    closed = Closed()

    async def main() -> None:
        async with alone(closed.source() >> closed.middle("one") >> closed.middle("two")).stream(0) as run:
            async for event in run:
                if isinstance(event, Chunk) and event.item == 5:
                    break
        assert sorted(closed.names) == ["one", "source", "two"]

    asyncio.run(main())


def test_a_step_that_fails_ends_the_others_and_nothing_is_committed() -> None:
    closed = Closed()

    @step
    async def fails(pieces: AsyncIterator[int]) -> int:
        async for piece in pieces:
            if piece == 3:
                raise ValueError("CANARY")
        return 0

    found = ran(closed.source() >> fails)
    assert found.error is not None and found.addresses() == [] and found.addresses("step_failed") == ["fails"]
    assert closed.names == ["source"] and "CANARY" not in str(found.error)


@pytest.mark.parametrize("limit", [0.02, Timeout(idle=0.02)])
def test_a_step_of_a_segment_may_have_a_timeout(limit: Any) -> None:
    @step(timeout=limit)
    async def stuck(_: int) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(10)

    found = ran(stuck >> total)
    assert isinstance(found.cause, StepTimeout) and found.addresses("step_failed") == ["stuck"]


def test_a_piece_is_a_sign_of_life() -> None:
    @step(timeout=Timeout(idle=1.0))
    async def lively(_: int) -> AsyncIterator[int]:
        for number in range(4):
            await asyncio.sleep(0.3)
            yield number

    assert ran(lively).output == [0, 1, 2, 3]


# ------------------------------------------------------------------------------------------------------ what is wrong


def test_a_piece_that_does_not_fit_fails_the_step_and_is_not_told() -> None:
    @step
    async def odd(_: int) -> AsyncIterator[int]:
        yield 1
        yield "CANARY"  # type: ignore[misc]

    for node in (odd, odd >> total):
        found = ran(node)
        assert isinstance(found.cause, InvalidValue) and "a piece of its output is not a 'int'" in str(found.error)
        assert "CANARY" not in str(found.error)


def test_a_question_inside_of_a_segment_fails_it_with_a_typed_error() -> None:
    @step
    async def asks(pieces: AsyncIterator[int]) -> int | PauseForHumanInput[int]:
        return PauseForHumanInput("how many?", int)

    async def gate(self: Any, call: StepCall, /) -> Any:
        return PauseForHumanInput("go on?", bool)

    found = ran(numbers >> asks, 3)
    assert isinstance(found.cause, PausedWhileStreaming) and "question_asked" not in {e.kind for e in found.events}
    found = ran(numbers >> total, 3, plugins=[plugin("gate", pre_step_execution=gate)])
    assert isinstance(found.cause, PausedWhileStreaming)


def test_a_step_that_streams_alone_may_be_gated() -> None:
    async def gate(self: Any, call: StepCall, /) -> Any:
        return None if call.answer else PauseForHumanInput("go on?", bool)

    async def main() -> None:
        flujo = alone(numbers, plugins=[plugin("gate", pre_step_execution=gate)], store=Watched())
        assert (await flujo.run_async(3, run_id="r")).status == "paused"
        assert (await flujo.resume_async("r", True)).output == [0, 1, 2]

    asyncio.run(main())


class Shared(PipelineContext):
    log: list[str] = []
    last: int = 0
    other: int = 0
    bag: Annotated[list[str], Merge.append] = []


def test_drafts_of_a_segment_share_one_base_and_commit_together() -> None:
    @step
    async def first(_: int, context: Shared) -> AsyncIterator[int]:
        context.last = 1
        context.log.append("first")
        yield 1

    @step
    async def second(pieces: AsyncIterator[int], context: Shared) -> int:
        async for _ in pieces:
            pass
        context.other = context.last + 1
        context.log.append("second")
        return 0

    found = ran(first >> second, context=Shared)
    assert (found.context.last, found.context.other, found.context.log) == (1, 1, ["first", "second"])


def test_two_steps_of_a_segment_that_change_the_same_field_are_a_conflict() -> None:
    @step
    async def first(_: int, context: Shared) -> AsyncIterator[int]:
        context.last = 1
        yield 1

    @step
    async def second(pieces: AsyncIterator[int], context: Shared) -> int:
        context.last = 2
        return sum([piece async for piece in pieces])

    found = ran(first >> second, context=Shared)
    assert isinstance(found.cause, ContextConflict) and "'first' and 'second'" in str(found.cause)
    assert "'last'" in str(found.cause) and found.addresses() == [] and found.context.last == 0

    @step(name="second")
    async def replaces(pieces: AsyncIterator[int], context: Shared) -> int:
        context.log = []
        return sum([piece async for piece in pieces])

    @step(name="first")
    async def appends(_: int, context: Shared) -> AsyncIterator[int]:
        context.log.append("x")
        yield 1

    begin = Shared(log=["kept"])
    assert isinstance(ran(appends >> replaces, context=Shared, begin=begin).cause, ContextConflict)


def test_what_a_step_keeps_of_a_piece_does_not_change_with_what_the_next_one_does_to_it() -> None:
    @step
    async def lists(_: int) -> AsyncIterator[list[int]]:
        yield [1]

    @step
    async def spoils(pieces: AsyncIterator[list[int]]) -> int:
        async for piece in pieces:
            piece.append(2)
        return 0

    @step
    async def look(_: int, *, given: Annotated[list[list[int]], From(lists)]) -> list[list[int]]:
        return given

    assert ran(lists >> spoils >> look).output == [[1]]


# ----------------------------------------------------------------------------------------------------------- policies


def test_a_streaming_step_alone_may_be_tried_again_and_its_chunks_carry_the_attempt() -> None:
    tried: list[int] = []

    @step(retry=Retry(attempts=2, backoff=0))
    async def flaky(_: int, info: RunInfo) -> AsyncIterator[str]:
        tried.append(info.attempt)
        yield "a"
        if info.attempt == 1:
            raise ValueError
        yield "b"

    async def main() -> None:
        async with alone(flaky).stream(0) as run:
            found = [(event.attempt, event.text) async for event in run if isinstance(event, Chunk)]
        assert found == [(1, "a"), (2, "a"), (2, "b")] and run.result.output == "ab"

    asyncio.run(main())


def test_a_streaming_step_alone_may_have_a_fallback_after_pieces_of_it_were_told() -> None:
    @step
    async def instead(_: str) -> str:
        return "instead"

    @step(fallback=instead)
    async def breaks(_: str) -> AsyncIterator[str]:
        yield "a"
        raise ValueError

    heard, result = chunks(breaks, "")
    assert heard == [("breaks", "a")] and result.output == "instead"


def test_a_segment_with_a_name_has_retry_fallback_and_cache() -> None:
    tried: list[str] = []

    @step
    async def flaky(text: str, info: RunInfo) -> AsyncIterator[str]:
        tried.append(info.address)
        yield text
        if len(tried) == 1:
            raise ValueError

    @step
    async def instead(text: str) -> str:
        return "instead"

    node = (flaky >> upper).named("reply")
    found = ran(node.policy(retry=Retry(attempts=2, backoff=0)), "a")
    assert found.output == "A" and [one.address for one in found.events if one.kind == "step_completed"] == [
        "reply#2/flaky",
        "reply#2/upper",
    ]
    tried.clear()
    assert ran(node.policy(fallback=instead), "a").output == "instead"


# -------------------------------------------------------------------------------------------------------------- hooks


def test_a_closed_plugin_with_a_post_hook_that_vetoes_sees_zero_chunks_leave() -> None:
    async def veto(self: Any, call: StepCall, result: StepResult, /) -> None:
        if call.step_name == "words":
            raise Veto("no")

    taken: list[str] = []

    @step
    async def sink(pieces: AsyncIterator[str]) -> int:
        async for piece in pieces:
            taken.append(piece)
        return 0

    for node in (words, words >> sink, words >> upper >> sink):
        heard, failed = chunks(node, "secret text", plugin("no", post_step_execution=veto))
        assert isinstance(failed, RunRefused) and heard == [] and taken == []


def test_a_plugin_without_transform_chunk_buffers_the_edge_and_the_next_step_gets_what_it_let_pass() -> None:
    async def redact(self: Any, call: StepCall, result: StepResult, /) -> Any:
        return result.replace(output=result.output.replace("a", "*")) if call.step_name == "words" else None

    seen: list[str] = []

    @step
    async def sink(pieces: AsyncIterator[str]) -> str:
        async for piece in pieces:
            seen.append(piece)
        return "".join(seen)

    heard, result = chunks(words >> sink, "a b a", plugin("redact", post_step_execution=redact))
    assert seen == ["* b * "] and heard == [("words", "* b * ")] and result.output == "* b * "
    heard, result = chunks(words, "a b a", plugin("redact", post_step_execution=redact))
    assert heard == [("words", "* b * ")] and result.output == "* b * "


def test_a_buffered_stream_of_items_goes_on_item_by_item_as_far_as_they_are_wanted() -> None:
    async def pass_on(self: Any, call: StepCall, proceed: Any, /) -> StepResult:
        found: StepResult = await proceed()
        return found

    @step
    async def two(pieces: AsyncIterator[int]) -> list[int]:
        found: list[int] = []
        async for piece in pieces:
            found.append(piece)
            if len(found) == 2:
                break
        return found

    heard, result = chunks(numbers >> two, 100, plugin("around", around_step=pass_on))
    assert result.output == [0, 1] and heard[:2] == [("numbers", 0), ("numbers", 1)]


def masks(name: str = "masks", hold: bool = False) -> Any:
    """A plugin that looks at pieces and at the whole; one that holds lets the last piece go only at the end."""
    held: dict[str, str] = {}

    async def transform_chunk(self: Any, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        if not hold:
            return chunk.replace(text=chunk.text.replace("a", "*"))
        text = (held.pop(call.address, "") + chunk.text).replace("bob", "***")
        if not chunk.last:
            held[call.address] = text[-2:]
            text = text[:-2]
        return chunk.replace(text=text)

    async def post(self: Any, call: StepCall, result: StepResult, /) -> None: ...

    return plugin(name, transform_chunk=transform_chunk, post_step_execution=post)


def test_chunks_leave_only_through_transform_chunk_and_what_left_is_what_is_collected() -> None:
    heard, result = chunks(words >> upper, "a b", masks())
    assert heard == [("words", "* "), ("upper", "* "), ("words", "b "), ("upper", "B ")]
    assert result.output == "* B " and result.steps[0].output == "* b "
    heard, result = chunks(words >> exclaim, "a", masks())
    assert heard == [("words", "* ")] and result.output == "* !"


def test_a_plugin_may_hold_text_back_until_the_stream_has_ended() -> None:
    @step
    async def cut(_: str) -> AsyncIterator[str]:
        for piece in ("hi b", "ob, ", "bye bo", "b"):
            yield piece

    heard, result = chunks(cut >> exclaim, "", masks(hold=True))
    assert result.output == "hi ***, bye ***!" and "".join(text for _, text in heard) == "hi ***, bye ***"


def test_pieces_that_are_no_text_are_transformed_as_items() -> None:
    async def double(self: Any, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        return None if chunk.last else chunk.replace(item=chunk.item * 2)

    heard, result = chunks(numbers >> total, 3, plugin("double", transform_chunk=double))
    assert heard == [("numbers", 0), ("numbers", 2), ("numbers", 4)] and result.output == 6

    async def more(self: Any, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        return chunk.replace(item=100) if chunk.last else None

    assert chunks(numbers, 2, plugin("more", transform_chunk=more))[1].output == [0, 1, 100]


def test_a_plugin_that_gives_a_piece_of_another_type_fails_the_step() -> None:
    async def odd(self: Any, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        return chunk.replace(item="CANARY")

    _, failed = chunks(numbers >> total, 3, plugin("odd", transform_chunk=odd))
    assert isinstance(failed.__cause__, InvalidValue) and "CANARY" not in str(failed)


@pytest.mark.parametrize("node", [words, words >> upper])
def test_an_error_in_transform_chunk_ends_the_run_and_nothing_leaves(node: Any) -> None:
    async def broken(self: Any, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        raise KeyError("CANARY")

    heard, failed = chunks(node, "a b", plugin("broken", transform_chunk=broken))
    assert heard == [] and isinstance(failed, RunRefused) and isinstance(failed.__cause__, PluginError)
    assert "CANARY" not in str(failed) and "transform_chunk" in str(failed)


def test_hooks_of_each_step_of_a_segment_are_called() -> None:
    recorder = HookRecorder()
    alone(words >> upper, plugins=[recorder]).run("a b")
    for hook in ("authorize", "pre_step_execution", "around_step", "post_step_execution"):
        addresses = [call.address for call in recorder.of(hook) if call.address]
        assert sorted(addresses) == ["upper", "words"], hook
    assert len(recorder.of("transform_chunk")) == 6  # two pieces and an end, of each
    inputs = {call.address: repr(call.given[0].step_input) for call in recorder.of("pre_step_execution")}
    assert inputs == {"words": "'a b'", "upper": "<a stream>"}


def test_a_hook_cannot_put_a_value_in_the_place_of_a_stream() -> None:
    async def replace(self: Any, call: StepCall, /) -> Any:
        return call.replace(step_input="CANARY") if call.step_name == "upper" else None

    found = ran(words >> upper, "a", plugins=[plugin("it", pre_step_execution=replace)])
    assert isinstance(found.cause, InvalidValue) and "takes a stream" in str(found.cause)
    assert "CANARY" not in str(found.cause)


@pytest.mark.parametrize("answer", [Skip("x y "), Stop("enough")])
def test_a_hook_may_skip_a_streaming_step_or_stop_the_run(answer: Any) -> None:
    async def pre(self: Any, call: StepCall, /) -> Any:
        return answer if call.step_name == "words" else None

    found = ran(words >> upper, "a", plugins=[plugin("it", pre_step_execution=pre)])
    if isinstance(answer, Stop):
        assert found.result.status == "stopped" and found.addresses() == []
    else:
        assert found.output == "X Y "


class Looks:
    """Plugins that look at pieces, and so let them leave; and then meddle."""

    @staticmethod
    async def transform_chunk(self: Any, call: StepCall, chunk: Chunk, /) -> None: ...

    @staticmethod
    async def again(self: Any, call: StepCall, proceed: Any, /) -> StepResult:
        try:
            found: StepResult = await proceed()
        except StepError:
            found = await proceed()
        return found

    @staticmethod
    async def instead(self: Any, call: StepCall, error: StepError, /) -> StepResult | None:
        return call.result("instead") if call.step_name == "breaks" else None


@pytest.mark.parametrize("hooks", [{"around_step": Looks.again}, {"on_step_error": Looks.instead}])
def test_what_has_left_is_neither_repeated_nor_replaced(hooks: dict[str, Callable[..., Any]]) -> None:
    @step
    async def breaks(_: str) -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(0)
        raise ValueError

    taken: list[str] = []

    @step
    async def sink(pieces: AsyncIterator[str]) -> int:
        async for piece in pieces:
            taken.append(piece)
        return 0

    made = plugin("it", transform_chunk=Looks.transform_chunk, **hooks)
    found = ran(breaks >> sink, "", plugins=[made])
    assert found.error is not None and taken == ["a"] and found.addresses("step_failed") == ["breaks"]
    taken.clear()
    buffered = ran(breaks >> sink, "", plugins=[plugin("it", **hooks)])
    assert taken == ([] if "around_step" in hooks else ["instead"])
    assert (buffered.error is None) == ("on_step_error" in hooks)


def test_segments_run_side_by_side_in_branches() -> None:
    node = Parallel("both", a=words >> upper, b=(words >> count).named("counted"))
    assert ran(node, "a b").output == {"a": "A B ", "b": 4}
    recorder = HookRecorder()
    assert alone(node, plugins=[recorder]).run("a b").output == {"a": "A B ", "b": 4}


def test_a_listener_hears_of_the_commit_after_the_chunks() -> None:
    async def main() -> None:
        async with alone(words >> upper, store=Watched()).stream("a") as run:
            kinds = [event.kind async for event in run if isinstance(event, Chunk | StepCompleted)]
        assert kinds == ["chunk", "chunk", "step_completed", "step_completed"]

    asyncio.run(main())


@pytest.mark.parametrize("key", ["first", "second"])
def test_two_steps_of_a_segment_may_set_other_keys_of_a_dict(key: str) -> None:
    class Facts(PipelineContext):
        known: dict[str, int] = {}

    @step
    async def first(_: int, context: Facts) -> AsyncIterator[int]:
        context.known["first"] = 1
        yield 1

    @step
    async def second(pieces: AsyncIterator[int], context: Facts) -> int:
        context.known[key] = 2
        return sum([piece async for piece in pieces])

    found = ran(first >> second, context=Facts)
    if key == "first":
        assert isinstance(found.cause, ContextConflict)
    else:
        assert found.context.known == {"first": 1, "second": 2}


class Counted:
    """A piece that counts how many of it are alive at once."""

    alive = most = 0

    def __init__(self) -> None:
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


def test_a_slow_consumer_holds_a_fast_producers_memory_constant_over_100_000_items() -> None:
    Counted.alive = Counted.most = 0

    @step
    async def fast(stop: int) -> AsyncIterator[Any]:
        for _ in range(stop):
            yield Counted()

    @step
    async def through(pieces: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for piece in pieces:
            yield piece

    @step
    async def slow(pieces: AsyncIterator[Any]) -> int:
        found = 0
        async for _ in pieces:
            found += 1
            if found % 1000 == 0:
                await asyncio.sleep(0.001)
        return found

    assert ran(fast >> through >> slow, 100_000).output == 100_000
    assert CAPACITY < Counted.most <= 2 * CAPACITY + 6 and Counted.alive == 0


def test_a_segment_does_not_begin_in_a_task_that_has_not_heeded_its_cancellation() -> None:
    ran_at_all: list[int] = []

    @step
    async def stubborn(value: int) -> int:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return value
        return value

    @step
    async def source(value: int) -> AsyncIterator[int]:
        ran_at_all.append(value)
        yield value

    found = ran((stubborn >> source >> total).named("scope").policy(timeout=0.02))
    assert isinstance(found.cause, StepTimeout) and ran_at_all == []


class Plain:
    """An async iterator that cannot be closed."""

    def __init__(self, stop: int) -> None:
        self.left = stop

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return self.left


def test_a_stream_need_not_be_a_generator() -> None:
    @step
    def counts(stop: int) -> AsyncIterator[int]:
        return Plain(stop)

    assert ran(counts >> total, 4).output == 6
