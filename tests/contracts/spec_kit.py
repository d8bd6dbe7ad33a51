"""Things with names, and random pipelines that are made of them alone, so that specs can say them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Annotated, Any

from hypothesis import strategies as st
from pydantic import BaseModel
from typing_extensions import TypeAliasType

from flujo_core import (
    AgentReply,
    Branch,
    Cache,
    Default,
    From,
    HumanInput,
    Loop,
    Map,
    Node,
    Parallel,
    Pipeline,
    Retry,
    RunInfo,
    Step,
    Timeout,
    step,
)
from flujo_core.model.spec import field_of


class Queue(Enum):
    BILLING = "billing"
    OTHER = 1


class Mail(BaseModel):
    text: str
    ok: bool = False


Mails = list[Mail]
Short = TypeAliasType("Short", str)


class Pair(BaseModel):
    a: Any = None
    b: Any = None


def plain(value: Any) -> Any:
    return value


@step
async def made(value: Any) -> Any:
    return value


@step(name="renamed", retry=Retry(2), version="3", validators=["acme/short"])
async def strict(value: Any) -> Any:
    return value


@step
async def with_source(value: Any, *, first: Annotated[Any, From.run_input]) -> Any:
    return first


def says(value: Any) -> Any:
    return value


def text_of(value: Any) -> str:
    return str(value)


def keyed(value: Any, context: Any = None) -> str:
    return str(value)


class Echo:
    """An agent."""

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        return AgentReply(input)


echo = Echo()
not_a_function = 3
asks: Step[Any, Any] = Step.registered("acme/other", takes=Any, gives=Any)
FUNCTIONS = (plain, made.action.function, strict.action.function, with_source.action.function)  # type: ignore[union-attr]


LAST: Step[Any, Any] = Step.registered("acme/~last", takes=Any, gives=Any)


class MyError(Exception):
    pass


Numbers = st.integers(0, 10) | st.floats(0, 100, allow_nan=False)
Texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(lambda one: one.strip())
Prompts = st.sampled_from(["Go.", "{{ input }}", "{ {{input}} }}", "a {{  run_input.x }} b", "é\n{"])
Functions = st.sampled_from([says, text_of, keyed, field_of("ok"), field_of("a.b")])


@st.composite
def policies(draw: Any, nested: st.SearchStrategy[Node[Any, Any]] | None) -> dict[str, Any]:
    """Policies that a node may have."""
    migrations = st.sampled_from([{"~1": None}, {"~1": says, "": None}])
    choices: dict[str, st.SearchStrategy[Any]] = {
        "retry": st.builds(
            Retry,
            st.integers(1, 5),
            backoff=Numbers,
            factor=st.floats(1, 3) | st.just(2),
            max_backoff=Numbers,
            jitter=st.floats(0, 1),
            on=st.sampled_from([(Exception,), (ConnectionError, MyError), ()]),
        ),
        "timeout": st.integers(1, 9)
        | st.floats(0.1, 9)
        | st.builds(Timeout, st.none() | st.integers(1, 9), st.none() | st.floats(0.1, 9)),
        "cache": st.builds(Cache, st.none() | Functions, st.none() | st.floats(0.1, 9)),
        "version": Texts,
        "was": Texts.map(lambda one: f"was {one}"),
    }
    if nested is not None:
        choices["fallback"] = nested.map(lambda node: node >> LAST)
    given = draw(st.fixed_dictionaries({}, optional=choices))
    if "version" in given:
        given |= draw(st.fixed_dictionaries({}, optional={"migrations": migrations}))
    return given


@st.composite
def leaves(draw: Any) -> Node[Any, Any]:
    """Steps of each kind."""
    kind = draw(st.sampled_from(["call", "use", "ask", "human"]))
    name = draw(Texts)
    if kind == "human":
        default = draw(st.sampled_from(["fail", "stop", Default({"text": "x", "ok": True})]))
        return HumanInput(
            name,
            Mail,
            ask=draw(Prompts),
            approvers=draw(st.sampled_from([(), ("ada", "bob")])),
            quorum=draw(st.integers(1, 2)),
            expires_in=draw(st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=400))),
            on_expiry=default,
            version=draw(st.none() | Texts),
        )
    given = draw(policies(None))
    found: Step[Any, Any]
    if kind == "call":
        source = draw(st.sampled_from([made, strict, with_source, Step("plain", step(plain).action)]))
        if source.policies.version and "migrations" in given:
            del given["migrations"]
        found = source.policy(**given)
    elif kind == "use":
        found = Step.registered(f"acme/{name}", takes=Any, gives=Any)
        found = found.policy(**given)
    else:
        found = _asking(draw, name).policy(**given)
    if draw(st.booleans()):
        found = found.policy(validators=draw(st.sampled_from([["acme/short"], [says, "long"]])))
    return found


def _asking(draw: Any, name: str) -> Step[Any, Any]:
    prompt: Any = draw(st.none() | Prompts | st.just(text_of))
    input = draw(st.sampled_from([None, Any])) if isinstance(prompt, str) else None
    deps = draw(st.sampled_from([None, says]))
    return Step.agent(name, "acme/writer", prompt=prompt, input=input, deps=deps)


def _unique(nodes: list[Node[Any, Any]]) -> list[Node[Any, Any]]:
    """The same under names that none of the others has."""
    parts = [
        part for node in nodes for part in (node.nodes if isinstance(node, Pipeline) and not node.name else [node])
    ]
    made: list[Node[Any, Any]] = [part.named(f"{index} {part.label}") for index, part in enumerate(parts)]
    return [one.policy(was=f"was {index}") if one.policies.was else one for index, one in enumerate(made)]


@st.composite
def around(draw: Any, nested: st.SearchStrategy[Node[Any, Any]]) -> Node[Any, Any]:
    """Nodes in which others run."""
    kind, name = draw(st.sampled_from(["flat", "scope", "parallel", "map", "loop", "branch"])), draw(Texts)
    several = _unique(draw(st.lists(nested, min_size=1, max_size=3)))
    flat: Pipeline[Any, Any] = Pipeline(None, tuple(several))
    if kind == "flat":
        return flat
    made: Node[Any, Any]
    if kind == "scope":
        made = flat.named(name)
    elif kind == "parallel":
        into = draw(st.none() | st.just(Pair))
        keys = ["a", "b", "c"] if into is None else ["a", "b"]
        made = Parallel(name, dict(zip(keys, several, strict=False)), into=into, **_side(draw))
    elif kind == "map":
        over, key = draw(st.none() | Functions), draw(st.none() | Functions)
        made = Map(name, flat, over=over, key=key, **_side(draw))
    elif kind == "loop":
        last = flat >> LAST
        late = draw(st.sampled_from(["fail", "return"]))
        until: Any = draw(Functions)
        made = Loop(name, last, until=until, max_iterations=draw(st.integers(1, 9)), on_exhausted=late)
    else:
        made = _branch(draw, name, several)
    return made.policy(**draw(policies(nested)))


def _side(draw: Any) -> dict[str, Any]:
    return {
        "max_concurrency": draw(st.none() | st.integers(1, 4)),
        "on_error": draw(st.sampled_from(["cancel", "collect"])),
    }


def _branch(draw: Any, name: str, bodies: list[Node[Any, Any]]) -> Node[Any, Any]:
    on: Callable[..., Any] = draw(Functions)
    made: Branch[Any, Any, Any] = Branch(name, on=on)
    values = draw(st.sampled_from([["a", "b b", "~c"], ["a", 1, 2.5], [True, None, Queue.BILLING]]))
    for value, body in zip(values, bodies, strict=False):
        made = made.case(value, body)
    return made.default(bodies[0]) if draw(st.booleans()) else made


Pipelines = st.recursive(leaves(), around, max_leaves=6)
