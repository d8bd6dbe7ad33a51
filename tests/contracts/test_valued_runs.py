"""Runs whose values go through value codecs (SEMANTICS 12): nothing of them is kept, and they go on all the same."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from canary_kit import bytes_in, first, joined, keeps, rich, said
from crash_kit import crashed, done, durable
from flow_kit import ALONE, State
from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from typer.testing import CliRunner
from vault import CANARY, Vault, replaced

from flujo_core import (
    AesGcmCodec,
    AlreadyAnswered,
    Cache,
    CodecError,
    ConfigurationError,
    Flujo,
    HumanInput,
    InvalidValue,
    KeyLost,
    Label,
    Map,
    MemoryCache,
    MemoryStore,
    PauseForHumanInput,
    PipelineContext,
    PipelineMutation,
    PipelineState,
    Plugin,
    PluginSettings,
    Registry,
    Retry,
    Settings,
    SQLiteStore,
    Step,
    StepCall,
    StepResult,
    Stop,
    ValueAbout,
    ValueCodec,
    WatchableStore,
    ZstdCodec,
    key_ring,
    step,
)
from flujo_core.cli.main import app
from flujo_core.store.byte_codec import Codecs
from flujo_core.store.coding import coded

HERE = Path(__file__).parent


async def through(folder: Path, *codecs: Any) -> Any:
    """A rich run, in a file, whose process ends while it waits."""
    url = f"sqlite:///{folder}/runs.db"
    async with Flujo(rich(), settings=ALONE, context=State, store=url, codecs=codecs) as flujo:
        paused = await flujo.run_async(said("input"), run_id="r", subject="ann")
        assert paused.status == "paused"
    async with Flujo(rich(), settings=ALONE, context=State, store=url, codecs=codecs) as flujo:
        for voter in ("ann", "bob"):
            result = await flujo.resume_async("r", said("answer"), approver=voter)
        return result


WHAT = (
    "input",
    "output",
    "context",
    "error",
    "question",
    "answer",
    "answer of a model",
    "result of a tool",
    "argument",
)


def test_no_canary_is_in_any_byte_and_the_vault_has_them(tmp_path: Path) -> None:
    for name, codecs in (("clear", ()), ("secret", (Vault(tmp_path / "vault.db"),))):
        (tmp_path / name).mkdir()
        assert done(through(tmp_path / name, *codecs)).output == said("answer")
        exported = CliRunner().invoke(
            app, ["store", "export", str(tmp_path / name / "out"), "--store", f"sqlite:///{tmp_path}/{name}/runs.db"]
        )
        assert exported.exit_code == 0, exported.output
    clear, secret = bytes_in(tmp_path / "clear"), bytes_in(tmp_path / "secret")
    for what in WHAT:
        assert said(what).encode() in clear, what
        assert said(what).encode() in (tmp_path / "vault.db").read_bytes(), what
    assert CANARY.encode() not in secret
    assert b"<vault:" in secret
    checked = CliRunner().invoke(app, ["store", "check", "--store", f"sqlite:///{tmp_path}/secret/runs.db"])
    assert checked.exit_code == 0, checked.output


def test_with_byte_codecs_behind_nothing_is_in_clear_and_listings_ask_nobody(tmp_path: Path) -> None:
    aes = AesGcmCodec(key_ring({"one": os.urandom(32)}, "one"))
    (tmp_path / "kept").mkdir()
    vault = Vault(tmp_path / "vault.db")
    assert done(through(tmp_path / "kept", vault, ZstdCodec(), aes)).output == said("answer")
    kept = bytes_in(tmp_path / "kept")
    assert CANARY.encode() not in kept
    assert b"<vault:" not in kept

    async def main() -> None:
        store = coded(SQLiteStore(tmp_path / "kept" / "runs.db"), Codecs([vault]))
        vault.told.clear()
        assert [one.status for one in await store.runs()] == ["completed"]
        assert not await store.questions()
        assert not vault.told
        await store.close()

    done(main())


def test_a_codec_is_told_what_each_value_is(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.db")
    done(through(tmp_path, vault))
    told = {(about.kind, about.address.partition("[")[0]) for what, about in vault.told if what == "encode"}
    assert told >= {
        ("input", ""), ("context", ""), ("output", "first"), ("patch", "first"), ("model", "ask!model.1"),
        ("tool", "ask!tool.call-1"), ("output", "each"), ("question", "confirm"), ("answer", "confirm"),
        ("output", ""),
    }  # fmt: skip
    assert {kind for kind, _ in told} == {
        "input", "context", "output", "patch", "model", "tool", "error", "question", "answer",
    }  # fmt: skip
    assert {about.run_id for _, about in vault.told} == {"r"}
    digests = {about.subject for _, about in vault.told}
    assert len(digests) == 1
    assert len(digests.pop()) == 64
    hints = {about.kind: about.hint for what, about in vault.told if what == "encode"}
    assert hints["input"] is hints["output"] is str
    assert hints["context"] is State
    assert all(about.hint is None for what, about in vault.told if what == "decode")


class Patient(BaseModel):
    name: Annotated[str, Label("phi")]
    ward: str
    notes: dict[Annotated[str, Label("phi")], str] = {}


class Chart(PipelineContext):
    patients: list[Patient] = []
    told: Annotated[dict[str, str], Label("note")] = {}


class Marked:
    """A value codec that goes by labels alone: what is labelled is written backwards."""

    name = "marked"

    def __init__(self) -> None:
        self.told: list[ValueAbout] = []

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        self.told.append(about)
        return self._turned(value, about, ())

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        return self._turned(value, about, ())

    def _turned(self, value: Any, about: ValueAbout, path: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            return value[::-1] if about.labels_at(path) else value
        if isinstance(value, list):
            return [self._turned(one, about, (*path, str(place))) for place, one in enumerate(value)]
        if isinstance(value, dict):
            return {
                (key[::-1] if about.labels_at((*path, key), key=True) else key): self._turned(one, about, (*path, key))
                for key, one in value.items()
            }
        return value


@step
async def admit(patient: Patient, context: Chart) -> Patient:
    context.patients.append(patient)
    context.told["ada's"] = "note"
    return patient.model_copy(update={"notes": {"lovelace": "well"}})


@step
async def which(patient: Patient) -> Patient | PauseForHumanInput[Patient]:
    return PauseForHumanInput("Who?", Patient)


def test_labels_tell_which_places_are_sensitive_in_all_that_is_written(tmp_path: Path) -> None:
    store, codec = MemoryStore(), Marked()

    async def main() -> None:
        flujo = durable(admit >> which, store, codecs=[codec], context=Chart)
        await flujo.run_async(Patient(name="lovelace", ward="lovelace-ward"), run_id="r")
        result = await durable(admit >> which, store, codecs=[codec], context=Chart).resume_async(
            "r", Patient(name="lovelace", ward="x", notes={"lovelace": "y"})
        )
        assert result.output.name == "lovelace"
        assert result.context.patients[0].name == "lovelace"
        kept = b"".join(one.payload for one in [*await store.read("r"), *await store.mail("r")])
        assert b"lovelace-ward" in kept  # which nobody has labelled
        assert b"lovelace" not in kept.replace(b"lovelace-ward", b"")
        assert b"ada's" not in kept
        assert b"s'ada" in kept
        assert b'"eton"' in kept
        for what in (b'"name":"ecalevol"', b'"notes":{"ecalevol":"well"}', b'"notes":{"ecalevol":"y"}'):
            assert what in kept, what

    done(main())


def test_an_answer_is_labelled_though_its_question_was_asked_without_codecs() -> None:
    async def main() -> None:
        store, codec = MemoryStore(), Marked()
        await durable(admit >> which, store, context=Chart).run_async(Patient(name="x", ward="1"), run_id="r")
        before = len(await store.read("r"))
        flujo = durable(admit >> which, store, codecs=[codec], context=Chart)
        result = await flujo.resume_async("r", Patient(name="lovelace", ward="x"))
        assert result.output.name == "lovelace"
        kept = [*(await store.read("r", after=before)), *await store.mail("r")]
        assert not any(b"lovelace" in one.payload for one in kept)
        (told,) = [about for about in codec.told if about.kind == "answer"][:1]
        assert (told.address, told.hint) == ("which", Patient)

    done(main())


def test_a_run_is_cancelled_and_gets_new_tokens_through_a_value_codec() -> None:
    async def main() -> None:
        store = MemoryStore()
        flujo = durable(short(), store, codecs=[Strict()])
        await flujo.run_async("x", run_id="r")
        await flujo.reissue_async("r", "confirm")
        assert (await flujo.cancel_async("r")).status == "cancelled"

    done(main())


# ---- what cannot be written or read


class Strict:
    """A value codec of one letter, which does on purpose what one must not."""

    def __init__(self, name: str = "strict", mark: str = "~") -> None:
        self.name = name
        self._mark = mark
        self.fails_at = 0
        self.writes = 0
        self.does: Callable[[], Any] = lambda: None

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        self.writes += 1
        if self.writes == self.fails_at:
            raise KeyError(said("key"))
        return replaced(value, lambda text: self._mark + text)

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        found = self.does()
        if found is not None:
            return await found
        return replaced(value, lambda text: text.removeprefix(self._mark))


def short() -> Any:
    return first >> keeps >> HumanInput("confirm", str, ask="?") >> keeps.named("last")


def test_wherever_a_codec_fails_nothing_of_that_append_is_written_and_the_run_goes_on_when_it_works() -> None:
    async def main() -> None:
        for at in range(1, 100):
            store, codec = MemoryStore(), Strict()
            codec.fails_at = at
            flujo = durable(short(), store, codecs=[codec])
            try:
                await flujo.run_async("x", run_id="r")
                await flujo.resume_async("r", "yes")
            except CodecError as error:
                assert CANARY not in str(error)
                assert "in run 'r' cannot be written: value codec 'strict' raised KeyError" in str(error)
                assert error.__suppress_context__
            else:
                assert at > codec.writes
                break
            before = await store.run("r")
            assert all(b"~" in one.payload for one in await store.read("r") if one.kind == "step_completed")
            if before is None:
                assert at <= 2  # its input, and its context
                continue
            assert before.held_until == 0.0
            result = await durable(short(), store, codecs=[codec]).resume_async("r")
            if result.status == "paused":
                result = await durable(short(), store, codecs=[codec]).resume_async("r", "yes")
            assert result.output == "yes"
            assert [one.address for one in result.steps] == ["first", "keeps", "confirm", "last"]

    done(main())


def test_an_answer_that_cannot_be_written_can_be_given_again() -> None:
    async def main() -> None:
        store, codec = MemoryStore(), Strict()
        flujo = durable(short(), store, codecs=[codec])
        paused = await flujo.run_async("x", run_id="r")
        codec.fails_at = codec.writes + 1
        with pytest.raises(CodecError, match="the answer of 'confirm' in run 'r' cannot be written"):
            await flujo.resume_async("r", "yes", token=paused.questions[0].token)
        assert not await store.mail("r")
        assert (await flujo.resume_async("r", "yes", token=paused.questions[0].token)).output == "yes"
        with pytest.raises(AlreadyAnswered):
            await flujo.resume_async("r", "no", token=paused.questions[0].token)

    done(main())


def test_what_would_not_come_back_is_not_written() -> None:
    class Lossy(Strict):
        async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
            return "gone"

    class Unordered(Strict):
        async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
            found = await super().decode_value(value, about)
            return dict(sorted(found.items())) if isinstance(found, dict) else found

    @step
    async def table(text: str) -> dict[str, int]:
        return {"b": 1, "a": 2}

    async def main() -> None:
        for codec, what in ((Lossy(), "the input"), (Unordered(), "the output of 'table'")):
            store = MemoryStore()
            with pytest.raises(CodecError, match=f"{what} in run 'r' cannot be written: .* 'strict' would not give it"):
                await durable(table, store, codecs=[codec], context=PipelineContext).run_async("x", run_id="r")
            assert "step_completed" not in {one.kind for one in await store.read("r")}

    done(main())


def test_what_is_not_json_is_not_written() -> None:
    class Wrong(Strict):
        async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
            return object()

    async def main() -> None:
        with pytest.raises(CodecError, match="value codec 'strict' gave something that is not JSON"):
            await durable(keeps, MemoryStore(), codecs=[Wrong()]).run_async("x")

    done(main())


def test_a_codec_that_hangs_is_given_up() -> None:
    quick = Settings(PluginSettings(allow=(), hook_timeout=0.05))

    async def main() -> None:
        store, codec = MemoryStore(), Strict()
        flujo = durable(short(), store, codecs=[codec], settings=quick)
        await flujo.run_async("x", run_id="r")
        codec.does = lambda: asyncio.sleep(60)
        assert [(one.address, one.text) for one in await flujo.pending_async()] == [("confirm", "")]
        for work in (flujo.resume_async("r", "yes"), flujo.replay_async("r")):
            with pytest.raises(CodecError, match=r"in run 'r' cannot be read: value codec 'strict' was not done after"):
                await work
        with pytest.raises(CodecError, match=r"in run 's' cannot be read: value codec 'strict' was not done after"):
            await flujo.run_async("x", run_id="s")
        assert await store.run("s") is None
        codec.does = lambda: None
        assert (await flujo.resume_async("r", "yes")).output == "yes"

    done(main())


def test_a_codec_that_times_out_by_itself_raises_that() -> None:
    async def late() -> Any:
        raise TimeoutError(said("late"))

    async def main() -> None:
        store, codec = MemoryStore(), Strict()
        flujo = durable(short(), store, codecs=[codec])
        await flujo.run_async("x", run_id="r")
        codec.does = late
        with pytest.raises(CodecError, match=r"the input in run 'r' cannot be read: .* raised TimeoutError") as caught:
            await flujo.resume_async("r", "yes")
        assert CANARY not in str(caught.value)

    done(main())


def test_an_error_of_a_codecs_own_keeps_its_class(tmp_path: Path) -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(short(), store, codecs=[Vault(tmp_path / "one.db")]).run_async(said("x"), run_id="r")
        lost = durable(short(), store, codecs=[Vault(tmp_path / "two.db")])
        with pytest.raises(KeyLost, match="the input in run 'r' cannot be read: the vault has no such token"):
            await lost.resume_async("r", "yes")

    done(main())


def test_a_codec_that_is_missing_is_named_and_one_that_comes_later_reads_what_was_written_before() -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(short(), store).run_async("x", run_id="plain")
        both = durable(short(), store, codecs=[Strict("one"), Strict("two", "!"), ZstdCodec()])
        assert (await both.resume_async("plain", "yes")).output == "yes"
        await both.run_async("x", run_id="r")
        for codecs, lacking in (((), "zstd"), ((ZstdCodec(),), "two"), ((Strict("one"), ZstdCodec()), "two")):
            with pytest.raises(CodecError, match=f"record 1 of run r was written with codec '{lacking}'"):
                await durable(short(), store, codecs=codecs).resume_async("r", "yes")
        for run_id in ("plain", "r"):
            with pytest.raises(CodecError, match="was written with codec"):
                await durable(short(), store).resume_async(run_id, "yes")
        assert [one.status for one in await store.runs()] == ["paused", "completed"]
        assert (await both.resume_async("r", "yes")).output == "yes"
        kept = b"".join(one.payload for one in await store.read("plain"))
        assert b'"x"' in kept

    done(main())


def test_two_codecs_write_in_order_and_read_in_the_reverse() -> None:
    async def main() -> None:
        store = MemoryStore()
        both = durable(short(), store, codecs=[Strict("one"), Strict("two", "!")])
        await both.run_async("x", run_id="r")
        assert b'"!~x"' in (await store.read("r"))[0].payload
        assert (await both.resume_async("r", "yes")).output == "yes"

    done(main())


def test_codecs_that_cannot_be_had_together_are_refused() -> None:
    class Both(Strict):
        def encode(self, data: bytes, about: Any, /) -> bytes:
            return data

        def decode(self, data: bytes, about: Any, /) -> bytes:
            return data

    def flujo(*codecs: Any) -> Any:
        return durable(keeps, MemoryStore(), codecs=codecs)

    assert isinstance(Strict(), ValueCodec)
    with pytest.raises(ConfigurationError, match="value codec 'strict' stands behind byte codec 'zstd'"):
        flujo(ZstdCodec(), Strict())
    with pytest.raises(ConfigurationError, match="two codecs have the same name"):
        flujo(Strict(), Strict())
    with pytest.raises(ConfigurationError, match="'Strict' is no codec"):
        flujo(Strict("Loud"))
    with pytest.raises(ConfigurationError, match="codec 'strict' is of bytes and of values"):
        flujo(Both())


# ---- all that a run may keep


def test_a_crash_at_any_write_resumes_to_the_same(tmp_path: Path) -> None:
    async def source(text: str, after: str | None = None) -> AsyncIterator[str]:
        for item in ("a", "b", "c"):
            if after is None or said(item) > after:
                yield said(item)

    node = first >> Map("each", keeps, over=source, key=str) >> joined

    async def main() -> None:
        vault = Vault(tmp_path / "vault.db")
        for at in range(2, 40):
            store = MemoryStore()
            if not await crashed(node, said("x"), store, at, codecs=[vault]):
                break
            result = await durable(node, store, codecs=[Vault(tmp_path / "vault.db")]).resume_async("r")
            assert result.output == str([said("a"), said("b"), said("c")])
            assert result.context.word == said("context")
            assert len({one.address for one in result.steps}) == 5
            records = await store.read("r")
            assert CANARY not in "".join(one.address for one in records)
            assert not any(CANARY.encode() in one.payload for one in records)
        else:
            pytest.fail("it did not come to its end")

    done(main())


def test_what_has_hidden_the_names_of_a_run_hides_them_to_its_end(tmp_path: Path) -> None:
    node = Map("each", keeps, over=lambda text: [text, f"{text}2"], key=str) >> joined
    node = node >> HumanInput("confirm", str, ask="?", approvers=["ann", "bob"], quorum=2) >> keeps.named("last")
    aes = AesGcmCodec(key_ring({"a:1": bytes(range(32))}, "a:1"))

    async def main() -> None:
        store, vault = MemoryStore(), Vault(tmp_path / "vault.db")
        before = await durable(node, store, codecs=[aes]).run_async(said("x"), run_id="r")
        assert (await durable(node, store, codecs=[vault, aes]).resume_async("r", "yes", approver="ann")).questions
        result = await durable(node, store, codecs=[vault, aes]).resume_async("r", "yes", approver="bob")
        assert result.output == "yes"
        assert [one.address for one in result.steps][:2] == [one.address for one in before.steps][:2]
        other = durable(node, store, codecs=[vault])
        await other.run_async(said("x"), run_id="s")
        silent = Vault(tmp_path / "vault.db")
        bare = durable(node, store, codecs=[Silent(silent)])
        with pytest.raises(CodecError, match="names in run s are hidden with codec 'vault', which is not there"):
            await bare.resume_async("s", "yes", approver="ann")

    class Silent:
        """A vault that does not hide names."""

        name = "vault"

        def __init__(self, vault: Vault) -> None:
            self.encode_value = vault.encode_value
            self.decode_value = vault.decode_value

    done(main())


def test_a_fork_is_encoded_as_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        store, vault = MemoryStore(), Vault(tmp_path / "vault.db")
        node = Map("each", keeps, over=lambda text: [text, f"{text}2"], key=str) >> joined >> keeps.named("last")
        flujo = durable(node, store, codecs=[vault])
        whole = await flujo.run_async(said("x"), run_id="r", subject="ann", tenant="t")
        vault.told.clear()
        forked = await flujo.fork_async("r", at="last", fork_id="f")
        assert forked.output == whole.output
        assert [one.address for one in forked.steps] == [one.address for one in whole.steps]
        written = [about for what, about in vault.told if what == "encode"]
        assert {about.run_id for about in written} == {"f"}
        assert {(about.tenant, len(about.subject)) for about in written} == {("t", 64)}
        assert {about.hint for about in written if about.address == "each"} <= {str}
        assert not any(CANARY.encode() in one.payload for one in await store.read("f"))
        assert (await flujo.replay_async("f")).output == whole.output
        assert {one.verdict for one in (await flujo.diff_async("r", "f")).parts} == {"same"}

    done(main())


def test_hooks_that_ask_and_tools_that_ask_keep_no_value(tmp_path: Path) -> None:
    class Asking(Plugin):
        name: ClassVar[str] = "asking"

        async def pre_step_execution(self, call: StepCall, /) -> Any:
            if call.step_name != "first" or call.answer is not None:
                return None
            return PauseForHumanInput(said("may it begin?"), str)

        async def post_step_execution(self, call: StepCall, result: StepResult, /) -> Any:
            if call.step_name != "keeps" or call.answer is not None:
                return None
            return PauseForHumanInput(said("is it good?"), Patient)

    class Adding(Plugin):
        name: ClassVar[str] = "adding"

        async def pre_step_execution(self, call: StepCall, /) -> Any:
            return call._replace(step_input=said("added")) if call.step_name == "first" else None

    async def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) > 1:
            return ModelResponse([TextPart(said("answer of a model"))])
        return ModelResponse([ToolCallPart("look", {"what": said("argument")}, "call-1")])

    agent: Agent[None, Any] = Agent(FunctionModel(reply), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def look(what: str) -> str:
        return said("result of a tool")

    async def main() -> None:
        store, vault = MemoryStore(), Vault(tmp_path / "vault.db")
        node = first >> keeps >> Step.agent("ask", agent)
        flujo = durable(node, store, codecs=[vault], plugins=[Adding(), Asking()])
        result = await flujo.run_async(said("x"), run_id="r")
        for answer in (said("yes"), Patient(name=said("name"), ward="1"), True):
            assert result.status == "paused"
            result = await flujo.resume_async("r", answer)
        assert result.output == said("answer of a model")
        kept = [*await store.read("r"), *await store.mail("r")]
        assert not any(CANARY.encode() in one.payload for one in kept)
        states = [about for what, about in vault.told if what == "encode" and about.kind == "state"]
        assert [one.address for one in states] == ["first", "keeps", "ask!tool.call-1"]
        assert {about.hint for what, about in vault.told if what == "encode" and about.kind == "answer"} >= {Patient}
        answers = [about for what, about in vault.told if about.kind == "answer" and about.address == "keeps"]
        assert {path.path for about in answers for path in about.labels} == {("name",), ("notes", "~key")}

    done(main())


def test_answers_to_choose_from_that_are_made_of_values_are_not_kept(tmp_path: Path) -> None:
    @step
    async def choose(text: str) -> str | PauseForHumanInput[str]:
        return PauseForHumanInput("Which?", Literal[f"{CANARY}-one", f"{CANARY}-two"])  # type: ignore[valid-type]

    async def main() -> None:
        store, vault = MemoryStore(), Vault(tmp_path / "vault.db")
        flujo = durable(choose, store, codecs=[vault])
        await flujo.run_async("x", run_id="r")
        assert not any(CANARY.encode() in one.payload for one in await store.read("r"))
        (question,) = await flujo.pending_async()
        assert question.json_schema["enum"] == [said("one"), said("two")]
        with pytest.raises(InvalidValue):
            await flujo.resume_async("r", said("three"))
        assert (await flujo.resume_async("r", said("two"))).output == said("two")

    done(main())


def test_changes_reasons_and_feedback_keep_no_value(tmp_path: Path) -> None:
    class Acme(Plugin):
        name: ClassVar[str] = "acme"

        def register_steps(self, registry: Registry[Any], /) -> None:
            registry.add("extra", keeps)

    @step
    async def plan(text: str) -> str | PipelineMutation[str]:
        return PipelineMutation(text, insert_after={"plan": [{"step": "acme/extra", "name": said("name")}]})

    tries: list[str] = []

    def polite(text: str) -> str | None:
        tries.append(text)
        return said("feedback") if len(tries) == 1 else None

    @step
    async def stops(text: str) -> str | Stop:
        return Stop(said("reason"))

    async def main() -> None:
        store, vault = MemoryStore(), Vault(tmp_path / "vault.db")
        node = keeps.policy(validators=[polite], retry=Retry(attempts=2)) >> plan >> stops
        flujo = durable(node, store, codecs=[vault], plugins=[Acme()])
        result = await flujo.run_async("x", run_id="r")
        assert (result.status, result.reason) == ("stopped", said("reason"))
        kept = b"".join(one.payload for one in await store.read("r"))
        for what in ("feedback", "reason"):
            assert said(what).encode() not in kept
        kinds = {about.kind for what, about in vault.told if what == "encode"}
        assert kinds >= {"feedback", "reason", "change"}
        assert (await flujo.run_async("x", run_id="r")).status == "stopped"

    done(main())


def test_a_portable_state_holds_no_value_and_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        vault = Vault(tmp_path / "vault.db")
        node = Map("each", keeps, over=lambda text: [text], key=str) >> joined
        node = node >> HumanInput("confirm", str, ask=said("question")) >> HumanInput("again", str, ask="?")
        flujo: Flujo[Any, Any, Any] = Flujo(node, settings=ALONE, codecs=[vault, ZstdCodec()])
        paused = await flujo.run_async(said("input"))
        text = paused.state.model_dump_json()
        assert CANARY not in text
        twice = await flujo.resume_async(PipelineState.model_validate_json(text), said("yes"))
        text = twice.state.model_dump_json()
        assert CANARY not in text
        result = await Flujo(node, settings=ALONE, codecs=[vault, ZstdCodec()]).resume_async(
            PipelineState.model_validate_json(text), "done"
        )
        assert result.output == "done"
        with pytest.raises(CodecError, match="written with codec 'vault'"):
            await Flujo(node, settings=ALONE, codecs=[ZstdCodec()]).resume_async(paused.state, "yes")
        kept = durable(node, MemoryStore(), codecs=[vault])
        assert not (await kept.run_async(said("input"))).state.records

    done(main())


def test_a_portable_state_that_cannot_be_written_is_not_given() -> None:
    async def main() -> None:
        codec = Strict()
        codec.fails_at = 1
        flujo: Flujo[Any, Any, Any] = Flujo(short(), settings=ALONE, context=State, codecs=[codec])
        paused = await flujo.run_async("x")
        assert paused.status == "paused"
        with pytest.raises(CodecError, match=r"the input in run '.*' cannot be written"):
            assert paused.state

    done(main())


class Seen(MemoryCache):
    """A cache that remembers what it was given to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[bytes] = []

    async def put(self, key: str, entry: bytes, /, *, ttl: float | None = None) -> None:
        self.entries.append(entry)
        await super().put(key, entry, ttl=ttl)


