"""Agents in all that a pipeline does with them, and labels wherever they stand. The models are simulated."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from flujo_deidentifier import Deidentifier, DeidentifierPlugin, Profile
from flujo_deidentifier.labelled import labelled_in, relabelled, written
from pipeline_kit import ALONE, KEY, Model, done, engine, kept_in
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from flujo_core import (
    AgentReply,
    ContextualAgentFactory,
    Flujo,
    From,
    Label,
    Loop,
    Map,
    Parallel,
    PipelineContext,
    PipelineMutation,
    Plugin,
    Reconfigurable,
    Reconfigure,
    Registry,
    RunFailed,
    RunInfo,
    Step,
    step,
)


def run(path: Path, node: Any, given: Any, *, runs: int = 1, plugin: Any = None, **options: Any) -> list[Any]:
    """The results of some runs, one after another: ``chat/0``, ``chat/1`` and so on, about john."""
    others = options.pop("plugins", [])

    async def main() -> list[Any]:
        plugins = [plugin or DeidentifierPlugin(engine(path)), *others]
        async with Flujo(node, plugins=plugins, settings=ALONE, **options) as flujo:
            return [await flujo.run_async(given, run_id=f"chat/{number}", subject="john") for number in range(runs)]

    return done(main())


def tokens(texts: list[str]) -> set[str]:
    return {one for text in texts for one in re.findall(r"\[[A-Z]+-[a-z2-7]{12}\]", text)}


# ------------------------------------------------------------------------------------------------------------ sessions


@pytest.mark.parametrize(
    ("session", "count"), [("run", 2), ("subject", 1), (lambda run_id: run_id.partition("/")[0], 1)]
)
def test_a_value_has_one_token_in_a_session(session: Any, count: int, tmp_path: Path) -> None:
    model = Model()
    plugin = DeidentifierPlugin(engine(tmp_path), session=session)
    results = run(tmp_path, Step.agent("ask", model.agent()), "I am John Smith.", runs=2, plugin=plugin)
    assert [one.output for one in results] == ["It says: I am John Smith."] * 2
    assert len(tokens(model.prompts)) == count
    assert not model.saw("Smith")


def test_what_a_model_said_in_another_run_of_the_conversation_is_understood(tmp_path: Path) -> None:
    model = Model(says=lambda text: text)
    made = engine(tmp_path)
    plugin = DeidentifierPlugin(made, session=lambda run_id: run_id.partition("/")[0])
    run(tmp_path, Step.agent("ask", model.agent()), "I am John Smith.", plugin=plugin)
    (token,) = tokens(model.prompts)
    (result,) = run(tmp_path, Step.agent("ask", model.agent()), f"Before: {token}", plugin=plugin)
    assert result.output == "Before: John Smith"


def test_a_subject_that_nobody_has_named_makes_the_session_of_the_run(tmp_path: Path) -> None:
    model = Model()

    async def main() -> None:
        plugin = DeidentifierPlugin(engine(tmp_path), session="subject")
        async with Flujo(Step.agent("ask", model.agent()), plugins=[plugin], settings=ALONE) as flujo:
            for _ in range(2):
                await flujo.run_async("I am John Smith.")

    done(main())
    assert len(tokens(model.prompts)) == 2


# --------------------------------------------------------------------------------------------------------------- nodes


def test_branches_and_items_side_by_side_have_one_token_for_one_value(tmp_path: Path) -> None:
    model = Model()
    both = Parallel("both", a=Step.agent("a", model.agent()), b=Step.agent("b", model.agent()))
    many = Map("many", Step.agent("each", model.agent()), max_concurrency=8)
    run(tmp_path, both, "I am John Smith.")
    assert len(model.prompts) == 2
    assert len(tokens(model.prompts)) == 1
    model.prompts.clear()
    (result,) = run(tmp_path, many, ["I am Mary Jones."] * 20)
    assert result.output == ["It says: I am Mary Jones."] * 20
    assert len(tokens(model.prompts)) == 1
    assert not model.saw("Smith", "Jones")


def test_a_loop_asks_again_with_the_same_token(tmp_path: Path) -> None:
    model = Model(says=lambda text: f"{text}!")
    again = Loop("again", Step.agent("ask", model.agent()), until=lambda text: text.endswith("!!!"), max_iterations=5)
    (result,) = run(tmp_path, again, "I am John Smith.")
    assert result.output == "I am John Smith.!!!"
    assert len(tokens(model.prompts)) == 1
    assert not model.saw("Smith")


def test_an_agent_that_a_run_adds_is_masked_too(tmp_path: Path) -> None:
    model = Model()

    class Acme(Plugin):
        name = "acme"

        def register_steps(self, registry: Registry[Any], /) -> None:
            registry.add("extra", Step.agent("extra", model.agent()))

    @step
    async def plan(text: str) -> str | PipelineMutation[str]:
        return PipelineMutation(text, insert_after={"plan": ["acme/extra"]})

    @step
    async def last(text: str) -> str:
        return text

    (result,) = run(tmp_path, plan >> last, "I am John Smith.", plugins=[Acme()])
    assert result.output == "It says: I am John Smith."
    assert model.asked
    assert not model.saw("Smith")


def test_instructions_that_a_run_changes_are_masked(tmp_path: Path) -> None:
    model = Model()

    @step
    async def tune(text: str) -> str | Reconfigure[str]:
        return Reconfigure(text, target="ask", instructions="Write to Mary Jones, 212-555-0187.")

    ask = Step.agent("ask", model.agent(), allow_reconfigure=Reconfigurable(instructions=True))
    run(tmp_path, tune >> ask, "I am John Smith.")
    assert "Write to [PERSON-" in model.asked[0]
    assert not model.saw("Smith", "Jones", "0187")


def test_each_model_of_a_fallback_is_asked_with_tokens(tmp_path: Path) -> None:
    model, seen = Model(), []

    def away(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(repr(messages))
        raise ModelHTTPError(503, "simulated")

    agent = Agent(FallbackModel(FunctionModel(away), FunctionModel(model)))
    (result,) = run(tmp_path, Step.agent("ask", agent), "I am John Smith.")
    assert result.output == "It says: I am John Smith."
    assert seen
    assert "Smith" not in seen[0] + model.asked[0]


def test_an_agent_that_is_built_for_the_run_is_masked(tmp_path: Path) -> None:
    model = Model()

    def build(text: str, *, info: RunInfo) -> Agent[None, str]:
        return model.agent(instructions=f"This is about: {text}")

    (result,) = run(tmp_path, Step.agent("ask", ContextualAgentFactory(build), input=str), "I am John Smith.")
    assert result.output == "It says: I am John Smith."
    assert not model.saw("Smith")


class Other:
    """An agent of another library, which nobody masks."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        self.asked.append(input)
        return AgentReply(f"It says: {input}")


