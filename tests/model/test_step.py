"""Steps as data: what ``step`` and ``Step.agent`` make, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flujo_core import (
    AgentReply,
    ConfigurationError,
    DefinitionError,
    EdgeError,
    Flujo,
    Plugin,
    PluginSettings,
    Registry,
    Retry,
    RunInfo,
    Settings,
    Step,
    Usage,
    step,
)

ALONE = Settings(PluginSettings(allow=()))


class Mail(BaseModel):
    subject: str = ""


class Echo:
    """An agent of no library."""

    async def run(self, input: Mail, /, *, info: RunInfo) -> AgentReply[str]:
        return AgentReply(f"{input.subject} {info.address}", Usage(requests=1, input_tokens=3))


def test_step_can_be_used_with_and_without_options() -> None:
    @step
    async def one(value: int) -> int:
        return value

    @step(name="zwei", retry=Retry(attempts=2), timeout=3)
    async def two(value: int) -> int:
        return value

    assert (one.name, two.name) == ("one", "zwei")
    assert two.policies.retry == Retry(attempts=2) and two.policies.timeout == 3
    assert two.named("drei").policies == two.policies


def test_an_agent_of_any_library_is_a_step() -> None:
    asked = Step.agent("echo", Echo())
    assert asked.takes is Mail and asked.gives is str
    result = Flujo(asked).run(Mail(subject="hi"))
    assert result.output == "hi echo" and result.steps[0].usage == Usage(requests=1, input_tokens=3)
    assert result.usage.input_tokens == 3


def test_an_agents_output_is_validated_as_a_functions_is() -> None:
    class Liar:
        async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[int]:
            return AgentReply("CANARY")  # type: ignore[arg-type]

    with pytest.raises(Exception, match="'liar'") as failed:
        Flujo(Step.agent("liar", Liar())).run("x")
    assert "CANARY" not in str(failed.value)


def test_an_agent_of_another_library_takes_its_input_as_it_is() -> None:
    for more in ({"prompt": "{{ input }}"}, {"input": Mail}, {"deps": lambda value: value}):
        with pytest.raises(DefinitionError, match="'echo'"):
            Step.agent("echo", Echo(), **more)  # type: ignore[call-overload]


def test_the_class_of_an_agent_is_no_agent() -> None:
    with pytest.raises(DefinitionError, match=r"'ask'.*'Echo'"):
        Step.agent("ask", Echo)  # type: ignore[call-overload]


def test_a_reply_does_not_show_its_output() -> None:
    assert "CANARY" not in repr(AgentReply("CANARY", Usage(requests=1)))


@pytest.mark.parametrize("thing", [5, object(), lambda x: x])
def test_what_is_no_agent_is_refused(thing: Any) -> None:
    with pytest.raises(DefinitionError, match="'odd'"):
        Step.agent("odd", thing)


class Acme(Plugin):
    """Contributes agents: one ready, one made on demand, one by its path."""

    name = "acme"

    def register_agents(self, registry: Registry[Any], /) -> None:
        registry.add("echo", Echo())
        registry.add("made", Echo)
        registry.add("odd", 5)
        registry.add("broken", _broken)


def _broken() -> Echo:
    raise ValueError("CANARY")


def test_a_registered_agent_is_found_by_its_full_and_its_short_name() -> None:
    for name in ("acme/echo", "echo", "acme/made"):
        flujo = Flujo(Step.agent("ask", name), plugins=[Acme()], settings=ALONE)
        assert flujo.run(Mail(subject="hi")).output == "hi ask"


def test_an_unknown_registered_agent_is_refused_before_anything_runs_with_a_close_match() -> None:
    with pytest.raises(Exception, match=r"'acme/ecko'.*'acme/echo'"):
        Flujo(Step.agent("ask", "acme/ecko"), plugins=[Acme()], settings=ALONE)


def test_edges_of_a_registered_agent_are_checked_once_its_types_are_known() -> None:
    @step
    async def number(value: int) -> int:
        return value

    pipeline = Step.agent("ask", "acme/echo") >> number
    with pytest.raises(EdgeError, match=r"'ask'.*'number'"):
        Flujo(pipeline, plugins=[Acme()], settings=ALONE)
    with pytest.raises(EdgeError, match=r"'first'.*'inner'"):
        Flujo(number.named("first") >> pipeline.nodes[0].named("inner"), plugins=[Acme()], settings=ALONE)


def test_a_registered_agent_may_follow_a_step_that_gives_what_it_takes() -> None:
    @step
    async def write(subject: str) -> Mail:
        return Mail(subject=subject)

    flujo = Flujo(write >> Step.agent("ask", "acme/echo"), plugins=[Acme()], settings=ALONE)
    assert flujo.run("hi").output == "hi ask"


def test_a_registered_thing_that_is_no_agent_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'ask'"):
        Flujo(Step.agent("ask", "acme/odd"), plugins=[Acme()], settings=ALONE)


def test_an_agent_whose_factory_raises_is_named_with_its_step() -> None:
    with pytest.raises(ConfigurationError, match=r"agent 'acme/broken' of step 'ask'.*ValueError") as failed:
        Flujo(Step.agent("ask", "acme/broken"), plugins=[Acme()], settings=ALONE)
    assert "CANARY" not in str(failed.value)


def test_a_template_without_input_is_checked_for_its_form() -> None:
    with pytest.raises(DefinitionError, match="'ask'"):
        Step.agent("ask", "acme/echo", prompt="{{ noth ing }}")
    with pytest.raises(DefinitionError, match=r"'ask'.*'sbject'"):
        Step.agent("ask", "acme/echo", prompt="{{ input.sbject }}", input=Mail)
    with pytest.raises(DefinitionError, match="'ask'"):
        Step.agent("ask", "acme/echo", prompt=5)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="'ask'"):
        Step.agent("ask", "acme/echo", input=Mail)
