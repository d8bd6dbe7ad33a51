"""A value after a resume is the value before it, or it was refused when it was made; never another one.

SEMANTICS 3: the next step gets what was decoded from the journal's bytes, so live and resumed cannot differ; and a
value whose concrete type the declared one would not restore fails the attempt.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import pytest
from crash_kit import Dying, done, durable
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Discriminator, Field, PrivateAttr, Tag, computed_field, create_model
from pydantic.errors import PydanticUserError
from typing_extensions import TypedDict

from flujo_core import DefinitionError, InvalidValue, Map, MemoryStore, PipelineContext, RunFailed, step

T = TypeVar("T")


class Base(BaseModel):
    x: int = 1


class Sub(Base):
    y: str = "y"


class SubWithoutMore(Base):
    """Has the same fields: JSON cannot tell it from its base."""


class Twin(BaseModel):
    x: int = 1


class Box(BaseModel, Generic[T]):
    item: T


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = 1


class Hiding(BaseModel):
    x: int = 1
    hidden: int = Field(default=0, exclude=True)


class Private(BaseModel):
    x: int = 1
    _secret: int = PrivateAttr(default=0)


class Aliased(BaseModel):
    x: int = Field(alias="X")


class Renamed(BaseModel):
    x: int = Field(serialization_alias="X", default=0)


class Computing(BaseModel):
    x: int = 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.x * 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    x: int = 1


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    x: int = 1


class Colour(Enum):
    RED = "red"
    ONE = 1


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    ONE = "one"


class Name(str):
    __slots__ = ()


class Count(int):
    pass


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Plain:
    x: int = 1


@dataclass
class More(Plain):
    y: int = 2


class Table(TypedDict, total=False):
    x: int


class Holder(BaseModel):
    base: Base = Base()
    bases: list[Base] = []
    anything: Any = None


def private(secret: int) -> Private:
    made = Private()
    made._secret = secret
    return made


PAIRS: list[tuple[Any, Any]] = [
    (Base, Base(x=2)), (Base, Sub()), (Base, SubWithoutMore()), (Base, Twin()), (Base, {"x": 3}),
    (Base | Twin, Twin()), (Twin | Base, Twin()), (Base | Twin, Base()), (Base | Sub, Sub()), (Sub | Base, Base()),
    (Base | Sub, SubWithoutMore()),
    (Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator("kind")], Dog()),
    (Cat | Dog, Dog()), (Box[int], Box[int](item=1)), (Box[int], Box(item=1)), (Box[Base], Box[Base](item=Sub())),
    (Box, Box(item=(1, 2))), (Loose, Loose(z=(1,))), (Loose, Loose(z=Base())), (Hiding, Hiding(hidden=5)),
    (Private, private(5)), (Private, private(0)), (Aliased, Aliased(X=3)), (Renamed, Renamed(x=3)),
    (Computing, Computing(x=3)), (BaseModel, Base()), (Holder, Holder(base=Sub())), (Holder, Holder(bases=[Sub()])),
    (Holder, Holder(anything=Base())), (Holder, Holder(anything=(1, 2))), (Holder, Holder()), (Base | None, Sub()),
    (Base | None, None), (Any, Base()), (object, Base()), (Any, (1, 2)), (object, (1, [2, (3,)])), (list[int], (1, 2)),
    (tuple[int, ...], (1, 2)), (tuple[int, ...], [1, 2]), (tuple[int, str], (1, "a")), (list, (1,)), (list, [(1,)]),
    (dict, {"a": (1,)}), (dict, {1: 2}), (Sequence[int], (1, 2)), (Sequence[int], [1, 2]),
    (list[int] | tuple[int, ...], (1, 2)), (tuple[int, ...] | list[int], [1]), (set[int], {1, 2}),
    (frozenset[int], frozenset({1})), (set[int] | list[int], {1}), (list[int] | set[int], {1}), (Any, {1, 2}),
    (Any, {1: "a"}), (dict[int, str], {1: "a"}), (dict[str, Base], {"a": Sub()}), (dict[Any, int], {1: 2}),
    (dict[tuple[int, int], str], {(1, 2): "a"}), (deque[int], deque([1])), (list[int], deque([1])), (Any, deque([1])),
    (OrderedDict[str, int], OrderedDict(b=1, a=2)), (dict[str, int], OrderedDict(b=1)),
    (dict[str, int], defaultdict(int, a=1)), (Counter[str], Counter("ab")), (dict[str, int], Counter("ab")),
    (dict[str, int], {"b": 1, "a": 2}), (int, 1), (int, True), (bool, True), (int | bool, True), (int, Count(3)),
    (Count, Count(3)), (float, 1), (float, 1.5), (float, math.inf), (float, -math.inf), (float, math.nan),
    (Any, math.inf), (int | float, 1.0), (float | int, 1), (int | str, "1"), (str | int, 1),
    (str, "é\u2028\U0001f600"), (str, Name("n")), (str, Word.ONE), (int, Number.ONE), (Any, Number.ONE),
    (Any, Word.ONE), (Any, Colour.RED), (Colour, Colour.ONE), (Number, Number.ONE), (Word, Word.ONE),
    (Colour | str, "red"), (str | Colour, Colour.RED), (str | Word, Word.ONE), (Literal[1, "1"], "1"),
    (Literal["a"] | int, "a"), (bytes, b"\xff\x00"), (bytes, b"abc"), (Any, b"abc"), (bytes | str, b"abc"),
    (str | bytes, b"abc"), (bytearray, bytearray(b"a")), (Decimal, Decimal("1.10")), (Any, Decimal("1.10")),
    (Decimal | float, 1.5), (float | Decimal, Decimal("1.5")), (Fraction, Fraction(1, 3)), (complex, 1 + 2j),
    (int, 10**40), (float, 5e-324), (Decimal, Decimal("NaN")), (datetime, datetime(2026, 1, 2, 3, 4, 5, 6)),
    (datetime, datetime(2026, 1, 2, tzinfo=UTC)),
    (datetime, datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30)))), (date, date(2026, 1, 2)),
    (date, datetime(2026, 1, 2, 3)), (date | datetime, datetime(2026, 1, 2)), (datetime | date, date(2026, 1, 2)),
    (str | datetime, datetime(2026, 1, 2)), (datetime | str, "2026-01-02T00:00:00"), (time, time(1, 2, 3, 4)),
    (timedelta, timedelta(days=1, microseconds=1)), (Any, datetime(2026, 1, 2)), (Any, UUID(int=5)),
    (UUID, UUID(int=5)), (UUID | str, str(UUID(int=5))), (str | UUID, UUID(int=5)), (Path, Path("/a/b")),
    (Any, Path("/a/b")), (PurePosixPath, PurePosixPath("a")), (Point, Point(1, 2)), (Any, Point(1, 2)),
    (tuple[int, int], Point(1, 2)), (tuple, (1, (2,))), (Plain, Plain(3)), (Plain, More()), (Any, Plain()),
    (Plain | More, More()), (Table, {"x": 1}), (Table, {"x": 1, "z": 2}), (None, None), (Any, None),
    (Any, [1, "a", None, 1.5, {"b": [True]}]), (type(None) | int, 0),
]  # fmt: skip


def described(value: Any) -> Any:
    """All that can be seen of a value: its type, and what is in it."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, BaseModel):
        seen = {**value.__dict__, **(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})}
        return kind, [(name, described(part)) for name, part in sorted(seen.items())]
    if is_dataclass(value):
        return kind, [(one.name, described(getattr(value, one.name))) for one in fields(value)]
    if isinstance(value, dict):
        return kind, [(described(key), described(part)) for key, part in value.items()]
    if isinstance(value, set | frozenset):
        return kind, sorted(map(repr, map(described, value)))
    if isinstance(value, list | tuple | deque):
        return kind, [described(part) for part in value]
    return kind, repr(value)


