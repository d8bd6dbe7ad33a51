"""What plugins contribute by name: steps, agents, stores and checks; resolved when a ``Flujo`` is made."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import alone

from flujo_core import (
    AgentReply,
    ConfigurationError,
    DefinitionError,
    EdgeError,
    FlujoError,
    MemoryStore,
    Node,
    Pipeline,
    PipelineContext,
    Plugin,
    PluginLoadError,
    Registry,
    Retry,
    RunInfo,
    Step,
    StepCall,
    Store,
    step,
)
from flujo_core.hooks.spec import HOOKS


@step
async def mask(text: str) -> str:
    return text.replace("Ada", "***")


@step
async def shout(text: str) -> str:
    return text.upper()


@step
async def length(text: str) -> int:
    return len(text)


def contributing(name: str, hook: str, **things: Any) -> Plugin:
    """A plugin that contributes these things; a ``-`` in a name is written ``_``."""

    def register(self: Plugin, registry: Registry[Any], /) -> None:
        for short, target in things.items():
            registry.add(short.replace("_", "-"), target)

    made: Plugin = type("Contributing", (Plugin,), {"name": name, hook: register})()
    return made


ACME = contributing("acme", "register_steps", mask=mask)


@pytest.fixture
def lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module that says when it is imported; gives its name."""
    made: list[str] = []

    def written(source: str) -> str:
        made.append(f"contributed_{tmp_path.name.replace('-', '_')}_{len(made)}")
        (tmp_path / f"{made[-1]}.py").write_text(source)
        return made[-1]

    monkeypatch.syspath_prepend(str(tmp_path))
    yield written
    for name in made:
        sys.modules.pop(name, None)


# ------------------------------------------------------------------------------------ steps


def test_a_registered_step_stands_in_a_pipeline_by_its_name_and_is_named_as_it_was_contributed() -> None:
    seen: list[tuple[str, str]] = []

    async def pre(call: StepCall) -> None:
        seen.append((call.step_name, call.address))

    pipeline = (shout >> Step.registered("acme/mask", takes=str, gives=str) >> length).named("all")
    flujo = alone(pipeline, contributing("acme", "register_steps", mask=mask), pre_step_execution=pre)
    assert flujo.run("ada").output == 3
    assert seen == [("shout", "all/shout"), ("mask", "all/mask"), ("length", "all/length")]
    assert alone(Step.registered("acme/mask", takes=str, gives=str), ACME).run("Ada").output == "***"


def test_a_registered_step_can_be_named_and_used_more_than_once() -> None:
    @step
    async def twice(text: str) -> str:
        return text * 2

    placed = Step.registered("acme/twice", takes=str, gives=str)
    plugin = contributing("acme", "register_steps", twice=twice)
    result = alone(placed >> placed.named("again"), plugin).run("x")
    assert result.output == "xxxx" and [one.address for one in result.steps] == ["twice", "again"]


def test_a_registered_step_takes_its_policies_and_its_context_along() -> None:
    class Count(PipelineContext):
        tries: int = 0

    calls: list[int] = []

    @step(retry=Retry(attempts=2))
    async def flaky(text: str, context: Count) -> str:
        context.tries = len(calls) + 1
        calls.append(1)
        if len(calls) < 2:
            raise ValueError
        return text

    placed = Step.registered("acme/flaky", takes=str, gives=str)
    plugin = contributing("acme", "register_steps", flaky=flaky)
    result = alone(placed, plugin, context=Count).run("x")
    assert result.output == "x" and result.context.tries == 2
    with pytest.raises(DefinitionError, match=r"'flaky'.*'Count'"):
        alone(placed, contributing("acme", "register_steps", flaky=flaky))


def test_a_short_name_stands_for_a_step_while_only_one_plugin_has_it() -> None:
    placed = Step.registered("mask", takes=str, gives=str)
    assert alone(placed, ACME).run("Ada").output == "***"
    with pytest.raises(ConfigurationError, match=r"'acme/mask'.*'umbrella/mask'"):
        alone(placed, ACME, contributing("umbrella", "register_steps", mask=shout))


@pytest.mark.parametrize("name", ["acme/maks", "amce/mask"])
def test_an_unknown_step_is_refused_when_the_flujo_is_made_with_a_close_match(name: str) -> None:
    placed = Step.registered(name, takes=str, gives=str)
    with pytest.raises(ConfigurationError, match=rf"'{name}'.*did you mean 'acme/mask'"):
        alone(shout >> placed, ACME)


def test_the_edges_of_a_registered_step_are_checked_by_its_declared_types_when_the_pipeline_is_built() -> None:
    with pytest.raises(EdgeError, match=r"'length'.*'mask'"):
        _ = length >> Step.registered("acme/mask", takes=str, gives=str)  # type: ignore[operator]
    with pytest.raises(EdgeError, match=r"'mask'.*'length'"):
        _ = Step.registered("acme/mask", takes=str, gives=int) >> length  # type: ignore[operator]


