"""Steps on a backend: what crosses, what comes back, and that it is as if they were local."""

from __future__ import annotations

import asyncio
import re

import backend_kit as kit
import pytest

from flujo_core import (
    Branch,
    ConfigurationError,
    DefinitionError,
    Flujo,
    InvalidValue,
    LocalBackend,
    Plugin,
    RemoteCall,
    RemoteFailure,
    RemoteOutput,
    RemotePause,
    ResourceHints,
    Retry,
    RunFailed,
    RunRefused,
    Step,
    StepError,
    step,
)
from flujo_core.testing import harness


class Elsewhere(LocalBackend):
    """Runs steps as they cross, in this process; says that it honours much; remembers what it was asked."""

    honours = frozenset({"gpu", "queue"})

    def __init__(self) -> None:
        self.calls: list[RemoteCall] = []
        self.closed = 0

    async def execute(self, call):
        self.calls.append(RemoteCall.decoded(call.encoded()))
        assert self.calls[-1] == call
        async for item in super().execute(call):
            yield item

    async def aclose(self) -> None:
        self.closed += 1


class Fixed(LocalBackend):
    """Gives always the same items."""

    def __init__(self, *items) -> None:
        self.items = items

    async def execute(self, call):
        for item in self.items:
            yield item


class Brings(Plugin):
    name = "acme"

    def __init__(self, backend) -> None:
        self.backend = backend

    def register_backends(self, registry):
        registry.add("there", lambda: self.backend)


def on(backend, node, **more) -> Flujo:
    """A Flujo whose step runs on a backend."""
    return Flujo(node.policy(backend="acme/there"), plugins=[Brings(backend)], **more)


def run_on(backend, node, value, **more):
    return on(backend, node, **more).run(value)


def failure_on(backend, node, value, **more) -> StepError:
    with pytest.raises(RunFailed) as failed:
        run_on(backend, node, value, **more)
    assert isinstance(failed.value.__cause__, StepError)
    return failed.value.__cause__


def test_a_plugins_backend_runs_steps_and_is_closed_with_the_flujo() -> None:
    backend = Elsewhere()
    assert run_on(backend, kit.double, 4).output == 8
    [call] = backend.calls
    assert (call.step, call.name, call.info.address, call.info.attempt) == ("backend_kit:double", "double", "double", 1)
    assert repr(call) == f"<RemoteCall '{call.info.run_id}' 'double'>"
    assert backend.closed == 1


@pytest.mark.parametrize(("node", "given"), [(kit.double_async, 6), (kit.wrapped, 12)])
def test_async_functions_run_too(node: Step, given: int) -> None:
    assert run_on(Elsewhere(), node, 3).output == given


def test_a_step_without_an_input_runs() -> None:
    assert run_on(Elsewhere(), kit.nothing, None).output == "no input"


def test_what_changed_in_the_context_is_committed_with_the_output() -> None:
    begin = kit.Notes(lines=["old"], counts={"a": 1})
    flujo = Flujo(kit.note >> kit.look, context=kit.Notes)
    result = flujo.run("a", context=begin)
    assert result.output == 2
    assert (result.context.lines, result.context.counts) == (["old", "a"], {"a": 2})
    assert result.context.title == "note#1 in True"


def test_what_a_failed_attempt_changed_is_dropped(tmp_path) -> None:
    backend = Elsewhere()
    result = on(backend, kit.note, context=kit.Notes, store="memory://").run("a")
    assert result.context.lines == ["a"]
    strict = run_on(backend, kit.entitle, "t", context=kit.Strict)
    assert strict.context.title == "t"


def test_named_inputs_cross_those_that_there_are() -> None:
    def is_even(text: str) -> str:
        return "even" if len(text) % 2 == 0 else "odd"

    route = Branch("route", on=is_even).case("even", kit.second).default(kit.third)
    there = kit.join.policy(backend="acme/there")
    flujo = Flujo(kit.first >> route >> kit.text_of >> there, plugins=[Brings(Elsewhere())])
    assert [flujo.run(one).output for one in ("a", "ab")] == ["5 first of a 5", "6 first of ab 7"]