def cached() -> Any:
    return first.policy(cache=Cache(key=lambda text: text))


def test_a_cache_that_is_given_keeps_no_value(tmp_path: Path) -> None:
    async def main() -> None:
        cache, vault = Seen(), Vault(tmp_path / "vault.db")
        for store, how in ((None, 0), (MemoryStore(), 1)):
            flujo: Flujo[Any, Any, Any] = Flujo(
                cached(), settings=ALONE, context=State, store=store, cache=cache, codecs=[vault]
            )
            results = [await flujo.run_async(said(f"x{how}"), subject="ann", tenant="t") for _ in range(2)]
            assert {one.output for one in results} == {said("output")}
            assert {one.context.word for one in results} == {said("context")}
            assert len(cache.entries) == how + 1
            assert CANARY.encode() not in cache.entries[-1]
        read = [about for what, about in vault.told if what == "decode" and about.kind == "output"]
        assert {(one.tenant, one.address) for one in read} >= {("t", "first")}
        lost: Flujo[Any, Any, Any] = Flujo(cached(), settings=ALONE, context=State, cache=cache, codecs=[ZstdCodec()])
        assert (await lost.run_async(said("x0"), tenant="t")).output == said("output")

    done(main())


def test_a_cache_is_passed_over_whose_entries_cannot_be_written() -> None:
    async def main() -> None:
        cache, codec = Seen(), Strict()
        codec.fails_at = 1
        flujo: Flujo[Any, Any, Any] = Flujo(cached(), settings=ALONE, context=State, cache=cache, codecs=[codec])
        assert (await flujo.run_async("x")).output == said("output")
        assert not cache.entries
        assert (await flujo.run_async("x")).output == said("output")
        assert b"~" in cache.entries[0]
        plain = Seen()
        await plain.put(*[*cache._entries][:1], b'"of before"\n{}')
        earlier: Flujo[Any, Any, Any] = Flujo(cached(), settings=ALONE, context=State, cache=plain, codecs=[codec])
        assert (await earlier.run_async("x")).output == "of before"

    done(main())


