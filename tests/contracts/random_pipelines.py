"""Random pipelines: plans drawn by hypothesis, the real nodes that they stand for, and a trace of what those do."""

from __future__ import annotations

import asyncio
import inspect
import string
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from hypothesis import strategies as st
from reference_interpreter import (
    ALWAYS,
    DEEDS,
    FIRST,
    MISSING,
    Again,
    Bag,
    Boom,
    Chain,
    Choice,
    Each,
    Failure,
    Fan,
    Leaf,
    Named,
    Plan,
    Plans,
    Question,
    combined,
    do,
    number_of,
    shaped,
    weight,
)
from typing_extensions import TypedDict

from flujo_core import (
    Branch,
    From,
    Loop,
    Map,
    Merge,
    Node,
    Parallel,
    Pipeline,
    PipelineContext,
    Retry,
    RunInfo,
    Step,
    step,
)


class Shared(PipelineContext):
    """The context of random pipelines."""

    plain: int = FIRST["plain"]
    log: Annotated[list[str], Merge.append] = [*FIRST["log"]]
    tags: Annotated[set[int], Merge.union] = {*FIRST["tags"]}
    top: Annotated[int, Merge.max] = FIRST["top"]
    score: Annotated[int, Merge(combined)] = FIRST["score"]
    table: dict[str, int] = {**FIRST["table"]}


class TypedBag(TypedDict, total=False):
    a: int
    b: int
    c: int


OUTPUTS: dict[str, Any] = {"int": int, "list": list[int], "dict": dict[str, int]}


# ------------------------------------------------------------------------------------------------------- the real nodes


@dataclass
class World:
    """What the steps of a pipeline have in common.

    Attributes:
        trace: What happened, in order: ``("begin", address, attempt)``, ``("end", ...)``, ``("asked", name)``. The
            addresses are those of ``RunInfo``, which say nothing of attempts.
        times: How often a step has begun, by its address and attempt.
        breaks_at: The number of the await that raises.
        awaits: How many there have been.
        shifts: What is added to the number that a step works with, by its address.
    """

    trace: list[tuple[Any, ...]] = field(default_factory=list)
    times: Counter[tuple[str, int]] = field(default_factory=Counter)
    breaks_at: int | None = None
    awaits: int = 0
    shifts: dict[str, int] = field(default_factory=dict)

    def clear(self, breaks_at: int | None = None) -> None:
        self.trace.clear()
        self.times.clear()
        self.awaits, self.breaks_at = 0, breaks_at

    async def nap(self) -> None:
        """Lets others run."""
        self.awaits += 1
        if self.awaits == self.breaks_at:
            raise Boom("an await")
        await asyncio.sleep(0)


