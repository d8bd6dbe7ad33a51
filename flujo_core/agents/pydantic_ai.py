"""Asks pydantic-ai agents. With its neighbours the only kernel code that imports pydantic_ai, for pipelines that do."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, TypeAlias

from pydantic_ai import DeferredToolRequests, FunctionToolset, RunContext, exceptions
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import AbstractCapability, AgentCapability, ResolveModelId
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelRateLimitError,
    ModelServerError,
    ModelUnavailableError,
    RunTimedOut,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)
from pydantic_ai.messages import (
    AgentStreamEvent,
    ModelMessage,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import Model, ModelResolutionContext, infer_model
from pydantic_ai.usage import RunUsage

from flujo_core.agents.deferred import deferred, history, results
from flujo_core.agents.partial import partial_handler
from flujo_core.agents.recorded import messages_json
from flujo_core.agents.status import may_pass
from flujo_core.agents.tool_call import ToolSurroundings
from flujo_core.agents.tool_drafts import ToolDrafts
from flujo_core.agents.usage import counted, usage_of
from flujo_core.errors import (
    ModelError,
    ModelMisbehaved,
    ModelNotConfigured,
    ModelRejected,
    ModelUnavailable,
)
from flujo_core.model.agent import AgentReply, CallLog, Deferred, Meter, ModelSource, model_name
from flujo_core.model.reconfiguration import Reconfigured

CUT_OFF: type[Exception] = getattr(exceptions, "OutputTokenLimitExceeded", exceptions.IncompleteToolCall)
"""What pydantic-ai raises for a reply that its limit of tokens cut off; before 2.68 only for a tool's arguments."""

OnPiece: TypeAlias = Callable[[Any], Awaitable[None]]
"""Gets each piece that the model gives, as it comes: of text, or what there is of an output of another type."""


async def ask(
    agent: AbstractAgent[Any, Any],
    prompt: str | None,
    *,
    deps: Any,
    models: ModelSource,
    capabilities: Sequence[AgentCapability[Any]],
    metadata: dict[str, Any],
    on_piece: OnPiece | None,
    partial: Any = None,
    log: CallLog | None = None,
    drafts: ToolDrafts | None = None,
    surroundings: ToolSurroundings | None = None,
    tools: Sequence[Any] = (),
    changed: Reconfigured | None = None,
    resumed: Deferred | None = None,
    answers: Mapping[str, Any] | None = None,
    meter: Meter | None = None,
) -> AgentReply[Any] | Deferred:
    """Runs a pydantic-ai agent; gives its reply, or what it waits for.

    Args:
        agent: The agent; a name of a model is resolved now.
        prompt: The user prompt; None where it goes on.
        deps: The agent's dependencies.
        models: Where plugins' models are found.
        capabilities: What plugins add to the agent's own capabilities.
        metadata: What the capabilities are told of the run, beside what the agent says.
        on_piece: Gets the text as it comes; None: the model is not asked to stream.
        partial: The type of output of which ``on_piece`` gets what is there and valid, instead of text; None: text.
        log: The finished calls; None: nothing is journaled.
        drafts: The drafts of its tool calls; None where they cannot change the context.
        surroundings: What its tool calls are given of the run, or None.
        tools: pydantic-ai tools that it has beside its own.
        changed: What the run has changed of it, or None.
        resumed: What it waited for, where it goes on; what it used counts as used by this call.
        answers: The answers to that, by the ids of the tool calls.
        meter: What its calls may spend; None: what they like.

    Raises:
        OverBudget: A budget has no room for a call.
        ModelError: The model gave nothing that can be used.
        CallsDiffer: It asked for something else than the log has.
    """
    known = _resolved(agent, models)
    other = {} if changed is None else _others(changed, models)
    before = None if resumed is None else history(resumed)
    used = RunUsage() if resumed is None or resumed.usage is None else counted(resumed.usage)
    try:
        result = await agent.run(
            prompt,
            message_history=before,
            deferred_tool_results=None if resumed is None else results(resumed, answers or {}),
            deps=deps,
            usage=used,
            infer_name=False,
            **other,
            metadata=metadata,
            toolsets=[FunctionToolset(list(tools), id="flujo")] if tools else None,
            capabilities=[
                *_around_calls(agent, log, drafts, surroundings, before or ()),
                *_resolving(agent, known, models),
                *capabilities,
                *_metering(meter, before or ()),
            ],
            event_stream_handler=None if on_piece is None else _handler(on_piece, partial),
        )
    except (ModelAPIError, UnexpectedModelBehavior, UsageLimitExceeded, RunTimedOut) as error:
        failure = _translated(error, agent)
        failure.usage = usage_of(used)
        raise failure from error
    except UserError as error:
        if agent.model is None and not used.requests:
            raise ModelNotConfigured("the agent has no model; give it one, or the name of one") from error
        raise
    if isinstance(result.output, DeferredToolRequests):
        return deferred(result.output, messages_json(result.all_messages()), usage_of(used))
    return AgentReply(result.output, usage_of(used))


