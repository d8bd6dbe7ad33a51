"""Diagrams: valid whatever things are called, true to the pipeline and to the run, and without values."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal, Never
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mermaid_reader import Chart, read

from flujo_core import (
    AgentReply,
    Branch,
    BranchDecided,
    Cache,
    DefinitionError,
    ErrorInfo,
    Flujo,
    From,
    ItemTaken,
    Loop,
    LoopDecided,
    Map,
    Node,
    NodeStarted,
    Parallel,
    Pipeline,
    PipelineResult,
    Retry,
    RunEnded,
    RunEvent,
    RunFailed,
    RunInfo,
    RunStarted,
    RunState,
    Skip,
    Step,
    StepCall,
    StepCompleted,
    StepFailed,
    StepStarted,
    Stop,
    Timeout,
    Veto,
    diagram,
    step,
)
from flujo_core.model.flow import scopes_of
from flujo_core.model.run import fold

CANARY = "-".join(("canary", "value"))  # put together, as hypothesis takes the constants of a module for names
HEAD = ("run-1", None, 1, 10.0)


@step
async def read_file(path: str) -> str:
    return f"{path} text"


@step
async def write(text: str) -> str:
    return text + "!"


@step
async def size(text: str) -> int:
    return len(text)


@step
async def explode(text: str) -> int:
    raise ValueError(f"{CANARY} {text}")


@step
async def one(text: str) -> int:
    return 1


@step
async def words(text: str) -> list[str]:
    return text.split()


def long_enough(text: str) -> bool:
    return len(text) > 12


def queue(text: str) -> Literal["bug", "bill"]:
    return "bug" if "bug" in text else "bill"


def drawn(node: Node[Any, Any], run: PipelineResult[Any, Any] | RunState | None = None) -> Chart:
    """A flowchart, read again."""
    return read(diagram(node, run=run))


def ran(node: Node[Any, Any], value: Any = "a", **settings: Any) -> PipelineResult[Any, Any]:
    """A run, however it ended."""
    try:
        return Flujo(node, **settings).run(value, run_id="run-1")
    except RunFailed as failed:
        return failed.result


def fate(node: Node[Any, Any], run: PipelineResult[Any, Any] | RunState, name: str) -> tuple[str, str | None]:
    """What is said of a node, without how long it took; and its style."""
    box = drawn(node, run).of(name)
    parts = [part for part in box.label[-1].split(", ") if not re.fullmatch(r"[\d.]+ m?s(?: in all)?", part)]
    return ", ".join(parts), box.style


def lines(node: Node[Any, Any], run: PipelineResult[Any, Any] | RunState | None = None) -> list[str]:
    """The lines of a tree, with single spaces between the columns."""
    return [" ".join(line.split()) for line in diagram(node, style="text", run=run).splitlines()]


# ------------------------------------------------------------------------------------------- the pipeline


def test_a_chain_has_its_types_at_its_arrows() -> None:
    assert diagram(read_file >> size) == "\n".join(
        [
            "flowchart TD",
            '    input(["input"])',
            '    n1["read_file"]',
            '    n2["size"]',
            '    output(["output"])',
            '    input -->|"str"| n1',
            '    n1 -->|"str"| n2',
            '    n2 -->|"int"| output',
        ]
    )


def test_an_arrow_between_steps_that_stream_says_so() -> None:
    @step
    async def tell(path: str) -> AsyncIterator[str]:
        yield path

    @step
    async def hear(pieces: AsyncIterator[str]) -> int:
        return len([piece async for piece in pieces])

    named = drawn(read_file >> tell >> hear).named()
    assert ("tell --> hear", "AsyncIterator[str]") in named and ("read_file --> tell", "str") in named
    assert ("tell --> output", "str") in drawn(tell).named()


def test_a_single_step_is_a_pipeline() -> None:
    assert drawn(size).named() == [("input --> size", "str"), ("size --> output", "int")]


def test_a_pipeline_with_a_name_is_a_frame() -> None:
    chart = drawn(read_file >> (write >> size).named("count"))
    assert chart.frames(chart.id("write")) == ["count"] and chart.frames(chart.id("read_file")) == []
    assert ("read_file --> write", "str") in chart.named()


def test_a_loop_leads_back_from_what_it_is_asked_after_each_iteration() -> None:
    chart = drawn(read_file >> Loop("refine", write >> words.named("w") >> count, until=long_enough, max_iterations=3))
    assert chart.boxes[chart.id("until long_enough")].label == ["until long_enough", "at most 3 times"]
    assert chart.of("until long_enough").shape == "diamond"
    assert chart.frames(chart.id("until long_enough")) == ["refine"]
    assert chart.named()[1:] == [
        ("read_file --> write", "str"),
        ("until long_enough --> write", "again", "str"),
        ("write --> w", "str"),
        ("w --> count", "list[str]"),
        ("count --> until long_enough", "str"),
        ("until long_enough --> output", "str"),
    ]


@step
async def count(found: list[str]) -> str:
    return str(len(found))


def test_a_parallel_has_a_fork_and_a_join() -> None:
    fan = Parallel("fan", left=write >> size, right=one, max_concurrency=1, on_error="collect")
    chart = drawn(fan)
    assert chart.of("fan").label == ["fan", "at most 1 at once", "collects failures"]
    assert chart.named() == [
        ("input --> all", "str"),
        ("all --> write", "left", "str"),
        ("write --> size", "str"),
        ("all --> one", "right", "str"),
        ("size --> join", "int"),
        ("one --> join", "int"),
        ("join --> output", "dict[str, int]"),
    ]
    assert (chart.of("all").shape, chart.of("join").shape) == ("circle", "circle")


def test_a_map_has_a_fork_and_a_join() -> None:
    def parts(text: str) -> list[str]:
        return text.split()

    chart = drawn(read_file >> Map("sizes", size, over=parts))
    assert chart.of("sizes").label == ["sizes", "over parts"]
    assert chart.named()[1:] == [
        ("read_file --> each", "str"),
        ("each --> size", "str"),
        ("size --> join", "int"),
        ("join --> output", "list[int]"),
    ]


def test_a_branch_has_its_cases_at_its_arrows() -> None:
    route = Branch("route", on=queue).case("bug", size).default(words)
    chart = drawn(read_file >> route)
    assert chart.of("on queue").shape == "diamond"
    assert chart.named()[1:] == [
        ("read_file --> on queue", "str"),
        ("on queue --> size", "bug", "str"),
        ("on queue --> words", "otherwise", "str"),
        ("size --> output", "int"),
        ("words --> output", "list[str]"),
    ]


def test_cases_of_all_kinds_have_names() -> None:
    def number(text: str) -> int | str | None:
        return None

    route = Branch("route", on=number).case(1, size).case("", one).case(None, explode).case("~default", words)
    chart = drawn(route)
    assert [arrow[1] for arrow in chart.named() if arrow[0].startswith("on ")] == ["1", "''", "None", "~default"]
    assert [line.partition("── ")[2] for line in lines(route) if line.endswith("]") and "->" not in line] == [
        "[1]", "['']", "[None]", "[~default]"
    ]  # fmt: skip


def test_a_fallback_is_dotted() -> None:
    inner = (write >> size).named("inner").policy(fallback=one)
    chart = drawn(read_file >> inner >> explode_int.policy(fallback=negative))
    assert chart.named()[1:] == [
        ("read_file --> write", "str"),
        ("write --> size", "str"),
        ("inner -.-> one", "fallback", "str"),
        ("size --> explode_int", "int"),
        ("one --> explode_int", "int"),
        ("explode_int -.-> negative", "fallback", "int"),
        ("explode_int --> output", "int"),
        ("negative --> output", "int"),
    ]


@step
async def explode_int(number: int) -> int:
    raise ValueError(CANARY)


@step
async def negative(number: int) -> int:
    return -number


def test_what_never_gives_anything_leads_nowhere() -> None:
    @step
    async def stop(text: str) -> Stop:
        return Stop("enough")

    def anything(text: str) -> str:
        return text

    assert stop.gives is Never
    assert drawn(read_file >> stop).named() == [("input --> read_file", "str"), ("read_file --> stop", "str")]
    route = Branch("route", on=anything).case("x", stop).default(size)
    assert ("size --> output", "int") in drawn(route).named()
    assert not [arrow for arrow in drawn(route).named() if arrow[0].startswith("stop")]


class Echo:
    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        return AgentReply(input)


def test_an_agent_is_rounded() -> None:
    pipeline = read_file >> Step.agent("ask", Echo())
    assert drawn(pipeline).of("ask").shape == "rounded"
    assert lines(pipeline)[-1] == "└── ask str -> str agent"


class Acme(Node[str, int]):
    """A kind of node that diagrams do not know."""

    label = "acme"
    takes = str
    gives = int

    @property
    def scopes(self) -> Any:
        return (write >> size).named("x").scopes


def test_a_node_of_another_kind_is_a_frame() -> None:
    chart = drawn(Acme())
    assert chart.frames(chart.id("size")) == ["acme"]
    assert lines(Acme()) == ["str -> int", "└── acme str -> int acme", "├── write str -> str", "└── size str -> int"]


def test_a_style_that_there_is_not() -> None:
    with pytest.raises(DefinitionError, match="is 'mermaid' or 'text', not 'dot'"):
        diagram(size, style="dot")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- named inputs


@step
async def both(text: str, *, first: Annotated[str, From("read_file")], given: Annotated[str, From.run_input]) -> str:
    return text


def dotted(node: Node[Any, Any]) -> list[tuple[str, str, list[str]]]:
    return [arrow for arrow in drawn(node).named() if "-.->" in arrow[0]]


def test_named_inputs_are_dotted_arrows() -> None:
    pipeline = read_file >> write >> both
    assert dotted(pipeline) == [("read_file -.-> both", "first"), ("input -.-> both", "given")]
    assert lines(pipeline)[-1] == "└── both str -> str first from 'read_file', given from From.run_input"


def test_named_inputs_come_from_outside_of_scopes_and_from_inside_of_them() -> None:
    @step
    async def late(
        found: dict[str, str],
        *,
        last: Annotated[str, From("refine/write")],
        branch: Annotated[str, From("fan[a b]/w")],
        field: Annotated[str, From("asked", path="a.b")],
    ) -> str:
        return last

    @step
    async def asked(text: str) -> dict[str, Any]:
        return {}

    @step
    async def text(found: dict[str, Any]) -> str:
        return ""

    refine = Loop("refine", write >> both, until=long_enough, max_iterations=2)
    inner = asked >> text >> refine >> Parallel("fan", {"a b": write.named("w"), "c": both.named("b2")}) >> late
    assert dotted(read_file >> inner.named("inner")) == [
        ("read_file -.-> both", "first"),
        ("input -.-> both", "given"),
        ("read_file -.-> b2", "first"),
        ("input -.-> b2", "given"),
        ("write -.-> late", "last"),
        ("w -.-> late", "branch"),
        ("asked -.-> late", "field", ".a.b"),
    ]


def test_the_input_of_a_scope_comes_from_what_leads_into_it() -> None:
    @step
    async def same(text: str, *, begun: Annotated[str, From.scope_input]) -> str:
        return begun

    refine = Loop("refine", same, until=long_enough, max_iterations=2)
    assert dotted(read_file >> refine) == [("read_file -.-> same", "begun")]
    assert dotted(words >> Map("items", write >> same)) == [("each -.-> same", "begun")]


def test_the_iteration_before_is_said_to_be_it() -> None:
    @step
    async def draft(text: str, *, said: Annotated[str, From("critique")] = "") -> str:
        return text

    loop = Loop("refine", draft >> write.named("critique"), until=long_enough, max_iterations=2)
    assert dotted(loop) == [("critique -.-> draft", "said", "of the iteration before")]


def test_a_step_in_a_fallback_finds_what_is_outside() -> None:
    pipeline = read_file >> size.policy(fallback=both >> one)
    assert dotted(pipeline)[1:] == [("read_file -.-> both", "first"), ("input -.-> both", "given")]


def test_a_pipeline_with_the_name_of_a_branch_does_not_take_its_place() -> None:
    @step
    async def late(number: int, *, branch: Annotated[str, From("fan[left]/w")]) -> str:
        return branch

    fan, pipeline = Parallel("fan", left=write.named("w")), (text_of >> size).named("fan[left]")
    assert dotted(fan >> pipeline >> late) == [("w -.-> late", "branch")]


@step
async def text_of(found: dict[str, str]) -> str:
    return str(found)


def test_placeholders_are_named_inputs() -> None:
    ask = Step.agent("ask", "acme/writer", input=str, prompt="{{ input }} {{ read_file.title }}")
    pipeline = read_any >> write.named("w") >> ask
    assert dotted(pipeline) == [("read_file -.-> ask", "{{ read_file.title }}")]
    assert lines(pipeline)[-1] == "└── ask str -> Any agent, {{ read_file.title }}"


@step(name="read_file")
async def read_any(path: str) -> Any:
    return path


def test_a_part_whose_named_inputs_are_outside_of_it_says_them_in_its_box() -> None:
    chart = drawn(write >> both)
    assert chart.of("both").label == ["both", "first from 'read_file'", "given from From.run_input"]
    assert [arrow[0] for arrow in chart.named()] == ["input --> write", "write --> both", "both --> output"]


# ------------------------------------------------------------------------------------------- the tree


def everything() -> Pipeline[str, Any]:
    """A pipeline with a node of each kind."""
    refine = Loop("refine", write, until=long_enough, max_iterations=9)
    fan = Parallel("fan", left=size, right=explode.policy(retry=Retry(attempts=2), fallback=one))
    route = Branch("route", on=queue).case("bug", size.named("s1")).case("bill", (words >> sizes).named("bills"))
    return read_file >> refine >> fan >> text_of_ints >> route


sizes = Map("sizes", size, max_concurrency=2)


@step(name="text")
async def text_of_ints(found: dict[str, int]) -> str:
    return " ".join(found)


def test_the_tree_shows_scopes_types_and_terms() -> None:
    assert (
        diagram(everything(), style="text")
        == """\
