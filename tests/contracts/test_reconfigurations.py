"""Steps that change the agent of a later step (DESIGN 9, SEMANTICS 14), within what that step allows."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from crash_kit import crashed, done, durable
from flow_kit import ALONE, State
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import (
    AgentReconfigured,
    AgentReply,
    AuthorizationRequest,
    ChangeRefused,
    ContextualAgentFactory,
    Decision,
    Flujo,
    MemoryStore,
    Plugin,
    Reconfigurable,
    Reconfigure,
    Registry,
    RunFailed,
    RunInfo,
    Step,
    StepCall,
    diagram,
    pipeline_from_spec,
    pipeline_to_spec,
    step,
    tool,
)
from flujo_core.errors import DefinitionError

MAY = Reconfigurable(
    models=["acme:clever", "acme:dear"],
    settings={"temperature": (0.0, 0.5), "max_tokens": (1, 100)},
    instructions=True,
    tools=["acme/look"],
)


def simulated(name: str) -> FunctionModel:
    """A simulated model that says how it was asked."""

    async def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told = [part for one in messages if isinstance(one, ModelRequest) and (part := one.instructions)]
        tools = [one.name for one in info.function_tools]
        return ModelResponse([TextPart(f"{name} {told[-1:]} {dict(info.model_settings or {})} {tools}")])

    return FunctionModel(reply, model_name=name)


@tool
async def look(what: str) -> str:
    """Looks something up."""
    return what


class Acme(Plugin):
    """Registers models, a tool and an agent; notes what it is asked; lets a word say no."""

    name: ClassVar[str] = "acme"

    def __init__(self, *forbidden: str) -> None:
        self.forbidden = forbidden
        self.asked: list[AuthorizationRequest] = []
        self.models: list[str | None] = []

    def register_models(self, registry: Registry[Any], /) -> None:
        registry.add("acme", simulated)

    def register_tools(self, registry: Registry[Any], /) -> None:
        registry.add("look", look)

    def register_agents(self, registry: Registry[Any], /) -> None:
        registry.add("writer", Agent(simulated("plain")))

    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        self.asked.append(request)
        return Decision.deny("not that") if request.action in self.forbidden else None

    async def pre_step_execution(self, call: StepCall, /) -> None:
        self.models.append(call.model)


def tune(name: str = "tune", **changes: Any) -> Step[str, str]:
    @step(name=name)
    async def act(text: str) -> str | Reconfigure[str]:
        return Reconfigure(text, **{"target": "write", **changes})

    return act


def writer(allow: Reconfigurable | None = MAY) -> Any:
    agent = Agent(simulated("plain"), instructions="Be brief.", model_settings={"temperature": 0.1})
    return Step.agent("write", agent, allow_reconfigure=allow)


def ran(node: Any, acme: Acme | None = None, **keywords: Any) -> Any:
    made: Flujo[Any, Any, Any] = Flujo(
        node, settings=ALONE, plugins=[acme or Acme()], context=State, store=MemoryStore(), **keywords
    )
    return made.run("go")


def refusal(result: Any) -> tuple[str, str, str]:
    [one] = [one for one in result.events if isinstance(one, ChangeRefused)]
    return one.change, one.reason, one.message


def test_a_step_changes_model_instructions_settings_and_tools_of_a_later_agent() -> None:
    acme = Acme()
    change = {
        "model": "acme:clever",
        "instructions": "Be kind.",
        "settings": {"temperature": 0.5},
        "tools": ["acme/look"],
    }
    result = ran(tune(**change) >> writer(), acme)
    assert result.output == "clever ['Be brief.\\n\\nBe kind.'] {'temperature': 0.5} ['look']"
    [event] = [one for one in result.events if isinstance(one, AgentReconfigured)]
    assert event.address == "tune"
    assert acme.models[-1] == "acme:clever", "hooks know the model that is asked"
    assert "reconfigure" in [one.action for one in acme.asked]
    assert [one.model for one in acme.asked if one.address == "write"] == ["acme:clever"]


def test_several_changes_of_one_agent_add_up() -> None:
    node = (
        tune("one", instructions="Be kind.", tools=["acme/look"])
        >> tune("two", instructions="Be quick.", settings={"max_tokens": 9}, tools=["acme/look"])
        >> writer()
    )
    result = ran(node)
    assert result.output.endswith(
        "['Be brief.\\n\\nBe kind.\\n\\nBe quick.'] {'temperature': 0.1, 'max_tokens': 9} ['look']"
    )


def test_an_agent_asks_for_a_change_of_a_later_one() -> None:
    class Asks:
        async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str | Reconfigure[str]]:
            return AgentReply(Reconfigure("told", target="write", model="acme:dear"))

    def better(text: str) -> Reconfigure[str]:
        return Reconfigure(text, target="write", model="acme:dear")

    assert ran(Step.agent("ask", Asks()) >> writer()).output.startswith("dear")
    made: Any = Step.agent("ask", Agent("test", output_type=[better], defer_model_check=True))
    assert ran(made >> writer()).output.startswith("dear")


def test_a_registered_agent_and_a_built_one_are_reconfigured_too() -> None:
    registered: Any = Step.agent("write", "acme/writer", input=str, allow_reconfigure=MAY)
    assert ran(tune(model="acme:dear") >> registered).output.startswith("dear")
    factory = ContextualAgentFactory(lambda text: Agent(simulated("built")), output_type=str)
    built: Any = Step.agent("write", factory, allow_reconfigure=MAY)
    assert ran(tune(instructions="Be kind.") >> built).output.startswith("built ['Be kind.']")
    acme = Acme()
    assert ran(tune(model="acme:dear") >> built, acme).output.startswith("dear")
    assert {one.model for one in acme.asked if one.address == "write"} == {"acme:dear"}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("model", {"model": "acme:claver"}, "did you mean 'acme:clever'"),
    ("setting", {"settings": {"top_p": 1}}, "'top_p', which may not be changed"),
    ("range", {"settings": {"temperature": 0.9}}, "from 0 to 0.5"),
    ("no number", {"settings": {"temperature": "hot"}}, "from 0 to 0.5"),
    ("tool", {"tools": ["acme/lock"]}, "did you mean 'acme/look'"),
]


@pytest.mark.parametrize(("change", "said"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_the_step_does_not_allow_is_refused_and_the_run_goes_on(change: dict[str, Any], said: str) -> None:
    result = ran(tune(**change) >> writer())
    assert result.output.startswith("plain ['Be brief.'] {'temperature': 0.1}")
    assert refusal(result)[:2] == ("reconfiguration", "not_allowed")
    assert said in refusal(result)[2]


@pytest.mark.parametrize(
    ("node", "reason", "said"),
    [
        (tune(instructions="x") >> writer(None), "not_allowed", "no 'allow_reconfigure'"),
        (tune(instructions="x") >> writer(Reconfigurable()), "not_allowed", "none but its own"),
        (tune("write", instructions="x") >> writer().named("other"), "past", "has been reached"),
        (tune(instructions="x", target="wirte") >> writer(), "unknown", "did you mean 'write'"),
        (tune(instructions="x", target="late") >> writer() >> tune("late"), "not_allowed", "asks no agent"),
    ],
)
def test_what_cannot_be_reconfigured_is_refused(node: Any, reason: str, said: str) -> None:
    result = ran(node)
    assert refusal(result)[1] == reason
    assert said in refusal(result)[2]


def test_a_veto_refuses_the_reconfiguration_and_not_the_run() -> None:
    result = ran(tune(model="acme:dear") >> writer(), Acme("reconfigure"))
    assert result.output.startswith("plain")
    assert refusal(result)[1:] == ("vetoed", "not that")


def test_a_reconfiguration_that_changes_nothing_is_the_output_alone() -> None:
    result = ran(tune() >> writer())
    assert not [one for one in result.events if isinstance(one, AgentReconfigured | ChangeRefused)]


def test_a_crash_at_any_write_resumes_with_the_agent_as_it_was_changed() -> None:
    node = tune("one", model="acme:clever") >> tune("two", instructions="Be kind.") >> writer()

    async def main() -> None:
        whole = await durable(node, MemoryStore(), plugins=[Acme()]).run_async("go", run_id="r")
        for at in range(2, 20):
            store = MemoryStore()
            if not await crashed(node, "go", store, at, plugins=[Acme()]):
                break
            result = await durable(node, store, plugins=[Acme()]).resume_async("r")
            assert result.output == whole.output
        else:
            pytest.fail("it did not come to its end")

    done(main())


def test_a_model_that_cannot_be_had_fails_the_step_that_asks_it() -> None:
    may = Reconfigurable(models=["nobody:nothing"])
    with pytest.raises(RunFailed, match="the model 'nobody:nothing' cannot be used"):
        ran(tune(model="nobody:nothing") >> writer(may))


def test_the_diagram_of_a_run_shows_what_was_reconfigured() -> None:
    node = tune(model="acme:dear", instructions="x") >> writer()
    text = diagram(node, style="text", run=ran(node))
    assert "model and instructions set by 'tune'" in text


def test_what_may_be_reconfigured_is_in_the_spec_of_a_pipeline() -> None:
    node: Any = Step.agent("write", "acme/writer", input=str, allow_reconfigure=MAY)
    spec = pipeline_to_spec(node)
    assert spec["allow_reconfigure"]["settings"] == {"temperature": [0.0, 0.5], "max_tokens": [1, 100]}
    assert pipeline_from_spec(spec).policies == node.policies
    bare: Any = Step.agent("write", "acme/writer", input=str, allow_reconfigure=Reconfigurable())
    assert pipeline_from_spec(pipeline_to_spec(bare)).policies == bare.policies


def test_only_a_step_that_asks_an_agent_allows_to_be_reconfigured() -> None:
    with pytest.raises(DefinitionError, match="has 'allow_reconfigure', and asks no agent"):
        Flujo(tune().policy()._with_policies({"allow_reconfigure": MAY}), settings=ALONE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": "acme:dear"}, {"models": [1]}, {"tools": "acme/look"}, {"settings": {"temperature": 1}},
        {"settings": {"temperature": (1, 0)}}, {"settings": {"temperature": (0, "1")}}, {"settings": [1]},
        {"instructions": "yes"},
    ],
)  # fmt: skip
def test_a_reconfigurable_of_something_else_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="of a 'Reconfigurable'"):
        Reconfigurable(**wrong)


@pytest.mark.parametrize("wrong", [{"target": 1}, {"model": 1}, {"instructions": 1}, {"tools": "x"}, {"tools": [1]}])
def test_a_reconfiguration_of_something_else_is_an_error_of_the_step(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="of a reconfiguration"):
        Reconfigure("x", **{"target": "write", **wrong})
    assert repr(Reconfigure("secret", target="write")) == "Reconfigure(...)"