def wrapped(pair: tuple[Any, Any], wrap: str) -> tuple[Any, Any]:
    declared, value = pair
    match wrap:
        case "list":
            return list[declared], [value, value]
        case "dict":
            return dict[str, declared], {"k": value}  # type: ignore[valid-type]
        case "optional":
            return declared | None if declared is not None else declared, value
        case "tuple":
            return tuple[declared, int], (value, 1)
        case "model":
            model = create_model("Around", it=(declared, ...))
            return model, model.model_construct(it=value)
    return pair


WRAPS = ("", "", "", "list", "dict", "tuple", "model", "optional")
SETTINGS = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], report_multiple_bugs=False)


def declaring(function: Any, **hints: Any) -> Any:
    function.__annotations__ = hints
    return function


def pipeline(place: str, declared: Any, value: Any, seen: list[Any]) -> tuple[Any, Any, Any]:
    """A pipeline in which the value comes to step ``look`` in some way; its input; and its context."""

    async def make(given: Any) -> Any:
        return value

    async def look(it: Any) -> int:
        seen.append(described(it))
        return 1

    async def same(given: Any) -> Any:
        return given

    looking = step(name="look")(declaring(look, it=declared, **{"return": int}))
    making = step(name="make")(declaring(make, given=object, **{"return": declared}))
    match place:
        case "output":
            return making >> looking, 1, PipelineContext
        case "input":
            return looking, value, PipelineContext
        case "item":

            async def items(given: Any) -> Any:
                return [value]

            several = step(name="make")(declaring(items, given=object, **{"return": list[declared]}))
            return several >> Map("each", looking), 1, PipelineContext
        case "loop":  # through a step whose output is the next one's input, twice
            passing = step(name="pass")(declaring(same, given=declared, **{"return": declared}))
            return making >> passing >> looking, 1, PipelineContext
    context = create_model("Held", __base__=PipelineContext, it=(Any if declared is None else declared | None, None))

    async def put(given: Any, context: Any) -> int:
        context.it = value
        return 1

    async def get(given: Any, context: Any) -> int:
        seen.append(described(context.it))
        return 1

    putting = step(name="put")(declaring(put, given=object, context=context, **{"return": int}))
    getting = step(name="get")(declaring(get, given=object, context=context, **{"return": int}))
    return putting >> getting, 1, context


