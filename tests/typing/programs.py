"""Programs as users write them; checked by mypy and pyright, not run. Those of the public face that use what exists."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from typing import Any, Literal, assert_type

from pydantic import BaseModel
from pydantic_ai import Agent

from flujo_core import (
    AgentReply,
    Backend,
    Chunk,
    Flujo,
    LocalBackend,
    MemoryStore,
    Node,
    Pipeline,
    PipelineContext,
    PipelineResult,
    ProcessPool,
    ResourceHints,
    Resources,
    Retry,
    RunEvent,
    RunFailed,
    RunInfo,
    SQLiteStore,
    Step,
    StepCompleted,
    StepResult,
    Stop,
    step,
)

MODEL = "openai:gpt-5"

# ---- 1. three lines
print(Flujo(Step.agent("haiku", Agent(MODEL, instructions="Write a haiku."))).run("autumn").output)


# ---- 2. triage
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
    log: list[str] = []


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


@step(name="file it", retry=Retry(attempts=2), timeout=30)
async def file_bug(kind: Kind) -> Draft | Stop:
    return Draft(text=kind.queue) if kind.severity else Stop("nothing to do")


@step
def shout(draft: Draft) -> str:
    return draft.text.upper()


@step(timeout=3)
def count(text: str, /, *, info: RunInfo) -> int:
    return len(text) + info.attempt


@step
async def constant() -> int:
    return 1


def reply_prompt(kind: Kind, context: Ticket) -> str:
    return f"{kind.queue} {context.severity}"


answer = Step.agent("answer", Agent(MODEL, output_type=Draft), prompt=reply_prompt)

assert_type(read, Step[str, Email])
assert_type(classify, Step[Email, Kind])
assert_type(note, Step[Kind, Kind])
assert_type(file_bug, Step[Kind, Draft])
assert_type(shout, Step[Draft, str])
assert_type(count, Step[str, int])
assert_type(constant, Step[object, int])
assert_type(answer, Step[Kind, Draft])

triage = read >> classify >> note >> answer
assert_type(triage, Pipeline[str, Draft])
assert_type(triage.named("triage"), Pipeline[str, Draft])
assert_type(triage.named("triage") >> shout >> count, Pipeline[str, int])
assert_type(read.named("other"), Step[str, Email])
assert_type(read.policy(retry=Retry(attempts=2), timeout=1.5), Step[str, Email])
assert_type(shout >> constant, Pipeline[Draft, int])


# ---- running
async def run_it() -> None:
    async with Flujo(triage, context=Ticket, store="sqlite:///runs.db") as flujo:
        assert_type(flujo, Flujo[str, Draft, Ticket])
        result = await flujo.run_async("mail/0001.eml", tenant="acme", run_id="one", context=Ticket(severity=1))
        assert_type(result, PipelineResult[Draft, Ticket])
        assert_type(result.output, Draft)
        assert_type(result.context, Ticket)
        assert_type(result.steps, tuple[StepResult, ...])
        async with flujo.stream("mail/0001.eml") as run:
            async for event in run:
                assert_type(event, RunEvent)
                if isinstance(event, Chunk):
                    print(event.text)
                if isinstance(event, StepCompleted):
                    print(event.address, event.duration)
        assert_type(run.result.output, Draft)
        assert_type(run.result.context, Ticket)


plain_flujo = Flujo(read)
assert_type(plain_flujo, Flujo[str, Email, PipelineContext])
assert_type(plain_flujo.run("x").output, Email)
assert_type(Flujo(constant).run(None).output, int)


@step
async def begin(value: None) -> int:
    return 1


assert_type(Flujo(begin).run().output, int)


async def failures() -> str:
    try:
        await plain_flujo.run_async("x")
    except RunFailed as failed:
        return failed.result.status
    return "completed"


# ---- stores, resources
class Clients(Resources):
    base_url: str = ""


@step
async def fetch(path: str, clients: Clients) -> bytes:
    return f"{clients.base_url}{path}".encode()


Flujo(fetch, resources=Clients(), store=MemoryStore())
Flujo(fetch, resources=Clients(), store=SQLiteStore("runs.db"))


# ---- an agent of another library
class Echo:
    async def run(self, input: Email, /, *, info: RunInfo) -> AgentReply[Draft]:
        return AgentReply(Draft(text=input.subject))


assert_type(Step.agent("echo", Echo()), Step[Email, Draft])
assert_type(read >> Step.agent("echo", Echo()) >> shout, Pipeline[str, str])
assert_type(Step.agent("registered", "acme/underwriter"), Step[Any, Any])


# ---- functions over nodes
def twice(node: Node[str, str]) -> Pipeline[str, str]:
    return node >> node.named("again")


class Animal(BaseModel):
    name: str = ""


class Dog(Animal):
    pass


@step
async def find(name: str) -> Dog:
    return Dog(name=name)


@step
async def greet(animal: Animal) -> str:
    return animal.name


assert_type(find >> greet, Pipeline[str, str])
wide: Node[str, Animal] = find
twice(find >> greet)


# ---- steps elsewhere
@step(backend="process", resources=ResourceHints(cpu=2, max_runtime=60))
def crunch(number: int) -> str:
    return str(number)


assert_type(crunch, Step[int, str])
assert_type(crunch.policy(backend="acme/ray", resources=ResourceHints(gpu=1)), Step[int, str])
places: Backend = ProcessPool(workers=2)
here: Backend = LocalBackend()
