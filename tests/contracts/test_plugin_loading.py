"""From an installed distribution to a plugin: its state on the way, and what the command line says of it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import SOUND, Deployment, work

from flujo_core import Flujo, Plugin, PluginLoadError, PluginSettings, Registry, Settings


class Programmed(Deployment):
    """A deployment with programs that have a pipeline to run."""

    def program(self, source: str) -> Any:
        """What a program that can make ``Flujo`` objects prints, as JSON in its last line."""
        done = self.python("-c", textwrap.dedent(HEAD) + textwrap.dedent(source))
        assert done.code == 0, done.err
        return json.loads(done.out.splitlines()[-1])


HEAD = """
    import contextlib, io, json
    from flujo_core import Flujo, PluginLoadError, PluginSettings, Settings, step

    @step
    async def work(value: int) -> int:
        return value + 1

    def came_to(**settings):
        logged = io.StringIO()
        try:
            with contextlib.redirect_stderr(logged):
                output = Flujo(work, settings=Settings(PluginSettings(**settings))).run(1).output
        except PluginLoadError as error:
            return ["PluginLoadError", str(error)]
        return [output, logged.getvalue()]
"""


@pytest.fixture
def deployed(tmp_path: Path, site: Path, install: Callable[..., None], record: Callable[..., None]) -> Programmed:
    return Programmed(tmp_path / "app", site, install, record)


# The distributions of a site in which each plugin has another state, by that state.
STATES = {
    "loaded": ["acme-loaded"],
    "denied": ["acme-denied"],
    "missing": ["acme-missing"],
    "duplicate": ["acme-twin-a", "acme-twin-b"],
    "unmet": ["acme-needs-much", "acme-needs-other", "acme-needs-and-breaks"],
    "foreign": ["acme-stray", "acme-stray-below"],
    "broken": ["acme-broken", "acme-exits"],
    "invalid": ["acme-sync", "acme-nameless"],
    "incompatible": ["acme-future"],
    "refused": ["acme-registers-badly"],
}
ALL = [one for distributions in STATES.values() for one in distributions]
NOT_IMPORTED = {one for state in ("denied", "missing", "duplicate", "unmet") for one in STATES[state]} | {"acme-stray"}


@pytest.fixture
def every_state(deployed: Programmed) -> Programmed:
    deployed.install(
        "acme-loaded", requires=("flujo-core>=0.1", 'nobody-has; extra == "x"', 'nobody-has; python_version < "3"')
    )
    deployed.install("acme-denied")
    deployed.install("acme-twin-a", entry="twin")
    deployed.install("acme-twin-b", entry="twin")
    deployed.install("acme-needs-much", requires=("flujo-core>=99",))
    deployed.install("acme-needs-other", requires=("nobody-has-this",))
    deployed.install("acme-needs-and-breaks", "import nothing_of_that_name", requires=("nobody-has-this",))
    deployed.install("acme-stray", recorded=False)
    deployed.install(
        "acme-stray-below", files={"acme_below/__init__.py": "", "acme_below/it.py": "from acme_stray_below import It"},
        target="acme_below.it:It",
    )  # fmt: skip
    listed = deployed.recorded("acme-stray-below")
    listed.remove("acme_below/it.py")
    deployed.record("acme-stray-below", *listed)
    deployed.install("acme-broken", "import nothing_of_that_name")
    deployed.install("acme-exits", "raise SystemExit(0)")
    deployed.install("acme-sync", SOUND + "\n        def authorize(self, request): pass\n")
    deployed.install("acme-nameless", "from flujo_core import Plugin\nclass It(Plugin): pass\n")
    deployed.install("acme-future", SOUND + '\n        api = ">=2"\n')
    deployed.install("acme-registers-badly", SOUND + "\n        def register_steps(self, registry): 1 / 0\n")
    deployed.configure(allow=ALL, deny=["acme-denied"], required=["acme-missing"])
    return deployed


def test_each_failure_is_a_named_state_with_reason_and_remedy_in_doctor(every_state: Programmed) -> None:
    code, rows = every_state.doctor()
    assert code == 2
    assert {name: rows[name]["state"] for name in ALL} == {name: state for state in STATES for name in STATES[state]}
    for name, row in rows.items():
        assert set(row) == {"plugin", "distribution", "version", "state", "reason", "remedy"}
        assert row["version"] == "1.5" or name == "acme-missing"
        if row["state"] != "loaded":
            assert row["reason"] and (row["remedy"] or row["state"] == "denied"), row
    assert every_state.imported() & NOT_IMPORTED == set(), "code ran of a plugin that may not run"
    assert {"acme-loaded", "acme-broken", "acme-sync", "acme-future"} <= every_state.imported()


def test_doctor_is_content_when_all_are_loaded_or_denied(every_state: Programmed) -> None:
    every_state.configure(allow=["acme-loaded", "acme-denied", "acme-broken"], deny=["acme-denied"])
    code, rows = every_state.doctor("-P", "no:acme-broken")
    assert code == 0 and {row["state"] for row in rows.values()} == {"loaded", "denied"}
    assert rows["acme-broken"]["state"] == "denied"
    done = every_state.flujo("plugins", "doctor")
    assert done.code == 2 and "acme-broken" in done.out and "broken" in done.out and "loaded" in done.out


def test_list_says_what_is_allowed_and_denied_and_imports_nothing(every_state: Programmed) -> None:
    done = every_state.flujo("plugins", "list", "--json")
    states = {row["distribution"]: row["state"] for row in json.loads(done.out)}
    assert done.code == 0 and every_state.imported() == set()
    assert states["acme-denied"] == "denied" and states["acme-loaded"] == states["acme-broken"] == "allowed"


def test_an_allowed_plugin_that_cannot_be_loaded_refuses_the_start_whatever_the_reason_unless_its_policy_is_open(
    every_state: Programmed,
) -> None:
    faulty = {state: names for state, names in STATES.items() if state not in ("loaded", "denied", "missing")}
    came_to = every_state.program(f"""
        found = {{}}
        for state, names in {faulty!r}.items():
            for name in names:
                allow = ("acme-loaded", *(names if state == "duplicate" else [name]))
                policies = {{one: "open" for one in names}}
                found[name] = [
                    state,
                    came_to(allow=allow),
                    came_to(allow=allow, policies=policies),
                    came_to(allow=allow, policies=policies, required=(name,)),
                ]
        print(json.dumps(found))
    """)
    for name, (state, closed, opened, required) in came_to.items():
        assert closed[0] == required[0] == "PluginLoadError" and opened[0] == 2, (name, closed, opened, required)
        said = closed[1]
        assert state in said and name in said and "1.5" in said and len(said.splitlines()) == 1, said
        assert "plugin.left_out" in opened[1] and name in opened[1], opened


def test_a_required_distribution_that_is_not_there_refuses_the_start_under_any_policy(every_state: Programmed) -> None:
    for policy in ("closed", "open"):
        name, said = every_state.program(f"""
            print(json.dumps(came_to(allow=(), required=("acme-nobody",), policies={{"acme-nobody": "{policy}"}})))
        """)
        assert name == "PluginLoadError" and "acme-nobody" in said and "missing" in said


def test_what_is_denied_is_no_duplicate_of_what_is_not(deployed: Programmed) -> None:
    deployed.install("acme-twin-a", entry="twin")
    deployed.install("acme-twin-b", entry="twin")
    deployed.configure(allow=["acme-twin-a", "acme-twin-b"], deny=["acme-twin-b"])
    code, rows = deployed.doctor()
    assert code == 0 and {name: row["state"] for name, row in rows.items()} == {
        "acme-twin-a": "loaded", "acme-twin-b": "denied",
    }  # fmt: skip


def test_two_plugins_that_give_themselves_one_name_are_duplicates_and_both_distributions_are_named(
    deployed: Programmed,
) -> None:
    deployed.install("acme-one", SOUND.replace("{name}", "same"))
    deployed.install("acme-two", SOUND.replace("{name}", "same"))
    kind, said = deployed.program('print(json.dumps(came_to(allow=("acme-one", "acme-two"))))')
    assert kind == "PluginLoadError" and "duplicate" in said and "acme-one" in said and "acme-two" in said


def test_a_module_that_lies_in_front_of_the_plugins_own_is_foreign_and_not_imported(deployed: Programmed) -> None:
    module = deployed.install("acme-shadowed")
    (deployed.app / f"{module}.py").write_text("open('shadow', 'w').close()\n" + textwrap.dedent(SOUND))
    kind, said = deployed.program('print(json.dumps(came_to(allow=("acme-shadowed",))))')
    assert kind == "PluginLoadError" and "foreign" in said and not (deployed.app / "shadow").exists()


def test_an_editable_install_lists_no_modules_and_is_loaded_where_no_lock_is_in_force(deployed: Programmed) -> None:
    source = deployed.app.parent / "source"
    source.mkdir()
    module = deployed.install(
        "acme-dev", recorded=False, direct_url={"url": source.as_uri(), "dir_info": {"editable": True}}
    )
    (deployed.site / f"{module}.py").rename(source / f"{module}.py")
    deployed.configure(allow=["acme-dev"])
    done = deployed.flujo("plugins", "doctor", "--json", PYTHONPATH=f"{deployed.site}:{source}")
    states = {row["distribution"]: row["state"] for row in json.loads(done.out)}
    assert (done.code, states["acme-dev"]) == (0, "loaded")


def test_a_plugin_in_a_package_of_its_distribution_is_loaded(deployed: Programmed) -> None:
    deployed.install(
        "acme-package", files={"acme_p/__init__.py": "", "acme_p/plugin.py": "from acme_package import It"},
        target="acme_p.plugin:It",
    )  # fmt: skip
    deployed.configure(allow=["acme-package"], required=["acme-package"])
    code, rows = deployed.doctor()
    assert (code, rows["acme-package"]["state"]) == (0, "loaded")


def test_a_required_plugin_cannot_be_removed_from_a_flujo(deployed: Programmed) -> None:
    deployed.install("acme-audit")
    kind, plugins = deployed.program("""
        import asyncio
        from flujo_core import FlujoError

        async def main():
            settings = Settings(PluginSettings(allow=("acme-audit",), required=("acme-audit",)))
            async with Flujo(work, settings=settings) as flujo:
                try:
                    await flujo.change_plugins(remove=["audit"])
                except FlujoError as error:
                    return [type(error).__name__, flujo.plugins]
                return ["removed", flujo.plugins]

        print(json.dumps(asyncio.run(main())))
    """)
    assert plugins == ["audit"] and kind != "removed"


# ------------------------------------------------------------------------------------ plugins given in code


class Future(Plugin):
    name = "future"
    api = ">=2"


class Nonsense(Plugin):
    name = "nonsense"
    api = "whatever"


class Raising(Plugin):
    name = "raising"

    def register_checks(self, registry: Registry[Any], /) -> None:
        raise KeyError("CANARY")


@pytest.mark.parametrize(
    ("made", "state"), [(Future(), "incompatible"), (Nonsense(), ""), (Raising(), "refused")], ids=["a", "b", "c"]
)
def test_a_plugin_given_in_code_that_cannot_be_loaded_refuses_the_start_or_is_left_out_where_the_deployment_says_so(
    made: Plugin, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PluginLoadError, match=f"'{made.name}'") as refused:
        Flujo(work, plugins=[made], settings=Settings(PluginSettings(allow=())))
    assert state in str(refused.value) and "CANARY" not in str(refused.value)
    opened = Settings(PluginSettings(allow=(), policies={made.name: "open"}))
    flujo = Flujo(work, plugins=[made], settings=opened)
    assert flujo.run(1).output == 2 and flujo.plugins == ()
    logged = capsys.readouterr().err
    assert "plugin.left_out" in logged and made.name in logged


@pytest.mark.parametrize("api", [">=1,<2", ">=1", "<2", "==1.0", "~=1.0", ">=0.9,!=1.1"])
def test_a_plugin_whose_api_contains_the_version_of_the_specification_is_compatible(api: str) -> None:
    made = type("Fits", (Plugin,), {"name": "fits", "api": api})()
    assert Flujo(work, plugins=[made], settings=Settings(PluginSettings(allow=()))).plugins == ("fits",)


@pytest.mark.parametrize("api", [">=2", "<1", ">1.0", "==1.1", "!=1.0", ">=1.1,<2"])
def test_a_plugin_whose_api_does_not_contain_it_is_incompatible(api: str) -> None:
    made = type("Unfit", (Plugin,), {"name": "unfit", "api": api})()
    with pytest.raises(PluginLoadError, match=r"incompatible.*'unfit'|'unfit'.*incompatible") as refused:
        Flujo(work, plugins=[made], settings=Settings(PluginSettings(allow=())))
    assert api in str(refused.value) and "1.0" in str(refused.value)


# ------------------------------------------------------------------------------------ inspect

AUDIT = """
    from flujo_core import Plugin, hookimpl, step

    @step
    async def seal(text: str) -> str:
        return text

    class It(Plugin):
        name = "{name}"
        async def pre_step_execution(self, call): pass
        @hookimpl(trylast=True)
        async def on_pipeline_start(self, run): pass
        async def post_step_execution(self, call, result): pass
        def register_steps(self, registry):
            registry.add("seal", seal)
        def register_agents(self, registry):
            registry.add("clerk", "acme_offices:clerk")
