"""Names that plugins contribute."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from flujo_core import ConfigurationError, PluginLoadError, Registry


def registry(**plugins: dict[str, Any]) -> Registry[Any]:
    made: Registry[Any] = Registry("agent")
    for plugin, names in plugins.items():
        with made.contributor(plugin, f"'{plugin}-dist 1.0'"):
            for name, target in names.items():
                made.add(name, target)
    return made


def test_a_name_is_found_in_full_and_while_it_is_unique_in_short() -> None:
    made = registry(acme={"mask": 1, "other": 2}, umbrella={"mask": 3})
    assert made.get("acme/mask") == 1 and made.get("umbrella/mask") == 3 and made.get("other") == 2
    assert [entry.name for entry in made.entries()] == ["acme/mask", "acme/other", "umbrella/mask"]


def test_a_short_name_of_two_plugins_is_refused_and_both_distributions_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"acme/mask.*acme-dist 1\.0.*umbrella/mask.*umbrella-dist 1\.0"):
        registry(acme={"mask": 1}, umbrella={"mask": 3}).get("mask")


def test_an_unknown_name_is_refused_with_a_close_match() -> None:
    with pytest.raises(ConfigurationError, match=r"no agent is named 'maks'.*'mask'"):
        registry(acme={"mask": 1}).get("maks")
    with pytest.raises(ConfigurationError, match="there is none"):
        registry().get("x")


@pytest.mark.parametrize("source", ["def broken(:", "raise RuntimeError('no')", "raise SystemExit(0)"])
def test_a_module_that_breaks_when_imported_is_refused_with_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    name = f"broken_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match=rf"acme/a.*{name}"):
        registry(acme={"a": f"{name}:x"}).get("a")


def test_find_gives_none_for_what_is_not_there() -> None:
    assert registry().find("x") is None


@pytest.mark.parametrize("name", ["", "a/b", "/"])
def test_an_odd_name_is_refused(name: str) -> None:
    with pytest.raises(PluginLoadError, match="acme"):
        registry(acme={name: 1})


def test_a_name_twice_from_one_plugin_is_refused() -> None:
    made = registry()
    with pytest.raises(PluginLoadError, match="twice"), made.contributor("acme", "'acme-dist 1.0'"):
        made.add("mask", 1)
        made.add("mask", 2)


def test_of_a_plugin_that_fails_while_it_registers_nothing_is_kept() -> None:
    made = registry(umbrella={"mask": 3})
    with pytest.raises(ZeroDivisionError), made.contributor("acme", "'acme-dist 1.0'"):
        made.add("mask", 1)
        _ = 1 / 0
    assert [entry.name for entry in made.entries()] == ["umbrella/mask"]


def test_a_registry_is_frozen_once_the_plugins_are_loaded() -> None:
    with pytest.raises(PluginLoadError, match="comes too late"):
        registry(acme={"mask": 1}).add("late", 2)


def test_a_target_may_be_a_path_that_is_imported_on_first_use() -> None:
    made = registry(acme={"a": "collections:OrderedDict", "b": "collections:OrderedDict.fromkeys", "c": "nowhere_x:y"})
    assert made.get("a") is OrderedDict and made.get("b") == OrderedDict.fromkeys


@pytest.mark.parametrize("target", ["nowhere_x:y", "collections:Nothing", "collections", ":x", "collections:"])
def test_a_path_that_cannot_be_imported_is_refused_with_the_path(target: str) -> None:
    with pytest.raises(ConfigurationError, match=r"acme/a"):
        registry(acme={"a": target}).get("a")
