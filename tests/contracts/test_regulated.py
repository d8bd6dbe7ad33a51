"""A regulated deployment refuses to start while anything is lacking, and refuses in runs what the profile refuses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from label_kit import Near, ask, inside, mask, plain, read, read_ward
from pydantic_ai import Agent
from pydantic_ai.capabilities.instrumentation import Instrumentation
from pydantic_ai.models.instrumented import InstrumentationSettings, InstrumentedModel
from pydantic_ai.models.test import TestModel

from flujo_core import (
    AesGcmCodec,
    AppInfo,
    AuthorizationRequest,
    Budget,
    ChangeRefused,
    ConfigurationError,
    Decision,
    Flujo,
    From,
    HumanInput,
    LabelLeak,
    Labels,
    Loop,
    Map,
    MemoryStore,
    PipelineMutation,
    Plugin,
    PluginLoadError,
    PluginSettings,
    ProfileUnmet,
    Reconfigurable,
    Registry,
    SealBroken,
    Settings,
    Step,
    UnverifiedAnswer,
    key_ring,
    step,
    tool,
)
from flujo_core.backend.inline import LocalBackend
from flujo_core.config import load_settings
from flujo_core.hooks.integrity import lock_of
from flujo_core.hooks.scan import scan

AUDIT = """
    from flujo_core import Plugin

    class It(Plugin):
        name = "audit"
        assures = ("strict-audit",)
