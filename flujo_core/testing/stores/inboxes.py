"""What is checked of a store's inboxes and questions: who may answer, and when."""

from __future__ import annotations

import asyncio

from flujo_core.errors import MailWaiting, QuestionExpired, UnknownQuestion, UnknownRun
from flujo_core.store.protocol import ASKED, Mail, OpenQuestion
from flujo_core.testing.stores.place import SHORT, Place, answer, cancel, claim, record, refusal


async def posts_once(place: Place) -> None:
    """Of many who have seen the same inbox, one posts."""
    lease = await place.asked()
    await place.one.append([], lease, release=True)
    voters = [f"voter {number}" for number in range(50)]
    tries = [
        (place.one, place.other)[number % 2].post(answer(lease, voter=voter), seen=0)
        for number, voter in enumerate(voters)
    ]
    outcomes = await asyncio.gather(*tries)
    claim(outcomes.count(True) == 1, f"of 50 who redeem one token, {outcomes.count(True)} do")
    inbox = list(await place.other.mail(lease.run_id))
    claim([one.voter for one in inbox] == [voters[outcomes.index(True)]], "the mail kept is not the winner's")
    claim((await place.summary(lease)).mail == 1, "'run' does not tell the number of the last mail")
    claim(not await place.one.post(answer(lease), seen=9), "mail is posted by who has seen more than there is")


async def keeps_mail(place: Place) -> None:
    """Mail comes back as it was, numbered, with the store's time."""
    lease = await place.asked()
    now = await place.one.time()
    sent = [
        Mail(lease.run_id, 0, "answer", 2, 0.0, b"\x00\xff", "ü"),
        Mail(lease.run_id, 0, "reissue", 2, 0.0, b"", None, "a" * 64),
        cancel(lease),
    ]
    for seen, mail in enumerate(sent):
        claim(await place.one.post(mail, seen=seen), "mail is not posted by who has seen all that there is")
    found = list(await place.other.mail(lease.run_id))
    blank = [one._replace(number=0, at=0.0) for one in found]
    claim(blank == sent, "mail does not come back as it was posted")
    claim([one.number for one in found] == [1, 2, 3], "mail is not numbered from 1 without gaps")
    claim(all(now - 1 <= one.at <= now + 60 for one in found), "the time of mail is not that of the store's clock")
    claim(list(await place.other.mail(lease.run_id, after=1)) == found[1:], "'mail' with 'after' begins elsewhere")
    claim(not await place.other.mail(place.name("nobody")), "'mail' of a run that there is not gives something")
    nobody = lease._replace(run_id=place.name("nobody"))
    await refusal(place.one.post(cancel(nobody), seen=0), UnknownRun, "mail is posted to a run that there is not")


async def takes_answers_while_held(place: Place) -> None:
    """Answering needs no lease, and takes none."""
    lease = await place.asked()
    claim(await place.other.post(answer(lease), seen=0), "an answer is not taken while somebody goes on with the run")
    await place.one.append([record(lease.run_id, 3)], lease)
    run = await place.summary(lease)
    claim((run.holder, run.epoch, run.records) == ("first", 1, 3), "an answer disturbs who has the lease")
    claim((run.mail, run.taken) == (1, 0), "an answer counts as taken in before the journal has it")


async def waits_for_mail(place: Place) -> None:
    """A lease is not given back with an append while there is mail that was not taken in."""
    lease = await place.asked()
    await place.other.post(answer(lease), seen=0)
    before = await place.kept(lease)
    paused = record(lease.run_id, 3, "run_paused", "paused")
    await refusal(place.one.append([paused], lease, release=True), MailWaiting, "a run pauses that has mail")
    claim(await place.kept(lease) == before, "an append that was refused because of mail was kept")
    claim((await place.summary(lease)).holder == "first", "the lease was given back though there is mail")
    answered = record(lease.run_id, 3, "question_answered", question=2)
    await place.one.append([answered, paused._replace(sequence=4)], lease, taken=1, release=True)
    run = await place.summary(lease)
    claim(
        (run.holder, run.taken, run.status) == ("", 1, "paused"), "mail that was taken in is not noted with the append"
    )


async def expires(place: Place) -> None:
    """Whether a question can be answered is decided by the store's clock."""
    ends = await place.one.time() + SHORT
    lease = await place.asked(expires_at=ends)
    claim(await place.one.post(answer(lease), seen=0), "an answer in time is not taken")
    await place.past(ends)
    await refusal(place.other.post(answer(lease), seen=1), QuestionExpired, "an answer is taken that is too late")
    claim(len(await place.one.mail(lease.run_id)) == 1, "an answer that was too late is kept")
    claim(await place.other.post(cancel(lease), seen=1), "a run whose question has expired cannot be cancelled")
    claim(len(await place.one.questions(run_id=lease.run_id)) == 1, "a question whose time is over is not listed")


async def closes_questions(place: Place) -> None:
    """A question is open until a record closes it, or its run ends; then it cannot be answered."""
    lease = await place.asked()
    later = [record(lease.run_id, number, ASKED, address=f"a[{number}]") for number in (3, 4)]
    await place.one.append(later, lease)
    await refusal(place.one.post(answer(lease, 1), seen=0), UnknownQuestion, "what asks nothing is answered")
    await place.one.append([record(lease.run_id, 5, "question_withdrawn", question=3)], lease)
    claim(await _open(place, lease.run_id) == [2, 4], "a record with 'question' does not close that question alone")
    await refusal(place.other.post(answer(lease, 3), seen=0), UnknownQuestion, "a question is answered that is closed")
    first = (await place.other.questions(run_id=lease.run_id))[0]
    wanted = OpenQuestion(lease.run_id, None, 2, "a", 1002.0, None)
    claim(first == wanted, "a question is not listed as its header tells it")
    await place.one.append([record(lease.run_id, 6, "run_ended", "cancelled")], lease, release=True)
    claim(not await _open(place, lease.run_id), "the end of a run does not close its questions")
    await refusal(
        place.other.post(answer(lease), seen=0), UnknownQuestion, "a question is answered when its run has ended"
    )


async def _open(place: Place, run_id: str) -> list[int]:
    return [one.sequence for one in await place.other.questions(run_id=run_id)]