def _others(changed: Reconfigured, models: ModelSource) -> dict[str, Any]:
    """What an agent is run with instead of, or beside, its own.

    Raises:
        ModelNotConfigured: Its other model cannot be had.
    """
    found: dict[str, Any] = {}
    if changed.model is not None:
        found["model"] = _model(changed.model, models)
    if changed.instructions:
        found["instructions"] = [*changed.instructions]
    if changed.settings:
        found["model_settings"] = {**changed.settings}
    return found


def _around_calls(
    agent: AbstractAgent[Any, Any],
    log: CallLog | None,
    drafts: ToolDrafts | None,
    surroundings: ToolSurroundings | None,
    before: Sequence[ModelMessage],
) -> list[AbstractCapability[Any]]:
    """What is around each of the agent's calls: nothing, unless there is a journal, or tools take of the run."""
    if log is None and drafts is None and surroundings is None:
        return []
    from flujo_core.agents.durable import CallJournal, ToolTransactions, check_one_journal  # noqa: PLC0415 - is dear

    if log is None:
        return [ToolTransactions(drafts, surroundings, before)]
    check_one_journal(agent)
    return [CallJournal(log, drafts, surroundings, before)]


def _metering(meter: Meter | None, before: Sequence[ModelMessage]) -> list[AbstractCapability[Any]]:
    """What is around each of the agent's requests, next to its model; nothing without budgets."""
    if meter is None:
        return []
    from flujo_core.agents.metered import Metered, MeteredModels  # noqa: PLC0415 - few runs have budgets

    metered = Metered(meter, sum(isinstance(message, ModelResponse) for message in before))
    return [metered, MeteredModels(metered)]


HOOK_LIKE = ("after_", "before_", "for_", "get_", "handle_", "on_", "prepare_", "resolve_", "wrap_")
"""How the names of those methods begin that pydantic-ai calls of a capability."""


def capability_flaw(given: object) -> str | None:
    """Why a capability would not do what its author means, as the end of a sentence, or None.

    A method that overrides none of the installed pydantic-ai would never be called, and one that is async where it must
    not be, or the other way round, or that lacks a parameter, would fail in the middle of a run.
    """
    if not isinstance(given, AbstractCapability):
        return f"a {type(given).__name__!r}, which is no pydantic-ai capability"
    parts: list[AbstractCapability[Any]] = [given]
    given.apply(parts.append)
    for part in parts:
        own = (kind for kind in type(part).__mro__ if kind.__module__.partition(".")[0] != "pydantic_ai")
        methods = ((name, method) for kind in own for name, method in vars(kind).items() if _is_hook_like(name))
        for name, method in methods:
            if (flaw := _method_flaw(name, method)) is not None:
                return f"the capability '{type(part).__name__}', {flaw}"
    return None


def _is_hook_like(name: str) -> bool:
    known = [one for one in dir(AbstractCapability) if not one.startswith("_")]
    return name.startswith(HOOK_LIKE) or (not name.startswith("_") and bool(get_close_matches(name, known, 1, 0.85)))


