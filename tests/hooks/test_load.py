"""The states of a plugin on its way, each with reason and remedy; in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flujo_core import Plugin, PluginLoadError, PluginSettings
from flujo_core.builtin import Builtin
from flujo_core.hooks.host import Host
from flujo_core.hooks.integrity import lock_of
from flujo_core.hooks.load import Loading, Report
from flujo_core.hooks.scan import scan

Install = Callable[..., None]

PLUGIN = """
from flujo_core import Plugin
class It(Plugin):
    name = "it"
"""
ACME = PluginSettings(allow=("acme",))


def report(settings: PluginSettings = ACME) -> Report:
    return next(one for one in Loading(settings).reports if one.distribution == "acme")


@contextmanager
def refused(state: str, *words: str, settings: PluginSettings = ACME) -> Iterator[None]:
    """The state of 'acme' after the block, and the sentence that a start gives it."""
    yield
    scan.cache_clear()
    found = report(settings)
    assert found.state == state and found.reason and found.remedy, found
    with pytest.raises(PluginLoadError) as error:
        Host(settings)
    said = str(error.value)
    assert all(word in said for word in (f"is {state}: it ", found.reason, found.remedy, *words)), said
    opened = replace(settings, policies={"acme": "open"})
    if state != "missing":
        assert Host(opened).plugins == {}
        with pytest.raises(PluginLoadError):
            Host(replace(opened, required=("acme",)))


def test_loaded(install: Install, here: Path) -> None:
    install("acme", "acme_load", PLUGIN, it="acme_load:It")
    assert report() == Report("it", "acme", "1.0", "loaded", "", "", "it")
    assert list(Host(ACME).plugins) == ["it"]


def test_unmet(install: Install, here: Path) -> None:
    with refused("unmet", "(acme 1.0)", "flujo-core>=99"):
        install("acme", "acme_load", "raise SystemExit", requires=("flujo-core>=99",), it="acme_load:It")


def test_foreign_before_it_is_imported(
    install: Install, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refused("foreign", str(tmp_path)):
        install("acme", "acme_load", PLUGIN, it="acme_load:It")
        (tmp_path / "acme_load.py").write_text("raise SystemExit\n")
        monkeypatch.syspath_prepend(str(tmp_path))


def test_foreign_after_it_was_imported(install: Install, here: Path) -> None:
    (here / "acme_load").mkdir()
    (here / "acme_load" / "plugin.py").write_text(PLUGIN)
    with refused("foreign", "acme_load.plugin"):
        install("acme", "acme_load/__init__", "", it="acme_load.plugin:It")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (PLUGIN + "    api = '>=2'\n", "is written for the hook specification '>=2', and this kernel's is 1.0"),
        (PLUGIN + "    api = '<1'\n    async def on_something_older(self): ...\n", "'<1'"),
    ],
)
def test_incompatible(install: Install, here: Path, source: str, said: str) -> None:
    with refused("incompatible", said):
        install("acme", f"acme_{abs(hash(source))}", source, it=f"acme_{abs(hash(source))}:It")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (PLUGIN + "    api = 'any'\n", "has an 'api' 'any', which is no range of versions"),
        (PLUGIN + "    api = 1\n", "has an 'api' 1"),
        (PLUGIN + "    api = ('1', '2')\n", "has an 'api'"),
        (PLUGIN + "    before = 'other'\n", "has a 'before' that is no list of plugins' names"),
        (PLUGIN + "    after = (5,)\n", "has a 'after' that is no list of plugins' names"),
        (PLUGIN + "    after = 5\n", "has a 'after' that is no list of plugins' names"),
        (PLUGIN + "    async def authorise(self, request): ...\n", "did you mean 'authorize'? mend it"),
        (PLUGIN + "    before = ('it',)\n", "is to be called in a circle: 'it' before 'it'"),
        (PLUGIN.replace('"it"', '"a/b"'), "has the name 'a/b'; a name is a text without '/'"),
        (PLUGIN.replace('name = "it"', "pass"), "has no name"),
        (PLUGIN.replace("(Plugin)", ""), "not an instance of a 'flujo_core.Plugin' class"),
    ],
)
def test_invalid(install: Install, here: Path, source: str, said: str) -> None:
    module = f"acme_{abs(hash(source))}"
    with refused("invalid", said):
        install("acme", module, source, entry=f"{module}:It")
    assert report().plugin in ("it", "entry")


def test_helpers_with_names_of_their_own_are_no_misspelt_hooks(install: Install, here: Path) -> None:
    helpers = "    async def author(self): ...\n    def _authorise(self): ...\n    authorised = True\n"
    install("acme", "acme_load", PLUGIN + helpers, it="acme_load:It")
    assert report().state == "loaded"


def test_duplicate_entry_points_are_both_named_and_one_that_is_denied_is_none(install: Install, here: Path) -> None:
    install("acme", "acme_load", PLUGIN, it="acme_load:It")
    both = PluginSettings(allow=("acme", "umbrella"))
    install("umbrella", "umbrella_load", PLUGIN, version="2.0", it="umbrella_load:It")
    with pytest.raises(PluginLoadError, match=r"\(acme 1\.0\) is duplicate: .*'it', as has 'umbrella 2\.0'; deny one"):
        Host(both)
    assert [one.state for one in Loading(both).reports if one.distribution in both.allow] == ["duplicate"] * 2  # type: ignore[operator]
    assert report(PluginSettings(allow=("acme", "umbrella"), deny=("umbrella",))).state == "loaded"


def test_a_given_plugin_of_the_name_of_an_installed_one_is_a_duplicate(install: Install, here: Path) -> None:
    install("acme", "acme_load", PLUGIN, it="acme_load:It")
    given: Any = type("Given", (Plugin,), {"name": "it"})()
    with pytest.raises(PluginLoadError, match=r"plugin 'it'.* is duplicate: .*'Flujo\(plugins=\.\.\.\)'"):
        Host(ACME, [given])
    assert list(Host(PluginSettings(allow=()), [given]).plugins) == ["it"]


def test_locked_plugins_are_the_ones_that_were_locked(install: Install, here: Path, tmp_path: Path) -> None:
    install("acme", "acme_load", PLUGIN, it="acme_load:It")
    file = tmp_path / "plugins.lock"
    locked = replace(ACME, lock=file)
    file.write_text(lock_of([]))
    with refused("unlocked", f"is not in the lock '{file}'", settings=locked):
        pass
    file.write_text(lock_of([one for one in scan() if one.distribution == "acme"]))
    assert report(locked).state == "loaded"
    text = file.read_text()
    file.write_text(text.replace('"version": "1.0"', '"version": "0.9"'))
    with refused("unlocked", "is of version 1.0, and locked at 0.9", settings=locked):
        pass
    file.write_text(text)
    with refused("changed", "'acme_load.py' that is not the one that was locked", settings=locked):
        (here / "acme_load.py").write_text(PLUGIN + "#")


def test_what_is_locked_and_not_installed_is_missing_unless_it_is_denied(
    install: Install, here: Path, tmp_path: Path
) -> None:
    install("acme", "acme_load", PLUGIN, it="acme_load:It")
    file = tmp_path / "plugins.lock"
    one = next(one for one in scan() if one.distribution == "acme")
    file.write_text(lock_of([one]).replace('"acme"', '"umbrella"'))
    reports = Loading(PluginSettings(allow=("umbrella",), lock=file)).reports
    assert [(one.plugin, one.version, one.state) for one in reports if one.state != "denied"] == [
        ("umbrella", "1.0", "missing")
    ]
    assert not Loading(PluginSettings(allow=(), lock=file)).missing


def test_required_plugins_that_are_not_there_are_missing(install: Install, here: Path) -> None:
    install("acme", "acme_load", PLUGIN, it="acme_load:It")
    reasons = [one.reason for one in Loading(PluginSettings(allow=(), required=("acme", "umbrella"))).missing]
    assert reasons == ["is required, and denied", "is required, and not installed"]


def test_a_plugin_that_fails_to_register_leaves_nothing_behind(install: Install, here: Path) -> None:
    register = """
    def register_agents(self, registry):
        registry.add("kept", "a:b")
    def register_models(self, registry):
        raise SystemExit("CANARY")
