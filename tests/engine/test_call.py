"""One leaf: its transaction, its attempts, its hooks, the values that it gives and gets."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import math
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PrivateAttr,
    SecretBytes,
    SecretStr,
    computed_field,
)

from flujo_core import (
    AgentReply,
    AttemptFailed,
    DefinitionError,
    Flujo,
    InvalidValue,
    MemoryStore,
    PipelineContext,
    PipelineResult,
    Record,
    Resources,
    Retry,
    RunFailed,
    RunInfo,
    Skip,
    Step,
    StepCall,
    StepCompleted,
    StepError,
    StepFailed,
    StepResult,
    StepStarted,
    StepTimeout,
    Stop,
    Usage,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

Way = Callable[..., PipelineResult[Any, Any]]


async def _nothing_before(call: StepCall) -> None:
    return None


async def _nothing_after(call: StepCall, result: StepResult) -> None:
    return None


def _run_bare(pipeline: Any, value: Any = None, /, *, run: dict[str, Any] | None = None, **set_up: Any) -> Any:
    return Flujo(pipeline, **set_up).run(value, **(run or {}))


def _run_stored(pipeline: Any, value: Any = None, /, *, run: dict[str, Any] | None = None, **set_up: Any) -> Any:
    return Flujo(pipeline, **{"store": MemoryStore(), **set_up}).run(value, **(run or {}))


def _run_hooked(pipeline: Any, value: Any = None, /, *, run: dict[str, Any] | None = None, **set_up: Any) -> Any:
    hooks = {"pre_step_execution": _nothing_before, "post_step_execution": _nothing_after}
    return Flujo(pipeline, **(hooks | set_up)).run(value, **(run or {}))


def _run_streamed(pipeline: Any, value: Any = None, /, *, run: dict[str, Any] | None = None, **set_up: Any) -> Any:
    async def consume() -> Any:
        async with Flujo(pipeline, **set_up).stream(value, **(run or {})) as stream:
            async for _ in stream:
                pass
        return stream.result

    return asyncio.run(consume())


def _run_all(pipeline: Any, value: Any = None, /, **set_up: Any) -> Any:
    hooks = {"pre_step_execution": _nothing_before, "post_step_execution": _nothing_after}
    return _run_streamed(pipeline, value, **({"store": MemoryStore()} | hooks | set_up))


@pytest.fixture(params=[_run_bare, _run_stored, _run_hooked, _run_streamed, _run_all], ids=lambda f: f.__name__[5:])
def run(request: pytest.FixtureRequest) -> Way:
    """Each way that a run can be observed: what a run does is the same in all of them."""
    way: Way = request.param
    return way


class Doc(BaseModel):
    text: str = ""
    tags: list[str] = []


class State(PipelineContext):
    count: int = 0
    log: list[str] = []
    table: dict[str, int] = {}
    doc: Doc = Doc()
    few: Annotated[list[int], Field(max_length=2)] = []
    pairs: Annotated[dict[str, int], Field(max_length=1)] = {}
    positive: Annotated[int, Field(ge=0)] = 0
    maybe_log: list[str] | None = None


@step
async def nothing(value: Any) -> Any:
    return value


@step
async def look(value: Any, context: State) -> dict[str, Any]:
    return context.model_dump()


# ---------------------------------------------------------------------------------------------------- transactions


def _change_everything(context: State) -> None:
    context.count += 1
    context.log.append("changed")
    context.table["changed"] = 1
    context.doc.text = "changed"
    context.doc.tags.append("changed")


def test_a_failed_step_leaves_no_trace_in_the_context(run: Way) -> None:
    @step
    async def bad(value: int, context: State) -> int:
        _change_everything(context)
        raise ValueError("no")

    with pytest.raises(RunFailed) as failed:
        run(nothing >> bad, 1, context=State)
    assert failed.value.result.context == State()


def test_each_attempt_sees_the_context_as_it_was_before_the_first(run: Way) -> None:
    seen: list[dict[str, Any]] = []

    @step(retry=Retry(attempts=3))
    async def flaky(value: int, context: State) -> int:
        seen.append(context.model_dump())
        _change_everything(context)
        if len(seen) < 3:
            raise ValueError("again")
        return value

    result = run(flaky >> look, 1, context=State)
    assert seen == [State().model_dump()] * 3
    assert result.output["log"] == ["changed"] and result.output["count"] == 1
    assert result.context.doc == Doc(text="changed", tags=["changed"])


def test_changes_are_committed_with_the_output_and_seen_by_the_next_step(run: Way) -> None:
    @step
    async def change(value: int, context: State) -> int:
        _change_everything(context)
        return value

    result = run(change >> change.named("again") >> look, 1, context=State)
    assert result.output["log"] == ["changed", "changed"] and result.output["doc"]["tags"] == ["changed", "changed"]
    assert result.context.model_dump() == result.output


def test_an_output_that_does_not_fit_drops_the_changes_too(run: Way) -> None:
    @step
    async def bad(value: int, context: State) -> int:
        _change_everything(context)
        return "many"  # type: ignore[return-value]

    with pytest.raises(RunFailed) as failed:
        run(bad, 1, context=State)
    assert failed.value.result.context == State()
    assert isinstance(failed.value.__cause__, InvalidValue)


def test_a_step_that_stops_the_run_commits_nothing(run: Way) -> None:
    @step
    async def halt(value: int, context: State) -> int | Stop:
        _change_everything(context)
        return Stop("enough")

    result = run(halt, 1, context=State)
    assert result.status == "stopped" and result.context == State() and result.reason == "enough"


def test_a_timed_out_step_drops_its_changes(run: Way) -> None:
    @step(timeout=0.01)
    async def slow(value: int, context: State) -> int:
        _change_everything(context)
        await asyncio.sleep(9)
        return value

    with pytest.raises(RunFailed) as failed:
        run(slow, 1, context=State)
    assert failed.value.result.context == State() and isinstance(failed.value.__cause__, StepTimeout)


def test_a_sync_step_changes_the_context_from_its_thread(run: Way) -> None:
    @step
    def change(value: int, context: State) -> int:
        assert threading.current_thread() is not threading.main_thread()
        _change_everything(context)
        return value

    assert run(change, 1, context=State).context.log == ["changed"]


def test_a_draft_that_a_step_kept_cannot_change_the_context_after_the_commit(run: Way) -> None:
    kept: list[State] = []

    @step
    async def keep(value: int, context: State) -> int:
        _change_everything(context)
        kept.append(context)
        return value

    @step
    async def abuse(value: int) -> int:
        kept[0].log.append("late")
        kept[0].table["late"] = 1
        kept[0].doc.text = "late"
        kept[0].doc.tags.append("late")
        return value

    result = run(keep >> abuse >> look, 1, context=State)
    assert result.output["log"] == ["changed"] and result.output["table"] == {"changed": 1}
    assert result.output["doc"] == {"text": "changed", "tags": ["changed"]}


def test_an_output_that_is_also_in_the_context_shares_nothing_with_it(run: Way) -> None:
    @step
    async def give(value: int, context: State) -> Doc:
        context.doc = Doc(text="first")
        return context.doc

    @step
    async def spoil(doc: Doc) -> Doc:
        doc.text = "spoilt"
        doc.tags.append("spoilt")
        return doc

    assert run(give >> spoil, 1, context=State).context.doc == Doc(text="first")


def test_the_context_that_is_given_is_not_changed_by_the_run(run: Way) -> None:
    @step
    async def change(value: int, context: State) -> int:
        _change_everything(context)
        return value

    given_one = State(log=["mine"])
    result = run(change, 1, context=State, run={"context": given_one})
    assert given_one == State(log=["mine"]) and result.context.log == ["mine", "changed"]


@pytest.mark.parametrize("name", ["few", "pairs", "positive"])
def test_a_field_that_breaks_its_bounds_fails_the_attempt_and_names_the_field(run: Way, name: str) -> None:
    @step
    async def bad(value: int, context: State) -> int:
        if name == "few":
            context.few.append(3)
        elif name == "pairs":
            context.pairs["b"] = 2
        else:
            context.positive = -1
        return value

    with pytest.raises(RunFailed, match=name) as failed:
        run(bad, 1, context=State, run={"context": State(few=[1, 2], pairs={"a": 1})})
    assert isinstance(failed.value.__cause__, InvalidValue)


def test_a_context_value_of_a_wrong_type_fails_the_attempt_and_names_the_field(run: Way) -> None:
    @step
    async def bad(value: int, context: State) -> int:
        context.count = "many CANARY"  # type: ignore[assignment]
        return value

    with pytest.raises(RunFailed, match="count") as failed:
        run(bad, 1, context=State)
    assert isinstance(failed.value.__cause__, InvalidValue) and "CANARY" not in str(failed.value)


def test_a_list_that_may_be_none_can_grow_step_by_step(run: Way) -> None:
    @step
    async def begin(value: int, context: State) -> int:
        context.maybe_log = ["a"]
        return value

    @step
    async def grow(value: int, context: State) -> int:
        assert context.maybe_log is not None
        context.maybe_log.append("b")
        return value

    assert run(begin >> grow, 1, context=State).context.maybe_log == ["a", "b"]


def test_a_context_with_a_cached_property_can_be_used_by_steps(run: Way) -> None:
    class Squares(PipelineContext):
        number: int = 3

        @functools.cached_property
        def square(self) -> int:
            return self.number**2

    @step
    async def read(value: int, context: Squares) -> int:
        context.number = 4
        return context.square

    assert run(read, 1, context=Squares).output == 16


# ---------------------------------------------------------------------------------------------------- own copies


def test_an_attempt_does_not_see_what_an_earlier_attempt_did_to_its_input(run: Way) -> None:
    seen: list[str] = []

    @step
    async def make(value: int) -> Doc:
        return Doc(text="clean")

    @step(retry=Retry(attempts=3))
    async def flaky(doc: Doc) -> Doc:
        seen.append(doc.text + "".join(doc.tags))
        doc.text = "dirty"
        doc.tags.append("dirty")
        if len(seen) < 3:
            raise ValueError("again")
        return Doc(text=seen[-1])

    assert run(make >> flaky, 1).output.text == "clean"
    assert seen == ["clean"] * 3


def test_the_first_steps_attempts_each_get_the_runs_input_unchanged(run: Way) -> None:
    seen: list[int] = []

    @step(retry=Retry(attempts=2))
    async def flaky(doc: Doc) -> int:
        seen.append(len(doc.tags))
        doc.tags.append("dirty")
        if len(seen) < 2:
            raise ValueError("again")
        return seen[-1]

    assert run(flaky, Doc()).output == 0


def test_an_input_that_cannot_be_copied_fails_a_step_that_may_be_tried_again_and_no_other(run: Way) -> None:
    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    async def make() -> Any:
        return Locked()

    async def use(value: Any) -> bool:
        return isinstance(value, Locked)

    if run in (_run_stored, _run_all):
        return  # with a store there is no such value
    assert run(step(make) >> step(use)).output is True
    with pytest.raises(RunFailed, match="'use'"):
        run(step(make) >> step(retry=Retry(attempts=2))(use))


def test_a_step_that_changes_its_input_does_not_change_the_record_of_the_step_before() -> None:
    """With a store, what a reader of the run sees is what the journal has."""
    store = MemoryStore()

    @step
    async def make(value: int) -> Doc:
        return Doc(text="clean")

    @step
    async def spoil(doc: Doc) -> Doc:
        doc.text = "dirty"
        return doc

    result = Flujo(make >> spoil, store=store).run(1, run_id="r")
    records = asyncio.run(store.read("r"))
    journaled = [e.output for e in map(decode, records) if isinstance(e, StepCompleted)]
    assert [one.output.model_dump() for one in result.steps] == journaled


def test_a_run_with_a_store_does_not_change_the_input_that_the_caller_holds() -> None:
    """The step receives what was decoded from the journal (SEMANTICS 3), not the caller's object."""

    @step
    async def spoil(doc: Doc) -> Doc:
        doc.text = "dirty"
        return doc

    mine = Doc(text="clean")
    Flujo(spoil, store=MemoryStore()).run(mine)
    assert mine.text == "clean"


