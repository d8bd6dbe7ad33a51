"""The protocol of durable runs as a state machine: holders, answerers and time against one store, and a tiny model.

The model is what ``docs/explanation/durability.md`` says of journals, leases and inboxes, in plain lists. Several
holders (some of which have lost their lease and do not know it) and answerers (each of whom looks first, and posts
later) use one store through two doors, as two processes do. After every step all that the store shows must be the fold
of what the model has.

Time is not awaited: a lease lasts for an hour, or has run out when the next one looks; a question can be answered for
an hour, or its time was over before it was asked.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from flujo_core.errors import (
    LeaseLost,
    MailWaiting,
    QuestionExpired,
    RunBusy,
    RunExists,
    StoreError,
    UnknownQuestion,
    UnknownRun,
)
from flujo_core.model.event import RunStatus
from flujo_core.store.memory import MemoryStore
from flujo_core.store.protocol import ASKED, LIFE, Lease, Mail, MailKind, OpenQuestion, Record, RunSummary, Store
from flujo_core.store.sqlite import SQLiteStore

T = TypeVar("T")

NAMES = ("r1", "r2")
TENANTS = (None, "acme", "zeta")
HOUR, BLINK = 3600.0, 0.001
"""How long leases last: longer than the test, or not until the next look."""

WORK = ("step_started", "step_completed")
CLOSING = ("question_answered", "question_lapsed", "question_withdrawn")
LIVES: tuple[tuple[str, RunStatus], ...] = (
    ("run_resumed", "running"), ("run_paused", "paused"), ("run_ended", "completed"), ("run_ended", "failed"),
    ("run_ended", "cancelled"),
)  # fmt: skip

AGES = st.sampled_from((0, 0, 0, 0, 1, 2))
"""How many have taken the lease since."""

KINDS = st.lists(st.sampled_from((*WORK, "ask", "ask", "close", "life")), min_size=1, max_size=4)
SELDOM = st.sampled_from((False, False, True))


@dataclass
class Run:
    """What the model knows of a run."""

    journal: list[Record]
    lease: Lease
    is_held: bool = True
    leases: list[Lease] = field(default_factory=list)
    inbox: list[Mail] = field(default_factory=list)
    taken: int = 0

    @property
    def is_free(self) -> bool:
        return not self.is_held or self.lease.ttl == BLINK

    @property
    def status(self) -> str:
        return [record.outcome for record in self.journal if record.kind in LIFE][-1]

    @property
    def questions(self) -> list[Record]:
        """The records of the questions that are open."""
        ended = max((record.sequence for record in self.journal if record.kind == "run_ended"), default=0)
        closed = {record.question for record in self.journal} | set(range(ended))
        return [record for record in self.journal if record.kind == ASKED and record.sequence not in closed]

    def question(self, sequence: int) -> Record | None:
        return next((one for one in self.questions if one.sequence == sequence), None)

    def is_answered(self, sequence: int) -> bool:
        return any(mail.kind == "answer" and mail.question == sequence for mail in self.inbox)


@dataclass(frozen=True)
class Intent:
    """An answer that somebody who has looked is about to post.

    Attributes:
        seen: The number of the last mail that they have seen.
        was_answered: Whether they have seen an answer; then they post none.
    """

    run_id: str
    question: int
    seen: int
    was_answered: bool


class Protocol(RuleBasedStateMachine):
    """Whatever holders and answerers do, in whatever order: the store shows what the model has."""

    intents = Bundle("intents")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.doors = self.opened(Path(self.folder.name) / "runs.db")
        self.model: dict[str, Run] = {}
        self.clock = 1000.0

    def opened(self, path: Path) -> Sequence[Store]:
        """The doors to the store: one for each process."""
        raise NotImplementedError

    def teardown(self) -> None:
        for door in self.doors:
            self.do(door.close())
        self.loop.close()
        self.folder.cleanup()

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    async def appending(self, door: int, records: Sequence[Record], lease: Lease, **more: Any) -> None:
        await self.doors[door].append(records, lease, **more)

    def refused(self, call: Coroutine[Any, Any, Any], *kinds: type[StoreError] | type[Exception]) -> Exception:
        with pytest.raises(kinds) as raised:
            self.do(call)
        return raised.value

    def record(self, run: Run | None, run_id: str, offset: int, kind: str, outcome: str = "", **more: Any) -> Record:
        """The record that comes ``offset`` places after the last one."""
        self.clock += 1.0
        sequence = (len(run.journal) if run else 0) + 1 + offset
        tenant = run.journal[0].tenant if run else more.pop("tenant")
        address = "" if kind in LIFE else f"a[{sequence}]"
        payload = f'{{"n":{sequence}}}\nnull'.encode()
        return Record(run_id, tenant, sequence, kind, address, outcome, self.clock, payload, **more)

    # -------------------------------------------------------------------------------------------------- the holders

    @rule(run_id=st.sampled_from(NAMES), tenant=st.sampled_from(TENANTS),
          ttl=st.sampled_from((HOUR, BLINK)), more=st.integers(0, 2), door=st.integers(0, 1))  # fmt: skip
    def begin(self, run_id: str, tenant: str | None, ttl: float, more: int, door: int) -> None:
        """The first append makes the run, with this lease; if there is one of that id, nothing happens."""
        run = self.model.get(run_id)
        lease = Lease(run_id, 1, f"first of {run_id}", ttl)
        records = [self.record(None, run_id, 0, "run_started", "running", tenant=tenant)]
        records += [self.record(None, run_id, 1 + index, "step_started", tenant=tenant) for index in range(more)]
        if run is not None:
            self.refused(self.appending(door, records, lease), RunExists)
            return
        self.do(self.appending(door, records, lease))
        self.model[run_id] = Run(records, lease, leases=[lease])

    @rule(run_id=st.sampled_from(NAMES), ttl=st.sampled_from((HOUR, BLINK)), door=st.integers(0, 1),
          instead=st.none() | st.integers(1, 5), is_told=st.booleans())  # fmt: skip
    def acquire(self, run_id: str, ttl: float, door: int, instead: int | None, is_told: bool) -> None:
        """Of a run that nobody holds, or whose holder is said to be dead, one gets the lease, and a higher epoch."""
        run = self.model.get(run_id)
        if run is not None and is_told:
            instead = run.lease.epoch
        call = self.doors[door].acquire(run_id, f"holder {self.clock}", ttl, instead_of=instead)
        if run is None:
            self.refused(call, UnknownRun)
            return
        self.blink(run)
        if not run.is_free and instead != run.lease.epoch:
            busy = cast(RunBusy, self.refused(call, RunBusy))
            assert (busy.holder, busy.epoch) == (run.lease.holder, run.lease.epoch)
            assert busy.until > self.do(self.doors[door].time()) + HOUR / 2
            return
        lease = self.do(call)
        assert lease == Lease(run_id, run.lease.epoch + 1, f"holder {self.clock}", ttl)
        self.held(run, lease)

    def held(self, run: Run, lease: Lease) -> None:
        run.lease, run.is_held = lease, True
        run.leases.append(lease)

    @rule(run_id=st.sampled_from(NAMES), told=st.booleans())
    def acquire_twice_at_once(self, run_id: str, told: bool) -> None:
        """Two who see the same dead holder, or the same free run: one gets it."""
        run = self.model.get(run_id)
        if run is None or not (run.is_free or told):
            return
        self.blink(run)
        instead = run.lease.epoch if told else None

        async def both() -> list[Lease | BaseException]:
            calls = [
                door.acquire(run_id, f"racer {index}", HOUR, instead_of=instead)
                for index, door in enumerate(self.doors)
            ]
            return await asyncio.gather(*calls, return_exceptions=True)

        found = self.do(both())
        (lease,) = (one for one in found if isinstance(one, Lease))
        (other,) = (one for one in found if not isinstance(one, Lease))
        assert isinstance(other, RunBusy) and lease.epoch == run.lease.epoch + 1
        self.held(run, lease)

    def blink(self, run: Run) -> None:
        """Lets a lease run out that lasts for a blink."""
        if run.is_held and run.lease.ttl == BLINK:
            time.sleep(2 * BLINK)

    def lease(self, run_id: str, age: int) -> Lease | None:
        """A lease of the run: the last one, or one that was lost and whose holder does not know it."""
        run = self.model.get(run_id)
        return run.leases[max(0, len(run.leases) - 1 - age)] if run else None

    @rule(run_id=st.sampled_from(NAMES), age=AGES, door=st.integers(0, 1))
    def renew(self, run_id: str, age: int, door: int) -> None:
        if (lease := self.lease(run_id, age)) is None:
            return
        run = self.model[run_id]
        if self.is_current(lease) and run.is_held:
            self.do(self.doors[door].renew(lease))
        else:
            self.refused(self.doors[door].renew(lease), LeaseLost)

    @rule(run_id=st.sampled_from(NAMES), age=AGES, door=st.integers(0, 1))
    def release(self, run_id: str, age: int, door: int) -> None:
        """Gives the lease back, mail or not; one that was lost is passed over."""
        if (lease := self.lease(run_id, age)) is None:
            return
        self.do(self.doors[door].release(lease))
        if self.is_current(lease):
            self.model[lease.run_id].is_held = False

    def is_current(self, lease: Lease) -> bool:
        return self.model[lease.run_id].lease.epoch == lease.epoch

    @rule(run_id=st.sampled_from(NAMES), age=AGES, kinds=KINDS, data=st.data(), door=st.integers(0, 1))
    def append(self, run_id: str, age: int, kinds: list[str], data: st.DataObject, door: int) -> None:
        """All of the records or none; only under the epoch that the run has."""
        if (lease := self.lease(run_id, age)) is None:
            return
        run = self.model[run_id]
        records = self.drawn(run, lease, kinds, data)
        taken = data.draw(st.none() | st.integers(run.taken, len(run.inbox)), "taken")
        self.try_append(lease, records, taken, data.draw(SELDOM, "release"), door)

    @rule(run_id=st.sampled_from(NAMES), age=AGES, release=SELDOM, door=st.integers(0, 1))
    def take_in(self, run_id: str, age: int, release: bool, door: int) -> None:
        """What a holder does with its mail: it closes each question that has an answer, and says how far it read."""
        if (lease := self.lease(run_id, age)) is None:
            return
        run = self.model[run_id]
        answered = [one.sequence for one in run.questions if run.is_answered(one.sequence)]
        records = [
            self.record(run, lease.run_id, index, "question_answered", question=asked, epoch=lease.epoch)
            for index, asked in enumerate(answered)
        ]
        if records or release or len(run.inbox) > run.taken:
            self.try_append(lease, records, len(run.inbox), release, door)

    def drawn(self, run: Run, lease: Lease, kinds: Sequence[str], data: st.DataObject) -> list[Record]:
        """Records of these kinds, each in its place."""
        found: list[Record] = []
        free = [one.sequence for one in run.questions]
        for index, kind in enumerate(kinds):
            more: dict[str, Any] = {"epoch": lease.epoch}
            outcome = ""
            if kind == "ask":
                until = data.draw(st.sampled_from((None, time.time() + HOUR, 1.0)), "expires_at")
                more |= {"expires_at": until, "token_hash": f"{len(run.journal) + index:064x}"}
                kind = ASKED
            elif kind == "close" and free:
                more["question"] = free.pop(data.draw(st.integers(0, len(free) - 1), "question"))
                kind = data.draw(st.sampled_from(CLOSING), "closing")
            elif kind == "life":
                kind, outcome = data.draw(st.sampled_from(LIVES), "life")
            elif kind == "close":
                kind = "step_failed"
            found.append(self.record(run, lease.run_id, index, kind, outcome, **more))
        return found

    def try_append(self, lease: Lease, records: list[Record], taken: int | None, release: bool, door: int) -> None:
        run, call = self.model[lease.run_id], self.appending(door, records, lease, taken=taken, release=release)
        after = run.taken if taken is None else taken
        if not self.is_current(lease):
            self.refused(call, LeaseLost)
        elif not run.is_held:
            self.after_release(run, records, call, after, release)
        elif release and after < len(run.inbox):
            self.refused(call, MailWaiting)
        else:
            self.do(call)
            run.journal += records
            run.taken, run.is_held = after, not release

    def after_release(
        self, run: Run, records: list[Record], call: Coroutine[Any, Any, None], taken: int, release: bool
    ) -> None:
        """The contract leaves open whether who gave a lease back may still append while nobody else has it.

        Either way it may not be half done, and the lease is not held again without ``acquire``.
        """
        try:
            self.do(call)
        except (LeaseLost, MailWaiting):
            return
        run.journal += records
        run.taken = taken
        run.is_held = bool(self.do(self.doors[0].run(run.lease.run_id)).held_until) and not release  # type: ignore[union-attr]

    @rule(run_id=st.sampled_from(NAMES), gap=st.sampled_from((-1, 1, 2)), at=st.integers(0, 2), door=st.integers(0, 1))
    def append_out_of_place(self, run_id: str, gap: int, at: int, door: int) -> None:
        """Records that leave a gap, or whose place is taken, are refused whole, wherever in the append they stand."""
        if (lease := self.lease(run_id, 0)) is None:
            return
        run = self.model[run_id]
        records = [self.record(run, lease.run_id, index, "step_started", epoch=lease.epoch) for index in range(3)]
        records = [
            one if index < at else one._replace(sequence=one.sequence + gap) for index, one in enumerate(records)
        ]
        self.refused(self.appending(door, records, lease), StoreError, ValueError)

    # ------------------------------------------------------------------------------------------------ the answerers

    @rule(target=intents, run_id=st.sampled_from(NAMES), data=st.data(), door=st.integers(0, 1))
    def look(self, run_id: str, data: st.DataObject, door: int) -> Any:
        """Somebody reads the journal and the inbox, and makes up their mind."""
        asked = [one.sequence for one in self.do(self.doors[door].read(run_id)) if one.kind == ASKED]
        if not asked:
            return multiple()
        question = data.draw(st.sampled_from(asked), "question")
        inbox = self.do(self.doors[door].mail(run_id))
        was_answered = any(mail.kind == "answer" and mail.question == question for mail in inbox)
        return Intent(run_id, question, len(inbox), was_answered)

    @rule(intent=intents, door=st.integers(0, 1))
    def answer(self, intent: Intent, door: int) -> None:
        """They post, if they have seen no answer; the store says whether they are the one."""
        if not intent.was_answered:
            self.try_post("answer", intent.run_id, intent.question, intent.seen, door)

    @rule(run_id=st.sampled_from(NAMES), data=st.data(), door=st.integers(0, 1))
    def look_and_answer(self, run_id: str, data: st.DataObject, door: int) -> None:
        """Nothing happens between the look and the post."""
        run = self.model.get(run_id)
        free = [one.sequence for one in run.questions if not run.is_answered(one.sequence)] if run else []
        if run is not None and free:
            self.try_post("answer", run_id, data.draw(st.sampled_from(free), "question"), len(run.inbox), door)

    @rule(run_id=st.sampled_from(NAMES), data=st.data())
    def answer_twice_at_once(self, run_id: str, data: st.DataObject) -> None:
        """Two who have looked at the same inbox post: one is the one."""
        run = self.model.get(run_id)
        free = [one.sequence for one in run.questions if not run.is_answered(one.sequence)] if run else []
        free = [one for one in free if run and self.objection(run, one) is None]
        if run is None or not free:
            return
        question, seen = data.draw(st.sampled_from(free), "question"), len(run.inbox)
        mails = [self.mail("answer", run_id, question) for _ in self.doors]

        async def both() -> list[bool]:
            return await asyncio.gather(
                *(door.post(mail, seen=seen) for door, mail in zip(self.doors, mails, strict=True))
            )

        found = self.do(both())
        assert sorted(found) == [False, True]
        self.posted(run, mails[found.index(True)])

    @rule(kind=st.sampled_from(("cancel", "reissue")), run_id=st.sampled_from(NAMES), data=st.data(),
          stale=st.sampled_from((0, 0, 0, 1, -1)), door=st.integers(0, 1))  # fmt: skip
    def wish(self, kind: MailKind, run_id: str, data: st.DataObject, stale: int, door: int) -> None:
        """A wish to cancel the run, or a new token; by somebody who has seen all mail, or not."""
        run = self.model.get(run_id)
        seen = max(0, (len(run.inbox) if run else 0) - stale)
        known = [record.sequence for record in run.journal if record.kind == ASKED] if run else []
        asked = 0 if kind == "cancel" else data.draw(st.sampled_from([*known, 1, 99]), "question")
        if run is None:
            self.refused(self.doors[door].post(self.mail(kind, run_id, asked), seen=seen), UnknownRun)
        else:
            self.try_post(kind, run_id, asked, seen, door)

    def try_post(self, kind: MailKind, run_id: str, question: int, seen: int, door: int) -> None:
        run, mail = self.model[run_id], self.mail(kind, run_id, question)
        wrong = self.objection(run, question) if question else None
        if kind == "reissue" and wrong is QuestionExpired:
            return  # the contract leaves open whether what can no longer be answered can have a new token
        call = self.doors[door].post(mail, seen=seen)
        if wrong is None:
            assert self.do(call) == (seen == len(run.inbox))
            if seen == len(run.inbox):
                self.posted(run, mail)
        elif seen == len(run.inbox):
            self.refused(call, wrong)
        else:
            with suppress(wrong):
                assert self.do(call) is False

    def objection(self, run: Run, question: int) -> type[Exception] | None:
        """Why nothing can be posted about a question."""
        asked = run.question(question)
        if asked is None:
            return UnknownQuestion
        return QuestionExpired if asked.expires_at is not None and asked.expires_at < time.time() else None

    def mail(self, kind: MailKind, run_id: str, question: int) -> Mail:
        self.clock += 1.0
        token_hash = "f" * 64 if kind == "reissue" else None
        return Mail(run_id, 0, kind, question, -1.0, f'"{self.clock}"'.encode(), "ann", token_hash)

    def posted(self, run: Run, mail: Mail) -> None:
        """The store gives it the next number, and the time by its own clock."""
        (kept,) = self.do(self.doors[0].mail(mail.run_id, after=len(run.inbox)))
        now = self.do(self.doors[0].time())
        assert kept == mail._replace(number=len(run.inbox) + 1, at=kept.at)
        assert now - 60 < kept.at <= now and all(one.at <= kept.at for one in run.inbox)
        run.inbox.append(kept)

    # --------------------------------------------------------------------------------------------- what is always so

    @invariant()
    def journals_and_inboxes_are_those_of_the_model(self) -> None:
        for name in NAMES:
            run = self.model.get(name)
            for door in self.doors:
                journal, inbox = self.do(door.read(name)), self.do(door.mail(name))
                assert list(journal) == (run.journal if run else [])
                assert list(inbox) == (run.inbox if run else [])
                assert [record.sequence for record in journal] == list(range(1, len(journal) + 1))
                assert [mail.number for mail in inbox] == list(range(1, len(inbox) + 1))
            after = len(journal) // 2
            assert list(self.do(self.doors[0].read(name, after=after))) == list(journal)[after:]
            assert list(self.do(self.doors[0].mail(name, after=len(inbox)))) == []

    @invariant()
    def one_writer_has_each_epoch_and_epochs_only_grow(self) -> None:
        for name, run in self.model.items():
            epochs = [record.epoch for record in self.do(self.doors[1].read(name))]
            assert epochs == sorted(epochs) and epochs[0] == 1 and epochs[-1] <= run.lease.epoch

    @invariant()
    def at_most_one_answer_is_taken_for_each_question(self) -> None:
        for name in self.model:
            answers = [mail.question for mail in self.do(self.doors[1].mail(name)) if mail.kind == "answer"]
            assert len(answers) == len(set(answers))

    @invariant()
    def runs_are_the_fold_of_the_headers(self) -> None:
        for name in NAMES:
            summary = self.do(self.doors[1].run(name))
            assert (summary is None) == (name not in self.model)
            if summary is not None:
                self.check_summary(summary)

    def check_summary(self, summary: RunSummary) -> None:
        run = self.model[summary.run_id]
        first, last = run.journal[0], run.journal[-1]
        assert summary[:6] == (first.run_id, first.tenant, run.status, first.at, last.at, len(run.journal))
        assert (summary.epoch, summary.mail, summary.taken) == (run.lease.epoch, len(run.inbox), run.taken)
        assert summary.holder == (run.lease.holder if run.is_held else "")
        assert (summary.held_until > 0) == run.is_held
        if run.is_held:
            left = summary.held_until - self.do(self.doors[0].time())
            assert left > HOUR - 300 if run.lease.ttl == HOUR else left <= BLINK
            assert left <= run.lease.ttl

    @invariant()
    def runs_are_listed_the_latest_first_page_by_page(self) -> None:
        ordered = sorted(self.model.values(), key=lambda run: (run.journal[0].at, run.journal[0].run_id), reverse=True)
        for tenant in TENANTS:
            for status in (None, "running", "paused"):
                wanted = [
                    run.journal[0].run_id
                    for run in ordered
                    if tenant in (None, run.journal[0].tenant) and status in (None, run.status)
                ]
                assert list(self.runs_by_page(tenant, cast(Any, status))) == wanted

    def runs_by_page(self, tenant: str | None, status: RunStatus | None) -> Iterator[str]:
        before: RunSummary | None = None
        while page := self.do(self.doors[0].runs(limit=2, before=before, tenant=tenant, status=status)):
            assert len(page) <= 2
            yield from (run.run_id for run in page)
            before = page[-1]

    @invariant()
    def questions_are_listed_the_oldest_first_page_by_page(self) -> None:
        every = [
            OpenQuestion(one.run_id, one.tenant, one.sequence, one.address, one.at, one.expires_at)
            for run in self.model.values()
            for one in run.questions
        ]
        every.sort(key=lambda one: (one.asked_at, one.run_id, one.sequence))
        for tenant in TENANTS[:2]:
            for run_id in (None, *NAMES[:2]):
                wanted = [one for one in every if tenant in (None, one.tenant) and run_id in (None, one.run_id)]
                assert list(self.questions_by_page(tenant, run_id)) == wanted

    def questions_by_page(self, tenant: str | None, run_id: str | None) -> Iterator[OpenQuestion]:
        after: OpenQuestion | None = None
        while page := self.do(self.doors[1].questions(limit=2, after=after, tenant=tenant, run_id=run_id)):
            assert len(page) <= 2
            yield from page
            after = page[-1]


class MemoryProtocol(Protocol):
    def opened(self, path: Path) -> Sequence[Store]:
        store = MemoryStore()
        return store, store


class SQLiteProtocol(Protocol):
    """Two stores on one file; and now and then one of them is opened anew, as a process that was restarted does."""

    def opened(self, path: Path) -> Sequence[Store]:
        self.path = path
        return SQLiteStore(path), SQLiteStore(path)

    @initialize()
    def no_run_is_there(self) -> None:
        assert not self.do(self.doors[0].runs())

    @precondition(lambda self: self.model)
    @rule()
    def open_anew(self) -> None:
        self.do(self.doors[1].close())
        self.doors = self.doors[0], SQLiteStore(self.path)


QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much)
TestMemoryProtocol = MemoryProtocol.TestCase
TestMemoryProtocol.settings = settings(max_examples=150, stateful_step_count=40, suppress_health_check=QUIET)
TestSQLiteProtocol = SQLiteProtocol.TestCase
TestSQLiteProtocol.settings = settings(max_examples=20, stateful_step_count=30, suppress_health_check=QUIET)


# ------------------------------------------------------------------------------------------------------ with real time


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")


def first(run_id: str, kind: str = "run_started", sequence: int = 1, **more: Any) -> Record:
    return Record(run_id, None, sequence, kind, "", "running" if kind in LIFE else "", 1.0, b"{}", **more)


def test_a_lease_runs_out_by_itself_and_an_append_or_a_renewal_makes_it_last_again(store: Store) -> None:
    async def main() -> None:
        lease = Lease("r", 1, "one", 0.5)
        await store.append([first("r")], lease)
        for sequence in (2, 3, 4):  # for longer than it lasts
            await asyncio.sleep(0.2)
            if sequence == 3:
                await store.renew(lease)
            else:
                await store.append([first("r", "step_started", sequence - (sequence == 4))], lease)
        with pytest.raises(RunBusy):
            await store.acquire("r", "two", 60)
        await asyncio.sleep(0.6)
        taken = await store.acquire("r", "two", 60)
        assert taken.epoch == 2
        with pytest.raises(LeaseLost):
            await store.renew(lease)
        await store.close()

    asyncio.run(main())


def test_a_question_expires_by_the_clock_of_the_store(store: Store) -> None:
    async def main() -> None:
        now = await store.time()
        asked = first("r", ASKED, 2, expires_at=now + 0.3, token_hash="0" * 64)
        await store.append([first("r"), asked], Lease("r", 1, "one", 60))
        vote = Mail("r", 0, "answer", 2, 0.0, b"1", "ann")
        if await store.time() < now + 0.2:  # a machine that stood still for a while proves nothing
            assert await store.post(vote, seen=0)
        await asyncio.sleep(0.4)
        with pytest.raises(QuestionExpired):
            await store.post(vote, seen=len(await store.mail("r")))
        assert [one.sequence for one in await store.questions()] == [2], "it stays open until a record closes it"
        await store.close()

    asyncio.run(main())


def test_many_who_post_at_once_with_the_same_sight_are_one_winner(store: Store) -> None:
    async def main() -> None:
        await store.append([first("r"), first("r", ASKED, 2, token_hash="0" * 64)], Lease("r", 1, "one", 60))
        mails = [Mail("r", 0, "answer", 2, 0.0, b"%d" % n, f"voter {n}") for n in range(50)]
        found = await asyncio.gather(*(store.post(mail, seen=0) for mail in mails))
        assert sum(found) == 1
        (kept,) = await store.mail("r")
        assert kept.voter == mails[found.index(True)].voter and kept.number == 1
        await store.close()

    asyncio.run(main())
