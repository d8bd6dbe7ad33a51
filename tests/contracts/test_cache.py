"""Cache: what a node made of an input is given when the same input comes again (SEMANTICS 18)."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from flow_kit import ALONE, State, adds, alone, kinds, plus, ran
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from flujo_core import (
    Branch,
    Cache,
    DefinitionError,
    Flujo,
    From,
    Loop,
    Map,
    MemoryCache,
    Parallel,
    RunFailed,
    RunInfo,
    Step,
    Stop,
    Veto,
    step,
)


class Doc(BaseModel):
    text: str


class Kept:
    """A cache that shows what it is asked."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.ttls: list[float | None] = []
        self.asked = 0

    async def get(self, key: str, /) -> bytes | None:
        self.asked += 1
        return self.entries.get(key)

    async def put(self, key: str, entry: bytes, /, *, ttl: float | None = None) -> None:
        self.entries[key] = entry
        self.ttls.append(ttl)


class Counted:
    """A cached step that counts its calls."""

    def __init__(self, **policies: Any) -> None:
        self.calls = 0

        @step(name="work", **{"cache": Cache(), **policies})
        async def work(value: int) -> int:
            self.calls += 1
            return value * 10

        self.step: Any = work


@pytest.mark.parametrize("store", [None, "memory://"])
def test_the_second_time_an_equal_input_comes_the_output_is_that_of_the_first(store: str | None) -> None:
    counted = Counted()
    flujo = alone(counted.step, store=store)
    assert [flujo.run(n).output for n in (1, 1, 2, 1)] == [10, 10, 20, 10] and counted.calls == 2


def test_an_output_from_the_cache_has_its_type_and_is_a_copy() -> None:
    @step(cache=Cache())
    async def make(value: int) -> Doc:
        return Doc(text="x")

    flujo = alone(make)
    first = flujo.run(1).output
    first.text = "spoilt"
    assert flujo.run(1).output == Doc(text="x")


def test_a_hit_is_journaled() -> None:
    counted = Counted()
    cache = MemoryCache()
    ran(counted.step, cache=cache)
    done = ran(counted.step, cache=cache)
    assert counted.calls == 1 and done.output == 10
    event = done.one("step_completed", "work")
    assert (event.source, event.attempt, event.output) == ("cache", 0, 10)
    assert done.state.steps["work"].status == "completed" and done.state.steps["work"].source == "cache"


def test_an_entry_holds_output_and_patch() -> None:
    calls: list[int] = []

    @step(cache=Cache(key=str))
    async def note(value: int, context: State) -> int:
        calls.append(value)
        context.log.append(f"noted {value}")
        context.count += 5
        return value

    cache = MemoryCache()
    assert ran(note, cache=cache).context.log == ["noted 1"]
    done = ran(note, cache=cache, begin=State(log=["before"], count=1))
    assert calls == [1] and done.context.log == ["before", "noted 1"] == done.state.context["log"]


def test_its_key_covers_the_tenant() -> None:
    counted = Counted()
    cache = MemoryCache()
    for tenant in ("a", "b", None, "a", "b", None):
        ran(counted.step, cache=cache, tenant=tenant)
    assert counted.calls == 3


def test_its_key_covers_the_version_of_the_node() -> None:
    counted = Counted()
    cache = MemoryCache()
    for version in ("1", "2", "1"):
        ran(counted.step.policy(version=version), cache=cache)
    assert counted.calls == 2


def test_its_key_covers_the_node() -> None:
    cache = MemoryCache()

    @step(name="same", cache=Cache())
    async def one(value: int) -> int:
        return 1

    @step(name="same", cache=Cache())
    async def two(value: int) -> int:
        return 2

    assert (ran(one, cache=cache).output, ran(two, cache=cache).output) == (1, 2)


def test_its_key_covers_the_prompt_of_an_agent() -> None:
    cache = MemoryCache()
    for number, prompt in enumerate(("one {{ input }}", "two {{ input }}", "one {{ input }}")):
        model = TestModel(custom_output_text=str(number))
        ask = Step.agent("ask", Agent(model), input=int, prompt=prompt, cache=Cache())
        assert ran(ask, cache=cache).output == ("0", "1", "0")[number]


