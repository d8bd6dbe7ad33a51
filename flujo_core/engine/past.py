"""What a run has done before: its journal by the addresses of its parts, and the edge between that and what is new.

A resumed run is interpreted from its start. A part that finds its address here gives what is recorded, or goes on from
there; one that does not is at the edge, and waits until all that is recorded has been asked for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from flujo_core.errors import IncompatiblePipeline
from flujo_core.model.contexts import attempt_path, is_below
from flujo_core.model.event import (
    AgentReconfigured,
    AttemptFailed,
    BranchDecided,
    CallCompleted,
    ExpiryAction,
    ItemTaken,
    JournaledEvent,
    LoopDecided,
    NodeCompleted,
    NodeFailed,
    NodeKind,
    NodeStarted,
    PipelineMutated,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    QuestionWithdrawn,
    RunResumed,
    ScopeChanged,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from flujo_core.model.flow import FALLBACK
from flujo_core.model.rename import renamed
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record

OUTCOMES = frozenset({StepCompleted.kind, StepFailed.kind, NodeCompleted.kind, NodeFailed.kind})
"""Kinds of record that are read when somebody asks for what they hold."""

WHOLE = "#"
"""Stands behind an address for all attempts of it."""

ENDING = re.compile(r"#\d+$")
"""The number of an attempt at the end of a path."""


class StepPast:
    """What is known of one step.

    Attributes:
        address: Its address when it first began, which its idempotency key is made of.
        attempt: The number of the attempt that began last; 0 if none did.
        since: The number of the first attempt that counts for its ``Retry``.
        deaths: How often that attempt began without coming to anything.
        failed: The last attempt that failed and was not the last word, or None.
        outcome: Its commit, or its failure for good, or None.
        questions: What it asked, and what came of that, by address, in order.
        calls: What its agent's calls gave in the last attempt.
        change: How it has changed the pipeline behind it, or None.
        started: When it first began, in seconds since the epoch.
    """

    __slots__ = (
        "address", "attempt", "calls", "change", "deaths", "failed", "outcome", "questions", "since", "started",
    )  # fmt: skip

    def __init__(self, address: str, at: float) -> None:
        self.address = address
        self.attempt = 0
        self.since = 1
        self.deaths = 0
        self.failed: AttemptFailed | None = None
        self.outcome: Record | None = None
        self.questions: dict[str, QuestionPast] = {}
        self.calls: dict[str, Record] = {}
        self.change: ScopeChanged | None = None
        self.started = at

    def begin(self, attempt: int) -> None:
        """Takes in that an attempt began."""
        if attempt != self.attempt:
            self.attempt, self.deaths, self.calls = attempt, 0, {}
        self.deaths += 1

    def begin_anew(self) -> None:
        """Takes in that what has failed is tried again."""
        self.deaths = 0
        has_failed = self.outcome is not None and self.outcome.kind == StepFailed.kind
        if has_failed or any(one.is_withdrawn for one in self.questions.values()):
            self.outcome, self.since, self.questions = None, self.attempt + 1, {}

    def ask(self, event: QuestionAsked, record: Record) -> QuestionPast:
        """Takes in that it asked; what was asked before that is settled."""
        if not any(one.is_open for one in self.questions.values()):
            self.questions = {}
        self.deaths = 0
        made = self.questions[event.address.partition("!")[2]] = QuestionPast(event, state_of(record))
        return made

    def call(self, event: CallCompleted, record: Record) -> None:
        """Takes in what a call of its agent gave."""
        if event.attempt == self.attempt:
            call = record.address.partition("!")[2]
            self.calls[call] = record


class QuestionPast:
    """A question, and what came of it.

    Attributes:
        asked: The event that asked.
        patch: What the step had changed, as JSON.
        answer: Its answer, as JSON, or None.
        lapsed: What follows of that nobody has answered in time, or None.
        is_withdrawn: Whether nobody can answer it any more, as what asked it has ended.
    """

    __slots__ = ("answer", "asked", "is_withdrawn", "lapsed", "patch")

    def __init__(self, asked: QuestionAsked, patch: bytes) -> None:
        self.asked = asked
        self.patch = patch
        self.answer: bytes | None = None
        self.lapsed: ExpiryAction | None = None
        self.is_withdrawn = False

    @property
    def is_open(self) -> bool:
        """Whether it waits for its answer."""
        return self.answer is None and self.lapsed is None


class AttemptPast:
    """What is known of one attempt of a node in which others run.

    Attributes:
        scopes: The scopes that it opened, in order.
        items: The items that it took from an async source, as JSON, by scope, in order.
        iterations: Whether each iteration that ended was a loop's last one, by its number.
        case: The case that a branch took, or None.
    """

    __slots__ = ("_node", "case", "items", "iterations", "scopes")

    def __init__(self, node: NodeKind, scopes: tuple[str, ...]) -> None:
        self._node = node
        self.scopes = scopes
        self.items: dict[str, bytes] = {}
        self.iterations: dict[int, bool] = {}
        self.case: str | None = None

    @property
    def is_empty_map(self) -> bool:
        """Whether it is of a map, and no item of it is known."""
        return self._node == "map" and not self.scopes and not self.items

    def decide(self, event: LoopDecided | BranchDecided | ItemTaken, record: Record) -> None:
        """Takes in a decision."""
        match event:
            case LoopDecided():
                self.iterations[event.iteration] = event.done
            case BranchDecided():
                self.case = event.case
            case _:
                self.items[event.scope] = value_of(record)


class NodePast:
    """What is known of one node in which others run.

    Attributes:
        attempt: The number of the attempt that began last; 0 if none did.
        since: The number of the first attempt that counts for its ``Retry``.
        attempts: What is known of each attempt.
        failed: The last attempt that failed and was not the last word, or None.
        outcome: Its join, or its failure for good, or None.
        started: When it first began, in seconds since the epoch.
    """

    __slots__ = ("attempt", "attempts", "failed", "outcome", "since", "started")

    def __init__(self, at: float) -> None:
        self.attempt = 0
        self.since = 1
        self.attempts: dict[int, AttemptPast] = {}
        self.failed: AttemptFailed | None = None
        self.outcome: Record | None = None
        self.started = at

    def begin(self, event: NodeStarted) -> None:
        """Takes in that an attempt began."""
        self.attempt = event.attempt
        self.attempts[event.attempt] = AttemptPast(event.node, event.scopes)

    def begin_anew(self) -> None:
        """Takes in that what has failed is tried again: the attempt that was the last one goes on."""
        if self.outcome is not None and self.outcome.kind == NodeFailed.kind:
            self.outcome, self.since = None, max(self.attempt, 1)
            last = self.attempts.get(self.attempt)
            if last is not None and last.is_empty_map:  # its source or its keys have failed, and nothing is in it
                del self.attempts[self.attempt]


class Past:
    """What a run has done before.

    Args:
        run_id: The run.
        records: Its records, in order, from the first.

    Attributes:
        steps: What is known of each step, by address.
        nodes: What is known of each node in which others run, by address.
    """

    def __init__(self, run_id: str, records: Iterable[Record]) -> None:
        self.run_id = run_id
        self.steps: dict[str, StepPast] = {}
        self.nodes: dict[str, NodePast] = {}
        self._asked: dict[int, QuestionPast] = {}
        for record in records:
            if record.kind in OUTCOMES:
                self._part(record).outcome = record
            else:
                self._take(record, decode(record))

    def _take(self, record: Record, event: JournaledEvent) -> None:
        match event:
            case StepStarted():
                self._step(record).begin(event.attempt)
            case NodeStarted():
                self._node(record).begin(event)
            case LoopDecided() | BranchDecided() | ItemTaken():
                self.nodes[record.address].attempts[event.attempt].decide(event, record)
            case AttemptFailed():
                self._part(record).failed = event
            case CallCompleted():
                self._step(record).call(event, record)
            case PipelineMutated() | AgentReconfigured():
                self._step(record).change = event
            case QuestionAsked():
                self._asked[event.sequence] = self._step(record).ask(event, record)
            case QuestionAnswered():
                self._asked[event.question].answer = value_of(record)
            case QuestionLapsed():
                self._asked[event.question].lapsed = event.action
            case QuestionWithdrawn():
                self._asked[event.question].is_withdrawn = True
            case RunResumed():
                self._resume(event)

    def _part(self, record: Record) -> StepPast | NodePast:
        if record.address in self.nodes or record.kind in (NodeCompleted.kind, NodeFailed.kind):
            return self._node(record)
        return self._step(record)

    def _step(self, record: Record) -> StepPast:
        address = record.address.partition("!")[0]
        found = self.steps.get(address)
        if found is None:
            found = self.steps[address] = StepPast(address, record.at)
        return found

    def _node(self, record: Record) -> NodePast:
        found = self.nodes.get(record.address)
        if found is None:
            found = self.nodes[record.address] = NodePast(record.at)
        return found

    def _resume(self, event: RunResumed) -> None:
        if event.renamed:
            self.steps = {renamed(address, event.renamed): one for address, one in self.steps.items()}
            self.nodes = {renamed(address, event.renamed): one for address, one in self.nodes.items()}
        if event.retry_failed:
            parts: list[StepPast | NodePast] = [*self.steps.values(), *self.nodes.values()]
            for one in parts:
                one.begin_anew()


class Edge:
    """Between what is recorded and what is new: where the parts of a resumed run wait for each other.

    Args:
        past: What is recorded.
    """

    def __init__(self, past: Past) -> None:
        self._past = past
        self._left = {*past.steps, *past.nodes}
        self._sealed: set[str] = set()
        self._active = 1
        self._waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_passed = False

    def step(self, address: str) -> StepPast | None:
        """What is known of a step; asked for once."""
        found = None if self.is_passed else self._past.steps.get(address)
        if found is not None:
            self._left.discard(address)
        return found

    def node(self, address: str) -> NodePast | None:
        """What is known of a node in which others run; asked for once."""
        found = None if self.is_passed else self._past.nodes.get(address)
        if found is not None:
            self._left.discard(address)
        return found

    def has_begun(self, scope: str) -> bool:
        """Whether anything in a scope has begun."""
        return any(is_below(one, scope) for table in (self._past.steps, self._past.nodes) for one in table)

    def seal(self, address: str, attempt: int = 0) -> None:
        """Says that nobody will ask for what is in a step or node, or in one attempt of it."""
        self._sealed.add(attempt_path(address, attempt) if attempt else address + WHOLE)

    def seal_before(self, address: str, attempt: int) -> None:
        """Says so of all attempts of a node before one."""
        for earlier in range(1, attempt):
            self.seal(address, earlier)

    def enter(self) -> None:
        """One more task is on its way to the edge."""
        self._active += 1

    def leave(self) -> None:
        """A task waits for others, or has ended."""
        self._active -= 1
        if not self._active and not self.is_passed:
            self.is_passed = True
            self._waiter.set_result(None)

    async def reach(self) -> None:
        """Waits until every other task has ended, or waits too.

        Raises:
            IncompatiblePipeline: Something that is recorded was asked for by nobody.
        """
        if self.is_passed:
            return
        self.leave()
        try:
            await asyncio.shield(self._waiter)
        finally:
            if not self.is_passed:
                self.enter()
        self.check()

    def check(self) -> None:
        """Checks that all that is recorded was asked for.

        Raises:
            IncompatiblePipeline: Something was not: it would be skipped, or run again.
        """
        lost = sorted(one for one in self._left if not self._is_sealed(one))
        if lost:
            what = "and is not in the pipeline any more, or not in that place"
            raise IncompatiblePipeline(self._past.run_id, [f"'{one}' has run {what}" for one in lost])

    def _is_sealed(self, address: str) -> bool:
        path = _around(address)
        while path:
            if path in self._sealed or ENDING.sub("", path) + WHOLE in self._sealed:
                return True
            path = _around(path)
        return False


def _around(path: str) -> str:
    """The path of the scope, attempt or node around; empty for the run's."""
    if path.endswith("]"):
        return path[: path.rindex("[")]
    return path.removesuffix(FALLBACK) if path.endswith(FALLBACK) else path.rpartition("/")[0]


def value_of(record: Record) -> bytes:
    """The value in a record, as JSON."""
    return record.payload.split(b"\n", 2)[1]


def state_of(record: Record) -> bytes:
    """The patch in a record, as JSON."""
    return record.payload.split(b"\n", 2)[2]