def test_agents_of_other_libraries_are_given_tokens_unless_they_are_trusted(tmp_path: Path) -> None:
    other, trusted, made = Other(), Other(), engine(tmp_path)
    node = Step.agent("ask", other) >> Step.agent("tell", trusted)
    plugin = DeidentifierPlugin(made, trusted=["tell"])
    (result,) = run(tmp_path, node, "I am John Smith.", plugin=plugin)
    assert result.output == "It says: It says: I am John Smith."
    assert "Smith" not in other.asked[0]
    assert "John Smith" in trusted.asked[0]


class Form(BaseModel):
    name: str
    account: int = 7
    day: Annotated[date | None, Label("phi")] = None
    code: Annotated[str, Label("phi")] = "green seven"
    lines: list[str] = []


class Filing:
    """An agent of another library that takes a form, and gives it back."""

    def __init__(self) -> None:
        self.asked: list[Form] = []

    async def run(self, input: Form, /, *, info: RunInfo) -> AgentReply[Form]:
        self.asked.append(input)
        return AgentReply(input)


def test_forms_that_agents_of_other_libraries_take_are_masked_or_the_step_fails(tmp_path: Path) -> None:
    filing = Filing()
    form = Form(name="John Smith", lines=["plain words, green seven", "SSN 536-22-8726"])
    (result,) = run(tmp_path, Step.agent("file", filing), form)
    assert result.output == form
    assert "plain words" in repr(filing.asked)
    assert not [one for one in ("John", "green seven", "536-22") if one in repr(filing.asked)]
    for wrong in (Form(name="x", account=4111111111111111), Form(name="x", day=date(1961, 4, 3))):
        with pytest.raises(RunFailed, match="raised ModelGuarded in 'pre_step_execution' at step 'file'"):
            run(tmp_path, Step.agent("file", filing), wrong)
    assert len(filing.asked) == 1


def test_two_agents_of_one_name_are_each_treated_as_what_they_are(tmp_path: Path) -> None:
    other, model = Other(), Model()
    both = Parallel(
        "both", a=Step.agent("a", model.agent()) >> Step.agent("ask", other), b=Step.agent("ask", model.agent())
    )
    (result,) = run(tmp_path, both, "I am John Smith.")
    assert result.output == {"a": "It says: It says: I am John Smith.", "b": "It says: I am John Smith."}
    assert not model.saw("Smith")
    assert "Smith" not in other.asked[0]


