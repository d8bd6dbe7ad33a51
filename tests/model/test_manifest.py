"""What the nodes of a pipeline are: digests of bodies, texts of types, and the manifest as JSON."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import partial, reduce
from importlib.machinery import ModuleSpec
from operator import rshift
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, NamedTuple, Never, NewType, TypedDict

import pytest
from annotated_types import Gt
from hypothesis import HealthCheck, given, settings
from pydantic import AfterValidator, BaseModel, Field
from pydantic_ai import Agent, FunctionToolset, Tool
from pydantic_ai.agent import WrapperAgent
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import CombinedToolset
from random_pipelines import World, built, pipelines
from reference_interpreter import Plans
from typing_extensions import TypeAliasType

from flujo_core import AgentReply, Branch, From, Loop, Map, Node, Parallel, Retry, RunInfo, Step, step
from flujo_core.model.body import agent_of, body_of, identity_of, module_name
from flujo_core.model.fingerprint import fingerprint
from flujo_core.model.human import HumanInput
from flujo_core.model.manifest import Facts, Manifest
from flujo_core.model.shape import shape_of


class Email(BaseModel):
    subject: str


class Draft(BaseModel):
    text: str


@step
async def read(path: str) -> Email:
    return Email(subject=path)


@step
async def write(email: Email) -> Draft:
    return Draft(text=email.subject)


@step
async def again(draft: Draft) -> Draft:
    return draft


def enough(draft: Draft) -> bool:
    return bool(draft.text)


anything: Any = lambda x: [x]  # noqa: E731


def only(node: Node[Any, Any]) -> Facts:
    """The facts of a pipeline of one node."""
    (facts,) = Manifest.of(node).nodes
    return facts


# ----------------------------------------------------------------------------------------------------------- manifests


def test_a_step_says_what_it_is() -> None:
    facts = only(read.policy(version="2", was="fetch", migrations={"1": None, "": lambda old: old}))
    assert (facts.name, facts.kind, facts.action) == ("read", "step", f"{__name__}:read")
    assert (facts.takes, facts.gives[:6]) == ("str", "Email ")
    assert (facts.version, facts.was, facts.migrations) == ("2", "fetch", {"1": False, "": True})
    assert len(facts.body) == 12


def test_nodes_in_which_others_run_say_what_is_in_them() -> None:
    class Two(BaseModel):
        a: Draft
        b: Draft

    loop = only(Loop("l", again, until=enough, max_iterations=2))
    assert (loop.kind, loop.asks, [*loop.scopes]) == ("loop", {"until": f"{__name__}:enough"}, ["[*]"])
    fan = only(Parallel("f", a=again, b=again, into=Two).policy(fallback=step(lambda d: Two(a=d, b=d)), retry=Retry(2)))
    assert (fan.kind, [*fan.scopes], fan.apart, fan.retries) == ("parallel", ["[a]", "[b]", "~fallback"], True, True)
    assert fan.gives.startswith("Two ") and not fan.takes
    each = only(Map("m", again, over=anything, key=str))
    assert (each.kind, each.asks) == ("map", {"over": "", "key": "builtins:str"})
    route = only(Branch("r", on=enough).case(True, again).default(again))
    assert (route.kind, [*route.scopes], route.apart) == ("branch", ["[True]", "[~default]"], False)
    assert only((read >> write).named("p")).scopes[""] == Manifest.of(read >> write).nodes


def test_what_decides_how_a_node_ends_is_its_body() -> None:
    def loop(**changes: Any) -> str:
        return only(Loop("l", again, **{"until": enough, "max_iterations": 2, **changes})).body

    assert loop() == loop() and len({loop(), loop(max_iterations=3), loop(until=lambda d: True)}) == 3
    fan = Parallel("f", a=again)
    assert only(fan).body != only(Parallel("f", a=again, on_error="collect")).body
    assert only(fan).body == only(fan.policy(version="7")).body


def test_a_manifest_is_the_same_after_json_and_knows_its_format() -> None:
    made = Manifest.of(read >> write.policy(was="w", version="2", migrations={"": None}) >> again)
    assert Manifest.from_json(made.to_json()) == made == Manifest.from_json(made.to_json().encode())
    later = json.dumps({**json.loads(made.to_json()), "f": 2})
    with pytest.raises(ValueError, match="the manifest is of format 2, and this version of Flujo knows 1"):
        Manifest.from_json(later)


@given(pipelines())
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_any_manifest_is_the_same_after_json(plans: Plans) -> None:
    node = built(plans, World())
    made = Manifest.of(node)
    back = Manifest.from_json(made.to_json())
    assert back == made == Manifest.of(built(plans, World())) and back.digest == made.digest == fingerprint(node)


def test_a_manifest_is_small() -> None:
    chain: Node[Any, Any] = reduce(rshift, [again.named(f"step_{number:02}") for number in range(20)])
    assert len(Manifest.of(chain).to_json()) <= 20 * 120


def test_the_digest_says_nothing_of_earlier_code() -> None:
    node = again.policy(version="2")
    assert fingerprint(node) == fingerprint(node.policy(was="old", migrations={"1": None}))
    assert fingerprint(node) != fingerprint(again.policy(version="3")) != fingerprint(again.named("other"))


def test_a_registered_name_is_what_a_step_is_known_by() -> None:
    authored = Step.registered("acme/again", takes=Draft, gives=Draft) >> Step.agent("ask", "acme/asker")
    assert [one.action for one in Manifest.of(authored).nodes] == ["acme/again", "acme/asker"]
    bound = again >> Step.agent("ask", Agent(TestModel()), input=Draft, prompt="{{ input.text }}")
    facts = Manifest.of(bound, authored).nodes
    assert [(one.kind, one.action) for one in facts] == [("step", "acme/again"), ("agent", "acme/asker")]
    assert facts[0].body == only(again).body


def test_named_inputs_are_facts_and_their_names_no_part_of_the_body() -> None:
    @step
    async def join(*, a: Annotated[str, From("read", path="subject")], b: Annotated[Any, From("write")]) -> str:
        return a

    assert only(join).named == {"a": "read subject", "b": "write "}
    agent = Agent(TestModel())

    def ask(prompt: str) -> Facts:
        return only(Step.agent("ask", agent, prompt=prompt))

    assert ask("{{ read.subject }}!").named == {"{0}": "read subject"}
    assert ask("{{ read.subject }}!").body == ask("{{ write.subject }}!").body != ask("{{ read.subject }}?").body


def test_a_question_is_known_by_its_text_and_terms() -> None:
    def body(ask: str = "Send?", **terms: Any) -> str:
        return only(HumanInput("approve", bool, ask=ask, **terms)).body

    assert only(HumanInput("approve", bool, ask="Send?")).kind == "human"
    others = [body("Send it?"), body(approvers=["ops"]), body(expires_in=timedelta(1)), body(quorum=2)]
    assert len({body(), *others}) == 5 and body() == body()


def test_validators_are_part_of_the_body() -> None:
    body = only(again.policy(validators=[enough])).body
    assert len({body, only(again).body, only(again.policy(validators=["acme/enough"])).body}) == 3


def test_a_node_of_an_unknown_kind_is_refused() -> None:
    class Odd(Node[Any, Any]):
        @property
        def label(self) -> str:
            return "odd"

    with pytest.raises(TypeError, match="'Odd' is no node that a manifest knows"):
        Manifest.of(Odd())


# -------------------------------------------------------------------------------------------------------------- bodies


def function(source: str, **names: Any) -> Callable[..., Any]:
    """The function ``f`` of a source."""
    namespace = {"__name__": "somewhere", **names}
    exec(textwrap.dedent(source), namespace)
    made: Callable[..., Any] = namespace["f"]
    return made


PLAIN = """
def f(a, b=1):
    total = a + b
    if total > 10:
        return {'big': total}
    while total:
        try:
            total = total - a
        except ValueError:
            break
    return [g(total) for g in (str, int)]