class Items:
    """A context's fields as items, as ``do`` changes them."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getitem__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._context, name, value)


def built(plans: Plans, world: World) -> Pipeline[Any, Any]:
    """The pipeline that plans stand for."""
    return _sequence(plans, int, world)


def _sequence(plans: Plans, takes: Any, world: World) -> Pipeline[Any, Any]:
    nodes: list[Node[Any, Any]] = []
    for plan in plans:
        nodes.append(_node(plan, takes, world))
        takes = nodes[-1].gives
    return Pipeline(None, tuple(nodes))


def _node(plan: Plan, takes: Any, world: World) -> Node[Any, Any]:
    node = _bare(plan, takes, world)
    if plan.attempts > 1:
        node = node.policy(retry=Retry(attempts=plan.attempts))
    if plan.fallback:
        node = node.policy(fallback=_sequence(plan.fallback, node.takes, world))
    return node


def _bare(plan: Plan, takes: Any, world: World) -> Node[Any, Any]:
    match plan:
        case Leaf():
            return _leaf(plan, takes, world)
        case Chain():
            return _sequence(plan.nodes, takes, world).named(plan.name)
        case Fan():
            return Parallel(
                plan.name, {name: _sequence(nodes, takes, world) for name, nodes in plan.branches},
                into={"model": Bag, "typed": TypedBag, None: None}[plan.into],  # type: ignore[arg-type]
                max_concurrency=plan.max_concurrency, on_error=plan.on_error,
            )  # fmt: skip
        case Each():
            return _map(plan, takes, world)
        case Again():
            body, until = _sequence(plan.nodes, takes | int, world), _asking(plan.until, int, plan.name, world)
            return Loop(
                plan.name, body, until=lambda value, context: until(value, context) == 0,
                max_iterations=plan.max_iterations, on_exhausted=plan.on_exhausted,
            )  # fmt: skip
    asked: Any = Branch(plan.name, on=_asking(plan.on, takes, plan.name, world))
    for name, nodes in plan.cases:
        body = _sequence(nodes, takes, world)
        asked = asked.default(body) if name == "~default" else asked.case(int(name), body)
    made: Branch[Any, Any, Any] = asked
    return made


def _asking(question: Question, takes: Any, name: str, world: World) -> Callable[..., int]:
    def ask(value: Any, context: Any) -> int:
        world.trace.append(("asked", name))
        return question.number(value, Items(context))  # type: ignore[arg-type]

    ask.__annotations__ = {"value": takes, "context": Shared, "return": int}
    return ask


def _map(plan: Each, takes: Any, world: World) -> Map[Any, Any]:
    item: Any = list[int] if plan.lists else int

    def over(value: Any, after: str | None = None) -> Any:
        if plan.raises and weight(value) % plan.raises == 0:
            raise Boom("over")
        return source(plan.items(value), after) if plan.source == "async" else plan.items(value)

    async def source(items: list[Any], after: str | None) -> AsyncIterator[Any]:
        keys = [plan.key(one) if plan.keyed else str(number) for number, one in enumerate(items)]
        for number, one in [*enumerate(items)][keys.index(after) + 1 if after is not None else 0 :]:
            for _ in range(number % 3):
                await world.nap()
            yield one

    kind = AsyncIterator if plan.source == "async" else list
    over.__annotations__ = {"value": takes, "after": str | None, "return": kind[item]}
    return Map(
        plan.name, _sequence(plan.nodes, item, world), over=None if plan.source == "input" else over,
        key=plan.key if plan.keyed else None, max_concurrency=plan.max_concurrency, on_error=plan.on_error,
    )  # type: ignore[arg-type, misc, return-value]  # fmt: skip


def _leaf(leaf: Leaf, takes: Any, world: World) -> Step[Any, Any]:
    """A step whose signature says what the leaf takes."""
    names = [f"named_{index}" for index in range(len(leaf.named))]

    def begin(value: Any, given: dict[str, Any]) -> tuple[Any, int]:
        place = (given["info"].address, given["info"].attempt)
        world.trace.append(("begin", *place))
        world.times[place] += 1
        named = [given.get(name, MISSING) for name in names]
        number = number_of(leaf, value, Items(given["context"]).__getitem__, named)
        number += world.shifts.get(given["info"].address, 0)
        if leaf.spoils:
            for one in [value, *named]:
                _spoil(one)
        for deed in leaf.deeds:
            do(deed, Items(given["context"]), number)  # type: ignore[arg-type]
        return given["info"], number

    def end(info: RunInfo, number: int) -> Any:
        world.trace.append(("end", info.address, info.attempt))
        if leaf.fails and leaf.fails.fits(number, info.attempt, world.times[info.address, info.attempt]):
            if leaf.fails.how == "raise":
                raise Boom("on purpose")
            return "no such type"
        return shaped(number, leaf.gives)

    async def act(value: Any = None, **given: Any) -> Any:
        info, number = begin(value, given)
        try:
            for _ in range(leaf.naps_for(number)):
                await world.nap()
        finally:
            for _ in range(leaf.tidies):
                await world.nap()
        return end(info, number)

    def act_at_once(value: Any = None, **given: Any) -> Any:
        return end(*begin(value, given))

    return step(_signed(act_at_once if leaf.is_sync else act, leaf, takes, names)).named(leaf.name)


def _signed(function: Any, leaf: Leaf, takes: Any, names: Sequence[str]) -> Any:
    hints: dict[str, Any] = {} if leaf.ignores_input else {"value": takes}
    hints |= {"context": Shared, "info": RunInfo}
    for name, one in zip(names, leaf.named, strict=True):
        hints[name] = Annotated[Any, From(one.source, path=one.path)]
    defaults = {name: MISSING for name, one in zip(names, leaf.named, strict=True) if one.has_default}
    kinds = inspect.Parameter
    function.__annotations__ = {**hints, "return": OUTPUTS[leaf.gives]}
    function.__signature__ = inspect.Signature([
        kinds(name, kinds.POSITIONAL_OR_KEYWORD if name == "value" else kinds.KEYWORD_ONLY,
              default=defaults.get(name, kinds.empty))
        for name in hints
    ])  # fmt: skip
    return function


def _spoil(value: Any) -> None:
    """Changes a value in place, where that is possible."""
    match value:
        case list():
            value.append(4711)
        case dict():
            value["spoilt"] = 4711
        case Bag():
            value.a = 4711


# ------------------------------------------------------------------------------------------------------------ drawing


@dataclass(frozen=True)
class Wishes:
    """What may be drawn.

    Attributes:
        depth: How deep nodes are nested.
        width: How many nodes a scope has at most.
        failures: Whether leaves and questions may fail.
        policies: Whether there are retries and fallbacks.
        sync: Whether there are steps in threads.
        tidies: How often a step lets others run when it is cancelled, at most.
    """

    depth: int = 2
    width: int = 3
    failures: bool = True
    policies: bool = True
    sync: bool = True
    tidies: int = 0


@st.composite
def pipelines(draw: st.DrawFn, wishes: Wishes = Wishes()) -> Plans:
    """Plans of a pipeline that takes an int."""
    return _wired(draw, _Drawing(draw, wishes).sequence(wishes.depth, "int"))


class _Drawing:
    """Draws the tree of plans, without named inputs.

    Attributes:
        in_doubt: Whether what is drawn may be cancelled by a sibling, so that it may run again without having begun,
            or be left running in its thread.
    """

    def __init__(self, draw: st.DrawFn, wishes: Wishes) -> None:
        self.draw = draw
        self.wishes = wishes
        self.in_doubt = False

    def one(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def rarely(self) -> bool:
        return self.number(0, 3) == 3

    def sequence(self, depth: int, gives: str | None) -> Plans:
        """A scope's nodes; ``gives`` is ``int``, or None for any type."""
        plans: list[Plan] = []
        letters = iter(string.ascii_lowercase)
        for _ in range(self.number(1, self.wishes.width)):
            plan = self.plan(depth, next(letters))
            before = plans[-1] if plans else None
            if isinstance(plan, Each) and isinstance(before, Leaf) and before.gives == "list" and not plan.lists:
                plan = replace(plan, source="input", raises=0)
            plans.append(plan)
        if gives == "int" and not _gives_int(plans[-1]):
            plans.append(self.leaf(next(letters), gives="int"))
        return tuple(plans)

    def plan(self, depth: int, name: str) -> Plan:
        if depth == 0:
            return self.leaf(name)
        made = self.one(self.leaf, self.chain, self.fan, self.each, self.again, self.choice)
        return self.leaf(name) if made == self.leaf else self.with_policies(made(depth - 1, name), depth - 1)

    def leaf(self, name: str, gives: Any = None) -> Leaf:
        some_deeds = st.lists(st.sampled_from(DEEDS), max_size=2)
        made = Leaf(
            name, self.number(0, 20), gives or self.one("int", "int", "list", "dict"), tuple(self.draw(some_deeds)),
            reads=tuple(self.draw(st.lists(st.sampled_from(sorted(FIRST)), max_size=2))),
            fails=self.failure(), is_sync=self.wishes.sync and not self.in_doubt and self.number(0, 6) == 6,
            ignores_input=self.number(0, 9) == 9, spoils=self.rarely(), naps=self.number(0, 3),
            tidies=self.number(0, self.wishes.tidies),
        )  # fmt: skip
        if not self.wishes.policies or made.fails is None:
            return made
        made = replace(made, attempts=self.number(1, 3))
        return replace(made, fallback=(replace(self.leaf("z", gives=made.gives), fallback=()),)) if self.one(
            False, False, True
        ) else made  # fmt: skip

    def failure(self) -> Failure | None:
        if not self.wishes.failures or self.number(0, 5) < 5:
            return None
        times = self.one(1, 2, ALWAYS) if not self.in_doubt else ALWAYS
        return Failure(self.one("raise", "wrong"), self.one(1, 2, 3), self.one(1, 2, ALWAYS), times)

    def with_policies(self, plan: Any, depth: int) -> Plan:
        if not self.wishes.policies or not self.rarely():
            return plan  # type: ignore[no-any-return]
        plan = replace(plan, attempts=self.number(1, 3))
        if _gives_int(plan) and self.one(False, True):
            plan = replace(plan, fallback=self.sequence(min(depth, 1), "int"))
        return plan  # type: ignore[no-any-return]

    def chain(self, depth: int, name: str) -> Chain:
        return Chain(name, self.sequence(depth, None))

    def fan(self, depth: int, name: str) -> Fan:
        into = self.one(None, None, "model", "typed")
        on_error = self.one("cancel", "collect")
        with self.doubting(on_error == "cancel"):
            names = self.one("ab", "abc", "ba", "c")
            branches = tuple((branch, self.sequence(depth, "int" if into else None)) for branch in names)
        return Fan(name, branches, into, on_error, self.one(None, None, 1, 2))

    def each(self, depth: int, name: str) -> Each:
        on_error, keyed = self.one("cancel", "collect"), self.one(0, 0, 997, 997, 2 if self.wishes.failures else 0)
        with self.doubting(on_error == "cancel" or keyed == 2):
            nodes = self.sequence(depth, None)
        return Each(
            name, nodes, self.one("list", "async"), self.number(0, 4), keyed, self.one(False, False, True),
            self.raises(), on_error, self.one(None, None, 1, 2),
        )  # fmt: skip

    @contextmanager
    def doubting(self, doubt: bool) -> Iterator[None]:
        before, self.in_doubt = self.in_doubt, self.in_doubt or doubt
        yield
        self.in_doubt = before

    def raises(self) -> int:
        return self.one(0, 0, 0, 0, 0, 0, 2) if self.wishes.failures else 0  # type: ignore[no-any-return]

    def question(self, modulus: int) -> Question:
        return Question(modulus, self.one(None, None, *sorted(FIRST)), self.raises())

    def again(self, depth: int, name: str) -> Again:
        on_exhausted = self.one("return", "fail") if self.wishes.failures else "return"
        nodes = self.sequence(depth, "int")
        return Again(name, nodes, self.question(self.number(1, 3)), self.number(1, 3), on_exhausted)

    def choice(self, depth: int, name: str) -> Choice:
        last = self.one("~default", "2") if self.wishes.failures else "~default"
        cases = self.one(("0", last), ("0", "1", last))
        return Choice(name, tuple((case, self.sequence(depth, "int")) for case in cases), self.question(3))


