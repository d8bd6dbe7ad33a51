"""Agents behind the plugin: their models see tokens, and steps give values; what goes wrong stops the run first."""

import asyncio
import base64
import logging
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import Annotated, Any

import pytest
from flujo_deidentifier import (
    Deidentifier,
    DeidentifierPlugin,
    DeidentifyingCodec,
    Profile,
    Span,
    SqliteVaultStore,
    deidentify_step,
    reidentify_step,
)
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelRetry
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import Chunk, Flujo, HumanInput, Label, Parallel, PluginError, Retry, RunFailed, Step, step

KEY = b"k" * 32
CANARIES = {
    "names": "John Smith", "geography": "742 Evergreen Terrace", "dates": "03/04/1961", "phones": "212-555-0187",
    "fax": "212-555-0199", "email": "canary.smith@example.com", "ssn": "536-22-8726", "record": "MRN 4837261",
    "plan": "Member ID: XGH928374651", "account": "Account number: 8273645190", "licence": "License number: D8374651",
    "vehicle": "VIN 1HGCM82633A004352", "device": "Serial number: SN-88374-AX", "url": "https://canary.example.com/p/17",
    "ip": "203.0.113.77", "biometric": "Fingerprint ID: FP-99887766", "photo": "Photo ID: PH-55667788",
    "other": "Passport number: X12345678",
}  # fmt: skip
TEXT = "".join(f"{value}. " for value in CANARIES.values())


