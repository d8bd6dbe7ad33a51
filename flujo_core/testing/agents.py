"""The suite that every agent must pass that is no pydantic-ai agent: ``await assert_agent_conforms(make_agent)``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from flujo_core.config import PluginSettings, Settings
from flujo_core.errors import DefinitionError, ModelMisbehaved, ModelRejected, ModelUnavailable, StepError, StepTimeout
from flujo_core.flujo import Flujo
from flujo_core.model.policy import Retry
from flujo_core.model.result import RunFailed
from flujo_core.model.step import Step
from flujo_core.store.memory import MemoryStore

Behaviour: TypeAlias = Literal["answers", "is unavailable", "refuses", "misbehaves", "hangs"]
"""What an agent is to do: answer with all that it was told in the answer; not be there; refuse for good; answer with
what is not of its type, or not at all; or never answer."""

MakeAgent: TypeAlias = Callable[[Behaviour], Any]
"""Makes an agent of text that behaves so, for ``Step.agent``."""

ALONE = Settings(PluginSettings(allow=()))
SECRET = "Ada-Lovelace-1815"


async def assert_agent_conforms(make_agent: MakeAgent, /, *, only: Sequence[str] = (), patience: float = 30.0) -> None:
    """Checks that an agent keeps the contract of ``flujo_core.AgentProtocol``, in steps.

    Args:
        make_agent: Makes an agent that takes and gives text, and behaves as it is told: with a model or a server that
            is simulated.
        only: The names of the checks, of ``AGENT_CHECKS``; empty: all.
        patience: Seconds after which a check hangs.

    Raises:
        AssertionError: It does not; the message lists everything that was found.
    """
    found = [
        f"- {name}: {wrong}" for name in only or AGENT_CHECKS if (wrong := await _tried(name, make_agent, patience))
    ]
    if found:
        raise AssertionError("\n".join(["the agent does not conform:", *found]))


async def _tried(name: str, make_agent: MakeAgent, patience: float) -> str:
    """What is wrong, or nothing."""
    before = asyncio.all_tasks()
    try:
        async with asyncio.timeout(patience):
            await _CHECKS[name](make_agent)
            await asyncio.sleep(0.01)
    except (AssertionError, DefinitionError) as error:
        return str(error)
    except RunFailed as error:
        return f"it fails: {error}"
    except TimeoutError:
        return f"it was not done after {patience:.0f} s"
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    return f"it left {len(left)} tasks at work" if left else ""


async def _answers(make: MakeAgent) -> None:
    result = await _flujo(make("answers")).run_async("hello there")
    _check("hello there" in result.output, "its answer has not what it was told")
    _check(type(result.output) is str, f"it gives {type(result.output).__name__!r} instead of text")
    used = result.steps[0].usage
    _check(used is not None and used.requests >= 1, "it does not say what it used")


async def _side_by_side(make: MakeAgent) -> None:
    flujo = _flujo(make("answers"))
    async with flujo:
        results = await asyncio.gather(*(flujo.run_async(f"question-{number}.") for number in range(20)))
    mixed = [number for number, one in enumerate(results) if f"question-{number}." not in one.output]
    _check(not mixed, f"{len(mixed)} of 20 answers are not to what was asked")


async def _feedback(make: MakeAgent) -> None:
    seen: list[str] = []

    def again(output: str) -> str | None:
        seen.append(output)
        return "say-it-louder" if len(seen) == 1 else None

    await _flujo(make("answers"), retry=Retry(2), validators=[again]).run_async("hello")
    _check("say-it-louder" in seen[-1], "it is not told what a validator said of its answer")
    _check("say-it-louder" not in seen[0], "it is told what a validator said before it has")


async def _unavailable(make: MakeAgent) -> None:
    error = await _error(make("is unavailable"), retry=Retry(2, on=(ModelUnavailable,)))
    _check(isinstance(error, ModelUnavailable), f"it raises {type(error).__name__} instead of ModelUnavailable")
    _check(error.attempts == 2, "it is not tried again")


async def _refuses(make: MakeAgent) -> None:
    error = await _error(make("refuses"), retry=Retry(2, on=(ModelUnavailable,)))
    _check(isinstance(error, ModelRejected), f"it raises {type(error).__name__} instead of ModelRejected")


async def _misbehaves(make: MakeAgent) -> None:
    error = await _error(make("misbehaves"))
    _check(isinstance(error, ModelMisbehaved), f"it raises {type(error).__name__} instead of ModelMisbehaved")


async def _silent(make: MakeAgent) -> None:
    for behaviour in ("is unavailable", "refuses", "misbehaves"):
        agent = make(behaviour)
        told = f"{await _error(agent)!s} {agent!r}"
        _check(SECRET not in told, f"an agent that {behaviour} shows what it was told")


async def _times_out(make: MakeAgent) -> None:
    error = await _error(make("hangs"), timeout=0.3)
    _check(isinstance(error, StepTimeout), f"it raises {type(error).__name__} instead of StepTimeout")


async def _cancelled(make: MakeAgent) -> None:
    task = asyncio.create_task(_flujo(make("hangs")).run_async("hello"))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.wait([task])
    _check(task.cancelled(), "it does not heed a cancellation")


async def _journaled(make: MakeAgent) -> None:
    store = MemoryStore()
    live = await _flujo(make("answers"), store).run_async("hello", run_id="r")
    again = await _flujo(make("is unavailable"), store).run_async("hello", run_id="r")
    _check(live.output == again.output, "what the journal has of its answer is not what it gave")


_CHECKS: Mapping[str, Callable[[MakeAgent], Awaitable[None]]] = MappingProxyType(
    {
        "answers": _answers,
        "side_by_side": _side_by_side,
        "feedback": _feedback,
        "unavailable": _unavailable,
        "refuses": _refuses,
        "misbehaves": _misbehaves,
        "silent": _silent,
        "times_out": _times_out,
        "cancelled": _cancelled,
        "journaled": _journaled,
    }
)

AGENT_CHECKS = tuple(_CHECKS)
"""The names of the checks, to make a test of each: ``assert_agent_conforms(make_agent, only=[check])``."""


def _flujo(agent: Any, store: MemoryStore | None = None, **policies: Any) -> Flujo[Any, Any, Any]:
    made: Flujo[Any, Any, Any] = Flujo(Step.agent("ask", agent, **policies), store=store, settings=ALONE)
    return made


async def _error(agent: Any, **policies: Any) -> StepError:
    """Why a step that asks the agent fails.

    Raises:
        AssertionError: It does not.
    """
    try:
        await _flujo(agent, **policies).run_async(SECRET)
    except RunFailed as failed:
        assert isinstance(failed.__cause__, StepError)
        return failed.__cause__
    raise AssertionError("it gives an answer")


def _check(holds: bool, wrong: str) -> None:
    if not holds:
        raise AssertionError(wrong)