"""


@pytest.fixture
def settings(here: Path, install: Callable[..., None], tmp_path: Path) -> Settings:
    """The configuration of a regulated deployment that lacks nothing, with the plugin 'audit'."""
    install("acme-audit", "acme_audit", AUDIT, audit="acme_audit:It")
    lock = tmp_path / "plugins.lock"
    lock.write_text(lock_of([one for one in scan() if one.distribution == "acme-audit"]))
    plugins = PluginSettings(allow=("acme-audit",), required=("acme-audit",), lock=lock)
    return Settings(plugins, profile="regulated", budgets=(Budget(cost_usd=1),))


def codecs() -> list[Any]:
    return [AesGcmCodec(key_ring({"1": bytes(32)}, current="1"))]


def made(node: Any, settings: Settings, *plugins: Plugin, **options: Any) -> Flujo[Any, Any, Any]:
    given = {"codecs": codecs(), "store": MemoryStore()} | options
    return Flujo(node, plugins=plugins, settings=settings, **given)


class Known(Plugin):
    """Confirms whoever is named."""

    name = "known"

    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        return Decision.allow() if request.approver == "ops" else None


# ------------------------------------------------------------------------------------------------------------ the start


def test_a_deployment_that_lacks_nothing_starts(settings: Settings) -> None:
    flujo = made(plain, settings)
    assert flujo.lacks == () and flujo.leaks == ()
    assert flujo.run("x").output == "x"


def lacking(node: Any, settings: Settings, *plugins: Plugin, **options: Any) -> list[str]:
    with pytest.raises(ProfileUnmet) as refused:
        made(node, settings, *plugins, **options)
    assert all(one.what in str(refused.value) and one.remedy in str(refused.value) for one in refused.value.lacks)
    return [one.what for one in refused.value.lacks]


@pytest.mark.parametrize(
    ("plugins", "lack"),
    [
        ({"required": ()}, "no plugin is required"),
        ({"lock": None}, "the versions and files of plugins are not locked"),
        ({"policies": {"known": "open", "acme-audit": "closed"}}, "plugin 'known' is open: its errors are passed over"),
    ],
)
def test_each_lack_in_the_configuration_refuses_the_start(
    settings: Settings, plugins: dict[str, Any], lack: str
) -> None:
    assert lacking(plain, replace(settings, plugins=replace(settings.plugins, **plugins)), Known()) == [lack]


def test_what_is_kept_must_be_encrypted(settings: Settings) -> None:
    said = ["what is kept of runs is not encrypted"]
    assert lacking(plain, settings, codecs=[]) == lacking(plain, settings, codecs=["zstd"]) == said


def test_models_without_a_known_price_must_be_refused(settings: Settings) -> None:
    free = replace(settings, budgets=())
    assert made(plain, free).lacks == ()
    what = ["models without a known price are not refused"]
    assert lacking(ask(agent=inside()), free) == what
    assert lacking(ask(agent=inside()), free, budgets=[Budget(tokens=5)]) == what
    made(ask(agent=inside()), free, budgets=[Budget(cost_usd=5)])
    loose = Budget(cost_usd=5, unpriced="allow")
    assert lacking(ask(agent=inside()), settings, budgets=[loose]) == [
        "the budget of 5 USD per run lets unpriced models through"
    ]


def test_states_alone_must_be_sealed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(plain, settings, store=None) == ["runs are kept in states alone, and these are not sealed"]
    made(plain, settings, store=None, seal_key=b"key")
    monkeypatch.setenv("FLUJO_SEAL_KEY", "key")
    made(plain, settings, store=None)


def test_contents_must_not_be_captured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(plain, replace(settings, content_capture=True)) == ["plugins may capture contents"]
    what = ["the agent of step 'ask' is traced with what it is told"]
    quiet = InstrumentationSettings(include_content=False)
    for loud, fine in ((True, False), (InstrumentationSettings(), quiet)):
        assert lacking(ask(agent=traced(loud)), settings) == what
        made(ask(agent=traced(fine)), settings)
    for settings_of, expected in ((InstrumentationSettings(), what), (quiet, [])):
        for agent in (
            Agent(InstrumentedModel(TestModel(), settings_of)),
            Agent(TestModel(), capabilities=[Instrumentation(settings=settings_of)]),
        ):
            found = made(ask(agent=agent), settings).lacks if not expected else lacking(ask(agent=agent), settings)
            assert list(found) == expected
    monkeypatch.setattr(Agent, "_instrument_default", Agent._instrument_default)
    Agent.instrument_all()
    assert lacking(ask(agent=inside()), settings) == what
    made(ask(agent=traced(quiet)) >> Step.agent("other", Near()), settings)


def traced(said: Any) -> Agent[None, str]:
    """An agent with this said of its traces."""
    agent = Agent(TestModel())
    agent.instrument = said
    return agent


def test_a_strict_audit_must_be_assured_of_by_a_closed_plugin(settings: Settings) -> None:
    without = replace(settings.plugins, allow=(), required=(), lock=None)
    assert "no plugin keeps a strict audit" in lacking(plain, replace(settings, plugins=without))
    open_one = replace(settings.plugins, policies={"acme-audit": "open"})
    assert "no plugin keeps a strict audit" in lacking(plain, replace(settings, plugins=open_one))


def test_who_answers_must_be_confirmed(settings: Settings) -> None:
    asks = HumanInput("approve", str, ask="?")
    assert lacking(asks, settings) == ["step 'approve' asks a person, and nobody can tell who answers"]
    made(asks, settings, Known())


def test_labelled_data_must_not_leave(settings: Settings) -> None:
    leaky = read >> ask(input=Any, prompt="{{ input.name }}")
    with pytest.raises(LabelLeak, match="'phi' from 'name' of step 'read' goes to the model") as refused:
        made(leaky, settings)
    assert [one.address for one in refused.value.leaks] == ["ask"]
    made(read >> mask >> ask(input=Any, prompt="{{ input.name }}"), settings)
    (leak,) = Flujo(leaky, settings=Settings(PluginSettings(allow=()))).leaks
    assert leak == refused.value.leaks[0]


def test_plugins_that_are_added_later_are_looked_at_too(settings: Settings) -> None:
    class Opens(Plugin):
        name = "opens"

    opened = replace(settings, plugins=replace(settings.plugins, policies={}))
    flujo = made(plain, opened)

    class Leaky(Plugin):
        name = "leaky"
        clears = ("phi",)

    async def change() -> None:
        await flujo.change_plugins(add=[Leaky()])
        assert flujo.lacks == ()

    asyncio.run(change())


def test_default_and_dev_refuse_nothing() -> None:
    for profile in ("default", "dev"):
        settings = Settings(PluginSettings(allow=()), profile=profile)  # type: ignore[arg-type]
        flujo = Flujo(read >> ask(input=Any, prompt="{{ input.name }}"), settings=settings)
        assert flujo.leaks and len(flujo.lacks) == (6 if profile == "default" else 7)


def test_plugins_are_told_the_profile() -> None:
    told: list[AppInfo] = []

    class Asks(Plugin):
        name = "asks"

        async def on_startup(self, app: AppInfo, /) -> None:
            told.append(app)

    for settings in (Settings(profile="dev"), Settings(), Settings(content_capture=True)):
        Flujo(plain, plugins=[Asks()], settings=replace(settings, plugins=PluginSettings(allow=()))).run("x")
    assert [(one.profile, one.captures_content) for one in told] == [
        ("dev", True), ("default", False), ("default", True),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------- what runs refuse


def test_an_answer_of_nobody_known_is_refused_and_another_one_taken(settings: Settings) -> None:
    flujo = made(HumanInput("approve", str, ask="?"), settings, Known())

    async def answer() -> None:
        async with flujo:
            paused = await flujo.run_async("x")
            with pytest.raises(UnverifiedAnswer, match="no plugin has confirmed whose answer to the question of 'app"):
                await flujo.resume_async(paused.run_id, "yes", approver="somebody")
            with pytest.raises(UnverifiedAnswer):
                await flujo.resume_async(paused.run_id, "yes")
            assert (await flujo.resume_async(paused.run_id, "yes", approver="ops")).output == "yes"

    asyncio.run(answer())


def test_elsewhere_such_an_answer_is_taken() -> None:
    flujo = Flujo(HumanInput("approve", str, ask="?"), store=MemoryStore(), settings=Settings(PluginSettings(allow=())))

    async def answer() -> None:
        async with flujo:
            paused = await flujo.run_async("x")
            assert (await flujo.resume_async(paused.run_id, "yes", approver="somebody")).output == "yes"

    asyncio.run(answer())


def test_a_state_without_a_seal_is_refused(settings: Settings) -> None:
    ours = Settings(PluginSettings(allow=()))
    asks = HumanInput("approve", str, ask="?")
    paused = Flujo(asks, settings=ours, codecs=codecs()).run("x")
    assert paused.state is not None
    with pytest.raises(SealBroken, match="cannot be proved, and the deployment is regulated; give 'Flujo"):
        made(asks, settings, Known()).resume(paused.state, "yes", approver="ops")
    with pytest.raises(SealBroken, match="has no seal"):
        made(asks, settings, Known(), store=None, seal_key=b"key").resume(paused.state, "yes", approver="ops")


# ------------------------------------------------------------------------------------------------- changes in a run


class Acme(Plugin):
    """Registers steps that a run may put into its pipeline."""

    name = "acme"

    def register_steps(self, registry: Registry[Any], /) -> None:
        registry.add("sends", sends)
        registry.add("inside", ask("inside", inside(), input=Any, prompt="{{ input }}"))
        registry.add("recalls", recalls)


@step(labels=Labels(egress="far away"))
async def sends(text: str) -> str:
    return f"sent {len(text)}"


@step
async def recalls(text: str, *, name: Annotated[str, From("read", path="name")] = "") -> str:
    return name


@step
async def plan(patient: Any) -> str | PipelineMutation[str]:
    return PipelineMutation(f"planned {patient}", insert_after={"plan": ["acme/sends"]})


@step
async def plan_inside(patient: Any) -> str | PipelineMutation[str]:
    return PipelineMutation(f"planned {patient}", insert_after={"plan_inside": ["acme/inside"]})


@step
async def plan_two(patient: Any) -> str | PipelineMutation[str]:
    return PipelineMutation(f"planned {patient}", insert_after={"plan_two": ["acme/recalls", "acme/sends"]})


def refusals(node: Any, settings: Settings) -> list[tuple[str, str, str]]:
    flujo = made(node, settings, Acme())

    async def events() -> list[tuple[str, str, str]]:
        async with flujo:
            result = await flujo.run_async("x")
            found = await flujo.events_async(result.run_id)
            return [(one.address, one.reason, one.message) for one in found if isinstance(one, ChangeRefused)]

    return asyncio.run(events())


def test_a_change_that_would_let_labelled_data_leave_is_refused(settings: Settings) -> None:
    ((address, reason, message),) = refusals(read >> plan, settings)
    assert (address, reason) == ("plan", "leak")
    whence = "'phi' from 'name' of step 'read' through 'plan'"
    assert message == f"{whence} leaves for 'far away' at step 'sends', and nothing clears it"


def test_so_is_one_that_takes_it_by_name_and_one_in_a_loop(settings: Settings) -> None:
    cleared = plan_two.policy(labels=Labels(clears=["phi"]))
    assert [one[1] for one in refusals(read >> cleared, settings)] == ["leak"]
    again = Loop("again", read.named("fetch") >> plan, until=lambda _: True, max_iterations=2)
    assert [one[:2] for one in refusals(again, settings)] == [("again[1]/plan", "leak")]
    each = Map("each", plan, over=lambda ward: [ward])
    assert [one[:2] for one in refusals(read_ward >> each, settings)] == [("each[0]/plan", "leak")]


def test_a_change_without_a_leak_is_made(settings: Settings) -> None:
    assert refusals(read >> plan_inside, settings) == []
    assert refusals(read >> plan.policy(labels=Labels(clears=["phi"])), settings) == []


def test_elsewhere_a_change_that_leaks_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    flujo = Flujo(read >> plan, plugins=[Acme()], settings=Settings(PluginSettings(allow=())))
    assert flujo.run("x").output.startswith("sent")
    logged = capsys.readouterr().err
    assert "run.label_leak" in logged and "leaves for 'far away' at step 'sends'" in logged
    assert Flujo(plain, settings=Settings(PluginSettings(allow=()))).run("x").output == "x"


# ------------------------------------------------------------------------------------------------------------ plugins


class Inside(Plugin):
    """Says of its models and backends that they are inside."""

    name = "near"
    inside = ("own", "ray")

    def register_models(self, registry: Registry[Any], /) -> None:
        registry.add("own", lambda name: TestModel())
        registry.add("far", lambda name: TestModel())

    def register_backends(self, registry: Registry[Any], /) -> None:
        registry.add("ray", LocalBackend)


class Twin(Plugin):
    name = "twin"

    def register_models(self, registry: Registry[Any], /) -> None:
        registry.add("own", lambda name: TestModel())


def leaks(node: Any, *plugins: Plugin, **options: Any) -> list[str]:
    settings = Settings(PluginSettings(allow=(), **options))
    return [f"{one.kind} {one.name}" for one in Flujo(node, plugins=plugins, settings=settings).leaks]


def on(model: str, **options: Any) -> Any:
    agent: Any = Agent(model, defer_model_check=True)
    return read >> ask(agent=agent, input=Any, prompt="{{ input.name }}", **options)


def test_models_and_backends_of_plugins_are_inside_if_they_say_so() -> None:
    assert leaks(on("own:small"), Inside()) == leaks(on("near/own:small"), Inside()) == []
    assert leaks(on("far:small"), Inside()) == ["model far:small"]
    assert leaks(on("own:small")) == ["model own:small"] and leaks(on("own"), Inside()) == ["model own"]
    assert leaks(on("own:small"), Inside(), Twin()) == ["model own:small"]
    assert leaks(read >> plain_of_patients.policy(backend="near/ray"), Inside()) == []
    assert leaks(read >> plain_of_patients.policy(backend="process")) == []


@step
async def plain_of_patients(patient: Any) -> int:
    return 1


def test_a_plugin_that_masks_counts_for_models_of_agents_while_it_is_closed() -> None:
    class Masks(Plugin):
        name = "masks"
        clears = ["phi"]

    node = on("openai:gpt-5")
    assert leaks(node, Masks()) == []
    assert leaks(node, Masks(), policies={"masks": "open"}) == ["model openai:gpt-5"]


def test_registered_tools_that_a_run_may_give_an_agent_count() -> None:
    @tool(egress=True)
    async def search(text: str) -> str:
        "Searches."
        return text

    class Tools(Plugin):
        name = "tools"

        def register_tools(self, registry: Registry[Any], /) -> None:
            registry.add("search", search)

    may = Reconfigurable(tools=["tools/search", "tools/none"])
    node = read >> ask(agent=inside(), input=Any, prompt="{{ input.name }}", allow_reconfigure=may)
    assert leaks(node, Tools()) == ["tool search"]


@pytest.mark.parametrize("name", ["clears", "inside", "assures"])
def test_a_plugin_that_says_it_otherwise_is_refused(name: str) -> None:
    wrong = type("Wrong", (Plugin,), {"name": "wrong", name: "phi"})()
    with pytest.raises(PluginLoadError, match=f"has '{name}', which is a list of words, as 'str'"):
        Flujo(plain, plugins=[wrong], settings=Settings(PluginSettings(allow=())))


# ------------------------------------------------------------------------------------------------------- configuration


def configured(text: str, environ: dict[str, str] | None = None) -> Settings:
    Path("flujo.toml").write_text(text)
    return load_settings(environ=environ or {})


def test_the_environment_may_raise_the_profile_and_never_lower_it() -> None:
    assert configured("").profile == "default" and configured('profile = "dev"').captures_content
    assert configured('profile = "dev"', {"FLUJO_PROFILE": "regulated"}).is_regulated
    assert configured('profile = "regulated"', {"FLUJO_PROFILE": "regulated"}).is_regulated
    for lower in ("default", "dev"):
        with pytest.raises(ConfigurationError, match=f"would lower the profile from 'regulated' to '{lower}'"):
            configured('profile = "regulated"', {"FLUJO_PROFILE": lower})


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ('profile = "regulatd"', {}, "'profile' in .*flujo.toml is 'dev', 'default' or 'regulated'; did you mean 'reg"),
        ("profile = 3", {}, "'profile' in .*flujo.toml is 'dev', 'default' or 'regulated'$"),
        ("", {"FLUJO_PROFILE": "x"}, "the environment variable 'FLUJO_PROFILE' is 'dev', 'default' or 'regulated'"),
        ("content_capture = 1", {}, "'content_capture' in .*flujo.toml is true or false"),
    ],
)
def test_what_is_no_profile_is_an_error(text: str, environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configured(text, environ)


def test_in_a_regulated_deployment_the_environment_only_tightens() -> None:
    text = 'profile = "regulated"\n[plugins]\nallow = ["a", "b"]\nhook_timeout = 10\n'
    tight = configured(text, {"FLUJO_PLUGINS": "b", "FLUJO_HOOK_TIMEOUT": "5", "FLUJO_DISABLE": "a"}).plugins
    assert tight == PluginSettings(allow=("b",), deny=("a",), hook_timeout=5.0)
    with pytest.raises(ConfigurationError, match="'FLUJO_PLUGINS' would allow 'c', which the configuration of a reg"):
        configured(text, {"FLUJO_PLUGINS": "b,c"})
    with pytest.raises(ConfigurationError, match="'FLUJO_HOOK_TIMEOUT' would give plugins 11 s"):
        configured(text, {"FLUJO_HOOK_TIMEOUT": "11"})
    with pytest.raises(ConfigurationError, match="'FLUJO_PLUGINS' would allow 'x'"):
        configured('profile = "regulated"\n[plugins]\ndeny = ["x"]\nallow=["y"]', {"FLUJO_PLUGINS": "x"})
    assert configured('profile = "regulated"', {"FLUJO_PLUGINS": "c"}).plugins.allow == ("c",)
    assert os.environ.get("FLUJO_PLUGINS") is None
