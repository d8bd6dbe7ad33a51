"""200 random edits of the code under a paused run: it goes on rightly, or is refused. Never silently otherwise.

A pipeline is built from plain data, so an edit is an edit of data. Each body writes its name (and which version of the
code it is) behind its input, so an output tells which steps ran, in which order, with which code. A naive interpreter
says what must come out: what was recorded stays, what was not is run by the new code.

Where SEMANTICS 9 leaves no choice, the run must go on, or must be refused; else either will do, but nothing in between:
"closed" steps can never run again, "open" ones are in the loop in which the run waits, the rest are "future".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeAlias

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from flujo_core import (
    Flujo,
    From,
    Loop,
    MemoryStore,
    Node,
    Pipeline,
    PluginSettings,
    RunInfo,
    Settings,
    Step,
    step,
)
from flujo_core.errors import AlreadyAnswered, DefinitionError, IncompatiblePipeline
from flujo_core.model.outcome import PauseForHumanInput

ALONE = Settings(PluginSettings(allow=()))
ROUNDS = 2
"""How many iterations the loop has."""

Type: TypeAlias = Literal["str", "either", "int", "list"]
Migration: TypeAlias = Literal["same", "marked"]
TYPES: dict[str, Any] = {"str": str, "either": str | int, "int": int, "list": list[str]}


@dataclass(frozen=True)
class Leaf:
    """A step; ``uid`` stays whatever it is called."""

    uid: int
    name: str
    code: str = ">"
    gives: Type = "str"
    version: str = "1"
    was: str | None = None
    migration: Migration | None = None
    asks: bool = False


@dataclass(frozen=True)
class Plan:
    """A pipeline: steps before, the place where it waits, steps after, and one at the end that takes some of them.

    Attributes:
        body: The steps around the one that asks; in a loop if ``loops``.
        taken: The uids of steps before that the last one takes by name.
    """

    before: tuple[Leaf, ...]
    body: tuple[Leaf, ...]
    after: tuple[Leaf, ...]
    loops: bool
    taken: tuple[int, ...]

    def leaves(self) -> tuple[Leaf, ...]:
        return (*self.before, *self.body, *self.after)

    def leaf(self, uid: int) -> Leaf:
        return next(one for one in self.leaves() if one.uid == uid)


# --------------------------------------------------------------------------------------------------- what it stands for


def shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def text(leaf: Leaf, value: Any) -> str:
    return f"{shown(value)}{leaf.code}{leaf.name}"


def shaped(leaf: Leaf, made: str) -> Any:
    return {"str": made, "either": made, "int": len(made), "list": [made]}[leaf.gives]


def migrated(old: Any) -> Any:
    return f"{shown(old)}~"


# three bodies with three sources, as an author would leave them


def _first(leaf: Leaf, ran: list[str]) -> Any:
    async def act(value: Any, info: RunInfo) -> Any:
        ran.append(info.address)
        return shaped(leaf, text(leaf, value))

    return act


def _second(leaf: Leaf, ran: list[str]) -> Any:
    async def act(value: Any, info: RunInfo) -> Any:
        made = text(leaf, value)
        ran.append(info.address)
        return shaped(leaf, made)

    return act


def _third(leaf: Leaf, ran: list[str]) -> Any:
    async def act(value: Any, *, info: RunInfo) -> Any:
        ran.append(info.address)
        if value is None:
            raise ValueError("nothing came")
        return shaped(leaf, text(leaf, value))

    return act


BODIES: dict[str, Callable[[Leaf, list[str]], Any]] = {">": _first, "+": _second, "*": _third}


def built(plan: Plan, ran: list[str]) -> Pipeline[Any, Any]:
    body: list[Node[Any, Any]] = [_step(one, ran) for one in plan.body]
    if plan.loops:
        nodes = Pipeline(None, tuple(body))
        body = [Loop("again", nodes, until=lambda value: False, max_iterations=ROUNDS, on_exhausted="return")]
    before, after = ([_step(one, ran) for one in part] for part in (plan.before, plan.after))
    return Pipeline(None, (*before, *body, *after, _end(plan, ran)))


def _step(leaf: Leaf, ran: list[str]) -> Step[Any, Any]:
    if leaf.asks:
        made = _asking(leaf, ran)
    else:
        act = BODIES[leaf.code](leaf, ran)
        act.__annotations__ = {"value": Any, "info": RunInfo, "return": TYPES[leaf.gives]}
        made = step(name=leaf.name)(act)
    changes: dict[Migration | None, Any] = {None: None, "same": {"1": None}, "marked": {"1": migrated}}
    return made.policy(version=leaf.version, was=leaf.was, migrations=changes[leaf.migration])


def _asking(leaf: Leaf, ran: list[str]) -> Any:
    async def ask(value: Any, info: RunInfo) -> str | PauseForHumanInput[str]:
        ran.append(info.address)
        return PauseForHumanInput(f"What of {shown(value)}?", str)

    return step(name=leaf.name)(ask)


def _end(plan: Plan, ran: list[str]) -> Any:
    names = [plan.leaf(uid).name for uid in plan.taken]

    async def end(value: Any, one: Any = "-", two: Any = "-", *, info: RunInfo) -> Any:
        ran.append(info.address)
        return "|".join(map(shown, [value, one, two]))

    hints: dict[str, Any] = {"value": Any, "info": RunInfo, "return": str}
    if not names:

        async def bare(value: Any, info: RunInfo) -> str:
            made: str = await end(value, info=info)
            return made

        return step(name="end")(bare)

    async def taking_one(value: Any, *, one: Any, info: RunInfo) -> str:
        made: str = await end(value, one, info=info)
        return made

    async def taking_two(value: Any, *, one: Any, two: Any, info: RunInfo) -> str:
        made: str = await end(value, one, two, info=info)
        return made

    function: Any = taking_one if len(names) == 1 else taking_two
    hints |= {"one": Annotated[Any, From(names[0])]}
    if len(names) == 2:
        hints |= {"two": Annotated[Any, From(names[1])]}
    function.__annotations__ = hints
    return step(name="end")(function)


# ----------------------------------------------------------------------------------------------------- what must happen


@dataclass
class Known:
    """What a run has recorded: outputs by uid and iteration (0 outside the loop), and the questions it has asked."""

    outputs: dict[tuple[int, int], Any] = field(default_factory=dict)
    asked: set[tuple[int, int]] = field(default_factory=set)


@dataclass
class Told:
    """What the interpreter found: the output (None if it waits), and which bodies ran, by address."""

    output: str | None
    ran: list[str]


class Waits(Exception):
    """There is no answer."""


def interpreted(plan: Plan, known: Known, answers: dict[int, str]) -> Told:
    """Runs a plan beside what is recorded; ``answers`` are by iteration; what it does is recorded in turn."""
    ran: list[str] = []

    def one(leaf: Leaf, value: Any, place: int) -> Any:
        address = f"again[{place}]/{leaf.name}" if place else leaf.name
        if (leaf.uid, place) in known.outputs:
            recorded = known.outputs[leaf.uid, place]
            return migrated(recorded) if leaf.migration == "marked" and leaf.version != "1" else recorded
        if leaf.asks:
            if (leaf.uid, place) not in known.asked:
                ran.append(address)
                known.asked.add((leaf.uid, place))
            if place not in answers:
                raise Waits
            known.outputs[leaf.uid, place] = answers[place]
            return answers[place]
        ran.append(address)
        known.outputs[leaf.uid, place] = shaped(leaf, text(leaf, value))
        return known.outputs[leaf.uid, place]

    value: Any = "in"
    try:
        for leaf in plan.before:
            value = one(leaf, value, 0)
        for place in range(1, ROUNDS + 1) if plan.loops else [0]:
            for leaf in plan.body:
                value = one(leaf, value, place)
        for leaf in plan.after:
            value = one(leaf, value, 0)
    except Waits:
        return Told(None, ran)
    ran.append("end")
    taken = [one(plan.leaf(uid), None, 0) for uid in plan.taken]
    return Told("|".join(map(shown, [value, *taken, "-", "-"][:3])), ran)


# ---------------------------------------------------------------------------------------------------------------- edits

Verdict: TypeAlias = Literal["goes on", "either", "refused"]
ORDER: tuple[Verdict, ...] = ("goes on", "either", "refused")
Zone: TypeAlias = Literal["closed", "loop before", "gate", "loop after", "future"]


@dataclass(frozen=True)
class Edit:
    """A change of the code: what, of which step (by uid), and to what."""

    what: Literal["insert", "remove", "rename", "was", "retype", "swap", "code", "version", "migrate"]
    uid: int
    to: str = ""


def zone_of(plan: Plan, uid: int) -> Zone:
    """Where a step is, from the question's point of view; without a loop, what stands beside it is before or after."""
    if uid in [one.uid for one in plan.before]:
        return "closed"
    if uid in [one.uid for one in plan.after]:
        return "future"
    uids = [one.uid for one in plan.body]
    gate = next(index for index, one in enumerate(plan.body) if one.asks)
    if uids.index(uid) == gate:
        return "gate"
    is_before = uids.index(uid) < gate
    if not plan.loops:
        return "closed" if is_before else "future"
    return "loop before" if is_before else "loop after"