def test_an_input_that_would_be_another_there_fails_the_attempt() -> None:
    error = failure_on(Elsewhere(), kit.name_of, kit.Dog(name="rex"))
    assert isinstance(error, InvalidValue)
    assert "its input would come back from its backend as something else" in str(error)
    assert "rex" not in str(error)


@pytest.mark.parametrize("value", [kit.wrong, kit.any_of])
def test_an_output_is_validated_where_it_is_made(value: Step) -> None:
    error = failure_on(Elsewhere(), value, 1)
    assert isinstance(error, InvalidValue)
    assert "its output" in str(error)


def test_an_output_is_validated_where_it_comes_back() -> None:
    error = failure_on(Fixed(RemoteOutput(b'"text"')), kit.double, 1)
    assert "its output came from its backend as no 'int'" in str(error)
    assert isinstance(error, InvalidValue)


@pytest.mark.parametrize("items", [(), (RemoteOutput(b"1"), RemoteOutput(b"2"))])
def test_a_backend_gives_one_outcome(items) -> None:
    assert f"gave {len(items)} outcomes of one attempt" in str(failure_on(Fixed(*items), kit.double, 1))


def test_an_error_comes_back_as_its_class_and_without_its_text() -> None:
    tried = kit.refuse.policy(retry=Retry(attempts=2, on=(kit.Refused,)))
    backend = Elsewhere()
    error = failure_on(backend, tried, "patient")
    assert (error.attempts, len(backend.calls)) == (2, 2)
    assert type(error.__cause__) is kit.Loud
    assert "patient" not in f"{error} {error.__cause__} {error.__cause__.__notes__}"
    assert "line" in error.__cause__.__notes__[0]
    assert "in refuse" in error.__cause__.__notes__[0]


def test_a_retry_for_another_error_does_not_try_again() -> None:
    tried = kit.refuse.policy(retry=Retry(attempts=2, on=(OSError,)))
    assert failure_on(Elsewhere(), tried, "x").attempts == 1


def test_errors_of_flujo_keep_their_text() -> None:
    error = failure_on(Elsewhere(), kit.refuse_own, "x")
    assert isinstance(error, InvalidValue)
    assert "it does not like x" in str(error)


@pytest.mark.parametrize(
    ("lineage", "told"),
    [
        ((), "it raised 'an unknown error'"),
        (("builtins:SystemExit",), "it raised 'SystemExit'"),
        (("nowhere:Strange",), "it raised 'Strange'"),
        (("flujo_core.errors:PluginError", "flujo_core.errors:FlujoError"), "it raised 'PluginError'"),
        (("flujo_core.errors:IncompatiblePipeline",), "it raised 'IncompatiblePipeline'"),
    ],
)
def test_an_error_that_cannot_be_had_here_is_named(lineage, told: str) -> None:
    assert told in str(failure_on(Fixed(RemoteFailure("", lineage)), kit.double, 1))


def test_a_step_that_leaves_fails() -> None:
    assert "it raised 'SystemExit'" in str(failure_on(Elsewhere(), kit.leave, 1))


def test_a_veto_refuses_the_run() -> None:
    with pytest.raises(RunRefused, match="not today"):
        run_on(Elsewhere(), kit.veto, "not today")


def test_a_stop_stops_the_run() -> None:
    result = run_on(Elsewhere(), kit.stop, "enough")
    assert result.status == "stopped"


def test_a_question_crosses_with_its_terms_and_its_patch() -> None:
    async def run():
        flujo = on(Elsewhere(), kit.ask, context=kit.Notes, store="memory://")
        async with flujo:
            paused = await flujo.run_async("sure?")
            [question] = paused.questions
            await flujo.resume_async(paused.run_id, True, token=question.token, approver="ann")
            result = await flujo.resume_async(paused.run_id, True, token=question.token, approver="bob")
            return question, result

    question, result = asyncio.run(run())
    assert (question.text, question.approvers, question.quorum) == ("sure?", ("ann", "bob"), 2)
    assert question.expires_at - question.asked_at == pytest.approx(86400)
    assert (result.output, result.context.lines) == (True, ["asked"])


