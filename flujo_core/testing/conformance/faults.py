"""Whether failures end as the contract says with the plugin about: a neighbour's, and those of its own hooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from flujo_core.hooks.spec import HOOKS
from flujo_core.testing.conformance.experiment import Experiment, findings
from flujo_core.testing.conformance.finding import Finding
from flujo_core.testing.conformance.misdeed import NEIGHBOUR, Misdeed, Offender, misdeeds, neighbour, passing
from flujo_core.testing.conformance.remains import flaws
from flujo_core.testing.conformance.scenario import FAILING, SOUND, Scenario
from flujo_core.testing.conformance.subject import Subject
from flujo_core.testing.conformance.trial import Seen, Setup, tried
from flujo_core.testing.conformance.witness import Witness
from flujo_core.testing.stand_in import standing_in

Place: TypeAlias = Literal["before", "after"]
"""Where a neighbour is called."""


def check_faults(subject: Subject, patience: float) -> Iterator[Finding]:
    """What hooks do wrong ends the run or is passed over, as the policy says, and names who did it.

    Args:
        subject: The plugin.
        patience: How long one call of one hook may take, in seconds.
    """
    experiments: list[Experiment] = []
    usual = {scenario: _usual_status(subject, scenario) for scenario in (SOUND, FAILING)}
    for hook in (name for name, one in HOOKS.items() if one.is_async):
        scenario = FAILING if hook == "on_step_error" else SOUND
        for misdeed in misdeeds(hook):
            for place in get_args(Place):
                experiments.append(NeighbourFault(subject, misdeed, scenario, usual[scenario], place))
            if subject.overrides(hook):
                experiments.append(OwnFault(subject, misdeed, scenario, usual[scenario]))
    experiments.sort(key=lambda one: "hangs" in one.when)  # so that these wait together
    yield from findings("faults", subject, experiments, patience)


def _usual_status(subject: Subject, scenario: Scenario) -> str:
    """How a run with the plugin ends when nothing goes wrong."""
    beside = neighbour(on_event=passing("on_event"))
    (seen,) = tried([Setup(scenario, (subject.make(), beside))])
    return seen.status


@dataclass
class NeighbourFault:
    """A neighbour does something wrong, and the plugin is about.

    Attributes:
        subject: The plugin.
        misdeed: What the neighbour does.
        scenario: The pipeline.
        usual: How the run ends when nothing goes wrong.
        place: Where the neighbour is called.
    """

    subject: Subject
    misdeed: Misdeed
    scenario: Scenario
    usual: str
    place: Place
    _witness: Witness = field(default_factory=Witness)
    _offender: Offender | None = None

    @property
    def when(self) -> str:
        """What is going on."""
        return f"a neighbour {self.place} it {self.misdeed}"

    def setup(self) -> Setup:
        """What the trial is made of."""
        self._witness, self._offender = Witness(), Offender(self.misdeed)
        plugins = (self._witness.beside(self.subject.make()), self._offender.as_neighbour())
        order = (NEIGHBOUR, self.subject.name) if self.place == "before" else (self.subject.name, NEIGHBOUR)
        return Setup(self.scenario, plugins, order, {NEIGHBOUR: self.misdeed.policy})

    def judge(self, seen: Seen) -> Iterator[str]:
        """What was wrong."""
        yield from flaws(seen, self._witness, self.subject.name)
        assert self._offender is not None
        is_clear = not seen.stuck and seen.blames(self.subject.name) is None and self.usual in ("completed", "failed")
        if self._offender.reached and is_clear:
            yield from _end_flaws(self.misdeed, seen, NEIGHBOUR, self.usual)


@dataclass
class OwnFault:
    """A hook of the plugin itself does something wrong.

    Attributes:
        subject: The plugin.
        misdeed: What the hook does.
        scenario: The pipeline.
        usual: How the run ends when nothing goes wrong.
    """

    subject: Subject
    misdeed: Misdeed
    scenario: Scenario
    usual: str
    _witness: Witness = field(default_factory=Witness)
    _offender: Offender | None = None

    @property
    def when(self) -> str:
        """What is going on."""
        return f"it {self.misdeed}"

    def setup(self) -> Setup:
        """What the trial is made of."""
        self._witness = witness = Witness()
        self._offender = offender = Offender(self.misdeed)
        plugin = standing_in(
            self.subject.make(), lambda hook, method: witness.around(hook, offender.around(hook, method))
        )
        return Setup(self.scenario, (plugin,), policies={self.subject.name: self.misdeed.policy})

    def judge(self, seen: Seen) -> Iterator[str]:
        """What was wrong."""
        assert self._offender is not None
        failure, deed = seen.blames(self.subject.name), self.misdeed
        if failure is None or failure.hook != deed.hook:  # else it is what the trial is about
            if deed.policy == "closed":  # else its failures are passed over
                yield from flaws(seen, self._witness, self.subject.name, is_closed=deed.hook != "on_shutdown")
            if failure is not None:
                return
        if self._offender.reached and not seen.stuck and self.usual in ("completed", "failed"):
            usual = seen.status if seen.status in ("completed", "failed", "stopped") else self.usual
            yield from _end_flaws(deed, seen, self.subject.name, usual)


def _end_flaws(misdeed: Misdeed, seen: Seen, plugin: str, usual: str) -> Iterator[str]:
    """What is wrong with the end of a trial in which that plugin did the misdeed."""
    if not misdeed.is_passed_over:
        if not misdeed.is_shown_by(seen, plugin):
            yield f"{_ended(seen)}, and the failure of '{plugin}' does not show; let it through"
    elif seen.status != usual:
        yield f"{_ended(seen)}, and without the failure, which is to be passed over, as '{usual}'"


def _ended(seen: Seen) -> str:
    error = "" if seen.cause is None else f" ({type(seen.cause).__name__})"
    return f"the run ended as '{seen.status}'{error}"
