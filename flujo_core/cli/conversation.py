"""A conversation: a run that waits for answers, and the person at the terminal who gives them."""

from __future__ import annotations

import sys
from typing import Any

from flujo_core.cli.answer import NO, YES, Field, Form, WrongAnswer
from flujo_core.cli.interrupt import within
from flujo_core.cli.report import Report, lines_of
from flujo_core.errors import AlreadyAnswered, InvalidValue, RunBusy, UnknownQuestion
from flujo_core.flujo import Flujo
from flujo_core.model.question import Question
from flujo_core.model.result import PipelineResult

Key = tuple[str, float]
"""What tells a question from another one of the same run: its address, and when it was asked."""


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(prompt: str) -> str:
    """A line from the terminal.

    Raises:
        EOFError: Its end was typed.
    """
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        print(file=sys.stderr)
        raise EOFError
    return line.strip()


def agrees(question: str) -> bool:
    """Whether somebody says yes."""
    try:
        while (said := ask(f"{question} (y/n): ").lower()) not in (*YES, *NO):
            pass
    except EOFError:
        return False
    return said in YES


class Conversation:
    """Asks a person what a run waits for, and answers the run.

    Args:
        flujo: What goes on with the run.
        report: Prints what it comes to.
        approver: Who answers; asked for where a question names who may.
    """

    def __init__(self, flujo: Flujo[Any, Any, Any], report: Report, approver: str | None = None) -> None:
        self._flujo = flujo
        self._report = report
        self._approver = approver
        self._tokens: dict[Key, str] = {}

    def hold(self, run_id: str, result: PipelineResult[Any, Any] | None = None, address: str | None = None) -> None:
        """Asks what is open, one question after the other, those that come up on the way too.

        Args:
            run_id: The run.
            result: What it has come to, if that is known.
            address: Only what is asked there.

        Raises:
            RunFailed: The run failed.
        """
        try:
            result = self._hold(run_id, result, address)
        except EOFError:
            self._report.say("what is open stays open")
        if result is not None and result.status == "paused":
            self._report.print(result)

    def _hold(
        self, run_id: str, result: PipelineResult[Any, Any] | None, address: str | None
    ) -> PipelineResult[Any, Any] | None:
        """Gives what the run came to.

        Raises:
            EOFError: The person has left.
        """
        seen: set[Key] = set()
        self._note(result)
        while question := next((one for one in self._open(run_id, address) if _key(one) not in seen), None):
            seen.add(_key(question))
            self._report.say("\n".join(lines_of(question._replace(token=None))))
            try:
                result = self.answer(question)
            except AlreadyAnswered as error:
                self._report.say(str(error))
                result = self._as_it_is(run_id)
            self._note(result)
        return result

    def _as_it_is(self, run_id: str) -> PipelineResult[Any, Any] | None:
        """What a run that somebody else has answered has come to; None: they go on with it."""

        async def told() -> PipelineResult[Any, Any]:
            result = await self._flujo.resume_async(run_id)
            if result.status != "paused":
                self._report.print(result)
            return result

        try:
            return within(self._flujo, told)
        except RunBusy as busy:
            self._report.say(str(busy))
            return None

    def answer(self, question: Question) -> PipelineResult[Any, Any]:
        """Asks for the answer until it is one, and gives it.

        Raises:
            EOFError: The person has left.
            AlreadyAnswered: Somebody was faster.
        """
        form, approver = Form(question.json_schema), self._approver
        if question.approvers and approver is None:
            approver = ask("  who answers: ")
        while True:
            value = form.read_fields({field.name: _text_of(form, field) for field in form.fields})
            try:
                return self.give(question, value, approver)
            except InvalidValue as error:
                self._report.say(f"{error}; once more")

    def give(self, question: Question, value: object, approver: str | None) -> PipelineResult[Any, Any]:
        """Answers exactly this question, and prints what the run ended with, if it did.

        It is answered with its token, or a new one: without one, the answer might be taken for one to what the run
        asks next. Only where others vote too, and nothing else is open, their token is left in force.

        Raises:
            AlreadyAnswered: Somebody was faster.
        """

        async def given() -> PipelineResult[Any, Any]:
            token = self._tokens.get(_key(question))
            is_alone = len(await self._flujo.pending_async(run_id=question.run_id)) == 1
            if token is None and not (question.quorum > 1 and is_alone and value is not None):
                token = self._tokens[_key(question)] = await self._new_token(question)
            result = await self._flujo.resume_async(question.run_id, value, token=token, approver=approver)
            if result.status != "paused":
                self._report.print(result)
            return result

        return within(self._flujo, given)

    async def _new_token(self, question: Question) -> str:
        """A token of exactly this question.

        Raises:
            AlreadyAnswered: It is not open any more.
        """
        gone = f"the question of '{question.address}' is not open any more"
        try:
            fresh = await self._flujo.reissue_async(question.run_id, question.address)
        except UnknownQuestion:
            raise AlreadyAnswered(gone) from None
        if _key(fresh) != _key(question) or fresh.token is None:
            raise AlreadyAnswered(gone)
        return fresh.token

    def _open(self, run_id: str, address: str | None) -> list[Question]:
        found = within(self._flujo, lambda: self._flujo.pending_async(run_id=run_id))
        return [one for one in found if address in (None, one.address)]

    def _note(self, result: PipelineResult[Any, Any] | None) -> None:
        """Keeps the tokens that this process has got for this person."""
        questions = () if result is None else result.questions
        self._tokens |= {_key(one): one.token for one in questions if one.token is not None}


def _key(question: Question) -> Key:
    return question.address, question.asked_at


def _text_of(form: Form, field: Field) -> str:
    """Asks for one field until its text is a value."""
    about = field.schema.get("description") or ""
    if about and field.name:
        print(f"  {about}", file=sys.stderr)
    while True:
        text = ask(f"  {field.name or 'answer'} ({form.hint(field)}): ")
        if not text and not field.is_required:
            return ""
        try:
            form.read_field(field, text)
        except WrongAnswer as wrong:
            print(f"  {wrong}", file=sys.stderr)
        else:
            return text
