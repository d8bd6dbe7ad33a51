"""Policies of steps and of nodes: retry, timeout, fallback, validators, version (DESIGN 4, SEMANTICS 1, 2, 20)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from flow_kit import ALONE, State, Watched, adds, alone, fail, kinds, logs, plus, ran, slow
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel

from flujo_core import (
    Branch,
    BranchesFailed,
    ConfigurationError,
    DefinitionError,
    EdgeError,
    Flujo,
    Loop,
    Map,
    OutputRejected,
    Parallel,
    Plugin,
    Registry,
    Retry,
    RunInfo,
    Step,
    StepError,
    StepTimeout,
    Stop,
    Timeout,
    Validator,
    Veto,
    step,
)


class Flaky:
    """A step that fails the first times that it is called, and remembers what it was given."""

    def __init__(self, name: str = "flaky", failures: int = 1, error: type[Exception] = ValueError) -> None:
        self.infos: list[RunInfo] = []
        self.inputs: list[int] = []

        @step(name=name)
        async def flaky(value: int, context: State, info: RunInfo) -> int:
            self.infos.append(info)
            self.inputs.append(value)
            context.log.append(f"{name} {len(self.infos)}")
            if len(self.infos) <= failures:
                raise error("CANARY")
            return value + 1

        self.step: Any = flaky


TWICE = Retry(attempts=2)


def nodes(body: Any) -> dict[str, Any]:
    """A node of each kind around a step."""
    return {
        "scope": (plus.named("before") >> body).named("scope"),
        "fan": Parallel("fan", a=body),
        "each": Map("each", body, over=lambda value: [value]),
        "l": Loop("l", body, until=bool, max_iterations=1),
        "route": Branch("route", on=str).default(body),
    }


WITHIN = {"scope": "scope{}/", "fan": "fan{}[a]/", "each": "each{}[0]/", "l": "l{}[1]/", "route": "route{}[~default]/"}
NAMES = sorted(WITHIN)


# ---------------------------------------------------------------------------------------------------- retry of nodes


@pytest.mark.parametrize("name", NAMES)
def test_a_node_that_fails_and_has_a_retry_begins_anew(name: str) -> None:
    flaky = Flaky()
    done = ran(nodes(flaky.step)[name].policy(retry=TWICE), 1)
    assert done.result.status == "completed" and len(flaky.infos) == 2
    assert flaky.inputs[0] == flaky.inputs[1]
    node = done.state.nodes[name]
    assert (node.status, node.attempts) == ("completed", 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_addresses_of_a_second_attempt_have_its_number_after_the_nodes_name(name: str) -> None:
    done = ran(nodes(Flaky().step)[name].policy(retry=TWICE), 1)
    assert f"{WITHIN[name].format('')}flaky" in done.addresses("step_failed")
    assert f"{WITHIN[name].format('#2')}flaky" in done.addresses("step_completed")
    (failed,) = (event for event in done.events if event.kind == "attempt_failed")
    assert (failed.address, failed.attempt) == (name, 1) and "CANARY" not in str(failed.error)
    assert [e.attempt for e in done.events if e.kind == "node_started" and e.address == name] == [1, 2]


@pytest.mark.parametrize("name", NAMES)
def test_run_info_has_no_attempt_in_its_address_and_the_same_key_in_each_attempt_of_a_node(name: str) -> None:
    flaky = Flaky()
    ran(nodes(flaky.step)[name].policy(retry=TWICE), 1)
    first, second = flaky.infos
    assert first.address == second.address == f"{WITHIN[name].format('')}flaky"
    assert first.idempotency_key == second.idempotency_key


@pytest.mark.parametrize("name", NAMES)
def test_what_a_failed_attempt_of_a_node_had_changed_is_dropped(name: str) -> None:
    done = ran(logs("first") >> nodes(logs("in") >> Flaky().step)[name].policy(retry=TWICE), 1)
    assert done.context.log == ["first", "in", "flaky 2"] == done.state.context["log"]


@pytest.mark.parametrize("name", NAMES)
def test_a_node_that_fails_for_good_leaves_nothing_of_what_it_had_changed(name: str) -> None:
    done = ran(logs("first") >> nodes(logs("in") >> fail)[name].policy(retry=TWICE), 1)
    assert done.context.log == ["first"] == done.state.context["log"]
    assert done.state.nodes[name].attempts == 2 and done.state.nodes[name].status == "failed"


def test_run_info_of_a_step_has_no_attempt_in_its_address_and_its_number_beside() -> None:
    flaky = Flaky()
    ran(Parallel("fan", a=flaky.step.policy(retry=TWICE)))
    assert [(one.address, one.attempt) for one in flaky.infos] == [("fan[a]/flaky", 1), ("fan[a]/flaky", 2)]
    assert len({one.idempotency_key for one in flaky.infos}) == 1


def test_idempotency_keys_differ_by_run_and_by_address() -> None:
    flaky = Flaky(failures=0)
    ran(Parallel("fan", a=flaky.step, b=flaky.step), run_id="one")
    ran(Parallel("fan", a=flaky.step, b=flaky.step), run_id="two")
    assert len({one.idempotency_key for one in flaky.infos}) == 4


def test_a_node_is_tried_again_only_after_the_errors_that_its_retry_names() -> None:
    for error, times in ((ValueError, 3), (KeyError, 1)):
        flaky = Flaky(failures=9, error=error)
        ran(Parallel("fan", a=flaky.step).policy(retry=Retry(attempts=3, on=(ValueError,))))
        assert len(flaky.infos) == times


def test_a_step_and_the_node_around_it_may_both_have_a_retry() -> None:
    flaky = Flaky(failures=3)
    done = ran(Parallel("fan", a=flaky.step.policy(retry=TWICE)).policy(retry=TWICE))
    assert done.output == {"a": 2} and [one.attempt for one in flaky.infos] == [1, 2, 1, 2]


def test_a_retry_waits_as_it_says() -> None:
    flaky = Flaky(failures=2)
    begun = time.monotonic()
    node = Parallel("fan", a=flaky.step).policy(retry=Retry(attempts=3, backoff=0.05, factor=2, jitter=0))
    done = ran(node)
    assert 0.15 <= time.monotonic() - begun < 1.0
    first, second = (event for event in done.events if event.kind == "attempt_failed")
    assert first.retry_at - first.at == pytest.approx(0.05, abs=0.01)
    assert second.retry_at - second.at == pytest.approx(0.1, abs=0.01)


def test_what_a_retried_parallel_had_committed_runs_again() -> None:
    counted = Flaky("counted", failures=0)

    @step
    async def after(value: int) -> int:
        if len(counted.infos) == 1:
            raise ValueError
        return value

    assert ran(Parallel("fan", a=counted.step >> after).policy(retry=TWICE)).output == {"a": 2}
    assert len(counted.infos) == 2


@pytest.mark.parametrize("ends", ["stop", "veto"])
def test_nothing_is_tried_again_and_no_fallback_runs_after_a_stop_or_a_veto(ends: str) -> None:
    calls: list[int] = []

    @step
    async def stops(value: int) -> int | Stop:
        calls.append(value)
        return Stop("enough") if ends == "stop" else value

    async def veto(call: Any, result: Any) -> None:
        if call.step_name == "stops" and ends == "veto":
            raise Veto("no")

    node = (stops >> plus).named("scope").policy(retry=Retry(attempts=3), fallback=adds("other"))
    done = ran(node, post_step_execution=veto)
    assert calls == [1] and done.result.status == ("stopped" if ends == "stop" else "refused")


# ---------------------------------------------------------------------------------------------------- timeout


@pytest.mark.parametrize("name", NAMES)
def test_a_node_whose_timeout_expires_fails_and_what_runs_in_it_is_cancelled_and_waited_for(name: str) -> None:
    did: list[str] = []
    done = ran(nodes(slow("long", 30, did))[name].policy(timeout=0.05))
    assert did == ["long cancelled"] and isinstance(done.cause, StepTimeout) and done.cause.address == name
    assert f"'{name}'" in str(done.error) and "0.05" in str(done.error)
    node = done.state.nodes[name]
    assert node.status == "failed" and node.error is not None and node.error.type == "StepTimeout"
    assert all(one.status != "running" for one in done.state.steps.values())


def test_the_timeout_of_a_node_holds_for_one_attempt() -> None:
    took = iter([30, 0.0])

    @step
    async def sometimes(value: int) -> int:
        await asyncio.sleep(next(took))
        return value

    assert ran(Parallel("fan", a=sometimes).policy(timeout=0.05, retry=TWICE)).output == {"a": 1}


def test_a_timeout_around_a_step_that_swallows_its_cancellation_fails_the_node_all_the_same() -> None:
    after: list[int] = []

    @step
    async def deaf(value: int) -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        return value

    @step
    async def more(value: int) -> int:
        after.append(value)
        return value

    done = ran((deaf >> more).named("scope").policy(timeout=0.05))
    assert isinstance(done.cause, StepTimeout) and after == []


def test_a_timeout_of_a_step_in_a_branch_is_that_steps() -> None:
    done = ran(Parallel("fan", a=slow("long", 30).policy(timeout=0.02), b=slow("other", 30)))
    assert isinstance(done.cause, StepTimeout) and done.cause.address == "fan[a]/long"


def test_the_deadline_of_a_step_is_told_to_it() -> None:
    @step(timeout=30)
    async def look(value: int, info: RunInfo) -> float:
        return (info.deadline or 0) - time.time()

    assert 25 < ran(Parallel("fan", a=look)).output["a"] <= 30


def test_a_timed_out_node_in_a_fan_out_cancels_its_siblings() -> None:
    did: list[str] = []
    inner = (slow("in", 30, did) >> plus).named("inner").policy(timeout=0.02)
    done = ran(Parallel("fan", a=inner, b=slow("out", 30, did)))
    assert sorted(did) == ["in cancelled", "out cancelled"] and done.cause.address == "fan[a]/inner"


def model(*pieces: str, pause: float = 0.0, before: float = 0.0) -> FunctionModel:
    async def stream(messages: Any, info: Any) -> AsyncIterator[str]:
        await asyncio.sleep(before)
        for piece in pieces:
            yield piece
            await asyncio.sleep(pause)

    async def whole(messages: Any, info: Any) -> ModelResponse:
        await asyncio.sleep(before + pause * len(pieces))
        return ModelResponse(parts=[TextPart("".join(pieces))])

    return FunctionModel(whole, stream_function=stream)


async def streamed(node: Any, given: Any = "hello") -> Any:
    async with alone(node).stream(given) as run:
        async for _ in run:
            pass
    return run.result


def test_an_idle_timeout_expires_when_an_agent_shows_no_sign_of_life() -> None:
    ask = Step.agent("ask", Agent(model("a", before=30)), timeout=Timeout(idle=0.05))
    done = ran(ask, "hello")
    assert isinstance(done.cause, StepTimeout) and done.cause.address == "ask"


def test_an_idle_timeout_does_not_expire_while_pieces_come() -> None:
    ask = Step.agent("ask", Agent(model(*"abcdefgh", pause=0.03)), timeout=Timeout(idle=0.15))
    assert asyncio.run(streamed(ask)).output == "abcdefgh"


def test_a_run_timeout_expires_although_pieces_come() -> None:
    ask = Step.agent("ask", Agent(model(*"abcdefghijklmnop", pause=0.03)), timeout=Timeout(run=0.1, idle=5))
    with pytest.raises(Exception, match="'ask'"):
        asyncio.run(streamed(ask))


def test_a_sync_step_that_timed_out_in_its_thread_is_waited_for_by_its_next_attempt() -> None:
    running, most, ended = 0, 0, threading.Event()
    calls: list[int] = []

    @step(timeout=0.05, retry=TWICE)
    def work(value: int, context: State) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        calls.append(value)
        context.log.append(f"call {len(calls)}")
        if len(calls) == 1:
            time.sleep(0.2)
            ended.set()
        running -= 1
        return value

    done = ran(Parallel("fan", a=work))
    assert (most, len(calls), ended.is_set()) == (1, 2, True)
    assert done.context.log == ["call 2"]


# ---------------------------------------------------------------------------------------------------- fallback


@pytest.mark.parametrize("name", NAMES)
def test_a_fallback_gets_the_same_input_and_its_output_stands_for_the_nodes(name: str) -> None:
    kinds_of: dict[str, Any] = {"fan": dict[str, int], "each": list[int]}
    gives = kinds_of.get(name, int)

    @step
    async def other(value: int) -> gives:
        return {"fan": {"a": value}, "each": [value]}.get(name, value)

    done = ran(logs("first") >> nodes(logs("in") >> fail)[name].policy(fallback=logs("fb") >> other), 5)
    assert done.output == {"fan": {"a": 5}, "each": [5]}.get(name, 5)
    assert done.context.log == ["first", "fb"] == done.state.context["log"]
    assert f"{name}~fallback/other" in done.addresses()
    assert (done.state.nodes[name].status, done.state.nodes[name].source) == ("completed", "fallback")


def test_the_fallback_of_a_step_is_a_scope_of_its_own_after_the_steps_name() -> None:
    other = (adds("x", 10) >> logs("y")).named("deep")
    done = ran(Parallel("fan", a=fail.policy(fallback=other, retry=TWICE)), 5)
    assert done.output == {"a": 15}
    assert done.addresses() == ["fan[a]/fail~fallback/deep/x", "fan[a]/fail~fallback/deep/y", "fan[a]/fail"]
    assert done.state.steps["fan[a]/fail"].source == "fallback"
    assert done.context.log == ["y"]


def test_a_fallback_runs_once_after_the_last_attempt() -> None:
    flaky, other = Flaky(failures=9), Flaky("other", failures=0)
    done = ran(flaky.step.policy(retry=Retry(attempts=3), fallback=other.step), 5)
    assert (len(flaky.infos), len(other.infos), done.output) == (3, 1, 6)


def test_a_fallback_that_fails_fails_the_node_and_the_message_names_both() -> None:
    @step
    async def worse(value: int) -> int:
        raise KeyError

    done = ran((plus >> fail).named("scope").policy(fallback=worse))
    assert done.result.status == "failed" and isinstance(done.cause, StepError)
    assert done.cause.address == "scope" and done.state.nodes["scope"].status == "failed"
    assert "'scope/fail'" in str(done.error) and "'scope~fallback/worse'" in str(done.error)


def test_a_fallback_may_have_a_fallback() -> None:
    done = ran(fail.policy(fallback=fail.named("second").policy(fallback=adds("third", 7))))
    assert done.output == 8 and "fail~fallback/second~fallback/third" in done.addresses()


def test_a_fallback_stands_in_for_a_timeout_too() -> None:
    assert ran(slow("long", 30).policy(timeout=0.02, fallback=adds("quick", 9))).output == 10


def test_on_error_collect_and_a_fallback_go_together() -> None:
    @step
    async def instead(value: int) -> dict[str, int]:
        return {}

    node = Parallel("fan", a=fail, b=plus, on_error="collect").policy(fallback=instead)
    done = ran(node)
    assert done.output == {}
    (failed,) = (event for event in done.events if event.kind == "attempt_failed")
    assert failed.error.type == BranchesFailed.__name__


def test_an_input_that_a_failing_step_has_changed_is_given_to_the_fallback_as_it_was() -> None:
    @step
    async def make(value: int) -> list[int]:
        return [value]

    @step
    async def spoils(value: list[int]) -> list[int]:
        value.append(99)
        raise ValueError

    @step
    async def give(value: list[int]) -> list[int]:
        return value

    for store in (None, "memory://"):
        for node in (spoils.policy(fallback=give), spoils.policy(retry=TWICE, fallback=give)):
            assert alone(make >> node, store=store).run(1).output == [1]


# ---------------------------------------------------------------------------------------------------- validators


def test_a_validator_that_gives_none_lets_the_output_pass_and_any_other_text_is_a_failed_attempt() -> None:
    def even(value: int) -> str | None:
        return f"{value} CANARY" if value % 2 else None

    @step(retry=Retry(attempts=3), validators=[even])
    async def numbered(value: int, info: RunInfo) -> int:
        return value + info.attempt

    done = ran(numbered, 0)
    assert done.output == 2
    (failed,) = (event for event in done.events if event.kind == "attempt_failed")
    assert (failed.feedback, failed.error.type) == ("1 CANARY", "OutputRejected")
    assert "CANARY" not in failed.error.message
    rejected = ran(plus.policy(validators=[even]), 2)
    assert isinstance(rejected.cause, OutputRejected) and "CANARY" not in str(rejected.error)
    assert rejected.cause.feedback == "3 CANARY"


def test_a_validator_may_be_async_and_may_take_the_context_with_what_the_step_changed() -> None:
    seen: list[Any] = []

    async def look(value: int, context: State) -> str | None:
        await asyncio.sleep(0)
        seen.append((value, context.log))
        return None

    assert ran(logs("a") >> logs("b").policy(validators=[look])).output == 1
    assert seen == [(1, ["a", "b"])]


def test_feedback_reaches_the_next_attempt_in_its_run_info() -> None:
    seen: list[str | None] = []

    def no(value: int) -> str | None:
        return "try harder" if value < 3 else None

    @step(retry=Retry(attempts=3), validators=[no])
    async def work(value: int, info: RunInfo) -> int:
        seen.append(info.feedback)
        return info.attempt

    assert ran(work).output == 3 and seen == [None, "try harder", "try harder"]


def test_the_next_attempt_of_an_agent_sees_the_feedback() -> None:
    prompts: list[str] = []

    def answer(messages: Any, info: Any) -> ModelResponse:
        prompts.append(str(messages))
        return ModelResponse(parts=[TextPart("long enough" if len(prompts) > 1 else "short")])

    def long(value: str) -> str | None:
        return None if len(value) > 8 else "the answer is too short: FEEDBACK"

    ask = Step.agent("ask", Agent(FunctionModel(answer)), retry=TWICE, validators=[long])
    assert ran(ask, "hello").output == "long enough"
    assert "FEEDBACK" not in prompts[0] and "FEEDBACK" in prompts[1] and "hello" in prompts[1]


def test_all_validators_are_asked_in_order_and_the_first_that_refuses_decides() -> None:
    asked: list[str] = []

    def one(value: int) -> str | None:
        asked.append("one")
        return None

    def two(value: int) -> str | None:
        asked.append("two")
        return "no"

    def three(value: int) -> str | None:
        asked.append("three")
        return None

    assert isinstance(ran(plus.policy(validators=[one, two, three])).cause, OutputRejected)
    assert asked[:2] == ["one", "two"]


def test_a_validator_that_raises_fails_the_attempt() -> None:
    def broken(value: int) -> str | None:
        raise RuntimeError("CANARY")

    done = ran(plus.policy(validators=[broken]))
    assert done.result.status == "failed" and done.cause.address == "plus" and "CANARY" not in str(done.error)


def test_an_output_that_a_validator_refuses_for_good_is_the_fallbacks_business() -> None:
    def never(value: int) -> str | None:
        return "no"

    assert ran(plus.policy(validators=[never], fallback=adds("other", 7))).output == 8


class Polite(Plugin):
    name = "acme"

    def register_validators(self, registry: Registry[Validator], /) -> None:
        def polite(value: str) -> str | None:
            return None if "please" in value else "say please"

        registry.add("polite", polite)


@pytest.mark.parametrize("named", ["acme/polite", "polite"])
def test_a_name_stands_for_a_validator_that_a_plugin_has_registered(named: str) -> None:
    @step(validators=[named], retry=TWICE)
    async def say(value: str, info: RunInfo) -> str:
        return value if info.feedback is None else f"{value}, please"

    flujo = alone(Parallel("fan", a=say), plugins=[Polite()])
    assert flujo.run("go").output == {"a": "go, please"}


def test_an_unknown_validator_is_refused_when_a_flujo_is_made_with_a_close_match() -> None:
    @step(validators=["acme/plite"])
    async def say(value: str) -> str:
        return value

    with pytest.raises((DefinitionError, ConfigurationError), match=r"'say'.*'acme/plite'.*did you mean 'acme/polite'"):
        alone(Parallel("fan", a=say), plugins=[Polite()])


# ---------------------------------------------------------------------------------------------------- what is refused


def test_policies_need_a_name_to_hold_for() -> None:
    with pytest.raises(DefinitionError, match=r"'plus >> x'.*named"):
        (plus >> adds("x")).policy(timeout=1)


def test_a_fallback_that_cannot_stand_in_is_refused_with_both_ends() -> None:
    @step
    async def of_text(value: str) -> int:
        return 1

    @step
    async def text(value: int) -> str:
        return ""

    for node in (plus, Loop("plus", plus, until=bool, max_iterations=1), (plus >> adds("b")).named("plus")):
        made: Any = node
        with pytest.raises(EdgeError, match=r"'plus'.*'int'.*'of_text'.*'str'"):
            made.policy(fallback=of_text)
        with pytest.raises(EdgeError, match=r"'plus'.*'int'.*'text'.*'str'"):
            made.policy(fallback=text)
        with pytest.raises(DefinitionError, match="fallback of 'plus'"):
            made.policy(fallback=len)


def test_policy_gives_another_node_and_keeps_what_is_not_given() -> None:
    flaky = Flaky(failures=2)
    once = flaky.step.policy(retry=Retry(attempts=3))
    both = once.policy(timeout=5)
    assert ran(both).output == 2 and len(flaky.infos) == 3
    assert flaky.step.policies.retry is None and both.policies.retry is not None


# ---------------------------------------------------------------------------------------------------- journal


def test_a_failed_attempt_of_a_node_is_durable_before_the_next_one_begins() -> None:
    store = Watched(turns=3)
    known: list[list[str]] = []

    @step
    async def look(value: int) -> int:
        known.append(kinds(store.events))
        if len(known) == 1:
            raise ValueError
        return value

    ran(Parallel("fan", a=look).policy(retry=TWICE), store=store)
    assert "attempt_failed fan" in known[1] and "node_started fan" in known[1]


def test_without_a_store_and_a_context_policies_do_the_same() -> None:
    flujo: Any = Flujo(Parallel("fan", a=fail).policy(retry=TWICE, timeout=1), settings=ALONE)
    with pytest.raises(Exception, match=r"fan(#2)?\[a\]/fail"):
        flujo.run(1)
