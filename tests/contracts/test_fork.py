"""Forks: what they keep and what runs anew, of runs that have ended, failed, wait, or were killed; and replays."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plugin_kit import alone
from random_pipelines import Shared, Wishes, World, built, pipelines
from reference_interpreter import Plans, expected
from run_checks import check_end, check_events, check_state, check_steps, events_of, kind_of, plain

from flujo_core import (
    AlreadyAnswered,
    Branch,
    Flujo,
    HumanInput,
    IncompatiblePipeline,
    Loop,
    Map,
    MemoryStore,
    Parallel,
    PipelineContext,
    PipelineResult,
    Plugin,
    PluginSettings,
    ReplayMismatch,
    RunExists,
    RunFailed,
    RunInfo,
    Settings,
    SQLiteStore,
    UnknownAddress,
    UnknownQuestion,
    UnknownRun,
    Veto,
    step,
)
from flujo_core.engine.offshoot import Fork, begun_fork, forked
from flujo_core.model.event import RunStarted, StepCompleted, StepStarted
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

SLOW = settings(phases=set(Phase) - {Phase.explain}, report_multiple_bugs=False, suppress_health_check=[*HealthCheck])
ALONE = Settings(PluginSettings(allow=()))


async def outcome(work: Any) -> tuple[PipelineResult[Any, Any], BaseException | None]:
    try:
        return await work, None
    except RunFailed as failed:
        return failed.result, failed.__cause__


def parts_of(result: PipelineResult[Any, Any]) -> list[str]:
    """The addresses of all that has begun."""
    state = fold(result.events)
    return [*state.steps, *state.nodes]


def begun(world: World) -> list[str]:
    return [entry[1] for entry in world.trace if entry[0] == "begin"]


# ---------------------------------------------------------------------------------------------------------- properties


@settings(SLOW, max_examples=60)
@given(pipelines(), st.integers(0, 30), st.data())
def test_a_fork_at_any_address_comes_to_what_a_fresh_run_comes_to(
    plans: Plans, value: int, data: st.DataObject
) -> None:
    world = World()
    flujo = alone(built(plans, world), context=Shared, store=MemoryStore())
    wanted = expected(plans, value)

    async def main() -> None:
        result, _ = await outcome(flujo.run_async(value, run_id="r"))
        parts = parts_of(result)
        at = data.draw(st.sampled_from(parts))
        records = await flujo._kept.read("r")
        kept = forked(records, Fork("f", at, False))
        lost = {record.address for record in records} - {record.address for record in kept}
        assert at in lost and not any(one.address == at for one in kept)
        world.clear()
        for event in map(decode, kept):
            if isinstance(event, StepStarted):
                world.times[re.sub(r"#\d+", "", event.address), event.attempt] += 1
        before = dict(world.times)
        again, error = await outcome(flujo.fork_async("r", at=at, fork_id="f"))
        if error is not None and kind_of(error) == "StepError":  # one that is kept is not of its class any more
            wanted.failures |= {"StepError"} if wanted.failures else set()
        check_end(wanted, again, error)
        check_steps(wanted, fold(again.events))
        check_state(fold(events_of(again)), again)
        check_events([decode(record) for record in await flujo._kept.read("f")])
        done = {one.address for one in map(decode, kept) if isinstance(one, StepCompleted)}
        ran = {one.address for one in again.events[len(kept) :] if isinstance(one, StepStarted)}
        assert not done & ran, "what was kept ran again"
        assert sum(world.times.values()) - sum(before.values()) == len(begun(world))
        assert await flujo._kept.read("r") == records, "the run that it is forked off has changed"
        assert (await flujo.replay_async("f")).status == again.status

    asyncio.run(main())


@settings(SLOW, max_examples=150)
@given(pipelines(Wishes(failures=False, policies=False)), st.integers(0, 30), st.data())
def test_what_depends_on_the_address_is_what_runs_anew(plans: Plans, value: int, data: st.DataObject) -> None:
    """A fork whose first step gives something else comes to what a whole run comes to in which it gives that."""
    world = World()
    flujo = alone(built(plans, world), context=Shared, store=MemoryStore())

    async def main() -> None:
        result, _ = await outcome(flujo.run_async(value, run_id="r"))
        at = data.draw(st.sampled_from([*fold(result.events).steps]))
        world.shifts = {at: data.draw(st.integers(1, 5))}
        forking, _ = await outcome(flujo.fork_async("r", at=at, fork_id="f"))
        fresh, _ = await outcome(flujo.run_async(value, run_id="s"))
        assert forking.status == fresh.status
        if fresh.status == "completed":
            assert plain(forking.output) == plain(fresh.output)
            assert plain(dict(forking.context)) == plain(dict(fresh.context))
            assert sorted(parts_of(forking)) == sorted(parts_of(fresh))
            one, two = fold(forking.events), fold(fresh.events)
            assert {a: plain(s.output) for a, s in one.steps.items()} == {
                a: plain(s.output) for a, s in two.steps.items()
            }
            assert (await flujo.diff_async("f", "s")).is_same

    asyncio.run(main())


# -------------------------------------------------------------------------------------------------------- what is kept


class Ran(list[str]):
    """What has run, by name; and the steps that say so."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.fails: set[str] = set()
        self.waits: asyncio.Event | None = None
        self.reached = asyncio.Event()

    def step(self, name: str) -> Any:
        async def act(x: int, info: RunInfo) -> int:
            self.append(name)
            self.keys[name] = info.idempotency_key
            if name == "slow" and self.waits is not None:
                self.reached.set()
                await self.waits.wait()
            if name in self.fails:
                raise ValueError(name)
            return x + 1

        return step(act).named(name)


