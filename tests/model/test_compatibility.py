"""Whether a run can go on with other code: each rule, and random edits of random pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import rshift
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_pipelines import World, built, pipelines
from reference_interpreter import Plans

from flujo_core import Branch, DefinitionError, From, Loop, Map, Node, Parallel, Retry, Step, step
from flujo_core.model.compatibility import Comparison, compare
from flujo_core.model.event import NodeKind
from flujo_core.model.human import HumanInput
from flujo_core.model.manifest import Facts, Manifest
from flujo_core.model.rename import renamed
from flujo_core.model.run import NodeResult, RunState, StepResult

Edited = tuple[Facts, ...]


def named(name: str, **policies: Any) -> Step[int, int]:
    """A step of this name, and of a function of this name."""

    async def act(x: int) -> int:
        return x

    act.__qualname__ = act.__name__ = name
    return step(**policies)(act)


A, B, C, D = map(named, "abcd")


def chain(*nodes: Node[Any, Any]) -> Node[Any, Any]:
    return reduce(rshift, nodes)


def state(*parts: str | tuple[str, NodeKind], **more: dict[str, Any]) -> RunState:
    """A run in which these steps have begun: ``"a"`` has completed, ``"b?"`` is running, ``"c!"`` has failed.

    Nodes in which others run are a tuple of address and kind; keywords say more of them, by their first letters.
    """
    made = RunState()
    for part in parts:
        if isinstance(part, str):
            address, status = part.rstrip("?!"), {"?": "running", "!": "failed"}.get(part[-1], "completed")
            made.steps[address] = StepResult(address, status, 1, 0.0)  # type: ignore[arg-type]
        else:
            address, kind = part
            about: dict[str, Any] = {"status": "running", "attempts": 1, "started_at": 0.0, **more.get(address, {})}
            made.nodes[address] = NodeResult(address, kind, **about)
    return made


def against(old: Node[Any, Any], new: Node[Any, Any], run: RunState, **more: Any) -> Comparison:
    return compare(Manifest.of(old), Manifest.of(new), run, **more)


def said(found: Comparison) -> str:
    return "; ".join(map(str, found.differences))


def fits(found: Comparison) -> bool:
    return found.differences == () and found.warnings == ()


RUN = state("a", "b?")
OLD = chain(A, B, C)


# -------------------------------------------------------------------------------------------------------------- scopes


@pytest.mark.parametrize(
    "new", [OLD, chain(A, B), chain(A, B, D, C), chain(A, B, D), chain(A, B, C, D), chain(A, B, C.policy(version="2"))]
)
def test_what_follows_what_has_begun_is_free(new: Node[Any, Any]) -> None:
    assert fits(against(OLD, new, RUN))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (chain(A, D, B, C), "'d' is new in a place where it would be skipped, as the run has passed that place"),
        (chain(D, A, B, C), "'d' is new in a place where it would be skipped"),
        (chain(A, C, B), "'c' now stands before what has begun, and would be skipped"),
        (chain(B, A, C), "'b' now stands before 'a', and stood after it; the run has passed that place"),
        (chain(A, C), "'b' is not there any more, and the run has passed that place: put it back"),
        (chain(A, B.named("b2"), C), "'b' is not there any more, and the run has passed that place: put it back, or, if"
         " it is 'b2' now, say so by 'was=\"b\"'"),
        (chain(A, named("bb"), C), "if it is 'bb' now, say so by"),
        (chain(B, C), "'a' is not there any more"),
    ],
)  # fmt: skip
def test_what_has_begun_stands_where_it_stood(new: Node[Any, Any], message: str) -> None:
    (found,) = against(OLD, new, RUN).differences
    assert message in str(found)


def test_a_close_match_is_named_where_no_new_node_is() -> None:
    old, new = chain(named("refine"), A), chain(A, named("refined"))
    found = against(old, new, state("refine?"))
    assert "if it is 'refined' now, say so" in str(found.differences[0])
    only_known = compare(
        Manifest.of(chain(named("refine"), named("refined"))),
        Manifest.of(chain(named("refined"), HumanInput("a", int, ask="?"))),
        state("refine?"),
    )
    assert str(only_known.differences[0]).endswith("put it back; did you mean 'refined'?")


def test_a_node_that_was_another_is_that_one() -> None:
    found = against(OLD, chain(A, B.named("x", was="b"), C), RUN)
    assert fits(found) and found.renames == {"b": "x"} and renamed("b#2[1]/y", found.renames) == "x#2[1]/y"
    both = chain(A, C.named("b", was="c"))  # what was 'b' is not there
    assert [str(one)[:3] for one in against(OLD, both, RUN).differences] == ["'b'"]
    swapped = chain(A, B.named("c", was="b"))
    assert fits(against(chain(A, B), swapped, RUN)) and fits(against(chain(A, B), chain(A, B.policy(was="gone")), RUN))


def test_renames_are_found_at_any_depth() -> None:
    old = Loop("l", chain(A, Parallel("f", x=B, y=C)) >> step(lambda d: 1).named("z"), until=bool, max_iterations=2)
    new = Loop(
        "m", chain(A, Parallel("g", x=B.named("b2", was="b"), y=C, was="f")) >> step(lambda d: 1).named("z"),
        until=bool, max_iterations=2, was="l",
    )  # fmt: skip
    run = state(("l", "loop"), "l[1]/a", ("l[1]/f", "parallel"), "l[1]/f[x]/b?")
    found = against(old, new, run)
    assert found.renames == {"l": "m", "l[*]/f": "m[*]/g", "l[*]/f[x]/b": "m[*]/g[x]/b2"} and not found.differences
    assert renamed("l[1]/f[x]/b", found.renames) == "m[1]/g[x]/b2"


# -------------------------------------------------------------------------------------------------------------- leaves


class Fields(TypedDict):
    a: int


def typed(takes: Any, gives: Any, **policies: Any) -> Step[Any, Any]:
    async def b(x: Any) -> Any:
        return x

    b.__qualname__ = "b"
    b.__annotations__ = {"x": takes, "return": gives}
    return step(**policies)(b)


def other_body(**policies: Any) -> Step[int, int]:
    async def b(x: int) -> int:
        return x + 1

    b.__qualname__ = "b"
    return step(**policies)(b)


@pytest.mark.parametrize(
    ("b", "what"),
    [
        (C.named("b"), "its function was 'tests.model.test_compatibility:b' and is"),
        (typed(int, str), "its output type was 'int' and is 'str' now"),
        (typed(str, int), "its input type was 'int' and is 'str' now"),
        (step(lambda x: x).named("b"), "and is 'a lambda' now"),
        (B.policy(version="2"), "is under way with no version, and has version '2' now: say how it goes on, by"
         " 'migrations={\"\": ...}'"),
    ],
)  # fmt: skip
def test_an_open_step_stays_what_it_is_unless_it_has_a_migration(b: Any, what: str) -> None:
    run = state("b?")
    found = against(B, b, run)
    assert any(what.replace("is 'a lambda'", "is a lambda") in str(one) for one in found.differences)
    migrated = b.policy(version="2", migrations={"": lambda old: old})
    assert fits(against(B, migrated, run)) and against(B, migrated, run).migrated == {"b": ""}
    assert against(B, b.policy(version="2", migrations={"": None}), run) == Comparison()
    assert fits(against(B, b, state("b"))) and fits(against(B, b, RunState())) and fits(against(B, b, state("b!")))


def test_a_version_that_is_taken_away_is_given_again() -> None:
    (found,) = against(B.policy(version="1"), B, state("b?")).differences
    assert str(found) == "'b' is under way with version '1', and has no version now: give it that again"


def test_a_changed_body_of_an_open_step_is_a_warning_or_refused() -> None:
    run = state("b?")
    found = against(B, other_body(), run)
    assert found.warnings == ("'b' is under way, and does something else now",) and not found.differences
    (difference,) = against(B, other_body(), run, refuse_body_changes=True).differences
    assert "give it another 'version' and 'migrations={\"\": None}'" in difference.message
    assert fits(against(B, other_body(), state("b"), refuse_body_changes=True))
    meant = other_body(version="2", migrations={"": None})
    assert fits(against(B, meant, run, refuse_body_changes=True))


def test_bodies_are_not_compared_between_versions_of_python() -> None:
    old, new, run = Manifest.of(chain(A, B, C)), Manifest.of(chain(A, other_body(), C)), state("a?", "b?")
    found = compare(replace(old, python="3.9"), new, run)
    assert len(found.warnings) == 1 and "another minor version of Python" in found.warnings[0] and not found.differences
    assert len(compare(replace(old, python="3.9"), new, run, refuse_body_changes=True).differences) == 1
    assert fits(compare(replace(old, python="3.9"), new, state("a", "b")))


def test_named_inputs_that_follow_a_rename_are_the_same() -> None:
    def taking(source: str) -> Step[Any, int]:
        async def b(x: int, *, one: Annotated[int, From(source)]) -> int:
            return x

        b.__qualname__ = "b"
        b.__annotations__["one"] = Annotated[int, From(source)]
        return step(b)

    run, old = state("a", "b?"), chain(A, taking("a"))
    assert fits(against(old, chain(A.named("z", was="a"), taking("z")), run))
    found = against(chain(C, A, taking("a")), chain(C, A, taking("c")), state("c", "a", "b?"))
    assert found.warnings == ("'b' is under way, and its named inputs are others now",)


def test_a_closed_step_may_be_migrated_and_stays_of_its_kind() -> None:
    new = chain(A.policy(version="3", migrations={"": lambda old: old}), B)
    found = against(chain(A, B), new, state("a", "b?"))
    assert fits(found) and found.migrated == {"a": ""}
    question = chain(HumanInput("a", int, ask="?"), B)
    (difference,) = against(chain(A, B), question, state("a", "b?")).differences
    assert "'a' was of the kind 'step' and is of the kind 'human' now" in difference.message


def test_the_fallback_that_runs_is_a_scope_like_others() -> None:
    def with_fallback(*nodes: Node[Any, Any]) -> Node[Any, Any]:
        return A.policy(fallback=chain(*nodes)) >> D

    run = state("a?", "a~fallback/b", "a~fallback/c?")
    assert fits(against(with_fallback(B, C), with_fallback(B, C, D), run))
    assert not fits(against(with_fallback(B, C), with_fallback(B, D, C), run))
    (found,) = against(with_fallback(B, C), A >> D, run).differences
    assert found == ("a", "step 'a' has lost its fallback, in which the run is or was: put it back")
    assert fits(against(with_fallback(B, C), A >> D, state("a", "a~fallback/b", "a~fallback/c")))
    assert fits(against(with_fallback(B, C), A >> D, state("a?")))


# ------------------------------------------------------------------------------------------------- nodes around others


def loop(*nodes: Node[Any, Any], until: Any = bool, **more: Any) -> Node[Any, Any]:
    return Loop("l", chain(*nodes), until=until, **{"max_iterations": 3, **more}) >> D


LOOP = state(("l", "loop"), "l[1]/a", "l[1]/b?")
ENDED = state(("l", "loop"), "l[1]/a", "l[1]/b", "l[2]/a", "l[2]/b", "d?", l={"status": "completed", "iterations": 2})


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (loop(A, B, C), "'l[*]/c' is new in a place where it would be skipped, as 'l' has not ended, and may be in any"
         " place of its body: put it behind 'l'"),
        (loop(A), "'l[*]/b' is not there any more"),
        (loop(B, A), "'l[*]/b' now stands before 'l[*]/a'"),
        (loop(A, B.policy(version="2")), "'l[*]/b' is under way with no version"),
        (loop(A.policy(version="2"), B), "'l[*]/a' is under way with no version"),
        (loop(HumanInput("a", int, ask="?"), B), "'l[*]/a' was of the kind 'step'"),
        (loop(A, B, until=lambda x: True), "'l' is under way, and its 'until' was 'builtins:bool' and is a lambda now"),
        (loop(A, B.policy(fallback=C)), "step 'l[*]/b' has begun with the parts , and has '~fallback' now"),
    ],
)  # fmt: skip
def test_the_body_of_an_unfinished_loop_is_open_in_all_places(new: Node[Any, Any], message: str) -> None:
    assert any(message in str(one) for one in against(loop(A, B), new, LOOP).differences)
    assert not against(loop(A, B), new, state("x")).differences


def test_an_unfinished_loop_may_change_its_bodies_and_names() -> None:
    new = loop(A.named("a2", was="a"), other_body(), max_iterations=4)
    found = against(loop(A, B), new, LOOP)
    assert not found.differences and found.renames == {"l[*]/a": "l[*]/a2"}
    assert found.warnings == ("'l' is under way, and does something else now",
                              "'l[*]/b' is under way, and does something else now")  # fmt: skip


def test_a_loop_that_has_ended_keeps_its_nodes_and_may_change_what_they_are() -> None:
    free = loop(C.named("a"), other_body(version="2"), until=lambda x: True, max_iterations=9)
    assert fits(against(loop(A, B), free, ENDED))
    for new in (loop(A, B, C), loop(A), loop(B, A)):
        (found,) = {str(one) for one in against(loop(A, B), new, ENDED).differences}
        assert "as 'l' has ended" in found or "'l' has ended" in found


def test_an_unfinished_map_is_like_a_loop() -> None:
    def each(*nodes: Node[Any, Any], **more: Any) -> Node[Any, Any]:
        return Map("m", chain(*nodes), over=more.pop("over", list), **more)

    run = state(("m", "map"), "m[0]/a", "m[1]/a?", m={"scopes": ("[0]", "[1]")})
    assert fits(against(each(A, B), each(A, B, max_concurrency=2), run))
    assert not fits(against(each(A, B), each(A, B, C), run))
    assert "'over' was 'builtins:list' and is" in said(against(each(A, B), each(A, B, over=tuple), run))
    assert "'key' was not given and is 'builtins:str'" in said(against(each(A, B), each(A, B, key=str), run))
    done = state(("m", "map"), "m[0]/a", "m[1]/a", m={"scopes": ("[0]", "[1]"), "status": "completed"})
    assert fits(against(each(A), each(A, over=tuple), done)) and not fits(against(each(A), each(A, B), done))


def fan(into: Any = None, name: str = "f", **branches: Node[Any, Any]) -> Node[Any, Any]:
    made: Any = Parallel(name, dict(branches)) if into is None else Parallel(name, dict(branches), into=into)
    return made  # type: ignore[no-any-return]


def test_an_open_parallel_keeps_its_branches_and_a_branch_is_a_scope() -> None:
    run = state(("f", "parallel"), "f[x]/a", "f[y]/b?")
    old = fan(x=A, y=B)
    assert fits(against(old, fan(x=A, y=B), run)) and fits(against(old, fan(x=chain(A, D), y=chain(B, D)), run))
    (found,) = against(old, fan(y=B, x=A), run).differences
    assert found.message.startswith("parallel 'f' has begun with the parts 'x', 'y', and has 'y', 'x' now")
    assert not fits(against(old, fan(x=A, y=B, z=C), run)) and not fits(against(old, fan(x=A), run))
    assert not fits(against(old, fan(x=chain(D, A), y=B), run))
    assert "output type was not given and is 'Fields" in str(
        against(fan(a=A), fan(Fields, a=A), state(("f", "parallel"), "f[a]/a?")).differences[0]
    )


def test_a_parallel_that_has_ended_keeps_its_branches() -> None:
    run = state(("f", "parallel"), "f[x]/a", "f[y]/b", f={"status": "completed"})
    assert fits(against(fan(x=A, y=B), fan(y=B.policy(version="2"), x=A), run))
    assert not fits(against(fan(x=A, y=B), fan(x=A), run))
    assert not fits(against(fan(x=A, y=B), fan(x=chain(A, D), y=B), run))


def route(on: Any = bool, **cases: Node[Any, Any]) -> Node[Any, Any]:
    made: Any = Branch("r", on=on)
    for name, node in cases.items():
        made = made.case(name, node)
    return made  # type: ignore[no-any-return]


def test_an_open_branch_keeps_the_case_that_it_took() -> None:
    old, taken = route(str, x=A, y=B), {"r": {"case": "x"}}
    run = state(("r", "branch"), "r[x]/a?", **taken)
    assert fits(against(old, route(str, x=chain(A, D), z=C), run)) and fits(against(old, route(repr, x=A), run))
    (found,) = against(old, route(str, y=B), run).differences
    assert found.message == "branch 'r' has lost its part 'x', in which the run is or was: put it back"
    undecided = state(("r", "branch"))
    assert fits(against(old, route(str, z=C), undecided))
    assert "'on' was 'builtins:str' and is 'builtins:repr'" in said(against(old, route(repr, x=A), undecided))
    ended = state(("r", "branch"), "r[x]/a", r={"case": "x", "status": "completed"})
    assert fits(against(old, route(repr, x=A), ended)) and not fits(against(old, route(str, x=chain(A, D)), ended))


def test_a_branch_in_an_unfinished_loop_keeps_all_its_cases() -> None:
    run = state(("l", "loop"), ("l[1]/r", "branch"), "l[1]/r[x]/a?")
    old = loop(route(str, x=A, y=B))
    assert fits(against(old, loop(route(str, y=B, x=A)), run))
    assert not fits(against(old, loop(route(str, x=A)), run))
    assert not fits(against(old, loop(route(str, x=A, y=chain(B, C))), run))


def test_a_pipeline_with_a_name_is_a_scope() -> None:
    run = state("a", ("p", "pipeline"), "p/b?")
    old = A >> chain(B, C).named("p")
    assert fits(against(old, A >> chain(B, D).named("p"), run))
    assert not fits(against(old, A >> chain(D, B, C).named("p"), run)) and not fits(against(old, chain(A, B, C), run))
    again = A >> chain(B, C).named("p").policy(retry=Retry(2))
    (found,) = against(old, again, run).differences
    assert "pipeline 'p' is under way and has got its first retry, timeout, fallback or cache" in found.message
    assert "has lost its last retry" in said(against(again, old, run))
    assert fits(against(old, A >> chain(B, C).named("q").policy(was="p", version="2", migrations={"": None}), run))


def test_what_has_run_in_a_node_that_may_begin_anew_is_open() -> None:
    def retried(*nodes: Node[Any, Any]) -> Node[Any, Any]:
        return chain(*nodes).named("p").policy(retry=Retry(2))

    run = state(("p", "pipeline"), "p/b", ("p/r", "branch"), "p/r[x]/a", "p/c?", **{"p/r": {"case": "x", "status":
                "completed"}})  # fmt: skip
    old = retried(B, route(str, x=A), C)
    assert not fits(against(old, retried(C.named("b"), route(str, x=A), C), run))
    assert not fits(against(old, retried(B, route(repr, x=A), C), run))
    assert not fits(against(old, retried(B, route(str, x=D.named("a")), C), run))
    assert fits(against(old, retried(B, route(str, x=A, y=D), C, D), run))


def test_of_several_attempts_only_the_last_one_counts() -> None:
    run = state(("p", "pipeline"), "p/b", "p/c!", "p#2/b?", p={"attempts": 2})
    old = chain(B, C).named("p").policy(retry=Retry(3))
    assert fits(against(old, chain(B, D, C).named("p").policy(retry=Retry(3)), run))


def test_of_a_node_whose_fallback_runs_the_fallback_counts() -> None:
    def standing_in(*nodes: Node[Any, Any], instead: Node[Any, Any] = D) -> Node[Any, Any]:
        return chain(*nodes).named("p").policy(fallback=instead)

    old = standing_in(B, C)
    run = state(("p", "pipeline"), "p/b!", "p~fallback/d?")
    assert fits(against(old, standing_in(C, B), run))
    assert not fits(against(old, standing_in(B, C, instead=chain(A, D)), run))
    ended = state(("p", "pipeline"), "p/b!", "p~fallback/d", p={"status": "completed", "source": "fallback"})
    assert not fits(against(old, standing_in(B, C, instead=chain(D, A)), ended))
    failed = state(("p", "pipeline"), "p/b!", "p~fallback/d!", p={"status": "failed"})
    assert not fits(against(old, standing_in(C, B), failed))


def test_in_what_came_from_the_cache_nothing_has_run() -> None:
    run = state(("p", "pipeline"), "d?", p={"status": "completed", "source": "cache"})
    assert fits(against(chain(B, C).named("p") >> D, chain(C, A, B).named("p") >> D, run))


# ---------------------------------------------------------------------------------------------------- random pipelines


@dataclass
class Progress:
    """A run that has come as far as a number of leaves.

    Attributes:
        left: How many leaves are still to begin.
        run: Its state.
        begun: How many nodes of each scope have begun, by its static path.
        fixed: The static paths of scopes that are fixed as a whole.
        open: The static addresses of the leaves that are open.
        statics: The static address of each leaf that has begun.
    """

    left: int
    run: RunState = field(default_factory=RunState)
    begun: dict[str, int] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    statics: dict[str, str] = field(default_factory=dict)

    def scope(self, nodes: Edited, path: str, static: str) -> bool:
        for place, one in enumerate(nodes, 1):
            if not self.left:
                return False
            self.begun[static] = max(place, self.begun.get(static, 0))
            slash = "/" if path else ""
            if not self.node(one, f"{path}{slash}{one.segment}", f"{static}{slash}{one.segment}"):
                return False
        return True

    def node(self, one: Facts, address: str, static: str) -> bool:
        if one.kind in ("step", "agent", "human"):
            self.left -= 1
            self.statics[address] = static
            self.run.steps[address] = StepResult(address, "completed" if self.left else "running", 1, 0.0)
            if not self.left:
                self.open.add(static)
            return self.left > 0
        result = self.run.nodes[address] = NodeResult(address, one.kind, "running", 1, 0.0)  # type: ignore[arg-type]
        segments = [segment for segment in one.scopes if segment != "~fallback"]
        instances = [(segment, segment) for segment in segments]
        if one.kind == "branch":
            result.case, instances = segments[0][1:-1], instances[:1]
        elif one.kind in ("loop", "map"):
            instances = [("[*]", "[1]"), ("[*]", "[2]")]
            result.iterations, result.scopes = 2, ("[1]", "[2]")
        before = set(self.run.steps)
        if all(self.scope(one.scopes[segment], address + place, static + segment) for segment, place in instances):
            result.status = "completed"
            self.fixed |= {static + segment for segment, _ in instances}
            return True
        if one.kind in ("loop", "map"):
            self.fix(one.scopes["[*]"], static + "[*]")
        if one.retries:
            self.open |= {self.statics[address] for address in self.run.steps.keys() - before}
        return False

    def fix(self, nodes: Edited, static: str) -> None:
        """Notes that a scope is open in all places."""
        self.fixed.add(static)
        for one in nodes:
            if one.kind == "step":
                self.open.add(f"{static}/{one.segment}")
            for segment, inner in one.scopes.items():
                self.fix(inner, f"{static}/{one.segment}{segment}")


def scopes(nodes: Edited, static: str = "") -> Mapping[str, Edited]:
    """All scopes by their static paths."""
    found = {static: nodes}
    for one in nodes:
        address = f"{static}{'/' if static else ''}{one.segment}"
        for segment, inner in one.scopes.items():
            found |= scopes(inner, address + segment)
    return found


def edited(nodes: Edited, at: str, changed: Edited, static: str = "") -> Edited:
    """The nodes with another scope ``at`` a static path."""
    if static == at:
        return changed
    made = []
    for one in nodes:
        address = f"{static}{'/' if static else ''}{one.segment}"
        inner = {segment: edited(body, at, changed, address + segment) for segment, body in one.scopes.items()}
        made.append(replace(one, scopes=inner))
    return tuple(made)


NEW = Facts("new")


@st.composite
def runs(draw: st.DrawFn) -> tuple[Manifest, Progress]:
    plans: Plans = draw(pipelines())
    manifest = Manifest.of(built(plans, World()))
    assume(
        not any("[1]" in path or "[2]" in path for path in scopes(manifest.nodes))
    )  # cases, which ``statics`` mistakes
    progress = Progress(draw(st.integers(1, 12)))
    progress.scope(manifest.nodes, "", "")
    return manifest, progress


@given(runs(), st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_an_edit_of_what_has_begun_is_found_and_one_of_what_follows_is_free(
    made: tuple[Manifest, Progress], data: st.DataObject
) -> None:
    manifest, progress = made
    assert compare(manifest, Manifest(manifest.nodes), progress.run) == Comparison()
    path, nodes = data.draw(st.sampled_from(sorted(scopes(manifest.nodes).items())))
    what = data.draw(st.sampled_from(["insert", "remove", "swap", "rename", "was", "version"]))
    place = data.draw(st.integers(0, len(nodes) - (what != "insert")))
    before, one, after = nodes[:place], nodes[place : place + 1], nodes[place + 1 :]
    bad = path in progress.fixed or place < progress.begun.get(path, 0)
    match what:
        case "insert":
            changed = (*before, NEW, *one, *after)
        case "remove":
            changed = (*before, *after)
        case "swap":
            assume(after)
            changed = (*before, *after[:1], *one, *after[1:])
        case "rename":
            changed = (*before, replace(one[0], name="new"), *after)
        case "was":
            changed, bad = (*before, replace(one[0], name="new", was=one[0].name), *after), False
        case _:
            assume(one[0].kind == "step")
            address = f"{path}{'/' if path else ''}{one[0].segment}"
            changed, bad = (*before, replace(one[0], version="9"), *after), address in progress.open
    found = compare(manifest, Manifest(edited(manifest.nodes, path, changed)), progress.run)
    assert bool(found.differences) is bad, found
    assert what == "was" or not found.warnings  # a named input may have the name that it was
    if what == "was":
        address = f"{path}{'/' if path else ''}{one[0].segment}"
        assert found.renames == {address: f"{path}{'/' if path else ''}new"}


# ------------------------------------------------------------------------------------------- when it is built


def test_a_name_that_another_node_has_cannot_be_what_one_was() -> None:
    with pytest.raises(DefinitionError, match="step 'b' has 'was=\"a\"', and there is a step 'a' beside it"):
        chain(A, B.policy(was="a"))
    with pytest.raises(DefinitionError, match="steps 'a' and 'b' both have 'was=\"x\"'"):
        chain(A.policy(was="x"), B.named("b", was="x"))
    chain(A.policy(was="x"), chain(B.policy(was="x"), A).named("p")).check()  # another scope


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ({"was": 1}, "'was' is a 'str', such as 'old_name', not 'int'"),
        ({"was": " "}, "'was' is the name that a node had before; it is empty"),
        ({"version": "2", "migrations": ["1"]}, "'migrations' is a mapping by version, .* not 'list'"),
        ({"migrations": {"1": None}}, "'migrations' go to a version, and there is none"),
        ({"version": "2", "migrations": {1: None}}, "'migrations' are by version, a text, and not 'int'"),
        ({"version": "2", "migrations": {"2": None}}, "and '2' is this one"),
        (
            {"version": "2", "migrations": {"1": 7}},
            "the migration from version '1' is a function of an output, .* 'int'",
        ),
    ],
)
def test_what_says_how_a_node_goes_on_is_checked_when_it_is_built(policies: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        named("a", **policies)


def test_every_node_can_say_what_it_was() -> None:
    nodes: list[Node[Any, Any]] = [
        A.policy(was="x"), step(was="x")(lambda a: a), A.named("b", was="x"), (A >> B).named("p", was="x"),
        Parallel("f", a=A, was="x"), Map("m", A, was="x"), Loop("l", A, until=bool, max_iterations=1, was="x"),
        Branch("r", on=bool, was="x"), HumanInput("h", int, ask="?", was="x"),
        HumanInput("h", int, ask="?").policy(was="x"), Step.agent("s", "acme/asker", was="x"),
    ]  # fmt: skip
    assert [node.policies.was for node in nodes] == ["x"] * len(nodes)
    assert not any(node.policies.guards for node in nodes) and A.policy(timeout=1).policies.guards
