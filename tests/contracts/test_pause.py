"""Pauses: SEMANTICS 6 and 13, DESIGN section 5: who asks, what waits, what never runs again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from crash_kit import Counted, done, durable, events_in, eventually
from flow_kit import State, kinds
from pydantic import BaseModel

from flujo_core import (
    Branch,
    DefinitionError,
    Loop,
    Map,
    MemoryStore,
    NoOutput,
    Parallel,
    Plugin,
    Retry,
    RunFailed,
    RunRefused,
    Skip,
    SQLiteStore,
    StepCall,
    StepResult,
    Stop,
    Veto,
    step,
)
from flujo_core.model.human import HumanInput
from flujo_core.model.outcome import PauseForHumanInput
from flujo_core.model.state import PipelineState


class Approval(BaseModel):
    ok: bool
    note: str = ""


# ----------------------------------------------------------------------------------------------------- a step that asks


def test_a_step_that_asks_pauses_the_run_and_the_answer_is_its_output() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(ran.plus("a") >> ran.asks("ask") >> ran.plus("b", 10), store)
        paused = await flujo.run_async(1, run_id="r")
        assert paused.status == "paused" and ran == {"a": 1, "ask": 1}
        (question,) = paused.questions
        assert (question.run_id, question.address, question.text) == ("r", "ask", "How many, after 2?")
        assert question.json_schema["type"] == "integer" and question.token
        result = await flujo.resume_async("r", 5, token=question.token)
        assert (result.status, result.output) == ("completed", 15)
        assert ran == {"a": 1, "ask": 1, "b": 1}, "no code before a pause is ever run again"

    done(main())


def test_a_paused_run_has_no_output_and_says_so() -> None:
    ran = Counted()

    async def main() -> None:
        paused = await durable(ran.asks("ask"), MemoryStore()).run_async(1)
        with pytest.raises(NoOutput, match="paused"):
            _ = paused.output

    done(main())


def test_what_the_step_changed_before_it_asked_is_committed_with_the_answer() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(ran.plus("a") >> ran.asks("ask") >> ran.plus("b"), store)
        paused = await flujo.run_async(1, run_id="r")
        assert paused.context.log == ["a"], "not before"
        asked = next(event for event in await events_in(store) if event.kind == "question_asked")
        assert asked.patch and "step_completed ask" not in kinds(await events_in(store))
        result = await flujo.resume_async("r", 5)
        assert result.context.log == ["a", "ask?", "b"]

    done(main())


def test_a_pause_is_no_failed_attempt() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(ran.asks("ask").policy(retry=Retry(attempts=3)), store)
        await flujo.run_async(1, run_id="r")
        result = await flujo.resume_async("r", 5)
        assert result.output == 5 and ran.attempts == {"ask": [1]}
        assert "attempt_failed ask" not in kinds(await events_in(store))

    done(main())


def test_a_step_may_fail_first_and_ask_then() -> None:
    seen: list[int] = []

    @step(retry=Retry(attempts=3))
    async def ask(value: int, info: Any = None) -> int | PauseForHumanInput[int]:
        seen.append(value)
        if len(seen) == 1:
            raise ValueError("on purpose")
        return PauseForHumanInput("?", int)

    async def main() -> None:
        flujo = durable(ask, MemoryStore())
        paused = await flujo.run_async(1, run_id="r")
        assert paused.status == "paused"
        assert (await flujo.resume_async("r", 5)).output == 5 and len(seen) == 2

    done(main())


def test_an_answer_type_that_the_output_does_not_take_is_refused_before_anything_is_asked() -> None:
    store = MemoryStore()

    @step
    async def ask(value: int) -> int | PauseForHumanInput[int]:
        return PauseForHumanInput("?", Approval)  # type: ignore[arg-type]

    async def main() -> None:
        with pytest.raises(RunFailed):
            await durable(ask, store).run_async(1, run_id="r")
        assert not await store.questions()
        assert "question_asked ask" not in kinds(await events_in(store))

    done(main())


def test_a_subclass_of_the_output_type_may_be_asked_for() -> None:
    class Signed(Approval):
        by: str = ""

    @step
    async def ask(value: int) -> Approval | Signed | PauseForHumanInput[Signed]:
        return PauseForHumanInput("?", Signed)

    async def main() -> None:
        flujo = durable(ask, MemoryStore())
        await flujo.run_async(1, run_id="r")
        result = await flujo.resume_async("r", {"ok": True, "by": "ann"})
        assert result.output == Signed(ok=True, by="ann") and type(result.output) is Signed

    done(main())


# ----------------------------------------------------------------------------------------------------------- HumanInput


def test_human_input_asks_with_the_input_in_the_question() -> None:
    class Draft(BaseModel):
        text: str

    @step
    async def write(topic: str) -> Draft:
        return Draft(text=f"on {topic}")

    @step
    async def send(approval: Approval) -> str:
        return f"sent: {approval.note}"

    approve = HumanInput("approve", Approval, ask="Send this?\n\n{{ input.text }}", approvers=["ops"])

    async def main() -> None:
        flujo = durable(write >> approve >> send, MemoryStore())
        (question,) = (await flujo.run_async("cats", run_id="r")).questions
        assert question.text == "Send this?\n\non cats" and question.approvers == ("ops",)
        assert set(question.json_schema["properties"]) == {"ok", "note"}
        result = await flujo.resume_async("r", Approval(ok=True, note="go"), approver="ops")
        assert result.output == "sent: go"

    done(main())


def test_a_question_with_a_placeholder_that_does_not_resolve_is_refused_when_it_is_built() -> None:
    with pytest.raises(DefinitionError):
        durable(Counted().plus("a") >> HumanInput("approve", Approval, ask="{{ input.tekst }}"), MemoryStore())


# -------------------------------------------------------------------------------------------------------------- nesting

NESTINGS: dict[str, tuple[Callable[[Counted], Any], str]] = {
    "alone": (lambda ran: ran.asks("ask"), "ask"),
    "parallel": (lambda ran: Parallel("fan", a=ran.asks("ask"), b=ran.plus("b")) >> ran.total(), "fan[a]/ask"),
    "map": (lambda ran: Map("items", ran.asks("ask"), over=lambda v: [v]) >> ran.total(), "items[0]/ask"),
    "loop": (lambda ran: Loop("again", ran.asks("ask"), until=lambda v: True, max_iterations=2), "again[1]/ask"),
    "branch": (lambda ran: Branch("route", on=lambda v: 1).default(ran.asks("ask")), "route[~default]/ask"),
    "pipeline": (lambda ran: (ran.plus("a") >> ran.asks("ask")).named("sub"), "sub/ask"),
    "retried pipeline": (
        lambda ran: (ran.plus("a") >> ran.asks("ask")).named("sub").policy(retry=Retry(attempts=2)), "sub/ask",
    ),
    "map in loop in parallel": (
        lambda ran: Parallel(
            "fan",
            a=Loop(
                "again", Map("items", ran.asks("ask"), over=lambda v: [v]) >> ran.total("sum"), until=lambda v: True,
                max_iterations=2,
            ),
        ) >> ran.total(),
        "fan[a]/again[1]/items[0]/ask",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NESTINGS)
def test_a_run_pauses_and_goes_on_at_any_nesting(name: str) -> None:
    ran = Counted()
    make, address = NESTINGS[name]

    async def main() -> None:
        store = MemoryStore()
        paused = await durable(ran.plus("first") >> make(ran) >> ran.plus("last"), store).run_async(1, run_id="r")
        assert paused.status == "paused"
        assert [question.address for question in paused.questions] == [address]
        before = dict(ran)
        again = durable(ran.plus("first") >> make(ran) >> ran.plus("last"), store)  # as another process would
        result = await again.resume_async("r", 7)
        assert result.status == "completed" and ran["last"] == 1
        assert all(ran[one] == before[one] for one in before), "something ran again"

    done(main())


def test_other_branches_run_on_until_they_finish_and_stay_committed() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        other = ran.plus("one") >> ran.plus("two", waits=None) >> ran.plus("three")
        flujo = durable(Parallel("fan", a=ran.asks("ask"), b=other) >> ran.total(), store)
        paused = await flujo.run_async(1, run_id="r")
        assert paused.status == "paused" and ran["fan[b]/three"] == 1
        result = await flujo.resume_async("r", 5)
        assert result.output == 5 + 4
        assert ran == {"fan[a]/ask": 1, "fan[b]/one": 1, "fan[b]/two": 1, "fan[b]/three": 1, "total": 1}

    done(main())


def test_a_run_is_paused_only_when_no_leaf_can_run() -> None:
    ran, store = Counted(), MemoryStore()
    gate = asyncio.Event()

    @step
    async def slow(value: int) -> int:
        await gate.wait()
        return value

    async def main() -> None:
        flujo = durable(Parallel("fan", a=ran.asks("ask"), b=slow), store)
        running = asyncio.create_task(flujo.run_async(1, run_id="r"))
        await eventually(store.questions)
        summary = await store.run("r")
        assert summary and summary.status == "running" and not running.done()
        gate.set()
        assert (await running).status == "paused"
        summary = await store.run("r")
        assert summary and summary.status == "paused"

    done(main())


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_run_may_wait_on_several_questions(order: tuple[str, str]) -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        fan = Parallel("fan", a=ran.asks("ask") >> ran.plus("x"), b=ran.asks("ask") >> ran.plus("y", 10))
        flujo = durable(fan >> ran.total(), store)
        paused = await flujo.run_async(1, run_id="r")
        tokens = {question.address[4]: question.token for question in paused.questions}
        assert set(tokens) == {"a", "b"} and len(set(tokens.values())) == 2
        first = await flujo.resume_async("r", {"a": 100, "b": 200}[order[0]], token=tokens[order[0]])
        assert first.status == "paused" and [one.address[4] for one in first.questions] == [order[1]]
        assert sum(ran.values()) == 3, "the answered branch went on, the other not"
        result = await flujo.resume_async("r", {"a": 100, "b": 200}[order[1]], token=tokens[order[1]])
        assert result.output == 101 + 210
        assert set(ran.values()) == {1}

    done(main())


def test_nothing_is_held_in_memory_while_a_run_is_paused() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        before = asyncio.all_tasks()
        await durable(Parallel("fan", a=ran.asks("ask"), b=ran.asks("ask")), store).run_async(1, run_id="r")
        assert asyncio.all_tasks() == before
        summary = await store.run("r")
        assert summary and summary.holder == "" and summary.status == "paused"

    done(main())


def test_a_run_that_fails_withdraws_its_questions() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(Parallel("fan", a=ran.asks("ask"), b=ran.plus("b") >> ran.plus("c", fails=9)), store)
        with pytest.raises(RunFailed) as failed:
            await flujo.run_async(1, run_id="r")
        assert failed.value.result.status == "failed"
        events = await events_in(store)
        asked = [event for event in events if event.kind == "question_asked"]
        withdrawn = [event.question for event in events if event.kind == "question_withdrawn"]
        assert [event.sequence for event in asked] == withdrawn
        assert not await store.questions() and not await flujo.pending_async()

    done(main())


def test_stop_ends_the_run_from_any_depth_and_withdraws_its_questions() -> None:
    ran, store = Counted(), MemoryStore()

    @step
    async def stops(value: int) -> int | Stop:
        return Stop("enough")

    async def main() -> None:
        inner = Loop("again", Map("m", ran.plus("b") >> stops, over=lambda v: [v]) >> ran.total(), until=bool,
                     max_iterations=2)  # fmt: skip
        flujo = durable(Parallel("fan", a=ran.asks("ask"), b=inner) >> ran.total("end"), store)
        result = await flujo.run_async(1, run_id="r")
        assert (result.status, result.reason) == ("stopped", "enough") and ran["end"] == 0
        assert not await store.questions()
        assert (await flujo.run_async(1, run_id="r")).status == "stopped"

    done(main())


def test_a_collecting_parallel_pauses_too_and_fails_when_it_is_answered() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        fan = Parallel("fan", a=ran.asks("ask"), b=ran.plus("b", fails=9), on_error="collect")
        flujo = durable(fan, store)
        paused = await flujo.run_async(1, run_id="r")
        assert paused.status == "paused"
        with pytest.raises(RunFailed):
            await flujo.resume_async("r", 5)
        assert ran == {"fan[a]/ask": 1, "fan[b]/b": 1}, "the failure is on record, and not made again"

    done(main())


# ---------------------------------------------------------------------------------------------------------------- gates


class Gate(Plugin):
    """Asks before or after step ``b``; what it does with the answer is given."""

    name: ClassVar[str] = "gate"

    def __init__(self, when: str, then: Callable[[Any], Any] = lambda answer: None) -> None:
        self.when, self.then = when, then
        self.calls: list[Any] = []

    async def pre_step_execution(self, call: StepCall, /) -> Any:
        return self.act("pre", call)

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> Any:
        return self.act("post", call)

    def act(self, when: str, call: StepCall) -> Any:
        if (when, call.step_name) != (self.when, "b"):
            return None
        self.calls.append((call.step_input, call.answer))
        return PauseForHumanInput("May b?", Approval) if call.answer is None else self.then(call.answer)


class Rewriting(Plugin):
    """Changes what goes in and out, and counts; it stands before the gate."""

    name: ClassVar[str] = "a-rewriting"

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def pre_step_execution(self, call: StepCall, /) -> StepCall:
        self.calls.append(f"pre {call.step_name}")
        return call.replace(step_input=call.step_input + 100)

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult:
        self.calls.append(f"post {call.step_name}")
        return result.replace(output=result.output + 1000)


class Later(Rewriting):
    """The same, after the gate."""

    name: ClassVar[str] = "z-later"


@pytest.mark.parametrize("when", ["pre", "post"])
def test_the_answer_comes_back_to_the_hook_that_asked_and_none_lets_the_step_go_on(when: str) -> None:
    ran, store = Counted(), MemoryStore()
    gate, before, after = Gate(when), Rewriting(), Later()

    async def main() -> None:
        undisturbed = await durable(
            ran.plus("b") >> ran.plus("c"), MemoryStore(), plugins=[Rewriting(), Later()]
        ).run_async(1)
        ran.clear()
        flujo = durable(ran.plus("b") >> ran.plus("c"), store, plugins=[before, gate, after])
        paused = await flujo.run_async(1, run_id="r")
        assert paused.status == "paused" and ran["b"] == (when == "post") and ran["c"] == 0
        assert [one.address for one in paused.questions] == ["b"]
        result = await flujo.resume_async("r", Approval(ok=True))
        assert result.output == undisturbed.output, "what was rewritten before the question is kept"
        assert ran == {"b": 1, "c": 1}
        assert [answer for _, answer in gate.calls] == [None, Approval(ok=True)]
        for plugin in (before, after):
            assert sorted(plugin.calls) == ["post b", "post c", "pre b", "pre c"], "each hook was called once"

    done(main())


def test_the_call_that_the_hook_gets_back_is_the_one_that_it_asked_about() -> None:
    ran, store, gate = Counted(), MemoryStore(), Gate("pre")

    async def main() -> None:
        flujo = durable(ran.plus("b"), store, plugins=[Rewriting(), gate])
        await flujo.run_async(1, run_id="r")
        await flujo.resume_async("r", Approval(ok=True))
        assert [given for given, _ in gate.calls] == [101, 101]

    done(main())


@pytest.mark.parametrize("when", ["pre", "post"])
def test_a_hook_may_stop_the_run_after_the_answer(when: str) -> None:
    ran, gate = Counted(), Gate(when, lambda answer: Stop("no"))

    async def main() -> None:
        flujo = durable(ran.plus("b") >> ran.plus("c"), MemoryStore(), plugins=[gate])
        await flujo.run_async(1, run_id="r")
        result = await flujo.resume_async("r", Approval(ok=False))
        assert (result.status, result.reason) == ("stopped", "no") and ran["c"] == 0
        assert ran["b"] == (when == "post")

    done(main())


def test_a_hook_may_skip_the_step_after_the_answer() -> None:
    ran, gate = Counted(), Gate("pre", lambda answer: Skip(50))

    async def main() -> None:
        flujo = durable(ran.plus("b") >> ran.plus("c"), MemoryStore(), plugins=[gate])
        await flujo.run_async(1, run_id="r")
        result = await flujo.resume_async("r", Approval(ok=False))
        assert result.output == 51 and ran == {"c": 1}

    done(main())


@pytest.mark.parametrize("when", ["pre", "post"])
def test_a_hook_may_refuse_the_run_after_the_answer(when: str) -> None:
    def refuse(answer: Any) -> None:
        raise Veto("not allowed")

    ran, gate = Counted(), Gate(when, refuse)

    async def main() -> None:
        store = MemoryStore()
        flujo = durable(ran.plus("b") >> ran.plus("c"), store, plugins=[gate])
        await flujo.run_async(1, run_id="r")
        with pytest.raises(RunRefused):
            await flujo.resume_async("r", Approval(ok=False))
        assert ran["c"] == 0
        summary = await store.run("r")
        assert summary and summary.status == "refused"

    done(main())


def test_the_answer_to_a_hook_is_validated_against_its_own_type() -> None:
    ran, gate = Counted(), Gate("pre")

    async def main() -> None:
        flujo = durable(ran.plus("b"), MemoryStore(), plugins=[gate])
        await flujo.run_async(1, run_id="r")
        with pytest.raises(Exception, match="ok"):
            await flujo.resume_async("r", {"note": "x"})
        assert (await flujo.resume_async("r", {"ok": True})).status == "completed"
        assert gate.calls[-1][1] == Approval(ok=True)

    done(main())


# ------------------------------------------------------------------------------------------------------ without a store


def test_without_a_store_a_paused_run_is_its_state_and_goes_on_from_it_in_another_process() -> None:
    ran = Counted()

    async def main() -> None:
        made = lambda: durable(ran.plus("a") >> ran.asks("ask") >> ran.plus("b"), None)  # type: ignore[arg-type]  # noqa: E731
        paused = await made().run_async(1)
        text = paused.state.model_dump_json()
        result = await made().resume_async(PipelineState.model_validate_json(text), 5)
        assert (result.status, result.output) == ("completed", 6) and ran == {"a": 1, "ask": 1, "b": 1}
        assert result.run_id == paused.run_id and result.context.log == ["a", "ask?", "b"]

    done(main())


def test_with_sqlite_a_paused_run_goes_on_after_the_store_was_closed_and_opened(tmp_path: Any) -> None:
    ran = Counted()

    async def main() -> None:
        for number in range(2):
            store = SQLiteStore(tmp_path / "runs.db")
            flujo = durable(ran.plus("a") >> ran.asks("ask") >> ran.plus("b"), store)
            if number == 0:
                assert (await flujo.run_async(1, run_id="r")).status == "paused"
            else:
                result = await flujo.resume_async("r", 5)
                assert result.output == 6 and result.context == State(log=["a", "ask?", "b"], sum=2)
            await store.close()

    done(main())
