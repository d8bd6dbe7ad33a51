"""A leaf that has begun before, and has not come to an end: where it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from flujo_core.engine.again import recorded_call
from flujo_core.engine.frame import Run
from flujo_core.engine.journal import now
from flujo_core.engine.past import StepPast
from flujo_core.engine.question import Answered, Paused, answered
from flujo_core.model.event import AttemptFailed
from flujo_core.model.flow import FALLBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flujo_core.model.agent import Call


class Again(NamedTuple):
    """Where a leaf goes on that has begun before.

    Attributes:
        attempt: The number of the attempt that it goes on with.
        since: The number of the first attempt that counts for its ``Retry``.
        started: When the leaf first began, in seconds since the epoch.
        begins: Whether the attempt begins: behind a question of the step itself, nothing of it runs again.
        poisoned: Whether it began too often without coming to anything.
        failed: The attempt before, if it failed, or None.
        feedback: What a validator said of the attempt before, or None.
        fell: Whether its fallback has begun.
        answered: What it goes on with behind its questions, or None.
        lapsed: What follows of that nobody has answered in time, or None.
        calls: What its agent's calls gave in this attempt.
    """

    attempt: int
    since: int
    started: float
    begins: bool
    poisoned: bool
    failed: AttemptFailed | None
    feedback: str | None
    fell: bool
    answered: Answered | None
    lapsed: str | None
    calls: Mapping[str, Call]

    @property
    def is_behind(self) -> bool:
        """Whether what comes before the attempts is not called again: it has asked, or it has failed already."""
        return self.answered is not None or self.lapsed is not None or self.poisoned


async def resumed(run: Run, address: str, known: StepPast) -> Again:
    """Waits at the edge; gives where the leaf goes on.

    Raises:
        Paused: It waits for an answer.
        IncompatiblePipeline: Something that is recorded was asked for by nobody.
    """
    edge = run.edge
    assert edge is not None
    behind = answered(known.questions)
    if behind is not None and behind.source in ("step", "post"):  # its attempts, and its fallback, are over
        edge.seal(address)
    if any(one.is_open for one in known.questions.values()):
        raise Paused
    fell = (behind is None or behind.source == "pre") and edge.has_begun(address + FALLBACK)
    if not fell:  # else what is in the fallback comes to the edge itself
        await edge.reach()
    if known.address != address:
        run.former[address] = known.address
    failed = known.failed if known.failed is not None and known.failed.attempt >= known.attempt else None
    attempt = max(known.attempt + (failed is not None), known.since, 1)
    if failed is not None and not fell and (seconds := failed.retry_at - now()) > 0:
        await asyncio.sleep(seconds)
    lapsed = next((one.lapsed for one in known.questions.values() if one.lapsed is not None), None)
    begins = lapsed is None and not fell and (behind is None or behind.source in ("pre", "tool"))
    poisoned = begins and known.deaths >= run.max_recoveries and attempt == known.attempt
    before = known.failed if known.failed is not None and known.failed.attempt == attempt - 1 else None
    feedback = None if before is None else before.feedback
    begins = begins and not poisoned
    calls = calls_of(run, known, attempt)
    return Again(
        attempt, known.since, known.started, begins, poisoned, failed, feedback, fell, behind, lapsed, calls
    )  # fmt: skip


def begun_again(run: Run, address: str, known: StepPast) -> Again:
    """Where a step that streams with others goes on: at its beginning, with the calls that its agent has made."""
    if known.address != address:
        run.former[address] = known.address
    attempt = max(known.attempt, known.since, 1)
    return Again(
        attempt, known.since, known.started, begins=True, failed=None, feedback=None, fell=False, answered=None,
        lapsed=None, poisoned=known.deaths >= run.max_recoveries and attempt == known.attempt,
        calls=calls_of(run, known, attempt),
    )  # fmt: skip


def calls_of(run: Run, known: StepPast, attempt: int) -> Mapping[str, Call]:
    """The finished calls of a step's agent in an attempt."""
    calls = known.calls if attempt == known.attempt else {}
    return {call: recorded_call(run.journal.run_id, one, run.context_type) for call, one in calls.items()}
