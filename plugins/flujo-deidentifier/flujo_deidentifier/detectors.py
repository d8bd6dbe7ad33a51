"""Which detectors there are: our own by name, those of others by the group ``flujo_deidentifier.detectors``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Final

from flujo_core import ConfigurationError
from flujo_deidentifier import rampart
from flujo_deidentifier.errors import DetectorMissing
from flujo_deidentifier.national import NationalNumberDetector
from flujo_deidentifier.patterns import PatternDetector
from flujo_deidentifier.presidio import PresidioDetector
from flujo_deidentifier.proper import NameListDetector
from flujo_deidentifier.spacy_names import SpacyDetector
from flujo_deidentifier.span import Detector
from flujo_deidentifier.structure import StructureDetector
from flujo_deidentifier.telephone import TelephoneDetector

GROUP: Final = "flujo_deidentifier.detectors"
"""The entry-point group of detectors; each entry is a class or function that gives one, called without arguments."""

_OURS: Final[dict[str, Callable[[], Detector]]] = {
    "lists": NameListDetector,
    "patterns": PatternDetector,
    "phones": TelephoneDetector,
    "presidio": PresidioDetector,
    "rampart": rampart.RampartDetector,
    "spacy": SpacyDetector,
    "stdnum": NationalNumberDetector,
    "structure": StructureDetector,
}


def chosen(detectors: Sequence[str | Detector] | None) -> tuple[Detector, ...]:
    """The detectors that were asked for; None: patterns, lists and structures, and the model where it is installed.

    Raises:
        ConfigurationError: There is none of a name, or two have the same name.
        DetectorMissing: One cannot be made, because its package or model is not there.
    """
    if detectors is None:
        detectors = ["patterns", "lists", "structure", *(["rampart"] if rampart.installed() else [])]
    made = tuple(_named(one) if isinstance(one, str) else one for one in detectors)
    if not made:
        raise ConfigurationError(
            "no detector was given, so nothing would be found; leave 'detectors' out for the usual ones"
        )
    names = [one.name for one in made]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigurationError(f"detector '{twice}' was given twice")
    return made


def _named(name: str) -> Detector:
    if name == "ner":
        name = "rampart"
    if name in _OURS:
        return _OURS[name]()
    others = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in others:
        known = sorted({*_OURS, *others})
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ConfigurationError(f"there is no detector '{name}', only {', '.join(map(repr, known))}{hint}")
    try:
        made: Detector = others[name].load()()
    except Exception as error:
        raise DetectorMissing(
            f"detector '{name}' ({others[name].value}) cannot be loaded: it raised {type(error).__name__}"
        ) from None
    return made
