"""The configuration: files, the nearest of which counts, and the environment over them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_core import Budget, ConfigurationError, PluginSettings, Price, SpecSettings
from flujo_core.config import load_settings, normalised


def test_without_a_file_every_plugin_is_allowed_and_none_required(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {})
    assert settings.plugins == PluginSettings() and settings.plugins.allows("anything")


def test_the_nearest_file_upwards_counts(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "flujo.toml").write_text('[plugins]\ndeny = ["far"]\n')
    (tmp_path / "a" / "flujo.toml").write_text('[plugins]\ndeny = ["near"]\n')
    settings = load_settings(deep, {})
    assert settings.plugins.deny == ("near",) and settings.source == tmp_path / "a" / "flujo.toml"


def test_a_pyproject_with_a_table_counts_as_a_file_and_one_without_does_not(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.flujo.plugins]\nrequired = ["audit"]\n')
    (inner / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    settings = load_settings(inner, {})
    assert settings.plugins.required == ("audit",) and settings.source == tmp_path / "pyproject.toml"


def test_flujo_toml_comes_before_pyproject_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.flujo.plugins]\ndeny = ["b"]\n')
    (tmp_path / "flujo.toml").write_text('[plugins]\ndeny = ["a"]\n')
    assert load_settings(tmp_path, {}).plugins.deny == ("a",)


def test_an_empty_file_still_counts(tmp_path: Path) -> None:
    (tmp_path / "flujo.toml").write_text('[plugins]\ndeny = ["a"]\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "flujo.toml").touch()
    assert load_settings(inner, {}).plugins.deny == ()


def test_the_working_directory_is_where_it_begins(away_from_home: Path) -> None:
    (away_from_home / "flujo.toml").write_text('[plugins]\ndeny = ["a"]\n')
    assert load_settings().plugins.deny == ("a",)


def test_the_environment_overrides_allow_and_adds_to_deny(tmp_path: Path) -> None:
    (tmp_path / "flujo.toml").write_text('[plugins]\nallow = ["a"]\ndeny = ["x"]\nrequired = ["r"]\n')
    plugins = load_settings(tmp_path, {"FLUJO_PLUGINS": " b , c,", "FLUJO_DISABLE": "y"}).plugins
    assert plugins == PluginSettings(allow=("b", "c"), deny=("x", "y"), required=("r",))


def test_an_empty_list_of_plugins_in_the_environment_allows_none(tmp_path: Path) -> None:
    assert not load_settings(tmp_path, {"FLUJO_PLUGINS": ""}).plugins.allows("a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[plugin]\ndeny = ["a"]\n', "did you mean 'plugins'"),
        ('[plugins]\nallowed = ["a"]\n', "did you mean 'allow'"),
        ('[plugins]\ndeny = "a"\n', "plugins.deny"),
        ("[plugins]\ndeny = [1]\n", "plugins.deny"),
        ('plugins = "a"\n', "plugins"),
        ("[plugins\n", "cannot be read"),
    ],
)
def test_what_the_file_may_not_say_is_refused_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "flujo.toml").write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(tmp_path, {})
    assert said in str(refused.value) and "flujo.toml" in str(refused.value)


@pytest.mark.parametrize(
    "text", ["[tool]\nflujo = 3\n", "tool = 1\n", "[tool]\nflujo = []\n", "[tool.flujo]\nplugins = 1\n"]
)
def test_an_odd_pyproject_is_refused_or_passed_over_but_never_a_raw_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    try:
        assert load_settings(tmp_path, {}).plugins == PluginSettings()
    except ConfigurationError as refused:
        assert "pyproject.toml" in str(refused)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flujo.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"flujo\.toml"):
        load_settings(tmp_path, {})


@pytest.mark.parametrize("spelling", ["acme-audit", "Acme_Audit", "ACME.audit", "acme--audit", "acme-_.audit"])
def test_names_of_distributions_are_compared_as_installers_do(spelling: str) -> None:
    assert normalised(spelling) == "acme-audit"
    assert not PluginSettings(deny=(spelling,)).allows("acme-audit")
    assert PluginSettings(allow=(spelling,)).allows("Acme.Audit")


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True))
def test_deny_wins_over_allow_for_any_name(name: str) -> None:
    assert PluginSettings(allow=(name,)).allows(name)
    assert not PluginSettings(allow=(name,), deny=(name.upper(),)).allows(name)
    assert not PluginSettings(allow=(name,)).without([name]).allows(name)


def test_order_policies_and_the_timeout_of_hooks_are_read(tmp_path: Path) -> None:
    (tmp_path / "flujo.toml").write_text(
        '[plugins]\norder = ["b", "a"]\nhook_timeout = 5\n[plugins.policies]\nAcme_Metrics = "open"\n'
    )
    plugins = load_settings(tmp_path, {}).plugins
    assert (plugins.rank("b"), plugins.rank("A"), plugins.rank("other")) == (0, 1, 2)
    assert (plugins.policy("acme-metrics"), plugins.policy("other")) == ("open", "closed")
    assert plugins.hook_timeout == 5
    assert load_settings(tmp_path, {"FLUJO_HOOK_TIMEOUT": "0.5"}).plugins.hook_timeout == 0.5


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[plugins.policies]\na = "ajar"\n', "the policy of 'a'"),
        ("[plugins]\npolicies = []\n", "'plugins.policies'"),
        ("[plugins]\nhook_timeout = 0\n", "'plugins.hook_timeout'"),
        ("retention = 3\n", r"write '\[retention\]'"),
        ('[retention]\nkeep = "soon"\n', "'soon' is no age"),
        ('[plugins]\nhook_timeout = "soon"\n', "'plugins.hook_timeout'"),
        ("[plugins]\nhook_timeout = inf\n", "'plugins.hook_timeout'"),
        ("[plugins]\nhook_timeout = nan\n", "'plugins.hook_timeout'"),
        ("[plugins]\norder = [1]\n", "'plugins.order'"),
    ],
)
def test_an_order_a_policy_or_a_timeout_that_cannot_be_is_refused(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "flujo.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=found):
        load_settings(tmp_path, {})


def test_a_timeout_in_the_environment_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="FLUJO_HOOK_TIMEOUT"):
        load_settings(tmp_path, {"FLUJO_HOOK_TIMEOUT": "-1"})


def test_the_prefixes_that_specs_may_import_are_read(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}).specs == SpecSettings(())
    (tmp_path / "flujo.toml").write_text('[specs]\nimport_prefixes = ["acme.", "shop.flows"]\n')
    assert load_settings(tmp_path, {}).specs.import_prefixes == ("acme.", "shop.flows")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("specs = 1\n", "write '\\[specs\\]'"),
        ("[specs]\nimports = []\n", "'specs.imports', which means nothing"),
        ('[specs]\nimport_prefixes = "acme"\n', "'specs.import_prefixes'"),
        ('[specs]\nimport_prefixes = [""]\n', "'specs.import_prefixes'"),
        ('[specs]\nimport_prefixes = ["."]\n', "'specs.import_prefixes'"),
    ],
)
def test_prefixes_that_cannot_be_are_refused(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "flujo.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=found):
        load_settings(tmp_path, {})


def test_budgets_and_prices_are_read(tmp_path: Path) -> None:
    (tmp_path / "flujo.toml").write_text(
        '[[budgets]]\ncost_usd = 0.1\n[[budgets]]\ntokens = 5\nper = "tenant"\nwindow = 3600\n'
        '[prices."acme:*"]\ninput_usd_per_mtok = 1.1\ncontext_window = 4096\n'
    )
    settings = load_settings(tmp_path, {})
    assert settings.budgets == (
        Budget(cost_usd=Decimal("0.1")),
        Budget(tokens=5, per="tenant", window=timedelta(hours=1)),
    )
    assert settings.prices == {"acme:*": Price(input_usd_per_mtok=Decimal("1.1"), context_window=4096)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgets = 3", "'budgets' in .* are tables; write '\\[\\[budgets\\]\\]' above each"),
        ("[[budgets]]\ncost = 1", "budget 1 in .* is not right, at 'cost': Extra inputs are not permitted"),
        ("[[budgets]]\ncost_usd = -1", "at 'cost_usd': an amount of US dollars is a number, at least 0"),
        ("[[budgets]]\nper = 'run'", "budget 1 in .* is not right: a budget says how much"),
        ("[prices]\nx = 1", "the price of 'x' in .* is not right"),
        ("prices = 1", "'prices' in .* is a table; write '\\[prices\\]'"),
    ],
)
def test_budgets_and_prices_that_cannot_be_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "flujo.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_settings(tmp_path, {})


def test_how_long_runs_are_kept_is_read(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}).retention is None
    (tmp_path / "flujo.toml").write_text('[retention]\ncompleted = "1d"\nat_least = "1h"\n')
    found = load_settings(tmp_path, {}).retention
    assert found is not None
    assert (found.ages, found.at_least) == ({"completed": 86400.0}, 3600.0)