"""
    install("acme", "acme_load", PLUGIN + register, it="acme_load:It")
    host = Host(replace(ACME, policies={"acme": "open"}))
    assert host.agents.entries() == [] and report().state == "refused" and "CANARY" not in report().reason


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("@hookimpl(specname='pre_step_execution')\n    async def check(self, call): ...", "with 'specname'"),
        ("@hookimpl\n    async def check(self, call): ...", "as a hook, and is none"),
        ("@hookimpl(wrapper=True)\n    def pre_step_execution(self, call): yield", "with 'wrapper'"),
    ],
)
def test_a_mark_that_would_not_come_true_is_refused(install: Install, here: Path, method: str, said: str) -> None:
    module = f"acme_{abs(hash(method))}"
    with refused("invalid", said):
        install("acme", module, f"from flujo_core import hookimpl\n{PLUGIN}    {method}\n", it=f"{module}:It")


def test_what_is_allowed_and_not_installed_is_missing(here: Path) -> None:
    with pytest.raises(PluginLoadError, match="plugin 'acmee' is missing: it is allowed, and not installed"):
        Host(PluginSettings(allow=("acmee",)))
    assert not Loading(PluginSettings(allow=("acmee",), deny=("acmee",))).missing


@pytest.mark.parametrize("file", ["METADATA", "RECORD", "entry_points.txt", "direct_url.json"])
def test_metadata_that_cannot_be_read_refuses_what_may_be_a_plugin(install: Install, here: Path, file: str) -> None:
    install("acme", "acme_load", PLUGIN, direct_url={"url": "file:///x"}, it="acme_load:It")
    (here / "acme-1.0.dist-info" / file).write_bytes(b"[flujo.plugins]\nnothing \xff\n")
    scan.cache_clear()
    states = {one.state for one in Loading(PluginSettings()).reports}
    assert states & {"broken", "foreign"} or file == "direct_url.json"


def test_metadata_of_others_that_cannot_be_read_is_logged(
    install: Install, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme", "acme_load", PLUGIN, it="acme_load:It")
    install("other", "other_load", "")
    (here / "other-1.0.dist-info" / "entry_points.txt").write_text("[console_scripts]\nnothing\n")
    scan.cache_clear()
    assert report().state == "loaded" and "plugin.unreadable_distribution" in capsys.readouterr().err


def test_a_plugin_of_the_kernels_name_is_a_duplicate(install: Install, here: Path) -> None:
    install("acme", "acme_load", PLUGIN.replace('"it"', '"flujo"'), it="acme_load:It")
    found = [one for one in Loading(ACME, (), Builtin()).reports if one.state != "denied"]
    assert [(one.plugin, one.state) for one in found] == [("flujo", "duplicate")]