str -> int | list[int]
├── read_file             str -> str
├── refine                str -> str                  loop, until long_enough, at most 9 times
│   └── write             str -> str
├── fan                   str -> dict[str, int]       parallel
│   ├── [left]
│   │   └── size          str -> int
│   └── [right]
│       └── explode       str -> int
│           └── fallback
│               └── one   str -> int
├── text                  dict[str, int] -> str
└── route                 str -> int | list[int]      branch, on queue
    ├── [bug]
    │   └── s1            str -> int
    └── [bill]
        └── bills         str -> list[int]            pipeline
            ├── words     str -> list[str]
            └── sizes     Iterable[str] -> list[int]  map, at most 2 at once
                └── size  str -> int"""
    )


def test_what_is_very_long_does_not_push_the_columns_away() -> None:
    shown = diagram(size >> negative.named("n" * 80), style="text").splitlines()
    assert shown[1] == "├── size    str -> int" and shown[2].startswith("└── nnn")


def test_nothing_in_a_name_reaches_the_terminal() -> None:
    shown = diagram(size.named("a\x1b[31m\nb\u202e"), style="text")
    assert shown.splitlines()[1] == "└── a\\x1b[31m\\nb\\u202e  str -> int"


# ------------------------------------------------------------------------------------------- the run


def test_a_run_shows_what_became_of_everything() -> None:
    pipeline = everything()
    run = ran(pipeline)
    chart = drawn(pipeline, run)
    assert chart.of("output").label[1] == "run run-1" and chart.of("output").style == "completed"
    assert fate(pipeline, run, "read_file") == ("completed", "completed")
    assert fate(pipeline, run, "refine") == ("completed, 7 iterations", "completedFrame")
    assert fate(pipeline, run, "write") == ("completed 7 times", "completed")
    assert fate(pipeline, run, "explode") == ("completed by its fallback, 2 attempts", "fallback")
    assert fate(pipeline, run, "one") == ("completed", "completed")
    assert fate(pipeline, run, "s1") == ("not taken", "idle")
    assert fate(pipeline, run, "bills") == ("completed", "completedFrame")
    assert fate(pipeline, run, "sizes") == ("completed, 2 items: 2 completed", "completedFrame")
    taken = [arrow for arrow in chart.named() if arrow[0].startswith("on queue")]
    assert taken == [("on queue --> s1", "bug", "str", "not taken"), ("on queue --> words", "bill", "str", "taken")]


def test_a_run_as_text() -> None:
    pipeline = read_file >> Branch("route", on=queue).case("bug", size).case("bill", explode.policy(fallback=one))
    moment = 100.0
    head = ("run-1", None, 1)
    events: list[RunEvent] = [
        RunStarted(*head, moment, "", "p", CANARY, {}),
        StepStarted(*head, moment, "read_file", 1),
        StepCompleted(*head, moment, "read_file", 1, CANARY, (), 0.0123, None),
        NodeStarted(*head, moment, "route", 1, "branch", False, ()),
        BranchDecided(*head, moment, "route", 1, "bill"),
        StepStarted(*head, moment, "route[bill]/explode", 1),
        StepFailed(*head, moment, "route[bill]/explode", 3, ErrorInfo("Boom", CANARY), 65.0),
        RunEnded(*head, moment + 70, "", "failed", error=ErrorInfo("Boom", CANARY)),
    ]
    assert (
        diagram(pipeline, style="text", run=fold(events))
        == """\
