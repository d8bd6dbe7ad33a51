"""``PipelineState``: SEMANTICS 17: portable, not single-use, never older than the store, sealed if there is a key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from crash_kit import Counted, done, durable
from flow_kit import ALONE, State

from flujo_core import (
    AlreadyAnswered,
    Flujo,
    Map,
    MemoryStore,
    PauseForHumanInput,
    PipelineResult,
    UnknownRun,
    step,
)
from flujo_core.errors import SealBroken, StaleState, StateError, UnknownQuestion
from flujo_core.model.state import PipelineState

KEY = b"k" * 32


def flujo(ran: Counted, **keywords: Any) -> Flujo[Any, Any, Any]:
    node = ran.plus("a") >> ran.asks("ask") >> ran.plus("b") >> ran.asks("again") >> ran.plus("c")
    made: Flujo[Any, Any, Any] = Flujo(node, context=State, settings=keywords.pop("settings", ALONE), **keywords)
    return made


def carried(result: PipelineResult[Any, Any]) -> PipelineState:
    """A state after a journey as JSON."""
    return PipelineState.model_validate_json(result.state.model_dump_json())


def test_a_run_goes_on_from_its_state_in_another_process_again_and_again() -> None:
    ran = Counted()

    async def main() -> None:
        first = await flujo(ran).run_async(1)
        second = await flujo(ran).resume_async(carried(first), 5)
        assert second.status == "paused" and [one.address for one in second.questions] == ["again"]
        third = await flujo(ran).resume_async(carried(second), 8)
        assert (third.status, third.output) == ("completed", 9) and set(ran.values()) == {1}
        assert third.context == State(log=["a", "ask?", "b", "again?", "c"], sum=3)
        assert first.run_id == second.run_id == third.run_id

    done(main())


def test_without_a_store_resuming_is_not_single_use() -> None:
    ran = Counted()

    async def main() -> None:
        state = carried(await flujo(ran).run_async(1))
        outputs = [(await flujo(ran).resume_async(state, answer)).status for answer in (5, 6)]
        assert outputs == ["paused", "paused"] and ran["b"] == 2 and ran["a"] == 1

    done(main())


def test_a_state_has_the_items_of_a_source_that_a_run_has_taken() -> None:
    afters: list[str | None] = []

    async def source(value: int, after: str | None = None) -> AsyncIterator[int]:
        afters.append(after)
        for number in range(value if after is None else int(after) + 1, 4):
            yield number

    @step
    async def check(number: int) -> int | PauseForHumanInput[int]:
        return PauseForHumanInput("How many?", int) if number == 2 else number * 10

    async def main() -> None:
        each = Map("each", check, over=source, key=str, max_concurrency=1)
        made: Flujo[Any, Any, Any] = Flujo(each, settings=ALONE)
        state = carried(await made.run_async(1))
        result = await made.resume_async(state, 7)
        assert (result.status, result.output) == ("completed", [10, 7, 30])
        assert afters == [None, "3"]

    done(main())


def test_a_state_without_an_answer_is_still_paused_and_nothing_runs() -> None:
    ran = Counted()

    async def main() -> None:
        state = carried(await flujo(ran).run_async(1))
        again = await flujo(ran).resume_async(state)
        assert again.status == "paused" and ran == {"a": 1, "ask": 1}
        assert (await flujo(ran).resume_async(carried(again), 5)).status == "paused" and ran["b"] == 1

    done(main())


def test_where_there_is_a_store_the_store_wins() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        paused = await flujo(ran, store=store).run_async(1, run_id="r")
        state = carried(paused)
        later = await flujo(ran, store=store).resume_async(state, 5, token=paused.questions[0].token)
        assert later.status == "paused" and ran["b"] == 1
        with pytest.raises((StaleState, AlreadyAnswered)):
            await flujo(ran, store=store).resume_async(state, 6, token=paused.questions[0].token)
        with pytest.raises(StaleState):
            await flujo(ran, store=store).resume_async(state, 6)
        with pytest.raises(StaleState):
            await flujo(ran, store=store).resume_async(state)
        assert ran["b"] == 1
        assert (await flujo(ran, store=store).resume_async(carried(later), 8)).output == 9

    done(main())


def test_a_state_of_a_run_with_a_store_holds_no_values() -> None:
    ran = Counted()

    async def main() -> None:
        paused = await flujo(ran, store=MemoryStore()).run_async(987654)
        assert "987654" not in paused.state.model_dump_json() and "987655" not in repr(paused.state)

    done(main())


def test_a_state_of_a_run_that_the_store_does_not_have_is_refused() -> None:
    ran = Counted()

    async def main() -> None:
        paused = await flujo(ran, store=MemoryStore()).run_async(1)
        with pytest.raises((UnknownRun, StateError)):
            await flujo(ran, store=MemoryStore()).resume_async(carried(paused), 5)
        assert ran["b"] == 0

    done(main())


def test_a_token_of_the_state_is_checked_without_a_store_too() -> None:
    ran = Counted()

    async def main() -> None:
        paused = await flujo(ran).run_async(1)
        with pytest.raises(UnknownQuestion):
            await flujo(ran).resume_async(carried(paused), 5, token="wrong")
        token = paused.questions[0].token
        assert token and token not in paused.state.model_dump_json()
        assert (await flujo(ran).resume_async(carried(paused), 5, token=token)).status == "paused"

    done(main())


# --------------------------------------------------------------------------------------------------------------- seals


def test_a_sealed_state_is_taken_as_it_is_and_by_nobody_else() -> None:
    ran = Counted()

    async def main() -> None:
        paused = await flujo(ran, seal_key=KEY).run_async(1)
        assert paused.state.seal and len(bytes.fromhex(paused.state.seal)) == 32, "an HMAC-SHA256"
        result = await flujo(ran, seal_key=lambda: KEY).resume_async(carried(paused), 5)
        assert result.status == "paused" and result.state.seal not in (None, paused.state.seal)
        with pytest.raises(SealBroken):
            await flujo(ran, seal_key=b"x" * 32).resume_async(carried(paused), 5)

    done(main())


def test_with_a_key_a_state_without_a_seal_is_refused() -> None:
    ran = Counted()

    async def main() -> None:
        for made in (await flujo(ran).run_async(1), await flujo(ran, seal_key=KEY).run_async(1)):
            bare = carried(made).model_copy(update={"seal": None})
            with pytest.raises(SealBroken):
                await flujo(ran, seal_key=KEY).resume_async(bare, 5)
        assert ran["b"] == 0

    done(main())


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all plain values within JSON data."""
    if isinstance(value, dict):
        return [one for key, part in value.items() for one in leaves(part, (*path, key))]
    if isinstance(value, list):
        return [one for key, part in enumerate(value) for one in leaves(part, (*path, key))]
    return [path]


