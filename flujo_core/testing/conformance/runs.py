"""Whether pipelines run with the plugin as they do without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from flujo_core.hooks.validation import overridden
from flujo_core.model.outcome import Veto
from flujo_core.testing.conformance.finding import Finding, Remark, said
from flujo_core.testing.conformance.remains import flaws
from flujo_core.testing.conformance.scenario import PLAIN, SOUND, Scenario, model_agent
from flujo_core.testing.conformance.subject import Subject
from flujo_core.testing.conformance.trial import Seen, Setup, tried
from flujo_core.testing.conformance.witness import Witness


class Runs(NamedTuple):
    """What plain runs showed.

    Attributes:
        found: What is wrong, and what is worth knowing.
        longest: The seconds that the longest call of a hook took.
    """

    found: Sequence[Finding | Remark]
    longest: float


def check_runs(subject: Subject) -> Runs:
    """Each pipeline runs with the plugin as without it, or the plugin stops or refuses it, and says so."""
    found: list[Finding | Remark] = []
    longest = 0.0
    for scenario in scenarios(subject):
        witness, seen = _run(subject, scenario)
        longest = max(longest, witness.longest)
        what = [*flaws(seen, witness, subject.name), *_differences(subject, scenario, seen)]
        found += [Finding("runs", one, f"the pipeline was {scenario.name}") for one in what]
        if what and (seen.stuck or seen.blames(subject.name) is not None):  # the next ones would say the same
            return Runs(found, longest)
        found += _remarks(subject, scenario, seen)
    found += _side_by_side(subject)
    return Runs(found, longest)


def scenarios(subject: Subject) -> Sequence[Scenario]:
    """The pipelines that the plugin is tried with."""
    asked = overridden(subject.shown, "agent_capabilities") is not None
    return (*PLAIN, model_agent()) if asked else PLAIN


def _run(subject: Subject, scenario: Scenario) -> tuple[Witness, Seen]:
    witness = Witness()
    (seen,) = tried([Setup(scenario, (witness.beside(subject.make()),))])
    return witness, seen


def _differences(subject: Subject, scenario: Scenario, seen: Seen) -> Iterator[str]:
    """How a run with the plugin ended that should have ended as the one without it."""
    if seen.stuck or seen.blames(subject.name) is not None:
        return
    if seen.status == "refused" or isinstance(seen.cause, Veto):
        if f"'{subject.name}' refused" not in str(seen.cause):
            yield f"the run was refused, and not by a veto of the plugin ({_told(seen)})"
    elif seen.error is not None and seen.status != (without := _status_without(scenario)):
        yield f"the run ended as '{seen.status}' ({_told(seen)}), and without the plugin as '{without}'"


@cache
def _status_without(scenario: Scenario) -> str:
    (seen,) = tried([Setup(scenario, ())])
    return seen.status


def _told(seen: Seen) -> str:
    return "no error" if seen.cause is None else said(seen.cause)


def _remarks(subject: Subject, scenario: Scenario, seen: Seen) -> Iterator[Remark]:
    if seen.status in ("refused", "stopped") or isinstance(seen.cause, Veto):
        what = f"it did not let {scenario.name} run to its end, so that hooks that come later were not looked at there"
        yield Remark("runs", what)
    _, again = _run(subject, scenario)
    if again.events != seen.events:
        yield Remark("runs", f"the same input did not give the same events twice, with {scenario.name}")


def _side_by_side(subject: Subject) -> Iterator[Finding | Remark]:
    """Runs that go on at once end as they do one after the other."""
    several = Setup(SOUND, (), runs=3)
    setups = [several, several, several._replace(side_by_side=True)]
    turn, again, at_once = (tried([one._replace(plugins=(subject.make(),))])[0] for one in setups)
    if turn.outputs != again.outputs:
        yield Remark("runs", "the same input did not give the same output twice")
    elif turn.outputs != at_once.outputs:
        yield Finding(
            "runs",
            "three runs at once do not end as the same three one after the other; keep what belongs to one run by its"
            " 'run_id', not on the plugin",
        )
