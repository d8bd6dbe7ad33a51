"""Crashes: SEMANTICS 2, 10, 13, 19, 20, and the table of windows in ``docs/explanation/durability.md``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from crash_kit import Counted, Dying, Passing, crashed, done, durable, events_in, eventually
from flow_kit import State, kinds

from flujo_core import (
    Branch,
    Loop,
    Map,
    MemoryStore,
    Parallel,
    Plugin,
    Retry,
    RunFailed,
    RunInfo,
    SQLiteStore,
    StepCall,
    StepResult,
    Store,
    UnknownRun,
    step,
)

ENDS = ("run_paused", "run_ended")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")


async def everywhere(make: Any, given: Any = 1, **keywords: Any) -> None:
    """Crashes a run at every write, before and after it is kept; each time it comes to what it would have come to.

    ``make`` gives the node and what counts its bodies, anew.
    """
    node, whole = make()
    count = Dying()
    wanted = await durable(node, count, **keywords).run_async(given, run_id="r")
    for at in range(1, count.writes + 1):
        for keeps in (False, True):
            kept = MemoryStore()
            node, ran = make()
            assert await crashed(node, given, kept, at, keeps=keeps, **keywords)
            over = {record.address for record in await kept.read("r") if record.kind == "step_completed"}
            before = dict(ran)
            result = await durable(node, kept, **keywords).run_async(given, run_id="r")
            place = f"after a crash at write {at}, {'kept' if keeps else 'not kept'}"
            assert (result.output, result.context) == (wanted.output, wanted.context), place
            assert all(ran[address] == before[address] for address in over), f"committed and run again {place}"
            assert set(ran) == set(whole) and all(ran[one] <= whole[one] + 1 for one in ran), place
            assert all(len(keys) == 1 for keys in ran.keys.values()), f"another idempotency key {place}"


def counting(make: Any) -> Any:
    def made() -> tuple[Any, Counted]:
        ran = Counted()
        return make(ran), ran

    return made


NODES: dict[str, Any] = {
    "sequence": lambda ran: ran.plus("a") >> ran.plus("b") >> ran.plus("c"),
    "parallel": lambda ran: Parallel("fan", x=ran.plus("a") >> ran.plus("b"), y=ran.plus("a")) >> ran.total(),
    "map": lambda ran: Map("m", ran.plus("a") >> ran.plus("b"), over=lambda v: [v, v + 5, v + 9]) >> ran.total(),
    "loop": lambda ran: Loop("l", ran.plus("a") >> ran.plus("b"), until=lambda v: v > 5, max_iterations=9),
    "branch": lambda ran: Branch("r", on=lambda v: v).case(1, ran.plus("a") >> ran.plus("b")).default(ran.plus("c")),
    "pipeline": lambda ran: ran.plus("a") >> (ran.plus("a") >> ran.plus("b")).named("p") >> ran.plus("c"),
    "retry": lambda ran: ran.plus("a") >> ran.plus("b", fails=2).policy(retry=Retry(attempts=3)) >> ran.plus("c"),
    "fallback": lambda ran: ran.plus("a", fails=9).policy(retry=Retry(attempts=2), fallback=ran.plus("b", 5)),
    "collect": lambda ran: Parallel("fan", x=ran.plus("a"), y=ran.plus("b"), on_error="collect") >> ran.total(),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_a_crash_anywhere_loses_and_repeats_nothing_that_was_committed(name: str) -> None:
    done(everywhere(counting(NODES[name])))


def test_a_pipeline_that_is_retried_as_a_whole_goes_on_in_the_attempt_in_which_it_was() -> None:
    """The second attempt has addresses of its own, so each body may run once in each."""

    async def main() -> None:
        for at in range(1, 14):
            ran, kept = Counted(), MemoryStore()
            flaky = {"first": True}

            @step
            async def bad(value: int, info: RunInfo, flaky: Any = flaky) -> int:
                if flaky["first"]:
                    raise ValueError("on purpose")
                return value

            node = (ran.plus("a") >> bad >> ran.plus("b")).named("p").policy(retry=Retry(attempts=3))
            flaky["first"] = True
            dying = Dying(kept, at)
            task = durable(node, dying)
            flaky["first"] = at % 2 == 1
            try:
                await task.run_async(1, run_id="r")
            except Exception:
                assert dying.is_dead or at % 2
            flaky["first"] = False
            if (summary := await kept.run("r")) and summary.status == "failed":
                continue
            result = await durable(node, kept).run_async(1, run_id="r")
            assert result.output == 3 and result.context == State(log=["a", "b"], sum=2), "a failed attempt is dropped"

    done(main())


def test_before_the_first_append_there_is_no_run_and_the_same_call_starts_it(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        node = ran.plus("a")
        assert await crashed(node, 1, store, 1, keeps=False)
        assert ran == {}
        with pytest.raises(UnknownRun):
            await durable(node, store).resume_async("r")
        assert (await durable(node, store).run_async(1, run_id="r")).output == 2
        await store.close()

    done(main())


# ----------------------------------------------------------------------------------------------------------- the commit


def test_an_event_is_durable_before_anything_that_depends_on_it_begins() -> None:
    seen: list[tuple[str, int]] = []

    class Writing(Passing):
        async def around(self, name: str, call: Any) -> Any:
            await asyncio.sleep(0.002)
            return await call()

    store = Writing()

    @step
    async def looks(value: int, info: RunInfo) -> int:
        kept = await store.read("r")
        assert any(one.kind == "step_started" and one.address == info.address for one in kept)
        done_before = {one.address for one in kept if one.kind == "step_completed"}
        seen.append((info.address, len(done_before)))
        return value + 1

    async def main() -> None:
        node = looks.named("a") >> looks.named("b") >> looks.named("c")
        await durable(node, store).run_async(1, run_id="r")
        assert seen == [("a", 0), ("b", 1), ("c", 2)]

    done(main())


def test_listeners_and_streams_hear_of_no_event_before_it_is_durable() -> None:
    class Listening(Plugin):
        name: ClassVar[str] = "listening"

        async def on_event(self, event: Any, /) -> None:
            heard.append((event.sequence, len(await store.kept.read("r"))))

    class Writing(Passing):
        async def around(self, name: str, call: Any) -> Any:
            await asyncio.sleep(0.002)
            return await call()

    heard: list[tuple[int, int]] = []
    streamed: list[tuple[int, int]] = []
    store, ran = Writing(), Counted()

    async def main() -> None:
        flujo = durable(ran.plus("a") >> ran.plus("b"), store, plugins=[Listening()])
        async with flujo.stream(1, run_id="r") as run:
            async for event in run:
                if event.kind != "chunk":
                    streamed.append((event.sequence, len(await store.kept.read("r"))))
        assert run.result.output == 3

        async def all_heard() -> bool:
            return len(heard) >= len(streamed)

        await eventually(all_heard)
        assert heard and streamed
        for sequence, length in (*heard, *streamed):
            assert sequence <= length

    done(main())


def test_hooks_run_again_for_what_was_not_committed_and_never_for_what_was() -> None:
    class Hooks(Plugin):
        name: ClassVar[str] = "hooks"

        async def pre_step_execution(self, call: StepCall, /) -> None:
            calls.append(f"pre {call.address}")

        async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
            calls.append(f"post {call.address}")

    calls: list[str] = []
    ran = Counted()

    async def main() -> None:
        for at in range(1, 5):
            calls.clear()
            kept = MemoryStore()
            node = ran.plus("a") >> ran.plus("b") >> ran.plus("c")
            await crashed(node, 1, kept, at, plugins=[Hooks()])
            over = {record.address for record in await kept.read("r") if record.kind == "step_completed"}
            calls.clear()
            await durable(node, kept, plugins=[Hooks()]).run_async(1, run_id="r")
            assert calls == [f"{what} {name}" for name in "abc" if name not in over for what in ("pre", "post")]

    done(main())


def test_the_idempotency_key_is_that_of_the_run_and_the_address() -> None:
    ran = Counted()

    async def main() -> None:
        kept = MemoryStore()
        node = ran.plus("a", fails=1).policy(retry=Retry(attempts=2)) >> ran.plus("b")
        await crashed(node, 1, kept, 2)
        await durable(node, kept).run_async(1, run_id="r")
        assert ran["a"] >= 2 and len(ran.keys["a"]) == 1, "equal across attempts and crashes"
        assert ran.keys["a"] != ran.keys["b"]
        first = set(ran.keys["a"])
        await durable(node, MemoryStore()).run_async(1, run_id="other")
        assert ran.keys["a"] > first, "another run has another"

    done(main())


# ------------------------------------------------------------------------------------------------------------- attempts


def test_failed_attempts_are_journaled_and_not_made_again() -> None:
    ran = Counted()

    async def main() -> None:
        kept = MemoryStore()
        node = ran.plus("a", fails=2).policy(retry=Retry(attempts=4, backoff=0.001))
        for at in range(1, 20):
            dying = Dying(kept, at)
            try:
                await durable(node, dying).run_async(1, run_id="r")
                break
            except Exception:
                if await kept.run("r"):
                    failed = [one for one in await events_in(kept) if one.kind == "attempt_failed"]
                    if len(failed) == 1:
                        break
                kept = MemoryStore()
                ran.clear()
                ran.attempts.clear()
        assert [one.attempt for one in await events_in(kept) if one.kind == "attempt_failed"] == [1]
        result = await durable(node, kept).run_async(1, run_id="r")
        assert result.output == 2 and ran.attempts["a"].count(1) == 1
        assert sorted(set(ran.attempts["a"])) == [1, 2, 3]

    done(main())


def test_a_run_waits_for_the_rest_of_the_time_before_the_next_attempt() -> None:
    """The recorded time of the next attempt counts, not a new wait."""
    begun: list[float] = []

    @step(retry=Retry(attempts=2, backoff=0.6, jitter=0.0))
    async def shaky(value: int) -> int:
        begun.append(asyncio.get_running_loop().time())
        if len(begun) == 1:
            raise ValueError("on purpose")
        return value

    async def main() -> None:
        kept, loop = MemoryStore(), asyncio.get_running_loop()
        running = asyncio.create_task(durable(shaky, kept).run_async(1, run_id="r"))

        async def has_failed() -> bool:
            return "attempt_failed shaky" in kinds(await events_in(kept))

        await eventually(has_failed)
        lost = await kept.acquire("r", "a kill", 60, instead_of=1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await kept.release(lost)
        await asyncio.sleep(0.3)
        resumed = loop.time()
        assert (await durable(shaky, kept).resume_async("r")).output == 1
        assert begun[1] - begun[0] >= 0.55, "it did not wait"
        assert begun[1] - resumed < 0.5, "it waited anew"

    done(main())


def test_feedback_of_a_validator_is_there_for_the_attempt_after_a_crash() -> None:
    feedback: list[str | None] = []

    @step(retry=Retry(attempts=3), validators=[lambda value: "too small" if value < 2 else None])
    async def grows(value: int, info: RunInfo) -> int:
        feedback.append(info.feedback)
        return info.attempt

    async def main() -> None:
        for at in (2, 3, 4):
            feedback.clear()
            kept = MemoryStore()
            await crashed(grows, 1, kept, at)
            if "attempt_failed grows" not in kinds(await events_in(kept)):
                continue
            feedback.clear()
            assert (await durable(grows, kept).run_async(1, run_id="r")).output == 2
            assert feedback in (["too small"], []), "the attempt that failed told the next one why"

    done(main())


# ------------------------------------------------------------------------------------------------------------ decisions


def test_decisions_that_are_recorded_are_never_taken_again() -> None:
    """``until``, ``on``, ``over`` and ``key`` would decide otherwise the second time."""
    asked: list[str] = []
    stage = [1]

    def until(value: int) -> bool:
        asked.append("until")
        return stage[0] == 2 or value > 100

    def on(value: int) -> int:
        asked.append("on")
        return stage[0]

    def over(value: int) -> list[int]:
        asked.append("over")
        return [1, 2] if stage[0] == 1 else [7, 8, 9]

    async def main() -> None:
        ran, kept = Counted(), MemoryStore()
        branch = Branch("r", on=on).case(1, ran.plus("one") >> ran.asks("ask1")).default(ran.plus("other"))
        each = Map("m", ran.plus("x") >> ran.asks("ask2"), over=over) >> ran.total()
        node = branch >> each
        flujo = durable(node, kept)
        await flujo.run_async(1, run_id="r")
        stage[0] = 2
        await flujo.resume_async("r", 5)
        stage[0] = 3
        assert ran["r[1]/one"] == 1 and ran["r[~default]/other"] == 0
        paused = await flujo.resume_async("r")
        assert {one.address for one in paused.questions} == {f"m[{n}]/ask2" for n in range(3)}
        stage[0] = 1
        for number in range(3):
            token = (await flujo.reissue_async("r", f"m[{number}]/ask2")).token
            result = await flujo.resume_async("r", number, token=token)
        assert result.output == 0 + 1 + 2
        assert asked == ["on", "over"]

        looping = Loop("l", ran.plus("body") >> ran.asks("ask3"), until=until, max_iterations=3, on_exhausted="return")
        again = MemoryStore()
        flujo = durable(looping, again)
        asked.clear()
        await flujo.run_async(1, run_id="r")
        await flujo.resume_async("r", 5)
        stage[0] = 2
        await flujo.resume_async("r")
        assert ran["l[2]/body"] == 1 and asked == ["until"]
        assert (await flujo.resume_async("r", 6)).output == 6
        assert asked == ["until", "until"]

    done(main())


def test_a_map_over_an_async_source_takes_each_item_once() -> None:
    """Each key and item is durable before its body starts; the source goes on after the last key."""
    afters: list[str | None] = []

    def made(ran: Counted) -> Any:
        async def source(value: int, after: str | None = None) -> AsyncIterator[int]:
            afters.append(after)
            for item in (10, 20, 30):
                if after is None or str(item) > after:
                    yield item

        return Map("m", ran.plus("x"), over=source, key=str) >> ran.total()

    async def main() -> None:
        count = Dying()
        whole = await durable(made(Counted()), count).run_async(1, run_id="r")
        assert whole.output == 63
        for at in range(1, count.writes + 1):
            ran, kept = Counted(), MemoryStore()
            await crashed(made(ran), 1, kept, at)
            records = await kept.read("r")
            taken = [event.item for event in await events_in(kept) if event.kind == "item_taken"]
            begun = {record.address for record in records if record.kind == "step_started"} - {"total"}
            assert {f"m[{item}]/x" for item in taken} >= begun, "an item that is not durable began"
            over = {record.address for record in records if record.kind == "step_completed"}
            before = dict(ran)
            afters.clear()
            result = await durable(made(ran), kept).run_async(1, run_id="r")
            assert result.output == 63 and all(ran[one] == before[one] for one in over)
            assert all(after is None or after == str(taken[-1]) for after in afters)

    done(main())


# ------------------------------------------------------------------------------------------------------------- failures


def test_a_branch_failure_is_on_record_before_its_siblings_are_cancelled() -> None:
    at_cancel: list[list[str]] = []

    async def main() -> None:
        store = MemoryStore()

        @step
        async def slow(value: int) -> int:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                at_cancel.append(kinds(await events_in(store)))
                raise
            return value

        @step
        async def bad(value: int) -> int:
            raise ValueError("on purpose")

        with pytest.raises(RunFailed):
            await durable(Parallel("fan", a=slow, b=bad), store).run_async(1, run_id="r")
        assert len(at_cancel) == 1 and "step_failed fan[b]/bad" in at_cancel[0]

    done(main())


def test_after_a_recorded_failure_siblings_do_not_run_again() -> None:
    async def main() -> None:
        count = 0
        for at in range(1, 9):
            ran, kept = Counted(), MemoryStore()
            node = Parallel("fan", a=ran.plus("x") >> ran.plus("y"), b=ran.plus("bad", fails=9))
            await crashed(node, 1, kept, at)
            events = kinds(await events_in(kept))
            if "step_failed fan[b]/bad" not in events or any(one.startswith("run_ended") for one in events):
                continue
            count += 1
            before = dict(ran)
            with pytest.raises(RunFailed):
                await durable(node, kept).run_async(1, run_id="r")
            assert ran == before, "something ran after a failure that was on record"
        assert count, "no crash fell between the failure and the end"

    done(main())


# -------------------------------------------------------------------------------------------------------------- recover


def test_recover_goes_on_with_every_crashed_run_of_the_pipeline_and_no_other(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        node = (ran.plus("a") >> ran.plus("b") >> ran.plus("c")).named("mine")
        other = (ran.plus("a") >> ran.plus("z")).named("other")
        for number in range(3):
            dying = Dying(store, 2)
            with pytest.raises(Exception, match=r"died|dead"):
                await durable(node, dying).run_async(number, run_id=f"crashed {number}", tenant="x")
        with pytest.raises(Exception, match=r"died|dead"):
            await durable(other, Dying(store, 2)).run_async(1, run_id="of another")
        await durable(node, store).run_async(1, run_id="ended")
        await durable((ran.plus("a") >> ran.asks("ask")).named("mine"), store).run_async(1, run_id="waits")
        found = await durable(node, store).recover_async(tenant="y")
        assert not found
        found = await durable(node, store).recover_async()
        assert sorted(one.run_id for one in found) == ["crashed 0", "crashed 1", "crashed 2"]
        assert sorted(one.output for one in found) == [3, 4, 5]
        assert not await durable(node, store).recover_async()
        await store.close()

    done(main())


def test_recover_takes_in_an_answer_whose_giver_died_at_once() -> None:
    ran = Counted()

    async def main() -> None:
        kept = MemoryStore()
        node = ran.asks("ask") >> ran.plus("b")
        await durable(node, kept).run_async(1, run_id="r")
        dying = Dying(kept, 1)  # the first thing that it writes is its mail
        with pytest.raises(Exception, match=r"died|dead"):
            await durable(node, dying).resume_async("r", 5)
        assert [mail.kind for mail in await kept.mail("r")] == ["answer"] and ran == {"ask": 1}
        (result,) = await durable(node, kept).recover_async()
        assert result.output == 6 and ran == {"ask": 1, "b": 1}

    done(main())


# ----------------------------------------------------------------------------------------------------------- durability


@pytest.mark.parametrize("durability", ["batch", "exit"])
def test_questions_answers_pauses_and_ends_are_durable_first_whatever_the_durability(durability: Any) -> None:
    ran = Counted()

    async def main() -> None:
        store = MemoryStore()
        flujo = durable(ran.plus("a") >> ran.asks("ask") >> ran.plus("b"), store, durability=durability)
        paused = await flujo.run_async(1, run_id="r")
        assert paused.status == "paused"
        assert [one.kind for one in await store.read("r")][-1] in ENDS
        assert await store.questions()
        result = await flujo.resume_async("r", 5, token=paused.questions[0].token)
        assert result.output == 6
        assert [one.kind for one in await store.read("r")][-1] == "run_ended"
        again = await durable(ran.plus("a") >> ran.asks("ask") >> ran.plus("b"), store).run_async(1, run_id="r")
        assert again.output == 6 and ran == {"a": 1, "ask": 1, "b": 1}

    done(main())


def test_with_durability_exit_there_is_one_append_for_a_run_that_does_not_pause() -> None:
    async def main() -> None:
        count = Dying()
        await durable(NODES["sequence"](Counted()), count, durability="exit").run_async(1, run_id="r")
        assert count.writes == 1

    done(main())