def test_types_that_do_not_fit_what_was_registered_are_refused_with_both_ends() -> None:
    wrong_input = length >> Step.registered("acme/mask", takes=int, gives=str)
    wrong_output = Step.registered("acme/size", takes=str, gives=str) >> shout
    plugin = contributing("acme", "register_steps", mask=mask, size=length)
    for wrong, name in ((wrong_input, "mask"), (wrong_output, "size")):
        with pytest.raises(EdgeError) as refused:
            alone(wrong, plugin)
        said = str(refused.value)
        assert name in said and "'int'" in said and "'str'" in said and said.count("step") >= 2, said


def test_a_registered_step_alone_is_held_to_its_declared_types_too() -> None:
    plugin = contributing("acme", "register_steps", mask=mask)
    for takes, gives in ((int, str), (str, int)):
        with pytest.raises(EdgeError, match="mask"):
            alone(Step.registered("acme/mask", takes=takes, gives=gives), plugin)


def test_a_contribution_is_imported_when_its_name_is_used_and_not_before(lazy: Callable[[str], str]) -> None:
    used = lazy("from flujo_core import step\n@step\nasync def it(text: str) -> str:\n    return text + '!'\n")
    unused = lazy("raise RuntimeError('imported')")
    plugin = contributing("acme", "register_steps", used=f"{used}:it", unused=f"{unused}:it")
    assert alone(shout, plugin).run("a").output == "A"
    assert used not in sys.modules and unused not in sys.modules
    assert alone(Step.registered("acme/used", takes=str, gives=str), plugin).run("a").output == "a!"


@pytest.mark.parametrize("source", ["it = 5", "raise RuntimeError", "other = 1"])
def test_a_target_that_is_no_step_or_cannot_be_imported_is_refused_when_it_is_used(
    lazy: Callable[[str], str], source: str
) -> None:
    plugin = contributing("acme", "register_steps", it=f"{lazy(source)}:it")
    with pytest.raises(FlujoError, match="acme/it"):
        alone(Step.registered("acme/it", takes=str, gives=str), plugin)


CONTRIBUTING = [name for name, hook in HOOKS.items() if hook.kind == "contribute"]


@pytest.mark.parametrize("names", [[""], ["a/b"], ["twice", "twice"]], ids=["empty", "slash", "twice"])
@pytest.mark.parametrize("hook", CONTRIBUTING)
def test_a_contribution_that_cannot_be_is_refused_as_the_plugin_loads(hook: str, names: list[str]) -> None:
    def register(self: Plugin, registry: Registry[Any], /) -> None:
        for name in names:
            registry.add(name, "somewhere:thing")

    made: Plugin = type("Odd", (Plugin,), {"name": "acme", hook: register})()
    with pytest.raises(PluginLoadError, match=r"refused.*'acme'|'acme'.*refused"):
        alone(shout, made)


@pytest.mark.parametrize("hook", CONTRIBUTING)
def test_a_registration_that_raises_is_refused_as_the_plugin_loads_and_its_text_is_not_shown(hook: str) -> None:
    def register(self: Plugin, registry: Registry[Any], /) -> None:
        raise KeyError("CANARY")

    made: Plugin = type("Odd", (Plugin,), {"name": "acme", hook: register})()
    with pytest.raises(PluginLoadError, match=r"refused.*'acme'|'acme'.*refused") as refused:
        alone(shout, made)
    assert hook in str(refused.value) and "KeyError" in str(refused.value) and "CANARY" not in str(refused.value)


@pytest.mark.parametrize("hook", ["register_steps", "register_agents", "register_stores", "register_checks"])
def test_what_is_not_of_its_kind_is_refused_at_the_latest_when_a_flujo_is_made_that_uses_it(hook: str) -> None:
    uses: dict[str, Callable[[], Any]] = {
        "register_steps": lambda: alone(Step.registered("acme/thing", takes=str, gives=str), odd),
        "register_agents": lambda: alone(Step.agent("ask", "acme/thing"), odd),
        "register_stores": lambda: alone(shout, odd, store="thing://host"),
        "register_checks": lambda: alone(shout, odd),
    }
    odd = contributing("acme", hook, thing=5)
    with pytest.raises(FlujoError, match=r"thing|'ask'"):
        uses[hook]()