# --------------------------------------------------------------------------------------------- live equals resumed


class Animal(BaseModel):
    name: str = ""


class Dog(Animal):
    barks: bool = True


class Color(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = ""


class Hidden(BaseModel):
    name: str = ""
    _note: str = PrivateAttr(default="")


class Left(BaseModel):
    name: str = Field(default="", exclude=True)


class Plain:
    pass


@dataclass
class Point:
    x: float = 0
    more: Any = None


def _hidden() -> Hidden:
    made = Hidden(name="a")
    made._note = "kept in memory only"
    return made


def _name(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


LOST: list[tuple[Any, Any]] = [
    (Animal, Dog(name="rex")),
    (list[Animal], [Animal(), Dog()]),
    (dict[str, Animal], {"a": Dog()}),
    (Animal | None, Dog()),
    (list[Any], [(1, 2)]),
    (Any, (1, 2)),
    (Any, datetime(2026, 1, 1, tzinfo=UTC)),
    (Any, Decimal("1.5")),
    (Any, {1: "a"}),
    (Any, Doc(text="a")),
    (Any, {1, 2}),
    (Any, b"bytes"),
    (Any, Color.RED),
    (dict[str, Any], {"color": Color.RED}),
    (set[Any], {Color.RED}),
    (set[Any], {Level.LOW}),
    (frozenset[Any], frozenset({Color.RED})),
    (dict[Any, int], {Color.RED: 1}),
    (Sequence[Any], [Level.LOW]),
    (object, Path("/x")),
    (SecretStr, SecretStr("hush")),
    (SecretBytes, SecretBytes(b"hush")),
    (float, math.nan),
    (float, math.inf),
    (list[float], [1.0, -math.inf]),
    (bytes, b"\xff\xfe"),
    (Point, Point(x=1, more=(1,))),
    (Open, Open(name="a", when=datetime(2026, 1, 1, tzinfo=UTC))),  # type: ignore[call-arg]
    (Hidden, _hidden()),
    (Left, Left(name="a")),
    (Plain, Plain()),
    (Any, Plain()),
    (Any, 1 + 2j),
]


@pytest.mark.parametrize(
    ("hint", "value"), LOST, ids=lambda v: type(v).__name__ if not isinstance(v, type) else v.__name__
)
def test_a_value_that_the_journal_would_not_give_back_as_it_is_fails_the_attempt(hint: Any, value: Any) -> None:
    received: list[Any] = []

    async def give(start: int) -> Any:
        return value

    give.__annotations__["return"] = hint

    async def take(got: Any) -> int:
        received.append(got)
        return 1

    store = MemoryStore()
    with pytest.raises(RunFailed, match="'give'") as failed:
        Flujo(step(give) >> step(take), store=store).run(1, run_id="r")
    assert isinstance(failed.value.__cause__, InvalidValue)
    assert received == [] and failed.value.result.steps[0].status == "failed"
    assert "hush" not in str(failed.value) and "hush" not in str(failed.value.__cause__)


@pytest.mark.parametrize(
    ("hint", "value"), LOST, ids=lambda v: type(v).__name__ if not isinstance(v, type) else v.__name__
)
def test_a_context_value_that_the_journal_would_not_give_back_as_it_is_fails_the_attempt(hint: Any, value: Any) -> None:
    class Holder(PipelineContext):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        held: Optional[hint] = None  # type: ignore[valid-type]  # noqa: UP045

    async def put(start: int, context: Holder) -> int:
        context.held = value
        return start

    put.__annotations__["context"] = Holder
    with pytest.raises(RunFailed, match="'put'") as failed:
        Flujo(step(put), store=MemoryStore(), context=Holder).run(1)
    assert isinstance(failed.value.__cause__, InvalidValue) and "held" in str(failed.value)
    assert failed.value.result.steps[0].status == "failed" and failed.value.result.context.held is None


@pytest.mark.parametrize(
    ("hint", "value"), LOST, ids=lambda v: type(v).__name__ if not isinstance(v, type) else v.__name__
)
def test_an_input_that_the_journal_would_not_give_back_as_it_is_starts_nothing(hint: Any, value: Any) -> None:
    ran: list[int] = []

    async def take(got: Any) -> int:
        ran.append(1)
        return 1

    take.__annotations__["got"] = hint
    store = MemoryStore()
    with pytest.raises((InvalidValue, RunFailed)) as failed:
        Flujo(step(take), store=store).run(value, run_id="r")
    assert ran == [] and "hush" not in str(failed.value)
    records = asyncio.run(store.read("r"))
    assert not records or [records[0].kind, records[-1].kind] == ["run_started", "run_ended"]


@pytest.mark.parametrize(("hint", "value"), LOST[:8], ids=str)
def test_without_a_store_nothing_is_serialised(hint: Any, value: Any) -> None:
    received: list[Any] = []

    async def give(start: int) -> Any:
        return value

    give.__annotations__["return"] = hint

    async def take(got: Any) -> int:
        received.append(got)
        return 1

    Flujo(step(give) >> step(take)).run(1)
    assert received[0] is value or received[0] == value


def test_without_a_store_a_context_may_hold_what_cannot_be_serialised() -> None:
    class Holder(PipelineContext):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        thing: Plain | None = None

    async def put(start: int, context: Holder) -> int:
        context.thing = Plain()
        return start

    put.__annotations__["context"] = Holder
    assert isinstance(Flujo(step(put), context=Holder).run(1).context.thing, Plain)


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    value: T


class Pair(NamedTuple):
    a: int
    b: str


class Aliased(BaseModel):
    first_name: str = Field(alias="firstName")
    last_name: str = Field(default="", validation_alias="lastName", serialization_alias="LASTNAME")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.width**2


class WithJson(BaseModel):
    raw: Json[list[int]] = Field(default_factory=list)


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Cow(BaseModel):
    kind: Literal["cow"] = "cow"
    milk: int = 1


KEPT: list[tuple[Any, Any]] = [
    (int, 2**80),
    (float, -0.0),
    (bool, True),
    (str, "ä\u2028\n\0 {{ input }}"),
    (bytes, b"abc\n"),
    (None, None),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2)),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (dict[int, list[Doc]], {1: [Doc(text="a")]}),
    (Doc | None, None),
    (int | str, "1"),
    (int | float, 1.0),
    (list[int | bool], [1, True, 0]),
    (Cat | Cow, Cow(milk=3)),
    (Annotated[Cat | Cow, Field(discriminator="kind")], Cow(milk=3)),
    (Box[list[int]], Box[list[int]](value=[1])),
    (Pair, Pair(1, "b")),
    (Point, Point(1.5, None)),
    (datetime, datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC)),
    (Decimal, Decimal("1.10")),
    (UUID, UUID(int=5)),
    (Color, Color.RED),
    (Literal["a", 1], 1),
    (Path, Path("a/b")),
    (Any, {"a": [1, 2.5, None, "x", {"b": True}]}),
    (Open, Open(name="a", more=[1, "x"])),  # type: ignore[call-arg]
    (Aliased, Aliased(firstName="a", lastName="b")),
    (Computed, Computed(width=3)),
    (WithJson, WithJson(raw="[1, 2]")),  # type: ignore[arg-type]
    (Annotated[int, Field(ge=0)], 3),
    (Annotated[int, {"unit": "kg"}], 3),
    (Annotated[list[int], Field(max_length=3)], [3]),
]


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, down to what ``==`` does not tell: 1, 1.0 and True."""
    return one == other and type(one) is type(other) and (repr(one) == repr(other) or isinstance(one, datetime))


@pytest.mark.parametrize(("hint", "value"), KEPT, ids=lambda v: type(v).__name__)
def test_a_value_of_its_declared_type_reaches_the_next_step_with_a_store_as_without_one(
    run: Way, hint: Any, value: Any
) -> None:
    received: list[Any] = []

    async def give(start: int) -> Any:
        return value

    give.__annotations__["return"] = hint

    async def take(got: Any) -> Any:
        received.append(got)
        return got

    take.__annotations__ |= {"got": hint, "return": hint}
    result = run(step(give) >> step(take), 1)
    assert _same(received[0], value) and _same(result.output, value)


OPTIONAL = [(hint, value) for hint, value in KEPT if hint is not None and value != 3 and not isinstance(value, list)]
"""Those whose type can stand in a union with None."""


@pytest.mark.parametrize(("hint", "value"), OPTIONAL, ids=lambda v: type(v).__name__)
def test_a_context_value_of_its_declared_type_reaches_the_next_step_with_a_store_as_without_one(
    run: Way, hint: Any, value: Any
) -> None:
    class Holder(PipelineContext):
        held: Optional[hint] = None  # type: ignore[valid-type]  # noqa: UP045

    async def put(start: int, context: Holder) -> int:
        context.held = value
        return start

    async def get(start: int, context: Holder) -> bool:
        return _same(context.held, value)

    put.__annotations__["context"] = get.__annotations__["context"] = Holder
    assert run(step(put) >> step(get), 1, context=Holder).output is True


def test_the_next_step_gets_a_value_of_its_own_with_a_store() -> None:
    made: list[Doc] = []

    @step
    async def give(start: int) -> Doc:
        made.append(Doc(text="x"))
        return made[0]

    @step
    async def take(doc: Doc) -> bool:
        return doc is made[0]

    assert Flujo(give >> take, store=MemoryStore()).run(1).output is False


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_like)
def test_a_run_with_a_store_equals_a_run_without_one(value: Any) -> None:
    class Held(PipelineContext):
        last: Any = None
        history: list[Any] = []

    async def first(given: Any, context: Held) -> Any:
        context.history.append(given)
        context.last = given
        return [given]

    async def second(given: list[Any], context: Held) -> dict[str, Any]:
        context.history.append(given)
        context.last = {"seen": context.last}
        return {"out": given, "context": context.last}

    first.__annotations__["context"] = second.__annotations__["context"] = Held
    pipeline: Any = step(first) >> step(second)
    bare = Flujo(pipeline, context=Held).run(value)
    stored = Flujo(pipeline, context=Held, store=MemoryStore()).run(value)
    assert repr(bare.output) == repr(stored.output)
    assert repr(bare.context.model_dump()) == repr(stored.context.model_dump())


def test_a_model_changed_to_hold_a_wrong_value_fails_the_attempt_without_a_warning_that_shows_it() -> None:
    @step
    async def bad(start: int) -> Doc:
        doc = Doc()
        doc.tags = "CANARY"  # type: ignore[assignment]
        return doc

    with warnings.catch_warnings(record=True) as caught, pytest.raises(RunFailed, match="tags") as failed:
        warnings.simplefilter("always")
        Flujo(bad, store=MemoryStore()).run(1)
    assert isinstance(failed.value.__cause__, InvalidValue)
    assert [str(one.message) for one in caught] == [] and "CANARY" not in str(failed.value)


def test_a_context_model_changed_to_hold_a_wrong_value_fails_the_attempt_without_a_warning_that_shows_it() -> None:
    @step
    async def bad(start: int, context: State) -> int:
        context.doc.tags = "CANARY"  # type: ignore[assignment]
        return start

    with warnings.catch_warnings(record=True) as caught, pytest.raises(RunFailed, match="doc") as failed:
        warnings.simplefilter("always")
        Flujo(bad, context=State, store=MemoryStore()).run(1)
    assert isinstance(failed.value.__cause__, InvalidValue)
    assert [str(one.message) for one in caught] == [] and "CANARY" not in str(failed.value)


# ---------------------------------------------------------------------------------------------------- cost


class Large(PipelineContext):
    blob: str = ""
    rows: list[str] = []
    count: int = 0


def _sizes(records: Sequence[Record]) -> list[int]:
    return [len(record.payload) for record in records if record.kind == "step_completed"]


def test_the_record_of_a_step_does_not_grow_with_the_context() -> None:
    store = MemoryStore()

    @step
    async def bump(value: int, context: Large) -> int:
        context.count += 1
        return value

    Flujo(bump, context=Large, store=store).run(1, run_id="r", context=Large(blob="x" * 1_000_000))
    assert _sizes(asyncio.run(store.read("r")))[0] < 500


def test_a_list_append_is_journaled_as_a_delta() -> None:
    store = MemoryStore()

    async def grow(value: int, context: Large) -> int:
        context.rows.append("x" * 100)
        return value

    pipeline: Any = step(grow)
    for number in range(2, 60):
        pipeline = pipeline >> step(name=f"grow{number}")(grow)
    result = Flujo(pipeline, context=Large, store=store).run(1, run_id="r")
    assert len(result.context.rows) == 59
    assert max(_sizes(asyncio.run(store.read("r")))) < 500


# ---------------------------------------------------------------------------------------------------- attempts


def test_a_step_is_tried_as_often_as_its_retry_says_and_no_more(run: Way) -> None:
    attempts: list[int] = []

    @step(retry=Retry(attempts=3))
    async def bad(value: int, info: RunInfo) -> int:
        attempts.append(info.attempt)
        raise ValueError("no")

    with pytest.raises(RunFailed, match="after 3 attempts") as failed:
        run(bad, 1)
    assert attempts == [1, 2, 3]
    assert failed.value.result.steps[0].attempts == 3 and failed.value.result.steps[0].status == "failed"


def test_only_the_errors_that_the_retry_names_are_tried_again(run: Way) -> None:
    calls: list[int] = []

    @step(retry=Retry(attempts=5, on=(KeyError,)))
    async def bad(value: int) -> int:
        calls.append(1)
        raise KeyError if len(calls) == 1 else ValueError

    with pytest.raises(RunFailed):
        run(bad, 1)
    assert len(calls) == 2


def test_a_wrong_output_is_a_failed_attempt_that_may_be_tried_again(run: Way) -> None:
    calls: list[int] = []

    @step(retry=Retry(attempts=2))
    async def late(value: int) -> int:
        calls.append(1)
        return "no" if len(calls) == 1 else 7  # type: ignore[return-value]

    assert run(late, 1).output == 7


def test_a_timeout_is_a_failed_attempt_that_may_be_tried_again(run: Way) -> None:
    calls: list[int] = []

    @step(retry=Retry(attempts=2), timeout=0.05)
    async def late(value: int) -> int:
        calls.append(1)
        await asyncio.sleep(9 if len(calls) == 1 else 0)
        return 7

    assert run(late, 1).output == 7 and len(calls) == 2


def test_a_timeout_of_the_steps_own_is_a_plain_failure(run: Way) -> None:
    @step(timeout=9)
    async def bad(value: int) -> int:
        raise TimeoutError("mine")

    with pytest.raises(RunFailed) as failed:
        run(bad, 1)
    assert not isinstance(failed.value.__cause__, StepTimeout) and failed.value.__cause__ is not None
    assert isinstance(failed.value.__cause__.__cause__, TimeoutError)


def test_the_idempotency_key_is_equal_across_attempts_and_differs_across_steps_and_runs() -> None:
    keys: list[tuple[str, str, str]] = []

    @step(retry=Retry(attempts=2))
    async def note(value: int, info: RunInfo) -> int:
        keys.append((info.run_id, info.address, info.idempotency_key))
        if info.attempt == 1:
            raise ValueError
        return value

    flujo = Flujo(note >> note.named("other"))
    flujo.run(1, run_id="a")
    flujo.run(1, run_id="b")
    assert len(keys) == 8 and len({key for *_, key in keys}) == 4
    assert len({(run_id, address) for run_id, address, _ in keys}) == 4
    flujo.run(1, run_id="a")
    assert keys[8:] == keys[:4], "the key is a function of the run's id and the address"


def test_run_info_says_where_the_step_runs(run: Way) -> None:
    infos: list[RunInfo] = []

    @step(timeout=60)
    async def note(value: int, info: RunInfo) -> int:
        infos.append(info)
        return value

    before = time.time()
    run(note.named("a/b") >> nothing, 1, run={"run_id": "r", "tenant": "acme"})
    info = infos[0]
    assert (info.run_id, info.tenant, info.address, info.attempt) == ("r", "acme", "a%2Fb", 1)
    assert info.deadline is not None and before + 59 < info.deadline < time.time() + 61


def test_a_step_without_a_timeout_has_no_deadline(run: Way) -> None:
    @step
    async def note(value: int, info: RunInfo) -> bool:
        return info.deadline is None

    assert run(note, 1).output is True


def test_the_events_of_attempts_are_in_order_and_numbered(run: Way) -> None:
    store = MemoryStore()
    calls: list[int] = []

    @step(retry=Retry(attempts=3, backoff=0.01, jitter=0))
    async def flaky(value: int) -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("CANARY")
        return value

    run(flaky, 1, store=store, run={"run_id": "r"})
    events = [decode(record) for record in asyncio.run(store.read("r"))]
    kinds = [event.kind for event in events]
    assert kinds == [
        "run_started", "step_started", "attempt_failed", "step_started", "attempt_failed", "step_started",
        "step_completed", "run_ended",
    ]  # fmt: skip
    assert [event.sequence for event in events] == list(range(1, 9))
    assert [e.attempt for e in events if isinstance(e, StepStarted)] == [1, 2, 3]
    failed = [e for e in events if isinstance(e, AttemptFailed)]
    assert [e.attempt for e in failed] == [1, 2] and {e.error.type for e in failed} == {"ValueError"}
    assert all(e.error.message == "" for e in failed)
    assert abs(failed[0].retry_at - failed[0].at - 0.01) < 1e-6 and abs(failed[1].retry_at - failed[1].at - 0.02) < 1e-6
    completed = [e for e in events if isinstance(e, StepCompleted)]
    assert completed[0].attempt == 3 and completed[0].duration > 0


def test_the_failure_of_a_step_is_journaled_with_its_last_attempt(run: Way) -> None:
    store = MemoryStore()

    @step(retry=Retry(attempts=2))
    async def bad(value: int) -> int:
        raise KeyError("CANARY")

    with pytest.raises(RunFailed):
        run(bad, 1, store=store, run={"run_id": "r"})
    records = asyncio.run(store.read("r"))
    failed = [e for e in map(decode, records) if isinstance(e, StepFailed)]
    assert len(failed) == 1 and failed[0].attempt == 2 and failed[0].error.type == "KeyError"
    assert all(b"CANARY" not in record.payload for record in records)


def test_the_error_of_a_step_has_its_address_and_the_cause(run: Way) -> None:
    @step
    async def bad(value: int) -> int:
        raise KeyError("CANARY")

    with pytest.raises(RunFailed) as failed:
        run((nothing >> bad).named("scope"), 1)
    error = failed.value.__cause__
    assert isinstance(error, StepError) and error.address == "scope/bad" and isinstance(error.__cause__, KeyError)
    assert "KeyError" in str(error) and "CANARY" not in str(error)


# ---------------------------------------------------------------------------------------------------- functions


def test_sync_and_async_functions_methods_and_callables_are_steps(run: Way) -> None:
    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

        async def add(self, value: int) -> int:
            return value + self.n

        def add_sync(self, value: int) -> int:
            return value + self.n

    class Doubler:
        async def __call__(self, value: int) -> int:
            return value * 2

    class Tripler:
        def __call__(self, value: int) -> int:
            return value * 3

    pipeline = step(Adder(1).add) >> step(Adder(2).add_sync) >> step(Doubler()) >> step(name="t")(Tripler())
    assert run(pipeline, 1).output == 24
    assert [leaf.address for leaf in run(pipeline, 1).steps] == ["add", "add_sync", "Doubler", "t"]


def test_a_function_without_positional_parameters_ignores_its_input(run: Way) -> None:
    @step
    async def constant() -> int:
        return 7

    @step
    async def of_context(*, context: State) -> int:
        return context.count + 1

    assert run(nothing >> constant, "whatever").output == 7
    assert run(nothing >> of_context, "whatever", context=State).output == 1
    assert run(constant).output == 7


def test_parameters_are_injected_by_type_whatever_their_name_and_place(run: Way) -> None:
    class Tools(Resources):
        def __init__(self) -> None:
            self.name = "tools"

    class Better(Tools):
        pass

    @step
    async def one(value: int, where: RunInfo, things: Tools, *, memory: State, factor: int = 2) -> str:
        memory.count = value * factor
        return f"{things.name} {where.address}"

    tools = Better()
    result = run(one, 3, context=State, resources=tools)
    assert result.output == "tools one" and result.context.count == 6


def test_keyword_only_defaults_keep_their_value(run: Way) -> None:
    @step
    def one(value: int, /, extra: int = 5) -> int:
        return value + extra

    assert run(one, 1).output == 6


def test_a_step_that_takes_a_more_general_context_gets_the_runs_own(run: Way) -> None:
    class Special(State):
        owner: str = "me"

    @step
    async def general(value: int, context: State) -> str:
        context.count = 1
        return type(context).__name__

    result = run(general, 1, context=Special)
    assert result.output == "Special" and result.context.count == 1


def test_a_context_that_is_not_the_runs_is_found_before_anything_runs() -> None:
    @step
    async def needs(value: int, context: State) -> int:
        return value

    with pytest.raises(DefinitionError, match=r"'needs'.*State"):
        Flujo(needs)


def test_missing_resources_are_found_before_anything_runs() -> None:
    class Tools(Resources):
        pass

    @step
    async def needs(value: int, tools: Tools) -> int:
        return value

    with pytest.raises(DefinitionError, match=r"'needs'.*Tools"):
        Flujo(needs)
    with pytest.raises(DefinitionError, match=r"'needs'.*Tools"):
        Flujo(needs, resources=Resources())


def test_a_sync_step_sees_the_callers_context_variables(run: Way) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    @step
    def read(value: int) -> str:
        return variable.get()

    variable.set("mine")
    assert run(read, 1).output == "mine"


@pytest.mark.parametrize("raised", [StopIteration, StopAsyncIteration, ValueError, RuntimeError])
def test_whatever_a_sync_step_raises_fails_the_run(run: Way, raised: type[Exception]) -> None:
    @step
    def bad(value: int) -> int:
        raise raised("CANARY")

    with pytest.raises(RunFailed) as failed:
        run(bad, 1)
    assert failed.value.result.status == "failed" and "CANARY" not in str(failed.value)


@pytest.mark.parametrize("raised", [StopIteration, StopAsyncIteration, ExceptionGroup])
def test_whatever_an_async_step_raises_fails_the_run(run: Way, raised: Any) -> None:
    @step
    async def bad(value: int) -> int:
        raise raised("CANARY", [ValueError("CANARY")]) if raised is ExceptionGroup else raised("CANARY")

    with pytest.raises(RunFailed) as failed:
        run(bad, 1)
    assert failed.value.result.status == "failed" and "CANARY" not in str(failed.value)


def test_an_outcome_of_a_derived_class_is_that_outcome_and_no_output(run: Way) -> None:
    class TooLate(Stop):
        pass

    async def late(value: int) -> Any:
        return TooLate("after midnight")

    result = run(step(late), 1)
    assert result.status == "stopped" and result.reason == "after midnight"


def test_a_sync_function_that_gives_a_coroutine_does_not_complete_with_it(run: Way) -> None:
    """As a plain decorator around an async function does: it is awaited, or told to be async; never an output."""

    async def body(value: int) -> Any:
        return value + 1

    def wrapper(value: int) -> Any:
        return body(value)

    try:
        assert run(step(wrapper), 1).output == 2
    except RunFailed as failed:
        assert "async" in str(failed) or "coroutine" in str(failed)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_step_that_exits_does_not_leave_a_run_that_seems_to_go_on(is_async: bool) -> None:
    """``sys.exit`` in a step, as argument parsers do it; the process may well go on."""
    store = MemoryStore()

    async def leave(value: int) -> int:
        raise SystemExit(3)

    def leave_sync(value: int) -> int:
        raise SystemExit(3)

    function: Any = leave if is_async else leave_sync
    with pytest.raises((SystemExit, RunFailed)):
        Flujo(step(function), store=store).run(1)
    assert asyncio.run(store.runs())[0].status in ("failed", "cancelled")


def test_a_run_inside_a_step_that_fails_fails_the_outer_run_truthfully(run: Way) -> None:
    """The inner run's errors are, for the outer run, exceptions of a step like any other."""
    inner_store = MemoryStore()
    outer_store = MemoryStore()
    inner = Flujo(nothing, store=inner_store)

    @step
    async def nested(value: int) -> int:
        await inner.run_async(value, run_id="same")
        await inner.run_async(value + 1, run_id="same")  # RunExists, of the inner store
        return value

    with pytest.raises(RunFailed) as failed:
        run(nested, 1, store=outer_store, run={"run_id": "outer"})
    assert failed.value.result.status == "failed"
    assert asyncio.run(outer_store.runs())[0].status == "failed"


