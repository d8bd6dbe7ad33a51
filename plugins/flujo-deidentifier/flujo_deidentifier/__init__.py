"""De-identifies what goes to a model and re-identifies what comes back; its names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flujo_deidentifier.codec import DeidentifyingCodec
    from flujo_deidentifier.deidentifier import Deidentifier
    from flujo_deidentifier.errors import (
        DeidentificationError,
        DeidentifierKeyMissing,
        DetectorFailed,
        DetectorMissing,
        DetectorTimeout,
        LanguageRefused,
        ModelGuarded,
        ValueBlocked,
        VaultCorrupted,
        VaultFailed,
    )
    from flujo_deidentifier.finder import Decision, Finder, Findings
    from flujo_deidentifier.plugin import DeidentifierPlugin
    from flujo_deidentifier.profile import PROFILES, Action, Profile
    from flujo_deidentifier.span import LABELS, Detector, Span
    from flujo_deidentifier.steps import deidentify_step, reidentify_step
    from flujo_deidentifier.stream import TokenStream
    from flujo_deidentifier.vault import Scope, Vault
    from flujo_deidentifier.vault_memory import MemoryVaultStore
    from flujo_deidentifier.vault_row import VaultStore
    from flujo_deidentifier.vault_sqlite import SqliteVaultStore

_HOMES = {
    "LABELS": "span",
    "PROFILES": "profile",
    "Action": "profile",
    "Decision": "finder",
    "DeidentificationError": "errors",
    "Deidentifier": "deidentifier",
    "DeidentifierKeyMissing": "errors",
    "DeidentifierPlugin": "plugin",
    "DeidentifyingCodec": "codec",
    "Detector": "span",
    "DetectorFailed": "errors",
    "DetectorMissing": "errors",
    "DetectorTimeout": "errors",
    "Finder": "finder",
    "Findings": "finder",
    "LanguageRefused": "errors",
    "MemoryVaultStore": "vault_memory",
    "ModelGuarded": "errors",
    "Profile": "profile",
    "Scope": "vault",
    "Span": "span",
    "SqliteVaultStore": "vault_sqlite",
    "TokenStream": "stream",
    "ValueBlocked": "errors",
    "Vault": "vault",
    "VaultCorrupted": "errors",
    "VaultFailed": "errors",
    "VaultStore": "vault_row",
    "deidentify_step": "steps",
    "reidentify_step": "steps",
}

__all__ = [
    "LABELS",
    "PROFILES",
    "Action",
    "Decision",
    "DeidentificationError",
    "Deidentifier",
    "DeidentifierKeyMissing",
    "DeidentifierPlugin",
    "DeidentifyingCodec",
    "Detector",
    "DetectorFailed",
    "DetectorMissing",
    "DetectorTimeout",
    "Finder",
    "Findings",
    "LanguageRefused",
    "MemoryVaultStore",
    "ModelGuarded",
    "Profile",
    "Scope",
    "Span",
    "SqliteVaultStore",
    "TokenStream",
    "ValueBlocked",
    "Vault",
    "VaultCorrupted",
    "VaultFailed",
    "VaultStore",
    "deidentify_step",
    "reidentify_step",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(f"{__name__}.{_HOMES[name]}"))[name]


def __dir__() -> list[str]:
    return __all__