def test_its_key_covers_the_named_inputs() -> None:
    calls: list[int] = []

    @step(cache=Cache())
    async def work(value: int, *, begun: Annotated[int, From.run_input]) -> int:
        calls.append(begun)
        return begun

    @step
    async def same(value: int) -> int:
        return 0

    flujo = alone(same >> work)
    assert [flujo.run(n).output for n in (1, 2, 1)] == [1, 2, 1] and calls == [1, 2]


def test_key_makes_the_key_from_the_input_and_the_context() -> None:
    calls: list[int] = []

    def by_word(value: int, context: State) -> str:
        return f"{value % 10} {context.word}"

    @step(cache=Cache(key=by_word))
    async def work(value: int, context: State) -> int:
        calls.append(value)
        return value

    cache = MemoryCache()
    outputs = [ran(work, n, cache=cache, begin=State(word=w)).output for n, w in ((1, "a"), (11, "a"), (1, "b"))]
    assert outputs == [1, 1, 1] and calls == [1, 1]


def test_a_step_that_takes_the_context_needs_a_key() -> None:
    with pytest.raises(DefinitionError, match=r"'work'.*key"):

        @step(cache=Cache())
        async def work(value: int, context: State) -> int:
            return value

        alone(work)


def test_a_node_with_a_step_in_it_that_takes_the_context_needs_a_key() -> None:
    @step
    async def work(value: int, context: State) -> int:
        return value

    with pytest.raises(DefinitionError, match=r"'scope'.*key|'work'.*key"):
        alone((plus >> work).named("scope").policy(cache=Cache()))


def test_ttl_is_how_long_an_entry_is_kept() -> None:
    counted = Counted(cache=Cache(ttl=0.05))
    flujo = alone(counted.step)
    flujo.run(1)
    flujo.run(1)
    assert counted.calls == 1
    asyncio.run(asyncio.sleep(0.06))
    flujo.run(1)
    assert counted.calls == 2
    kept = Kept()
    ran(Counted(cache=Cache(ttl=7)).step, cache=kept)
    assert kept.ttls == [7]


def test_authorize_pre_and_post_hooks_still_run_at_a_hit() -> None:
    counted = Counted()
    calls: list[str] = []

    async def pre(call: Any) -> None:
        calls.append(f"pre {call.step_input}")

    async def post(call: Any, result: Any) -> None:
        calls.append(f"post {result.output}")

    flujo = alone(counted.step, pre_step_execution=pre, post_step_execution=post)
    flujo.run(1)
    flujo.run(1)
    assert calls == ["pre 1", "post 10"] * 2 and counted.calls == 1


def test_a_hook_may_refuse_a_hit() -> None:
    counted = Counted()
    allowed = [True]

    async def post(call: Any, result: Any) -> None:
        if not allowed[0]:
            raise Veto("not for this one")

    flujo = alone(counted.step, post_step_execution=post)
    flujo.run(1)
    allowed[0] = False
    with pytest.raises(RunFailed):
        flujo.run(1)


def test_the_key_is_of_the_input_as_the_hooks_left_it() -> None:
    counted = Counted()

    async def pre(call: Any) -> Any:
        return call.replace(step_input=call.step_input % 2)

    flujo = alone(counted.step, pre_step_execution=pre)
    assert [flujo.run(n).output for n in (1, 3, 5)] == [10, 10, 10] and counted.calls == 1


def test_what_a_post_hook_makes_of_an_output_is_not_cached() -> None:
    """Else it would be applied twice: post hooks run at a hit, too."""
    counted = Counted()

    async def post(call: Any, result: Any) -> Any:
        return result.replace(output=result.output + 1)

    flujo = alone(counted.step, post_step_execution=post)
    assert [flujo.run(1).output, flujo.run(1).output] == [11, 11]


def test_failures_stops_and_fallbacks_are_not_cached() -> None:
    calls: list[int] = []

    @step(cache=Cache())
    async def work(value: int) -> int | Stop:
        calls.append(value)
        if value == 1 and len(calls) == 1:
            raise ValueError
        return Stop("enough") if value == 2 else value

    flujo = alone(work.policy(fallback=adds("other", 100)))
    assert [flujo.run(1).output, flujo.run(1).output] == [101, 1]
    flujo.run(2)
    flujo.run(2)
    assert calls == [1, 1, 2, 2]


def test_neither_the_key_nor_what_is_asked_tells_anything_of_the_input() -> None:
    @step(cache=Cache())
    async def work(value: str) -> int:
        return 1

    kept = Kept()
    ran(work, "CANARY", cache=kept, tenant="TENANT")
    assert kept.entries and not any("CANARY" in key or "TENANT" in key for key in kept.entries)


