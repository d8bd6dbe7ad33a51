"""Profile: what is done with what was found, label by label; and the profiles that there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from flujo_core import ConfigurationError


class Action(StrEnum):
    """What is done with a span."""

    TOKEN = "token"
    """A placeholder that can be turned back."""
    SURROGATE = "surrogate"
    """A made-up value of the same form, always the same one for the same value."""
    SHIFT = "shift"
    """A date, moved by a number of days that is the subject's; what is no whole date becomes a token."""
    GENERALISE = "generalise"
    """Less exact: a date becomes its year, an age over 89 "90+", a ZIP code its first three digits."""
    KEEP = "keep"
    """It stays as it is."""
    BLOCK = "block"
    """The whole text is refused."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is done with each label.

    Attributes:
        name: How it is called in messages and explanations.
        actions: What is done with the spans of a label.
        default: What is done with spans of any other label.
        allow: Texts that are never identifying, compared without regard to case: ``{"St. Elsewhere"}``.
        deny: Texts that always are, found as whole words, and the label of each.
        ignored: Rules of detectors whose spans are kept, such as ``"year"`` where years may stay.
        least: The least score of a span that counts.
        languages: The languages in which the detectors are trusted, as ISO 639-1 codes. What is found in a text that
            seems to be in another one is flagged: ``Findings.weak``.
        refuses_others: Whether such a text is refused instead.
    """

    name: str
    actions: Mapping[str, Action] = field(default_factory=dict)
    default: Action = Action.TOKEN
    allow: frozenset[str] = frozenset()
    deny: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    least: float = 0.0
    languages: frozenset[str] = frozenset({"en"})
    refuses_others: bool = False

    def __post_init__(self) -> None:
        actions = {label: Action(action) for label, action in self.actions.items()}
        object.__setattr__(self, "actions", MappingProxyType(actions))
        object.__setattr__(self, "default", Action(self.default))
        object.__setattr__(self, "deny", MappingProxyType(dict(self.deny)))

    def __repr__(self) -> str:
        return f"<Profile '{self.name}'>"  # its terms may be names

    def __reduce__(self) -> tuple[object, ...]:
        return _profile, (
            self.name, dict(self.actions), self.default, self.allow, dict(self.deny), self.ignored, self.least,
            self.languages, self.refuses_others,
        )  # fmt: skip

    def action(self, label: str) -> Action:
        """What is done with spans of a label."""
        return self.actions.get(label, self.default)

    def with_actions(self, actions: Mapping[str, Action], *, name: str | None = None) -> Profile:
        """This profile with other actions for some labels.

        Args:
            actions: The labels that change, and what is done with each.
            name: The name of the new profile; by default this one's with a ``+``.
        """
        return replace(self, name=name or f"{self.name}+", actions={**self.actions, **actions})

    def with_terms(self, *, allow: Iterable[str] = (), deny: Mapping[str, str] | None = None) -> Profile:
        """This profile with further terms that are never, or always, identifying."""
        return replace(self, allow=self.allow | frozenset(allow), deny={**self.deny, **(deny or {})})


def _profile(
    name: str, actions: Mapping[str, Action], default: Action, allow: frozenset[str], deny: Mapping[str, str],
    ignored: frozenset[str], least: float, languages: frozenset[str], refuses_others: bool,
) -> Profile:  # fmt: skip
    """The profile again, in another process."""
    return Profile(name, actions, default, allow, deny, ignored, least, languages, refuses_others)


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "hipaa-safe-harbor": Profile(
            "hipaa-safe-harbor",
            {"AGE": Action.GENERALISE, "NRP": Action.KEEP, "ORGANIZATION": Action.KEEP},
            least=0.3,
            ignored=frozenset({"age", "case-number", "region", "unlisted", "weekday", "year"}),
        ),
        "gdpr": Profile("gdpr", {"AGE": Action.KEEP}),
        "secrets": Profile(
            "secrets",
            {"CREDIT_CARD": Action.TOKEN, "IBAN": Action.TOKEN, "SECRET": Action.TOKEN, "SSN": Action.TOKEN},
            default=Action.KEEP,
        ),
    }
)
"""The profiles that have a name."""


def profile_named(name: str) -> Profile:
    """One of ``PROFILES``.

    Raises:
        ConfigurationError: There is none of that name; the message names those there are.
    """
    if name in PROFILES:
        return PROFILES[name]
    close = get_close_matches(name, PROFILES, n=1)
    known = ", ".join(f"'{one}'" for one in PROFILES)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise ConfigurationError(f"there is no profile '{name}', only {known}{hint}")