def verdict(plan: Plan, edit: Edit, iteration: int) -> Verdict:
    """What the contract says of an edit under a run that waits in this iteration of the loop."""
    zone = zone_of(plan, edit.uid)
    if zone == "future":
        return "goes on"
    has_run = zone != "loop after" or iteration > 1
    match edit.what:
        case "was" | "migrate":
            return "goes on"
        case "insert" if zone == "gate":
            is_first_time = not plan.loops or iteration == 1
            return ("either" if plan.loops else "goes on") if is_first_time else "refused"
        case "swap" if zone == "closed":
            return "either" if _both_closed(plan, edit.uid) else "refused"
        case "insert" | "remove" | "rename" | "swap":
            return "refused" if has_run else "either"
        case "code":
            return "goes on" if zone == "closed" else "either"
        case "version":
            return "either" if zone == "closed" or not has_run else "refused"
        case "retype":
            fits = edit.to == "either"
            if zone == "closed":
                return "goes on" if fits else "refused" if edit.uid in plan.taken else "either"
            return "either" if fits or not has_run else "refused"
    raise AssertionError(edit)


def _both_closed(plan: Plan, uid: int) -> bool:
    """Whether the step and the next one are closed: then each has its recorded output, in whatever order."""
    uids = [one.uid for one in plan.leaves()]
    return zone_of(plan, uids[uids.index(uid) + 1]) == "closed"


