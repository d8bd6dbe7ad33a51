"""Canaries of all 18 classes of identifiers turn up nowhere: no request, journal, vault, log, span, error or repr."""

import asyncio
import logging
import pickle
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from flujo_deidentifier import (
    Action,
    Deidentifier,
    DeidentifierPlugin,
    DeidentifyingCodec,
    MemoryVaultStore,
    Profile,
    Scope,
    Span,
    SqliteVaultStore,
    Vault,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings

from flujo_core import Flujo, RunFailed, Step

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
SECRETS = [
    value.rpartition(" ")[2] if ":" in value[2:-2] or value.startswith(("MRN", "VIN")) else value
    for value in CANARIES.values()
]
PROFILES = {"tokens": Profile("tokens"), "surrogates": Profile("surrogates", default=Action.SURROGATE)}


@pytest.fixture(autouse=True)
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins of these tests are the instances that they give."""
    monkeypatch.setenv("FLUJO_DISABLE", "flujo-deidentifier")


@pytest.fixture(params=PROFILES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deidentifier]:
    store = SqliteVaultStore(tmp_path / "vault.db")
    yield Deidentifier(PROFILES[request.param], key=KEY, vault=store, detectors=["patterns", "lists"])
    store.close()


def told_in(seen: dict[str, str]) -> list[tuple[str, str]]:
    """Where which class turned up."""
    classes = dict(zip(CANARIES, SECRETS, strict=True))
    return [(place, name) for place, text in seen.items() for name, secret in classes.items() if secret in text]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and all that it comes from."""
    known: set[int] = set()
    waiting = [error]
    while waiting:
        if (one := waiting.pop()) is not None and id(one) not in known:
            known.add(id(one))
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
            yield one


def errors_of(error: BaseException) -> str:
    """All that an error says, wherever it is asked."""
    said = [f"{one!s} {one!r} {one.args!r} {vars(one)!r}" for one in chain(error)]
    return "\n".join((*said, *traceback.format_exception(error)))


def test_each_canary_is_found(engine: Deidentifier) -> None:
    assert [name for name, value in CANARIES.items() if not engine.find(value)] == []
    assert told_in({"the text": TEXT}) == [("the text", name) for name in CANARIES]


@pytest.mark.parametrize("tools", [[], ["note"]], ids=["no tool", "a tool"])
def test_a_run_tells_no_canary_anywhere(
    engine: Deidentifier, tools: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked, exporter = [], InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(repr(messages) + repr(info))
        last = messages[-1].parts[-1]
        if not isinstance(last, ToolReturnPart):
            return ModelResponse([ToolCallPart("note", {"text": str(last.content)}, "c1")])  # type: ignore[union-attr]
        return ModelResponse([TextPart(f"It says: {last.content}")])

    settings = InstrumentationSettings(tracer_provider=provider, include_content=True)
    traced = Instrumentation(settings=settings)
    agent = Agent(FunctionModel(answer), instructions=f"Of {TEXT}", system_prompt=f"As {TEXT}", capabilities=[traced])

    @agent.tool_plain
    def note(text: str) -> str:
        assert bool(told_in({"the tool": text})) is bool(tools)
        return TEXT

    step, plugin = Step.agent("ask", agent), DeidentifierPlugin(engine, tools=tools)
    flujo = Flujo(step, store=f"sqlite:///{tmp_path}/runs.db", plugins=[plugin], codecs=[DeidentifyingCodec(engine)])

    async def main() -> Any:
        async with flujo:
            result = await flujo.run_async(TEXT)
            kept = {path.name: path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()}
            return result, kept

    result, kept = asyncio.run(main())
    assert result.output == f"It says: {TEXT}"
    assert {"runs.db", "vault.db"} <= kept.keys()
    assert any(name.endswith("-wal") for name in kept)
    spans = exporter.get_finished_spans()
    assert "It says: " in "".join(span.to_json() for span in spans)
    seen = kept | {f"request {at}": text for at, text in enumerate(asked)}
    seen |= {f"span {span.name}": span.to_json() for span in spans}
    assert told_in(seen | {"log": caplog.text, "result": repr(result)}) == []


def test_objects_tell_no_canary_and_what_holds_a_key_is_not_pickled(engine: Deidentifier) -> None:
    scope = Scope(TEXT, TEXT, TEXT)
    sent = engine.deidentify(TEXT, session="s", tenant="t", subject="u")
    stream = engine.restoring(session="s", tenant="t")
    assert engine.restore(sent, session="s", tenant="t") == TEXT
    held = stream.feed(sent[:30])
    assert held is not None
    found, told = engine.find(TEXT), engine.explain(TEXT)
    plugin, codec = DeidentifierPlugin(engine), DeidentifyingCodec(engine)
    terms = engine.profile.with_terms(allow=SECRETS, deny=dict.fromkeys(SECRETS, "PERSON"))
    (token,) = engine.vault.remember(Scope("s"), [("SSN", "536-22-8726")])
    (kept,) = engine.vault.recall(Scope("s"), [token[5:-1]]).values()
    objects = [
        terms,
        kept,
        engine,
        engine.vault,
        engine.profile,
        found,
        told,
        stream,
        plugin,
        codec,
        scope,
        MemoryVaultStore(),
    ]
    seen = {type(one).__name__: repr(one) + str(one) for one in objects}
    seen["pickle"] = pickle.dumps([found, told, engine.profile]).decode("latin-1")
    assert told_in(seen) == []
    assert KEY.decode() not in "".join(seen.values())
    for one in (engine, engine.vault, stream, plugin, codec):
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(one)


class Broken:
    """A detector that quotes what it was given when it breaks."""

    name = "broken"

    def detect(self, text: str, /) -> Sequence[Span]:
        raise ValueError(text)


class Quoting(MemoryVaultStore):
    """A store that quotes what it was given when it breaks."""

    def put(self, rows: Any, /) -> None:
        raise ValueError(f"{rows} {TEXT}")


@pytest.mark.parametrize("fault", ["detector", "store", "model", "gate", "tool"])
def test_errors_tell_no_canary(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    detectors: list[Any] = ["patterns", "lists", *([Broken()] if fault == "detector" else [])]
    store = Quoting() if fault == "store" else MemoryVaultStore()
    engine = Deidentifier(Profile("all"), key=KEY, vault=store, detectors=detectors)

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if fault == "model":
            raise RuntimeError(f"no answer to {messages}")
        last = messages[-1].parts[-1]
        if fault == "tool" and not isinstance(last, ToolReturnPart):
            return ModelResponse([ToolCallPart("look", {"text": str(last.content)}, "c1")])  # type: ignore[union-attr]
        return ModelResponse([TextPart("done")])

    agent = Agent(FunctionModel(answer), model_settings={"stop_sequences": [TEXT]} if fault == "gate" else None)

    @agent.tool_plain
    def look(text: str) -> str:
        raise ValueError(text)

    with pytest.raises(RunFailed) as failed:
        Flujo(Step.agent("ask", agent), plugins=[DeidentifierPlugin(engine)]).run(TEXT)
    assert told_in({"error": errors_of(failed.value), "log": caplog.text}) == []


def test_an_error_of_the_key_or_the_vault_tells_nothing_of_them() -> None:
    def fail() -> bytes:
        raise ValueError(f"{KEY!r} {TEXT}")

    for vault in (Vault(MemoryVaultStore(), key=fail), Vault(Quoting(), key=KEY)):
        with pytest.raises(Exception, match=r"key|store") as failed:
            vault.remember(Scope("s"), [("PERSON", TEXT)])
        assert told_in({"error": errors_of(failed.value)}) == []
        assert KEY.decode() not in errors_of(failed.value)