"""


@pytest.fixture
def offices(deployed: Programmed) -> Programmed:
    for name in ("audit", "billing", "zoo"):
        deployed.install(f"acme-{name}", AUDIT)
    deployed.install("acme-broken", "import nothing_of_that_name")
    deployed.configure(allow=["acme-audit", "acme-billing", "acme-zoo"], order=["acme-zoo"])
    return deployed


def test_inspect_prints_the_order_in_which_each_hook_calls_and_what_was_contributed(offices: Programmed) -> None:
    done = offices.flujo("plugins", "inspect", "audit", "--json")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert set(shown) == {
        "plugin", "distribution", "version", "target", "state", "reason", "remedy", "api", "policy", "hooks",
        "contributions",
    }  # fmt: skip
    assert (shown["plugin"], shown["distribution"], shown["version"], shown["target"], shown["state"]) == (
        "audit", "acme-audit", "1.5", "acme_audit:It", "loaded",
    )  # fmt: skip
    assert (shown["api"], shown["policy"]) == (">=1,<2", "closed")
    orders = {hook["hook"]: hook["order"] for hook in shown["hooks"]}
    assert orders["pre_step_execution"] == orders["on_pipeline_start"] == ["zoo", "audit", "billing"]
    assert orders["post_step_execution"] == ["billing", "audit", "zoo"]
    assert "authorize" not in orders
    added = {(one["kind"], one["name"]): one["target"] for one in shown["contributions"]}
    assert set(added) == {("agent", "audit/clerk"), ("step", "audit/seal")}
    assert added["agent", "audit/clerk"] == "acme_offices:clerk"


def test_inspect_for_people_says_the_same(offices: Programmed) -> None:
    shown = offices.flujo("plugins", "inspect", "audit").out
    for part in ("audit", "acme-audit", "1.5", "acme_audit:It", "loaded", "audit/clerk", "pre_step_execution"):
        assert part in shown
    assert shown.index("zoo") < shown.index("billing")


def test_inspect_of_an_unknown_name_exits_with_2_and_a_close_match(offices: Programmed) -> None:
    done = offices.flujo("plugins", "inspect", "audti")
    assert done.code == 2 and "'audit'" in done.err and "'audti'" in done.err


def test_inspect_shows_a_plugin_that_could_not_be_loaded(offices: Programmed) -> None:
    offices.configure(allow=["acme-audit", "acme-broken"])
    shown = json.loads(offices.flujo("plugins", "inspect", "broken", "--json").out)
    assert shown["state"] == "broken" and shown["reason"] and shown["remedy"] and shown["hooks"] == []


# ------------------------------------------------------------------------------------ contributions on the command line

COMMANDS = """
    from flujo_core import MemoryStore, Plugin

    def refuse(node):
        return ["it is Friday"] if node.label == "deploy" else []

    def memory(url):
        print("store", url)
        return MemoryStore()

    class It(Plugin):
        name = "{name}"
        def register_commands(self, registry):
            registry.add("audit", "acme_cli:app")
            registry.add("greet", "acme_cli:greet")
        def register_checks(self, registry):
            registry.add("not-today", refuse)
        def register_stores(self, registry):
            registry.add("acme", memory)