def edited(plan: Plan, edit: Edit) -> Plan:
    def among(leaves: tuple[Leaf, ...]) -> tuple[Leaf, ...]:
        return tuple(made for one in leaves for made in (_changed(one, edit) if one.uid == edit.uid else (one,)))

    if edit.what == "swap":
        return _swapped(plan, edit.uid)
    return replace(plan, before=among(plan.before), body=among(plan.body), after=among(plan.after))


def _changed(leaf: Leaf, edit: Edit) -> tuple[Leaf, ...]:
    match edit.what:
        case "insert":
            return leaf, Leaf(100 + leaf.uid, f"new{leaf.uid}")
        case "remove":
            return ()
        case "rename":
            return (replace(leaf, name=f"{leaf.name}x"),)
        case "was":
            return (replace(leaf, name=f"{leaf.name}y", was=leaf.name),)
        case "retype":
            return (replace(leaf, gives=edit.to),)  # type: ignore[arg-type]
        case "code":
            return (replace(leaf, code=edit.to),)
        case "version":
            return (replace(leaf, version="2"),)
    return (replace(leaf, version="2", migration=edit.to),)  # type: ignore[arg-type]


def _swapped(plan: Plan, uid: int) -> Plan:
    """A step changes places with the one after it in its scope."""
    parts = [*plan.before, *plan.body, *plan.after] if not plan.loops else [*plan.body]
    if plan.loops and uid not in [one.uid for one in parts]:
        raise DefinitionError("nothing to swap with")
    index = next(index for index, one in enumerate(parts) if one.uid == uid)
    if index + 1 == len(parts):
        raise DefinitionError("nothing to swap with")
    parts[index], parts[index + 1] = parts[index + 1], parts[index]
    if plan.loops:
        return replace(plan, body=tuple(parts))
    first, second = len(plan.before), len(plan.before) + len(plan.body)
    return replace(plan, before=tuple(parts[:first]), body=tuple(parts[first:second]), after=tuple(parts[second:]))