def test_registered_value_codecs_are_named_in_code_and_in_the_configuration() -> None:
    class Acme(Plugin):
        name: ClassVar[str] = "acme"

        def register_codecs(self, registry: Registry[Any], /) -> None:
            registry.add("strict", lambda: Strict("acme/strict"))

    async def main() -> None:
        for more in ({"codecs": ["acme/strict"]}, {"settings": Settings(ALONE.plugins, codecs=("strict", "zstd"))}):
            store = MemoryStore()
            flujo = durable(keeps, store, plugins=[Acme()], **more)
            assert (await flujo.run_async("x", run_id="r")).output == "x"
            assert (await flujo.run_async("x", run_id="r")).output == "x"
        assert b"\x00flujo:zstd\n" in (await store.read("r"))[0].payload

    done(main())


def test_a_store_that_tells_of_mail_tells_of_it_through_value_codecs() -> None:
    class Telling(MemoryStore):
        def watch(self, heard: Callable[[str], None], /) -> Callable[[], None]:
            heard("r")
            return lambda: heard("over")

    told: list[str] = []
    through = coded(Telling(), Codecs([Strict()]))
    assert isinstance(through, WatchableStore)
    through.watch(told.append)()
    assert told == ["r", "over"]
    assert not isinstance(coded(MemoryStore(), Codecs([Strict()])), WatchableStore)


