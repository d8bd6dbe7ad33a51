"""Programs with control flow, as users write them; checked by mypy and pyright, not run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Never, TypedDict, assert_type

from pydantic import BaseModel
from pydantic_ai import Agent

from flujo_core import (
    Branch,
    Cache,
    Flujo,
    From,
    Loop,
    Map,
    Merge,
    Node,
    Parallel,
    Pipeline,
    PipelineContext,
    PipelineResult,
    Retry,
    RunFailed,
    Step,
    StepCompleted,
    Stop,
    Timeout,
    step,
)
from flujo_core.testing import Fake, Harness, harness, run_step

MODEL = "openai:gpt-5"


# ---- 2. triage with a branch
class Email(BaseModel):
    subject: str
    body: str


class Kind(BaseModel):
    queue: Literal["billing", "bug", "other"]
    severity: int


class Draft(BaseModel):
    text: str


class Ticket(PipelineContext):
    severity: int = 0
    log: Annotated[list[str], Merge.append] = []


@step
async def read(path: str) -> Email:
    return Email(subject=path, body="")


classify = Step.agent(
    "classify",
    Agent(MODEL, output_type=Kind),
    input=Email,
    prompt="Subject: {{ input.subject }}\n\n{{ input.body }}",
    retry=Retry(attempts=3),
)


@step
async def note(kind: Kind, context: Ticket) -> Kind:
    context.severity = kind.severity
    return kind


@step
async def refund(*, email: Annotated[Email, From(read)]) -> Draft:
    return Draft(text=email.body)


@step
async def file_bug(kind: Kind, *, email: Annotated[Email, From(read)]) -> Draft:
    return Draft(text=f"{kind.queue}: {email.body}")


answer = Step.agent("answer", Agent(MODEL, output_type=Draft), input=Kind, prompt="{{ read.body }}")


def queue(kind: Kind) -> Literal["billing", "bug", "other"]:
    return kind.queue


assert_type(refund, Step[object, Draft])
assert_type(file_bug, Step[Kind, Draft])

route = Branch("route", on=queue).case("billing", refund).case("bug", file_bug).default(answer)
triage = read >> classify >> note >> route
assert_type(route, Branch[Kind, Draft, Literal["billing", "bug", "other"]])
assert_type(triage, Pipeline[str, Draft])
assert_type(Flujo(triage, context=Ticket), Flujo[str, Draft, Ticket])
assert_type(Flujo(triage, context=Ticket).run("0001.eml").output, Draft)


# ---- branches
@step
async def refuse(kind: Kind) -> Stop:
    return Stop(kind.queue)


@step
async def count(kind: Kind) -> int:
    return kind.severity


@step
async def shout(draft: Draft) -> str:
    return draft.text.upper()


@step
async def show(value: Draft | int) -> str:
    return str(value)


class Size(Enum):
    SMALL = 1
    LARGE = 2


def size(kind: Kind) -> Size:
    return Size.LARGE if kind.severity else Size.SMALL


def is_severe(kind: Kind, context: Ticket) -> bool:
    return kind.severity > context.severity


Queue = Literal["billing", "bug", "other"]
empty = Branch("route", on=queue)
assert_type(empty, Branch[Kind, Never, Queue])
assert_type(empty.case("bug", file_bug), Branch[Kind, Draft, Queue])
assert_type(empty.case("bug", file_bug).default(count), Branch[Kind, Draft | int, Queue])
assert_type(empty.case("bug", file_bug).case("other", answer).case("billing", count), Branch[Kind, Draft | int, Queue])
assert_type(empty.case("bug", file_bug).default(count) >> show, Pipeline[Kind, str])
assert_type(refuse, Step[Kind, Never])
some: Node[Kind, int] = empty.case("bug", refuse).default(count)
assert_type(classify >> empty.default(answer >> shout), Pipeline[Email, str])
assert_type(Branch("size", on=size).case(Size.SMALL, count).case(Size.LARGE, file_bug), Branch[Kind, int | Draft, Size])
assert_type(Branch("severe", on=is_severe).case(True, count).default(count), Branch[Kind, int, bool])
assert_type(route.named("other route"), Branch[Kind, Draft, Queue])
assert_type(route.policy(retry=Retry(attempts=2), fallback=answer), Branch[Kind, Draft, Queue])


# ---- 3. RAG
class Passage(BaseModel):
    text: str


class Answer(BaseModel):
    text: str
    sources: list[str]


@step
async def search(question: str) -> list[Passage]:
    return [Passage(text=question)]


@step
async def keyword(question: str) -> list[Passage]:
    return [Passage(text=question)]


class Found(BaseModel):
    dense: list[Passage]
    sparse: list[Passage]


retrieve = Parallel("retrieve", into=Found, dense=search, sparse=keyword)


@step
def fuse(found: Found) -> list[Passage]:
    return found.dense + found.sparse


@step
def rank(passages: list[Passage]) -> list[Passage]:
    return passages


def rag_prompt(passages: list[Passage], *, question: Annotated[str, From.run_input]) -> str:
    return question + str(passages)


compose = Step.agent("compose", Agent(MODEL, output_type=Answer), prompt=rag_prompt)
rag = retrieve >> fuse >> compose
assert_type(retrieve, Parallel[str, Found])
assert_type(fuse, Step[Found, list[Passage]])
assert_type(compose, Step[list[Passage], Answer])
assert_type(rag, Pipeline[str, Answer])


# ---- parallels
class FoundKeys(TypedDict):
    dense: list[Passage]
    length: int


@dataclass
class FoundFields:
    dense: list[Passage]
    length: int


@step
async def measure(question: str) -> int:
    return len(question)


by_mapping = Parallel("retrieve", {"dense": search, "sparse": keyword})
assert_type(Parallel("retrieve", dense=search, sparse=keyword), Parallel[str, dict[str, list[Passage]]])
assert_type(by_mapping, Parallel[str, dict[str, list[Passage]]])
assert_type(Parallel("retrieve", {"dense": search, "sparse": keyword}, into=Found), Parallel[str, Found])
assert_type(Parallel("retrieve", {"dense": search}, sparse=keyword, into=Found), Parallel[str, Found])
assert_type(Parallel("retrieve", into=FoundKeys, dense=search, length=measure), Parallel[str, FoundKeys])
assert_type(Parallel("retrieve", into=FoundFields, dense=search, length=measure), Parallel[str, FoundFields])
mixed: Node[str, dict[str, int | list[Passage]]] = Parallel("retrieve", dense=search, length=measure)
mixed_by_mapping: Node[str, dict[str, int | list[Passage]]] = Parallel("p", {"dense": search, "length": measure})
assert_type(Parallel("one", length=measure, max_concurrency=1, on_error="collect"), Parallel[str, dict[str, int]])
assert_type(Parallel("nested", into=Found, dense=search >> rank, sparse=keyword), Parallel[str, Found])
assert_type(Parallel("inner", a=Parallel("b", c=measure)), Parallel[str, dict[str, dict[str, int]]])
assert_type(retrieve.named("fetch"), Parallel[str, Found])
assert_type(retrieve.policy(timeout=3, cache=Cache(ttl=60)), Parallel[str, Found])
assert_type(read >> Parallel("both", a=classify, b=classify.named("again")), Pipeline[str, dict[str, Kind]])


# ---- 4. map with progress
class Doc(BaseModel):
    id: str
    text: str


class Summary(BaseModel):
    text: str


@step
async def load(folder: str) -> list[Doc]:
    return [Doc(id=folder, text="")]


summarise = Step.agent("summarise", Agent(MODEL, output_type=Summary), input=Doc, prompt="{{ input.text }}")
summaries = Map("summaries", summarise, key=lambda d: d.id, max_concurrency=8)
batch = load >> summaries
assert_type(summaries, Map[Iterable[Doc], list[Summary]])
assert_type(batch, Pipeline[str, list[Summary]])


async def progress() -> None:
    async with Flujo(batch, store="sqlite:///runs.db").stream("docs/") as run:
        async for event in run:
            if isinstance(event, StepCompleted):
                print(event.address)
    assert_type(run.result.output, list[Summary])


# ---- maps
class Folder(BaseModel):
    docs: list[Doc]


def docs_of(folder: Folder) -> list[Doc]:
    return folder.docs


async def arriving(folder: Folder, *, after: str | None = None) -> AsyncIterator[Doc]:
    for doc in folder.docs:
        yield doc


def by_id(doc: Doc) -> str:
    return doc.id


@step
async def total(summaries: Sequence[Summary]) -> int:
    return len(summaries)


assert_type(Map("summaries", summarise), Map[Iterable[Doc], list[Summary]])
assert_type(Map("summaries", summarise, over=docs_of, key=by_id), Map[Folder, list[Summary]])
assert_type(Map("summaries", summarise, over=arriving), Map[Folder, list[Summary]])
assert_type(Map("summaries", summarise, over=docs_of) >> total, Pipeline[Folder, int])
assert_type(Map("all", Map("summaries", summarise)), Map[Iterable[Iterable[Doc]], list[list[Summary]]])
assert_type(Map("drafts", read >> classify >> count), Map[Iterable[str], list[int]])
assert_type(summaries.named("texts"), Map[Iterable[Doc], list[Summary]])
assert_type(summaries.policy(timeout=Timeout(run=60)), Map[Iterable[Doc], list[Summary]])


# ---- 5. refine loop
class Review(BaseModel):
    ok: bool
    notes: str = ""


@step
async def write(
    *, topic: Annotated[str, From.run_input], review: Annotated[Review | None, From("critique")] = None
) -> Draft:
    return Draft(text=topic)


@step
async def critique(draft: Draft) -> Review:
    return Review(ok=True)


@step
async def pick(*, draft: Annotated[Draft, From("refine/write")]) -> Draft:
    return draft


refine = Loop("refine", write >> critique, until=lambda r: r.ok, max_iterations=3) >> pick
assert_type(refine, Pipeline[object, Draft])
assert_type(Loop("refine", write >> critique, until=lambda r: r.ok, max_iterations=3), Loop[object, Review])


# ---- loops
@step
async def polish(draft: Draft) -> Draft:
    return draft


def is_short(draft: Draft, context: Ticket) -> bool:
    return len(draft.text) < context.severity


polished = Loop("polish it", polish, until=is_short, max_iterations=3, on_exhausted="return")
assert_type(polished, Loop[Draft, Draft])
assert_type(Loop("again", polished >> polish.named("more"), until=is_short, max_iterations=2), Loop[Draft, Draft])
assert_type(polished >> shout, Pipeline[Draft, str])
assert_type(polished.named("other"), Loop[Draft, Draft])
assert_type(polished.policy(fallback=polish, version="2"), Loop[Draft, Draft])
assert_type((polish >> shout).named("loud").policy(retry=Retry(attempts=2), fallback=shout), Pipeline[Draft, str])
assert_type(polish.policy(validators=[lambda draft: None], cache=Cache(key=lambda draft: "x")), Step[Draft, Draft])


# ---- functions over nodes
def twice(node: Node[Draft, Draft]) -> Loop[Draft, Draft]:
    return Loop("twice", node, until=lambda draft: False, max_iterations=2, on_exhausted="return")


assert_type(twice(polished), Loop[Draft, Draft])
assert_type(twice(polish >> polished), Loop[Draft, Draft])
wide: Node[Kind, Draft | int] = route
wide_items: Node[list[Doc], list[Summary]] = summaries
nodes: list[Node[Any, Any]] = [route, retrieve, summaries, polished, triage]


# ---- 13. testing
async def test_triage() -> None:
    async with harness(triage, store="memory://") as h:
        assert_type(h, Harness[str, Draft])
        assert_type(h.fake(classify), Fake[Email, Kind])
        h.fake(classify).returns(Kind(queue="bug", severity=2))
        h.fake(route).returns(Draft(text="x"))
        result = await h.run_async("a.eml")
        assert_type(result, PipelineResult[Draft, Any])
        assert_type(result.output, Draft)
        assert_type(h.output_of(note), Kind)
        assert_type(h.outputs_of(note), Sequence[Kind])
        assert_type(h.output_of(route), Draft)
        assert result.output == Draft(text="x") and h.output_of(note).severity == 2
    assert_type(await run_step(note, Kind(queue="bug", severity=1), context=Ticket()), Kind)
    assert_type(await run_step(refund, None, email=Email(subject="", body="")), Draft)


async def test_failing() -> None:
    async with harness(batch, virtual_time=True) as h:
        h.fake(summarise).raises(ValueError()).takes(5)
        try:
            await h.run_async("docs/")
        except RunFailed:
            assert h.result is not None
            assert_type(h.result.output, list[Summary])