# -------------------------------------------------------------------------------------------------------------- drawing


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    loops = draw(st.booleans())
    before = tuple(Leaf(uid, f"b{uid}") for uid in range(draw(st.integers(0 if loops else 1, 3))))
    ahead, behind = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    body = (
        *(Leaf(10 + index, f"l{index}") for index in range(ahead)),
        Leaf(20, "gate", asks=True),
        *(Leaf(30 + index, f"m{index}") for index in range(behind)),
    )
    after = tuple(Leaf(40 + index, f"f{index}") for index in range(draw(st.integers(1, 3))))
    uids = [one.uid for one in before]
    taken = draw(st.lists(st.sampled_from(uids), max_size=2, unique=True)) if uids else []
    return Plan(before, body, after, loops, tuple(taken))


WHATS = ("insert", "remove", "rename", "was", "retype", "swap", "code", "version", "migrate")


@st.composite
def edits(draw: st.DrawFn, plan: Plan) -> list[Edit]:
    """One edit, or two of different steps."""
    found: list[Edit] = []
    for uid in draw(st.lists(st.sampled_from([one.uid for one in plan.leaves()]), min_size=1, max_size=2, unique=True)):
        what = draw(st.sampled_from(WHATS))
        to = {
            "retype": st.sampled_from(("either", "int", "list")), "code": st.sampled_from("+*"),
            "migrate": st.sampled_from(("same", "marked")),
        }.get(what, st.just(""))  # fmt: skip
        found.append(Edit(what, uid, draw(to)))
    return found


def is_possible(plan: Plan, made: list[Edit]) -> bool:
    """Whether the edits give a pipeline that can be, and whose oracle is beyond doubt."""
    for edit in made:
        leaf = plan.leaf(edit.uid)
        if leaf.asks and (edit.what in ("retype", "code") or edit.to == "marked"):
            return False
        if edit.what == "remove" and (edit.uid in plan.taken or leaf.asks):
            return False
        if edit.what == "swap" and len(made) > 1:
            return False
        if edit.what == "migrate" and edit.to == "marked" and zone_of(plan, edit.uid) == "gate":
            return False
    return True


# ------------------------------------------------------------------------------------------------------------- the test


def flujo(plan: Plan, store: MemoryStore, ran: list[str]) -> Flujo[Any, Any, Any]:
    made: Flujo[Any, Any, Any] = Flujo(built(plan, ran), store=store, settings=ALONE)
    return made


async def answered(runner: Flujo[Any, Any, Any], answer: str) -> Any:
    try:
        return await runner.resume_async("r", answer)
    except AlreadyAnswered:  # it was given to code that could not take it in
        return await runner.resume_async("r")


async def ended(runner: Flujo[Any, Any, Any], iteration: int, answers: dict[int, str]) -> Any:
    """Goes on with a run that waits, to its end."""
    result = await answered(runner, answers[iteration])
    while result.status == "paused":
        iteration += 1
        result = await answered(runner, answers[iteration])
    return result


async def under_a_paused_run(old: Plan, made: list[Edit], iteration: int) -> str:
    """What the contract says, and what happened."""
    new = old
    for edit in made:
        new = edited(new, edit)
    answers = {0: "yes", 1: "yes1", 2: "yes2"}
    given_first = {1: "yes1"} if iteration == 2 else {}
    store, ran, known = MemoryStore(), list[str](), Known()
    before = flujo(old, store, ran)
    result = await before.run_async("in", run_id="r")
    if iteration == 2:
        result = await answered(before, "yes1")
    assert result.status == "paused"
    assert interpreted(old, known, given_first) == Told(None, ran), "the interpreter is right about the undisturbed run"
    ran.clear()

    must = max((verdict(old, edit, iteration) for edit in made), key=ORDER.index)
    try:
        result = await ended(flujo(new, store, ran), iteration, answers)
    except IncompatiblePipeline as refused:
        assert must != "goes on", f"refused, though it can go on: {refused}"
        assert refused.differences and ran == [], "what is refused has done nothing"
        told = interpreted(old, known, answers)
        result = await ended(flujo(old, store, ran), iteration, answers)
        assert (result.output, ran) == (told.output, told.ran), "the code as it was goes on with it"
        return f"{must}: refused"
    told = interpreted(new, known, answers)
    assert result.status == "completed"
    assert (result.output, ran) == (told.output, told.ran), "silently wrong"
    assert must != "refused", "it went on over a change that cannot be"
    return f"{must}: went on"


SETTINGS = settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