@step
async def total(parts: dict[str, int]) -> int:
    return sum(parts.values())


def made(pipeline: Any, **keywords: Any) -> Flujo[Any, Any, Any]:
    return alone(pipeline, *keywords.pop("plugins", ()), **{"store": MemoryStore(), **keywords})


def asking(name: str, **terms: Any) -> Any:
    return HumanInput(name, int, ask="How many?", **terms)


def test_a_fork_is_a_run_of_its_own_of_the_same_tenant_that_says_what_it_is_a_fork_of() -> None:
    ran = Ran()
    flujo = made(ran.step("a") >> ran.step("b"))

    async def main() -> None:
        await flujo.run_async(1, run_id="r", tenant="acme")
        key = ran.keys["b"]
        fork = await flujo.fork_async("r", at="b")
        assert (fork.output, fork.tenant, ran) == (3, "acme", ["a", "b", "b"])
        assert fork.run_id != "r" and ran.keys["b"] != key
        started = fork.events[0]
        assert isinstance(started, RunStarted)
        assert (started.origin.forked_from, started.origin.forked_at) == ("r", "b")
        again = await flujo.fork_async(fork.run_id, at="a", fork_id="s")
        assert again.output == 3 and again.events[0].origin.forked_from == fork.run_id  # type: ignore[attr-defined]
        same = await flujo.run_async(1, run_id="s", tenant="acme")
        assert same.output == 3 and len(ran) == 5, "the input is known to be the same"

    asyncio.run(main())


def test_what_has_not_run_cannot_be_forked_at() -> None:
    ran = Ran()
    flujo = made(ran.step("write") >> ran.step("send"))

    async def main() -> None:
        await flujo.run_async(1, run_id="r")
        with pytest.raises(UnknownAddress, match=r"in run 'r', nothing has run at 'wrote'; did you mean 'write'\?"):
            await flujo.fork_async("r", at="wrote", fork_id="f")
        with pytest.raises(UnknownRun):
            await flujo.fork_async("nobody", at="write")
        with pytest.raises(RunExists):
            await flujo.fork_async("r", at="write", fork_id="r")
        assert [run.run_id for run in await flujo._kept.runs()] == ["r"] and len(ran) == 2

    asyncio.run(main())


def test_a_fork_that_could_not_go_on_or_may_not_begin_is_not_made() -> None:
    class No(Plugin):
        name = "no"

        async def authorize(self, request: Any, /) -> None:
            if request.action == "start_run" and request.run_id == "f":
                raise Veto("not you")

    ran, store = Ran(), MemoryStore()
    first = made(ran.step("a") >> ran.step("b"), store=store, plugins=[No()])

    async def main() -> None:
        await first.run_async(1, run_id="r")
        with pytest.raises(Veto, match="not you"):
            await first.fork_async("r", at="b", fork_id="f")
        with pytest.raises(IncompatiblePipeline, match="'a'"):
            await made(ran.step("c") >> ran.step("b"), store=store).fork_async("r", at="b", fork_id="g")
        assert [run.run_id for run in await store.runs()] == ["r"]
        changed = await made(ran.step("a") >> ran.step("d"), store=store).fork_async("r", at="b", fork_id="g")
        assert changed.output == 3 and ran == ["a", "b", "d"], "what comes after the address may be other code"

    asyncio.run(main())


