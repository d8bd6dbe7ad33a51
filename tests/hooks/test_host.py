"""The plugin host: what is installed, what is allowed, what is refused; with real distributions in real processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from flujo_core import (
    Flujo,
    Plugin,
    PluginLoadError,
    PluginSettings,
    Registry,
    Settings,
    StepCall,
    StepResult,
    hookimpl,
    step,
)
from flujo_core.hooks.scan import scan

Install = Callable[..., None]
Python = Callable[..., str]

PLUGIN = """
    from pathlib import Path
    from flujo_core import Plugin
    Path("imported-{name}").touch()

    class {cls}(Plugin):
        name = "{name}"
        async def pre_step_execution(self, call):
            print("{name}")
"""

PROGRAM = """
    from flujo_core import Flujo, FlujoError, step

    @step
    async def work(value: int) -> int:
        return value

    try:
        Flujo(work).run(1)
    except FlujoError as error:
        print(type(error).__name__, error)
"""

NO_INSTALLED = Settings(PluginSettings(allow=()))


def plugin(name: str, cls: str = "It") -> str:
    return PLUGIN.format(name=name, cls=cls)


@step
async def work(value: int) -> int:
    return value


# ---------------------------------------------------------------------------------------------------- loading


def test_an_installed_plugin_takes_part(install: Install, python: Python) -> None:
    install("acme-audit", "acme_audit", plugin("audit"), audit="acme_audit:It")
    assert python(PROGRAM) == "audit"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (plugin("p"), "m:It"),
        (plugin("p") + "\n    it = It()\n", "m:it"),
        (plugin("p") + "\n    def make():\n        return It()\n", "m:make"),
        (plugin("p") + "\n    class Space:\n        It = It\n", "m:Space.It"),
    ],
    ids=["class", "instance", "factory", "nested"],
)
def test_an_entry_point_may_name_a_class_an_instance_or_a_function_that_makes_one(
    install: Install, python: Python, source: str, target: str
) -> None:
    install("acme", "m", source, p=target)
    assert python(PROGRAM) == "p"


def test_a_distribution_may_bring_several_plugins(install: Install, python: Python) -> None:
    install("acme", "m", plugin("b", "B") + plugin("a", "A"), one="m:B", two="m:A")
    assert python(PROGRAM).split() == ["a", "b"]


def test_importing_flujo_core_loads_no_plugin(install: Install, python: Python, tmp_path: Path) -> None:
    install("acme", "m", plugin("p"), p="m:It")
    python("import flujo_core; from flujo_core import Flujo, Plugin, Step, step, Settings")
    assert not (tmp_path / "imported-p").exists()


@pytest.mark.parametrize(
    "how", ["deny", "deny in other spelling", "allow others", "allow none", "env allow", "env deny"]
)
def test_a_plugin_that_is_not_allowed_is_not_even_imported(
    install: Install, python: Python, tmp_path: Path, how: str
) -> None:
    install("Acme.Audit", "m", plugin("p"), p="m:It")
    install("good", "g", plugin("g"), g="g:It")
    texts = {
        "deny": '[plugins]\ndeny = ["acme-audit"]\n',
        "deny in other spelling": '[plugins]\ndeny = ["ACME_audit"]\n',
        "allow others": '[plugins]\nallow = ["good"]\n',
        "allow none": "[plugins]\nallow = []\n",
    }
    environ = {"env allow": {"FLUJO_PLUGINS": "good"}, "env deny": {"FLUJO_DISABLE": "x, acme_audit"}}.get(how, {})
    (tmp_path / "flujo.toml").write_text(texts.get(how, ""))
    assert python(PROGRAM, **environ) == ("" if how == "allow none" else "g")
    assert not (tmp_path / "imported-p").exists()


def test_deny_is_stronger_than_allow(install: Install, python: Python, tmp_path: Path) -> None:
    install("acme", "m", plugin("p"), p="m:It")
    (tmp_path / "flujo.toml").write_text('[plugins]\nallow = ["acme"]\ndeny = ["acme"]\n')
    assert python(PROGRAM) == ""


@pytest.mark.parametrize("how", ["missing", "denied", "not allowed"])
def test_a_required_plugin_that_does_not_take_part_refuses_the_start(
    install: Install, python: Python, tmp_path: Path, how: str
) -> None:
    if how != "missing":
        install("acme-audit", "m", plugin("p"), p="m:It")
    lists = {"missing": "", "denied": 'deny = ["acme-audit"]', "not allowed": "allow = []"}[how]
    (tmp_path / "flujo.toml").write_text(f'[plugins]\nrequired = ["acme_audit"]\n{lists}\n')
    said = python(PROGRAM)
    assert said.startswith("PluginLoadError") and "acme_audit" in said
    assert ("not installed" in said) is (how == "missing")


def test_a_required_plugin_that_is_there_lets_the_start_go_on(install: Install, python: Python, tmp_path: Path) -> None:
    install("acme-audit", "m", plugin("p"), p="m:It")
    (tmp_path / "flujo.toml").write_text('[plugins]\nrequired = ["Acme.Audit"]\n')
    assert python(PROGRAM) == "p"


HEAD = "from flujo_core import Plugin\nclass It(Plugin):\n    name = 'p'\n"
BROKEN = {
    "import error": "import nothing_of_that_name\n",
    "syntax error": "def broken(:\n",
    "raises": "raise RuntimeError('no licence')\n",
    "exits": "raise SystemExit(0)\n",
    "no attribute": "x = 1\n",
    "no plugin": "class It: pass\n",
    "not callable": "It = 5\n",
    "factory raises": "def It(): raise ValueError('x')\n",
    "factory exits": "def It(): raise SystemExit(0)\n",
    "factory gives nothing": "def It(): pass\n",
    "needs arguments": HEAD + "    def __init__(self, key): pass\n",
    "no name": "from flujo_core import Plugin\nclass It(Plugin): pass\n",
    "sync hook": HEAD + "    def pre_step_execution(self, call): pass\n",
    "async generator": HEAD + "    async def pre_step_execution(self, call): yield\n",
    "async registration": HEAD + "    async def register_agents(self, registry): pass\n",
    "misspelt hook": HEAD + "    async def pre_step_exeution(self, call): pass\n",
    "too few parameters": HEAD + "    async def post_step_execution(self, call): pass\n",
    "too many parameters": HEAD + "    async def pre_step_execution(self, call, result): pass\n",
    "keyword only": HEAD + "    async def pre_step_execution(self, *, call): pass\n",
    "registration raises": HEAD + "    def register_agents(self, registry): 1 / 0\n",
    "odd contribution": HEAD + "    def register_agents(self, registry): registry.add('a/b', 1)\n",
}


ACME = Settings(PluginSettings(allow=("acme-audit",)))


@pytest.mark.parametrize("how", sorted(BROKEN))
def test_an_allowed_plugin_that_cannot_be_loaded_refuses_the_start_and_is_named(
    install: Install, here: Path, how: str
) -> None:
    module = "acme_" + how.replace(" ", "_")
    install("acme-audit", module, BROKEN[how], version="3.1", audit=f"{module}:It")
    with pytest.raises(PluginLoadError) as refused:
        Flujo(work, settings=ACME)
    said = str(refused.value)
    assert "acme-audit" in said and "3.1" in said and len(said.splitlines()) == 1, said
    if how == "misspelt hook":
        assert "did you mean 'pre_step_execution'" in said


def test_a_module_that_is_not_there_refuses_the_start(install: Install, here: Path) -> None:
    install("acme-audit", "acme_there", "", audit="acme_not_there:It")
    with pytest.raises(PluginLoadError, match=r"acme-audit.*acme_not_there"):
        Flujo(work, settings=ACME)


def test_a_plugin_module_that_exits_does_not_end_the_process_as_if_all_were_well(
    install: Install, python: Python
) -> None:
    install("acme-audit", "m", "raise SystemExit(0)\n", audit="m:It")
    assert python(PROGRAM).startswith("PluginLoadError")


def test_each_kind_of_target_loads_in_this_process(install: Install, here: Path) -> None:
    for number, source in enumerate(["", "it = It()\n", "def make(): return It()\n"]):
        target = ("It", "it", "make")[number]
        install(f"acme-{number}", f"acme_kind_{number}", HEAD.replace("'p'", f"'p{number}'") + source,
                **{f"p{number}": f"acme_kind_{number}:{target}"})  # fmt: skip
    scan.cache_clear()
    allowed = Settings(PluginSettings(allow=("acme-0", "acme-1", "acme-2"), required=("acme-0",)))
    assert Flujo(work, settings=allowed).run(1).output == 1
    denied = Settings(PluginSettings(deny=("acme-0",), required=("acme-0",)))
    with pytest.raises(PluginLoadError, match=r"'acme-0'.* is missing: it is required, and denied"):
        Flujo(work, settings=denied)
    with pytest.raises(PluginLoadError, match=r"'acme-9'.* is missing: it is required, and not installed"):
        Flujo(work, settings=Settings(PluginSettings(allow=(), required=("acme-9",))))


def test_two_plugins_of_one_name_refuse_the_start_and_both_distributions_are_named(
    install: Install, python: Python
) -> None:
    install("acme", "m", plugin("same"), p="m:It")
    install("umbrella", "u", plugin("same"), q="u:It")
    said = python(PROGRAM)
    assert said.startswith("PluginLoadError") and "'same'" in said and "acme" in said and "umbrella" in said


def test_an_older_copy_of_a_distribution_further_down_the_path_is_not_loaded_too(
    install: Install, python: Python, site: Path, tmp_path: Path
) -> None:
    install("acme", "m", plugin("p"), p="m:It")
    older = tmp_path / "older" / "acme-0.1.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 0.1\n")
    (older / "entry_points.txt").write_text("[flujo.plugins]\np = m:It\n")
    assert python(PROGRAM, PYTHONPATH=f"{site}:{tmp_path / 'older'}") == "p"


def test_a_plugin_error_names_the_plugin_its_distribution_and_version(install: Install, python: Python) -> None:
    source = """
        from flujo_core import Plugin
        class It(Plugin):
            name = "audit"
            async def post_step_execution(self, call, result):
                raise ValueError("CANARY")
    """
    install("acme-audit", "m", source, version="3.1", audit="m:It")
    said = python(PROGRAM)
    for part in ("RunRefused", "'audit'", "acme-audit", "3.1", "post_step_execution", "'work'", "ValueError"):
        assert part in said
    assert "CANARY" not in said


# ---------------------------------------------------------------------------------------------------- given plugins


class Marking(Plugin):
    """Marks each of its hooks."""

    name: ClassVar[str] = "marking"
    marks: ClassVar[list[str]] = []

    async def pre_step_execution(self, call: StepCall, /) -> None:
        self.marks.append(f"pre {self.name}")

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        self.marks.append(f"post {self.name}")


class First(Marking):
    @hookimpl(tryfirst=True)
    async def pre_step_execution(self, call: StepCall, /) -> None:
        self.marks.append(f"pre {self.name}")

    @hookimpl(tryfirst=True)
    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        self.marks.append(f"post {self.name}")


class Last(Marking):
    @hookimpl(trylast=True)
    async def pre_step_execution(self, call: StepCall, /) -> None:
        self.marks.append(f"pre {self.name}")

    @hookimpl(trylast=True)
    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        self.marks.append(f"post {self.name}")


def _order(*plugins: Plugin) -> list[str]:
    Marking.marks.clear()
    Flujo(work, plugins=plugins, settings=NO_INSTALLED).run(1)
    return list(Marking.marks)


def _named(kind: type[Marking], name: str) -> Marking:
    return type(kind.__name__, (kind,), {"name": name})()  # type: ignore[no-any-return]


def test_plugins_are_called_by_name_and_unwrapped_in_reverse_whatever_the_order_they_were_given_in() -> None:
    plugins = [_named(Marking, name) for name in "bca"]
    expected = ["pre a", "pre b", "pre c", "post c", "post b", "post a"]
    assert _order(*plugins) == _order(*reversed(plugins)) == expected


def test_tryfirst_comes_before_and_trylast_after_the_others_each_by_name() -> None:
    plugins = [
        _named(Last, "a"), _named(Last, "b"), _named(Marking, "m"), _named(Marking, "n"), _named(First, "y"),
        _named(First, "z"),
    ]  # fmt: skip
    pre = ["pre y", "pre z", "pre m", "pre n", "pre a", "pre b"]
    assert _order(*plugins) == [*pre, *(mark.replace("pre", "post") for mark in reversed(pre))]


def test_a_plugin_of_an_overriding_class_counts_as_overriding() -> None:
    class Child(Marking):
        name: ClassVar[str] = "child"

    assert _order(Child()) == ["pre child", "post child"]


def test_a_plugins_parameters_may_have_other_names_since_hooks_are_called_by_position() -> None:
    seen: list[str] = []

    class Mine(Plugin):
        name: ClassVar[str] = "mine"

        async def pre_step_execution(self, c: StepCall, /) -> None:
            seen.append(c.step_name)

        async def post_step_execution(self, c: StepCall, r: StepResult, /) -> None:
            seen.append(r.address)

    Flujo(work, plugins=[Mine()], settings=NO_INSTALLED).run(1)
    assert seen == ["work", "work"]


@pytest.mark.parametrize("name", ["", "a/b", 5, None])
def test_a_plugin_without_a_proper_name_is_refused(name: Any) -> None:
    plugin_class = type("Odd", (Plugin,), {"name": name})
    with pytest.raises(PluginLoadError, match="Odd"):
        Flujo(work, plugins=[plugin_class()], settings=NO_INSTALLED)


def test_what_is_no_plugin_is_refused() -> None:
    for odd in (Marking, object(), "marking"):
        with pytest.raises(PluginLoadError):
            Flujo(work, plugins=[odd], settings=NO_INSTALLED)  # type: ignore[list-item]


def test_one_plugin_given_twice_is_refused() -> None:
    one = Marking()
    with pytest.raises(PluginLoadError, match="marking"):
        Flujo(work, plugins=[one, one], settings=NO_INSTALLED)


def test_one_plugin_may_serve_several_flujos() -> None:
    one = Marking()
    assert _order(one) == _order(one)


def test_a_hook_of_another_signature_is_refused_with_its_name() -> None:
    class Odd(Plugin):
        name: ClassVar[str] = "odd"

        async def on_pipeline_end(self, run: Any) -> None:  # type: ignore[override]
            pass

    with pytest.raises(PluginLoadError, match="on_pipeline_end"):
        Flujo(work, plugins=[Odd()], settings=NO_INSTALLED)


def test_contributions_come_while_plugins_load_and_not_later() -> None:
    kept: list[Registry[Any]] = []

    class Late(Plugin):
        name: ClassVar[str] = "late"

        def register_agents(self, registry: Registry[Any], /) -> None:
            kept.append(registry)

    Flujo(work, plugins=[Late()], settings=NO_INSTALLED)
    with pytest.raises(PluginLoadError, match="late"):
        kept[0].add("late", object())


def test_an_installed_plugin_is_made_once_and_taken_again_when_the_set_changes(install: Install, here: Path) -> None:
    count = "    made = 0\n    def __init__(self):\n        type(self).made += 1\n"
    install("acme-audit", "acme_once", HEAD + count, version="3.1", p="acme_once:It")
    flujo = Flujo(work, settings=ACME)

    class Other(Plugin):
        name: ClassVar[str] = "other"

    asyncio.run(flujo.change_plugins(add=[Other()]))
    assert flujo.plugins == ("other", "p") and sys.modules["acme_once"].It.made == 1
