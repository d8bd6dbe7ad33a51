"""What happens in runs of every shape is on record, each thing once and in the order in which it was."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import AuditPlugin, Rule, verify_log
from flujo_audit_advanced.claims import Trust
from flujo_audit_advanced.keys import key_of
from flujo_audit_advanced.rule import KINDS
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.models.test import TestModel
from recording_kit import SIGNER, bytes_of, recorded, recording, run

from flujo_core import (
    AuthorizationRequest,
    Branch,
    Budget,
    BudgetExceeded,
    Chunk,
    Decision,
    Flujo,
    HumanInput,
    Labels,
    Loop,
    Map,
    Parallel,
    PipelineMutation,
    Plugin,
    Reconfigurable,
    Reconfigure,
    Retry,
    RunRefused,
    RunStart,
    Step,
    StepCall,
    Stop,
    Veto,
    step,
)

STRICT = Rule(["*"], "strict")


@step
async def same(text: str) -> str:
    return text


def agreed(folder: Path) -> bool:
    return verify_log(folder / "log", Trust(key=key_of("flujo.local/audit", SIGNER))).intact


def asked() -> Agent[None, str]:
    """An agent whose tool wants another try once."""
    made: Agent[None, str] = Agent(TestModel(custom_output_text="Yes."), retries=2)
    tries: list[str] = []

    @made.tool_plain
    def look_up(name: str) -> str:
        tries.append(name)
        if len(tries) == 1:
            raise ModelRetry("again")
        return name

    return made


def everything() -> Any:
    """A pipeline in which nearly everything happens that can."""
    tried: list[str] = []

    @step(retry=Retry(attempts=2, backoff=0), labels=Labels(clears=["phi"]))
    async def flaky(text: str) -> str:
        tried.append(text)
        if len(tried) == 1:
            raise ValueError(text)
        return text

    @step
    async def words(text: str) -> list[str]:
        return [text, f"{text}!"]

    @step
    async def join(found: list[str]) -> str:
        return found[0]

    @step
    async def left(found: dict[str, str]) -> str:
        return found["left"]

    @step
    async def change(text: str) -> PipelineMutation[str]:
        return PipelineMutation(text, remove=["gone"])

    @step
    async def tune(text: str) -> Reconfigure[str]:
        return Reconfigure(text, target="ask", instructions="Be short.")

    @step
    async def wrong(text: str) -> PipelineMutation[str]:
        return PipelineMutation(text, remove=["nobody"])

    @step
    async def gone(text: str) -> str:
        return text

    def once(text: str) -> bool:
        return True

    def which(text: str) -> str:
        return "a"

    return (
        flaky
        >> words
        >> Map("each", same)
        >> join
        >> Parallel("both", left=same, right=same)
        >> left
        >> Loop("rounds", same, until=once, max_iterations=2)
        >> Branch("which", on=which).case("a", same).default(same)
        >> change
        >> gone
        >> tune
        >> wrong
        >> Step.agent("ask", asked(), allow_reconfigure=Reconfigurable(instructions=True))
        >> HumanInput("approve", str, ask="Send it?", approvers=["ops", "cfo"], quorum=2)
    )


async def paused_and_answered(folder: Path) -> None:
    """The whole pipeline, asked in one ``Flujo`` and answered in another, which has two votes."""
    store, budgets = f"sqlite:///{folder}/runs.db", [Budget(requests=9)]

    def made() -> Flujo[Any, Any, Any]:
        return Flujo(everything(), plugins=[AuditPlugin(recording(folder, STRICT))], store=store, budgets=budgets)

    async with made() as flujo:
        assert (await flujo.run_async("x", run_id="whole")).status == "paused"
    async with made() as flujo:
        await flujo.resume_async("whole", "yes", approver="ops")
        assert (await flujo.resume_async("whole", "yes", approver="cfo")).output == "yes"


UNUSUAL = {
    "segment.restarted", "question.lapsed", "question.withdrawn", "token.reissued", "node.failed", "model.failed",
    "item.taken", "budget.refused", "step.failed",
}  # fmt: skip
"""What does not happen in the pipeline that has the most."""


def test_whatever_happens_in_a_run_is_on_record_once_and_in_order(tmp_path: Path) -> None:
    asyncio.run(paused_and_answered(tmp_path))
    found = recorded(tmp_path)
    kinds = Counter(one["kind"] for one in found)
    assert KINDS - {*kinds} == UNUSUAL
    told = [one["sequence"] for one in found if "sequence" in one]
    assert told == sorted(set(told)) and told[0] == 1
    started = Counter(one["address"] for one in found if one["kind"] == "step.started")
    completed = Counter(one["address"] for one in found if one["kind"] == "step.completed")
    assert {*completed.values()} == {1} and {*started} == {*completed} and {*started.values()} <= {1, 2}
    for address in completed:
        order = [one["kind"] for one in found if one.get("address") == address and one["kind"].startswith("step.")]
        assert order[0] == "step.started" and order[-1] == "step.completed"
    assert kinds["model.requested"] == kinds["model.answered"] == 3
    assert (kinds["tool.called"], kinds["tool.failed"], kinds["tool.returned"]) == (2, 1, 1)
    assert kinds["vote.cast"] == kinds["question.answered"] == 1
    assert kinds["pipeline.mutated"] == kinds["agent.reconfigured"] == kinds["change.refused"] == 1
    assert agreed(tmp_path)


class Refuses(Plugin):
    """Refuses, stops or denies, where it is told to."""

    name = "refuses"

    def __init__(self, how: str) -> None:
        self._how = how

    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        return Decision.deny("not yours") if self._how == "deny" else None

    async def on_pipeline_start(self, start: RunStart, /) -> Stop | None:
        if self._how == "veto the run":
            raise Veto("not this one")
        return Stop("enough") if self._how == "stop the run" else None

    async def pre_step_execution(self, call: StepCall, /) -> Stop | None:
        if self._how == "veto the step":
            raise Veto("not this one")
        return Stop("enough") if self._how == "stop the step" else None


@pytest.mark.parametrize("how", ["deny", "veto the run", "stop the run", "veto the step", "stop the step"])
def test_what_a_hook_decides_is_on_record_and_what_it_kept_from_beginning_is_not(tmp_path: Path, how: str) -> None:
    async def main() -> None:
        async with Flujo(same, plugins=[AuditPlugin(recording(tmp_path, STRICT)), Refuses(how)]) as flujo:
            if how.startswith("stop"):
                assert (await flujo.run_async("x", run_id="r1")).status == "stopped"
            else:
                with pytest.raises(RunRefused):
                    await flujo.run_async("x", run_id="r1")

    asyncio.run(main())
    found = [one for one in recorded(tmp_path) if one.get("run") == "r1"]
    assert "step.started" not in {one["kind"] for one in found}
    assert found[-1]["kind"] == "run.ended"
    if how.startswith("stop"):
        assert found[-1]["status"] == "stopped" and found[-1]["reason"]["hmac"]
    else:
        assert found[-1]["status"] == "refused" and "plugin 'refuses' refused" in found[-1]["error"]["message"]
    assert agreed(tmp_path)


def test_a_request_that_a_budget_refuses_was_never_on_record_as_sent(tmp_path: Path) -> None:
    ask = Step.agent("ask", Agent(TestModel(custom_output_text="Yes.")))
    with pytest.raises(BudgetExceeded):
        run(ask, "x", recording(tmp_path, STRICT), budgets=[Budget(requests=0)])
    kinds = [one["kind"] for one in recorded(tmp_path)]
    assert "budget.refused" in kinds and "step.failed" in kinds and "model.answered" not in kinds


def test_many_runs_beside_each_other_are_each_wholly_on_record(tmp_path: Path) -> None:
    pipeline = same >> Parallel("both", left=same, right=same)

    async def main() -> None:
        async with Flujo(pipeline, plugins=[AuditPlugin(recording(tmp_path, STRICT))]) as flujo:
            await asyncio.gather(*(flujo.run_async("x", run_id=f"r{number}") for number in range(30)))

    asyncio.run(main())
    counts = Counter((one["run"], one["kind"]) for one in recorded(tmp_path) if "run" in one)
    for number in range(30):
        told = [counts[f"r{number}", kind] for kind in ("run.started", "step.started", "step.completed", "run.ended")]
        assert told == [1, 3, 3, 1]
    assert agreed(tmp_path)


def test_a_run_that_is_cancelled_is_on_record_as_far_as_it_came(tmp_path: Path) -> None:
    @step
    async def waits(text: str) -> str:
        await asyncio.sleep(60)
        return text

    async def main() -> None:
        async with Flujo(same >> waits, plugins=[AuditPlugin(recording(tmp_path, STRICT))]) as flujo:
            task = asyncio.create_task(flujo.run_async("x"))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    found = [(one["kind"], one.get("address")) for one in recorded(tmp_path)]
    assert ("step.started", "waits") in found and ("step.completed", "waits") not in found
    assert agreed(tmp_path)


def test_what_streams_is_on_record_before_its_first_piece_and_none_of_its_pieces_are(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    agent = Agent(TestModel(custom_output_text="Novakova came in the morning"))

    async def main() -> None:
        flujo = Flujo(Step.agent("ask", agent).streaming(), plugins=[AuditPlugin(recording(tmp_path))])
        async with flujo.stream("x") as going:
            async for event in going:
                if isinstance(event, Chunk):
                    seen.append({one["kind"] for one in recorded(tmp_path)})
        assert going.result.output == "Novakova came in the morning"

    asyncio.run(main())
    assert len(seen) > 1 and {"step.started", "model.requested"} <= seen[0]
    held = bytes_of(tmp_path)
    assert not [word for word in (b"Novakova", b"morning") if word in held] and b'"model.answered"' in held
    assert agreed(tmp_path)