def changed(data: Any, path: tuple[Any, ...]) -> Any:
    """The data with another value at a path."""
    made = json.loads(json.dumps(data))
    place = made
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    place[path[-1]] = f"{old}0" if isinstance(old, str) else 1 if old is None else old + 1
    return made


def test_whatever_is_changed_in_a_sealed_state_breaks_its_seal() -> None:
    ran = Counted()

    async def main() -> None:
        paused = await flujo(ran, seal_key=KEY).run_async(1, tenant="acme")
        data = json.loads(paused.state.model_dump_json())
        paths = leaves(data)
        assert len(paths) > 20
        for path in paths:
            try:
                state = PipelineState.model_validate(changed(data, path))
            except ValueError:
                continue
            with pytest.raises(StateError):
                await flujo(ran, seal_key=KEY).resume_async(state, 5)
        shorter = paused.state.model_copy(update={"records": paused.state.records[:-1]})
        with pytest.raises(SealBroken):
            await flujo(ran, seal_key=KEY).resume_async(shorter, 5)
        assert ran["b"] == 0

    done(main())


def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Counted()

    async def main() -> None:
        monkeypatch.setenv("FLUJO_SEAL_KEY", "s" * 32)
        state = carried(await flujo(ran).run_async(1))
        assert state.seal
        monkeypatch.setenv("FLUJO_SEAL_KEY", "t" * 32)
        with pytest.raises(SealBroken):
            await flujo(ran).resume_async(state, 5)
        monkeypatch.setenv("FLUJO_SEAL_KEY", "s" * 32)
        assert (await flujo(ran).resume_async(state, 5)).status == "paused"

    done(main())


def test_a_state_that_is_not_one_is_refused() -> None:
    ran = Counted()

    async def main() -> None:
        good = carried(await flujo(ran).run_async(1))
        for wrong in (
            good.model_copy(update={"records": ()}),
            good.model_copy(update={"records": good.records[1:]}),
            good.model_copy(update={"records": (good.records[0], *good.records[2:])}),
            good.model_copy(update={"records": (*good.records, good.records[-1])}),
            good.model_copy(update={"records": (*good.records[:-1], good.records[-1][:3])}),
        ):
            with pytest.raises(StateError):
                await flujo(ran).resume_async(wrong, 5)
        assert ran["b"] == 0

    done(main())


def test_the_store_of_a_run_is_not_asked_for_a_state_of_one_without(tmp_path: Any) -> None:
    """A state that holds records is of a run without a store: a ``Flujo`` with one does not know it."""
    ran = Counted()

    async def main() -> None:
        state = carried(await flujo(ran).run_async(1))
        with pytest.raises((UnknownRun, StateError)):
            await durable(ran.plus("a") >> ran.asks("ask"), MemoryStore()).resume_async(state, 5)

    done(main())
