"""Random pipelines that crash and pause anywhere come to what the reference interpreter says of the undisturbed run.

Four ways of disturbing a run: its store dies at a random write and another process goes on; a plugin asks before or
after random steps, and the answers come in random order; both; and a value codec is out of order at a random write.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import fields, replace
from random import Random
from typing import Any, TypeVar
from zlib import crc32

from crash_kit import Dying
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from plugin_kit import alone
from random_pipelines import Leaks, Shared, Wishes, World, built, pipelines, settled
from reference_interpreter import ALWAYS, Expected, Failure, Leaf, Plans, all_plans, expected
from run_checks import check_end, check_events, check_steps, plain
from vault import Turned

from flujo_core import (
    CodecError,
    FlujoError,
    MemoryStore,
    Plugin,
    RunFailed,
    StepCall,
    StepError,
    StepResult,
    Store,
    UnknownRun,
)
from flujo_core.errors import AlreadyAnswered
from flujo_core.model.outcome import PauseForHumanInput
from flujo_core.model.run import fold
from flujo_core.model.state import PipelineState
from flujo_core.store.byte_codec import Codecs
from flujo_core.store.codec import decode
from flujo_core.store.coding import coded

T = TypeVar("T")

SLOW = settings(phases=set(Phase) - {Phase.explain}, report_multiple_bugs=False, suppress_health_check=[*HealthCheck])
WISHES = Wishes(sync=False)


def steady(plan: T) -> T:
    """A plan in which failures do not depend on how often a body ran in this process: that is lost in a crash."""
    if isinstance(plan, Failure):
        return replace(plan, times=ALWAYS)
    if isinstance(plan, tuple):
        return tuple(map(steady, plan))  # type: ignore[return-value]
    if not hasattr(plan, "__dataclass_fields__"):
        return plan
    changed = {one.name: steady(getattr(plan, one.name)) for one in fields(plan)}  # type: ignore[arg-type]
    return replace(plan, **changed)  # type: ignore[type-var]


class Gates(Plugin):
    """Asks before and after some steps, by their address; what it is told changes nothing."""

    name = "gates"

    def __init__(self, salt: int, share: int) -> None:
        self.salt, self.share = salt, share

    def asks(self, when: str, call: StepCall) -> bool:
        return crc32(f"{self.salt}{when}{call.address}".encode()) % self.share == 0

    async def pre_step_execution(self, call: StepCall, /) -> PauseForHumanInput[int] | None:
        return PauseForHumanInput("?", int) if call.answer is None and self.asks("pre", call) else None

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> PauseForHumanInput[int] | None:
        return PauseForHumanInput("?", int) if call.answer is None and self.asks("post", call) else None


class Disturbed:
    """One run, in as many "processes" as it takes."""

    def __init__(
        self, plans: Plans, value: int, world: World, seed: int, gates: Gates | None, codec: Turned | None = None
    ) -> None:
        self.pipeline, self.value, self.world = built(plans, world), value, world
        self.is_tried_again = is_tried_again(plans)
        self.random = Random(seed)
        self.plugins = [gates] if gates else []
        self.kept: Store = MemoryStore()
        self.codec = codec
        self.codecs = [codec] if codec else []
        self.read = coded(self.kept, Codecs(self.codecs)) if codec else self.kept
        self.over: set[str] = set()
        self.stages = 0

    async def through(self, deaths: int) -> tuple[Any, BaseException | None]:
        """Dies so often (twice at most: a third begin without an outcome is the last), and goes on to its end."""
        for _ in range(deaths if self.codec is None else 0):
            dying = Dying(self.kept, self.random.randint(1, 25), keeps=self.random.random() < 0.7)
            with suppress(FlujoError):
                result, error = await self.stage(dying)
                if not dying.is_dead:
                    return result, error
            await self.look()
        for _ in range(deaths if self.codec is not None else 0):
            assert self.codec is not None
            self.codec.fails_in = self.random.randint(1, 40)
            with suppress(CodecError):
                result, error = await self.stage(self.kept)
                assert not self.codec.has_failed
                return result, error
            await self.look()
            self.codec.fails_in = 0
        return await self.stage(self.kept)

    async def look(self) -> None:
        """Notes what is durable: it must not begin again."""
        records = await self.kept.read("r")
        self.over = {one.address for one in records if one.kind == "step_completed"}
        self.world.clear()

    async def stage(self, store: Any) -> tuple[Any, BaseException | None]:
        self.stages += 1
        flujo = alone(self.pipeline, *self.plugins, context=Shared, store=store, codecs=self.codecs)
        try:
            result = await self.begun(flujo)
            for _ in range(200):
                if result.status != "paused":
                    return result, None
                result = await self.answered(flujo, {one.address: one.token for one in result.questions})
        except RunFailed as failed:
            return failed.result, failed.__cause__
        raise AssertionError("the run paused 200 times")

    async def begun(self, flujo: Any) -> Any:
        if self.stages > 1 and self.random.random() < 0.5:
            with suppress(UnknownRun):
                return await flujo.resume_async("r")
        return await flujo.run_async(self.value, run_id="r")

    async def answered(self, flujo: Any, tokens: dict[str, str | None]) -> Any:
        questions = await flujo.pending_async()
        question = self.random.choice(list(questions))
        token = tokens.get(question.address)
        if token is None and len(questions) > 1:
            token = (await flujo.reissue_async("r", question.address)).token
        with suppress(AlreadyAnswered):
            return await flujo.resume_async("r", 1, token=token)
        return await flujo.resume_async("r")


def is_tried_again(plans: Plans) -> bool:
    """Whether a node is tried again, so that what is in it runs several times at one address of ``RunInfo``."""
    return any(plan.attempts > 1 and not isinstance(plan, Leaf) for plan in all_plans(plans))


def checked_end(wanted: Expected, result: Any, error: BaseException | None) -> None:
    """As ``check_end``; of an error that was journaled, its type is left, and of a foreign one that it was one."""
    if wanted.failures and (error is None or (type(error) is StepError and error.__cause__ is None)):
        kind = result.error.type if error is None else "StepError"
        assert result.status == "failed" and (
            "*" in wanted.failures or kind.replace("StepError", "Boom") in wanted.failures
        )
        assert plain(dict(result.context)) == plain(wanted.context)
    else:
        check_end(wanted, result, error)


def checked(wanted: Expected, run: Disturbed, deaths: int) -> None:
    leaks = Leaks()
    result, error = asyncio.run(settled(run.through(deaths), leaks))
    event(f"stages: {run.stages}, {result.status}")
    checked_end(wanted, result, error)
    events: Any = [decode(record) for record in asyncio.run(run.read.read("r"))]
    check_steps(wanted, fold(events))
    assert [one.sequence for one in events] == [*range(1, len(events) + 1)]
    over: set[str] = set()
    for one in events:
        assert one.kind != "step_started" or one.address not in over, f"committed, and begun again: {one}"
        over |= {one.address} if one.kind == "step_completed" else set()
    began = {one[1] for one in run.world.trace if one[0] == "begin"}
    assert run.is_tried_again or not began & run.over, f"committed, and run again: {began & run.over}"
    assert not leaks


@settings(SLOW, max_examples=150)
@given(pipelines(WISHES).map(steady), st.integers(0, 30), st.integers(0, 10**6), st.integers(1, 2))
def test_a_run_that_crashes_anywhere_comes_to_what_it_would_have_come_to(
    plans: Plans, value: int, seed: int, deaths: int
) -> None:
    world = World()
    checked(expected(plans, value), Disturbed(plans, value, world, seed, None), deaths)


@settings(SLOW, max_examples=100)
@given(pipelines(WISHES).map(steady), st.integers(0, 30), st.integers(0, 10**6), st.integers(2, 5))
def test_a_run_that_pauses_anywhere_comes_to_what_it_would_have_come_to(
    plans: Plans, value: int, seed: int, share: int
) -> None:
    world = World()
    run = Disturbed(plans, value, world, seed, Gates(seed, share))
    checked(expected(plans, value), run, 0)
    times = Counter(one[1:] for one in world.trace if one[0] == "begin")
    assert is_tried_again(plans) or set(times.values()) <= {1}, "a body ran again though nothing had crashed"


@settings(SLOW, max_examples=100)
@given(pipelines(WISHES).map(steady), st.integers(0, 30), st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 2))
def test_a_run_that_crashes_and_pauses_comes_to_what_it_would_have_come_to(
    plans: Plans, value: int, seed: int, share: int, deaths: int
) -> None:
    world = World()
    run = Disturbed(plans, value, world, seed, Gates(seed, share))
    checked(expected(plans, value), run, deaths)


@settings(SLOW, max_examples=100)
@given(pipelines(WISHES).map(steady), st.integers(0, 30), st.integers(0, 10**6), st.integers(2, 5), st.integers(0, 2))
def test_a_run_whose_value_codec_fails_anywhere_comes_to_what_it_would_have_come_to(
    plans: Plans, value: int, seed: int, share: int, failures: int
) -> None:
    world = World()
    run = Disturbed(plans, value, world, seed, Gates(seed, share), Turned())
    checked(expected(plans, value), run, failures)
    kept = asyncio.run(run.kept.read("r"))
    assert {one.payload.partition(b"\n")[0] for one in kept} == {b"\x00values:turned"}


@settings(SLOW, max_examples=80)
@given(pipelines(WISHES).map(steady), st.integers(0, 30), st.integers(0, 10**6), st.integers(2, 5))
def test_without_a_store_a_run_goes_on_from_its_state_as_json(plans: Plans, value: int, seed: int, share: int) -> None:
    world, random, wanted = World(), Random(seed), expected(plans, value)

    async def main() -> tuple[Any, BaseException | None]:
        tokens: dict[str, str] = {}
        try:
            result = await alone(built(plans, world), Gates(seed, share), context=Shared).run_async(value)
            for _ in range(200):
                if result.status != "paused":
                    return result, None
                state = PipelineState.model_validate_json(result.state.model_dump_json())
                flujo = alone(built(plans, world), Gates(seed, share), context=Shared)
                tokens |= {one.address: one.token for one in result.questions if one.token}
                result = await flujo.resume_async(state, 1, token=tokens[random.choice(result.questions).address])
        except RunFailed as failed:
            return failed.result, failed.__cause__
        raise AssertionError("the run paused 200 times")

    leaks = Leaks()
    result, error = asyncio.run(settled(main(), leaks))
    checked_end(wanted, result, error)
    assert not leaks


@settings(SLOW, max_examples=60)
@given(pipelines(WISHES).map(steady), st.integers(0, 30))
def test_a_run_that_has_ended_is_told_again_and_nothing_runs(plans: Plans, value: int) -> None:
    world, wanted = World(), expected(plans, value)
    run = Disturbed(plans, value, world, 0, None)
    checked(wanted, run, 0)
    before = list(asyncio.run(run.kept.read("r")))
    check_events([decode(record) for record in before])
    world.clear()
    run.stages = 1
    for _ in range(2):
        result, error = asyncio.run(run.stage(run.kept))
        checked_end(wanted, result, error)
    assert world.trace == [] and list(asyncio.run(run.kept.read("r"))) == before