def _method_flaw(name: str, method: object) -> str | None:
    method = method.__func__ if isinstance(method, staticmethod | classmethod) else method
    if not inspect.isfunction(method):
        return None
    original = getattr(AbstractCapability, name, None)
    if original is None:
        return f"whose method '{name}' the installed pydantic-ai {version('pydantic-ai-slim')} does not call"
    if inspect.iscoroutinefunction(original) != inspect.iscoroutinefunction(method):
        return f"whose method '{name}' {'must be' if inspect.iscoroutinefunction(original) else 'is'} async"
    parameters = inspect.signature(original).parameters.values()
    by_name = {one.name: None for one in parameters if one.kind is one.KEYWORD_ONLY}
    by_place = [None for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    try:
        inspect.signature(method).bind(*by_place, **by_name)
    except TypeError as error:
        return f"whose method '{name}' cannot be called as pydantic-ai calls it ({error})"
    return None


def _resolved(agent: AbstractAgent[Any, Any], models: ModelSource) -> dict[str, Model]:
    """The agent's model by its name, found before the agent runs, so that an error in it is known to be the model's.

    Empty for an agent that has a model, and for one that resolves names by itself.
    """
    name = agent.model
    if not isinstance(name, str) or agent.root_capability.has_resolve_model_id:
        return {}
    return {name: _model(name, models)}


def _model(name: str, models: ModelSource) -> Model:
    """A model, by its name.

    Raises:
        ModelNotConfigured: There is none, or it cannot be had.
    """
    try:
        model = models.find_model(name)
        return infer_model(name) if model is None else model
    except (UserError, ImportError) as error:
        raise ModelNotConfigured(_not_configured(name, error, models)) from error


def _resolving(
    agent: AbstractAgent[Any, Any], known: Mapping[str, Model], models: ModelSource
) -> list[AbstractCapability[Any]]:
    """What resolves names of models; an agent that has its model goes without: it is a fifth of a run's own cost."""
    return [] if isinstance(agent.model, Model) else [ResolveModelId(_resolver(known, models))]


def _resolver(
    known: Mapping[str, Model], models: ModelSource
) -> Callable[[ModelResolutionContext[Any], str], Model | None]:
    def resolve(context: ModelResolutionContext[Any], model_id: str) -> Model | None:
        found: Model | None = known.get(model_id) or models.find_model(model_id)
        return found

    return resolve


Handler: TypeAlias = Callable[[RunContext[Any], AsyncIterable[AgentStreamEvent]], Awaitable[None]]


def _handler(on_piece: OnPiece, partial: Any) -> Handler:
    if partial is not None:
        return partial_handler(on_piece, partial)

    async def handle(context: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
        async for event in events:
            match event:
                case (
                    PartStartEvent(part=TextPart(content=text))
                    | PartDeltaEvent(delta=TextPartDelta(content_delta=text))
                ) if text:
                    await on_piece(text)

    return handle


def _translated(error: Exception, agent: AbstractAgent[Any, Any]) -> ModelError:
    """What a pydantic-ai error means for the step. Its own text is left out: it may quote what was sent."""
    who = f"the model '{model_name(agent.model)}'"
    match error:
        case _ if isinstance(error, CUT_OFF):
            return ModelMisbehaved(f"{who} was cut off by its limit of tokens; raise 'max_tokens', or bound the output")
        case UnexpectedModelBehavior():
            return ModelMisbehaved(f"{who} answered, but never with a valid {_wanted(agent)} ({type(error).__name__})")
        case UsageLimitExceeded():
            return ModelRejected(f"{who} was not asked further: the agent's usage limits are reached")
        case ModelUnavailableError() | ModelConnectionError() | ModelServerError() | ModelRateLimitError():
            return ModelUnavailable(f"{who} did not answer ({_reason(error)}); try again later")
        case RunTimedOut():
            return ModelUnavailable(f"{who} did not answer in the time that the agent allows")
        case ModelHTTPError(status_code=status) if may_pass(status):
            return ModelUnavailable(f"{who} did not answer ({_reason(error)}); try again later")
        case ModelHTTPError():
            return ModelRejected(f"{who} refused the request ({_reason(error)})")
    return ModelMisbehaved(f"{who} gave no answer that can be read ({_reason(error)})")


def _reason(error: Exception) -> str:
    name = type(error).__name__.removeprefix("_HTTP")
    return f"{name}, HTTP status {error.status_code}" if isinstance(error, ModelHTTPError) else name


def _wanted(agent: AbstractAgent[Any, Any]) -> str:
    return f"'{agent.output_type.__name__}'" if isinstance(agent.output_type, type) else "output"


def _not_configured(name: str, error: Exception, models: ModelSource) -> str:
    """A set-up error of pydantic-ai in one sentence, and what plugins offer where the name is unknown."""
    text = str(error).splitlines()[0].split(". ")[0].rstrip(".") if str(error) else type(error).__name__
    if text.startswith("Unknown model"):
        offered = ", ".join(f"'{prefix}:...'" for prefix in models.model_prefixes()) or "none (no plugin adds any)"
        text = f"pydantic-ai does not know the name, and the names that plugins add are {offered}"
    return f"the model '{name}' cannot be used: {text}"