def _gives_int(plan: Plan) -> bool:
    match plan:
        case Leaf():
            return plan.gives == "int"
        case Chain():
            return _gives_int(plan.nodes[-1])
        case Again() | Choice():
            return True
    return False


# ------------------------------------------------------------------------------------------------------- named inputs


@dataclass(frozen=True)
class _Place:
    """A scope, for looking names up: its plans, those that have run, what it belongs to, and the scope around it."""

    plans: Plans
    ran: frozenset[str]
    owner: str
    around: _Place | None


def _wired(draw: st.DrawFn, plans: Plans, owner: str = "", around: _Place | None = None) -> Plans:
    """The plans with some named inputs in their leaves."""
    done: list[Plan] = []
    ran: frozenset[str] = frozenset()
    for plan in plans:
        place = _Place(plans, ran, owner, around)
        ran |= {plan.name}
        made: Any = plan
        if isinstance(plan, Leaf):
            made = replace(plan, named=_some(draw, place))
        elif isinstance(plan, Fan):
            made = replace(plan, branches=tuple((key, _wired(draw, one, "", place)) for key, one in plan.branches))
        elif isinstance(plan, Choice):
            made = replace(plan, cases=tuple((key, _wired(draw, one, "", place)) for key, one in plan.cases))
        else:
            inner = {Each: "map", Again: "loop"}.get(type(plan), "")
            made = replace(plan, nodes=_wired(draw, plan.nodes, inner, place))
        if plan.fallback:
            made = replace(made, fallback=_wired(draw, plan.fallback, "", place))
        done.append(made)
    return tuple(done)