def test_arguments_of_a_tool_that_come_in_pieces_are_restored_for_those_that_may_have_them(tmp_path: Path) -> None:
    asked: list[str] = []
    given: dict[str, str] = {}

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        asked.append(repr(messages))
        if len(asked) > 1:
            yield "Done."
            return
        token = str(messages[-1].parts[-1].content).split(" to ")[1]  # type: ignore[union-attr]
        for number, name in enumerate(["mail", "web"]):
            yield {number: DeltaToolCall(name, "", tool_call_id=f"c{number}")}
            for piece in f'{{"to": "{token}"}}':
                yield {number: DeltaToolCall(json_args=piece)}

    agent = Agent(FunctionModel(stream_function=stream))

    @agent.tool_plain
    def mail(to: str) -> str:
        given["mail"] = to
        return "sent to John Smith"

    @agent.tool_plain
    def web(to: str) -> str:
        given["web"] = to
        return "found Mary Jones"

    async def main() -> Any:
        plugin = DeidentifierPlugin(engine(tmp_path), tools=["mail"])
        async with Flujo(Step.agent("ask", agent, input=str), plugins=[plugin], settings=ALONE) as flujo:
            async with flujo.stream("Write to John Smith") as going:
                async for _ in going:
                    pass
            return going.result

    assert done(main()).output == "Done."
    assert given["mail"] == "John Smith"
    assert given["web"].startswith("[PERSON-")
    assert not [name for name in ("Smith", "Jones") if name in "".join(asked)]


# -------------------------------------------------------------------------------------------------------------- labels


class Ward(Enum):
    QUIET = "quiet blue"


class Bed(BaseModel):
    code: Annotated[str, Label("phi")]


@dataclass
class Visit:
    room: Annotated[int, Label("phi")]
    plain: str = "plain words"


class Patient(BaseModel):
    code: Annotated[str, Label("phi")] = "green seven"
    number: Annotated[int, Label("phi")] = 4711
    weight: Annotated[float, Label("phi")] = 81.25
    day: Annotated[date, Label("phi")] = date(1961, 4, 3)
    smoker: Annotated[bool, Label("phi")] = True
    ward: Annotated[Ward, Label("phi")] = Ward.QUIET
    beds: list[Bed] = [Bed(code="bed of tin")]
    by: dict[Annotated[str, Label("phi")], str] = {"uncle fox": "kind"}
    words: Annotated[list[str], Label("phi")] = ["warm rain"]
    visit: Visit = Visit(5309)
    anything: Any = Bed(code="old moon")
    none: Annotated[str | None, Label("phi")] = None
    plain: str = "plain words"


SECRETS = (
    "green seven", "4711", "81.25", "1961-04-03", "True", "quiet blue", "bed of tin", "uncle fox", "warm rain", "5309",
    "old moon",
)  # fmt: skip


def test_all_that_is_labelled_is_found_in_a_value() -> None:
    found = [text for one, _ in labelled_in(Patient()) for text in written(one)]
    assert {*SECRETS} <= {*found}
    assert "plain words" not in found
    assert labelled_in(["a", 1, {"b": None}]) == []
    unchanged = Patient()
    assert relabelled(unchanged, lambda one, _: one) is unchanged
    assert relabelled([unchanged], lambda one, _: "x" if one == "green seven" else one)[0].code == "x"
    assert relabelled((Visit(1), 2), lambda one, _: one + 1) == (Visit(2), 2)
    assert written(None) == []
    assert written(object())


SHOWN = "{{ input.code }} {{ input.number }} {{ input.weight }} {{ input.day }} {{ input.smoker }} {{ input.plain }}"


def test_labelled_numbers_dates_and_what_is_nested_go_to_no_model(tmp_path: Path) -> None:
    model = Model()
    for prompt in (SHOWN, "{{ input }}"):
        ask = Step.agent("ask", model.agent(), input=Patient, prompt=prompt)
        (result,) = run(tmp_path, ask, Patient(), plugin=DeidentifierPlugin(engine(tmp_path)))
        assert "green seven" in result.output
        assert "plain words" in model.prompts[-1]
    assert [one for one in SECRETS if any(one in text for text in model.prompts)] == []