def test_a_question_without_terms_crosses() -> None:
    result = run_on(Elsewhere(), kit.ask_plainly, "how many?")
    assert [one.json_schema["type"] for one in result.questions] == ["integer"]


def test_a_question_for_what_the_step_does_not_give_fails() -> None:
    error = failure_on(Elsewhere(), kit.ask_oddly, "well?")
    assert "it asks a person for 'builtins:bytes'" in str(error) or "it asks a person for 'bytes'" in str(error)


def test_a_default_answer_that_does_not_fit_fails() -> None:
    pause = RemotePause("q", "bool", None, "default", b'"perhaps"')
    assert "the default answer came from its backend as no 'bool'" in str(
        failure_on(Fixed(pause), kit.ask, "q", context=kit.Notes)
    )


def test_outcomes_show_no_values() -> None:
    assert [repr(one) for one in (RemoteOutput(b"1"), RemotePause("q", "bool"))] == [
        "RemoteOutput(...)", "RemotePause(...)",
    ]  # fmt: skip


def test_a_fake_stands_for_a_step_on_a_backend() -> None:
    async def run():
        async with harness(kit.double) as h:
            h.fake(kit.double).returns(7)
            return (await h.run_async(1)).output

    assert asyncio.run(run()) == 7


# ----------------------------------------------------------------------------------------------- what is refused


def refused(node, *told: str, backend=None, **more) -> None:
    plugins = [] if backend is None else [Brings(backend)]
    with pytest.raises((DefinitionError, ConfigurationError), match=".*".join(map(re.escape, told))):
        Flujo(node, plugins=plugins, **more)


def test_an_unknown_backend_is_refused_with_a_close_match() -> None:
    refused(kit.double.policy(backend="proces"), "step 'double' cannot have its backend", "did you mean 'process'?")


def test_a_required_hint_that_is_not_honoured_is_refused() -> None:
    hints = ResourceHints(gpu=1, memory=2**30)
    refused(kit.double.policy(resources=hints), "step 'double' requires 'gpu'", "'process'", "it honours 'cpu'")
    local = kit.double.policy(resources=ResourceHints(max_runtime=1), backend="local")
    refused(local, "step 'double' requires 'max_runtime'", "'local' does not honour: it honours none")


def test_a_hint_that_is_a_wish_is_passed_on() -> None:
    backend, hints = Elsewhere(), ResourceHints(gpu=1, memory=2**30, labels={"zone": "eu"}, required=["gpu"])
    assert run_on(backend, kit.double.policy(resources=hints), 1).output == 2
    assert backend.calls[0].hints.given == hints.given
    assert backend.calls[0].hints.needed == {"gpu"}


def test_what_makes_no_backend_is_refused() -> None:
    refused(kit.double.policy(backend="there"), "backend 'there' gave 'str', which is none", backend="no backend")

    class Raises(Plugin):
        name = "raises"

        def register_backends(self, registry):
            registry.add("raises", lambda: 1 / 0)

    with pytest.raises(ConfigurationError, match="backend 'raises' cannot be made: it raised ZeroDivisionError"):
        Flujo(kit.double.policy(backend="raises"), plugins=[Raises()])


def test_a_backend_is_made_once() -> None:
    backend = Elsewhere()
    there = kit.double.policy(backend="acme/there")
    assert Flujo(there >> there.named("again"), plugins=[Brings(backend)]).run(1).output == 4
    assert backend.closed == 1


def test_a_backend_that_does_not_close_is_logged(capsys) -> None:
    class Stuck(Elsewhere):
        async def aclose(self) -> None:
            raise OSError

    assert run_on(Stuck(), kit.double, 1).output == 2


def test_local_steps_are_called_here() -> None:
    @step(backend="local")
    def here(number: int) -> int:
        return number

    assert Flujo(here).run(1).output == 1
    assert Flujo(here.policy(backend="flujo/local"), plugins=[]).run(1).output == 1
