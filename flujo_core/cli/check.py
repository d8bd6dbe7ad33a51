"""``flujo check``: a pipeline without running it, and what a deployment lacks of its profile."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from flujo_core.cli.run import AsJson, Target, assembled_with
from flujo_core.cli.session import session
from flujo_core.config import PROFILES, Profile
from flujo_core.engine.profile import Lack
from flujo_core.errors import ConfigurationError, did_you_mean
from flujo_core.flujo import Flujo
from flujo_core.model.check import type_name
from flujo_core.model.flow import walk
from flujo_core.model.leak import Leak

WRONG = 2
"""The exit code where the pipeline does not meet the profile."""

AskedProfile = Annotated[
    str | None, typer.Option("--profile", help="Check for this profile too: 'regulated' says all that is lacking.")
]


def check(context: typer.Context, target: Target, profile: AskedProfile = None, as_json: AsJson = False) -> None:
    """Checks a pipeline without running it: names, types, prompts, agents, plugins, labels; and what a profile asks."""
    settings = session(context).settings()
    wanted = _higher(settings.profile, profile)
    flujo = assembled_with(replace(settings, profile="default"), target)
    found = Found(target, flujo, wanted, flujo.leaks, flujo.lacks if wanted == "regulated" else ())
    typer.echo(json.dumps(found.facts) if as_json else "\n".join(found.lines))
    if not found.is_met:
        raise typer.Exit(WRONG)


def _higher(own: Profile, asked: str | None) -> Profile:
    """The profile that is checked: that of the configuration, unless a higher one is asked for."""
    if asked is None:
        return own
    for profile in PROFILES:
        if asked == profile:
            return profile if PROFILES.index(profile) > PROFILES.index(own) else own
    known = "'dev', 'default' and 'regulated' are"
    raise ConfigurationError(f"'{asked}' is no profile, {known}{did_you_mean(asked, PROFILES)}")


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        target: What was looked at.
        flujo: The same, ready to run.
        profile: The profile that it was checked for.
        leaks: Where labelled data would leave.
        lacks: What the deployment lacks.
    """

    target: str
    flujo: Flujo[Any, Any, Any]
    profile: Profile
    leaks: tuple[Leak, ...]
    lacks: tuple[Lack, ...]

    @property
    def is_met(self) -> bool:
        """Whether the pipeline may run under the profile."""
        return self.profile != "regulated" or not (self.leaks or self.lacks)

    @property
    def lines(self) -> list[str]:
        """What people are told."""
        flujo, pipeline = self.flujo, self.flujo.pipeline
        takes, gives = type_name(flujo.takes), type_name(pipeline.gives)
        lines = [f"{self.target} is sound: it takes '{takes}' and gives '{gives}'"]
        lines += [f"  {place:<20} {type_name(one.takes)} -> {type_name(one.gives)}" for place, one in walk(pipeline)]
        streaming = [place for place, step in walk(pipeline) if step.item is not None]
        if streaming and flujo.withheld_by:
            plugins, what = (", ".join(map(repr, names)) for names in (flujo.withheld_by, streaming))
            waits = "waits until it is whole, for plugins without 'transform_chunk'"
            lines.append(f"the stream of {what} {waits}: {plugins}")
        return [*lines, *self._findings]

    @property
    def _findings(self) -> list[str]:
        if self.profile != "regulated":
            return [f"warning: {leak}" for leak in self.leaks]
        found = [f"lacking: {lack}" for lack in self.lacks] + [f"error: {leak}" for leak in self.leaks]
        if not found:
            return ["it meets the profile 'regulated'"]
        return [f"it does not meet the profile 'regulated', for {len(found)} reasons:", *found]

    @property
    def facts(self) -> dict[str, Any]:
        """The same, as JSON."""
        flujo, pipeline = self.flujo, self.flujo.pipeline
        steps = [
            {"address": place, "takes": type_name(one.takes), "gives": type_name(one.gives)}
            for place, one in walk(pipeline)
        ]
        return {
            "target": self.target,
            "takes": type_name(flujo.takes),
            "gives": type_name(pipeline.gives),
            "steps": steps,
            "withheld_by": list(flujo.withheld_by),
            "profile": self.profile,
            "meets_profile": self.is_met,
            "leaks": [{**one._asdict(), "way": list(one.way), "message": str(one)} for one in self.leaks],
            "lacks": [one._asdict() for one in self.lacks],
        }
