"""What others want of a run: how an answer is posted without the lease, and how the holder takes mail in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic_core import from_json, to_json

from flujo_core.engine.journal import Journal, now
from flujo_core.engine.question import new_token, token_hash
from flujo_core.errors import (
    AlreadyAnswered,
    AmbiguousAnswer,
    NotAnApprover,
    QuestionExpired,
    UnknownQuestion,
    UnverifiedAnswer,
)
from flujo_core.model.event import QuestionAnswered, QuestionAsked, QuestionLapsed, TokenReissued, VoteCast
from flujo_core.store.protocol import Mail, Store


class Ballot:
    """One question that a journal has open, with the answers that it has been given.

    Attributes:
        asked: The event that asked.
        token_hash: The hash of the token that counts.
        votes: What each approver has answered, as JSON, in order.
    """

    def __init__(self, asked: QuestionAsked) -> None:
        self.asked = asked
        self.token_hash = asked.token_hash
        self.votes: dict[str, bytes] = {}

    def vote(self, voter: str, answer: bytes) -> bool:
        """Counts an answer; gives whether the question is answered with it."""
        self.votes.setdefault(voter, answer)
        return self.is_answered

    @property
    def is_answered(self) -> bool:
        """Whether as many as it needs have given the same answer."""
        given = list(self.votes.values())
        return any(given.count(one) >= self.asked.terms.quorum for one in given)

    def take(self, mail: Mail) -> None:
        """Takes in what mail says of it."""
        if mail.kind == "reissue":
            self.token_hash = mail.token_hash
        else:
            answer = said(mail)  # of which the voter is told: what the header has of that may be a digest
            self.vote("" if mail.voter is None else answer.approver or "", answer.answer)


class Said(NamedTuple):
    """What a piece of mail says.

    Attributes:
        answer: The answer, as JSON.
        approver: Whose it is, or None.
        verified: Whether a plugin has confirmed who that is.
    """

    answer: bytes
    approver: str | None
    verified: bool

    def payload(self) -> bytes:
        """It as mail."""
        return to_json({"approver": self.approver, "verified": self.verified}) + b"\n" + self.answer


def said(mail: Mail) -> Said:
    """What a piece of mail says."""
    facts, _, answer = mail.payload.partition(b"\n")
    return Said(answer, **from_json(facts))


def chosen(ballots: Mapping[int, Ballot], closed: Mapping[str | None, str], token: str | None, run_id: str) -> Ballot:
    """The question that an answer is for.

    Args:
        ballots: The open questions, with what the inbox says of them.
        closed: What became of the questions that are not open any more, by the hashes of their tokens.
        token: The token that the answerer has, or None.
        run_id: The run.

    Raises:
        AlreadyAnswered: It has its answer.
        AmbiguousAnswer: There are several, and no token.
        UnknownQuestion: There is none.
    """
    if token is None:
        unanswered = [one for one in ballots.values() if not one.is_answered]
        if len(unanswered) > 1:
            raise AmbiguousAnswer(
                f"run '{run_id}' waits on {len(unanswered)} questions; say which one is answered: give its token"
            )
        found = next(iter(unanswered or ballots.values()), None)
        if found is None and "answered" in closed.values():
            raise AlreadyAnswered(f"run '{run_id}' has its answer; this one changed nothing")
    else:
        hashed = token_hash(token)
        found = next((one for one in ballots.values() if one.token_hash == hashed), None)
        if found is None and closed.get(hashed) == "answered":
            raise AlreadyAnswered(f"the question of this token, in run '{run_id}', has its answer")
    if found is None:
        what = "waits on no question" if token is None else "has no open question of this token"
        raise UnknownQuestion(f"run '{run_id}' {what}")
    return found


def check_ballot(ballot: Ballot, approver: str | None) -> None:
    """Checks that somebody may answer a question, and that it needs the answer.

    Raises:
        AlreadyAnswered: It has its answer, or theirs.
        NotAnApprover: It is not theirs to answer.
    """
    asked = ballot.asked
    place, terms = asked.address, asked.terms
    if terms.approvers and approver not in terms.approvers:
        who = "nobody" if approver is None else f"'{approver}'"
        names = ", ".join(f"'{one}'" for one in terms.approvers)
        raise NotAnApprover(f"the question of '{place}' is for {names} to answer, and 'approver' names {who}")
    if terms.quorum > 1 and approver is None:
        raise NotAnApprover(f"the question of '{place}' needs {terms.quorum} answers; say whose this is: 'approver='")
    if ballot.is_answered:
        raise AlreadyAnswered(f"the question of '{place}' has its answer; this one changed nothing")
    if terms.quorum > 1 and approver in ballot.votes:
        raise AlreadyAnswered(f"'{approver}' has answered the question of '{place}' before; that counts")


def check_verified(verified: bool, is_needed: bool, place: str) -> None:
    """Checks that it is known whose an answer is, where that is needed.

    Raises:
        UnverifiedAnswer: It is not.
    """
    if is_needed and not verified:
        raise UnverifiedAnswer(
            f"no plugin has confirmed whose answer to the question of '{place}' this is, and the deployment is"
            " regulated; install one with 'authorize'"
        )


class Taken(NamedTuple):
    """What mail came to.

    Attributes:
        changed: Whether anything of the run can go on.
        cancelled: Whether somebody wants the run to be cancelled.
    """

    changed: bool
    cancelled: bool


def take_in(journal: Journal, ballots: dict[int, Ballot], mail: Sequence[Mail], time: float) -> Taken:
    """Stages the events that mail stands for, and those of questions whose time is over; inbox order decides.

    Args:
        journal: The run's journal.
        ballots: Its open questions, without what this mail says; those that are closed are taken out.
        mail: The mail that it has not taken in, in order.
        time: The store's clock.
    """
    changed = cancelled = False
    for one in mail:
        journal.taken = one.number
        ballot = ballots.get(one.question)
        if one.kind == "cancel":
            cancelled = True
        elif ballot is not None and not cancelled:
            ballot.take(one)
            changed |= _stage(journal, ballot, one)
            if ballot.is_answered:
                del ballots[one.question]
    for sequence, ballot in list(ballots.items()):
        until = ballot.asked.terms.expires_at
        if until is not None and until <= time and not cancelled:
            _lapse(journal, ballot)
            del ballots[sequence]
            changed = True
    return Taken(changed, cancelled)


def _stage(journal: Journal, ballot: Ballot, mail: Mail) -> bool:
    """Stages the event of one piece of mail; gives whether it answers the question."""
    asked = ballot.asked
    head = journal.head(asked.address, now())
    if mail.kind == "reissue":
        journal.stage(TokenReissued(*head, asked.sequence, mail.token_hash or ""))
        return False
    answer, approver, verified = said(mail)
    value = from_json(answer)
    if not ballot.is_answered:
        journal.stage(VoteCast(*head, asked.sequence, value, approver, verified), answer)
        return False
    journal.stage(QuestionAnswered(*head, asked.sequence, value, approver, verified), answer)
    journal.asked.pop(asked.sequence, None)
    return True


def _lapse(journal: Journal, ballot: Ballot) -> None:
    """Stages what follows of that nobody has answered in time."""
    asked = ballot.asked
    head = journal.head(asked.address, now())
    journal.asked.pop(asked.sequence, None)
    if asked.terms.on_expiry == "default":
        default = asked.terms.default
        journal.stage(QuestionAnswered(*head, asked.sequence, default, None, False, lapsed=True), to_json(default))
    else:
        journal.stage(QuestionLapsed(*head, asked.sequence, asked.terms.on_expiry))


async def post_cancel(store: Store, run_id: str) -> None:
    """Posts that a run is to be cancelled.

    Raises:
        UnknownRun: There is no such run.
    """
    seen = 0
    while not await store.post(Mail(run_id, 0, "cancel", 0, 0.0, b"null"), seen=seen):
        mail = await store.mail(run_id, after=seen)
        seen = mail[-1].number


async def post_token(store: Store, run_id: str, ballot: Ballot, seen: int) -> str | None:
    """Posts a new token for a question; None if there is mail that must be read first."""
    token = new_token()
    mail = Mail(run_id, 0, "reissue", ballot.asked.sequence, 0.0, b"null", token_hash=token_hash(token))
    return token if await store.post(mail, seen=seen) else None


async def post_answer(store: Store, run_id: str, ballot: Ballot, answer: Said, seen: int) -> bool:
    """Posts an answer; False if there is mail that must be read first.

    Raises:
        UnknownQuestion: The question is not open any more.
        QuestionExpired: Its time is over.
    """
    voter = answer.approver if ballot.asked.terms.quorum > 1 else None
    mail = Mail(run_id, 0, "answer", ballot.asked.sequence, 0.0, answer.payload(), voter)
    try:
        return await store.post(mail, seen=seen)
    except QuestionExpired:
        place = ballot.asked.address
        raise QuestionExpired(f"the time in which the question of '{place}' could be answered is over") from None
