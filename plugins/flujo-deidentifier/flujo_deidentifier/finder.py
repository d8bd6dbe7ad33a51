"""Finder: runs detectors over a text and decides what stays found. It needs no key and no vault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flujo_deidentifier.again import again
from flujo_deidentifier.around import whole
from flujo_deidentifier.clinical import DOUBTED, harmless
from flujo_deidentifier.detectors import chosen
from flujo_deidentifier.language import UNKNOWN, checked
from flujo_deidentifier.normal import Normal, normalised
from flujo_deidentifier.profile import Action, Profile, profile_named
from flujo_deidentifier.resolution import resolved
from flujo_deidentifier.span import Detector, Span
from flujo_deidentifier.terms import TermsDetector
from flujo_deidentifier.watch import Watch


class Decision(NamedTuple):
    """What was done with something that a detector found; it never holds the text.

    Attributes:
        span: What was found, with indexes into the text given.
        action: What the profile does with it; ``KEEP``: it stays in the text.
        reason: Why, in words: which rule of the profile, or which span it became part of.
    """

    span: Span
    action: Action
    reason: str


class Findings(list[Span]):
    """The spans of a text, and the language that it seems to be in.

    Attributes:
        language: An ISO 639-1 code, or "" where it cannot be told.
        weak: Whether the language is none in which the profile trusts the detectors: much may be left.
    """

    def __init__(self, spans: Iterable[Span], language: str, weak: bool) -> None:
        super().__init__(spans)
        self.language = language
        self.weak = weak


class Finder:
    """Finds what identifies somebody. It may be used from several threads at once.

    Args:
        profile: A profile, or the name of one; spans whose action is ``KEEP`` are not found.
        detectors: Names of detectors, or detectors; None: patterns, lists and structures, and the model where it is
            installed.
        timeout: Seconds that the detectors may take for one text.

    Raises:
        ConfigurationError: There is no such profile or detector.
        DetectorMissing: A detector was named whose package or model is not there.
    """

    def __init__(
        self,
        profile: Profile | str = "hipaa-safe-harbor",
        *,
        detectors: Sequence[str | Detector] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.profile = profile_named(profile) if isinstance(profile, str) else profile
        terms = [TermsDetector(self.profile.deny)] if self.profile.deny else []
        self.detectors: tuple[Detector, ...] = (*chosen(detectors), *terms)
        self.timeout = timeout
        self._watch = Watch(self.detectors, timeout)
        self._kept = frozenset(label for label, action in self.profile.actions.items() if action is Action.KEEP)
        self._all_kept = self.profile.default is Action.KEEP
        self._allow = frozenset(term.casefold() for term in self.profile.allow)

    def find(self, text: str, /) -> Findings:
        """The spans of a text that identify somebody, in order, without overlaps; indexes are into ``text``.

        Raises:
            DetectorFailed: A detector raised, or gave a span that cannot be.
            DetectorTimeout: The detectors did not answer in time.
            LanguageRefused: The text seems to be in a language that the profile does not take.
        """
        normal = normalised(text)
        language = checked(normal.text, self.profile)
        found = self._counted(self._watch.spans(normal.text), normal.text)
        found += again(normal.text, found)
        weak = language != UNKNOWN and language not in self.profile.languages
        return Findings([_placed(normal, span) for span in whole(normal.text, resolved(found))], language, weak)

    def explain(self, text: str, /) -> list[Decision]:
        """Every span that any detector has found, what was done with it, and why; it never holds the text.

        Raises: as ``find``.
        """
        normal = normalised(text)
        checked(normal.text, self.profile)
        raw = list(self._watch.spans(normal.text))
        counted = self._counted(raw, normal.text)
        elsewhere = list(again(normal.text, counted))
        raw += elsewhere
        kept = whole(normal.text, resolved([*counted, *elsewhere]))
        return [self._decision(normal, span, kept) for span in sorted(raw)]

    def _counted(self, spans: Iterable[Span], text: str) -> list[Span]:
        profile, kept = self.profile, self._kept
        ignored, least = profile.ignored, profile.least
        counted = []
        for span in spans:
            _, _, label, score, _, rule = span
            if rule in ignored or label in kept or score < least or (self._all_kept and label not in profile.actions):
                continue
            if rule in DOUBTED and harmless(text, span):
                continue
            if not self._allow or text[span.start : span.end].casefold() not in self._allow:
                counted.append(span)
        return counted

    def _decision(self, normal: Normal, span: Span, kept: list[Span]) -> Decision:
        placed = _placed(normal, span)
        within = next((one for one in kept if one.start <= span.start and span.end <= one.end), None)
        if within is not None:
            action = self.profile.action(within.label)
            joined = within[:2] != span[:2]
            return Decision(placed, action, f"part of a longer {within.label}" if joined else f"rule '{span.rule}'")
        return Decision(placed, Action.KEEP, self._kept_because(span, normal.text))

    def _kept_because(self, span: Span, text: str) -> str:
        name = self.profile.name
        if span.rule in self.profile.ignored:
            return f"profile '{name}' ignores rule '{span.rule}'"
        if self.profile.action(span.label) is Action.KEEP:
            return f"profile '{name}' keeps {span.label}"
        if span.score < self.profile.least:
            return f"profile '{name}' wants a score of {self.profile.least:g}"
        return "a word of medicine" if harmless(text, span) else "on the list of what is allowed"


def _placed(normal: Normal, span: Span) -> Span:
    """The span, with indexes into the text given."""
    start, end = normal.original(span.start, span.end)
    return span if start == span.start and end == span.end else span._replace(start=start, end=end)
