"""What a run came to, or what it waits for, as commands print it: its output on stdout, the rest on stderr; or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from shlex import quote
from typing import Any

import typer
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from flujo_core.cli.session import DEFAULT_STORE
from flujo_core.cli.text import MARKS, cost, iso, moment, tokens, usage_facts
from flujo_core.model.duration import span
from flujo_core.model.question import Question
from flujo_core.model.result import PipelineResult
from flujo_core.model.run import ONGOING


@dataclass(frozen=True)
class Report:
    """Prints results.

    Attributes:
        store: The URL of the store, to say how to see a run again.
        as_json: Print one JSON object instead, and nothing else.
        target: The pipeline, to say how to go on with a run.
    """

    store: str
    as_json: bool
    target: str | None = None

    def print(self, result: PipelineResult[Any, Any]) -> None:
        """Prints what a run has come to."""
        if self.as_json:
            typer.echo(json.dumps(summary(result)))
            return
        if result.status == "completed":
            typer.echo(_shown(result.output))
        usage, steps = result.usage, result.steps
        has_ended = result.status not in ONGOING
        took = span(result.last.at - steps[0].started_at) if steps and has_ended else ""
        facts = [f"run {result.run_id}", result.status, result.reason or "", took, tokens(usage), cost(usage)]
        self.say(", ".join(fact for fact in facts if fact))
        if result.status == "running":
            self.say("somebody else goes on with it, and takes in what was said")
        for question in result.questions if result.status == "paused" else ():
            self.say("\n".join(lines_of(question)))
        if result.status == "paused" and self.target is not None:
            self.say(f"go on with it: flujo resume {quote(result.run_id)} {quote(self.target)}{self.option}")
        self.say(f"see it again: {self.see(result.run_id)}")

    def see(self, run_id: str) -> str:
        """The command that shows a run."""
        return f"flujo runs show {quote(run_id)}{self.option}"

    def say(self, text: str) -> None:
        """Prints something beside what the command gives."""
        typer.echo(text, err=True)

    @property
    def option(self) -> str:
        """What a command needs to find the store: nothing for the default one."""
        return "" if self.store == DEFAULT_STORE else f" --store {quote(self.store)}"


def summary(result: PipelineResult[Any, Any]) -> dict[str, Any]:
    """A result as a JSON object; its questions with their tokens, where it was this process whose run has paused."""
    questions = result.questions if result.status == "paused" else ()
    return {
        "run_id": result.run_id,
        "status": result.status,
        "output": _plain(result.output) if result.status == "completed" else None,
        "reason": result.reason,
        "error": None if result.error is None else str(result.error),
        "usage": usage_facts(result.usage),
        "questions": [{**facts_of(one), "token": one.token} for one in questions],
    }


def lines_of(question: Question) -> list[str]:
    """A question, for people."""
    text = question.text if question.json_schema or question.text else "(it cannot be read here)"
    lines = [f"  {MARKS['paused']} {question.address}  {text}"]
    terms = []
    if question.approvers:
        terms.append(f"by {', '.join(question.approvers)}")
    if question.quorum > 1:
        terms.append(f"{question.votes} of {question.quorum} votes")
    if question.expires_at is not None:
        terms.append(f"until {moment(question.expires_at)} UTC")
    if terms:
        lines.append(f"      {'; '.join(terms)}")
    if question.token is not None:
        lines.append(f"      token {question.token}")
    return lines


def facts_of(question: Question) -> dict[str, Any]:
    """A question as a JSON object, without its token."""
    return {
        "run_id": question.run_id,
        "tenant": question.tenant,
        "address": question.address,
        "text": question.text,
        "json_schema": question.json_schema,
        "asked_at": iso(question.asked_at),
        "expires_at": iso(question.expires_at),
        "approvers": list(question.approvers),
        "quorum": question.quorum,
        "votes": question.votes,
    }


def _shown(output: Any) -> str:
    return output if isinstance(output, str) else json.dumps(_plain(output), indent=2, ensure_ascii=False)


def _plain(output: Any) -> Any:
    try:
        return TypeAdapter(type(output)).dump_python(output, mode="json")
    except PydanticSerializationError:
        return f"<{type(output).__name__}>"