def test_what_is_registered_after_loading_is_refused_for_each_kind() -> None:
    kept: list[Registry[Any]] = []

    class Keeping(Plugin):
        name = "keeping"

        def register_steps(self, registry: Registry[Any], /) -> None:
            kept.append(registry)

        register_stores = register_checks = register_commands = register_models = register_steps

    alone(shout, Keeping())
    assert len(kept) == 5 and len({id(one) for one in kept}) == 5
    for registry in kept:
        with pytest.raises(PluginLoadError, match="too late"):
            registry.add("late", mask)


# ------------------------------------------------------------------------------------ stores


class Redis(MemoryStore):
    """A store that notes what is done to it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()


def test_a_registered_store_is_made_from_the_whole_url_and_closed_with_the_flujo() -> None:
    made: list[Redis] = []

    def factory(url: str) -> Store:
        made.append(Redis(url))
        return made[-1]

    url = "redis://user@host:6379/0?x=1"
    plugin = contributing("acme", "register_stores", redis=factory)

    async def main() -> list[str]:
        async with alone(shout, plugin, store=url) as flujo:
            await flujo.run_async("x", run_id="r")
            return [record.kind for record in await made[0].read("r")]

    assert asyncio.run(main())[-1] == "run_ended"
    assert [(one.url, one.closed) for one in made] == [(url, 1)]


def test_a_store_is_imported_only_where_a_url_names_its_scheme(lazy: Callable[[str], str]) -> None:
    module = lazy("from flujo_core import MemoryStore\ndef make(url):\n    return MemoryStore()\n")
    plugin = contributing("acme", "register_stores", redis=f"{module}:make")
    alone(shout, plugin, store="memory://").run("x")
    assert module not in sys.modules
    assert alone(shout, plugin, store="redis://host").run("x").output == "X" and module in sys.modules


def test_a_url_of_an_unknown_scheme_names_no_store() -> None:
    plugin = contributing("acme", "register_stores", redis=Redis)
    with pytest.raises(ConfigurationError, match=r"rediss://host"):
        alone(shout, plugin, store="rediss://host")


# ------------------------------------------------------------------------------------ checks


class Parrot:
    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        return AgentReply(input)


def test_what_a_check_finds_refuses_the_pipeline_and_is_named_with_plugin_and_check() -> None:
    def eu_only(node: Node[Any, Any]) -> Iterable[str]:
        yield "step 'ask' asks a model outside the EU"
        yield "step 'tell' does too"

    with pytest.raises(DefinitionError) as refused:
        alone(shout, contributing("acme", "register_checks", eu_only=eu_only))
    said = str(refused.value)
    for part in ("acme", "eu-only", "step 'ask' asks a model outside the EU", "step 'tell' does too"):
        assert part in said


@pytest.mark.parametrize("nothing", [[], (), iter(())])
def test_a_check_that_finds_nothing_lets_the_pipeline_be(nothing: Iterable[str]) -> None:
    plugin = contributing("acme", "register_checks", sound=lambda node: nothing)
    assert alone(shout, plugin).run("x").output == "X"


def test_a_check_that_raises_is_not_a_check_that_found_nothing() -> None:
    def broken(node: Node[Any, Any]) -> list[str]:
        raise KeyError("CANARY")

    with pytest.raises(FlujoError, match="acme") as refused:
        alone(shout, contributing("acme", "register_checks", broken=broken))
    assert "CANARY" not in str(refused.value)


def test_a_check_gets_the_pipeline_with_registered_steps_and_agents_in_the_places_of_their_names() -> None:
    seen: list[Node[Any, Any]] = []

    def look(node: Node[Any, Any]) -> list[str]:
        seen.append(node)
        return []

    @step
    async def open_to_all(text: object) -> str:
        return "x"

    pipeline = (shout >> Step.registered("acme/open", takes=str, gives=str) >> Step.agent("ask", "birds/parrot")).named(
        "all"
    )
    alone(
        pipeline,
        contributing("acme", "register_steps", open=open_to_all),
        contributing("look", "register_checks", look=look),
        contributing("birds", "register_agents", parrot=Parrot()),
    )
    (node,) = seen
    assert isinstance(node, Pipeline) and node.label == "all"
    assert [part.label for part in node.nodes] == ["shout", "open", "ask"]
    assert node.nodes[1].takes is object, "the placeholder, and not the step"
    assert node.nodes[2].gives is str, "the agent's name, and not the agent"


def test_all_checks_of_all_plugins_are_asked() -> None:
    asked: list[str] = []

    def noting(name: str) -> Callable[[Node[Any, Any]], list[str]]:
        def check(node: Node[Any, Any]) -> list[str]:
            asked.append(name)
            return []

        return check

    plugins = [
        contributing(name, "register_checks", one=noting(f"{name}/one"), two=noting(f"{name}/two")) for name in "ba"
    ]
    alone(shout, *plugins)
    assert sorted(asked) == ["a/one", "a/two", "b/one", "b/two"]