run run-1                 failed, Boom, 1 min 10 s              str -> int
├── read_file             completed, 12 ms                      str -> str
└── route                 cancelled, 1 min 10 s                 str -> int  branch, on queue
    ├── [bug]             not taken
    │   └── size          not taken                             str -> int
    └── [bill]            taken
        └── explode       failed, Boom, 3 attempts, 1 min 05 s  str -> int
            └── fallback
                └── one   not run                               str -> int"""
    )


def test_a_run_in_which_all_failed_names_the_type_of_the_error_and_no_more() -> None:
    fan = Parallel("fan", left=slow, right=explode)
    pipeline = read_file >> fan >> text_of_ints
    run = ran(pipeline, CANARY)
    assert fate(pipeline, run, "explode") == ("failed, ValueError", "failed")
    assert fate(pipeline, run, "fan") == ("failed", "failedFrame")
    assert fate(pipeline, run, "slow") == ("cancelled", "cancelled")
    assert fate(pipeline, run, "text") == ("not run", "idle")
    assert drawn(pipeline, run).of("output").style == "failed"
    for style in ("mermaid", "text"):
        assert CANARY not in diagram(pipeline, style=style, run=run)  # type: ignore[arg-type]


@step
async def slow(text: str) -> int:
    await asyncio.sleep(30)
    return 0


def test_attempts_of_a_node_are_told_and_the_last_one_decides_the_style() -> None:
    tries: list[int] = []

    @step
    async def flaky(text: str) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise KeyError(CANARY)
        return 1

    def once(number: int) -> bool:
        return True

    @step
    async def never(number: int) -> int:
        return number

    inner = (write >> flaky >> Loop("again", never, until=once, max_iterations=2)).named("inner")
    pipeline = inner.policy(retry=Retry(attempts=3))
    run = ran(pipeline)
    assert fate(pipeline, run, "inner") == ("completed, 3 attempts", "completedFrame")
    assert fate(pipeline, run, "write") == ("completed 3 times", "completed")
    assert fate(pipeline, run, "flaky") == ("3 times: 2 failed, 1 completed, KeyError 2 times", "completed")
    assert fate(pipeline, run, "again") == ("completed, 1 iteration", "completedFrame")


def test_attempts_of_a_step_in_a_loop_are_added_up() -> None:
    seen: list[int] = []

    @step(retry=Retry(attempts=2))
    async def flaky(text: str) -> str:
        seen.append(1)
        if len(seen) == 2:
            raise KeyError(CANARY)
        return text + "....."

    pipeline = Loop("refine", flaky, until=long_enough, max_iterations=5)
    run = ran(pipeline)
    assert fate(pipeline, run, "flaky") == ("completed 3 times, 4 attempts in all", "completed")


def test_a_node_that_did_not_come_as_far_again_has_the_style_of_its_last_time() -> None:
    tries: list[int] = []

    @step
    async def worse(text: str) -> str:
        tries.append(1)
        if len(tries) == 2:
            raise KeyError(CANARY)
        return text

    pipeline = (worse >> size >> explode_int).named("inner").policy(retry=Retry(attempts=2))
    run = ran(pipeline)
    assert fate(pipeline, run, "worse") == ("2 times: 1 failed, 1 completed, KeyError", "failed")
    assert fate(pipeline, run, "size") == ("completed", "completed")
    assert fate(pipeline, run, "explode_int") == ("failed, ValueError", "failed")


def test_a_fallback_of_a_node_is_shown() -> None:
    inner = (write >> explode).named("inner").policy(retry=Retry(attempts=2), fallback=write.named("w2") >> one)
    run = ran(inner)
    assert fate(inner, run, "inner") == ("completed by its fallback, 2 attempts", "fallbackFrame")
    assert fate(inner, run, "explode") == ("failed 2 times, ValueError 2 times", "failed")
    assert fate(inner, run, "one") == ("completed", "completed")


def test_a_fallback_that_was_not_needed_says_so() -> None:
    pipeline = size.policy(fallback=(write >> one).named("plan b"))
    run = ran(pipeline)
    assert fate(pipeline, run, "plan b") == ("not needed", "idleFrame")
    assert fate(pipeline, run, "one") == ("not needed", "idle")


def test_what_the_cache_had_says_so() -> None:
    pipeline = (
        size.policy(cache=Cache()) >> negative >> (negative.named("n1") >> negative).named("in").policy(cache=Cache())
    )
    flujo = Flujo(pipeline)
    flujo.run("a")
    run = flujo.run("a")
    assert fate(pipeline, run, "size") == ("completed from the cache", "cached")
    assert fate(pipeline, run, "in") == ("completed from the cache", "cachedFrame")
    assert fate(pipeline, run, "n1") == ("not run", "idle")


def test_a_step_that_a_hook_skipped_says_so() -> None:
    async def skip(call: StepCall) -> Skip:
        return Skip(7)

    assert fate(size, ran(size, pre_step_execution=skip), "size") == ("skipped", "skipped")


def test_a_run_that_was_stopped_or_refused() -> None:
    async def stop(call: StepCall) -> Stop:
        return Stop(CANARY)

    async def refuse(call: StepCall) -> None:
        raise Veto(CANARY)

    stopped, refused = (
        drawn(size, ran(size, pre_step_execution=stop)),
        drawn(size, ran(size, pre_step_execution=refuse)),
    )
    assert stopped.of("output").label[2].startswith("stopped") and stopped.of("output").style == "cancelled"
    assert refused.of("output").label[2].startswith("refused") and refused.of("output").style == "failed"


def test_items_are_counted_by_what_became_of_them() -> None:
    @step
    async def picky(text: str) -> int:
        if text == "c":
            raise KeyError(text)
        return len(text)

    pipeline = words >> Map("items", write >> picky_after(picky), on_error="collect")
    run = ran(pipeline, "a b c")
    assert fate(pipeline, run, "items") == ("failed, BranchesFailed, 3 items: 2 completed, 1 failed", "failedFrame")
    assert fate(pipeline, run, "picky") == ("3 times: 1 failed, 2 completed, KeyError", "failed")
    assert (
        fate(words >> Map("items", size), ran(words >> Map("items", size), "a"), "items")[0]
        == "completed, 1 item: completed"
    )


def picky_after(picky: Step[str, int]) -> Pipeline[str, int]:
    """The step, which gets a text without what ``write`` adds."""

    @step
    async def stripped(text: str) -> str:
        return text.rstrip("!")

    return stripped >> picky


def test_items_of_an_async_source_are_counted() -> None:
    async def letters(text: str) -> AsyncIterator[str]:
        for letter in text:
            yield letter

    pipeline = Map("items", size, over=letters)
    assert fate(pipeline, ran(pipeline, "abc"), "items")[0] == "completed, 3 items: 3 completed"


def test_a_case_that_was_taken_more_than_once() -> None:
    route = Branch("route", on=queue).case("bug", size).case("bill", one)
    pipeline = words >> Map("items", route)
    run = ran(pipeline, "a bug b")
    arrows = [arrow for arrow in drawn(pipeline, run).named() if arrow[0].startswith("on queue")]
    assert [arrow[-1] for arrow in arrows] == ["taken", "taken 2 times"]
    assert fate(pipeline, run, "route") == ("completed 3 times", "completedFrame")


def test_names_that_are_encoded_in_addresses_are_found() -> None:
    fan = Parallel("a/b", {"l [1]": (write >> size).named("#2~x")})
    pipeline = Loop("~[*]", fan >> text_of_ints, until=long_enough_text, max_iterations=1, on_exhausted="return")
    run = ran(pipeline)
    assert fate(pipeline, run, "size") == ("completed", "completed")
    assert "not in this pipeline" not in diagram(pipeline, run=run)


def long_enough_text(text: str) -> bool:
    return False


# ------------------------------------------------------------------------------------------- unfinished runs


def folded(*events: RunEvent) -> RunState:
    return fold([RunStarted(*HEAD, "", "p", CANARY, {}), *events])


def completed(address: str) -> list[RunEvent]:
    return [StepStarted(*HEAD, address, 1), StepCompleted(*HEAD, address, 1, CANARY, (), 0.5, None)]


def test_a_run_that_has_not_ended() -> None:
    state = folded(*completed("read_file"), StepStarted(*HEAD, "size", 1))
    pipeline = read_file >> size >> negative
    assert fate(pipeline, state, "size") == ("running", "running")
    assert fate(pipeline, state, "negative") == ("not run", "idle")
    assert drawn(pipeline, state).of("output").label[1:] == ["run run-1", "running"]
    assert drawn(pipeline, state).of("output").style == "running"


def test_an_iteration_that_has_not_ended_counts() -> None:
    loop = Loop("refine", write >> both, until=long_enough, max_iterations=5)
    state = folded(
        NodeStarted(*HEAD, "refine", 1, "loop", False, ()),
        *completed("refine[1]/write"),
        *completed("refine[1]/both"),
        LoopDecided(*HEAD, "refine", 1, 1, False),
        StepStarted(*HEAD, "refine[2]/write", 1),
    )
    assert fate(loop, state, "refine") == ("running, 2 iterations", "runningFrame")
    assert fate(loop, state, "write") == ("2 times: 1 running, 1 completed", "running")


@pytest.mark.parametrize(("ended", "third"), [(False, "running"), (True, "cancelled")])
def test_items_that_have_not_ended(ended: bool, third: str) -> None:
    pipeline = Map("items", write >> size)
    events: list[RunEvent] = [
        NodeStarted(*HEAD, "items", 1, "map", False, ("[0]", "[1]", "[2]", "[3]")),
        *completed("items[0]/write"),
        *completed("items[0]/size"),
        *completed("items[1]/write"),
        StepStarted(*HEAD, "items[2]/write", 1),
    ]
    if ended:
        events.append(RunEnded(*HEAD, "", "cancelled"))
    kinds = f"1 completed, 2 {third}, 1 not run"
    assert fate(pipeline, folded(*events), "items")[0] == f"{'cancelled' if ended else 'running'}, 4 items: {kinds}"


def test_an_item_that_was_only_taken() -> None:
    state = folded(NodeStarted(*HEAD, "items", 1, "map", False, ()), ItemTaken(*HEAD, "items", 1, "[0]", CANARY))
    assert fate(Map("items", size), state, "items")[0] == "running, 1 item: not run"


def test_a_run_of_another_pipeline_shows_what_this_one_does_not_have() -> None:
    strange = ["older", "size/in", "fan[left]/x", "read_file!tool", "~", "read_file/~x"]
    state = folded(*completed("read_file"), *(event for one in strange for event in completed(one)))
    chart = drawn(read_file >> size, state)
    assert {name: chart.frames(chart.id(name)) for name in strange} == {
        name: ["not in this pipeline"] for name in strange
    }
    assert chart.of("older").label[1] == "completed, 500 ms" and chart.of("older").style == "completed"
    assert fate(read_file >> size, state, "read_file") == ("completed", "completed")
    shown = lines(read_file >> size, state)
    assert shown[3] == "└── not in this pipeline" and shown[4] == "├── older completed, 500 ms"


# ------------------------------------------------------------------------------------------- any pipeline

NASTY = (
    'say "hi"', "end", "subgraph", "click", "a\nb", "x]", "[x](y)", "{{x}}", "style:#x;", "classDef a:#b;", "1. one",
    "- a", "`code`", "**bold**", "__init__", "%%{init: 1}%%", "#quot;", "#35;", "<b>x</b>", "&amp;", "ﬂ°°34¶ß", "$$x$$",
    "fa:fa-book", "www.example.com", "    indented", "a  b", "a|b", "a-->b", ";", "\\n", "---", "é漢字🙂",
    "\x00\x1b[1m", "a/b", "x#2", "~default", "*", "[*]", "fan[left]", "x~fallback", "%2F", "input", "n1",
    "\u06f1. x", "1) x", "+ a",
)  # fmt: skip
NAMES = st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    str.strip
)


def leaf(name: str, deed: str) -> Step[Any, Any]:
    tries: list[int] = []

    @step(name=name)
    async def act(value: Any) -> Any:
        tries.append(1)
        if deed == "fail" or (deed == "flaky" and len(tries) % 2):
            raise ValueError(CANARY)
        return Stop(CANARY) if deed == "stop" else CANARY

    return act


@st.composite
def nodes(draw: Callable[..., Any], name: str, depth: int) -> Node[Any, Any]:
    """A node of any kind, with a name."""
    kinds = ["leaf", "pipeline", "parallel", "map", "loop", "branch"] if depth else ["leaf"]
    kind = draw(st.sampled_from(kinds))
    inner = lambda: draw(bodies(depth - 1))  # noqa: E731
    made: Node[Any, Any]
    match kind:
        case "leaf":
            made = leaf(name, draw(st.sampled_from(["do", "do", "do", "flaky", "fail", "stop"])))
        case "pipeline":
            made = inner().named(name)
        case "parallel":
            keys = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
            made = Parallel(name, {key: inner() for key in keys}, on_error=draw(st.sampled_from(["cancel", "collect"])))
        case "map":
            made = Map(name, inner(), over=lambda value: "ab", key=lambda item: f"{item}]~#/")
        case "loop":
            turns = draw(st.integers(1, 3))
            made = Loop(name, inner(), until=lambda value: False, max_iterations=turns, on_exhausted="return")
        case _:
            cases = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
            taken = draw(st.sampled_from(cases))
            made = Branch(name, on=lambda value: taken)
            for case in cases:
                made = made.case(case, inner())
    if draw(st.integers(0, 3)) == 0:
        made = made.policy(retry=Retry(attempts=2), timeout=Timeout(20))
    if depth and draw(st.integers(0, 3)) == 0:
        made = made.policy(fallback=draw(bodies(depth - 1)) >> leaf("the last of a fallback", "do"))
    return made


@st.composite
def bodies(draw: Callable[..., Any], depth: int = 2) -> Node[Any, Any]:
    """One to three nodes in a sequence."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    made = [draw(nodes(name, depth)) for name in names]
    return Pipeline(None, tuple(made))


