"""The harness of pipelines: fakes, outputs, single steps, virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from flujo_core import (
    Branch,
    Cache,
    ConfigurationError,
    DefinitionError,
    FlujoError,
    From,
    InvalidValue,
    Loop,
    Map,
    MemoryStore,
    Merge,
    Parallel,
    PipelineContext,
    Plugin,
    Resources,
    Retry,
    RunFailed,
    RunInfo,
    Step,
    StepTimeout,
    step,
)
from flujo_core.testing import Harness, harness, run_step, virtual_time


class Ticket(PipelineContext):
    severity: int = 0
    log: Annotated[list[str], Merge.append] = []


class Urgent(Ticket):
    by: str = ""


class Kind(BaseModel):
    queue: Literal["billing", "bug"]
    severity: int = 1


@step
async def read(path: str) -> str:
    return f"text of {path}"


classify = Step.agent("classify", Agent(TestModel(), output_type=Kind), prompt="{{ read }}", input=str)


@step
async def note(kind: Kind, context: Ticket) -> Kind:
    context.severity = kind.severity
    return kind


@step
async def refund(kind: Kind, *, text: Annotated[str, From(read)]) -> str:
    return f"refund {text}"


@step
async def fix(kind: Kind) -> str:
    return "fixed"


def queue(kind: Kind) -> Literal["billing", "bug"]:
    return kind.queue


route = Branch("route", on=queue).case("billing", refund).case("bug", fix)
triage = read >> classify >> note >> route


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_a_fake_stands_for_a_step_and_the_rest_is_as_it_was() -> None:
    async def test() -> None:
        async with harness(triage) as h:
            fake = h.fake(classify).returns(Kind(queue="billing", severity=3))
            result = await h.run_async("a.eml")
            assert result.output == "refund text of a.eml"
            assert fake.inputs == ["text of a.eml"]
            assert h.output_of(note).severity == 3
            assert result.context.severity == 3
            assert h.output_of(route) == "refund text of a.eml"
            with pytest.raises(FlujoError, match="'fix' gave no output"):
                h.output_of(fix)

    run(test)


def test_the_context_is_of_the_class_that_fits_all_steps() -> None:
    @step
    async def sign(text: str, context: Urgent) -> str:
        context.by = "me"
        return text

    async def test() -> None:
        async with harness(triage >> sign) as h:
            h.fake(classify).returns(Kind(queue="bug"))
            assert (await h.run_async("x")).context.by == "me"
        async with harness(triage, context=Urgent) as h:
            h.fake(classify).returns(Kind(queue="bug"))
            assert type((await h.run_async("x")).context) is Urgent

    run(test)


def test_contexts_that_do_not_go_together_are_refused() -> None:
    class Other(PipelineContext):
        n: int = 0

    @step
    async def count(text: str, context: Other) -> str:
        return text

    async def test() -> None:
        with pytest.raises(ConfigurationError, match="'Other', 'Ticket'"):
            async with harness(triage >> count):
                pass

    run(test)


def test_a_fake_gives_one_answer_a_call_and_the_last_from_then_on() -> None:
    @step(retry=Retry(attempts=3))
    async def ask(n: int) -> int:
        return n

    async def test() -> None:
        async with harness(Map("all", ask, max_concurrency=1)) as h:
            h.fake(ask).raises(ConnectionError()).returns(1, 2)
            assert (await h.run_async([7, 8, 9])).output == [1, 2, 2]
            assert h.outputs_of(ask) == [1, 2, 2]
            h.fake(ask).does(lambda n: n + 1)
            assert (await h.run_async([7])).output == [8]

            async def later(n: int) -> int:
                await asyncio.sleep(0)
                return n * 2

            h.fake(ask).does(later)
            assert (await h.run_async([7])).output == [14]

    run(test)


def test_what_a_fake_gives_is_validated_as_the_step_is() -> None:
    async def test() -> None:
        async with harness(triage) as h:
            h.fake(classify).returns("no kind")  # type: ignore[arg-type]
            with pytest.raises(RunFailed) as failed:
                await h.run_async("x")
            assert isinstance(failed.value.__cause__, InvalidValue)
            assert h.result is failed.value.result
            assert h.outputs_of(read) == ["text of x"]

    run(test)


def test_a_fake_that_was_told_nothing_fails_with_what_to_write() -> None:
    async def test() -> None:
        async with harness(triage) as h:
            fake = h.fake(classify)
            assert repr(fake) == "<Fake 'classify', called 0 times>"
            with pytest.raises(RunFailed, match="AssertionError") as failed:
                await h.run_async("x")
            cause = failed.value.__cause__
            assert cause is not None and "'.returns(value)'" in str(cause.__cause__)

    run(test)


def test_a_node_in_which_others_run_can_be_faked() -> None:
    async def test() -> None:
        async with harness(triage) as h:
            h.fake(classify).returns(Kind(queue="bug"))
            h.fake(route).returns("elsewhere")
            assert (await h.run_async("x")).output == "elsewhere"
            assert h.output_of(route) == "elsewhere"

    run(test)


def test_what_is_not_in_the_pipeline_is_refused_with_a_close_match() -> None:
    @step
    async def raed(path: str) -> str:
        return path

    async def test() -> None:
        async with harness(triage) as h:
            with pytest.raises(DefinitionError, match="no step 'raed'; did you mean 'read'"):
                h.fake(raed)
            with pytest.raises(FlujoError, match="no run yet"):
                h.output_of(read)

    run(test)


def test_a_copy_with_other_policies_is_the_same_step() -> None:
    async def test() -> None:
        async with harness(read.policy(retry=Retry(attempts=2)) >> classify) as h:
            h.fake(read).returns("faked")
            h.fake(classify).returns(Kind(queue="bug"))
            await h.run_async("x")
            assert h.output_of(read) == "faked"

    run(test)


@step
async def inc(n: int) -> int:
    return n + 1


@step
async def shout(n: int) -> str:
    return f"{n}!"


@step
async def whisper(n: int) -> str:
    return f"{n}."


class Said(BaseModel):
    loud: str
    low: str


@step
async def flaky(n: int, *, info: RunInfo) -> int:
    if "first" in info.address:
        raise ConnectionError
    return n


@pytest.mark.parametrize(
    ("node", "given", "expected"),
    [
        (Loop("node", inc, until=lambda n: n >= 5, max_iterations=9), 0, 5),
        (Parallel("node", into=Said, loud=shout, low=whisper), 1, Said(loud="1!", low="1.")),
        (Parallel("node", loud=shout, low=whisper), 1, {"loud": "1!", "low": "1."}),
        (Map("node", inc, over=lambda n: range(n)), 3, [1, 2, 3]),
        ((inc >> shout).named("node"), 1, "2!"),
        ((inc >> shout).named("node").policy(cache=Cache()), 1, "2!"),
        (Branch("node", on=lambda n: n > 3).case(True, shout).case(False, whisper), 1, "1."),
        (Loop("node", flaky.named("first"), until=lambda n: True, max_iterations=1).policy(fallback=inc), 1, 2),
        (Loop("node", (inc >> inc.named("more")).named("twice"), until=lambda n: n > 3, max_iterations=4), 0, 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_output_of_any_node_follows_from_those_of_steps(node: Any, given: Any, expected: Any) -> None:
    async def test() -> None:
        async with harness(node >> step(name="end")(lambda value: None), store=MemoryStore()) as h:
            await h.run_async(given)
            assert h.output_of(node) == expected
            await h.run_async(given)
            assert h.output_of(node) == expected

    run(test)


def test_outputs_of_a_step_in_a_loop_are_in_order_attempts_of_the_loop_included() -> None:
    failures = [True]

    def until(n: int) -> bool:
        if n == 2 and failures:
            failures.pop()
            raise ConnectionError
        return n >= 3

    loop = Loop("loop", inc, until=until, max_iterations=9).policy(retry=Retry(attempts=2))

    async def test() -> None:
        async with harness(loop) as h:
            await h.run_async(0)
            assert h.outputs_of(inc) == [1, 2, 1, 2, 3]
            assert h.output_of(loop) == 3

    run(test)


def test_plugins_resources_and_stores_take_part() -> None:
    class Clients(Resources):
        name = "db"

    seen: list[str] = []

    class Look(Plugin):
        name = "look"

        async def pre_step_execution(self, call: Any, /) -> None:
            seen.append(call.address)

    @step
    async def use(text: str, resources: Clients) -> str:
        return text + resources.name

    async def test() -> None:
        store = MemoryStore()
        async with harness(use, resources=Clients(), plugins=[Look()], store=store) as h:
            assert (await h.run_async("a", run_id="r", tenant="t")).output == "adb"
        assert seen == ["use"] and (await store.runs())[0].run_id == "r"

    run(test)


def test_virtual_time_ends_backoffs_and_timeouts_at_once_and_in_order() -> None:
    @step(retry=Retry(attempts=3, backoff=600, max_backoff=3600, jitter=0))
    async def ask(n: int) -> int:
        return n

    @step(timeout=3600)
    async def hang(n: int) -> int:
        await asyncio.Event().wait()
        return n

    async def test() -> None:
        began = time.monotonic()
        async with harness(ask >> hang, virtual_time=True) as h:
            h.fake(ask).raises(ConnectionError(), ConnectionError()).returns(1)
            with pytest.raises(RunFailed) as failed:
                await h.run_async(0)
            assert isinstance(failed.value.__cause__, StepTimeout)
            assert 600 + 1200 + 3600 <= h.elapsed < 5460
        assert time.monotonic() - began < 30

    run(test)


def test_a_fake_can_take_its_time() -> None:
    async def test() -> None:
        slow = read.policy(timeout=5)
        async with harness(slow, virtual_time=True) as h:
            h.fake(slow).takes(4).returns("in time")
            assert (await h.run_async("x")).output == "in time"
            h.fake(slow).takes(6).returns("late")
            with pytest.raises(RunFailed):
                await h.run_async("x")

    run(test)


def test_virtual_time_waits_in_earnest_for_sync_steps() -> None:
    @step(timeout=60)
    def slow(n: int) -> int:
        time.sleep(0.2)
        return n

    async def test() -> None:
        async with harness(slow, virtual_time=True) as h:
            assert (await h.run_async(1)).output == 1
            assert h.elapsed < 30

    run(test)


def test_time_is_real_again_after_the_block() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        with virtual_time() as clock:
            await asyncio.sleep(1000)
            assert clock.elapsed >= 1000
        began = loop.time()
        await asyncio.sleep(0.01)
        assert 0.005 < loop.time() - began < 5

    run(test)


def test_elapsed_is_of_virtual_time_only() -> None:
    async def test() -> None:
        async with harness(read) as h:
            assert isinstance(h, Harness)
            with pytest.raises(FlujoError, match="virtual_time=True"):
                _ = h.elapsed

    run(test)


def test_virtual_time_needs_a_loop_of_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign:
        pass

    monkeypatch.setattr(asyncio, "get_running_loop", Foreign)
    with pytest.raises(FlujoError, match="not 'Foreign'"), virtual_time():
        pass


def test_one_step_runs_by_itself_with_its_context_and_named_inputs() -> None:
    async def test() -> None:
        ticket = Ticket()
        assert await run_step(note, Kind(queue="bug", severity=2), context=ticket)
        assert ticket.severity == 2
        assert await run_step(refund, Kind(queue="billing"), text="a") == "refund a"

    run(test)


def test_a_step_that_fails_by_itself_leaves_the_context_as_it_was() -> None:
    @step
    async def wrong(text: str, context: Ticket) -> str:
        context.severity = 9
        raise ValueError

    async def test() -> None:
        ticket = Ticket()
        with pytest.raises(RunFailed):
            await run_step(wrong, "x", context=ticket)
        assert ticket.severity == 0

    run(test)


def test_a_step_by_itself_has_its_policies() -> None:
    seen: list[int] = []

    @step
    async def instead(n: int, *, text: Annotated[str, From("elsewhere")]) -> int:
        return len(text)

    @step(retry=Retry(attempts=2), fallback=instead)
    async def ask(n: int, info: RunInfo) -> int:
        seen.append(info.attempt)
        raise ConnectionError

    async def test() -> None:
        assert await run_step(ask, 1, text="four") == 4
        assert seen == [1, 2]

    run(test)


def test_placeholders_of_a_step_by_itself_are_given_by_the_names_of_steps() -> None:
    class Mail(BaseModel):
        body: str

    asking = Step.agent("asking", Agent(TestModel(custom_output_text="done")), prompt="{{ mail.body }}", input=str)

    async def test() -> None:
        assert await run_step(asking, "x", mail=Mail(body="hello")) == "done"

    run(test)


def test_named_inputs_that_lack_or_are_not_there_are_refused() -> None:
    async def test() -> None:
        with pytest.raises(DefinitionError, match="takes the named input 'text'"):
            await run_step(refund, Kind(queue="bug"))
        with pytest.raises(DefinitionError, match="no named input 'txt'; did you mean 'text'"):
            await run_step(refund, Kind(queue="bug"), txt="x")
        with pytest.raises(DefinitionError, match="no single step"):
            await run_step(triage, "x")

    run(test)


def test_items_at_work_at_once_get_one_answer_each() -> None:
    async def test() -> None:
        async with harness(Map("all", inc)) as h:
            h.fake(inc).returns(1, 2, 3)
            assert (await h.run_async([0, 0, 0])).output == [1, 2, 3]

    run(test)


def test_virtual_times_may_be_within_one_another() -> None:
    async def test() -> None:
        with virtual_time() as outer:
            with virtual_time():
                await asyncio.sleep(100)
            await asyncio.sleep(100)
            assert outer.elapsed >= 100

    run(test)


def test_virtual_time_waits_in_earnest_for_a_store(tmp_path: Path) -> None:
    async def test() -> None:
        node = (inc >> inc.named("more")).named("both").policy(timeout=5)
        async with harness(node, store=f"sqlite:///{tmp_path}/runs.db", virtual_time=True) as h:
            assert [(await h.run_async(1)).output for _ in range(3)] == [3, 3, 3]

    run(test)
