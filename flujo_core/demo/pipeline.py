"""The demo's pipeline: a document is read, put on record, classified, answered, and the answer is checked.

Four agents share one model; the plain steps between them do what needs no model. ``pipeline`` runs with the local
model; ``build`` makes the same pipeline for another one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints
from pydantic_ai import Agent

from flujo_core import InvalidValue, Pipeline, PipelineContext, Retry, Step, step
from flujo_core.demo import LOCAL_MODEL

FITS = 2400
"""How many characters of a document are read: what a small model can take in."""

TIMEOUT = 180.0
"""Seconds that one answer of a model may take: a small model on a busy machine is slow, but not that slow."""

CLASSIFY = "{{ input.title }}\n{{ input.summary }}"

Line = Annotated[str, StringConstraints(max_length=120)]
Topic = Literal["billing", "technical", "legal", "contract", "research", "news", "other"]


class Passage(BaseModel):
    """The part of a document that is worked on."""

    text: str
    taken: int
    total: int


class Record(BaseModel):
    """What a document is about."""

    title: Line
    summary: Annotated[str, StringConstraints(max_length=240)]
    sender: Line
    wants: Line


class Class(BaseModel):
    """Where a document belongs."""

    topic: Topic
    urgent: bool


class Verdict(BaseModel):
    """What the checking agent says of a reply."""

    acceptable: bool
    remark: Line


class Report(BaseModel):
    """What the pipeline gives."""

    read: str
    record: Record
    topic: Topic
    urgent: bool
    reply: str
    acceptable: bool
    remark: str


class Case(PipelineContext):
    """What the steps of one run share."""

    passage: Passage | None = None
    record: Record | None = None
    topic: Topic = "other"
    urgent: bool = False
    reply: str = ""


@step
async def read(document: str, context: Case) -> Passage:
    """Takes the first part that fits, up to the end of a paragraph or a line."""
    if not document.strip():
        raise InvalidValue("the document is empty")
    part = document[:FITS]
    if len(document) > FITS:
        end = max(part.rfind("\n\n"), part.rfind("\n") if "\n\n" not in part else -1, FITS // 2)
        part = part[:end]
    context.passage = Passage(text=part.strip(), taken=len(part), total=len(document))
    return context.passage


@step
async def file_record(record: Record, context: Case) -> Record:
    """Puts the record on file."""
    context.record = record
    return record


@step
async def sort_in(kind: Class, context: Case) -> Class:
    """Files the topic, and what has a deadline as urgent whatever the model says."""
    context.topic = kind.topic
    context.urgent = kind.urgent or "ombudsman" in (context.passage or Passage(text="", taken=0, total=0)).text.lower()
    return kind


@step
async def tidy(reply: str, context: Case) -> str:
    """Cuts a reply at its last whole sentence."""
    text = " ".join(reply.split())[:900]
    end = max(text.rfind(mark) for mark in ".!?")
    context.reply = text[: end + 1] if end > 0 else text
    return context.reply


@step
async def close(verdict: Verdict, context: Case) -> Report:
    """Puts all that was found into one report."""
    assert context.record is not None and context.passage is not None
    return Report(
        read=f"{context.passage.taken} of {context.passage.total} characters",
        record=context.record,
        topic=context.topic,
        urgent=context.urgent,
        reply=context.reply,
        acceptable=verdict.acceptable,
        remark=verdict.remark,
    )


def answer_prompt(kind: Class, *, context: Case) -> str:
    """The record is enough to answer from: a small model loses itself in the whole document."""
    record = context.record
    assert record is not None
    return (
        f"A {kind.topic} document was received from {record.sender}: {record.summary}\n"
        f"The sender wants: {record.wants}\n\nWrite the reply."
    )


def check_prompt(reply: str, *, context: Case) -> str:
    """The reply beside what was asked for."""
    assert context.record is not None
    return f"Wanted: {context.record.wants}\n\nReply: {reply}\n\nIs the reply polite and about what was wanted?"


def build(model: str) -> Pipeline[str, Report]:
    """The demo's pipeline.

    Args:
        model: The name of the model that all agents ask: one of a plugin, or any that pydantic-ai knows.
    """
    extractor = Agent(
        model, name="extractor", output_type=Record, defer_model_check=True,
        instructions="You put documents on record. Use only what the document says. Be brief.",
    )  # fmt: skip
    classifier = Agent(
        model, name="classifier", output_type=Class, defer_model_check=True,
        instructions="You sort documents by topic. Urgent is what has a deadline.",
    )  # fmt: skip
    writer = Agent(
        model, name="writer", defer_model_check=True,
        instructions="You write short, polite replies to documents: at most three sentences. Promise nothing.",
    )  # fmt: skip
    checker = Agent(
        model, name="checker", output_type=Verdict, defer_model_check=True,
        instructions="You check replies before they are sent. Give a short remark.",
    )  # fmt: skip
    retry = Retry(attempts=2)
    return (
        read
        >> Step.agent("extract", extractor, input=Passage, prompt="{{ input.text }}", retry=retry, timeout=TIMEOUT)
        >> file_record
        >> Step.agent("classify", classifier, input=Record, prompt=CLASSIFY, retry=retry, timeout=TIMEOUT)
        >> sort_in
        >> Step.agent("answer", writer, prompt=answer_prompt, retry=retry, timeout=TIMEOUT)
        >> tidy
        >> Step.agent("check", checker, prompt=check_prompt, retry=retry, timeout=TIMEOUT)
        >> close
    )


pipeline = build(LOCAL_MODEL)
