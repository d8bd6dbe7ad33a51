"""What a journal says of its run as a whole: where it is, what it waits for, what it was begun with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flujo_core.engine.inbox import Ballot
from flujo_core.engine.migrations import Era
from flujo_core.model.event import (
    NO_ORIGIN,
    ErrorInfo,
    Origin,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    QuestionWithdrawn,
    RunEnded,
    RunResumed,
    RunStarted,
    RunStatus,
    TokenReissued,
    VoteCast,
)
from flujo_core.model.rename import renamed
from flujo_core.store.codec import decode
from flujo_core.store.protocol import LIFE, Mail, Record

TOLD = frozenset(
    one.kind
    for one in (
        RunStarted, RunResumed, RunEnded, QuestionAsked, QuestionAnswered, QuestionLapsed, QuestionWithdrawn, VoteCast,
        TokenReissued,
    )
)  # fmt: skip
"""The kinds of record that are read."""


class Survey:
    """What a journal says of its run as a whole.

    Args:
        records: Its records, in order, from the first.

    Attributes:
        status: Where the run is.
        pipeline: The pipeline's name.
        tenant: Whose run it is, or None.
        origin: What it was begun with, or resumed with last.
        eras: The parts of the journal that were written with one pipeline each, in order.
        ballots: The questions that are open, by the sequences of the events that asked.
        closed: What became of the others, by the hashes of their tokens.
        error: Why it failed or was refused, or None.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.status: RunStatus = "running"
        self.pipeline = ""
        self.tenant = records[0].tenant
        self.origin: Origin = NO_ORIGIN
        self.eras: list[Era] = []
        self.ballots: dict[int, Ballot] = {}
        self.closed: dict[str | None, str] = {}
        self.error: ErrorInfo | None = None
        for record in records:
            if record.kind in LIFE:
                self.status = record.outcome  # type: ignore[assignment]
            if record.kind in TOLD:
                self._take(record)

    def _take(self, record: Record) -> None:
        event = decode(record)
        match event:
            case RunStarted():
                self.pipeline, self.origin = event.pipeline, event.origin
                self.eras.append(Era(event.sequence, event.origin.manifest, {}))
            case RunResumed():
                if event.origin.manifest:
                    self.origin = event.origin
                    self.eras.append(Era(event.sequence, event.origin.manifest, event.renamed))
                self.rename(event.renamed)
            case RunEnded():
                self.error = event.error
            case QuestionAsked():
                self.ballots[event.sequence] = Ballot(event)
            case VoteCast():
                self.ballots[event.question].vote(event.approver or "", record.payload.split(b"\n")[1])
            case TokenReissued():
                ballot = self.ballots[event.asked]
                self.closed[ballot.token_hash], ballot.token_hash = "void", event.token_hash
            case _:
                assert isinstance(event, QuestionAnswered | QuestionLapsed | QuestionWithdrawn)
                ballot = self.ballots.pop(event.question)
                what = {"question_answered": "answered", "question_lapsed": "lapsed"}.get(event.kind, "withdrawn")
                self.closed[ballot.token_hash] = what

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives the open questions the addresses that nodes have now which have other names."""
        for ballot in self.ballots.values() if names else ():
            ballot.asked.address = renamed(ballot.asked.address, names)

    def with_mail(self, mail: Sequence[Mail]) -> Survey:
        """This one, with what the inbox says of its open questions, which the journal has not taken in."""
        for one in mail:
            ballot = self.ballots.get(one.question)
            if one.kind == "reissue" and ballot is not None:
                self.closed[ballot.token_hash] = "void"
            if ballot is not None and one.kind != "cancel":
                ballot.take(one)
        return self

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status not in ("running", "paused")