def test_an_entry_that_is_damaged_or_of_another_type_is_no_hit() -> None:
    for damage in (b"", b"nonsense", b"null", b'{"a":1}', b"\xff\xfe", b'"x"\n{}'):
        counted = Counted()
        kept = Kept()
        ran(counted.step, cache=kept)
        kept.entries = dict.fromkeys(kept.entries, damage)
        done = ran(counted.step, cache=kept)
        assert done.result.status == "completed" and done.output == 10 and counted.calls == 2


@pytest.mark.parametrize("name", ["scope", "fan", "each", "l", "route"])
def test_a_node_may_be_cached_as_a_whole(name: str) -> None:
    calls: list[int] = []

    @step
    async def work(value: int) -> int:
        calls.append(value)
        return value * 10

    nodes: dict[str, Any] = {
        "scope": (work >> plus).named("scope"),
        "fan": Parallel("fan", a=work, b=plus),
        "each": Map("each", work, over=lambda value: [value]),
        "l": Loop("l", work, until=bool, max_iterations=1),
        "route": Branch("route", on=str).default(work),
    }
    cache = MemoryCache()
    node = nodes[name].policy(cache=Cache())
    first = ran(node, 2, cache=cache)
    second = ran(node, 2, cache=cache)
    assert first.output == second.output and calls == [2]
    assert kinds(second.events)[1:-1] == [f"node_completed {name}"]
    event = second.one("node_completed", name)
    assert (event.source, event.attempt) == ("cache", 0)
    assert second.state.nodes[name].source == "cache" and second.state.nodes[name].status == "completed"


def test_the_entry_of_a_node_has_what_was_changed_in_it() -> None:
    @step
    async def note(value: int, context: State) -> int:
        context.log.append("noted")
        return value

    node = Parallel("fan", a=note, b=note.named("other")).policy(cache=Cache(key=str))
    cache = MemoryCache()
    ran(node, cache=cache)
    done = ran(node, cache=cache, begin=State(log=["before"]))
    assert done.context.log == ["before", "noted", "noted"] == done.state.context["log"]


def test_each_flujo_has_a_cache_of_its_own_unless_it_is_given_one() -> None:
    counted = Counted()
    Flujo(counted.step, settings=ALONE).run(1)
    Flujo(counted.step, settings=ALONE).run(1)
    assert counted.calls == 2
    shared = MemoryCache()
    Flujo(counted.step, settings=ALONE, cache=shared).run(1)
    Flujo(counted.step, settings=ALONE, cache=shared).run(1)
    assert counted.calls == 3


def test_a_step_is_found_in_the_cache_from_other_scopes_and_other_runs() -> None:
    counted = Counted()
    flujo = alone(Map("each", counted.step, over=lambda value: [1, 1, 2], max_concurrency=1))
    assert flujo.run(0).output == [10, 10, 20] and counted.calls == 2


def test_a_step_that_takes_the_run_info_may_be_cached() -> None:
    @step(cache=Cache())
    async def where(value: int, info: RunInfo) -> str:
        return info.run_id

    cache = MemoryCache()
    assert ran(where, cache=cache, run_id="a").output == ran(where, cache=cache, run_id="b").output == "a"


def test_the_memory_cache_keeps_the_entries_that_were_used_last() -> None:
    async def main() -> list[bytes | None]:
        cache = MemoryCache(limit=2)
        await cache.put("a", b"1")
        await cache.put("b", b"2")
        await cache.get("a")
        await cache.put("c", b"3")
        return [await cache.get(key) for key in "abc"]

    assert asyncio.run(main()) == [b"1", None, b"3"]


def test_a_cache_that_is_out_of_order_is_logged_and_the_node_runs(capfd: pytest.CaptureFixture[str]) -> None:
    class Down:
        async def get(self, key: str, /) -> bytes | None:
            raise ConnectionError("CANARY")

        async def put(self, key: str, entry: bytes, /, *, ttl: float | None = None) -> None:
            raise ConnectionError("CANARY")

    @step(cache=Cache())
    async def same(value: int) -> int:
        return value

    assert Flujo(same, cache=Down()).run(1).output == 1
    said = capfd.readouterr().err
    assert said.count("cache.failure_passed_over") == 2 and "ConnectionError" in said and "CANARY" not in said