@pytest.fixture(autouse=True)
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins of these tests are the instances that they give."""
    monkeypatch.setenv("FLUJO_DISABLE", "flujo-deidentifier")


class Model:
    """A model that keeps what it was asked, and says it again."""

    def __init__(self, *calls: ToolCallPart) -> None:
        self.asked: list[str] = []
        self._calls = calls

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.asked.append(repr(messages) + repr(info))
        last = messages[-1].parts[-1]
        if self._calls and not isinstance(last, ToolReturnPart | RetryPromptPart):
            return ModelResponse([*self._calls])
        return ModelResponse([TextPart(f"It says: {last.content}")])


def engine(path: Path | None = None, **options: Any) -> Deidentifier:
    vault = None if path is None else SqliteVaultStore(path / "vault.db")
    options = {"key": KEY, "detectors": ["patterns", "lists"], "vault": vault} | options
    return Deidentifier(options.pop("profile", Profile("all")), **options)


def run(pipeline: Any, given: Any, plugin: DeidentifierPlugin, **options: Any) -> Any:
    async def main() -> Any:
        async with Flujo(pipeline, plugins=[plugin], **options) as flujo:
            return await flujo.run_async(given)

    return asyncio.run(main())


def test_canaries_of_all_classes_reach_no_model_journal_log_or_pickle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model, made = Model(), engine(tmp_path)
    found = [value for value in CANARIES.values() if not made.find(value)]
    assert not found
    pipeline = Step.agent("ask", Agent(FunctionModel(model)))
    store = f"sqlite:///{tmp_path}/runs.db"
    result = run(pipeline, TEXT, DeidentifierPlugin(made), store=store, codecs=[DeidentifyingCodec(made)])
    assert result.output == f"It says: {TEXT}"
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("latin-1")
    seen = [*model.asked, kept, caplog.text, repr(made), repr(made.vault), repr(made.find(TEXT)), repr(result)]
    seen.append(pickle.dumps([made.find(TEXT), made.explain(TEXT)]).decode("latin-1"))
    for value in CANARIES.values():
        secret = value.rpartition(" ")[2] if ":" in value[2:-2] or value.startswith(("MRN", "VIN")) else value
        assert [at for at, text in enumerate(seen) if secret in text] == []


def test_only_tools_that_are_allowed_are_given_values_and_results_are_masked() -> None:
    made, given = engine(), {}
    token = made.deidentify("John Smith", session="one")
    model = Model(ToolCallPart("mail", {"to": token}, "c1"), ToolCallPart("web", {"to": token}, "c2"))
    agent = Agent(FunctionModel(model))

    @agent.tool_plain
    def mail(to: str) -> dict[str, str]:
        given["mail"] = to
        return {"ssn": "536-22-8726"}

    @agent.tool_plain
    def web(to: str) -> str:
        given["web"] = to
        return "Mary Jones was there"

    plugin = DeidentifierPlugin(made, tools=["mail"], session=lambda _: "one")
    result = run(Step.agent("ask", agent), "Write to John Smith.", plugin)
    assert given == {"mail": "John Smith", "web": token}
    assert result.output == "It says: Mary Jones was there"
    assert not any(one in text for text in model.asked for one in ("Smith", "Jones", "536-22"))


def test_what_a_tool_says_in_a_retry_is_masked() -> None:
    model = Model(ToolCallPart("mail", {}, "c1"))
    agent = Agent(FunctionModel(model))

    @agent.tool_plain
    def mail() -> str:
        raise ModelRetry("ask John Smith")

    run(Step.agent("ask", agent), "Hello.", DeidentifierPlugin(engine()))
    assert len(model.asked) == 2
    assert "Smith" not in "".join(model.asked)


class Letter(BaseModel):
    code: Annotated[str, Label("phi")]
    text: str


def test_labelled_fields_are_tokens_whatever_the_detectors_say() -> None:
    model = Model()
    pipeline = Step.agent("ask", Agent(FunctionModel(model)), input=Letter, prompt="{{ input.code }}: {{ input.text }}")
    result = run(pipeline, Letter(code="quiet blue", text="plain words"), DeidentifierPlugin(engine()))
    assert result.output == "It says: quiet blue: plain words"
    assert "quiet blue" not in model.asked[0]
    assert "plain words" in model.asked[0]


class Found(BaseModel):
    who: str
    email: str


def test_outputs_with_a_form_have_values() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        who, email = str(messages[-1].parts[-1].content).split(" at ")  # type: ignore[union-attr]
        return ModelResponse([ToolCallPart(info.output_tools[0].name, {"who": who, "email": email})])

    agent = Agent(FunctionModel(answer), output_type=Found)
    result = run(Step.agent("ask", agent), "John Smith at ann@example.org", DeidentifierPlugin(engine()))
    assert result.output == Found(who="John Smith", email="ann@example.org")


def test_parallel_agents_and_instructions_are_masked() -> None:
    model = Model()
    agent = Agent(FunctionModel(model), instructions="Ask Mary Jones.", system_prompt="Call 212-555-0187.")
    both = Parallel("both", a=Step.agent("a", agent), b=Step.agent("b", agent))
    result = run(both, "I am John Smith.", DeidentifierPlugin(engine()))
    assert result.output == {name: "It says: I am John Smith." for name in ("a", "b")}
    assert not any(one in text for text in model.asked for one in ("Smith", "Jones", "0187"))


class Broken:
    """A detector that is broken."""

    name = "broken"

    def __init__(self, how: str) -> None:
        self._how = how

    def detect(self, text: str, /) -> Sequence[Span]:
        if self._how == "hangs":
            sleep(5)
        raise ValueError(text)


@pytest.mark.parametrize("fault", ["raises", "hangs", "key", "vault", "image"])
def test_the_model_is_not_called_when_anything_fails(fault: str, tmp_path: Path) -> None:
    model, options = Model(), {}
    if fault in ("raises", "hangs"):
        options = {"detectors": ["patterns", Broken(fault)], "timeout": 0.2}
    elif fault == "key":
        options = {"key": lambda: b""}
    elif fault == "vault":
        (tmp_path / "vault.db").write_bytes(b"no database" * 1000)
    agent = Agent(FunctionModel(model))
    if fault == "image":
        picture = BinaryContent(base64.b64decode("aGVsbG8="), media_type="image/png")
        agent.system_prompt(lambda: "x")
        model_ = Model(ToolCallPart("look", {}, "c1"))
        agent = Agent(FunctionModel(model_))

        @agent.tool_plain
        def look() -> BinaryContent:
            return picture

        with pytest.raises(RunFailed, match="cannot be looked into"):
            run(Step.agent("ask", agent), "Hello.", DeidentifierPlugin(engine()))
        assert len(model_.asked) == 1
        return
    with pytest.raises(PluginError if fault == "key" else RunFailed) as failed:  # without a key nothing begins
        run(Step.agent("ask", agent), "SSN 536-22-8726", DeidentifierPlugin(engine(tmp_path, **options)))
    assert model.asked == []
    assert "536-22" not in str(failed.value)


def test_the_gate_refuses_what_was_added_behind_the_masking() -> None:
    from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering  # noqa: PLC0415
    from pydantic_ai.models import ModelRequestContext  # noqa: PLC0415

    class Late(AbstractCapability[Any]):
        def get_ordering(self) -> CapabilityOrdering:
            return CapabilityOrdering(position="innermost")

        async def before_model_request(self, ctx: Any, request_context: ModelRequestContext) -> ModelRequestContext:
            request_context.messages[-1].parts[-1].content = "SSN 536-22-8726"  # type: ignore[union-attr]
            return request_context

    model = Model()
    with pytest.raises(RunFailed, match="would go to the model") as failed:
        run(Step.agent("ask", Agent(FunctionModel(model), capabilities=[Late()])), "Hi.", DeidentifierPlugin(engine()))
    assert model.asked == []
    assert "536-22" not in str(failed.value)


def test_steps_turn_texts_into_tokens_and_back() -> None:
    made, seen = engine(), []

    @step
    async def outside(text: str) -> str:
        seen.append(text)
        return text

    pipeline = deidentify_step(made) >> outside >> reidentify_step(made)
    assert Flujo(pipeline).run("I am John Smith.").output == "I am John Smith."
    assert "Smith" not in seen[0]


def test_without_a_deidentifier_it_does_nothing_to_runs() -> None:
    model = Model()
    run(Step.agent("ask", Agent(FunctionModel(model))), "I am John Smith.", DeidentifierPlugin())
    assert "John Smith" in model.asked[0]


@pytest.mark.parametrize("surrogates", [False, True])
@pytest.mark.parametrize(
    "alter", [str.lower, lambda said: said.replace("PERSON", "NAME"), lambda said: re.sub(r"([][])", r"\\\1", said)]
)
def test_what_a_model_did_to_tokens_is_undone_in_what_a_step_gives(alter: Any, surrogates: bool) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([TextPart(f"Hello {alter(str(messages[-1].parts[-1].content))}!")])  # type: ignore[union-attr]

    profile = Profile("all", actions={"EMAIL": "surrogate"} if surrogates else {})  # type: ignore[dict-item]
    result = run(
        Step.agent("ask", Agent(FunctionModel(answer))), "John Smith", DeidentifierPlugin(engine(profile=profile))
    )
    assert result.output == "Hello John Smith!"


def test_made_up_values_stay_the_same_over_turns_and_retries_and_come_back_in_pieces() -> None:
    asked: list[str] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(" ".join(str(part.content) for one in messages for part in one.parts if hasattr(part, "content")))
        if len(asked) == 1:
            return ModelResponse([ToolCallPart("look", {"who": asked[0]}, "c1")])
        return ModelResponse([TextPart(f"Seen: {asked[0]}")])

    agent = Agent(FunctionModel(answer))

    @agent.tool_plain
    def look(who: str) -> str:
        return f"{who} was there"

    made = engine(profile=Profile("made", default="surrogate"))  # type: ignore[arg-type]
    result = run(Step.agent("ask", agent), "John Smith", DeidentifierPlugin(made))
    assert result.output == "Seen: John Smith"
    assert "[" not in asked[0]
    assert asked[1] == f"{asked[0]} {asked[0]} was there"


def test_a_streamed_answer_is_restored_in_pieces() -> None:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> Any:
        said = str(messages[-1].parts[-1].content)  # type: ignore[union-attr]
        for one in f"It says: {said}":
            yield one

    async def main() -> tuple[list[str], Any]:
        pipeline = Step.agent("ask", Agent(FunctionModel(stream_function=stream)))
        async with Flujo(pipeline, plugins=[DeidentifierPlugin(engine())]) as flujo:
            async with flujo.stream("I am John Smith, SSN 536-22-8726.") as going:
                texts = [event.text async for event in going if isinstance(event, Chunk)]
            return texts, going.result

    texts, result = asyncio.run(main())
    assert "".join(texts) == result.output == "It says: I am John Smith, SSN 536-22-8726."
    assert len(texts) > 5


def test_a_paused_run_goes_on_with_another_flujo_and_vault_handle(tmp_path: Path) -> None:
    def flujo(model: Model) -> Any:
        made = engine(tmp_path)
        first = Step.agent("first", Agent(FunctionModel(model)))
        approve = HumanInput("approve", str, ask="Send this?\n\n{{ input }}")
        last = Step.agent("last", Agent(FunctionModel(model)))
        return Flujo(
            first >> approve >> last, store=f"sqlite:///{tmp_path}/runs.db", plugins=[DeidentifierPlugin(made)],
            codecs=[DeidentifyingCodec(made)],
        )  # fmt: skip

    async def begin(model: Model) -> Any:
        async with flujo(model) as begun:
            return await begun.run_async("I am John Smith.")

    async def end(model: Model, run_id: str) -> Any:
        async with flujo(model) as again:
            return await again.resume_async(run_id, "Tell Mary Jones.")

    models = Model(), Model()
    paused = asyncio.run(begin(models[0]))
    assert "John Smith" in paused.questions[0].text
    assert asyncio.run(end(models[1], paused.run_id)).output == "It says: Tell Mary Jones."
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(one in kept for one in (b"Smith", b"Jones"))
    assert not any(one in text for model in models for text in model.asked for one in ("Smith", "Jones"))


def test_a_retry_asks_with_the_same_tokens() -> None:
    asked: list[str] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(str(messages[0].parts[-1].content))  # type: ignore[union-attr]
        if len(asked) == 1:
            raise ModelHTTPError(503, "simulated")
        return ModelResponse([TextPart("done")])

    ask = Step.agent("ask", Agent(FunctionModel(answer)), retry=Retry(attempts=2, backoff=0))
    run(ask, "I am John Smith.", DeidentifierPlugin(engine()))
    assert asked[0] == asked[1]
    assert "Smith" not in asked[0]
