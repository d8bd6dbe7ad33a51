"""Plugins put together at random: what each does and its policy say what comes of them all, and nothing else."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from plugin_kit import Proceed, alone, plugin, work

from flujo_core import (
    AuthorizationRequest,
    Decision,
    Plugin,
    PluginError,
    RunFailed,
    RunRefused,
    StepCall,
    StepError,
    Stop,
    Veto,
    step,
)

BEHAVIOURS = [
    "pass", "add", "swallow", "retry", "raise first", "raise last", "raise over", "wrong first", "wrong last",
    "veto first", "veto last", "own result",
]  # fmt: skip


class Behaving(Plugin):
    """An ``around_step`` that behaves in one of the ways of ``BEHAVIOURS``."""

    def __init__(self, name: str, behaviour: str) -> None:
        self.name = name  # type: ignore[misc]
        self.behaviour = behaviour

    async def around_step(self, call: StepCall, proceed: Proceed, /) -> Any:
        first = {"raise first": ValueError("x"), "veto first": Veto(self.name)}.get(self.behaviour)
        if first is not None:
            raise first
        if self.behaviour in ("wrong first", "own result"):
            return 5 if self.behaviour == "wrong first" else call.result(1000)
        try:
            result = await proceed()
        except StepError as error:
            if self.behaviour == "retry":
                return await proceed()
            if self.behaviour == "raise over":
                raise KeyError from error
            if self.behaviour != "swallow":
                raise
            result = call.result(-1)
        except BaseException:
            if self.behaviour != "swallow":
                raise
            result = call.result(-1)
        last = {"raise last": ValueError("x"), "veto last": Veto(self.name)}.get(self.behaviour)
        if last is not None:
            raise last
        if self.behaviour == "wrong last":
            return 5
        return result.replace(output=result.output + 1) if self.behaviour == "add" else result


class Expected(NamedTuple):
    """What a step and the plugins around it must come to.

    Attributes:
        ending: ``completed``, ``failed``, ``stopped`` or ``refused``.
        what: The output, or for ``refused`` the plugin's name and whether it was a veto.
        ran: How often the step ran.
    """

    ending: str
    what: Any
    ran: int


def wrapped(inner: Expected, name: str, behaviour: str, policy: str) -> Expected:
    """What one more plugin makes of ``inner``, as docs/explanation/plugins.md says."""
    mistake = inner if policy == "open" else Expected("refused", (name, False), inner.ran)
    if behaviour in ("raise first", "wrong first"):
        return mistake if policy == "open" else mistake._replace(ran=0)
    if behaviour in ("veto first", "own result"):
        return Expected("refused", (name, True), 0) if behaviour == "veto first" else Expected("completed", 1000, 0)
    if inner.ending in ("stopped", "refused"):
        return inner
    if inner.ending == "failed":
        over = {
            "swallow": Expected("completed", -1, inner.ran),
            "retry": inner._replace(ran=inner.ran * 2),
            "raise over": mistake,
        }
        return over.get(behaviour, inner)
    after = {
        "add": inner._replace(what=inner.what + 1),
        "raise last": mistake,
        "wrong last": mistake,
        "veto last": Expected("refused", (name, True), inner.ran),
    }
    return after.get(behaviour, inner)


def expected(plugins: list[tuple[str, str]], step_does: str) -> Expected:
    """What a step within these plugins, the outermost first, must come to."""
    found = Expected({"completes": "completed", "fails": "failed", "stops": "stopped"}[step_does], 2, 1)
    for number, (behaviour, policy) in reversed(list(enumerate(plugins))):
        found = wrapped(found, f"p{number}", behaviour, policy)
    return found


def came_to(plugins: list[tuple[str, str]], step_does: str) -> Expected:
    """What it does come to."""
    ran: list[int] = []

    @step
    async def it(value: int) -> int | Stop:
        ran.append(value)
        if step_does == "fails":
            raise ValueError
        return Stop("enough") if step_does == "stops" else value + 1

    opened = " ".join(f"p{number}" for number, (_, policy) in enumerate(plugins) if policy == "open")
    behaving = [Behaving(f"p{number}", behaviour) for number, (behaviour, _) in enumerate(plugins)]
    flujo = alone(it, *reversed(behaving), opened=opened)
    try:
        result = flujo.run(1)
    except RunRefused as refused:
        cause = refused.__cause__
        assert refused.result.status == "refused" and isinstance(cause, Veto | PluginError)
        name = cause.reason.split()[-1] if isinstance(cause, Veto) else cause.plugin
        return Expected("refused", (name, isinstance(cause, Veto)), len(ran))
    except RunFailed as failed:
        return Expected(failed.result.status, 2, len(ran))
    return Expected(result.status, result.output if result.status == "completed" else 2, len(ran))


@examples(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(BEHAVIOURS), st.sampled_from(["closed", "open"])), max_size=5),
    st.sampled_from(["completes", "fails", "stops"]),
)
def test_around_hooks_compose_whatever_each_does_and_whatever_its_policy(
    plugins: list[tuple[str, str]], step_does: str
) -> None:
    assert came_to(plugins, step_does) == expected(plugins, step_does)


PRE = ["nothing", "add", "raise", "wrong", "veto", "stop"]


@examples(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(PRE), st.sampled_from(["closed", "open"])), max_size=6))
def test_each_pre_hook_gets_the_last_good_value_and_the_first_that_ends_the_run_is_the_last_that_is_asked(
    plugins: list[tuple[str, str]],
) -> None:
    asked: list[int] = []

    def one(number: int, does: str) -> Plugin:
        async def pre_step_execution(self: Plugin, call: StepCall, /) -> Any:
            asked.append(number)
            if does in ("raise", "veto"):
                raise ValueError if does == "raise" else Veto("no")
            if does == "add":
                return call.replace(step_input=call.step_input + 1)
            return {"wrong": 5, "stop": Stop("enough")}.get(does)

        return plugin(f"p{number}", pre_step_execution=pre_step_execution)

    opened = " ".join(f"p{number}" for number, (_, policy) in enumerate(plugins) if policy == "open")
    flujo = alone(work, *(one(number, does) for number, (does, _) in reversed(list(enumerate(plugins)))), opened=opened)
    ends = [
        number
        for number, (does, policy) in enumerate(plugins)
        if does in ("veto", "stop") or (does in ("raise", "wrong") and policy == "closed")
    ]
    try:
        result = flujo.run(0)
        status = result.status
    except RunRefused as refused:
        status = refused.result.status
    assert asked == list(range(ends[0] + 1 if ends else len(plugins)))
    if not ends:
        assert result.output == [does for does, _ in plugins].count("add") + 1
    else:
        assert status == ("stopped" if plugins[ends[0]][0] == "stop" else "refused")


ANSWERS: dict[str, Any] = {"none": None, "yes": Decision.allow(), "no": Decision.deny("no"), "odd": 1, "raise": 0}


@examples(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(sorted(ANSWERS)), st.sampled_from(["closed", "open"])), max_size=6))
def test_the_first_that_does_not_answer_none_authorizes_or_not_and_only_a_yes_is_a_yes(
    plugins: list[tuple[str, str]],
) -> None:
    asked: list[int] = []

    def one(number: int, says: str) -> Plugin:
        async def authorize(self: Plugin, request: AuthorizationRequest, /) -> Any:
            if request.action == "run_step":
                asked.append(number)
                return ANSWERS[says] if says != "raise" else 1 / 0
            return None

        return plugin(f"p{number}", authorize=authorize)

    opened = " ".join(f"p{number}" for number, (_, policy) in enumerate(plugins) if policy == "open")
    flujo = alone(work, *(one(number, says) for number, (says, _) in reversed(list(enumerate(plugins)))), opened=opened)
    deciding = [number for number, (says, _) in enumerate(plugins) if says != "none"]
    try:
        allowed = flujo.run(0).status == "completed"
    except RunRefused:
        allowed = False
    assert asked == list(range(deciding[0] + 1 if deciding else len(plugins)))
    assert allowed is (not deciding or plugins[deciding[0]][0] == "yes")