"""
SAME = [
    "# a comment\n\n\n" + PLAIN,
    PLAIN.replace("    total = a +", '    """What it does.\n\n    At length."""\n    total = a +'),
    PLAIN.replace("    if", "\n\n    # why\n    if"),
    PLAIN.replace("a + b", "(\n        a\n        + b\n    )"),
    PLAIN.replace("total - a", "(\n                total\n                - a\n            )"),
    PLAIN.replace("            break", "            pass\n            break"),
    PLAIN.replace("def f(a, b=1):", "def f(a: int, b: int = 1) -> object:"),
]
OTHER = [
    PLAIN.replace("b=1", "b=2"), PLAIN.replace("b=1", "*, b=1"), PLAIN.replace("a + b", "a - b"),
    PLAIN.replace("> 10", "> 11"), PLAIN.replace("'big'", "'large'"), PLAIN.replace("str, int", "str, len"),
    PLAIN.replace("g(total)", "g(total + 1)"), PLAIN.replace("a + b", "a + b\n    print(a)"), "def f(): ...",
    PLAIN.replace("break", "continue"), PLAIN.replace("ValueError", "KeyError"),
    PLAIN.replace("total - a", "a - total"),
]  # fmt: skip


@pytest.mark.parametrize("source", SAME)
def test_the_digest_of_a_body_does_not_change_with_comments_docstrings_lines_and_annotations(source: str) -> None:
    assert body_of(function(source)) == body_of(function(PLAIN))


@pytest.mark.parametrize("source", OTHER)
def test_the_digest_of_a_body_changes_with_what_it_does(source: str) -> None:
    assert body_of(function(source)) != body_of(function(PLAIN))


def test_a_body_without_a_statement_is_the_same_with_a_docstring() -> None:
    assert len({body_of(function(f"def f():\n    {one}")) for one in ("pass", "...", "'''It.'''")}) == 1


def test_what_is_in_a_try_is_part_of_the_body() -> None:
    inside = "def f(x):\n    try:\n        x()\n        x()\n    except OSError:\n        pass\n"
    assert body_of(function(inside)) != body_of(
        function(inside.replace("try:\n        x()", "x()\n    try:\n        pass"))
    )


def test_a_set_of_constants_is_told_in_order() -> None:
    sets = [function(f"def f(x): return x in {{{one}}}") for one in ("'a', 'b', 3", "3, 'b', 'a'", "'a', 'b', 4")]
    assert body_of(sets[0]) == body_of(sets[1]) != body_of(sets[2])


def test_many_constants_are_told_apart() -> None:
    lines = "\n".join(f"    x = 'text {number}'" for number in range(600))
    first, other = f"def f():\n{lines}\n", f"def f():\n{lines.replace('text 555', 'text')}\n"
    assert body_of(function(first)) != body_of(function(other))


def test_what_a_function_has_from_around_it_is_part_of_its_body() -> None:
    def made(inner: Any) -> Callable[[], Any]:
        return lambda: inner

    def one() -> int:
        return 1

    def two() -> int:
        return 2

    values = ["a", "b", 1, None, one, two, partial(one), partial(max, 3), (1, one), (1, two), str, Email, [1], {}]
    assert len({body_of(made(value)) for value in values}) == len(values) - 1  # partial(one) is one
    assert body_of(made([1])) == body_of(made([2]))  # a list may change at any time


def test_what_a_function_sets_itself_is_no_part_of_its_body() -> None:
    calls, limit = 0, 3

    def count() -> bool:
        nonlocal calls
        calls += 1
        return calls > limit

    before = body_of(count)
    count()
    assert body_of(count) == before
    limit = 4
    assert body_of(count) != before


def test_a_function_that_calls_itself_and_a_name_without_a_value_are_no_trouble() -> None:
    def down(n: int) -> int:
        return down(n - 1) if n else later

    assert body_of(down)
    later = 1
    assert down(2) == 1


class Shouter:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __call__(self, text: str) -> str:
        return text + self.mark

    def shout(self, text: str) -> str:
        return text.upper()


def test_a_function_is_known_by_its_module_and_name() -> None:
    shouter = Shouter("!")
    assert identity_of(enough) == identity_of(partial(partial(enough))) == f"{__name__}:enough"
    assert identity_of(shouter) == f"{__name__}:Shouter" == identity_of(Shouter)
    assert identity_of(shouter.shout) == f"{__name__}:Shouter.shout"
    assert identity_of(len) == "builtins:len"
    assert identity_of(lambda: 1) == identity_of(partial(lambda x: x, 1)) == ""
    bodies = {body_of(one) for one in (shouter, shouter.shout, len, Shouter, enough, partial(function(PLAIN), 1))}
    assert len(bodies) == 6
    assert body_of(enough) == body_of(function(ast.unparse(ast.parse("def f(draft): return bool(draft.text)"))))


def test_a_program_is_known_by_the_name_that_it_would_be_imported_by(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert module_name("__main__") == "__main__"
    main.__file__ = "/somewhere/app.py"
    assert module_name("__main__") == "app"
    main.__spec__ = ModuleSpec("pack.app", None)
    assert module_name("__main__") == "pack.app"
    monkeypatch.delitem(sys.modules, "__mp_main__", raising=False)
    assert module_name("__mp_main__") == "__main__" and module_name(None) == ""


PROGRAM = """
import sys
from typing import Literal
from pydantic import BaseModel
from flujo_core import Flujo, Loop, Parallel, Step, step
from flujo_core.model.manifest import Manifest