"""

CLI = """
import typer
open("imported-cli", "w").close()
app = typer.Typer()

@app.command()
def show(run_id: str) -> None:
    print("audit of", run_id)

@app.command()
def seal() -> None:
    raise typer.Exit(7)

def greet(name: str, loud: bool = False) -> None:
    "Greets somebody."
    print(name.upper() if loud else name)
"""


@pytest.fixture
def commands(deployed: Programmed) -> Programmed:
    deployed.install("acme-commands", COMMANDS, files={"acme_cli.py": CLI})
    deployed.configure(allow=["acme-commands"])
    (deployed.app / "deploy.py").write_text(
        "from flujo_core import step\n@step\nasync def deploy(text: str) -> str:\n    return text\n"
        "fine = deploy.named('fine')\n"
    )
    return deployed


def test_contributed_commands_are_commands(commands: Programmed) -> None:
    told = commands.flujo("--help")
    assert told.code == 0 and "audit" in told.out and "greet" in told.out
    assert commands.flujo("audit", "show", "r1").out == "audit of r1\n"
    assert commands.flujo("audit", "seal").code == 7
    assert commands.flujo("greet", "ada", "--loud").out == "ADA\n"


def test_a_contributed_command_is_imported_only_when_it_is_used(commands: Programmed) -> None:
    for arguments in (("plugins", "list"), ("runs", "list"), ("check", "deploy.py:fine"), ("--help",)):
        assert commands.flujo(*arguments).code == 0
        assert not (commands.app / "imported-cli").exists(), arguments
    commands.flujo("greet", "ada")
    assert (commands.app / "imported-cli").exists()


def test_commands_of_a_plugin_that_is_denied_are_not_there(commands: Programmed) -> None:
    done = commands.flujo("-P", "no:acme-commands", "greet", "ada")
    assert done.code == 2 and done.out == "" and commands.imported() == set()


def test_check_and_run_refuse_what_a_contributed_check_finds(commands: Programmed) -> None:
    for arguments in (("check", "deploy.py:deploy"), ("run", "deploy.py:deploy", "-i", "x")):
        done = commands.flujo(*arguments)
        assert done.code == 2 and "it is Friday" in done.err and "not-today" in done.err, done
    assert commands.flujo("check", "deploy.py:fine").code == 0


def test_the_command_line_takes_the_url_of_a_contributed_store(commands: Programmed) -> None:
    done = commands.flujo("run", "deploy.py:fine", "-i", "x", "--store", "acme://host/1")
    assert done.code == 0 and "store acme://host/1" in done.out, done.err