# ---------------------------------------------------------------------------------------------------- threads


def test_the_next_attempt_of_a_sync_step_waits_for_the_thread_of_the_one_that_timed_out() -> None:
    """SEMANTICS 20."""
    running = 0
    most = 0
    lock = threading.Lock()

    @step(timeout=0.05, retry=Retry(attempts=2))
    def slow(value: int, info: RunInfo) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if info.attempt == 1:
            time.sleep(0.3)
        with lock:
            running -= 1
        return value

    assert Flujo(slow).run(1).output == 1
    assert most == 1


def test_the_late_result_and_draft_of_a_timed_out_sync_step_are_dropped() -> None:
    done = threading.Event()

    @step(timeout=0.05)
    def slow(value: int, context: State) -> int:
        time.sleep(0.2)
        context.count = 99
        done.set()
        return 99

    @step
    async def wait(value: int) -> int:
        return value

    async def main() -> None:
        flujo = Flujo(slow, context=State)
        with pytest.raises(RunFailed) as failed:
            await flujo.run_async(1)
        assert isinstance(failed.value.__cause__, StepTimeout)
        await asyncio.to_thread(done.wait, 5)
        await asyncio.sleep(0.05)
        assert failed.value.result.context.count == 0 and failed.value.result.status == "failed"

    asyncio.run(main())


