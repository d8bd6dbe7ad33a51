"""The reference interpreter: what a pipeline comes to, by a naive recursive function that runs one thing at a time.

A pipeline is described by plans, plain data from which ``random_pipelines`` builds the real one. What steps do depends
on nothing but their input, their context, and how often they ran at their place; so it does not matter here in
which order branches run, and each is run to its end, one after the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING as MISSING_DEFAULT
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

State: TypeAlias = dict[str, Any]
Shape: TypeAlias = Literal["int", "list", "dict"]

FIRST: State = {"plain": 1, "log": ["first"], "tags": {1}, "top": 5, "score": 3, "table": {"k0": 0}}
"""The context that each run begins with."""

LARGE = 1009
ALWAYS = 99
MISSING = -1
"""The default of named inputs."""

KINDS = {"Chain": "pipeline", "Fan": "parallel", "Each": "map", "Again": "loop", "Choice": "branch"}


# ------------------------------------------------------------------------------------------------------------- plans


class Short:
    """Shows only what differs from the defaults."""

    def __repr__(self) -> str:
        given = [getattr(self, one.name) for one in fields(self) if one.default is MISSING_DEFAULT]  # type: ignore[arg-type]
        other = [one for one in fields(self) if getattr(self, one.name) != one.default]  # type: ignore[arg-type]
        named = [f"{one.name}={getattr(self, one.name)!r}" for one in other if one.default is not MISSING_DEFAULT]
        return f"{type(self).__name__}({', '.join([*map(repr, given), *named])})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True, repr=False)
class Failure(Short):
    """When a leaf fails: for some weights, in its first attempts, and the first times that it runs at its place."""

    how: Literal["raise", "wrong"] = "raise"
    modulus: int = 1
    attempts: int = ALWAYS
    times: int = ALWAYS

    def fits(self, number: int, attempt: int, time: int) -> bool:
        return number % self.modulus == 0 and attempt <= self.attempts and time <= self.times


@dataclass(frozen=True, repr=False)
class Named(Short):
    """A named input: ``source`` as it is written, ``path`` within it, and whether it has a default."""

    source: str
    has_default: bool = False
    path: str | None = None


@dataclass(frozen=True, repr=False)
class Leaf(Short):
    """A step: it weighs all that it is given, does its deeds to the context, and gives the weight."""

    name: str
    salt: int = 0
    gives: Shape = "int"
    deeds: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    named: tuple[Named, ...] = ()
    fails: Failure | None = None
    attempts: int = 1
    fallback: tuple[Plan, ...] = ()
    is_sync: bool = False
    ignores_input: bool = False
    spoils: bool = False
    naps: int = 0
    tidies: int = 0

    def naps_for(self, number: int) -> int:
        """How often it lets others run, for this weight."""
        return (number + self.salt) % (self.naps + 1)


@dataclass(frozen=True, repr=False)
class Chain(Short):
    """A pipeline with a name."""

    name: str
    nodes: tuple[Plan, ...]
    attempts: int = 1
    fallback: tuple[Plan, ...] = ()


@dataclass(frozen=True, repr=False)
class Fan(Short):
    """A Parallel."""

    name: str
    branches: tuple[tuple[str, tuple[Plan, ...]], ...]
    into: Literal["model", "typed"] | None = None
    on_error: Literal["cancel", "collect"] = "cancel"
    max_concurrency: int | None = None
    attempts: int = 1
    fallback: tuple[Plan, ...] = ()


@dataclass(frozen=True, repr=False)
class Each(Short):
    """A Map over ``count`` items made of the input, or over the input itself."""

    name: str
    nodes: tuple[Plan, ...]
    source: Literal["input", "list", "async"] = "list"
    count: int = 2
    keyed: int = 0
    lists: bool = False
    raises: int = 0
    on_error: Literal["cancel", "collect"] = "cancel"
    max_concurrency: int | None = None
    attempts: int = 1
    fallback: tuple[Plan, ...] = ()

    def items(self, value: Any) -> list[Any]:
        """The items that it makes of its input."""
        if self.source == "input":
            return list(value)
        first = weight(value)
        numbers = [first + index for index in range(self.count)]
        return [[one, one] for one in numbers] if self.lists else numbers

    def key(self, item: Any) -> str:
        """The key of an item; some are the same where ``keyed`` is small."""
        return f"k {weight(item) % self.keyed}"


@dataclass(frozen=True, repr=False)
class Question(Short):
    """What a Loop or Branch asks: the weight of a value, and of the context if it looks at that, by a modulus."""

    modulus: int
    field: str | None = None
    raises: int = 0

    def number(self, value: Any, state: Mapping[str, Any] | None) -> int:
        """The answer.

        Raises:
            Boom: It is to fail for this weight.
        """
        found = weight([value, state[self.field]] if state is not None and self.field else value)
        if self.raises and found % self.raises == 0:
            raise Boom("a question")
        return found % self.modulus


@dataclass(frozen=True, repr=False)
class Again(Short):
    """A Loop, which ends when the answer is 0."""

    name: str
    nodes: tuple[Plan, ...]
    until: Question
    max_iterations: int = 3
    on_exhausted: Literal["fail", "return"] = "return"
    attempts: int = 1
    fallback: tuple[Plan, ...] = ()


@dataclass(frozen=True, repr=False)
class Choice(Short):
    """A Branch over the answers 0, 1, ...; the default is called ``~default``."""

    name: str
    cases: tuple[tuple[str, tuple[Plan, ...]], ...]
    on: Question
    attempts: int = 1
    fallback: tuple[Plan, ...] = ()


Plan: TypeAlias = Leaf | Chain | Fan | Each | Again | Choice
Plans: TypeAlias = tuple[Plan, ...]


class Boom(Exception):
    """What fails on purpose raises."""


class Bag(BaseModel):
    """What a Parallel may make of its outputs."""

    a: int = 0
    b: int = 0
    c: int = 0


# ------------------------------------------------------------------------------------------- what steps do, in both


def weight(value: Any) -> int:
    """A number for a value; other values, and other orders, mostly have others."""
    match value:
        case int():
            return int(value) % LARGE
        case str():
            return weight([ord(letter) for letter in value])
        case None:
            return 13
        case BaseModel():
            return weight(dict(value))
        case Mapping():
            return weight([17, *[[key, part] for key, part in value.items()]])
        case set():
            return weight([19, *sorted(value)])
        case _:
            total = 7
            for part in value:
                total = (total * 31 + weight(part)) % LARGE
            return total


def number_of(leaf: Leaf, value: Any, context: Callable[[str], Any], named: Sequence[Any]) -> int:
    """What a leaf makes of all that it is given."""
    read = [context(name) for name in leaf.reads]
    return weight([leaf.salt, 0 if leaf.ignores_input else value, read, list(named)])


def shaped(number: int, gives: Shape) -> Any:
    """A number as a value of the type that a leaf gives."""
    return {"int": number, "list": [number, number + 1][: 1 + number % 2], "dict": {"z": number}}[gives]


def do(deed: str, context: State, number: int) -> None:
    """Changes the context; ``context`` is anything with the fields as items."""
    key = f"k{number % 3}"
    match deed:
        case "set plain":
            context["plain"] = number % 7
        case "append":
            context["log"] = [*context["log"], str(number)]
        case "set log":
            context["log"] = [str(number)]
        case "add":
            context["tags"] = context["tags"] | {number % 5}
        case "discard":
            context["tags"] = context["tags"] - {number % 5}
        case "set top":
            context["top"] = number % 11
        case "score":
            context["score"] = context["score"] + number % 10
        case "put":
            context["table"] = context["table"] | {key: number}
        case "drop":
            context["table"] = {one: value for one, value in context["table"].items() if one != key}


DEEDS = ("set plain", "append", "set log", "add", "discard", "set top", "score", "put", "drop")


def combined(base: int, values: list[int]) -> int:
    """The reducer of ``score``; the order of the values matters."""
    total = base
    for value in values:
        total = (total * 31 + value - base) % LARGE
    return total


def without_attempts(address: str) -> str:
    """An address without the numbers of attempts of what is around it."""
    return re.sub(r"#\d+", "", address)


def stuff_of(plan: Plan) -> list[tuple[str, Plans]]:
    """The scopes of a plan, without its fallback: what follows its name, and what runs there."""
    match plan:
        case Leaf():
            return []
        case Fan():
            return [(f"[{name}]", nodes) for name, nodes in plan.branches]
        case Choice():
            return [(f"[{name}]", nodes) for name, nodes in plan.cases]
        case Each() | Again():
            return [("[*]", plan.nodes)]
    return [("", plan.nodes)]


def all_plans(plans: Plans) -> Iterator[Plan]:
    """All plans, at any depth."""
    for plan in plans:
        yield plan
        for _, nodes in stuff_of(plan):
            yield from all_plans(nodes)
        yield from all_plans(plan.fallback)


# ----------------------------------------------------------------------------------------------------- what it comes to


@dataclass
class Became:
    """What became of a step or a node, if it is certain; else it may also be cancelled, or not have begun."""

    kind: str
    status: str
    attempts: int
    output: Any = None
    scopes: tuple[str, ...] = ()
    iterations: int = 0
    case: str | None = None
    is_certain: bool = True


@dataclass
class Expected:
    """What a run comes to.

    Attributes:
        output: Its output, if it completes.
        failures: The names of the errors that it may fail with; empty if it completes.
        context: The run's context at the end.
        history: The run's context after each change.
        leaves: What becomes of the steps, by address.
        nodes: What becomes of the other nodes.
    """

    output: Any = None
    failures: frozenset[str] = frozenset()
    context: State = field(default_factory=dict)
    history: list[State] = field(default_factory=list)
    leaves: dict[str, Became] = field(default_factory=dict)
    nodes: dict[str, Became] = field(default_factory=dict)


class Failed(Exception):
    """A node failed, with one of these errors."""

    def __init__(self, *kinds: str) -> None:
        super().__init__(*kinds)
        self.kinds = frozenset(kinds)


class Conflict(Exception):
    """Contexts cannot be merged."""


@dataclass
class Frame:
    """A scope that runs: the outputs of what has run in it, the scopes in that, and the scope around it.

    Attributes:
        entry: The input of the item or iteration; None for other scopes.
        previous: The iteration before.
    """

    around: Frame | None = None
    names: frozenset[str] = frozenset()
    outputs: dict[str, Any] = field(default_factory=dict)
    scopes: dict[str, Frame] = field(default_factory=dict)
    entry: list[Any] | None = None
    previous: Frame | None = None


def expected(plans: Plans, value: Any, first: State = FIRST) -> Expected:
    """What a pipeline of these plans makes of an input."""
    return _Interpreter(value, first).whole(plans)


class _Interpreter:
    def __init__(self, value: Any, first: State) -> None:
        self.input = value
        self.run = deepcopy(first)
        self.times: Counter[tuple[str, int]] = Counter()
        self.found = Expected(history=[deepcopy(first)])

    def whole(self, plans: Plans) -> Expected:
        try:
            self.found.output = self.scope(plans, self.input, Frame(), self.run, "")
        except Failed as failed:
            self.found.failures = failed.kinds
        self.found.context = self.run
        return self.found

    def change(self, state: State, new: State) -> None:
        state.update(new)
        if state is self.run and state != self.found.history[-1]:
            self.found.history.append(deepcopy(state))

    def scope(self, plans: Plans, value: Any, frame: Frame, state: State, path: str) -> Any:
        """Runs nodes one after the other."""
        frame.names = frozenset(plan.name for plan in plans)
        for plan in plans:
            address = f"{path}/{plan.name}" if path else plan.name
            value = self.policies(plan, deepcopy(value), frame, state, address)
            frame.outputs[plan.name] = value
        return value

    def policies(self, plan: Plan, value: Any, frame: Frame, state: State, address: str) -> Any:
        """Runs a node: its attempts, then its fallback; each has a context of its own, which counts if it succeeds."""
        kind = "leaf" if isinstance(plan, Leaf) else KINDS[type(plan).__name__]
        became = Became(kind, "failed", 0)
        table = self.found.leaves if isinstance(plan, Leaf) else self.found.nodes
        table[address] = became
        is_apart = isinstance(plan, Leaf) or plan.attempts > 1 or bool(plan.fallback)
        kinds: set[str] = set()
        for attempt in range(1, plan.attempts + 1):
            became.attempts, became.scopes, became.iterations, became.case = attempt, (), 0, None
            self.forget(plan, frame)
            own = deepcopy(state) if is_apart else state
            try:
                output = self.attempt(plan, value, frame, own, address, attempt, became)
            except Failed as failed:
                kinds |= failed.kinds
                continue
            return self.done(became, output, state, own)
        if plan.fallback:
            self.forget(plan, frame)
            own = deepcopy(state)
            try:
                output = self.scope(plan.fallback, value, Frame(frame), own, f"{address}~fallback")
            except Failed as failed:
                raise Failed(*kinds, *failed.kinds) from None
            return self.done(became, output, state, own)
        raise Failed(*kinds)

    def done(self, became: Became, output: Any, state: State, own: State) -> Any:
        became.status, became.output = "completed", output
        self.change(state, own)
        return output

    def attempt(
        self, plan: Plan, value: Any, frame: Frame, state: State, address: str, attempt: int, became: Became
    ) -> Any:
        path = f"{address}#{attempt}" if attempt > 1 else address
        match plan:
            case Leaf():
                return self.leaf(plan, value, frame, state, address, attempt)
            case Fan() | Each():
                return self.fork(plan, value, frame, state, path, became)
            case Again():
                return self.loop(plan, value, frame, state, path, became)
            case Choice():
                return self.branch(plan, value, frame, state, path, became)
        inner = frame.scopes[plan.name] = Frame(frame)
        return self.scope(plan.nodes, value, inner, state, path)

    def leaf(self, plan: Leaf, value: Any, frame: Frame, state: State, address: str, attempt: int) -> Any:
        named = [self.lookup(one, frame) for one in plan.named]
        number = number_of(plan, value, state.__getitem__, named)
        for deed in plan.deeds:
            do(deed, state, number)
        self.times[place := (without_attempts(address), attempt)] += 1
        if plan.fails and plan.fails.fits(number, attempt, self.times[place]):
            raise Failed("Boom" if plan.fails.how == "raise" else "InvalidValue")
        return shaped(number, plan.gives)

    def fork(self, plan: Fan | Each, value: Any, frame: Frame, state: State, path: str, became: Became) -> Any:
        bodies = self.bodies(plan, value)
        became.scopes = tuple(segment for segment, _, _ in bodies)
        twice = len({*became.scopes}) < len(bodies)
        forked = {segment: deepcopy(state) for segment in dict.fromkeys(became.scopes)}
        outputs: dict[str, Any] = {}
        kinds: set[str] = {"*"} if twice else set()
        firsts = [one for at, one in enumerate(bodies) if one[0] not in became.scopes[:at]]
        for segment, nodes, given in firsts:
            inner = frame.scopes[plan.name + segment] = Frame(frame, entry=[given] if isinstance(plan, Each) else None)
            try:
                outputs[segment] = self.scope(nodes, deepcopy(given), inner, forked[segment], path + segment)
            except Failed as failed:
                kinds |= failed.kinds
        if kinds and (plan.on_error == "cancel" or twice):
            self.doubt(path)
        if kinds:
            raise Failed(*(kinds if plan.on_error == "cancel" or twice else ["BranchesFailed"]))
        try:
            self.change(state, joined(state, list(forked.values())))
        except Conflict:
            raise Failed("ContextConflict") from None
        return self.gathered(plan, outputs)

    def bodies(self, plan: Fan | Each, value: Any) -> list[tuple[str, Plans, Any]]:
        """What runs side by side: what follows the node's name, the nodes, and their input."""
        if isinstance(plan, Fan):
            return [(f"[{name}]", nodes, value) for name, nodes in plan.branches]
        items = plan.items(value)
        if plan.raises and weight(value) % plan.raises == 0:
            raise Failed("Boom")
        keys = [plan.key(item).replace(" ", "%20") if plan.keyed else str(at) for at, item in enumerate(items)]
        return [(f"[{key}]", plan.nodes, item) for key, item in zip(keys, items, strict=True)]

    def gathered(self, plan: Fan | Each, outputs: dict[str, Any]) -> Any:
        if isinstance(plan, Each):
            return [*outputs.values()]
        whole = {segment[1:-1]: output for segment, output in outputs.items()}
        if plan.into == "typed":  # pydantic gives a TypedDict in the order of its declaration
            return dict(sorted(whole.items()))
        return Bag(**whole) if plan.into == "model" else whole

    def loop(self, plan: Again, value: Any, frame: Frame, state: State, path: str, became: Became) -> Any:
        entry, before = value, None
        for iteration in range(1, plan.max_iterations + 1):
            inner = frame.scopes[plan.name] = Frame(frame, entry=[entry], previous=before)
            value = self.scope(plan.nodes, deepcopy(value), inner, state, f"{path}[{iteration}]")
            before = inner
            done = self.asked(plan.until, value, state) == 0
            became.iterations = iteration
            if done:
                return value
        if plan.on_exhausted == "fail":
            raise Failed("LoopExhausted")
        return value

    def branch(self, plan: Choice, value: Any, frame: Frame, state: State, path: str, became: Became) -> Any:
        cases = dict(plan.cases)
        answer = str(self.asked(plan.on, value, state))
        case = answer if answer in cases else "~default"
        if case not in cases:
            raise Failed("NoCase")
        became.case = case
        inner = frame.scopes[f"{plan.name}[{case}]"] = Frame(frame)
        return self.scope(cases[case], value, inner, state, f"{path}[{case}]")

    def asked(self, question: Question, value: Any, state: State) -> int:
        try:
            return question.number(value, state)
        except Boom:
            raise Failed("Boom") from None

    def forget(self, plan: Plan, frame: Frame) -> None:
        """Forgets what an earlier attempt has left."""
        for segment in [one for one in frame.scopes if one.split("[")[0] == plan.name]:
            del frame.scopes[segment]

    def doubt(self, path: str) -> None:
        """What is in ``path`` may have been cancelled."""
        for table in (self.found.leaves, self.found.nodes):
            for address, became in table.items():
                if address.startswith(path) and address[len(path) : len(path) + 1] == "[":
                    became.is_certain = False

    def lookup(self, named: Named, frame: Frame) -> Any:
        """The value of a named input."""
        if named.source == "~run_input":
            return self.input
        at: Frame | None = frame
        if named.source == "~scope_input":
            while at is not None and at.entry is None:
                at = at.around
            assert at is not None and at.entry is not None
            return at.entry[0]
        first, *rest = named.source.split("/")
        top = first.split("[")[0]
        while at is not None and top not in at.names:
            at = at.around
        assert at is not None, f"no {named.source}"
        if top not in at.outputs:
            at = at.previous
        for segment in [first, *rest][:-1]:
            at = None if at is None else at.scopes.get(segment)
        last = [first, *rest][-1]
        if at is None or last not in at.outputs:
            assert named.has_default, f"no {named.source}"
            return MISSING
        value = at.outputs[last]
        return getattr(value, named.path) if named.path else value


def joined(base: State, branches: list[State]) -> State:
    """The context after a join.

    Raises:
        Conflict: Two branches changed one field that has no reducer, or one broke its reducer's rule.
    """
    found: State = {}
    for name, before in base.items():
        values = [state[name] for state in branches if not _equal(state[name], before)]
        if not values:
            continue
        match name:
            case "log":
                if any(value[: len(before)] != before for value in values):
                    raise Conflict
                found[name] = sum((value[len(before) :] for value in values), start=list(before))
            case "tags":
                if any(not value >= before for value in values):
                    raise Conflict
                found[name] = before.union(*values)
            case "top":
                found[name] = max([before, *values])
            case "score":
                found[name] = combined(before, values)
            case _:
                if len(values) > 1:
                    raise Conflict
                found[name] = values[0]
    return found


def _equal(one: Any, other: Any) -> bool:
    return one == other and (not isinstance(one, dict) or list(one) == list(other))
