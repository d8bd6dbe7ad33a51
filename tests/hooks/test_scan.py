"""What is installed, and whether what it requires is there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import make_archive

import pytest
from importlib_metadata import Distribution, DistributionFinder

from flujo_core.hooks.scan import scan, unmet_requirement

Install = Callable[..., None]


def found(distribution: str):  # type: ignore[no-untyped-def]
    return next(one for one in scan() if one.distribution == distribution)


@pytest.mark.parametrize(
    ("requires", "said"),
    [
        ((), None),
        (("pluggy", "pydantic>=2", "flujo-core"), None),
        (("pluggy; python_version < '3'", "nothing-of-that-name; extra == 'x'"), None),
        (("pluggy", "flujo_core>=99"), "requires 'flujo_core>=99', and 0.1.0 is installed"),
        (("Nothing.Of-That_Name>=1",), "requires 'Nothing.Of-That_Name>=1', which is not installed"),
        (("this is no requirement",), "requires 'this is no requirement', which cannot be read"),
    ],
)
def test_an_unmet_requirement_is_named_with_what_is_installed(
    install: Install, here: Path, requires: tuple[str, ...], said: str | None
) -> None:
    install("acme", "acme_m", "", requires=requires, p="acme_m:It")
    assert unmet_requirement(found("acme")) == said


def test_a_plugin_is_found_with_its_distribution_version_and_target(install: Install, here: Path) -> None:
    install("Acme_Eu.Only", "acme_m", "", version="1.4", eu="acme_m:It")
    one = found("acme-eu-only")
    assert (one.version, one.entry, one.target) == ("1.4", "eu", "acme_m:It")


def test_a_finder_of_another_kind_may_know_plugins(
    install: Install, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere:
        def find_spec(self, *_: object) -> None:
            return None

        def find_distributions(self, context: DistributionFinder.Context) -> Sequence[Distribution]:
            return [Distribution.at(path) for path in (here / "hidden").glob("*.dist-info")]

    folder = here / "hidden" / "acme-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[flujo.plugins]\nit = acme_m:It\n")
    assert not any(one.distribution == "acme" for one in scan())
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Elsewhere()])
    scan.cache_clear()
    assert found("acme").target == "acme_m:It"


def test_a_plugin_in_a_zip_file_is_found(install: Install, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme", "acme_m", "", it="acme_m:It")
    monkeypatch.setattr(sys, "path", [make_archive(str(here.parent / "acme"), "zip", here)])
    scan.cache_clear()
    assert found("acme").target == "acme_m:It"


def test_a_plugin_in_an_egg_is_found(install: Install, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme", "acme_m", "", it="acme_m:It")
    egg = here / "acme-1.0.egg"
    egg.mkdir()
    (here / "acme-1.0.dist-info").rename(egg / "EGG-INFO")
    (egg / "EGG-INFO" / "METADATA").rename(egg / "EGG-INFO" / "PKG-INFO")
    monkeypatch.setattr(sys, "path", [str(egg)])
    scan.cache_clear()
    assert found("acme").target == "acme_m:It"
