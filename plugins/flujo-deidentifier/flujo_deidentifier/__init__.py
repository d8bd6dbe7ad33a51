"""De-identifies what goes to a model and re-identifies what comes back; its names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flujo_deidentifier.errors import (
        DeidentificationError,
        DetectorFailed,
        DetectorMissing,
        DetectorTimeout,
        LanguageRefused,
        ValueBlocked,
    )
    from flujo_deidentifier.finder import Finder
    from flujo_deidentifier.profile import PROFILES, Action, Profile
    from flujo_deidentifier.span import LABELS, Detector, Span

_HOMES = {
    "LABELS": "span",
    "PROFILES": "profile",
    "Action": "profile",
    "DeidentificationError": "errors",
    "Detector": "span",
    "DetectorFailed": "errors",
    "DetectorMissing": "errors",
    "DetectorTimeout": "errors",
    "Finder": "finder",
    "LanguageRefused": "errors",
    "Profile": "profile",
    "Span": "span",
    "ValueBlocked": "errors",
}

__all__ = [
    "LABELS",
    "PROFILES",
    "Action",
    "DeidentificationError",
    "Detector",
    "DetectorFailed",
    "DetectorMissing",
    "DetectorTimeout",
    "Finder",
    "LanguageRefused",
    "Profile",
    "Span",
    "ValueBlocked",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(f"{__name__}.{_HOMES[name]}"))[name]


def __dir__() -> list[str]:
    return __all__