def _some(draw: st.DrawFn, place: _Place) -> tuple[Named, ...]:
    count = draw(st.sampled_from((0, 0, 0, 1, 2)))
    return tuple(draw(st.lists(st.sampled_from(_sources(place)), max_size=count, unique=True)))


def _sources(place: _Place) -> list[Named]:
    """All that a leaf can name."""
    found = [Named("~run_input")]
    at: _Place | None = place
    has_entry, hidden = False, set[str]()
    while at is not None:
        has_entry = has_entry or bool(at.owner)
        for plan in at.plans:
            if plan.name in hidden or (plan.name not in at.ran and at.owner != "loop"):
                continue
            found += _below(plan, plan.name, has_default=plan.name not in at.ran)
        hidden |= {plan.name for plan in at.plans}
        at = at.around
    return [*found, Named("~scope_input")] if has_entry else found


def _below(plan: Plan, source: str, has_default: bool, depth: int = 2) -> list[Named]:
    """A node, and what in it can be named."""
    found = [Named(source, has_default)]
    if isinstance(plan, Fan) and plan.into == "model":
        found.append(Named(source, has_default, plan.branches[0][0]))
    if depth == 0 or isinstance(plan, Leaf | Each):
        return found
    inner_default = has_default or bool(plan.fallback) or isinstance(plan, Choice)
    scopes: list[tuple[str, Plans]] = []
    match plan:
        case Fan():
            scopes = [(f"[{name}]", nodes) for name, nodes in plan.branches]
        case Choice():
            scopes = [(f"[{name}]", nodes) for name, nodes in plan.cases]
        case Chain() | Again():
            scopes = [("", plan.nodes)]
    for segment, nodes in scopes:
        for one in nodes:
            found += _below(one, f"{source}{segment}/{one.name}", inner_default, depth - 1)
    return found


# ------------------------------------------------------------------------------------------------------------ driving


class Leaks(list[dict[str, Any]]):
    """What the event loop complained of."""


async def settled(main: Any, leaks: Leaks) -> Any:
    """What ``main`` gives, after checking that it has left no task behind."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, about: leaks.append(about))
    try:
        return await main
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        for task in left:
            with suppress(BaseException):
                await task
        assert not left, f"tasks were left: {left}"
