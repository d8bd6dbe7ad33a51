"""What goes wrong with an audit log.

FlujoError
└── AuditError             the log cannot be read, written or trusted
    ├── LogDamaged         its files are not what was written: damaged, or changed by somebody; has ``.place``
    ├── LogBusy            another process writes it
    ├── LogOverloaded      more waits to be written than may wait
    ├── LogFailed          it could not be written; nothing more is taken until it is opened again
    │   └── LogFull        there is no space left
    ├── NotRecorded        (also a Veto) what was about to happen could not be put on record, and did not happen
    ├── PayloadErased      the key of a payload was destroyed
    ├── RecordRejected     a record that the schema forbids, or that is too large
    ├── NotSigned          a note, a key or a checkpoint that is not in its form, or not signed by whom it should be
    ├── NotAnchored        a witness, an authority or a copy did not take a checkpoint
    │   └── Contradicted   it has seen another log under this name: a fork, or a rewritten log
    └── SignerUnavailable  the key that signs cannot be had
"""

from flujo_core import FlujoError, Veto


class AuditError(FlujoError):
    """The log cannot be read, written or trusted."""


class LogDamaged(AuditError):
    """The log's files are not what was written.

    Args:
        place: The first bad file or index, as it is named in messages.
        found: What is wrong there.

    Attributes:
        place: The first bad file or index.
    """

    def __init__(self, place: str, found: str) -> None:
        super().__init__(f"the audit log is damaged at {place}: {found}")
        self.place = place


class LogBusy(AuditError):
    """Another process, or another handle of this one, writes the log."""


class LogOverloaded(AuditError):
    """More waits to be written than may wait; nothing was taken."""


class LogFailed(AuditError):
    """The log could not be written. What was not acknowledged may or may not be kept; open the log again to go on."""


class LogFull(LogFailed):
    """There is no space left for the log."""


class NotRecorded(Veto, AuditError):
    """What was about to happen could not be put on record, so it was refused: nothing was done."""


class PayloadErased(AuditError):
    """A payload was erased: its key is gone, and its digest stays in the log."""


class RecordRejected(AuditError):
    """A record that the schema forbids, or that is too large; nothing was written."""


class SignerUnavailable(AuditError):
    """The key that signs checkpoints cannot be had."""


class NotSigned(AuditError):
    """A note, a key or a checkpoint that is not in its form, or not signed by whom it should be."""


class NotAnchored(AuditError):
    """A witness, an authority or a copy did not take a checkpoint; it may the next time."""


class Contradicted(NotAnchored):
    """Who anchors has seen another log under this name: this one is a fork, or was rewritten. Stop, and look."""
