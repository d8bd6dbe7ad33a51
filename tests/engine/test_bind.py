"""Names of steps in a pipeline, resolved; and what plugins' checks find."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_core import (
    Check,
    ConfigurationError,
    DefinitionError,
    EdgeError,
    Flujo,
    Plugin,
    PluginLoadError,
    PluginSettings,
    Registry,
    Retry,
    RunInfo,
    Settings,
    Step,
    step,
)

ALONE = Settings(PluginSettings(allow=()))
again = Step.registered("other", takes=str, gives=str)


@step
async def mask(text: str) -> str:
    return "*" * len(text)


@step
async def fragile(text: str, *, info: RunInfo) -> str:
    if info.attempt < 3:
        raise ValueError
    return text


class Acme(Plugin):
    name = "acme"

    def __init__(self, *checks: Check) -> None:
        self._checks = checks

    def register_steps(self, registry: Registry[Step[Any, Any]], /) -> None:
        registry.add("mask", mask)
        registry.add("fragile", fragile)
        registry.add("again", again)

    def register_checks(self, registry: Registry[Check], /) -> None:
        for number, check in enumerate(self._checks):
            registry.add(f"check{number}", check)


def run(node: Any, *checks: Check) -> Any:
    return Flujo(node, plugins=[Acme(*checks)], settings=ALONE).run("abc").output


def test_a_registered_step_runs_in_the_place_of_its_name() -> None:
    assert run(Step.registered("acme/mask", takes=str, gives=str)) == "***"
    assert Step.registered("acme/mask", takes=str, gives=str).name == "mask"
    assert Step.registered("mask", takes=str, gives=str).signatures == []


def test_the_policies_of_its_place_come_before_its_own() -> None:
    assert run(Step.registered("fragile", takes=str, gives=str).policy(retry=Retry(attempts=3, backoff=0.001))) == "abc"


def test_a_name_that_stands_for_another_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match="another name"):
        run(Step.registered("acme/again", takes=str, gives=str))


@pytest.mark.parametrize(
    ("takes", "gives", "said"),
    [
        (int, str, "declared to take 'int', and what is registered as 'acme/mask' takes 'str'"),
        (str, int, "declared to give 'int', and what is registered as 'acme/mask' gives 'str'"),
    ],
)
def test_what_is_declared_must_fit_what_is_registered(takes: Any, gives: Any, said: str) -> None:
    with pytest.raises(EdgeError, match=said):
        run(Step.registered("acme/mask", takes=takes, gives=gives))


def test_the_name_of_a_registered_step_is_not_empty() -> None:
    with pytest.raises(DefinitionError):
        Step.registered(" ", takes=str, gives=str)


def test_all_that_checks_find_is_told_with_who_finds_it() -> None:
    with pytest.raises(DefinitionError) as refused:
        run(mask, lambda node: ["one", "two"], lambda node: "a text is one finding", lambda node: ())
    said = str(refused.value)
    assert all(word in said for word in ("'acme/check0'", "finds: one", "finds: two", "finds: a text is one finding"))


def test_a_check_that_raises_refuses_the_start() -> None:
    def broken(node: Any) -> list[str]:
        raise ValueError("CANARY")

    with pytest.raises(PluginLoadError, match=r"check 'acme/check0' of 'Flujo\(plugins=\.\.\.\)' raised ValueError$"):
        run(mask, broken)


def test_an_unknown_step_is_refused_with_a_close_match() -> None:
    with pytest.raises(ConfigurationError, match=r"no step is named 'acme/maks'; did you mean 'acme/mask'"):
        run(Step.registered("acme/maks", takes=str, gives=str))
