"""Recording: what a deployment puts on record, where, and with which keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flujo_audit_advanced.anchor import Anchor
from flujo_audit_advanced.digest import Digester
from flujo_audit_advanced.export.running import Export
from flujo_audit_advanced.held import HeldLog, held
from flujo_audit_advanced.log import AuditLog
from flujo_audit_advanced.payloads import Payloads
from flujo_audit_advanced.recorder import Recorder
from flujo_audit_advanced.rule import Rule, Rules
from flujo_audit_advanced.signer import Signer
from flujo_core import ConfigurationError

ORIGIN = "flujo.local/audit"


@dataclass(frozen=True)
class Recording:
    """What is put on record, and where; all ``Flujo`` of a process that name one folder write one log.

    Attributes:
        path: The log's folder. A log has one writer: each process needs a folder of its own.
        signer: Whose key signs the log's checkpoints.
        digest_key: At least 32 bytes, from which the digests of values are made; no key of the log's.
        rules: What is kept, and how: the first that matches counts; behind them what is begun is ``strict``, and the
            rest ``batch``, both at the level ``digest``.
        origin: The log's name.
        anchors: Who keeps the log's checkpoints.
        timeout: Seconds that a record may take to be durable; what waits for it is refused then.
        exports: Where records are carried to.
        payload_key: 32 bytes, with which values are kept that rules want in full; None: no rule may.
    """

    path: Path
    signer: Signer = field(repr=False)
    digest_key: bytes = field(repr=False)
    rules: Sequence[Rule] = ()
    origin: str = ORIGIN
    anchors: Sequence[Anchor] = ()
    timeout: float = 5.0
    exports: Sequence[Export] = ()
    payload_key: bytes | None = field(default=None, repr=False)

    def log(self) -> HeldLog:
        """The log, shared by all of the process.

        Raises:
            ConfigurationError: It is open in this process on other terms.
        """

        async def opened() -> AuditLog:
            return await AuditLog.open(self.path, self.signer, origin=self.origin, anchors=self.anchors)

        terms = self.signer.public_key, self.origin, tuple(one.name for one in self.anchors), tuple(self.exports)
        return held(self.path, opened, terms, self.exports)

    def recorder(self, log: HeldLog) -> Recorder:
        """Writes the records.

        Raises:
            ConfigurationError: A rule or the key is not one.
        """
        rules = Rules(self.rules)
        if rules.keeps_values and self.payload_key is None:
            raise ConfigurationError("a rule of the audit keeps values in full, and there is no key for payloads")
        payloads = None if self.payload_key is None else self.payloads()
        return Recorder(log, rules, Digester(self.digest_key), self.timeout, payloads)

    def payloads(self) -> Payloads:
        """The values that are kept beside the log."""
        return Payloads(self.path, self.payload_key, Digester(self.digest_key))
