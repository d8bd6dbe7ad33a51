"""What the calls of one agent step gave: kept in the run's journal, found there when the step goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from flujo_core.engine.journal import EMPTY, Journal, now
from flujo_core.model.agent import Call, ToolApproval, ToolQuestion
from flujo_core.model.event import CallCompleted
from flujo_core.model.flow import encoded_name
from flujo_core.model.outcome import PauseForHumanInput
from flujo_core.model.patch import PatchAdapter
from flujo_core.model.question import response_name


class Calls:
    """A ``CallLog``: the calls of one attempt of a step.

    Args:
        journal: The run's journal.
        address: The step's address.
        attempt: The attempt's number.
        known: The calls that were finished before the run was resumed, by their names as they stand in addresses.
        patches: Writes what the calls change in the context.
    """

    def __init__(
        self, journal: Journal, address: str, attempt: int, known: Mapping[str, Call], patches: PatchAdapter
    ) -> None:
        self._patches = patches
        self._journal = journal
        self._address = address
        self._attempt = attempt
        self._known = known

    def find(self, call: str, /) -> Call | None:
        """What a call gave, if it was finished before."""
        return self._known.get(encoded_name(call))

    async def keep(self, call: str, made: Call, /) -> None:
        """Journals a call; it is durable when this returns."""
        journal = self._journal
        head = journal.head(f"{self._address}!{encoded_name(call)}", now())
        state, patch = self._patches.encoded(made.patch) if made.patch else (EMPTY, made.patch)
        journal.stage(CallCompleted(*head, self._attempt, made.digest, None, patch, made.usage), made.result, state)
        await journal.flush()


def pause_of(question: ToolQuestion) -> PauseForHumanInput[Any]:
    """What is asked of people about a call of an agent's tool."""
    return PauseForHumanInput(question.text, question.answer_type)


def question_again(call: str, response: str) -> ToolQuestion:
    """What was asked about a call, as far as the agent needs it to go on.

    Args:
        call: The call, as it stands in addresses.
        response: The name of the answer's type.
    """
    return ToolQuestion(unquote(call).partition(".")[2], "", "", response == response_name(bool | ToolApproval), {})
