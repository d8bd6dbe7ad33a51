"""An audit log that cannot be rewritten unseen; its names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flujo_audit_advanced.anchor import Anchor, Evidence, Sealed
    from flujo_audit_advanced.bucket import LockedBucket, S3Target
    from flujo_audit_advanced.bundle import Bundle, evidence
    from flujo_audit_advanced.claims import Trust
    from flujo_audit_advanced.copies import FolderTarget, WriteOnce, WriteOnceCopy
    from flujo_audit_advanced.errors import (
        AuditError,
        Contradicted,
        LogBusy,
        LogDamaged,
        LogFailed,
        LogFull,
        LogOverloaded,
        NotAnchored,
        NotRecorded,
        NotSigned,
        PayloadErased,
        RecordRejected,
        SignerUnavailable,
    )
    from flujo_audit_advanced.export.cursor import Cursor
    from flujo_audit_advanced.export.exporter import Exporter
    from flujo_audit_advanced.export.running import Export
    from flujo_audit_advanced.export.sink import Exported, Sink, SinkFailed, SinkRefused
    from flujo_audit_advanced.keys import key_of
    from flujo_audit_advanced.log import AuditLog
    from flujo_audit_advanced.note import VerifierKey
    from flujo_audit_advanced.plugin import AuditPlugin
    from flujo_audit_advanced.proof import Proof, prove
    from flujo_audit_advanced.record import encode_record
    from flujo_audit_advanced.recording import Recording
    from flujo_audit_advanced.report import Anchored, Finding, Report
    from flujo_audit_advanced.rule import Rule
    from flujo_audit_advanced.signer import LocalSigner, Signer
    from flujo_audit_advanced.stamp import StampAuthority
    from flujo_audit_advanced.stored import stored_records
    from flujo_audit_advanced.transit import TransitSigner
    from flujo_audit_advanced.verify import verify_log
    from flujo_audit_advanced.witness import Witness, Witnesses

_HOMES = {
    "Anchor": "anchor",
    "Anchored": "report",
    "AuditError": "errors",
    "AuditLog": "log",
    "AuditPlugin": "plugin",
    "Bundle": "bundle",
    "Contradicted": "errors",
    "Cursor": "export.cursor",
    "Evidence": "anchor",
    "Export": "export.running",
    "Exported": "export.sink",
    "Exporter": "export.exporter",
    "Finding": "report",
    "FolderTarget": "copies",
    "LocalSigner": "signer",
    "LockedBucket": "bucket",
    "LogBusy": "errors",
    "LogDamaged": "errors",
    "LogFailed": "errors",
    "LogFull": "errors",
    "LogOverloaded": "errors",
    "NotAnchored": "errors",
    "NotRecorded": "errors",
    "NotSigned": "errors",
    "PayloadErased": "errors",
    "Proof": "proof",
    "RecordRejected": "errors",
    "Recording": "recording",
    "Report": "report",
    "Rule": "rule",
    "S3Target": "bucket",
    "Sealed": "anchor",
    "Signer": "signer",
    "SignerUnavailable": "errors",
    "Sink": "export.sink",
    "SinkFailed": "export.sink",
    "SinkRefused": "export.sink",
    "StampAuthority": "stamp",
    "TransitSigner": "transit",
    "Trust": "claims",
    "VerifierKey": "note",
    "Witness": "witness",
    "Witnesses": "witness",
    "WriteOnce": "copies",
    "WriteOnceCopy": "copies",
    "encode_record": "record",
    "evidence": "bundle",
    "key_of": "keys",
    "prove": "proof",
    "stored_records": "stored",
    "verify_log": "verify",
}

__all__ = [
    "Anchor",
    "Anchored",
    "AuditError",
    "AuditLog",
    "AuditPlugin",
    "Bundle",
    "Contradicted",
    "Cursor",
    "Evidence",
    "Export",
    "Exported",
    "Exporter",
    "Finding",
    "FolderTarget",
    "LocalSigner",
    "LockedBucket",
    "LogBusy",
    "LogDamaged",
    "LogFailed",
    "LogFull",
    "LogOverloaded",
    "NotAnchored",
    "NotRecorded",
    "NotSigned",
    "PayloadErased",
    "Proof",
    "RecordRejected",
    "Recording",
    "Report",
    "Rule",
    "S3Target",
    "Sealed",
    "Signer",
    "SignerUnavailable",
    "Sink",
    "SinkFailed",
    "SinkRefused",
    "StampAuthority",
    "TransitSigner",
    "Trust",
    "VerifierKey",
    "Witness",
    "Witnesses",
    "WriteOnce",
    "WriteOnceCopy",
    "encode_record",
    "evidence",
    "key_of",
    "prove",
    "stored_records",
    "verify_log",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(f"{__name__}.{_HOMES[name]}"))[name]


def __dir__() -> list[str]:
    return __all__
