"""Plugins start up before the first run that has them, and are shut down after the last."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_core import (
    AppInfo,
    ConfigurationError,
    Flujo,
    Plugin,
    PluginError,
    PluginSettings,
    Settings,
    StepCall,
    Veto,
    step,
)

ALONE = Settings(PluginSettings(allow=()))


class Noting(Plugin):
    def __init__(self, name: str, marks: list[str], fails: str = "") -> None:
        self.name = name  # type: ignore[misc]
        self._marks = marks
        self._fails = fails

    async def on_startup(self, app: AppInfo, /) -> None:
        self._marks.append(f"{self.name} up")
        if self._fails == "up":
            raise ValueError("CANARY")

    async def on_shutdown(self) -> None:
        self._marks.append(f"{self.name} down")
        if self._fails == "down":
            raise ValueError("CANARY")
        if self._fails == "veto down":
            raise Veto("not yet")


@step
async def work(value: int) -> int:
    return value + 1


def made(*plugins: Plugin) -> Flujo[Any, Any, Any]:
    flujo: Flujo[Any, Any, Any] = Flujo(work, plugins=plugins, settings=ALONE)
    return flujo


def test_without_a_block_plugins_start_with_the_first_run_and_only_once() -> None:
    marks: list[str] = []

    async def main() -> None:
        flujo = made(Noting("a", marks), Noting("b", marks))
        await asyncio.gather(*(flujo.run_async(n) for n in range(3)))
        assert marks == ["a up", "b up"]

    asyncio.run(main())


def test_a_run_after_the_block_starts_plugins_again_and_shuts_them_down() -> None:
    marks: list[str] = []

    async def main() -> None:
        async with made(Noting("a", marks)) as flujo:
            pass
        await flujo.run_async(1)

    asyncio.run(main())
    assert marks == ["a up", "a down"] * 2


@pytest.mark.parametrize("fails", ["down", "veto down"])
def test_a_plugin_that_does_not_shut_down_takes_no_result_away(fails: str, capsys: pytest.CaptureFixture[str]) -> None:
    marks: list[str] = []
    assert made(Noting("a", marks, fails), Noting("b", marks)).run(1).output == 2
    assert marks == ["a up", "b up", "b down", "a down"]
    said = capsys.readouterr().err
    assert "on_shutdown" in said and "'a'" in said and "CANARY" not in said


def test_a_plugin_that_does_not_shut_down_is_an_error_of_the_block_unless_the_block_has_one() -> None:
    async def main(error: Exception | None) -> None:
        async with made(Noting("a", [], "down")):
            if error is not None:
                raise error

    with pytest.raises(PluginError, match=r"plugin 'a' raised ValueError in 'on_shutdown'"):
        asyncio.run(main(None))
    with pytest.raises(KeyError) as own:
        asyncio.run(main(KeyError("own")))
    assert "plugin 'a' raised ValueError in 'on_shutdown'" in own.value.__notes__[0]


def test_a_run_that_does_not_start_up_is_no_run_and_has_no_result() -> None:
    with pytest.raises(PluginError, match="on_startup"):
        made(Noting("a", [], "up")).run(1)


def test_a_removed_plugin_that_does_not_shut_down_after_its_last_run_is_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    going, go = asyncio.Event(), asyncio.Event()

    @step
    async def wait(value: int) -> int:
        going.set()
        await go.wait()
        return value

    async def main() -> int:
        async with Flujo(wait, plugins=[Noting("a", [], "down")], settings=ALONE) as flujo:
            run = asyncio.create_task(flujo.run_async(1))
            await going.wait()
            await flujo.change_plugins(remove=["a"])
            go.set()
            return (await run).output

    assert asyncio.run(main()) == 1 and "on_shutdown" in capsys.readouterr().err


def test_a_name_that_was_not_given_cannot_be_removed() -> None:
    with pytest.raises(ConfigurationError, match=r"no plugin 'aa' was given.*did you mean 'aaa'"):
        asyncio.run(made(Noting("aaa", [])).change_plugins(remove=["aa"]))


def test_a_plugin_may_be_exchanged_for_another_of_its_name() -> None:
    old, new = Noting("a", first := []), Noting("a", second := [])

    async def main() -> None:
        async with made(old) as flujo:
            await flujo.change_plugins(add=[new], remove=["a"])
            assert (first, second, flujo.plugins) == (["a up", "a down"], ["a up"], ("a",))

    asyncio.run(main())


def test_plugins_without_a_lifetime_need_no_starting() -> None:
    class Plain(Plugin):
        name = "plain"

        async def pre_step_execution(self, call: StepCall, /) -> None: ...

    async def main() -> None:
        async with made(Plain()) as flujo:
            await flujo.change_plugins(remove=["plain"])
            assert (await flujo.run_async(1)).output == 2

    asyncio.run(main())


def test_a_plugin_that_does_not_start_is_named_and_not_one_that_does_not_shut_down_after_it() -> None:
    with pytest.raises(PluginError, match="plugin 'b' raised ValueError in 'on_startup'") as failed:
        made(Noting("a", [], "down"), Noting("b", [], "up")).run(1)
    assert "plugin 'a' raised ValueError in 'on_shutdown'" in failed.value.__notes__[0]


def test_plugins_stay_up_as_long_as_a_block_lasts() -> None:
    marks: list[str] = []

    async def main() -> None:
        flujo = made(Noting("a", marks))
        async with flujo:
            async with flujo:
                pass
            await flujo.run_async(1)
            assert marks == ["a up"]

    asyncio.run(main())
    assert marks == ["a up", "a down"]


def test_a_plugin_that_did_not_start_under_open_is_not_asked_again() -> None:
    marks: list[str] = []
    settings = Settings(PluginSettings(allow=(), policies={"a": "open"}))

    async def main() -> None:
        async with Flujo(work, plugins=[Noting("a", marks, "up")], settings=settings) as flujo:
            await flujo.run_async(1)
            await flujo.run_async(2)

    asyncio.run(main())
    assert marks == ["a up"]
