"""No value of anybody is in the log, whatever it is and wherever it goes; and none of them stops a run."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flujo_audit_advanced import AuditPlugin, Rule
from pydantic_ai import Agent, BinaryContent, ModelRetry
from pydantic_ai.models.test import TestModel
from recording_kit import bytes_of, recorded, recording, run

from flujo_core import (
    Branch,
    Flujo,
    HumanInput,
    Map,
    PauseForHumanInput,
    PipelineContext,
    Reconfigurable,
    Reconfigure,
    Retry,
    RunFailed,
    Step,
    Stop,
    step,
)

CANARY = "Novakova-ř/4711"


def forms(word: str) -> list[bytes]:
    """A word as it may stand in a file."""
    data = word.encode()
    plain = [data, json.dumps(word)[1:-1].encode(), quote(word, safe="").encode(), data.hex().encode()]
    return [*plain, *(b64encode(data[start:])[2:-4] for start in range(3))]


def leaked(folder: Path) -> list[bytes]:
    """The forms of the canary that are in the log."""
    held = bytes_of(folder)
    return [form for form in forms(CANARY) if form in held]


def test_the_canary_would_be_found(tmp_path: Path) -> None:
    for number, form in enumerate(forms(CANARY)):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / str(number)).write_bytes(b"x" + form)
    assert len(leaked(tmp_path)) == len(forms(CANARY))


class Case(PipelineContext):
    name: str = ""


@step
async def keep(text: str, context: Case) -> str:
    context.name = text
    return text


@step
async def words(text: str) -> list[str]:
    return [text, f"{text} again"]


@step
async def same(text: str) -> str:
    return text


@step
async def join(found: list[str]) -> str:
    return found[0]


@step
async def tune(text: str) -> Reconfigure[str]:
    return Reconfigure(text, target="ask", instructions=f"Mention {text}.")


@step
async def asks(text: str) -> PauseForHumanInput[str]:
    return PauseForHumanInput(f"Is it {text}?", str)


def agent() -> Agent[None, str]:
    """An agent whose tool is called, wants another try, and answers; all with the canary."""
    made: Agent[None, str] = Agent(TestModel(custom_output_text=f"It is {CANARY}."), retries=3)
    tries: list[int] = []

    @made.tool_plain
    def look_up(name: str) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ModelRetry(f"not {CANARY}")
        return f"{name} is {CANARY}"

    return made


@pytest.mark.parametrize("mode", ["strict", "batch"])
@pytest.mark.parametrize("level", ["metadata", "digest"])
def test_what_people_models_and_tools_say_is_nowhere_in_the_log(
    tmp_path: Path, level: Any, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "flujo.audit")
    ask = Step.agent("ask", agent(), allow_reconfigure=Reconfigurable(instructions=True))
    each = Map("each", same, key=lambda word: word)
    pipeline = keep >> words >> each >> join >> tune >> ask >> asks >> HumanInput("approve", str, ask=f"Send {CANARY}?")

    async def main() -> None:
        plugins = [AuditPlugin(recording(tmp_path, Rule(["*"], mode, level)))]
        async with Flujo(pipeline, plugins=plugins, context=Case, store=f"sqlite:///{tmp_path}/runs.db") as flujo:
            first = await flujo.run_async(CANARY, run_id="r1", subject=CANARY)
            assert first.status == "paused"
            assert (await flujo.resume_async("r1", CANARY)).status == "paused"
            assert (await flujo.resume_async("r1", CANARY, approver="ops")).output == CANARY

    asyncio.run(main())
    assert leaked(tmp_path) == [] and CANARY not in caplog.text
    found = {one["kind"] for one in recorded(tmp_path)}
    assert {
        "model.requested", "model.answered", "tool.called", "tool.failed", "tool.returned", "question.asked",
        "question.answered", "agent.reconfigured",
    } <= found  # fmt: skip


@pytest.mark.parametrize("ends", ["fails", "stops", "is wrong"])
def test_why_a_run_ended_is_on_record_without_what_its_steps_said(tmp_path: Path, ends: str) -> None:
    @step(retry=Retry(attempts=2, backoff=0), validators=[lambda text: f"no {text}" if ends == "is wrong" else None])
    async def work(text: str) -> str | Stop:
        if ends == "fails":
            raise LookupError(text) from KeyError(text)
        return Stop(f"enough of {text}") if ends == "stops" else text

    def go() -> None:
        run(work, CANARY, recording(tmp_path))

    if ends == "stops":
        go()
    else:
        with pytest.raises(RunFailed):
            go()
    (ended,) = (one for one in recorded(tmp_path) if one["kind"] == "run.ended")
    assert ended["status"] == ("stopped" if ends == "stops" else "failed") and leaked(tmp_path) == []


def test_the_case_that_a_branch_takes_is_no_word_of_the_log(tmp_path: Path) -> None:
    def which(text: str) -> str:
        return text

    run(Branch("which", on=which).case(CANARY, same).default(same), CANARY, recording(tmp_path))
    assert leaked(tmp_path) == []
    assert "branch.decided" in {one["kind"] for one in recorded(tmp_path)}


def test_values_that_are_no_json_stop_no_run(tmp_path: Path) -> None:
    @step
    async def image(text: str) -> BinaryContent:
        return BinaryContent(b"\xff\xd8\xff", media_type="image/png")

    @step
    async def raw(found: BinaryContent) -> bytes:
        return b"\xff\xfe"

    @step
    async def half(found: bytes) -> str:
        return "\ud800"

    @step
    async def numbers(text: str) -> dict[str, float]:
        return {"nan": float("nan"), "big": 1e400, "ř": -0.0}

    result = run(image >> raw >> half >> numbers, "\udfff", recording(tmp_path, Rule(["*"], "strict")))
    assert result.output["big"] == float("inf")
    done = [one for one in recorded(tmp_path) if one["kind"] == "step.completed"]
    assert len({one["output"]["hmac"] for one in done}) == 4


def test_a_tool_that_gives_an_image_is_on_record(tmp_path: Path) -> None:
    camera = Agent(TestModel(custom_output_text="A cat."))

    @camera.tool_plain
    def look() -> BinaryContent:
        return BinaryContent(b"\x89PNG\xff", media_type="image/png")

    run(Step.agent("ask", camera), "What is it?", recording(tmp_path, Rule(["*"], "strict")))
    found = [one for one in recorded(tmp_path) if one["kind"] in ("tool.returned", "model.requested")]
    assert [one["kind"] for one in found] == ["model.requested", "tool.returned", "model.requested"]
    assert found[1]["result"]["bytes"] > 20 and found[2]["messages"]["bytes"] > found[0]["messages"]["bytes"]


def test_a_value_of_any_size_goes_by_its_digest(tmp_path: Path) -> None:
    run(same, "x" * 300_000, recording(tmp_path, Rule(["*"], "strict")))
    assert {one["output"]["bytes"] for one in recorded(tmp_path) if one["kind"] == "step.completed"} == {300_002}
    assert len(bytes_of(tmp_path)) < 60_000
