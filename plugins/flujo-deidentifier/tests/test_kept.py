"""What the store keeps, with nothing said but that there is the plugin; and what is left of it after an erasure."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flujo_deidentifier import Deidentifier, DeidentifierPlugin, DeidentifyingCodec, MemoryVaultStore, Profile
from pipeline_kit import ALONE, KEY, Model, done, engine, kept_in
from pydantic import Field

from flujo_core import (
    AesGcmCodec,
    CodecError,
    ConfigurationError,
    Flujo,
    HumanInput,
    KeyLost,
    Map,
    PipelineContext,
    RunFailed,
    RunInfo,
    Step,
    ValueAbout,
    key_ring,
    step,
    subject_digest,
)

NAMES = ("Mary Jones", "John Smith", "536-22-8726")


class Notes(PipelineContext):
    said: list[str] = Field(default_factory=list)


@step
async def look_up(text: str, context: Notes) -> dict[str, str]:
    context.said.append("Mary Jones called")
    return {"ssn": "536-22-8726", "text": text}


@step
async def fails(text: str) -> str:
    raise ValueError("no such patient: Mary Jones, 536-22-8726")


def flujo(path: Path, node: Any, **options: Any) -> Any:
    plugin = DeidentifierPlugin(options.pop("engine", None) or engine(path), **options.pop("plugin", {}))
    return Flujo(node, store=f"sqlite:///{path}/runs.db", plugins=[plugin], settings=ALONE, **options)


def test_inputs_outputs_contexts_questions_and_errors_are_kept_as_tokens(tmp_path: Path) -> None:
    confirm = HumanInput("confirm", str, ask="Is {{ input.text }} right?")

    async def main() -> None:
        async with flujo(tmp_path, look_up >> confirm, context=Notes) as one:
            paused = await one.run_async("I am John Smith.", run_id="a")
            assert "John Smith" in paused.questions[0].text
            assert not [name for name in NAMES if name.encode() in kept_in(tmp_path)]
        async with flujo(tmp_path, look_up >> confirm, context=Notes) as one:
            result = await one.resume_async("a", "Ask Mary Jones.")
            assert result.output == "Ask Mary Jones."
            assert result.context.said == ["Mary Jones called"]
        async with flujo(tmp_path, fails) as other:
            with pytest.raises(RunFailed):
                await other.run_async("x", run_id="b")

    done(main())
    assert not [name for name in NAMES if name.encode() in kept_in(tmp_path)]


def test_values_are_kept_where_they_shall_be(tmp_path: Path) -> None:
    async def main() -> None:
        async with flujo(tmp_path, look_up, context=Notes, plugin={"journal": "values"}) as one:
            await one.run_async("I am John Smith.")

    done(main())
    assert b"John Smith" in kept_in(tmp_path)
    with pytest.raises(ConfigurationError, match="'journal' of the de-identifier is 'tokens' or 'values'"):
        DeidentifierPlugin(engine(tmp_path), journal="value")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="'session' of the de-identifier is 'run'"):
        DeidentifierPlugin(engine(tmp_path), session="turn")  # type: ignore[arg-type]


def test_the_codec_stands_before_others_and_where_it_is_listed(tmp_path: Path) -> None:
    made = engine(tmp_path)
    ring = AesGcmCodec(key_ring({"one": bytes(32)}, "one"))

    async def main() -> None:
        for number, codecs in enumerate([[ring], [DeidentifyingCodec(made), ring]]):
            async with flujo(tmp_path, look_up, engine=made, context=Notes, codecs=codecs) as one:
                assert (await one.run_async("I am John Smith.", run_id=f"r{number}")).output["ssn"] == "536-22-8726"
                assert (await one.replay_async(f"r{number}")).output["text"] == "I am John Smith."

    done(main())


def test_keys_of_items_stand_in_no_address(tmp_path: Path) -> None:
    @step
    async def ward(text: str) -> str:
        return f"{text} is well"

    async def main() -> Any:
        async with flujo(tmp_path, Map("wards", ward, key=str)) as one:
            return await one.run_async(["John Smith", "Mary Jones"], run_id="a")

    assert done(main()).output == ["John Smith is well", "Mary Jones is well"]
    assert not [name for name in NAMES if name.encode() in kept_in(tmp_path)]


def test_a_vault_that_is_not_that_of_the_time_is_said_and_names_nobody(tmp_path: Path) -> None:
    confirm = HumanInput("confirm", str, ask="Well?")

    async def main() -> None:
        async with flujo(tmp_path, confirm) as one:
            await one.run_async("I am John Smith.", run_id="a")
        lost = Deidentifier(Profile("all"), key=KEY, vault=MemoryVaultStore(), detectors=["patterns", "lists"])
        async with flujo(tmp_path, confirm, engine=lost) as other:
            with pytest.raises(KeyLost, match="give the vault of the time"):
                await other.resume_async("a", "yes")

    done(main())


def test_names_are_hidden_with_the_key_of_the_run_or_not_at_all(tmp_path: Path) -> None:
    made = DeidentifyingCodec(engine(tmp_path))
    other = DeidentifyingCodec(engine(tmp_path, key=b"o" * 32))
    assert made.mac(made.key_id(), b"x") != made.mac(made.key_id(), b"y")
    assert len(made.mac(made.key_id(), b"x")) >= 16
    with pytest.raises(KeyLost, match="not the one that the run began with"):
        other.mac(made.key_id(), b"x")


# ------------------------------------------------------------------------------------------------------------- erasure


def rows(path: Path) -> tuple[int, int]:
    """How many keys and tokens are in the vault."""
    with closing(sqlite3.connect(path / "vault.db")) as connection:
        found = [connection.execute(f"SELECT count(*) FROM {one}").fetchone()[0] for one in ("keys", "tokens")]
    return found[0], found[1]


@step
async def said(text: str, *, info: RunInfo) -> str:
    return f"{text} ({info.run_id})"


def test_after_the_erasure_of_a_subject_no_key_is_left_and_tokens_are_inert(tmp_path: Path) -> None:
    made, model = engine(tmp_path), Model()
    node = said >> Step.agent("ask", model.agent())

    async def main() -> None:
        async with flujo(tmp_path, node, engine=made) as one:
            await one.run_async("I am John Smith.", run_id="a", tenant="t", subject="john")
            await one.run_async("I am Mary Jones.", run_id="b", tenant="t", subject="mary")
            assert not model.saw("Smith", "Jones")
            token = next(word for word in model.prompts[0].split() if word.startswith("[PERSON")).rstrip(".")
            assert made.restore(token, session="a", tenant="t") == "John Smith"
            before = rows(tmp_path)
            assert await one.erase_async("john") == ["a"]
            after = rows(tmp_path)
            assert after[0] == before[0] - 1 and after[1] < before[1]
            assert made.restore(token, session="a", tenant="t") == token
            assert (await one.replay_async("b")).output == "It says: I am Mary Jones. (b)"
            await one.erase_async("mary", tenant="t")
            assert rows(tmp_path) == (0, 0)

    done(main())


def test_a_run_about_nobody_is_forgotten_when_it_is_deleted_and_others_are_not(tmp_path: Path) -> None:
    model = Model()

    async def main() -> None:
        async with flujo(tmp_path, Step.agent("ask", model.agent())) as one:
            for run_id in "ab":
                await one.run_async("I am John Smith.", run_id=run_id)
            await one.delete_async("a")
            assert (await one.replay_async("b")).output == "It says: I am John Smith."
            await one.delete_async("b")
            assert rows(tmp_path) == (0, 0)

    done(main())


def test_the_deidentifier_erases_what_runs_about_somebody_have(tmp_path: Path) -> None:
    made = engine(tmp_path)

    async def main() -> None:
        async with Flujo(Step.agent("ask", Model().agent()), plugins=[DeidentifierPlugin(made)], settings=ALONE) as one:
            await one.run_async("I am John Smith.", subject="john")

    done(main())
    assert rows(tmp_path)[0] == 1
    assert made.erase("john") == 1
    assert rows(tmp_path) == (0, 0)


def test_steps_make_tokens_of_whom_the_run_is_about(tmp_path: Path) -> None:
    made = engine(tmp_path)
    plugin = DeidentifierPlugin(made)
    mask, back = (Step.registered(f"deidentifier/{one}", takes=str, gives=str) for one in ("deidentify", "reidentify"))
    masked: list[str] = []

    @step
    async def look(text: str) -> str:
        masked.append(text)
        return text

    async def main() -> Any:
        async with Flujo(mask >> look >> back, plugins=[plugin], settings=ALONE) as one:
            return await one.run_async("I am John Smith.", run_id="a", subject="john")

    assert done(main()).output == "I am John Smith."
    assert "Smith" not in masked[0]
    assert made.restore(masked[0], session="a") == "I am John Smith."
    made.erase("john")
    assert made.restore(masked[0], session="a") == masked[0]


def test_registered_steps_of_a_plugin_that_sleeps_say_what_is_missing() -> None:
    mask = Step.registered("deidentifier/deidentify", takes=str, gives=str)

    async def main() -> Any:
        return await Flujo(mask, plugins=[DeidentifierPlugin()], settings=ALONE).run_async("I am John Smith.")

    with pytest.raises(Exception, match="there is no de-identifier"):
        done(main())


def test_a_codec_that_cannot_forget_says_so(tmp_path: Path) -> None:
    codec = DeidentifyingCodec(engine(tmp_path))
    (tmp_path / "vault.db").write_bytes(b"no database" * 1000)
    for work in (codec.forget_run("a", None), codec.forget_subject(subject_digest("x"), "t")):
        with pytest.raises(CodecError, match="the store of the vault raised DatabaseError"):
            done(work)
    with pytest.raises(CodecError):
        done(codec.encode_value("John Smith", ValueAbout("a", None, "", "", "input")))