async def each_way(place: str, declared: Any, value: Any) -> str:
    """Runs it undisturbed, and once for each place at which it can die and be resumed; all must see the same."""
    seen: list[Any] = []
    try:
        node, start, context = pipeline(place, declared, value, seen)
        count = Dying()
        flujo = durable(node, count, context=context)
    except (DefinitionError, TypeError, PydanticUserError):
        return "no such step"
    try:
        await flujo.run_async(start, run_id="r")
    except (RunFailed, InvalidValue):  # of the run's input: there was no run
        assert not seen, "it was seen, and refused afterwards"
        return "refused"
    except PydanticUserError:  # the context's class is built when it is first used
        return "no such context"
    (live,) = seen
    for at in range(1, count.writes):
        seen.clear()
        kept = MemoryStore()
        with suppress(Exception):  # it dies of its store, which raises in whatever way
            await durable(node, Dying(kept, at), context=context).run_async(start, run_id="r")
        result = await durable(node, kept, context=context).resume_async("r")
        assert result.status == "completed"
        assert all(one == live for one in seen), f"after a crash at write {at} it is another value"
        assert seen, "it was not seen"
    return "equal"


@given(st.sampled_from(PAIRS), st.sampled_from(WRAPS), st.sampled_from(("output", "input", "item", "loop", "context")))
@SETTINGS
def test_a_value_is_refused_or_equal_and_never_different_after_a_resume(pair: Any, wrap: str, place: str) -> None:
    try:
        declared, value = wrapped(pair, wrap)
    except (TypeError, PydanticUserError):
        return
    event(f"{place}: {done(each_way(place, declared, value))}")


@pytest.mark.parametrize("place", ["output", "item", "loop", "context"])
@pytest.mark.parametrize(("declared", "value"), [
    (Base, Sub()), (Base, SubWithoutMore()), (list[Base], [Base(), Sub()]), (dict[str, Base], {"a": Sub()}),
    (Base | None, Sub()), (Holder, Holder(base=Sub())), (Plain, More()), (tuple[Base, int], (Sub(), 1)),
], ids=str)  # fmt: skip
def test_a_subclass_where_the_base_is_declared_is_refused(place: str, declared: Any, value: Any) -> None:
    assert done(each_way(place, declared, value)) == "refused"


@pytest.mark.parametrize("place", ["output", "input", "item", "loop", "context"])
@pytest.mark.parametrize(("declared", "value"), [
    (list[int], [1, 2]), (tuple[int, str], (1, "a")), (set[int], {3, 1}), (dict[int, str], {1: "a"}), (Base, Base(x=5)),
    (bytes, b"abc"), (Decimal, Decimal("1.10")), (datetime, datetime(2026, 1, 2, tzinfo=UTC)), (Colour, Colour.ONE),
    (Point, Point(1, 2)), (Plain, Plain(3)), (int | str, "1"), (float, 1.5), (Holder, Holder(bases=[Base()])),
], ids=str)  # fmt: skip
def test_a_value_of_its_declared_type_comes_back(place: str, declared: Any, value: Any) -> None:
    assert done(each_way(place, declared, value)) == "equal"


def test_a_tuple_where_a_list_is_declared_is_a_list_for_the_next_step_at_once() -> None:
    seen: list[Any] = []
    node, start, context = pipeline("output", list[int], (1, 2), seen)
    done(durable(node, MemoryStore(), context=context).run_async(start))
    assert seen == [described([1, 2])]
