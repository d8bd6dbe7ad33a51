"""What a run came to, as callers get it: PipelineResult, and the errors that carry one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from flujo_core.errors import FlujoError
from flujo_core.model.agent import Usage
from flujo_core.model.draft import Drafting, drafted
from flujo_core.model.event import RunEnded, RunEvent, RunPaused, RunStatus
from flujo_core.model.question import Question
from flujo_core.model.run import QuestionState, RunState, StepResult, fold, total

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext
    from flujo_core.model.state import PipelineState

Out = TypeVar("Out", covariant=True)
Ctx = TypeVar("Ctx", bound="PipelineContext", default="PipelineContext", covariant=True)

NO_TOKENS: Mapping[int, str] = {}


class NoOutput(FlujoError):
    """The run has no output; the message names its status."""


class PipelineResult(Generic[Out, Ctx]):
    """What a run came to, or where it is: of a run that waits for a person, what it waits for.

    Attributes:
        run_id: The run's id.
        tenant: Whose run it is, or None.
        status: How it ended; ``paused``; or ``running``, if somebody else goes on with it.
        error: Why it failed or was refused, or None.
        reason: Why it was stopped, or None.
        last: The run's last event.
    """

    def __init__(
        self,
        events: Sequence[RunEvent],
        last: RunEvent,
        context: Drafting,
        tokens: Mapping[int, str] = NO_TOKENS,
        state: Callable[[], PipelineState] | None = None,
    ) -> None:
        self._portable = state
        ended = last if isinstance(last, RunEnded) else None
        self.run_id = last.run_id
        self.tenant = last.tenant
        self.status: RunStatus = ended.status if ended else "paused" if isinstance(last, RunPaused) else "running"
        self.reason = ended.reason if ended else None
        self.error = ended.error if ended else None
        self.last = last
        self._events = events
        self._context = context
        self._tokens = tokens

    @property
    def output(self) -> Out:
        """The output.

        Raises:
            NoOutput: The run did not complete.
        """
        if self.status != "completed":
            raise NoOutput(f"run '{self.run_id}' has no output: its status is '{self.status}'")
        output: Out = self.end.output
        return output

    @property
    def end(self) -> RunEnded:
        """The event of its end.

        Raises:
            NoOutput: The run has not ended.
        """
        if not isinstance(self.last, RunEnded):
            raise NoOutput(f"run '{self.run_id}' has not ended: its status is '{self.status}'")
        return self.last

    @property
    def context(self) -> Ctx:
        """The context as it is now."""
        return drafted(self._context)  # type: ignore[return-value]

    @property
    def events(self) -> tuple[RunEvent, ...]:
        """What happened, in order."""
        known = self._events
        return (*(known[:-1] if known and known[-1].sequence == self.last.sequence else known), self.last)

    @property
    def steps(self) -> tuple[StepResult, ...]:
        """What became of each step, in the order in which they began."""
        return tuple(self._state.steps.values())

    @property
    def questions(self) -> tuple[Question, ...]:
        """What the run waits for, in the order in which it was asked."""
        return tuple(question_of(one, self._tokens.get(one.asked.sequence)) for one in self._state.open_questions)

    @property
    def state(self) -> PipelineState:
        """The run as data that can be taken elsewhere; with a store, what tells that store where it was.

        Raises:
            NoOutput: The run does not wait for anybody.
            InvalidValue: It holds a value that cannot be written.
        """
        if self._portable is None:
            raise NoOutput(f"run '{self.run_id}' has no state to go on from: its status is '{self.status}'")
        return self._portable()

    @property
    def usage(self) -> Usage:
        """What the agents of all steps used."""
        return total(self.steps)

    def replace(self, *, output: Any) -> PipelineResult[Any, Ctx]:
        """The same result with another output, for ``on_pipeline_end``.

        Raises:
            NoOutput: The run did not complete, so there is no output to replace.
        """
        if self.status != "completed":
            raise NoOutput(f"run '{self.run_id}' has no output to replace: its status is '{self.status}'")
        return PipelineResult(self._events, self.end.changed(output=output), self._context)

    @cached_property
    def _state(self) -> RunState:
        return fold(self.events)

    def __repr__(self) -> str:
        return f"<PipelineResult '{self.run_id}' {self.status}>"


class RunFailed(FlujoError):
    """The run ended without a result.

    ``__cause__`` is the error that ended it.

    Attributes:
        result: What the run came to until then.
    """

    def __init__(self, message: str, result: PipelineResult[Any, Any]) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)


class RunRefused(RunFailed):
    """A plugin or a policy refused the run."""


class BudgetExceeded(RunFailed):
    """A budget had no room for what the run would have spent: nothing was spent above it."""


class RunCancelled(RunFailed):
    """Somebody cancelled the run."""


def question_of(asked: QuestionState, token: str | None = None) -> Question:
    """A question as callers see it.

    Args:
        asked: What became of it.
        token: Its token, for whoever may have it.
    """
    event, terms = asked.asked, asked.asked.terms
    return Question(
        event.run_id, event.address, event.text, event.json_schema, token, event.tenant, event.at,
        terms.expires_at, terms.approvers, terms.quorum, len(asked.votes),
    )  # fmt: skip
