"""Runs that change their own pipeline (DESIGN 9, SEMANTICS 14 and 21): what is done, what is refused, what is kept."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, ClassVar

import pytest
from crash_kit import crashed, done, durable, events_in
from flow_kit import ALONE, State

from flujo_core import (
    AuthorizationRequest,
    Branch,
    Cache,
    ChangeRefused,
    Decision,
    Flujo,
    From,
    HumanInput,
    IncompatiblePipeline,
    Loop,
    Map,
    MemoryStore,
    Parallel,
    PauseForHumanInput,
    PipelineMutated,
    PipelineMutation,
    Plugin,
    Registry,
    Retry,
    RunFailed,
    Step,
    StepCall,
    StepResult,
    diagram,
    step,
)
from flujo_core.errors import DefinitionError
from flujo_core.testing import run_step

Change = Callable[[str], "PipelineMutation[str]"]


def says(name: str) -> Step[str, str]:
    """A step that adds its name."""

    @step(name=name)
    async def say(text: str) -> str:
        return f"{text} {name}"

    return say


@step
async def count(text: str) -> int:
    return len(text)


@step
async def asker(text: str) -> str | PauseForHumanInput[str]:
    return PauseForHumanInput("Which?", str)


@step
async def recalls(text: str, *, first: Annotated[str, From("first")]) -> str:
    return f"{text} [{first}]"


@step
async def growing(text: str) -> str | PipelineMutation[str]:
    return PipelineMutation(f"{text} growing", insert_after={"growing": ["acme/extra"]})


class Acme(Plugin):
    """Registers what changes may name; lets a word say no."""

    name: ClassVar[str] = "acme"

    def __init__(self, *forbidden: str) -> None:
        self.forbidden = forbidden
        self.asked: list[AuthorizationRequest] = []

    def register_steps(self, registry: Registry[Any], /) -> None:
        for name in ("extra", "better", "late"):
            registry.add(name, says(name))
        for made in (count, recalls, growing, asker):
            registry.add(made.name, made)

    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        self.asked.append(request)
        return Decision.deny("not here") if request.action in self.forbidden else None


def changes(change: Change, name: str = "plan", **policies: Any) -> Step[str, str]:
    """A step that asks for a change."""

    @step(name=name, **policies)
    async def plan(text: str) -> str | PipelineMutation[str]:
        return change(f"{text} {name}")

    return plan


def adding(after: str = "plan", *names: str) -> Change:
    return lambda text: PipelineMutation(text, insert_after={after: list(names or ["acme/extra"])})


def ran(node: Any, **keywords: Any) -> Any:
    """The result of a run with a store."""
    plugins = keywords.pop("plugins", None) or [Acme()]
    made: Flujo[Any, Any, Any] = Flujo(
        node, settings=ALONE, plugins=plugins, **{"store": MemoryStore(), "context": State, **keywords}
    )
    return made.run("go")


def refusals(result: Any) -> list[tuple[str, str]]:
    return [(one.reason, one.message) for one in result.events if isinstance(one, ChangeRefused)]


# ------------------------------------------------------------------------------------------------------- what is done


@pytest.mark.parametrize("store", [None, "memory"])
def test_a_step_inserts_replaces_and_removes_what_comes_after_it(store: str | None) -> None:
    plan = changes(
        lambda text: PipelineMutation(
            text,
            insert_after={"plan": ["acme/extra"], "end": ["acme/late"]},
            replace={"old": "acme/better"},
            remove=["gone"],
        )
    )
    node = plan >> says("old") >> says("gone") >> says("end")
    result = ran(node, store=None if store is None else MemoryStore())
    assert result.output == "go plan extra better end late"
    [made] = [one for one in result.events if isinstance(one, PipelineMutated)]
    assert made.address == "plan"
    assert len(made.fingerprint) > 10
    assert not refusals(result)


def test_what_is_put_in_place_of_a_step_by_its_name_alone_has_that_step_s_name() -> None:
    plan = changes(lambda text: PipelineMutation(text, replace={"old": "acme/better"}))
    result = ran(plan >> says("old") >> says("end"))
    assert [one.address for one in result.steps] == ["plan", "old", "end"]
    assert result.output == "go plan better end"


def test_nodes_and_specs_of_registered_steps_are_put_in_too() -> None:
    extra, late = (Step.registered(f"acme/{name}", takes=str, gives=str) for name in ("extra", "late"))
    inner = (extra >> late).named("inner")
    spec = {"use": "acme/better", "name": "best"}
    plan = changes(lambda text: PipelineMutation(text, insert_after={"plan": [inner, spec]}))
    result = ran(plan >> says("end"))
    assert result.output == "go plan extra late better end"
    assert "inner/extra" in [one.address for one in result.steps]


def test_a_step_that_was_put_in_may_change_the_pipeline_itself() -> None:
    result = ran(changes(adding("plan", "acme/growing")) >> says("end"))
    assert result.output == "go plan growing extra end"


def test_what_is_put_in_takes_named_inputs() -> None:
    result = ran(says("first") >> changes(adding("plan", "acme/recalls")) >> says("end"))
    assert result.output == "go first plan [go first] end"


def test_a_mutation_that_changes_nothing_is_the_output_alone() -> None:
    result = ran(changes(PipelineMutation) >> says("end"))
    assert result.output == "go plan end"
    assert not [one for one in result.events if isinstance(one, PipelineMutated | ChangeRefused)]


def test_the_rest_of_a_scope_can_be_removed() -> None:
    plan = changes(lambda text: PipelineMutation(text, remove=["old", "end"]))
    assert ran(plan >> says("old") >> says("end")).output == "go plan"


def test_a_change_holds_for_its_iteration_alone() -> None:
    rounds: list[int] = []

    def once(text: str) -> PipelineMutation[str]:
        rounds.append(1)
        return PipelineMutation(text, replace={"old": "acme/better"} if len(rounds) == 2 else {})

    body = changes(once) >> says("old")
    node = Loop("again", body, until=lambda text: False, max_iterations=3, on_exhausted="return")
    assert ran(node >> says("end")).output == "go plan old plan better plan old end"


def test_a_change_holds_for_its_branch_item_case_and_sub_pipeline_alone() -> None:
    @step
    async def joined(parts: dict[str, str]) -> str:
        return "|".join(parts.values())

    @step
    async def listed(parts: list[str]) -> str:
        return "|".join(parts)

    body = changes(lambda text: PipelineMutation(text, insert_after={"plan": ["acme/extra"] if "1" in text else []}))
    fan = Parallel("fan", left=changes(adding()) >> says("end"), right=says("plan") >> says("end"))
    assert ran(fan >> joined).output == "go plan extra end|go plan end"
    each = Map("each", body >> says("end"), over=lambda text: [f"{text}1", f"{text}2"])
    assert ran(each >> listed).output == "go1 plan extra end|go2 plan end"
    route = Branch("route", on=lambda text: True).case(True, changes(adding()) >> says("end")).case(False, says("no"))
    assert ran(route >> says("z")).output == "go plan extra end z"
    sub = (changes(adding()) >> says("old")).named("sub")
    assert ran(sub >> says("z")).output == "go plan extra old z"


def test_a_fallback_may_change_what_comes_after_in_it() -> None:
    @step(name="bad")
    async def bad(text: str) -> str:
        raise ValueError

    node = bad.policy(fallback=changes(adding()) >> says("end"))
    assert ran(node >> says("z")).output == "go plan extra end z"


def test_a_step_that_fails_and_is_tried_again_changes_the_pipeline_once() -> None:
    tries: list[int] = []

    def second(text: str) -> PipelineMutation[str]:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return PipelineMutation(text, insert_after={"plan": ["acme/extra"]})

    result = ran(changes(second, retry=Retry(attempts=2)) >> says("end"))
    assert result.output == "go plan extra end"
    assert [one.attempt for one in result.events if isinstance(one, PipelineMutated)] == [2]


def test_an_output_with_a_change_is_not_cached() -> None:
    plan = changes(adding(), cache=Cache())
    made: Flujo[Any, Any, Any] = Flujo(plan >> says("end"), settings=ALONE, plugins=[Acme()])
    assert made.run("go").output == made.run("go").output == "go plan extra end"


def test_a_question_that_was_put_in_is_answered_with_its_own_type() -> None:
    async def main() -> None:
        flujo = durable(changes(adding("plan", "acme/asker")) >> says("end"), MemoryStore(), plugins=[Acme()])
        paused = await flujo.run_async("go", run_id="r")
        assert paused.status == "paused"
        result = await flujo.resume_async("r", "yes")
        assert result.output == "yes end"
        assert [one.output for one in result.steps] == ["go plan", "yes", "yes end"]

    done(main())


def test_a_portable_state_carries_what_was_put_in() -> None:
    async def main() -> None:
        node = changes(adding("plan", "acme/extra", "acme/asker")) >> says("end")
        flujo: Flujo[Any, Any, Any] = Flujo(node, settings=ALONE, plugins=[Acme()])
        paused = await flujo.run_async("go")
        result = await flujo.resume_async(paused.state, "yes")
        assert result.output == "yes end"
        assert [one.output for one in result.steps][1] == "go plan extra"

    done(main())


def test_a_plugin_that_changes_the_output_or_pauses_behind_it_leaves_the_change_as_it_is() -> None:
    class Post(Acme):
        async def post_step_execution(
            self, call: StepCall, result: StepResult, /
        ) -> StepResult | PauseForHumanInput[bool] | None:
            if call.step_name != "plan":
                return None
            return result.replace(output="other") if call.answer else PauseForHumanInput("May it?", bool)

    async def main() -> None:
        flujo = durable(changes(adding()) >> says("end"), MemoryStore(), plugins=[Post()])
        assert (await flujo.run_async("go", run_id="r")).status == "paused"
        assert (await flujo.resume_async("r", True)).output == "other extra end"

    done(main())


def test_a_plugin_around_the_step_that_changes_the_output_leaves_the_change_as_it_is() -> None:
    class Around(Acme):
        async def around_step(self, call: StepCall, proceed: Any, /) -> StepResult:
            result: StepResult = await proceed()
            return result.replace(output=f"{result.output}!")

    assert ran(changes(adding()) >> says("end"), plugins=[Around()]).output == "go plan! extra! end!"


def test_without_plugins_that_have_a_say_nobody_is_asked() -> None:
    class Quiet(Plugin):
        name: ClassVar[str] = "acme"

        def register_steps(self, registry: Registry[Any], /) -> None:
            registry.add("extra", says("extra"))

    assert ran(changes(adding()) >> says("end"), plugins=[Quiet()]).output == "go plan extra end"


def test_plugins_are_asked_whether_a_change_may_be() -> None:
    acme = Acme()
    ran(changes(adding()) >> says("end"), plugins=[acme])
    [asked] = [one for one in acme.asked if one.action == "mutate"]
    assert asked.address == "plan"
    assert json.loads(asked.change or "")["insert_after"]["plan"][0]["use"] == "acme/extra"


# ------------------------------------------------------------------------------------------------------ what is refused


def asking(**change: Any) -> Change:
    return lambda text: PipelineMutation(text, **change)


REFUSED: list[tuple[str, Change, str, str]] = [
    ("a type that does not fit", asking(insert_after={"plan": ["acme/count"]}), "types", "gives 'int'"),
    ("a last type that does not fit", asking(insert_after={"end": ["acme/count"]}), "types", "'str' is counted on"),
    ("a name that nobody has", asking(remove=["edn"]), "unknown", "did you mean 'end'"),
    ("a step that nobody registered", asking(insert_after={"plan": ["acme/extar"]}), "unknown", "acme/extra"),
    ("the past", asking(replace={"first": "acme/better"}), "past", "has been reached"),
    ("the step itself", asking(remove=["plan"]), "past", "has been reached"),
    ("before the step", asking(insert_after={"first": ["acme/extra"]}), "past", "has been reached"),
    (
        "the name of what has run",
        asking(insert_after={"plan": [{"use": "acme/extra", "name": "first"}]}),
        "past",
        "one of that name has run",
    ),
    (
        "the name of what was removed",
        asking(remove=["end"], insert_after={"old": [{"use": "acme/extra", "name": "end"}]}),
        "reused",
        "taken away",
    ),
    ("a name twice", asking(insert_after={"plan": ["acme/extra", "acme/extra"]}), "spec", "extra"),
    ("an import path", asking(insert_after={"plan": [{"call": "os:system"}]}), "import_path", "import path"),
    ("an import path as a type", asking(insert_after={"plan": [{"use": "acme/extra", "takes": "os:PathLike"}]}),
     "import_path", "import path"),
    ("a function", asking(insert_after={"plan": [says("own")]}), "import_path", "plugin has registered"),
    (
        "an agent described in place",
        asking(insert_after={"plan": [{"agent": "a", "of": {"model": "openai:gpt-5"}}]}),
        "import_path",
        "describes an agent",
    ),
    ("what is no node", asking(insert_after={"plan": [3]}), "spec", "'int'"),
    ("a spec that says nothing", asking(insert_after={"plan": [{}]}), "spec", "cannot be read"),
    ("what is no plain data", asking(insert_after={"plan": [{"use": object()}]}), "spec", "plain data"),
    ("to replace and to remove", asking(replace={"old": "acme/better"}, remove=["old"]), "spec", "both"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "reason", "said"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_a_change_that_cannot_be_is_refused_and_the_run_goes_on(change: Change, reason: str, said: str) -> None:
    result = ran(says("first") >> changes(change) >> says("old") >> says("end"))
    assert result.output == "go first plan old end"
    [(why, message)] = refusals(result)
    assert why == reason
    assert said in message


def test_a_veto_refuses_the_change_and_not_the_run() -> None:
    result = ran(changes(adding()) >> says("end"), plugins=[Acme("mutate")])
    assert result.output == "go plan end"
    assert refusals(result) == [("vetoed", "not here")]


def test_more_changes_than_allowed_are_refused() -> None:
    again = changes(adding("again", "acme/late"), "again")
    result = ran(changes(adding()) >> again >> says("end"), max_mutations=1)
    assert result.output == "go plan extra again end"
    assert [reason for reason, _ in refusals(result)] == ["limit"]


def test_a_name_that_was_taken_away_is_not_used_again_in_the_same_instance() -> None:
    old = {"use": "acme/late", "name": "old"}
    again = changes(lambda text: PipelineMutation(text, insert_after={"again": [old]}), "again")
    plan = changes(lambda text: PipelineMutation(text, remove=["old"]))
    result = ran(plan >> again >> says("old") >> says("end"))
    assert result.output == "go plan again end"
    assert [reason for reason, _ in refusals(result)] == ["reused"]


def test_a_step_that_takes_what_has_streamed_is_refused_as_that_was_not_kept() -> None:
    @step
    async def give(text: str) -> AsyncIterator[str]:
        yield text

    @step
    async def take(texts: AsyncIterator[str]) -> str:
        return "".join([text async for text in texts])

    node = give.named("first") >> take >> changes(adding("plan", "acme/recalls")) >> says("end")
    result = ran(node)
    assert result.output == "go plan end"
    [(reason, message)] = refusals(result)
    assert reason == "past"
    assert "'first' gave, which has streamed" in message


def test_what_streams_in_what_is_put_in_can_be_named_there() -> None:
    @step(name="first")
    async def give(text: str) -> AsyncIterator[str]:
        yield text

    @step
    async def take(texts: AsyncIterator[str]) -> str:
        return "".join([text async for text in texts]) + " took"

    class Streams(Acme):
        def register_steps(self, registry: Registry[Any], /) -> None:
            for made in (give, take, recalls):
                registry.add(made.name, made)

    plan = changes(adding("plan", "acme/first", "acme/take", "acme/recalls"))
    assert ran(plan >> says("end"), plugins=[Streams()]).output == "go plan took [go plan] end"


def test_a_change_that_takes_away_what_others_name_is_refused() -> None:
    @step
    async def uses(text: str, *, old: Annotated[str, From("old")]) -> str:
        return f"{text} {old}"

    plan = changes(lambda text: PipelineMutation(text, remove=["old"]))
    result = ran(plan >> says("old") >> uses)
    assert result.output == "go plan old go plan old"
    assert [reason for reason, _ in refusals(result)] == ["spec"]


def test_an_enclosing_scope_is_not_changed_from_within() -> None:
    sub = changes(lambda text: PipelineMutation(text, remove=["end"])).named("plan")
    result = ran((sub >> says("old")).named("sub") >> says("end"))
    assert result.output == "go plan old end"
    assert [reason for reason, _ in refusals(result)] == ["unknown"]


def test_a_refused_change_stops_no_run_and_is_logged_without_what_it_asked_for() -> None:
    result = ran(changes(asking(remove=["secret name"])) >> says("end"))
    assert result.status == "completed"
    assert "secret" not in repr(result.events)


def test_a_change_that_the_signature_does_not_declare_fails_the_step() -> None:
    @step
    async def sly(text: str) -> str:
        return PipelineMutation(text, remove=["end"])  # type: ignore[return-value]

    with pytest.raises(RunFailed, match=r"it gives a 'PipelineMutation'.*write '-> str \| PipelineMutation\[str\]'"):
        ran(sly >> says("end"))


def test_a_step_that_runs_alone_has_nothing_to_change() -> None:
    async def main() -> None:
        assert await run_step(changes(adding()), "go") == "go plan"

    done(main())


def test_a_step_on_a_backend_cannot_change_the_pipeline() -> None:
    with pytest.raises(DefinitionError, match="may change the pipeline, which is here; leave 'backend' out"):
        Flujo(changes(adding(), backend="process"), settings=ALONE)


@pytest.mark.parametrize(
    "wrong",
    [{"remove": "end"}, {"remove": [1]}, {"insert_after": {"plan": "acme/extra"}}, {"insert_after": {"plan": 3}}],
)
def test_a_mutation_of_something_else_is_an_error_of_the_step(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="of a mutation"):
        PipelineMutation("x", **wrong)
    assert repr(PipelineMutation("secret")) == "PipelineMutation(...)"


# ----------------------------------------------------------------------------------------------------------- resuming


def test_a_crash_at_any_write_resumes_with_the_pipeline_as_it_was_changed() -> None:
    body = changes(adding(), retry=Retry(attempts=1)) >> says("old")
    inner = Loop("again", body, until=lambda text: False, max_iterations=2, on_exhausted="return")
    plan = changes(lambda text: PipelineMutation(text, replace={"old": "acme/better"}, remove=["gone"]), "first")
    node = plan >> says("old") >> inner >> says("gone") >> says("end")

    async def main() -> None:
        whole = await durable(node, MemoryStore(), plugins=[Acme()]).run_async("go", run_id="r")
        for at in range(1, 40):
            store = MemoryStore()
            if not await crashed(node, "go", store, at, plugins=[Acme()]):
                break
            if await store.run("r") is None:
                continue
            result = await durable(node, store, plugins=[Acme()]).resume_async("r")
            assert result.output == whole.output
            assert [one.address for one in result.steps] == [one.address for one in whole.steps]
        else:
            pytest.fail("it did not come to its end")

    done(main())


ASK = HumanInput("ask", str, ask="?")


def other(*parts: Any, name: str = "plan") -> Any:
    node = changes(adding(name), name)
    for part in parts:
        node = node >> part  # type: ignore[assignment]
    return node


async def _left(store: MemoryStore) -> None:
    """A run that waits behind its change."""
    node = other(ASK, says("end"))
    assert (await durable(node, store, plugins=[Acme()]).run_async("go", run_id="r")).status == "paused"


@pytest.mark.parametrize(
    ("node", "why"),
    [
        pytest.param(lambda: other(ASK, says("end"), name="other"), "its step is not there", id="renamed"),
        pytest.param(lambda: other(says("extra"), ASK, says("end")), "'extra'", id="name taken"),
    ],
)  # fmt: skip
def test_a_change_that_does_not_fit_new_code_is_incompatible(node: Callable[[], Any], why: str) -> None:
    async def main() -> None:
        store = MemoryStore()
        await _left(store)
        with pytest.raises(IncompatiblePipeline, match=why):
            await durable(node(), store, plugins=[Acme()]).resume_async("r", "yes")

    done(main())


def test_a_plugin_that_does_not_register_the_step_any_more_is_incompatible() -> None:
    class Poor(Acme):
        def register_steps(self, registry: Registry[Any], /) -> None:
            registry.add("late", says("late"))

    async def main() -> None:
        store = MemoryStore()
        await _left(store)
        node = other(ASK, says("end"))
        with pytest.raises(IncompatiblePipeline, match="acme/extra"):
            await durable(node, store, plugins=[Poor()]).resume_async("r", "yes")
        [shown] = await durable(node, store, plugins=[Poor()]).pending_async()
        assert shown.address == "ask"

    done(main())


def test_a_run_that_has_ended_is_told_by_a_program_that_cannot_make_its_changes_again() -> None:
    async def main() -> None:
        store = MemoryStore()
        node = changes(adding()) >> says("end")
        whole = await durable(node, store, plugins=[Acme()]).run_async("go", run_id="r")
        other = durable(changes(adding(), "other") >> says("end"), store, plugins=[Acme()])
        told = await other.run_async("go", run_id="r")
        assert [one.output for one in told.steps] == [one.output for one in whole.steps]

    done(main())


def test_a_future_step_that_was_put_in_may_change_and_one_that_has_run_may_not_change_its_type() -> None:
    class Later(Acme):
        def register_steps(self, registry: Registry[Any], /) -> None:
            registry.add("extra", says("extra"))
            registry.add("late", says("latest"))

    async def main() -> None:
        store = MemoryStore()
        plan = changes(lambda text: PipelineMutation(text, insert_after={"plan": ["acme/extra"], "ask": ["acme/late"]}))
        node = plan >> HumanInput("ask", str, ask="?") >> says("end")
        await durable(node, store, plugins=[Acme()]).run_async("go", run_id="r")
        assert (await durable(node, store, plugins=[Later()]).resume_async("r", "yes")).output == "yes latest end"

    done(main())


def test_a_run_is_compared_in_the_iterations_that_it_has_changed() -> None:
    class Other(Acme):
        def register_steps(self, registry: Registry[Any], /) -> None:
            registry.add("extra", count)

    async def main() -> None:
        store = MemoryStore()
        body = changes(adding()) >> HumanInput("ask", str, ask="?")
        node = Loop("again", body, until=lambda text: False, max_iterations=2, on_exhausted="return")
        await durable(node, store, plugins=[Acme()]).run_async("go", run_id="r")
        with pytest.raises(IncompatiblePipeline, match="again"):
            await durable(node, store, plugins=[Other()]).resume_async("r", "yes")
        assert (await durable(node, store, plugins=[Acme()]).resume_async("r", "yes")).status == "paused"

    done(main())


# ------------------------------------------------------------------------------------------------------------ diagrams


def test_the_diagram_of_a_run_shows_what_it_has_changed() -> None:
    plan = changes(
        lambda text: PipelineMutation(
            text, insert_after={"plan": ["acme/extra"]}, replace={"old": {"use": "acme/better"}}, remove=["gone"]
        )
    )
    worse = changes(asking(remove=["nobody"]), "worse")
    node = plan >> says("old") >> says("gone") >> worse >> says("end")
    result = ran(node)
    text = diagram(node, style="text", run=result)
    for line in (
        "extra.*added by 'plan'", "old .*replaced by 'plan'", "better.*added by 'plan'", "gone.*removed by 'plan'",
        r"worse.*mutation refused \(unknown\)",
    ):  # fmt: skip
        assert re.search(line, text), text
    assert "not in this pipeline" not in text
    assert "added by" in diagram(node, run=result)


def test_the_diagram_shows_what_was_put_into_what_was_put_in() -> None:
    class Nested(Acme):
        def register_steps(self, registry: Registry[Any], /) -> None:
            super().register_steps(registry)
            registry.add("replacing", changes(asking(replace={"end": "acme/better"}), "replacing"))

    spec = {"pipeline": "inner", "steps": [{"use": "acme/growing"}, {"use": "acme/late"}]}
    node = changes(lambda text: PipelineMutation(text, insert_after={"plan": [spec, "acme/replacing"]})) >> says("end")
    result = ran(node, plugins=[Nested()])
    assert result.output == "go plan growing extra late replacing better"
    text = diagram(node, style="text", run=result)
    assert "added by 'growing'" in text
    assert "replaced by 'replacing'" in text


def test_the_diagram_shows_once_what_was_put_into_each_iteration() -> None:
    body = changes(adding()) >> says("old")
    node = Loop("again", body, until=lambda text: False, max_iterations=2, on_exhausted="return")
    text = diagram(node, style="text", run=ran(node))
    assert text.count("extra") == 1
    assert "completed 2 times" in text


def test_a_diagram_of_another_pipeline_leaves_the_changes_out() -> None:
    result = ran(changes(adding()) >> says("end"))
    assert "not in this pipeline" in diagram(says("other"), style="text", run=result)


def test_what_is_removed_from_an_item_leaves_it_completed() -> None:
    body = changes(lambda text: PipelineMutation(text, remove=["end"])) >> says("end")
    node = Map("each", body, over=lambda text: [text, f"{text}!"])
    assert "2 items: 2 completed" in diagram(node, style="text", run=ran(node))


# --------------------------------------------------------------------------------------------------------- side by side


def test_branches_that_change_the_pipeline_at_once_share_the_limit() -> None:
    @step
    async def joined(parts: dict[str, str]) -> str:
        return "|".join(sorted(parts.values()))

    fan = Parallel("fan", left=changes(adding()), right=changes(adding()))
    result = ran(fan >> joined, max_mutations=1)
    assert sorted(result.output.split("|")) == ["go plan", "go plan extra"]
    assert [reason for reason, _ in refusals(result)] == ["limit"]


# --------------------------------------------------------------------------------------------------------------- forks


@pytest.mark.parametrize("at", ["plan", "extra", "old", "end"])
def test_a_fork_has_the_pipeline_as_it_was_changed_before_its_address(at: str) -> None:
    async def main() -> None:
        store = MemoryStore()
        flujo = durable(changes(adding()) >> says("old") >> says("end"), store, plugins=[Acme()])
        whole = await flujo.run_async("go", run_id="r")
        forked = await flujo.fork_async("r", at=at, fork_id="f")
        assert forked.output == whole.output == "go plan extra old end"
        assert [one.address for one in forked.steps] == [one.address for one in whole.steps]
        changed = [one for one in await events_in(store, "f") if isinstance(one, PipelineMutated)]
        assert len(changed) == 1

    done(main())


@pytest.mark.parametrize(
    "change",
    [
        asking(insert_after={"end": ["acme/late"]}),
        asking(remove=["end"]),
        asking(insert_after={"plan": ["acme/extra"]}),
    ],
    ids=["one more at the end", "none at the end", "one in the middle"],
)
def test_a_run_that_has_changed_its_pipeline_is_replayed(change: Change) -> None:
    async def main() -> None:
        flujo = durable(changes(change) >> says("end"), MemoryStore(), plugins=[Acme()])
        whole = await flujo.run_async("go", run_id="r")
        assert (await flujo.replay_async("r")).output == whole.output

    done(main())
