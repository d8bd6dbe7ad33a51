"""Experiments: trials of which it is known how they must end, made side by side; what they find is confirmed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from flujo_core.testing.conformance.finding import Check, Finding, gathered
from flujo_core.testing.conformance.subject import Subject
from flujo_core.testing.conformance.trial import Seen, Setup, tried

SIDE_BY_SIDE = 32
"""How many experiments are made at once, where each has a plugin of its own."""

CONFIRMED = 6
"""How many different findings are looked for again; the others are taken as they are."""


class Experiment(Protocol):
    """A trial of which it is known how it must end."""

    @property
    def when(self) -> str:
        """What is going on in it, as part of a sentence."""
        ...

    def setup(self) -> Setup:
        """What the trial is made of, anew each time."""
        ...

    def judge(self, seen: Seen) -> Iterator[str]:
        """What was wrong in the last trial, a sentence each."""
        ...


class _Case(NamedTuple):
    experiment: Experiment
    what: str


def findings(check: Check, subject: Subject, experiments: Sequence[Experiment], patience: float) -> Iterator[Finding]:
    """What experiments find.

    Args:
        check: The check that they are part of.
        subject: The plugin; an instance is in one experiment at a time.
        experiments: The experiments.
        patience: How long one call of one hook may take, in seconds. What is found is looked for again with ten times
            that, as a busy machine is nobody's fault.
    """
    cases: list[_Case] = []
    at_once = SIDE_BY_SIDE if subject.is_fresh else 1
    for start in range(0, len(experiments), at_once):
        batch = experiments[start : start + at_once]
        seen = tried([one.setup()._replace(patience=patience) for one in batch])
        cases += [_Case(one, what) for one, of_it in zip(batch, seen, strict=True) for what in one.judge(of_it)]
        if any(one.stuck for one in seen):
            break  # each would take its time
    yield from gathered([Finding(check, case.what, case.experiment.when) for case in _confirmed(cases, patience * 10)])


def _confirmed(cases: list[_Case], patience: float) -> Iterator[_Case]:
    """The cases of all findings that are found again."""
    different = list(dict.fromkeys(case.what for case in cases))
    for number, what in enumerate(different):
        same = [case for case in cases if case.what == what]
        if number >= CONFIRMED or any(_is_found_again(case, patience) for case in same[:2]):
            yield from same


def _is_found_again(case: _Case, patience: float) -> bool:
    (seen,) = tried([case.experiment.setup()._replace(patience=patience)])
    return case.what in case.experiment.judge(seen)