def test_questions_are_asked_again_unless_their_answers_are_kept() -> None:
    ran = Ran()
    flujo = made(ran.step("a") >> asking("gate") >> ran.step("b") >> ran.step("c"))

    async def main() -> None:
        paused = await flujo.run_async(1, run_id="r")
        await flujo.resume_async("r", 10, token=paused.questions[0].token)
        assert ran == ["a", "b", "c"]
        again = await flujo.fork_async("r", at="c", fork_id="f")
        assert again.status == "paused" and ran == ["a", "b", "c"], "an approval is of one run"
        token = again.questions[0].token
        assert token is not None and token != paused.questions[0].token
        for old in ("f", "r"):
            with pytest.raises((UnknownQuestion, AlreadyAnswered)):
                await flujo.resume_async(old, 20, token=paused.questions[0].token)
        assert (await flujo.resume_async("f", 20, token=token)).output == 22
        kept = await flujo.fork_async("r", at="c", keep_answers=True, fork_id="k")
        assert kept.output == 12 and ran[3:] == ["b", "c", "c"]
        with pytest.raises(UnknownQuestion):
            await flujo.resume_async("k", 20, token=paused.questions[0].token)
        assert (await flujo.replay_async("k")).output == 12

    asyncio.run(main())


def test_a_question_that_is_open_beside_the_address_is_asked_again_with_a_new_token() -> None:
    ran = Ran()
    flujo = made(Parallel("fan", a=ran.step("a") >> ran.step("b"), q=asking("q")) >> total)

    async def main() -> None:
        paused = await flujo.run_async(1, run_id="r")
        for keep in (False, True):
            fork = await flujo.fork_async("r", at="fan[a]/b", keep_answers=keep)
            assert fork.status == "paused" and fork.questions[0].token not in (None, paused.questions[0].token)
            done = await flujo.resume_async(fork.run_id, 7, token=fork.questions[0].token)
            assert done.output == 10
        assert ran == ["a", "b", "b", "b"]
        assert (await flujo.resume_async("r", 5, token=paused.questions[0].token)).output == 8

    asyncio.run(main())


def test_votes_and_defaults_are_kept_with_the_answers() -> None:
    ran = Ran()
    vote = asking("vote", approvers=["ann", "bob"], quorum=2)
    flujo = made(Parallel("fan", a=ran.step("a"), v=vote) >> total >> ran.step("last"))

    async def main() -> None:
        await flujo.run_async(1, run_id="r")
        await flujo.resume_async("r", 4, approver="ann")
        voting = await flujo.fork_async("r", at="fan[a]/a", keep_answers=True)
        assert voting.status == "paused" and voting.questions[0].votes == 0, "it has no answer yet: all are asked again"
        await flujo.reissue_async("r", "fan[v]/vote")
        assert (await flujo.resume_async("r", 4, approver="bob")).output == 7
        kept = await flujo.fork_async("r", at="last", keep_answers=True, fork_id="k")
        votes = [event for event in kept.events if event.kind == "vote_cast"]
        asked = next(event for event in kept.events if event.kind == "question_asked")
        assert kept.output == 7 and len(votes) == 1 and votes[0].question == asked.sequence  # type: ignore[attr-defined]
        assert all(event.kind != "token_reissued" for event in kept.events)
        assert ran.count("a") == 2

    asyncio.run(main())


def test_a_failure_beside_the_address_is_kept_until_it_is_tried_again() -> None:
    ran = Ran()
    ran.fails = {"bad"}
    flujo = made(Parallel("fan", a=ran.step("a"), b=ran.step("bad"), on_error="collect") >> total)

    async def main() -> None:
        with pytest.raises(RunFailed):
            await flujo.run_async(1, run_id="r")
        ran.fails = set()
        with pytest.raises(RunFailed):
            await flujo.fork_async("r", at="fan[a]/a", fork_id="f")
        assert sorted(ran) == ["a", "a", "bad"]
        assert (await flujo.resume_async("f", retry_failed=True)).output == 4
        assert (await flujo.fork_async("r", at="fan[b]/bad")).output == 4
        assert ran.count("a") == 2 and (await flujo.replay_async("r")).status == "failed"
        assert (await flujo.fork_async("f", at="fan[a]/a", fork_id="g")).output == 4, "it was tried again before"

    asyncio.run(main())