class Word(BaseModel):
    text: Literal["a", "b"]
    more: set[str] = {"x", "y"}

def made(names, kind):
    @step
    async def check(word: Word) -> Word:
        if word.text in {"alpha", "beta", "gamma", "delta"} or kind is Word:
            return word
        return [one for one in names if one in {1, "1", None}] and word
    return check

def good(word: Word) -> bool:
    return word.text in {"left", "right", "up", "down"}

check = made(("p", "q"), Word)
pipeline = check >> Loop("l", check, until=good, max_iterations=2) >> Parallel("f", a=check, b=check, into=dict)
print(Manifest.of(pipeline).to_json())
"""


def test_a_manifest_is_the_same_in_any_process_and_however_the_program_is_begun(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.replace(", into=dict", ""))
    commands = [["program.py"], ["-m", "program"], ["-c", "import program"], ["-OO", "-c", "import program"]]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    found = {
        subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True,
            env=environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        ).stdout
        for seed, command in enumerate(commands, 1)
    }  # fmt: skip
    assert len(found) == 1
    assert "program:made.<locals>.check" in found.pop()


# -------------------------------------------------------------------------------------------------------------- agents


def told(agent: Any) -> tuple[str, ...]:
    return tuple(agent_of(agent))


def polite() -> str:
    return "Be polite."


def rude() -> str:
    return "Be rude."


def search(word: str) -> str:
    """Searches."""
    return word


def find(word: str) -> str:
    """Searches."""
    return word + word


def with_instructions(function: Callable[[], str], how: str) -> Agent[Any, Any]:
    agent = Agent(TestModel())
    getattr(agent, how)(function)
    return agent


@pytest.mark.parametrize(
    "make",
    [
        lambda: Agent(TestModel()),
        lambda: Agent(TestModel(model_name="other")),
        lambda: Agent(TestModel(), output_type=int),
        lambda: Agent(TestModel(), instructions="Be brief."),
        lambda: Agent(TestModel(), instructions="Be long."),
        lambda: Agent(TestModel(), system_prompt="Be brief, always."),
        lambda: with_instructions(polite, "instructions"),
        lambda: with_instructions(rude, "instructions"),
        lambda: with_instructions(polite, "system_prompt"),
        lambda: Agent(TestModel(), model_settings={"temperature": 0.5}),
        lambda: Agent(TestModel(), model_settings={"temperature": 0.6, "max_tokens": 5}),
        lambda: Agent(TestModel(), model_settings=lambda context: {}),
        lambda: Agent(TestModel(), tools=[search]),
        lambda: Agent(TestModel(), tools=[find]),
        lambda: Agent(TestModel(), tools=[Tool(search, name="look")]),
        lambda: Agent(TestModel(), tools=[Tool(search, requires_approval=True)]),
        lambda: Agent(TestModel(), tools=[Tool(search, description="Finds.")]),
        lambda: Agent(TestModel(), toolsets=[FunctionToolset([find])]),
        lambda: Agent(TestModel(), toolsets=[FunctionToolset([find]).prefixed("a")]),
        lambda: Agent(TestModel(), toolsets=[CombinedToolset([FunctionToolset([search])])]),
        lambda: WrapperAgent(Agent(TestModel())),
        lambda: WrapperAgent(Agent(TestModel(), tools=[search])),
        lambda: Step.agent("a", "acme/asker").action.agent,  # type: ignore[union-attr]
        lambda: Asker("Be brief."),
        lambda: Asker("Be long."),
    ],
)  # fmt: skip
def test_an_agent_is_known_by_all_that_it_is(make: Callable[[], Any]) -> None:
    assert told(make()) == told(make())
    assert told(make()) not in KNOWN
    KNOWN.add(told(make()))


KNOWN: set[tuple[str, ...]] = set()


class Asker:
    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        self.calls = 0

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        self.calls += 1
        return AgentReply(self.prompt)


def test_a_toolset_with_tools_of_another_kind_is_known_by_its_class() -> None:
    class Odd:
        tools: ClassVar[dict[str, int]] = {"a": 1}

    class Other:
        output_type, deps_type, model, toolsets = str, type(None), "test", (Odd(),)

    assert told(Other())[-1].endswith("Odd")


def test_an_agents_step_has_prompt_and_deps_in_its_body() -> None:
    agent = Agent(TestModel(), deps_type=int)

    def say(draft: Draft) -> str:
        return draft.text

    def one(draft: Draft) -> int:
        return 1

    def two(draft: Draft) -> int:
        return 2

    made = [Step.agent("a", agent, prompt=say, deps=one), Step.agent("a", agent, prompt=say, deps=two),
            Step.agent("a", agent, prompt="{{ input.text }}", input=Draft, deps=one),
            Step.agent("a", agent, prompt="{{ input }}", input=Draft, deps=one)]  # fmt: skip
    assert len({only(one).body for one in made}) == 4
    assert {only(one).action for one in made} == {""}
    assert only(Step.agent("a", Asker("x"))).action == f"{__name__}:Asker"


# --------------------------------------------------------------------------------------------------------------- types


class Mood(Enum):
    GOOD = 1
    BAD = 2


@dataclass
class Point:
    x: int
    y: int = 0
    z: list[int] = field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: str


class Typed(TypedDict, total=False):
    a: int


class Tree(BaseModel):
    children: list[Tree] = []


class Outer(BaseModel):
    inner: Inner


class Inner(BaseModel):
    value: int


UserId = NewType("UserId", int)
Json = TypeAliasType("Json", "dict[str, Json] | str")


class Lost(NamedTuple):
    what: Nowhere  # type: ignore[name-defined]  # noqa: F821


def test_a_type_without_fields_is_its_name() -> None:
    hints: list[Any] = [int, str | None, list[dict[str, int]], Any, object, Callable[[int], str]]
    assert [shape_of(hint) for hint in hints[:4]] == ["int", "str | None", "list[dict[str, int]]", "Any"]
    assert shape_of(Never) == "Never" and shape_of(tuple) == "tuple" and shape_of(hints[4]) == "object"


@pytest.mark.parametrize(
    "hint",
    [
        Email,
        list[Email],
        Email | None,
        Mood,
        Point,
        Pair,
        Typed,
        Tree,
        UserId,
        tuple[UserId, UserId],
        Json,
        Lost,
        Annotated[int, Gt(1)],
    ],
)
def test_a_type_with_fields_has_a_digest_too(hint: Any) -> None:
    name, _, digest = shape_of(hint).rpartition(" ")
    assert name and len(digest) == 12 and shape_of(hint) == shape_of(hint)


def model(base: type = BaseModel, **fields: Any) -> Any:
    names = {name: one[0] if isinstance(one, tuple) else one for name, one in fields.items()}
    values = {name: one[1] for name, one in fields.items() if isinstance(one, tuple)}
    return type("Model", (base,), {"__annotations__": names, "__module__": __name__, **values})


def positive(value: int) -> int:
    return value


def test_a_model_is_known_by_its_fields() -> None:
    class Strict(BaseModel, extra="forbid"): ...

    different = [
        model(a=int), model(a=str), model(b=int), model(a=int, b=int), model(a=(int, 1)), model(a=(int, Field(gt=1))),
        model(a=(int, Field(alias="b"))), model(a=Annotated[int, AfterValidator(positive)]), model(a=Email),
        model(Strict, a=int), model(a=(int, Field(validation_alias="c"))),
    ]  # fmt: skip
    assert len({shape_of(one) for one in different}) == len(different)
    described = model(a=(int, Field(description="What it is.")))
    described.__doc__ = "What they are."
    assert shape_of(described) == shape_of(model(a=int))
    assert shape_of(model(a=(int, 2))) == shape_of(model(a=(int, 1)))
    lists: list[Any] = [list.__class_getitem__(one) for one in different]
    assert len({shape_of(one) for one in lists}) == len({shape_of(model(m=one)) for one in lists}) == len(different)


def test_a_model_that_is_not_complete_yet_is_completed() -> None:
    early = shape_of(Outer)
    assert Outer.__pydantic_complete__ and shape_of(Outer) == early


def test_other_kinds_of_type_are_known_by_what_they_have() -> None:
    assert shape_of(Annotated[int, Gt(1)]) != shape_of(Annotated[int, Gt(2)])
    assert shape_of(Enum("Mood", {"GOOD": 1})) != shape_of(Enum("Mood", {"GOOD": 1, "BAD": 2}))
    assert shape_of(NewType("UserId", str)) != shape_of(UserId)
    assert shape_of(dataclass(type("Point", (), {"__annotations__": {"x": int}}))) != shape_of(Point)
    assert shape_of(TypedDict("Typed", {"a": int})) != shape_of(Typed)  # type: ignore[operator]
