"""A pipeline as a tool: each call of it is a run, which a kill does not lose or repeat. Models are simulated."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from agent_calls import Script, calling
from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import ToolReturnPart

from flujo_core import (
    DefinitionError,
    Flujo,
    HumanInput,
    MemoryStore,
    PipelineContext,
    Plugin,
    RunFailed,
    Step,
    StepCall,
    StepResult,
    step,
)


class Order(BaseModel):
    number: str
    lines: int = 1


class Tally(PipelineContext):
    seen: int = 0


@step
async def find(order: Order, context: Tally) -> str:
    context.seen += 1
    return f"{order.number} x{order.lines}"


@step
async def shout(text: str) -> str:
    return text.upper()


@step
async def always(*, context: Tally) -> str:
    return "always"


def asking(tool: Any, arguments: dict[str, Any], store: Any = None) -> tuple[Flujo[str, Any], Script]:
    """A Flujo whose agent calls the tool once."""
    script = Script(calling((tool.name, arguments)), "Done")
    agent: Agent[Any, Any] = Agent(script.model, output_type=[str, DeferredToolRequests], tools=[tool])
    return Flujo(Step.agent("ask", agent), store=store), script


def told(script: Script) -> list[Any]:
    parts = [part for message in script.requests[-1] for part in message.parts]
    return [part.content for part in parts if isinstance(part, ToolReturnPart)]


def test_a_call_is_a_run_of_its_own_in_the_store_that_its_flujo_has() -> None:
    store = MemoryStore()
    child = Flujo(find >> shout, context=Tally, store=store)
    made = child.as_tool(name="order_text", description="Tells of an order.")
    assert (made.name, made.description) == ("order_text", "Tells of an order.")
    assert set(made.function_schema.json_schema["properties"]) == {"number", "lines"}
    flujo, script = asking(made, {"number": "a7"}, store)

    async def main() -> None:
        result = await flujo.run_async("?", run_id="r", tenant="acme")
        assert (result.output, told(script)) == ("Done", ["A7 X1"])
        runs = {one.run_id: one for one in await store.runs(tenant="acme")}
        (run_id,) = runs.keys() - {"r"}
        assert run_id.startswith("r~")
        assert (await child.resume_async(run_id)).output == "A7 X1"

    asyncio.run(main())


@pytest.mark.parametrize("store", [None, "memory://"])
def test_without_a_run_or_a_store_around_it_the_pipeline_is_run_too(store: str | None) -> None:
    made = Flujo(find >> shout, context=Tally, store=store).as_tool(name="order_text", description="")
    flujo, script = asking(made, {"number": "a7"})
    flujo.run("?")
    assert told(script) == ["A7 X1"]
    bare = Script(calling(("order_text", {"number": "b8"})), "Done")
    asyncio.run(Agent(bare.model, tools=[made]).run("?"))
    assert told(bare) == ["B8 X1"]


def test_a_pipeline_without_input_is_a_tool_without_parameters() -> None:
    made = Flujo(always, context=Tally).as_tool(name="always", description="")
    assert made.function_schema.json_schema["properties"] == {}
    flujo, script = asking(made, {})
    flujo.run("?")
    assert told(script) == ["always"]


def test_its_plugins_take_part_in_the_run_of_the_call() -> None:
    class Masks(Plugin):
        name = "masks"

        async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult | None:
            return result.replace(output="***") if call.step_name == "shout" else None

    made = Flujo(find >> shout, context=Tally, plugins=[Masks()]).as_tool(name="order_text", description="")
    flujo, script = asking(made, {"number": "a7"})
    flujo.run("?")
    assert told(script) == ["***"]


def test_a_run_that_fails_fails_the_step_of_the_agent() -> None:
    @step
    async def fail(text: str) -> str:
        raise OSError

    flujo, _ = asking(Flujo(fail).as_tool(name="fail", description=""), {"input": "a"})
    with pytest.raises(RunFailed) as caught:
        flujo.run("?")
    cause = caught.value.__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, RunFailed)


def test_a_call_waits_for_its_approval() -> None:
    made = Flujo(find >> shout, context=Tally).as_tool(name="order_text", description="", requires_approval=True)
    flujo, script = asking(made, {"number": "a7"}, "memory://")

    async def main() -> None:
        async with flujo:
            assert (await flujo.run_async("?", run_id="r")).status == "paused"
            assert (await flujo.resume_async("r", True)).output == "Done"
            assert told(script) == ["A7 X1"]

    asyncio.run(main())


def test_a_pipeline_that_asks_a_person_is_refused() -> None:
    child = Flujo(shout >> HumanInput("sure", str, ask="Sure?"))
    with pytest.raises(DefinitionError, match="asks a person at 'sure'"):
        child.as_tool(name="shout", description="")
    with pytest.raises(DefinitionError, match="models cannot call"):
        Flujo(shout).as_tool(name="shout it", description="")


def test_a_run_that_somebody_else_goes_on_with_is_waited_for() -> None:
    store, began, go_on = MemoryStore(), asyncio.Event(), asyncio.Event()
    ran: list[str] = []

    @step
    async def slow(text: str) -> str:
        ran.append(text)
        began.set()
        await go_on.wait()
        return text.upper()

    made = Flujo(slow, store=store).as_tool(name="slow", description="")

    async def main() -> None:
        first, _ = asking(made, {"input": "a"})  # without a store: the id of the call's run is the same
        second, script = asking(made, {"input": "a"})
        one = asyncio.create_task(first.run_async("?", run_id="r"))
        await began.wait()
        two = asyncio.create_task(second.run_async("?", run_id="r"))
        await asyncio.sleep(0.2)
        assert not two.done()
        go_on.set()
        await asyncio.gather(one, two)
        assert told(script) == ["A"]
        assert ran == ["a"]

    asyncio.run(main())


PROGRAM = """
    import asyncio, os, sys
    from pathlib import Path

    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    from flujo_core import Flujo, RunInfo, Step, step, tool

    folder, mode = Path(sys.argv[1]), sys.argv[2]

    def tell(what):
        with (folder / "log").open("a") as log:
            log.write(what + "\\n")

    def die(where):
        if mode == where:
            os.kill(os.getpid(), 9)

    @step
    async def first(text: str, *, info: RunInfo) -> str:
        tell("first")
        return text + "1"

    @step
    async def second(text: str, *, info: RunInfo) -> str:
        tell("second " + info.idempotency_key)
        die("in the child")
        return text + "2"

    @tool
    async def pay(amount: int, *, info: RunInfo) -> str:
        tell("pay " + info.idempotency_key)
        die("in the tool")
        return "paid"

    def answer(messages, info):
        tell("model")
        responses = sum(isinstance(one, ModelResponse) for one in messages)
        if responses == 0:
            return ModelResponse([ToolCallPart("refund", {"input": "a"}, os.urandom(4).hex())])
        if responses == 1:
            return ModelResponse([ToolCallPart("pay", {"amount": 1}, os.urandom(4).hex())])
        die("in the model")
        return ModelResponse([TextPart("Done")])

    store = f"sqlite:///{folder}/runs.db"
    refunds = Flujo(first >> second, store=store).as_tool(name="refund", description="Refunds.")
    agent = Agent(FunctionModel(answer), tools=[refunds, pay.as_tool()])

    async def main():
        async with Flujo(Step.agent("ask", agent), store=store) as flujo:
            return await flujo.run_async("?", run_id="r")

    print(asyncio.run(main()).output)
"""


@pytest.mark.parametrize(
    ("where", "again"),
    [("in the child", ["second"]), ("in the tool", ["pay"]), ("in the model", ["model"])],
)
def test_a_kill_in_a_tool_repeats_only_what_was_not_committed_and_with_the_same_key(
    where: str, again: list[str], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))

    def run(mode: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, program, tmp_path, mode], capture_output=True, text=True, timeout=120, check=False
        )

    assert run(where).returncode == -signal.SIGKILL
    began = time.monotonic()
    ended = run("to the end")
    assert (ended.stdout, ended.returncode) == ("Done\n", 0), ended.stderr
    assert time.monotonic() - began < 60
    log = (tmp_path / "log").read_text().splitlines()
    words = [line.split()[0] for line in log]
    once = ["model", "first", "second", "model", "pay", "model"]
    place = {"in the child": 3, "in the tool": 5, "in the model": 6}[where]
    assert words == [*once[:place], *again, *once[place:]]
    keyed = {line for line in log if " " in line}
    assert len(keyed) == 2, "what is repeated has the same key"