def test_a_run_that_goes_on_is_forked_and_what_is_under_way_in_it_begins_anew() -> None:
    ran = Ran()
    flujo = made(Parallel("fan", a=ran.step("a"), b=ran.step("slow")) >> total, max_recoveries=1)

    async def main() -> None:
        ran.waits = asyncio.Event()
        running = asyncio.create_task(flujo.run_async(1, run_id="r"))
        await ran.reached.wait()
        await asyncio.sleep(0.02)  # until the other branch has ended
        records = await flujo._kept.read("r")
        ran.waits, waiting = None, ran.waits
        fork = await flujo.fork_async("r", at="fan[a]/a", fork_id="f")
        assert fork.output == 4, "no attempt of it has died yet"
        assert (await flujo._kept.read("r")) == records and not running.done()
        waiting.set()
        assert (await running).output == 4

    asyncio.run(main())


def test_who_is_killed_after_a_fork_has_begun_leaves_a_run_that_is_recovered(tmp_path: Any) -> None:
    ran = Ran()
    flujo = made(ran.step("a") >> ran.step("b"), store=SQLiteStore(tmp_path / "runs.db"))

    async def main() -> None:
        async with flujo:
            await flujo.run_async(1, run_id="r")
            records = forked(await flujo._kept.read("r"), Fork("f", "b", False))
            await begun_fork(flujo._epoch.program, flujo._kept, records)  # and no more than that
            assert [one.output for one in await flujo.recover_async()] == [3]
            assert ran == ["a", "b", "b"]
        await flujo._kept.close()

    asyncio.run(main())


def test_steps_that_stream_into_each_other_run_anew_together() -> None:
    ran = Ran()

    @step
    async def numbers(x: int) -> AsyncIterator[int]:
        ran.append("numbers")
        for number in range(1, x + 1):
            yield number

    @step
    async def doubled(items: AsyncIterator[int]) -> AsyncIterator[int]:
        ran.append("doubled")
        async for item in items:
            yield item * 2

    @step
    async def summed(items: list[int]) -> int:
        ran.append("summed")
        return sum(items)

    flujo = made(ran.step("a") >> numbers >> doubled >> summed)

    async def main() -> None:
        first = await flujo.run_async(2, run_id="r")
        fork = await flujo.fork_async("r", at="doubled")
        assert fork.output == first.output == 12
        assert ran == ["a", "numbers", "doubled", "summed", "numbers", "doubled", "summed"], ran

    asyncio.run(main())


def test_a_fork_is_made_by_the_names_that_nodes_have_now() -> None:
    ran, store = Ran(), MemoryStore()

    async def main() -> None:
        await made(ran.step("a") >> asking("gate") >> ran.step("b"), store=store).run_async(1, run_id="r")
        now = made(ran.step("first").named("first", was="a") >> asking("gate") >> ran.step("b"), store=store)
        assert (await now.resume_async("r", 5)).output == 6
        with pytest.raises(UnknownAddress, match="'a'"):
            await now.fork_async("r", at="a")
        assert (await now.fork_async("r", at="b", keep_answers=True)).output == 6
        again = await now.fork_async("r", at="first", keep_answers=True)
        assert again.status == "paused" and ran == ["a", "b", "b", "first"]

    asyncio.run(main())


# ------------------------------------------------------------------------------------------------- loops, maps, retries


def test_a_fork_in_a_loop_keeps_the_iterations_before_it() -> None:
    ran = Ran()
    loop = Loop("loop", ran.step("a") >> ran.step("b"), until=lambda x: x >= 6, max_iterations=5)
    flujo = made(loop >> ran.step("z"))

    async def main() -> None:
        assert (await flujo.run_async(0, run_id="r")).output == 7
        del ran[:]
        fork = await flujo.fork_async("r", at="loop[2]/b")
        assert fork.output == 7 and ran == ["b", "a", "b", "z"]

    asyncio.run(main())