def test_many_sync_steps_run_side_by_side() -> None:
    barrier = threading.Barrier(8, timeout=10)

    @step
    def meet(value: int) -> int:
        barrier.wait()
        return value

    async def main() -> list[Any]:
        flujo = Flujo(meet)
        return list(await asyncio.gather(*(flujo.run_async(n) for n in range(8))))

    assert [result.output for result in asyncio.run(main())] == list(range(8))


# --------------------------------------------------------------------------------------- hooks and the transaction


def _hooks(**hooks: Callable[..., Coroutine[Any, Any, Any]]) -> dict[str, Any]:
    return hooks


@pytest.fixture(params=[False, True], ids=["bare", "stored"])
def stored(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Without and with a store."""
    return {"store": MemoryStore()} if request.param else {}


def test_what_hooks_change_is_committed_with_the_step(stored: dict[str, Any]) -> None:
    async def before(call: StepCall) -> None:
        assert isinstance(call.context, State)
        call.context.log.append("pre")

    async def after(call: StepCall, result: StepResult) -> None:
        assert isinstance(call.context, State)
        call.context.log.append("post")

    @step
    async def body(value: int, context: State) -> int:
        context.log.append("step")
        return value

    flujo = Flujo(body, context=State, pre_step_execution=before, post_step_execution=after, **stored)
    assert flujo.run(1).context.log == ["pre", "step", "post"]


def test_what_hooks_change_is_dropped_when_the_step_fails(stored: dict[str, Any]) -> None:
    async def before(call: StepCall) -> None:
        assert isinstance(call.context, State)
        call.context.log.append("pre")
        call.context.doc.text = "pre"

    @step
    async def bad(value: int) -> int:
        raise ValueError

    with pytest.raises(RunFailed) as failed:
        Flujo(bad, context=State, pre_step_execution=before, **stored).run(1)
    assert failed.value.result.context == State()


def test_each_attempt_sees_what_the_pre_hook_set_and_nothing_more(stored: dict[str, Any]) -> None:
    seen: list[list[str]] = []
    calls: list[str] = []

    async def before(call: StepCall) -> None:
        assert isinstance(call.context, State)
        calls.append("pre")
        call.context.log.append("pre")

    async def after(call: StepCall, result: StepResult) -> None:
        calls.append("post")

    @step(retry=Retry(attempts=3))
    async def flaky(value: int, context: State) -> int:
        seen.append(list(context.log))
        context.log.append("step")
        if len(seen) < 3:
            raise ValueError
        return value

    flujo = Flujo(flaky, context=State, pre_step_execution=before, post_step_execution=after, **stored)
    assert flujo.run(1).context.log == ["pre", "step"]
    assert seen == [["pre"]] * 3 and calls == ["pre", "post"]


def test_a_post_hook_that_stops_the_run_drops_the_step(stored: dict[str, Any]) -> None:
    async def after(call: StepCall, result: StepResult) -> Stop:
        return Stop("no more")

    @step
    async def body(value: int, context: State) -> int:
        context.count = 1
        return value

    result = Flujo(body, context=State, post_step_execution=after, **stored).run(1)
    assert result.status == "stopped" and result.context.count == 0 and result.reason == "no more"
    assert result.steps[0].status != "completed"


def test_a_pre_hook_may_give_the_step_another_input(stored: dict[str, Any]) -> None:
    async def before(call: StepCall) -> StepCall:
        return call.replace(step_input=call.step_input + 10)

    @step
    async def body(value: int) -> int:
        return value

    assert Flujo(body, pre_step_execution=before, **stored).run(1).output == 11


def test_an_input_of_a_pre_hook_that_does_not_fit_fails_the_step(stored: dict[str, Any]) -> None:
    ran: list[int] = []

    async def before(call: StepCall) -> StepCall:
        return call.replace(step_input="CANARY")

    @step(retry=Retry(attempts=3))
    async def body(value: int) -> int:
        ran.append(1)
        return value

    with pytest.raises(RunFailed, match="'body'") as failed:
        Flujo(body, pre_step_execution=before, **stored).run(1)
    assert ran == [] and "CANARY" not in str(failed.value) and failed.value.result.steps[0].status == "failed"


def test_an_input_of_a_pre_hook_is_validated_as_the_steps_type_says(stored: dict[str, Any]) -> None:
    async def before(call: StepCall) -> StepCall:
        return call.replace(step_input={"text": "made by a hook"})

    @step
    async def body(doc: Doc) -> str:
        return doc.text

    assert Flujo(body, pre_step_execution=before, **stored).run(Doc()).output == "made by a hook"


def test_a_post_hook_may_give_another_output_which_is_validated_again(stored: dict[str, Any]) -> None:
    async def after(call: StepCall, result: StepResult) -> StepResult:
        return result.replace(output="12")

    @step
    async def body(value: int) -> int:
        return value

    assert Flujo(body, post_step_execution=after, **stored).run(1).output == 12

    async def wrong(call: StepCall, result: StepResult) -> StepResult:
        return result.replace(output="CANARY")

    with pytest.raises(RunFailed) as failed:
        Flujo(body, post_step_execution=wrong, **stored).run(1)
    assert "CANARY" not in str(failed.value) and failed.value.result.steps[0].status == "failed"


def test_a_post_hook_that_changes_the_output_in_place_cannot_part_the_run_from_its_journal() -> None:
    store = MemoryStore()
    received: list[Doc] = []

    async def after(call: StepCall, result: StepResult) -> None:
        if isinstance(result.output, Doc):
            result.output.text = "masked"

    @step
    async def make(value: int) -> Doc:
        return Doc(text="clear")

    @step
    async def take(doc: Doc) -> int:
        received.append(doc)
        return 1

    Flujo(make >> take, post_step_execution=after, store=store).run(1, run_id="r")
    journaled = [e.output for e in map(decode, asyncio.run(store.read("r"))) if isinstance(e, StepCompleted)]
    assert received[0].model_dump() == journaled[0]


def test_a_context_value_of_a_hook_that_does_not_fit_fails_the_step(stored: dict[str, Any]) -> None:
    async def after(call: StepCall, result: StepResult) -> None:
        assert isinstance(call.context, State)
        call.context.count = "CANARY"  # type: ignore[assignment]

    @step
    async def body(value: int, context: State) -> int:
        context.log.append("x")
        return value

    with pytest.raises(RunFailed, match="count") as failed:
        Flujo(body, context=State, post_step_execution=after, **stored).run(1)
    assert "CANARY" not in str(failed.value) and failed.value.result.context == State()
    assert failed.value.result.steps[0].status == "failed"


def test_a_context_value_of_a_hook_that_the_journal_cannot_keep_fails_the_step() -> None:
    class Zoo(PipelineContext):
        animal: Animal = Animal()

    async def after(call: StepCall, result: StepResult) -> None:
        assert isinstance(call.context, Zoo)
        call.context.animal = Dog(name="rex")

    with pytest.raises(RunFailed) as failed:
        Flujo(nothing, context=Zoo, post_step_execution=after, store=MemoryStore()).run(1)
    assert failed.value.result.steps[0].status == "failed" and failed.value.result.context == Zoo()


def test_a_skipped_step_does_not_run_and_its_stand_in_is_validated(stored: dict[str, Any]) -> None:
    ran: list[int] = []
    posts: list[str] = []

    async def before(call: StepCall) -> Skip[Any] | None:
        assert isinstance(call.context, State)
        if call.step_name == "body":
            call.context.log.append("skipped")
            return Skip("5")
        return None

    async def after(call: StepCall, result: StepResult) -> None:
        posts.append(f"{result.address} {result.status}")

    @step
    async def body(value: int) -> int:
        ran.append(1)
        return value

    flujo = Flujo(body >> nothing, context=State, pre_step_execution=before, post_step_execution=after, **stored)
    result = flujo.run(1)
    assert result.output == 5 and ran == [] and result.context.log == ["skipped"]
    assert [one.status for one in result.steps] == ["skipped", "completed"]
    assert posts == ["body skipped", "nothing completed"]


def test_a_stand_in_that_does_not_fit_fails_the_step(stored: dict[str, Any]) -> None:
    async def before(call: StepCall) -> Skip[Any]:
        return Skip("CANARY")

    @step
    async def body(value: int) -> int:
        return value

    with pytest.raises(RunFailed, match="'body'") as failed:
        Flujo(body, pre_step_execution=before, **stored).run(1)
    assert "CANARY" not in str(failed.value) and failed.value.result.steps[0].status == "failed"


def test_hooks_see_the_call_as_it_is(stored: dict[str, Any]) -> None:
    calls: list[StepCall] = []
    results: list[tuple[Any, ...]] = []

    async def before(call: StepCall) -> None:
        calls.append(call)

    async def after(call: StepCall, result: StepResult) -> None:
        results.append((call.step_input, result.output, result.status, result.attempts, result.address))

    @step(name="the step")
    async def body(value: int) -> int:
        return value + 1

    flujo = Flujo(body.named("a b"), pre_step_execution=before, post_step_execution=after, **stored)
    flujo.run(1, run_id="r", tenant="t")
    call = calls[0]
    assert (call.run_id, call.tenant, call.address, call.step_name, call.step_input, call.model) == (
        "r", "t", "a%20b", "a b", 1, None,
    )  # fmt: skip
    assert isinstance(call.context, PipelineContext) and results == [(1, 2, "completed", 1, "a%20b")]


@dataclass
class Trail:
    """What happened, in order."""

    marks: list[str] = field(default_factory=list)


def test_steps_can_be_reused_in_other_pipelines_and_runs() -> None:
    trail = Trail()

    async def mark(value: int) -> int:
        trail.marks.append(str(value))
        return value + 1

    one: Step[int, int] = step(mark)
    first, second = Flujo(one >> one.named("b")), Flujo(one >> one.named("c"))
    assert first.run(1).output == second.run(1).output == first.run(1).output == 3
    assert trail.marks == ["1", "2"] * 3


# ---------------------------------------------------------------------------------------------- attempts that cost


class Careless:
    """An agent of another library that gives what is not asked for until its third answer."""

    def __init__(self, wrong: int) -> None:
        self.wrong = wrong

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[int]:
        output: Any = "many" if info.attempt <= self.wrong else 3
        return AgentReply(output, Usage(1, 10, 5, 0, Decimal("0.5")))


def test_what_failed_attempts_used_counts_in_the_result_and_in_the_journal(run: Way) -> None:
    result = run(Step.agent("ask", Careless(wrong=2), retry=Retry(attempts=3)), "x")
    assert result.usage == Usage(3, 30, 15, 0, Decimal("1.5"))


def test_what_a_step_used_that_failed_for_good_counts_too() -> None:
    store = MemoryStore()
    with pytest.raises(RunFailed) as failed:
        Flujo(Step.agent("ask", Careless(wrong=9), retry=Retry(attempts=2)), store=store).run("x", run_id="r")
    assert failed.value.result.usage == Usage(2, 20, 10, 0, Decimal("1.0"))
    assert fold(decode(one) for one in asyncio.run(store.read("r"))).usage == failed.value.result.usage


def test_a_type_whose_validator_raises_fails_the_step_on_each_way(run: Way) -> None:
    def broken(value: Any) -> Any:
        raise KeyError("CANARY")

    async def give(start: int) -> Any:
        return start

    give.__annotations__["return"] = Annotated[int, AfterValidator(broken)]
    with pytest.raises(RunFailed, match="step 'give' failed: KeyError") as failed:
        run(step(give), 1)
    assert failed.value.result.steps[0].status == "failed"
