"""The order of plugins: configuration, then tryfirst and trylast, then before and after, then the name."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from plugin_kit import fail

from flujo_core import (
    AppInfo,
    AuthorizationRequest,
    Flujo,
    Plugin,
    PluginLoadError,
    PluginSettings,
    RunEnd,
    RunStart,
    Settings,
    StepCall,
    StepError,
    StepResult,
    hookimpl,
)

INWARD = [
    "on_startup", "authorize", "on_pipeline_start", "around_run in", "pre_step_execution", "around_step in",
    "on_step_error",
]  # fmt: skip
OUTWARD = ["around_step out", "post_step_execution", "around_run out", "on_pipeline_end", "on_shutdown"]


def marking(name: str, marks: list[tuple[str, str]], mark: str = "", **members: Any) -> Plugin:
    """A plugin that notes each call of its hooks; ``mark``: tryfirst, trylast or nothing, on each of them."""
    marked: Any = hookimpl(**{mark: True}) if mark else hookimpl

    class Marking(Plugin):
        @marked
        async def on_startup(self, app: AppInfo, /) -> None:
            marks.append(("on_startup", name))

        @marked
        async def authorize(self, request: AuthorizationRequest, /) -> None:
            marks.append(("authorize", name))

        @marked
        async def on_pipeline_start(self, run: RunStart, /) -> None:
            marks.append(("on_pipeline_start", name))

        @marked
        async def around_run(self, run: RunStart, proceed: Callable[[], Awaitable[RunEnd]], /) -> RunEnd:
            marks.append(("around_run in", name))
            end = await proceed()
            marks.append(("around_run out", name))
            return end

        @marked
        async def pre_step_execution(self, call: StepCall, /) -> None:
            marks.append(("pre_step_execution", name))

        @marked
        async def around_step(self, call: StepCall, proceed: Callable[[], Awaitable[StepResult]], /) -> StepResult:
            marks.append(("around_step in", name))
            try:
                return await proceed()
            finally:
                marks.append(("around_step out", name))

        @marked
        async def on_step_error(self, call: StepCall, error: StepError, /) -> None:
            marks.append(("on_step_error", name))

        @marked
        async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
            marks.append(("post_step_execution", name))

        @marked
        async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
            marks.append(("on_pipeline_end", name))

        @marked
        async def on_shutdown(self) -> None:
            marks.append(("on_shutdown", name))

    made: Plugin = type("Marking", (Marking,), {"name": name, **members})()
    return made


class Rescue(Plugin):
    """Makes a result of what failed, when all others have been asked."""

    name = "~rescue"

    @hookimpl(trylast=True)
    async def on_step_error(self, call: StepCall, error: StepError, /) -> StepResult:
        return call.result(1)


class Named(NamedTuple):
    """A plugin to be ordered."""

    name: str
    mark: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class Arrangement(NamedTuple):
    """Plugins in the order in which they are given, and what the configuration lists."""

    plugins: list[Named]
    listed: tuple[str, ...]

    def rank(self, name: str) -> int:
        """The group that a plugin belongs to: listed, tryfirst, unmarked or trylast."""
        if name in self.listed:
            return 0
        mark = next(one.mark for one in self.plugins if one.name == name)
        return {"tryfirst": 1, "": 2, "trylast": 3}[mark]

    def constraints(self) -> set[tuple[str, str]]:
        """Pairs of plugins that are there: the first is called before the second, if they are of one group."""
        found = {(one.name, other) for one in self.plugins for other in one.before}
        found |= {(other, one.name) for one in self.plugins for other in one.after}
        there = {one.name for one in self.plugins}
        return {(a, b) for a, b in found if a in there and b in there and self.rank(a) == self.rank(b)}

    def called(self, seed: int = 0) -> dict[str, list[str]]:
        """The plugins in the order in which each hook calls them, when they are given in some order."""
        marks: list[tuple[str, str]] = []
        made = [marking(one.name, marks, one.mark, before=one.before, after=one.after) for one in self.plugins]
        random.Random(seed).shuffle(made)
        settings = Settings(PluginSettings(allow=(), order=self.listed))
        Flujo(fail, plugins=[*made, Rescue()], settings=settings).run(1)
        return {hook: [name for at, name in marks if at == hook and name] for hook in (*INWARD, *OUTWARD)}


NAMES = [f"{letter}" for letter in "abcdefgh"]


@st.composite
def arrangements(draw: st.DrawFn, *, constrained: bool = True) -> Arrangement:
    """Plugins whose ``before`` and ``after`` can all be kept: they follow a hidden order."""
    hidden = draw(st.permutations(NAMES[: draw(st.integers(1, 7))]))
    absent = st.just("not-there")
    plugins = []
    for place, name in enumerate(hidden):
        later, earlier = hidden[place + 1 :], hidden[:place]
        before = draw(st.lists(st.sampled_from(later) if later else absent, max_size=2)) if constrained else []
        after = draw(st.lists(st.sampled_from(earlier) if earlier else absent, max_size=2)) if constrained else []
        mark = draw(st.sampled_from(["", "", "tryfirst", "trylast"]))
        plugins.append(Named(name, mark, tuple(before), tuple(after)))
    listed = draw(st.lists(st.sampled_from([*hidden, "not-there"]), unique=True, max_size=3))
    return Arrangement(plugins, tuple(listed))


@examples(max_examples=60)
@given(arrangements(), st.integers())
def test_the_order_is_deterministic_whatever_the_order_in_which_plugins_are_given(
    arranged: Arrangement, n: int
) -> None:
    assert arranged.called() == arranged.called(seed=n)


@examples(max_examples=80)
@given(arrangements())
def test_configuration_then_tryfirst_and_trylast_then_before_and_after_then_the_name(arranged: Arrangement) -> None:
    order = arranged.called()["on_pipeline_start"]
    assert sorted(order) == sorted(one.name for one in arranged.plugins)
    ranks = [arranged.rank(name) for name in order]
    assert ranks == sorted(ranks), "a group was not called as a whole"
    listed = [name for name in arranged.listed if name in order]
    assert order[: len(listed)] == listed, "what is listed is not called as it is listed"
    constraints = arranged.constraints()
    for first, second in constraints:
        if first not in listed:
            assert order.index(first) < order.index(second), f"{first} is to be called before {second}"
    for first, second in pairwise(order[len(listed) :]):
        if first > second and arranged.rank(first) == arranged.rank(second):
            assert (first, second) in constraints, f"{second} comes after {first} and nothing says so"


@examples(max_examples=60)
@given(arrangements())
def test_all_hooks_have_one_order_and_what_is_called_on_the_way_out_has_its_reverse(arranged: Arrangement) -> None:
    called = arranged.called()
    inward = called["on_pipeline_start"]
    assert {hook: called[hook] for hook in INWARD if hook != "authorize"} == {
        hook: inward for hook in INWARD if hook != "authorize"
    }
    assert called["authorize"] == inward * 2, "for the run, and for its step"
    assert {hook: called[hook] for hook in OUTWARD} == dict.fromkeys(OUTWARD, inward[::-1])


@examples(max_examples=40)
@given(arrangements(constrained=False))
def test_where_nothing_else_has_a_say_plugins_are_called_by_name(arranged: Arrangement) -> None:
    order = arranged.called()["pre_step_execution"]
    rest = [name for name in order if name not in arranged.listed]
    assert rest == sorted(rest, key=lambda name: (arranged.rank(name), name))


@examples(max_examples=30)
@given(st.permutations(NAMES[:5]), st.lists(st.sampled_from(NAMES[:5]), unique=True, max_size=3))
def test_flujo_plugins_and_what_on_startup_is_told_are_the_names_in_order(
    given_names: list[str], listed: list[str]
) -> None:
    seen: list[tuple[str, ...]] = []

    class Telling(Plugin):
        name = "zz"

        async def on_startup(self, app: AppInfo, /) -> None:
            seen.append(app.plugins)

    marks: list[tuple[str, str]] = []
    settings = Settings(PluginSettings(allow=(), order=tuple(listed)))
    plugins = [*(marking(name, marks) for name in given_names), Telling(), Rescue()]
    flujo = Flujo(fail, plugins=plugins, settings=settings)
    flujo.run(1)
    called = tuple(name for hook, name in marks if hook == "pre_step_execution")
    assert flujo.plugins == (*called, "zz", "~rescue") == seen[0]


def _pair(**members: Any) -> list[str]:
    marks: list[tuple[str, str]] = []
    plugins = [marking("a", marks), marking("m", marks, **members), marking("z", marks), Rescue()]
    Flujo(fail, plugins=plugins, settings=Settings(PluginSettings(allow=()))).run(1)
    return [name for hook, name in marks if hook == "on_pipeline_start"]


def test_before_and_after_name_other_plugins() -> None:
    assert _pair() == ["a", "m", "z"]
    assert _pair(before=["a"]) == ["m", "a", "z"]
    assert _pair(after=("z",)) == ["a", "z", "m"]


def test_before_and_after_of_plugins_that_are_not_there_mean_nothing() -> None:
    assert _pair(before=["nobody"], after=["no-one"]) == ["a", "m", "z"]


def test_the_configured_order_is_stronger_than_before_after_and_the_marks() -> None:
    marks: list[tuple[str, str]] = []
    plugins = [
        marking("a", marks, "trylast", after=["b", "c"]), marking("b", marks, before=["a"]),
        marking("c", marks, "tryfirst"), Rescue(),
    ]  # fmt: skip
    Flujo(fail, plugins=plugins, settings=Settings(PluginSettings(allow=(), order=("a", "b")))).run(1)
    assert [name for hook, name in marks if hook == "on_startup"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "circle",
    [
        {"a": {"before": ["b"]}, "b": {"before": ["a"]}},
        {"a": {"after": ["b"]}, "b": {"after": ["a"]}},
        {"a": {"before": ["b"]}, "b": {"before": ["c"]}, "c": {"before": ["a"]}},
        {"a": {"before": ["b"], "after": ["c"]}, "b": {"before": ["c"]}, "c": {}},
    ],
)
def test_plugins_whose_before_and_after_form_a_circle_are_invalid(circle: dict[str, dict[str, list[str]]]) -> None:
    marks: list[tuple[str, str]] = []
    plugins = [marking(name, marks, **members) for name, members in circle.items()]
    bystander = marking("bystander", marks)
    with pytest.raises(PluginLoadError, match="invalid") as refused:
        Flujo(fail, plugins=[*plugins, bystander], settings=Settings(PluginSettings(allow=())))
    assert any(f"'{name}'" in str(refused.value) for name in circle) and "'bystander'" not in str(refused.value)


def test_the_order_of_on_event_is_each_plugins_own_and_no_plugin_waits_for_another() -> None:
    heard: list[str] = []

    async def slowly(self: Plugin, event: Any, /) -> None:
        await asyncio.sleep(0.02)
        heard.append("a")

    async def quickly(self: Plugin, event: Any, /) -> None:
        heard.append("b")

    plugins = [type(name, (Plugin,), {"name": name, "on_event": do})() for name, do in (("a", slowly), ("b", quickly))]
    Flujo(fail, plugins=[*plugins, Rescue()], settings=Settings(PluginSettings(allow=()))).run(1)
    assert heard[:4] == ["b"] * 4 and heard.count("a") == heard.count("b") > 4
