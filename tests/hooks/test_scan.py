"""What is installed, and whether what it requires is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
