"""Named pipelines, loops and branches: scopes that run one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flujo_core.engine.block import Attempt, Block, Join
from flujo_core.engine.decide import decide
from flujo_core.engine.frame import Changed, Frame, Parts, owned, run_all
from flujo_core.engine.journal import now
from flujo_core.errors import LoopExhausted, NoCase
from flujo_core.model.branch import DEFAULT, Branch, case_segment
from flujo_core.model.event import BranchDecided, LoopDecided
from flujo_core.model.flow import Pipeline, encoded_name
from flujo_core.model.loop import Loop


class PipelineBlock(Block):
    """A pipeline with a name, ready to run.

    Args:
        node: The node.
        parts: What runs in it.
        entered: Whether its scope is kept for steps that name what ran in it.
        more: As of ``Block``.
    """

    kind = "pipeline"

    def __init__(self, node: Pipeline[Any, Any], parts: Parts, *, entered: bool, **more: Any) -> None:
        super().__init__(node, **more)
        self._parts = parts
        self._entered = entered

    async def inside(self, attempt: Attempt, value: Any, /) -> Join:
        self.open(attempt)
        frame = attempt.frame.within(attempt.path)
        output = await run_all(self._parts, frame, value)
        if self._entered:
            attempt.frame.enter(self.name, frame)
        return Join(output)


class LoopBlock(Block):
    """A ``Loop``, ready to run.

    Args:
        node: The node.
        parts: What runs in each iteration.
        entered: Whether the last iteration is kept for steps that name what ran in it.
        keeps_input: Whether what the loop began with is kept for steps that name it.
        more: As of ``Block``.
    """

    kind = "loop"

    def __init__(self, node: Loop[Any, Any], parts: Parts, *, entered: bool, keeps_input: bool, **more: Any) -> None:
        super().__init__(node, **more)
        self._parts = parts
        self._entered = entered
        self._keeps_input = keeps_input
        self._until = node.until
        self._last = node.max_iterations
        self._fails = node.on_exhausted == "fail"

    async def inside(self, attempt: Attempt, value: Any, /) -> Join:
        self.open(attempt)
        around, path = attempt.frame, attempt.path
        entry = owned(value, "its input") if self._keeps_input else None
        before: Frame | None = None
        known = 0 if attempt.past is None else len(attempt.past.iterations)
        for iteration in range(1, max(self._last, known) + 1):
            frame = around.within(f"{path}[{iteration}]", entry)
            frame.previous = before
            value = await run_all(self._parts, frame, value)
            done = None if attempt.past is None else attempt.past.iterations.get(iteration)
            if done is None:
                done = bool(decide(self._until, value, frame))
                self._record(attempt, iteration, done)
            if self._entered:
                around.enter(self.name, frame)
            if done:
                return Join(value)
            before, frame.previous = frame, None
        if self._fails and not attempt.is_over:
            raise LoopExhausted(f"'until' was not satisfied after {self._last} iterations")
        return Join(value)

    def _record(self, attempt: Attempt, iteration: int, done: bool) -> None:
        """Records the decision, in the transaction of the commit that it reads."""
        journal = attempt.frame.run.journal
        journal.sequence = sequence = journal.sequence + 1
        journal.stage(
            LoopDecided(
                journal.run_id, journal.tenant, sequence, now(), attempt.address, attempt.number, iteration, done
            )
        )  # fmt: skip


class BranchBlock(Block):
    """A ``Branch``, ready to run.

    Args:
        node: The node.
        bodies: What runs in each case, by its place in addresses.
        entered: The places of the cases that are kept for steps that name what ran in them.
        more: As of ``Block``.
    """

    kind = "branch"

    def __init__(
        self, node: Branch[Any, Any, Any], bodies: Mapping[str, Parts], entered: set[str], **more: Any
    ) -> None:
        super().__init__(node, **more)
        self._on = node.on
        self._bodies = bodies
        self._entered = entered
        self._places = {case: (case, encoded_name(str(case_segment(case)))) for case in node.cases}

    async def inside(self, attempt: Attempt, value: Any, /) -> Join:
        self.open(attempt)
        around, past = attempt.frame, attempt.past
        case = self._decided(attempt, value) if past is None or past.case is None else past.case
        scope = f"[{case}]"
        frame = around.within(attempt.path + scope)
        try:
            for part in self._bodies[case]:  # and not 'run_all', which a run through one branch would feel
                value = await part.run(frame, value)
        except Changed as changed:
            value = await run_all(changed.rest, frame, changed.output)
        if scope in self._entered:
            around.enter(self.name + scope, frame)
        return Join(value)

    def _decided(self, attempt: Attempt, value: Any) -> str:
        """The place of the case that is taken, recorded."""
        case, journal = self._case(decide(self._on, value, attempt.frame)), attempt.frame.run.journal
        journal.stage(BranchDecided(*journal.head(attempt.address, now()), attempt.number, case))
        return case

    def _case(self, decided: Any) -> str:
        """The place of the case that is taken.

        Raises:
            NoCase: There is none.
        """
        try:
            case, found = self._places.get(decided, (None, None))
        except TypeError:  # what cannot be hashed is no case
            case = found = None
        if found is not None and isinstance(case, bool) == isinstance(decided, bool):  # 1 is no True
            return found
        if DEFAULT in self._bodies:
            return DEFAULT
        raise NoCase(f"it has no case for what '{self._on.name}' gave, and no default")