def everything_in(node: Node[Any, Any], around: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Node[Any, Any]]]:
    """Every node, with the labels of the nodes that are around it in a flowchart."""
    found = []
    for part in node.nodes if isinstance(node, Pipeline) and node.name is None else (node,):
        found.append((around, part))
        for scope in scopes_of(part):
            frames = around if scope.segment == "~fallback" else (*around, spelled(part.label))
            found += everything_in(scope.body, frames)
    return found


def spelled(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


@given(bodies())
def test_any_pipeline_is_drawn_as_it_is_whatever_things_are_called(pipeline: Node[Any, Any]) -> None:
    chart, parts = drawn(pipeline), everything_in(pipeline)
    made_up = ("circle", "diamond", "stadium")
    shown = [(tuple(chart.frames(id)), box.label[0], box.shape) for id, box in chart.boxes.items()]
    wanted = [(around, spelled(one.label), "frame" if one.scopes else "rectangle") for around, one in parts]
    assert sorted(one for one in shown if one[2] not in made_up) == sorted(wanted)
    tree = diagram(pipeline, style="text")
    assert len(tree.splitlines()) > len(parts) and all(spelled(one.label) in tree for _, one in parts)


@given(bodies())
def test_any_run_is_shown_whole_and_without_values(pipeline: Node[Any, Any]) -> None:
    run = ran(pipeline, CANARY)
    chart, text = drawn(pipeline, run), diagram(pipeline, style="text", run=run)
    assert CANARY not in str(chart) + text
    assert "not in this pipeline" not in text
    state = fold(run.events)
    for address in [*state.steps, *state.nodes]:
        name = spelled(unquote(address.rpartition("/")[2]))
        assert any(
            box.label[0] == name and box.style not in (None, "idle", "idleFrame") for box in chart.boxes.values()
        )
    idle = [box for box in chart.boxes.values() if box.style in ("idle", "idleFrame")]
    assert {box.label[-1] for box in idle if box.shape in ("rectangle", "frame")} <= {
        "not run",
        "not taken",
        "not needed",
    }
