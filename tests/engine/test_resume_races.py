"""Runs that others write while somebody is about to go on with them; and what plugins and stores do then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from crash_kit import Counted, Dying, done, durable
from flow_kit import ALONE
from passing_store import Passing

from flujo_core import (
    AlreadyAnswered,
    AmbiguousAnswer,
    Flujo,
    FlujoError,
    HumanInput,
    MemoryStore,
    Parallel,
    Plugin,
    Record,
    RunEnd,
    RunStart,
    Stop,
    StoreError,
    UnknownQuestion,
    step,
)
from flujo_core.engine.lease import keeper
from flujo_core.store.protocol import Lease, Mail

T = TypeVar("T")


@step
async def keep(text: str) -> str:
    return text


asks = keep >> HumanInput("ask", str, ask="Go on?") >> HumanInput("more", str, ask="And on?")


class Meanwhile(Passing):
    """Lets others do something just before the first of some writes."""

    def __init__(self, kept: MemoryStore, name: str, others: Callable[[], Awaitable[object]]) -> None:
        super().__init__(kept)
        self.name = name
        self.others: Callable[[], Awaitable[object]] | None = others

    async def around(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if name == self.name and self.others is not None:
            others, self.others = self.others, None
            await others()
        return await call()


def test_who_comes_when_another_has_just_ended_the_run_gets_its_end() -> None:
    async def main() -> None:
        store = MemoryStore()
        other = durable(asks, store)

        async def end() -> None:
            await other.resume_async("r")
            await other.resume_async("r", "no")

        await other.run_async("a", run_id="r")
        result = await durable(asks, Meanwhile(store, "acquire", end)).resume_async("r", "yes")
        assert (result.status, result.output) == ("completed", "no")
        held = await store.run("r")
        assert held is not None and not held.holder

    done(main())


def test_who_comes_when_another_has_just_gone_on_goes_on_from_there() -> None:
    async def main() -> None:
        store = MemoryStore()
        other = durable(asks, store)
        await other.run_async("a", run_id="r")
        mine = durable(asks, Meanwhile(store, "acquire", lambda: other.resume_async("r")))
        result = await mine.resume_async("r", "yes")
        assert result.status == "paused" and [one.address for one in result.questions] == ["more"]

    done(main())


def test_an_answer_is_posted_again_if_somebody_else_has_posted_meanwhile() -> None:
    async def main() -> None:
        store = MemoryStore()
        node = HumanInput("ask", str, ask="Go on?", quorum=2) >> keep
        other = durable(node, store)
        await other.run_async("a", run_id="r")
        vote = Meanwhile(store, "post", lambda: other.resume_async("r", "yes", approver="Ada"))
        assert (await durable(node, vote).resume_async("r", "yes", approver="Bo")).output == "yes"

    done(main())


def test_a_question_gets_its_token_again_if_somebody_else_has_posted_meanwhile() -> None:
    async def main() -> None:
        store = MemoryStore()
        other = durable(asks, store)
        await other.run_async("a", run_id="r")
        mine = durable(asks, Meanwhile(store, "post", lambda: other.reissue_async("r", "ask")))
        question = await mine.reissue_async("r", "ask")
        assert (await other.resume_async("r", "yes", token=question.token)).status == "paused"

    done(main())


class Gone(Passing):
    """Says that a question is not open, as it has just been closed."""

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        raise UnknownQuestion("closed")


def test_an_answer_to_what_was_closed_meanwhile_is_refused_as_answered() -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(asks, store).run_async("a", run_id="r")
        with pytest.raises(AlreadyAnswered, match="the question of 'ask' is not open any more"):
            await durable(asks, Gone(store)).resume_async("r", "yes")

    done(main())


def test_an_answer_with_a_token_to_what_was_closed_meanwhile_is_refused_as_answered() -> None:
    async def main() -> None:
        store = MemoryStore()
        other = durable(asks, store)
        paused = await other.run_async("a", run_id="r")
        mine = durable(asks, Meanwhile(store, "post", lambda: other.resume_async("r", "no")))
        with pytest.raises(AlreadyAnswered, match="the question of this token, in run 'r', has its answer"):
            await mine.resume_async("r", "yes", token=paused.questions[0].token)

    done(main())


def test_a_question_whose_answer_waits_in_the_inbox_is_not_pending() -> None:
    async def main() -> None:
        store = MemoryStore()
        flujo = durable(asks, store)
        await flujo.run_async("a", run_id="r")
        assert [one.address for one in await flujo.pending_async()] == ["ask"]
        with suppress(FlujoError):
            await durable(asks, Dying(store, 1)).resume_async("r", "yes")
        assert not await flujo.pending_async()
        await flujo.resume_async("r")
        assert [one.address for one in await flujo.pending_async()] == ["more"]

    done(main())


class LateCancel(Passing):
    """Lets somebody want the run to be cancelled when its end is kept, and not known to it yet."""

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        await super().append(records, lease, taken=taken, release=release)
        if release:
            await self.post(Mail(lease.run_id, 0, "cancel", 0, 0.0, b"null"), seen=0)
            await keeper().look(lease.run_id)


def test_a_wish_to_cancel_that_comes_after_the_end_changes_nothing() -> None:
    async def main() -> None:
        result = await durable(keep, LateCancel()).run_async("a", run_id="r")
        assert (result.status, result.output) == ("completed", "a")

    done(main())


class Follower(Plugin):
    """Follows runs from their start to their end; stops those that go on, if told to."""

    name = "follower"

    def __init__(self, *, stops: bool = False) -> None:
        self.stops = stops
        self.told: list[object] = []

    async def on_pipeline_start(self, start: RunStart, /) -> Stop | None:
        self.told.append(start.initial_input)
        return Stop("no more") if self.stops and len(self.told) > 1 else None

    async def around_run(self, start: RunStart, proceed: Callable[[], Awaitable[RunEnd]], /) -> RunEnd:
        end = await proceed()
        self.told.append(end.pipeline_result.status)
        return end


def test_plugins_hear_that_a_run_goes_on_and_see_it_to_its_end() -> None:
    async def main() -> None:
        follower = Follower()
        flujo: Any = Flujo(asks, plugins=[follower], settings=ALONE, store=MemoryStore())
        await flujo.run_async("a", run_id="r")
        await flujo.resume_async("r", "yes")
        assert (await flujo.resume_async("r", "no")).output == "no"
        assert follower.told == ["a", "a", "a", "completed"]

    done(main())


def test_a_plugin_that_only_sees_to_the_end_sees_it_of_a_run_that_goes_on() -> None:
    class Last(Plugin):
        name = "last"

        async def around_run(self, start: RunStart, proceed: Callable[[], Awaitable[RunEnd]], /) -> RunEnd:
            end = await proceed()
            return end.replace(pipeline_result=end.pipeline_result.replace(output=f"{start.initial_input} is over"))

    async def main() -> None:
        node = keep >> HumanInput("ask", str, ask="?")
        flujo: Any = Flujo(node, plugins=[Last()], settings=ALONE, store=MemoryStore())
        await flujo.run_async("a", run_id="r")
        assert (await flujo.resume_async("r", "yes")).output == "a is over"

    done(main())


def test_a_plugin_can_stop_a_run_that_goes_on() -> None:
    async def main() -> None:
        flujo: Any = Flujo(asks, plugins=[Follower(stops=True)], settings=ALONE, store=MemoryStore())
        await flujo.run_async("a", run_id="r")
        result = await flujo.resume_async("r", "yes")
        assert (result.status, result.end.reason) == ("stopped", "no more")

    done(main())


@pytest.mark.parametrize("dies", [0, 3])
def test_a_run_in_batches_is_durable_in_the_end_and_hears_of_a_store_that_is_gone(dies: int) -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Counted()

        def plus(name: str) -> Any:
            return bodies.plus(name) >> rest.named(f"{name}-rest")

        node = plus("a") >> plus("b") >> plus("c")
        flujo = durable(node, Dying(store, dies), durability="batch")
        if dies:
            with pytest.raises(StoreError):
                await flujo.run_async(1, run_id="r")
            flujo = durable(node, store)
            assert (await flujo.resume_async("r")).output == 4
        else:
            assert (await flujo.run_async(1, run_id="r")).output == 4
            assert [one.sequence for one in await store.read("r")] == list(range(1, 15))

    done(main())


@step
async def rest(value: int) -> int:
    await asyncio.sleep(0.001)
    return value


def test_the_one_question_that_nobody_has_answered_needs_no_token() -> None:
    async def main() -> None:
        store = MemoryStore()
        node = Parallel("both", one=HumanInput("ask", str, ask="?"), two=HumanInput("tell", str, ask="?"))
        flujo = durable(node, store)
        paused = await flujo.run_async("a", run_id="r")
        with pytest.raises(AmbiguousAnswer, match="waits on 2 questions"):
            await flujo.resume_async("r", "yes")
        with suppress(FlujoError):
            await durable(node, Dying(store, 1)).resume_async("r", "yes", token=paused.questions[0].token)
        assert (await flujo.resume_async("r", "no")).output == {"one": "yes", "two": "no"}

    done(main())
