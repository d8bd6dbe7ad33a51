"""Finder: runs detectors over a text and decides what stays found. It needs no key and no vault."""

from __future__ import annotations

from collections.abc import Sequence

from flujo_deidentifier.again import again
from flujo_deidentifier.clinical import harmless
from flujo_deidentifier.normal import normalised
from flujo_deidentifier.profile import Action, Profile, profile_named
from flujo_deidentifier.resolution import resolved
from flujo_deidentifier.span import Detector, Span


class Finder:
    """Finds what identifies somebody.

    Args:
        profile: A profile, or the name of one; spans whose action is ``KEEP`` are not found.
        detectors: Names of detectors, or detectors; None: patterns and lists, and the model where it is installed.
        timeout: Seconds that one detector may take for one text.

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
        self.detectors: tuple[Detector, ...] = tuple(one for one in detectors or () if not isinstance(one, str))
        self.timeout = timeout

    def find(self, text: str, /) -> list[Span]:
        """The spans of a text that identify somebody, in order, without overlaps; indexes are into ``text``.

        Raises:
            DetectorFailed: A detector raised, or gave a span that cannot be.
            DetectorTimeout: One did not answer in time.
            LanguageRefused: The text seems to be in a language that the profile does not take.
        """
        normal = normalised(text)
        found = [span for one in self.detectors for span in one.detect(normal.text) if self._counts(span, normal.text)]
        found += again(normal.text, found)
        kept = resolved(found)
        out = []
        for span in kept:
            start, end = normal.original(span.start, span.end)
            out.append(span._replace(start=start, end=end))
        return out

    def _counts(self, span: Span, text: str) -> bool:
        profile = self.profile
        return (
            span.rule not in profile.ignored
            and span.score >= profile.least
            and profile.actions.get(span.label, profile.default) is not Action.KEEP
            and not harmless(text, span)
        )
