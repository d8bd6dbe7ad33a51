"""An audit log that cannot be rewritten unseen; its names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flujo_audit_advanced.errors import (
        AuditError,
        LogBusy,
        LogDamaged,
        LogFailed,
        LogFull,
        RecordRejected,
    )
    from flujo_audit_advanced.log import AuditLog
    from flujo_audit_advanced.record import encode_record
    from flujo_audit_advanced.signer import LocalSigner, Signer

_HOMES = {
    "AuditError": "errors",
    "AuditLog": "log",
    "LocalSigner": "signer",
    "LogBusy": "errors",
    "LogDamaged": "errors",
    "LogFailed": "errors",
    "LogFull": "errors",
    "RecordRejected": "errors",
    "Signer": "signer",
    "encode_record": "record",
}

__all__ = [
    "AuditError", "AuditLog", "LocalSigner", "LogBusy", "LogDamaged", "LogFailed", "LogFull", "RecordRejected",
    "Signer", "encode_record",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(f"{__name__}.{_HOMES[name]}"))[name]


def __dir__() -> list[str]:
    return __all__