# ---- other processes


WORK = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from flow_kit import ALONE
from vault import Vault, CANARY
from flujo_core import Flujo, Map, step

folder = Path(sys.argv[2])

@step
async def slow(text: str) -> str:
    print("begun", flush=True)
    await asyncio.sleep(0.01)
    return text.replace("x", "y")

@step
async def joined(parts: list[str]) -> str:
    return " ".join(parts)

node = Map("each", slow, over=lambda text: [f"{text}{n}" for n in range(20)], key=str, max_concurrency=1) >> joined

async def main() -> None:
    codecs = [Vault(folder / "vault.db")]
    async with Flujo(node, settings=ALONE, store=f"sqlite:///{folder}/kept/runs.db", codecs=codecs) as flujo:
        result = await flujo.run_async(f"{CANARY}-x", run_id="r")
        print(json.dumps([result.output, len(result.steps)]), flush=True)

asyncio.run(main())
"""


def test_a_run_that_was_killed_goes_on_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    work = [sys.executable, "-c", WORK, str(HERE), str(tmp_path)]
    for kills in (1, 4, 9):
        with subprocess.Popen(work, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(kills):
                assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGKILL)
        assert CANARY.encode() not in bytes_in(tmp_path / "kept")
    last = subprocess.run(work, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    output, steps = json.loads(last[-1])
    assert output == " ".join(f"{CANARY}-y{number}" for number in range(20))
    assert steps == 21
    assert CANARY.encode() not in bytes_in(tmp_path / "kept")
    assert b"<vault:" in bytes_in(tmp_path / "kept")