def test_what_another_step_gave_and_the_context_are_masked_where_they_are_labelled(tmp_path: Path) -> None:
    model = Model()

    class State(PipelineContext):
        room: Annotated[str, Label("phi")] = "red door"

    @step
    async def read(text: str) -> Patient:
        return Patient()

    @step
    async def plain(patient: Patient) -> str:
        return "now"

    @step
    async def tell(text: str, context: State, *, patient: Annotated[Patient, From("read")]) -> str:
        return f"{text}: {patient.code} {patient.number}, {context.room}"

    ask = Step.agent("ask", model.agent(), input=str, prompt="{{ input }} {{ read.code }} {{ read.beds }}")
    (result,) = run(tmp_path, read >> plain >> tell >> ask, "go", context=State)
    assert "green seven" in result.output
    assert not [one for one in ("green seven", "4711", "red door", "bed of tin") if one in model.prompts[0]]


def test_what_the_input_of_a_run_is_labelled_with_is_masked_in_what_tools_give(tmp_path: Path) -> None:
    model = Model(ToolCallPart("look", {}, "c1"))
    agent = model.agent()

    @agent.tool_plain
    def look() -> dict[str, Any]:
        return {"uncle fox": [4711, "Warm Rain", None, True], "plain": "words"}

    @step
    async def ask_for(patient: Patient) -> str:
        return "Look."

    run(tmp_path, ask_for >> Step.agent("ask", agent), Patient())
    assert not model.saw("uncle fox", "4711", "Warm Rain")
    assert "words" in model.prompts[0]


# ----------------------------------------------------------------------------------------------------- other processes

PROGRAM = """
import asyncio, sys
from flujo_core import Flujo, HumanInput, Step
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel

def answer(messages, info):
    with open("asked.txt", "a") as file:
        file.write(repr(messages) + "\\n")
    return ModelResponse([TextPart("It says: " + messages[-1].parts[-1].content)])

def agent(name):
    return Step.agent(name, Agent(FunctionModel(answer)), input=str)

pipeline = agent("first") >> HumanInput("confirm", str, ask="Send this? {{ input }}") >> agent("last")

async def main():
    async with Flujo(pipeline, store="sqlite:///runs.db") as flujo:
        if sys.argv[1] == "begin":
            print((await flujo.run_async("I am John Smith.", run_id="a", subject="john")).questions[0].text)
        else:
            print((await flujo.resume_async("a", "Ask John Smith and Mary Jones.")).output)

if __name__ == "__main__":
    asyncio.run(main())
"""
TABLE = """
[plugins]
allow = ["flujo-deidentifier"]
[plugins.flujo-deidentifier]
vault = "vault.db"
detectors = ["patterns", "lists"]
"""


def test_a_configured_deployment_pauses_resumes_shows_and_erases_in_processes_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "flujo.toml").write_text(TABLE)
    (tmp_path / "program.py").write_text(PROGRAM)

    def ran(*words: str) -> str:
        environ = {**os.environ, "FLUJO_DEIDENTIFIER_KEY": base64.b64encode(KEY).decode()}
        asked = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert asked.returncode == 0, asked.stderr
        return asked.stdout

    def flujo(*words: str) -> str:
        return ran("-c", "from flujo_core.cli import main; main()", *words, "--store", "sqlite:///runs.db")

    assert ran("program.py", "begin") == "Send this? It says: I am John Smith.\n"
    assert "John Smith" in flujo("runs", "pending")
    assert ran("program.py", "end") == "It says: Ask John Smith and Mary Jones.\n"
    prompts = (tmp_path / "asked.txt").read_text().splitlines()
    assert len(prompts) == 2
    assert len(tokens(prompts)) == 2, "John Smith has one token in both processes"
    assert not [name for name in (b"Smith", b"Jones") if name in kept_in(tmp_path)
                .replace((tmp_path / "program.py").read_bytes(), b"")]  # fmt: skip
    assert "John Smith" in flujo("runs", "show", "a", "--values")
    assert "a" in flujo("runs", "erase", "john")
    made = Deidentifier(Profile("all"), key=KEY, vault=engine(tmp_path).vault._store)
    for token in tokens(prompts):
        assert made.restore(token, session="a") == token


def test_the_loop_of_events_goes_on_while_texts_are_masked(tmp_path: Path) -> None:
    model, ticks = Model(), []

    async def main() -> None:
        async def tick() -> None:
            while True:
                ticks.append(1)
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        plugin = DeidentifierPlugin(engine(tmp_path))
        async with Flujo(Step.agent("ask", model.agent()), plugins=[plugin], settings=ALONE) as flujo:
            await flujo.run_async("I am John Smith. " * 200)
        ticking.cancel()

    done(main())
    assert len(ticks) > 3
    assert len(tokens(model.prompts)) == 1