@given(st.data())
@SETTINGS
def test_a_run_under_which_the_code_changes_goes_on_rightly_or_is_refused(data: st.DataObject) -> None:
    plan = data.draw(plans().filter(lambda one: bool(one.leaves())))
    made = data.draw(edits(plan).filter(lambda found: is_possible(plan, found)))
    iteration = data.draw(st.integers(1, ROUNDS)) if plan.loops else 0
    try:
        new = plan
        for edit in made:
            new = edited(new, edit)
        built(new, []).check()
    except DefinitionError:
        event("no such pipeline")
        return
    event(asyncio.run(under_a_paused_run(plan, made, iteration)))


# ---------------------------------------------------------------------------------------------------- each kind of edit

SIMPLE = Plan(
    (Leaf(0, "b0"), Leaf(1, "b1")), (Leaf(20, "gate", asks=True),), (Leaf(40, "f0"), Leaf(41, "f1")), False, (1,)
)
LOOPED = Plan(
    (Leaf(0, "b0"),), (Leaf(10, "l0"), Leaf(20, "gate", asks=True), Leaf(30, "m0")), (Leaf(40, "f0"),), True, (0,)
)

KINDS = [
    ("a step is inserted before the question", SIMPLE, Edit("insert", 0), 0),
    ("a step is inserted after the question", SIMPLE, Edit("insert", 20), 0),
    ("a step is removed before the question", SIMPLE, Edit("remove", 0), 0),
    ("a step is removed after the question", SIMPLE, Edit("remove", 40), 0),
    ("a step before the question has another name", SIMPLE, Edit("rename", 1), 0),
    ("a step before the question has another name, and says so", SIMPLE, Edit("was", 1), 0),
    ("the question has another name", SIMPLE, Edit("rename", 20), 0),
    ("the question has another name, and says so", SIMPLE, Edit("was", 20), 0),
    ("a recorded output fits the new type", SIMPLE, Edit("retype", 1, "either"), 0),
    ("a recorded output does not fit the new type", SIMPLE, Edit("retype", 1, "int"), 0),
    ("steps before the question change places", SIMPLE, Edit("swap", 0), 0),
    ("the question and the step before it change places", SIMPLE, Edit("swap", 1), 0),
    ("the question and the step after it change places", SIMPLE, Edit("swap", 20), 0),
    ("steps after the question change places", SIMPLE, Edit("swap", 40), 0),
    ("a body before the question changes", SIMPLE, Edit("code", 1, "+"), 0),
    ("a body after the question changes", SIMPLE, Edit("code", 40, "*"), 0),
    ("the version of the question changes", SIMPLE, Edit("version", 20), 0),
    ("the version of the question changes, and nothing else", SIMPLE, Edit("migrate", 20, "same"), 0),
    ("the version of a closed step changes, with a migration", SIMPLE, Edit("migrate", 1, "marked"), 0),
    ("the version of a later step changes", SIMPLE, Edit("version", 40), 0),
    ("a step is inserted in an open loop", LOOPED, Edit("insert", 10), 1),
    ("a step is inserted behind the question in an open loop that has gone round", LOOPED, Edit("insert", 20), 2),
    ("a step of an open loop is removed", LOOPED, Edit("remove", 10), 2),
    ("a step of an open loop that has run is removed", LOOPED, Edit("remove", 30), 2),
    ("a step of an open loop has another name", LOOPED, Edit("rename", 10), 2),
    ("a step of an open loop has another name, and says so", LOOPED, Edit("was", 10), 2),
    ("a step of an open loop has another version", LOOPED, Edit("version", 10), 1),
    ("a step of an open loop has another version, with a migration", LOOPED, Edit("migrate", 10, "marked"), 2),
    ("steps of an open loop change places", LOOPED, Edit("swap", 10), 2),
    ("a step after an open loop is inserted", LOOPED, Edit("insert", 40), 1),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "edit", "iteration"), [one[1:] for one in KINDS], ids=[one[0] for one in KINDS])
def test_an_edit_that(plan: Plan, edit: Edit, iteration: int) -> None:
    asyncio.run(under_a_paused_run(plan, [edit], iteration))


def test_code_that_is_refused_leaves_the_run_to_the_code_as_it_was() -> None:
    """Whatever else of it would fit: a new name, for one."""
    plan = replace(SIMPLE, taken=())
    asyncio.run(under_a_paused_run(plan, [Edit("retype", 1, "int"), Edit("was", 20)], 0))
    asyncio.run(under_a_paused_run(SIMPLE, [Edit("retype", 1, "int"), Edit("was", 20)], 0))
