"""What the configuration says of single plugins, ``[plugins.NAME]``; and plugins that act only where it means them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flujo_core import Flujo, Plugin, PluginLoadError, PluginSettings, Settings, StepCall, step
from flujo_core.config import load_settings

AUDIT = """
    from flujo_core import Plugin, step

    told = []

    @step
    async def stamp(text: str) -> str:
        return text + "!"

    class Audit(Plugin):
        name = "audit"
        dormant = True
        clears = ("phi",)

        def configure(self, table):
            told.append(dict(table))
            if "level" not in table:
                raise ValueError("a value that nobody may see")

        def register_steps(self, registry):
            registry.add("stamp", stamp)

        async def pre_step_execution(self, call):
            told.append(call.step_name)
"""


@step
async def work(text: str) -> str:
    return text


@pytest.fixture
def audit(here: Path, install: Callable[..., None]) -> Callable[[], list[Any]]:
    install("acme-audit", "acme_audit", AUDIT, audit="acme_audit:Audit")

    def told() -> list[Any]:
        import acme_audit  # type: ignore[import-not-found]  # noqa: PLC0415 - installed by the fixture

        return list(acme_audit.told)

    return told


def flujo(*, plugins: tuple[Plugin, ...] = (), **settings: Any) -> Flujo[Any, Any, Any]:
    return Flujo(work, plugins=plugins, settings=Settings(PluginSettings(**{"allow": ("acme-audit",)} | settings)))


def test_a_dormant_plugin_that_is_only_installed_contributes_and_no_more(audit: Callable[[], list[Any]]) -> None:
    made = flujo()
    assert made.run("x").output == "x"
    assert audit() == []
    assert made.plugins == ("audit",)
    assert not made._epoch.host.clears
    assert made._epoch.host.steps.find("audit/stamp") is not None


@pytest.mark.parametrize("name", ["acme-audit", "acme_audit", "audit"])
def test_a_plugin_is_configured_by_the_name_of_its_distribution_or_its_own(
    audit: Callable[[], list[Any]], name: str
) -> None:
    made = flujo(tables={name: {"level": "full"}})
    assert made.run("x").output == "x"
    assert audit() == [{"level": "full"}, "work"]
    assert made._epoch.host.clears == {"phi"}


def test_a_dormant_plugin_that_is_required_acts_and_is_told_that_nothing_is_said(
    audit: Callable[[], list[Any]],
) -> None:
    with pytest.raises(PluginLoadError, match="raised ValueError in 'configure'; mend") as refused:
        flujo(required=("acme-audit",))
    assert "a value" not in str(refused.value)
    assert audit() == [{}]


def test_a_table_of_a_plugin_that_is_not_there_refuses_the_start(audit: Callable[[], list[Any]]) -> None:
    with pytest.raises(PluginLoadError, match="'acme-audits' is missing: it is configured, and not installed; did"):
        flujo(tables={"acme-audits": {}})


def test_a_plugin_that_takes_no_configuration_refuses_a_table() -> None:
    class Plain(Plugin):
        name = "plain"

    with pytest.raises(PluginLoadError, match="is configured, and has no 'configure' that would take it"):
        flujo(allow=(), plugins=(Plain(),), tables={"plain": {"x": 1}})


def test_a_dormant_plugin_that_is_given_acts() -> None:
    called = []

    class Given(Plugin):
        name = "given"
        dormant = True

        def configure(self, table: Mapping[str, Any], /) -> None:
            called.append(dict(table))

        async def pre_step_execution(self, call: StepCall, /) -> None:
            called.append(call.step_name)

    flujo(allow=(), plugins=(Given(),)).run("x")
    assert called == ["work"]
    flujo(allow=(), plugins=(Given(),), tables={"given": {"a": 1}}).run("x")
    assert called == ["work", {"a": 1}, "work"]


def test_an_installed_plugin_that_only_sleeps_gives_its_place_to_one_of_its_name_that_is_given(
    audit: Callable[[], list[Any]],
) -> None:
    class Given(Plugin):
        name = "audit"

    made = flujo(plugins=(Given(),))
    assert made.run("x").output == "x"
    assert audit() == [] and made.plugins == ("audit",)
    with pytest.raises(PluginLoadError, match="is named 'audit', as is the plugin of"):
        flujo(plugins=(Given(),), tables={"acme-audit": {"level": "full"}})


def test_a_plugin_that_stays_when_others_change_is_configured_once(audit: Callable[[], list[Any]]) -> None:

    class Other(Plugin):
        name = "other"

    async def main() -> None:
        made = flujo(tables={"acme-audit": {"level": "full"}})
        async with made:
            await made.change_plugins(add=[Other()])
            await made.run_async("x")

    asyncio.run(main())
    assert audit() == [{"level": "full"}, "work"]


def test_tables_of_plugins_are_read_and_other_keys_are_refused(tmp_path: Path) -> None:
    (tmp_path / "flujo.toml").write_text('[plugins]\ndeny = []\n[plugins.acme-audit]\nlevel = "full"\n')
    settings = load_settings(tmp_path, {}).plugins
    assert settings.tables == {"acme-audit": {"level": "full"}}
    assert settings.table("Acme_Audit") == {"level": "full"} and settings.table("other") is None
