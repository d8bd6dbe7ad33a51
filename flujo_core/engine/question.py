"""A leaf that waits for people: how it asks, and how their answers come back to it."""

from __future__ import annotations

import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json, to_json

from flujo_core.engine.journal import EMPTY, Journal, now
from flujo_core.errors import IncompatiblePipeline
from flujo_core.model.agent import Usage
from flujo_core.model.event import ExpiryAction, QuestionAsked, QuestionKind, QuestionTerms
from flujo_core.model.outcome import Default, PauseForHumanInput
from flujo_core.model.patch import NO_PATCH, Patch
from flujo_core.model.question import response_name, response_of, schema_of
from flujo_core.model.value import adapter, concrete, encoded, validated

if TYPE_CHECKING:
    from flujo_core.engine.past import QuestionPast

TOKEN_BYTES = 24


class Paused(BaseException):
    """Unwinds what waits for people; not an Exception, so that nothing on the way takes it for a failure."""


class Asking(BaseException):
    """Unwinds a leaf that asks, up to where its questions are journaled.

    Raises:
        InvalidValue: The default answer to a question does not fit its type.
        DefinitionError: JSON has no such answers.

    Attributes:
        source: Who asks.
        questions: What is asked, by the agent's call that asks, ``tool.x``; by the empty text, if it is no call.
        attempt: The number of the attempt that asks; 0 before the first.
        state: What is to go on with the answers, as JSON can hold it.
        patch: What the leaf has changed until then.
        data: The same as JSON.
        usage: What the agent used until then, or None.
        by: The plugin whose hook asks, or None.
    """

    def __init__(
        self, source: QuestionKind, questions: Mapping[str, PauseForHumanInput[Any]], attempt: int = 0
    ) -> None:
        super().__init__()
        for pause in questions.values():  # what cannot be published fails what asks
            schema_of(pause.response_model)
            terms_of(pause, 0.0)
        self.source: QuestionKind = source
        self.questions = questions
        self.attempt = attempt
        self.state: dict[str, Any] = {}
        self.patch: Patch = NO_PATCH
        self.data = EMPTY
        self.usage: Usage | None = None
        self.by: str | None = None


class Answered(NamedTuple):
    """What a leaf goes on with, behind its questions.

    Attributes:
        asked: The first question that it asked then.
        patch: What it had changed until then, as JSON.
        answers: The answers as JSON, by the agent's call that asked, or by the empty text.
        responses: The names of the answers' types, likewise.
    """

    asked: QuestionAsked
    patch: bytes
    answers: Mapping[str, bytes]
    responses: Mapping[str, str]

    @property
    def source(self) -> QuestionKind:
        """Who asked."""
        return self.asked.source


def answered(questions: Mapping[str, QuestionPast]) -> Answered | None:
    """What a leaf goes on with whose questions all have answers; None if it has asked nothing."""
    if not questions:
        return None
    first = next(iter(questions.values()))
    answers = {call: one.answer for call, one in questions.items() if one.answer is not None}
    responses = {call: one.asked.response for call, one in questions.items()}
    return Answered(first.asked, first.patch, answers, responses)


def answer_of(behind: Answered) -> Any:
    """The answer to a hook: of the type that it asked for, where that is found among what is imported; else as data."""
    answer, kind = behind.answers[""], imported(behind.asked.response)
    return from_json(answer) if kind is None else adapter(kind).validate_json(answer, by_alias=False, by_name=True)


def answer_type(run_id: str, gives: Any, asked: QuestionAsked) -> Any:
    """The type of the answer to what a step has asked.

    Args:
        run_id: The run.
        gives: The step's output type.
        asked: The question.

    Raises:
        IncompatiblePipeline: The step's output type has none like that any more.
    """
    try:
        return response_of(gives, asked.response)
    except LookupError as error:
        what = f"'{asked.address}' has asked for '{asked.response}', which its output type does not take any more"
        raise IncompatiblePipeline(run_id, [f"{what}; keep that among its types"]) from error


def kept(value: Any, hint: Any) -> Any:
    """A value as JSON can hold it.

    Raises:
        InvalidValue: It cannot be written, or another one would come back.
    """
    return from_json(encoded(value, concrete(hint), "what is to go on behind the question")[0])


def imported(name: str) -> Any:
    """The class of a name, ``module:qualname``, if its module has been imported; or None."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def publish(journal: Journal, address: str, asking: Asking, started: float) -> None:
    """Journals the questions of a leaf, and keeps their tokens for the caller whose run pauses."""
    first = True
    for call, pause in asking.questions.items():
        place = f"{address}!{call}" if call else address
        token = new_token()
        event = _event(journal, place, asking, pause, token_hash(token), started)
        if not first:  # what goes on is kept once
            event.state, event.patch, event.usage = {}, NO_PATCH, None
        journal.stage(event, to_json(event.payload), asking.data if first else EMPTY)
        journal.tokens[event.sequence] = token
        journal.asked[event.sequence] = place
        first = False


def _event(
    journal: Journal, place: str, asking: Asking, pause: PauseForHumanInput[Any], hashed: str, started: float
) -> QuestionAsked:
    at = now()
    return QuestionAsked(
        *journal.head(place, at), asking.attempt, asking.source, pause.question,
        response_name(pause.response_model), schema_of(pause.response_model), terms_of(pause, at),
        asking.state, asking.patch, at - started, asking.usage, asking.by, hashed,
    )  # fmt: skip


def terms_of(pause: PauseForHumanInput[Any], at: float) -> QuestionTerms:
    """The terms of a question that is asked now."""
    until = None if pause.expires_in is None else at + pause.expires_in.total_seconds()
    if isinstance(pause.on_expiry, Default):
        value = validated(pause.on_expiry.value, pause.response_model, "the default answer")
        data, _ = encoded(value, pause.response_model, "the default answer")
        return QuestionTerms(tuple(pause.approvers), pause.quorum, until, "default", from_json(data))
    action: ExpiryAction = "stop" if pause.on_expiry == "stop" else "fail"
    return QuestionTerms(tuple(pause.approvers), pause.quorum, until, action)


def new_token() -> str:
    """A token: 192 random bits, as text that can stand in a URL."""
    return urlsafe_b64encode(os.urandom(TOKEN_BYTES)).decode()


def token_hash(token: str) -> str:
    """What is kept of a token: its SHA-256, in hexadecimal."""
    import hashlib  # noqa: PLC0415 - few runs ask

    return hashlib.sha256(token.encode()).hexdigest()