def test_a_fork_in_a_map_or_a_case_keeps_the_items_and_the_case() -> None:
    ran = Ran()
    each = Map("each", ran.step("a") >> ran.step("b"), over=lambda x: [x, x * 10, x * 100])
    choice = Branch("choice", on=lambda x: x > 0).case(True, ran.step("yes")).case(False, ran.step("no"))

    @step
    async def added(items: list[int]) -> int:
        return sum(items)

    flujo = made(each >> added >> choice)

    async def main() -> None:
        assert (await flujo.run_async(1, run_id="r")).output == 118
        del ran[:]
        assert (await flujo.fork_async("r", at="each[1]/b")).output == 118 and ran == ["b", "yes"]
        assert (await flujo.fork_async("r", at="choice[True]/yes")).output == 118 and ran == ["b", "yes", "yes"]
        assert (await flujo.fork_async("r", at="choice")).output == 118 and ran[3:] == ["yes"]

    asyncio.run(main())


# ------------------------------------------------------------------------------------------------------------- replays


class Tally(PipelineContext):
    """A context."""

    count: int = 0


def test_a_replay_runs_nothing_and_gives_what_there_is() -> None:
    ran = Ran()

    @step
    async def counted(x: int, context: Tally) -> int:
        context.count += x
        return x

    flujo = made(ran.step("a") >> counted >> asking("gate") >> ran.step("bad"), context=Tally)

    async def main() -> None:
        paused = await flujo.run_async(1, run_id="r")
        again = await flujo.replay_async("r")
        assert (again.status, again.context.count, len(again.questions)) == ("paused", 2, 1)
        assert again.questions[0].token is None and again.steps == paused.steps
        done = await flujo.resume_async("r", 5)
        again = await flujo.replay_async("r")
        assert (again.output, again.steps, again.context) == (done.output, done.steps, done.context)
        ran.fails = {"bad"}
        with pytest.raises(RunFailed):
            await flujo.fork_async("r", at="bad", keep_answers=True, fork_id="f")
        assert (await flujo.replay_async("f")).status == "failed"
        assert ran == ["a", "bad", "bad"]
        with pytest.raises(UnknownRun):
            await flujo.replay_async("nobody")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: one._replace(payload=one.payload.replace(b"\n3\n", b"\n4\n")), "not what its steps gave"),
        (lambda one: one._replace(outcome="failed"), "the store lists it as completed"),
        (lambda one: one._replace(kind="run_paused", outcome="paused"), "the store lists it as completed"),
    ],
)
def test_a_journal_whose_end_does_not_follow_is_refused(change: Any, says: str) -> None:
    ran, store = Ran(), MemoryStore()
    flujo = made(ran.step("a") >> ran.step("b"), store=store)

    async def main() -> None:
        await flujo.run_async(1, run_id="r")
        store._journals["r"][-1] = change(store._journals["r"][-1])
        with pytest.raises(ReplayMismatch, match=says):
            await flujo.replay_async("r")

    asyncio.run(main())


def test_a_journal_that_waits_for_nothing_or_lacks_a_step_is_refused() -> None:
    ran, store = Ran(), MemoryStore()
    flujo = made(ran.step("a") >> ran.step("b"), store=store)

    async def main() -> None:
        for run_id in "rs":
            await flujo.run_async(1, run_id=run_id)
        *_, last = store._journals["r"]
        store._journals["r"][-1] = last._replace(kind="run_paused", outcome="paused", payload=b"{}")
        store._runs["r"] = store._runs["r"]._replace(status="paused")
        with pytest.raises(ReplayMismatch, match="no question is open"):
            await flujo.replay_async("r")
        *before, committed, end = store._journals["s"]
        store._journals["s"] = [*before, end._replace(sequence=committed.sequence)]
        with pytest.raises(ReplayMismatch, match="it completed, and 'b' had not ended"):
            await flujo.replay_async("s")

    asyncio.run(main())


def test_an_output_that_plugins_replace_is_not_held_against_the_steps() -> None:
    ran, store = Ran(), MemoryStore()

    async def ninety(run: Any, end: Any) -> Any:
        return end._replace(pipeline_result=end.pipeline_result.replace(output=90))

    flujo = made(ran.step("a"), store=store, on_pipeline_end=ninety)

    async def main() -> None:
        assert (await flujo.run_async(1, run_id="r")).output == 90
        assert (await flujo.replay_async("r")).output == 90

    asyncio.run(main())
