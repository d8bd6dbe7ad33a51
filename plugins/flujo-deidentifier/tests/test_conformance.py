"""The plugin passes the suite that all plugins have to pass: asleep, at work, and beside the other ones."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from flujo_deidentifier import Deidentifier, DeidentifierPlugin, SqliteVaultStore
from pipeline_kit import KEY, Model

from flujo_core import Plugin, Step
from flujo_core.testing import PluginHarness, assert_conforms


def at_work(path: Path) -> DeidentifierPlugin:
    vault = SqliteVaultStore(path / "vault.db")
    return DeidentifierPlugin(Deidentifier(key=KEY, vault=vault, detectors=["patterns", "lists"]))


def test_it_conforms_while_it_sleeps() -> None:
    assert assert_conforms(DeidentifierPlugin).remarks == ()


def test_it_conforms_at_work(tmp_path: Path) -> None:
    assert_conforms(lambda: at_work(tmp_path))


def test_it_works_beside_all_other_plugins_that_are_installed(tmp_path: Path) -> None:
    found = [one.load() for one in entry_points(group="flujo.plugins")]
    others: list[Plugin] = [one() for one in found if one is not DeidentifierPlugin]
    model = Model()
    harness = PluginHarness(at_work(tmp_path), *others)
    assert harness.run(Step.agent("ask", model.agent()), "I am John Smith.").output == "It says: I am John Smith."
    assert not model.saw("Smith")
