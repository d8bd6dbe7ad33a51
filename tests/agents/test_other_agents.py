"""Agents of the OpenAI Agents SDK, behind HTTP, and of pydantic-ai keep one contract."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import openai
import pytest
from agents import Agent as SDKAgent
from agents import Model, ModelResponse, Usage, exceptions, function_tool
from flow_kit import alone, ran
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from openai.types.responses import ResponseTextDeltaEvent as Delta
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, TextPart
from pydantic_ai.messages import ModelResponse as PydanticResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import (
    AgentReply,
    ConfigurationError,
    DefinitionError,
    EdgeError,
    HTTPAgent,
    ModelMisbehaved,
    ModelRejected,
    ModelUnavailable,
    OpenAIAgent,
    Retry,
    RunInfo,
    Step,
    step,
)
from flujo_core.testing.agents import AGENT_CHECKS, Behaviour, assert_agent_conforms


class Verdict(BaseModel):
    good: bool


# ------------------------------------------------------------------------------------------------------ simulated ends


def message(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(text=text, type="output_text", annotations=[])
    return ResponseOutputMessage(id="m", content=[part], role="assistant", status="completed", type="message")


def http_error(status: int) -> openai.APIStatusError:
    request = httpx2.Request("POST", "http://model.test")
    kind = openai.RateLimitError if status == 429 else openai.APIStatusError
    return kind("Ada-Lovelace-1815", response=httpx2.Response(status, request=request), body=None)


class Simulated(Model):
    """A simulated model of the SDK: gives what it was told, or does what it is to do."""

    def __init__(self, behaviour: Any, answer: str | None = None) -> None:
        self.behaviour = behaviour
        self.answer = answer

    async def _act(self, input: Any) -> str:
        await asyncio.sleep(0)
        match self.behaviour:
            case "is unavailable":
                raise openai.APIConnectionError(request=httpx2.Request("POST", "http://model.test"))
            case "refuses":
                raise http_error(400)
            case "misbehaves":
                raise exceptions.ModelBehaviorError("Ada-Lovelace-1815")
            case "hangs":
                await asyncio.sleep(60)
            case Exception() as error:
                raise error
        told = input if isinstance(input, str) else " ".join(str(one.get("content")) for one in input)
        return self.answer or told

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **more: Any) -> ModelResponse:
        text = await self._act(input)
        return ModelResponse([message(text)], Usage(requests=1, input_tokens=3, output_tokens=5), "r")

    async def stream_response(
        self, system_instructions: Any, input: Any, *args: Any, **more: Any
    ) -> AsyncIterator[Any]:
        text = await self._act(input)
        where = {"content_index": 0, "item_id": "m", "output_index": 0, "sequence_number": 1, "logprobs": []}
        for word in text.split(" "):
            yield Delta(delta=word + " ", type="response.output_text.delta", **where)  # type: ignore[arg-type]
        response = Response.model_construct(id="r", output=[message(text)], usage=None, object="response")
        yield ResponseCompletedEvent.model_construct(response=response, sequence_number=2, type="response.completed")


def sdk_agent(behaviour: Any, answer: str | None = None, output: Any = None, **more: Any) -> OpenAIAgent[Any]:
    return OpenAIAgent(SDKAgent("asked", model=Simulated(behaviour, answer), output_type=output), **more)


def pydantic_agent(behaviour: Behaviour) -> Agent[None, str]:
    async def answers(messages: list[ModelMessage], info: AgentInfo) -> PydanticResponse:
        match behaviour:
            case "is unavailable":
                raise ModelHTTPError(503, "simulated")
            case "refuses":
                raise ModelHTTPError(400, "simulated")
            case "misbehaves":
                raise UnexpectedModelBehavior("Ada-Lovelace-1815")
            case "hangs":
                await asyncio.sleep(60)
        return PydanticResponse([TextPart(str(messages[-1].parts[-1].content))])  # type: ignore[union-attr]

    return Agent(FunctionModel(answers))


class Handler(BaseHTTPRequestHandler):
    """A simulated agent behind HTTP; what it does is in the path."""

    seen: list[tuple[dict[str, str], dict[str, Any]]] = []

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append(({name.lower(): value for name, value in self.headers.items()}, asked))
        what = self.path.strip("/").replace("%20", " ")
        if what == "hangs":
            time.sleep(1)
        status = {"is unavailable": 503, "refuses": 400, "busy": 429, "moved": 302}.get(what, 200)
        told = f"{asked['input']} {asked['feedback'] or ''}"
        reply: Any = {"output": told, "usage": {"requests": 2, "input_tokens": 7}}
        reply = {"misbehaves": "Ada-Lovelace-1815", "number": {"output": 5}, "bare": {"output": told}}.get(what, reply)
        body = b"{" if what == "torn" else json.dumps(reply).encode()
        body = b'"' + b"x" * 5000 + b'"' if what == "huge" else body
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Says nothing of clients that have gone."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    Handler.seen = []
    made = Server(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    thread.join()
    made.server_close()


# ---------------------------------------------------------------------------------------------------- the one contract


@pytest.mark.parametrize("check", AGENT_CHECKS)
def test_an_agent_of_the_openai_agents_sdk_conforms(check: str) -> None:
    asyncio.run(assert_agent_conforms(sdk_agent, only=[check]))


@pytest.mark.parametrize("check", AGENT_CHECKS)
def test_an_agent_behind_http_conforms(check: str, server: str) -> None:
    asyncio.run(assert_agent_conforms(lambda behaviour: HTTPAgent(f"{server}/{behaviour}"), only=[check]))


@pytest.mark.parametrize("check", AGENT_CHECKS)
def test_an_agent_of_pydantic_ai_conforms(check: str) -> None:
    asyncio.run(assert_agent_conforms(pydantic_agent, only=[check]))


class Wrong:
    """An agent that does everything wrong."""

    def __repr__(self) -> str:
        return "Ada-Lovelace-1815"

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        self.task = asyncio.create_task(asyncio.sleep(60))
        return AgentReply("wrong")


@pytest.mark.parametrize("check", [one for one in AGENT_CHECKS if one not in ("journaled", "feedback")])
def test_an_agent_that_does_not_is_found(check: str) -> None:
    with pytest.raises(AssertionError, match=f"the agent does not conform:\n- {check}: "):
        asyncio.run(assert_agent_conforms(lambda behaviour: Wrong(), only=[check], patience=2))


@pytest.mark.parametrize("agent", [5, sdk_agent("refuses")], ids=["what is no agent", "what only fails"])
def test_what_can_do_nothing_is_found(agent: Any) -> None:
    with pytest.raises(AssertionError, match="the agent does not conform:\n- answers: "):
        asyncio.run(assert_agent_conforms(lambda behaviour: agent, only=["answers"]))


# ------------------------------------------------------------------------------------------------------------ the SDK


def test_the_output_type_of_an_sdk_agent_is_the_steps() -> None:
    judged = Step.agent("judge", sdk_agent("answers", '{"good": true}', Verdict))
    assert judged.gives is Verdict and ran(judged, "x").output == Verdict(good=True)

    @step
    async def takes_text(text: str) -> str:
        return text

    with pytest.raises(EdgeError):
        judged >> takes_text


def test_an_sdk_agent_streams_its_text() -> None:
    @step
    async def upper(pieces: AsyncIterator[str]) -> list[str]:
        return [piece.upper() async for piece in pieces]

    found = ran(Step.agent("say", sdk_agent("answers", "all of it")).streaming() >> upper, "x")
    assert found.output == ["ALL ", "OF ", "IT "]
    failed = ran(Step.agent("say", sdk_agent("refuses")).streaming(), "x")
    assert isinstance(failed.cause, ModelRejected)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (http_error(429), ModelUnavailable),
        (http_error(500), ModelUnavailable),
        (exceptions.ModelTimeoutError(1.0), ModelUnavailable),
        (exceptions.ModelRefusalError("x"), ModelRejected),
        (exceptions.UserError("x"), ConfigurationError),
        (openai.OpenAIError("x"), ModelRejected),
    ],
)
def test_what_the_sdk_raises_is_what_it_means(error: Exception, kind: type[Exception]) -> None:
    assert isinstance(ran(Step.agent("ask", sdk_agent(error)), "x").cause, kind)


def test_an_sdk_agent_that_has_had_its_turns_is_refused() -> None:
    @function_tool
    def again() -> str:
        """Again."""
        return "again"

    class Calls(Simulated):
        async def get_response(self, *args: Any, **more: Any) -> ModelResponse:
            call = ResponseFunctionToolCall(arguments="{}", call_id="c", name="again", type="function_call")
            return ModelResponse([call], Usage(requests=1), "r")

    agent: OpenAIAgent[str] = OpenAIAgent(SDKAgent("loops", model=Calls("answers"), tools=[again]), max_turns=2)
    found = ran(Step.agent("ask", agent), "x")
    assert isinstance(found.cause, ModelRejected) and "had all of its turns" in str(found.cause)


def test_the_tracing_of_the_sdk_is_off_unless_asked_for() -> None:
    assert sdk_agent("answers")._config.tracing_disabled
    assert not sdk_agent("answers", tracing=True)._config.tracing_disabled


def test_a_named_model_of_the_sdk_is_part_of_what_the_agent_is() -> None:
    assert OpenAIAgent(SDKAgent("a", model="gpt-x")).model == "gpt-x" and sdk_agent("answers").model == "Simulated"


# --------------------------------------------------------------------------------------------------------------- HTTP


def test_a_request_has_what_the_server_must_know(server: str) -> None:
    Handler.seen.clear()
    agent = HTTPAgent(f"{server}/busy", headers={"Authorization": "Bearer secret"})
    found = ran(Step.agent("ask", agent, retry=Retry(2, backoff=0)), "hello", tenant="acme")
    assert isinstance(found.cause, ModelUnavailable) and len(Handler.seen) == 2
    (one, asked), (other, asked_again) = Handler.seen
    assert one["authorization"] == "Bearer secret" and one["idempotency-key"] == other["idempotency-key"]
    assert (asked["attempt"], asked_again["attempt"]) == (1, 2)
    assert {**asked, "attempt": 0} == {
        "input": "hello", "feedback": None, "run_id": "r", "tenant": "acme", "address": "ask", "attempt": 0
    }  # fmt: skip
    assert "secret" not in repr(agent) + str(found.error)


def test_headers_may_be_made_for_each_request(server: str) -> None:
    Handler.seen.clear()

    async def fetched() -> dict[str, str]:
        return {"x-token": "fetched"}

    for headers in (lambda: {"x-token": "made"}, fetched):
        assert ran(Step.agent("ask", HTTPAgent(f"{server}/bare", headers=headers)), "x").output == "x "
    assert [one["x-token"] for one, _ in Handler.seen] == ["made", "fetched"]


def test_types_other_than_text_cross(server: str) -> None:
    agent = HTTPAgent(f"{server}/number", takes=Verdict, gives=int)
    asks = Step.agent("ask", agent)
    assert (asks.takes, asks.gives) == (Verdict, int) and ran(asks, Verdict(good=True)).output == 5
    assert Handler.seen[-1][1]["input"] == {"good": True}
    found = ran(Step.agent("ask", HTTPAgent(f"{server}/answers", gives=int)), "Ada-Lovelace-1815")
    assert isinstance(found.cause, ModelMisbehaved) and "Ada" not in str(found.error)


@pytest.mark.parametrize(
    ("path", "kind"), [("torn", ModelMisbehaved), ("huge", ModelMisbehaved), ("moved", ModelRejected)]
)
def test_a_reply_that_cannot_be_used_is_told_apart(path: str, kind: type[Exception], server: str) -> None:
    found = ran(Step.agent("ask", HTTPAgent(f"{server}/{path}", max_bytes=1000)), "x")
    assert isinstance(found.cause, kind)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    found = ran(Step.agent("ask", HTTPAgent("http://127.0.0.1:9/secret-path")), "x")
    assert isinstance(found.cause, ModelUnavailable) and "secret-path" not in str(found.error)


@pytest.mark.parametrize(
    "wrong", [{"url": "ftp://x"}, {"url": "http://x", "timeout": 0}, {"url": "http://x", "max_bytes": 0}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        HTTPAgent(**wrong)


def test_a_step_knows_the_types_of_an_agent_behind_http() -> None:
    assert alone(Step.agent("ask", HTTPAgent("http://x.test"))).takes is str
