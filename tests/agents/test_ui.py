"""Runs for the front ends of others, over a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from flow_kit import alone
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from flujo_core import ConfigurationError, HumanInput, MemoryStore, Parallel, Retry, RunInfo, Step, step

GONE: list[str] = []


class Answer(BaseModel):
    text: str


@step
async def tell(topic: str) -> AsyncIterator[str]:
    for word in ("all ", "about ", topic):
        await asyncio.sleep(0)
        yield word


@step
async def upper(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    async for piece in pieces:
        yield piece.upper()


@step
async def answer(text: str) -> Answer:
    return Answer(text=text)


@step
async def fails(text: str) -> str:
    raise ValueError("CANARY")


@step
async def endless(topic: str) -> AsyncIterator[str]:
    try:
        while True:
            yield topic
            await asyncio.sleep(0.01)
    finally:
        GONE.append(topic)


say = Step.agent("say", Agent(TestModel(custom_output_text="it is well")))


def told(node: Any, given: str = "tea", protocol: Literal["ag-ui", "vercel"] = "ag-ui", **keywords: Any) -> list[Any]:
    """The events that a client gets."""

    async def main() -> list[str]:
        return [one async for one in alone(node, **keywords).stream_sse(given, protocol=protocol, run_id="r")]

    return parsed("".join(asyncio.run(main())))


def parsed(text: str) -> list[Any]:
    """Server-sent events as data."""
    lines = (part.removeprefix("data: ") for part in text.split("\n\n") if part)
    return [json.loads(line) for line in lines if line != "[DONE]"]


def texts(events: list[Any]) -> list[str]:
    """The texts of the messages that a client shows, one after the other."""
    found: list[str] = []
    for event in events:
        kind = event["type"]
        if kind in ("TEXT_MESSAGE_START", "text-start"):
            found.append("")
        elif kind in ("TEXT_MESSAGE_CONTENT", "text-delta"):
            found[-1] += event["delta"]
    return found


@pytest.mark.parametrize("protocol", ["ag-ui", "vercel"])
def test_what_leaves_the_last_step_of_a_stream_is_the_text_that_a_client_shows(protocol: Any) -> None:
    found = told(tell >> upper, protocol=protocol)
    assert texts(found) == ["ALL ABOUT TEA"]
    kinds = [event["type"] for event in found]
    assert kinds[0] in ("RUN_STARTED", "start") and kinds[-1] in ("RUN_FINISHED", "finish")
    assert sum(kind in ("TEXT_MESSAGE_CONTENT", "text-delta") for kind in kinds) == 3


def test_an_agents_text_is_shown_as_it_comes_and_the_run_has_its_own_names() -> None:
    found = told(say)
    assert texts(found) == ["it is well"] and (found[0]["runId"], found[0]["threadId"]) == ("r", "r")


@pytest.mark.parametrize("protocol", ["ag-ui", "vercel"])
def test_an_output_that_is_no_text_is_a_custom_event(protocol: Any) -> None:
    found = told(tell >> answer, protocol=protocol)
    (custom,) = [event for event in found if "flujo-output" in json.dumps(event)]
    assert "all about tea" in json.dumps(custom)


def test_a_text_that_nobody_streamed_is_told_as_a_whole() -> None:
    @step
    async def shout(text: str) -> str:
        return text.upper()

    assert texts(told(shout)) == ["TEA"]


def test_an_error_is_told_without_values() -> None:
    found = told(tell >> fails)
    assert "RUN_ERROR" in [event["type"] for event in found] and "CANARY" not in json.dumps(found)


def test_questions_are_told_with_their_tokens() -> None:
    approve = HumanInput("approve", bool, ask="Send it?")
    found = told(tell >> approve, store=MemoryStore())
    (paused,) = [event for event in found if "flujo-paused" in json.dumps(event)]
    assert "Send it?" in json.dumps(paused) and "token" in json.dumps(paused)


def test_texts_of_steps_that_run_side_by_side_are_told_one_after_the_other() -> None:
    def slow(name: str, count: int) -> Any:
        async def words(topic: str) -> AsyncIterator[str]:
            for number in range(count):
                await asyncio.sleep(0.005)
                yield f"{name}{number} "

        return step(name=name)(words)

    found = told(Parallel("fan", a=slow("a", 4), b=slow("b", 2), c=slow("c", 6)))
    assert texts(found) == ["a0 a1 a2 a3 ", "b0 b1 ", "c0 c1 c2 c3 c4 c5 "]


def test_an_attempt_that_failed_ends_its_text() -> None:
    @step(retry=Retry(2))
    async def flaky(topic: str, info: RunInfo) -> AsyncIterator[str]:
        yield f"{info.attempt}"
        if info.attempt == 1:
            raise ValueError
        yield "!"

    assert texts(told(flaky)) == ["1", "2!"]


def test_a_text_that_never_ended_is_ended_with_the_stream() -> None:
    @step
    async def breaks(topic: str) -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(0.01)

    @step
    async def ends(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
        async for piece in pieces:
            yield piece
            raise ValueError

    kinds = [event["type"] for event in told(breaks >> ends)]
    assert kinds.count("TEXT_MESSAGE_START") == kinds.count("TEXT_MESSAGE_END") == 1 and "RUN_ERROR" in kinds


def test_a_protocol_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="'agui' is no protocol of front ends; there are 'ag-ui' and 'vercel'"):
        alone(tell).stream_sse("x", protocol="agui")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- a real socket

app = FastAPI()


@app.get("/{name}")
async def chat(name: str, q: str) -> StreamingResponse:
    flujo = alone({"tell": tell >> upper, "endless": endless}[name])
    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    return StreamingResponse(flujo.stream_sse(q, protocol="vercel"), media_type="text/event-stream", headers=headers)


@contextmanager
def served() -> Iterator[int]:
    """The port of a server of the app."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def test_a_browser_gets_the_events_of_a_run() -> None:
    with served() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/tell?q=tea")
        response = connection.getresponse()
        assert response.getheader("content-type", "").startswith("text/event-stream")
        body = response.read().decode()
        connection.close()
    assert texts(parsed(body)) == ["ALL ABOUT TEA"] and body.endswith("data: [DONE]\n\n")


def test_a_client_that_goes_away_cancels_the_run_and_closes_its_generators() -> None:
    GONE.clear()
    with served() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/endless?q=tea")
        response = connection.getresponse()
        assert response.read(200)
        response.close()
        connection.close()
        until = time.monotonic() + 20
        while not GONE and time.monotonic() < until:
            time.sleep(0.01)
    assert GONE == ["tea"]
