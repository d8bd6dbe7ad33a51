"""OpenAIAgent: an agent of the OpenAI Agents SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from flujo_core.agents.status import may_pass
from flujo_core.errors import (
    ConfigurationError,
    ModelError,
    ModelMisbehaved,
    ModelNotConfigured,
    ModelRejected,
    ModelUnavailable,
)
from flujo_core.model.agent import AgentReply, Usage, told_again
from flujo_core.model.check import type_name
from flujo_core.model.signature import RunInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents import Agent, RunConfig
    from agents import Usage as SDKUsage

Out = TypeVar("Out", covariant=True, default=str)


class OpenAIAgent(Generic[Out]):
    """An agent of the OpenAI Agents SDK (``pip install 'flujo-core[openai-agents]'``), for ``Step.agent``.

    Its input is text. Its output type is the SDK agent's: ``OpenAIAgent[Verdict](Agent(..., output_type=Verdict))``.
    What the SDK would send to OpenAI's tracing is switched off unless ``tracing`` says otherwise, as it holds what the
    agent is told. The calls that the agent makes are not journaled one by one, as those of pydantic-ai's agents are:
    after a crash it is asked anew, under the same idempotency key.

    Args:
        agent: The SDK's agent.
        max_turns: How often it may ask its model in one attempt.
        tracing: Whether the SDK may trace its runs.
        egress: Whether what it is given leaves the boundary, or the name of where to; False of a model inside.

    Raises:
        ConfigurationError: The SDK is not installed.
    """

    def __init__(
        self, agent: Agent[Any], *, max_turns: int = 10, tracing: bool = False, egress: bool | str = True
    ) -> None:
        try:
            from agents import RunConfig  # noqa: PLC0415 - an extra, and dear to import
        except ImportError as error:
            raise ConfigurationError(
                "'OpenAIAgent' needs the OpenAI Agents SDK: pip install 'flujo-core[openai-agents]'"
            ) from error
        self.takes: Any = str
        self.gives: Any = agent.output_type or str
        self.name = agent.name
        self.egress = egress
        self.model = agent.model if isinstance(agent.model, str) else type(agent.model).__qualname__
        self._agent = agent
        self._max_turns = max_turns
        self._config: RunConfig = RunConfig(tracing_disabled=not tracing)

    def __repr__(self) -> str:
        return f"<OpenAIAgent '{self.name}' gives '{type_name(self.gives)}'>"

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[Out]:
        """Asks it.

        Raises:
            ModelError: It gave nothing that can be used.
        """
        from agents import Runner  # noqa: PLC0415

        with _translated():
            result = await Runner.run(
                self._agent, _prompt(input, info), max_turns=self._max_turns, run_config=self._config
            )
        return AgentReply(result.final_output, _used(result.context_wrapper.usage))

    async def stream(self, input: str, /, *, info: RunInfo) -> AsyncIterator[Any]:
        """Gives its text as it comes, and last its reply.

        Raises:
            ModelError: It gave nothing that can be used.
        """
        from agents import Runner  # noqa: PLC0415

        with _translated():
            result = Runner.run_streamed(
                self._agent, _prompt(input, info), max_turns=self._max_turns, run_config=self._config
            )
            try:
                async for event in result.stream_events():
                    if event.type != "raw_response_event" or self.gives is not str:
                        continue
                    if event.data.type == "response.output_text.delta":
                        yield event.data.delta
            finally:
                result.cancel()
        yield AgentReply(result.final_output, _used(result.context_wrapper.usage))


def _prompt(input: str, info: RunInfo) -> str:
    return input if info.feedback is None else told_again(input, info.feedback)


def _used(usage: SDKUsage) -> Usage:
    return Usage(usage.requests, usage.input_tokens, usage.output_tokens)


@contextmanager
def _translated() -> Iterator[None]:
    """Raises what the SDK raises as what it means for a step, without its texts: they may quote what was sent."""
    from agents import exceptions as sdk  # noqa: PLC0415
    from openai import APIConnectionError, APIStatusError, OpenAIError  # noqa: PLC0415

    try:
        yield
    except APIStatusError as error:
        raise _of_status(error.status_code) from None
    except (APIConnectionError, sdk.ModelTimeoutError) as error:
        raise ModelUnavailable(f"the agent's model did not answer ({type(error).__name__}); try again later") from None
    except sdk.MaxTurnsExceeded:
        raise ModelRejected("the agent has had all of its turns; raise 'max_turns', or ask for less") from None
    except (sdk.ModelBehaviorError, sdk.ToolTimeoutError) as error:
        raise ModelMisbehaved(f"the agent came to no valid answer ({type(error).__name__})") from None
    except sdk.UserError:
        raise ModelNotConfigured("the agent is not set up as the SDK wants it; run it alone to see why") from None
    except (sdk.AgentsException, OpenAIError) as error:
        raise ModelRejected(f"the agent refused to answer ({type(error).__name__})") from None


def _of_status(status: int) -> ModelError:
    if may_pass(status):
        return ModelUnavailable(f"the agent's model did not answer (HTTP status {status}); try again later")
    return ModelRejected(f"the agent's model refused the request (HTTP status {status})")
