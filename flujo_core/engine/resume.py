"""How a run goes on that began earlier: its code is compared, its lease taken, its mail read, its past replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flujo_core.engine.ending import stored_result
from flujo_core.engine.finder import changes_in, finder
from flujo_core.engine.inbox import (
    Said,
    check_ballot,
    check_verified,
    chosen,
    post_answer,
    post_cancel,
    post_token,
    take_in,
)
from flujo_core.engine.journal import Journal, now
from flujo_core.engine.lease import acquired, keeper
from flujo_core.engine.live import LiveRun
from flujo_core.engine.migrations import NO_MIGRATIONS, Era, Migrations
from flujo_core.engine.program import Program
from flujo_core.engine.question import answer_type, imported
from flujo_core.engine.run import brought_to_end, past_of
from flujo_core.engine.start import input_digest
from flujo_core.engine.story import Story
from flujo_core.engine.survey import Survey
from flujo_core.errors import AlreadyAnswered, IncompatiblePipeline, RunBusy, RunExists, UnknownQuestion, UnknownRun
from flujo_core.hooks.call import AuthorizationRequest, RunStart
from flujo_core.hooks.watchdog import Watch
from flujo_core.log import warning
from flujo_core.model.agent import ToolApproval
from flujo_core.model.compatibility import Comparison, compare
from flujo_core.model.difference import Difference
from flujo_core.model.event import NO_ORIGIN, Origin, QuestionAsked, RunEvent, RunResumed, ScopeChanged
from flujo_core.model.manifest import Manifest
from flujo_core.model.question import Question, response_name, validated_answer
from flujo_core.model.result import PipelineResult, RunFailed, question_of
from flujo_core.model.run import QuestionState, fold
from flujo_core.model.value import encoded
from flujo_core.store.codec import decode
from flujo_core.store.coded import hidden_of
from flujo_core.store.protocol import Record, Store

if TYPE_CHECKING:
    from flujo_core.engine.offshoot import Fork

OpenJournal = Callable[[str, str | None], Journal]
"""Makes the journal of a run, by its id and its tenant."""


class Answer(NamedTuple):
    """What somebody answers.

    Attributes:
        value: The answer.
        token: The token of the question, or None.
        approver: Whose answer it is, or None.
    """

    value: Any
    token: str | None
    approver: str | None


class Resumption:
    """One call that wants a run to go on.

    Args:
        program: What the run is to go on with.
        store: Where it is.
        run_id: The run.
        open_journal: Makes its journal.
    """

    def __init__(self, program: Program, store: Store, run_id: str, open_journal: OpenJournal) -> None:
        self._program = program
        self._store = store
        self._run_id = run_id
        self._open_journal = open_journal
        self._read: tuple[Record, ...] = ()

    async def records(self) -> Sequence[Record]:
        """The run's records; those that were read before are not read again.

        Raises:
            UnknownRun: There is no such run.
        """
        self._read = (*self._read, *await self._store.read(self._run_id, after=len(self._read)))
        if not self._read:
            raise UnknownRun(f"there is no run '{self._run_id}' in the store")
        return self._read

    async def go_on(
        self, answer: Answer | None = None, *, retry_failed: bool = False, cancelling: bool = False
    ) -> PipelineResult[Any, Any]:
        """Answers, if there is an answer, and goes on if there is anything to go on with.

        Args:
            answer: What somebody answers, or None.
            retry_failed: Whether what has failed is tried again.
            cancelling: Whether the run is only to be ended, which it can be with any program.

        Raises:
            AnswerError: The answer cannot be taken.
            InvalidValue: It does not fit.
            IncompatiblePipeline: The run cannot go on with this program.
            RunBusy: Somebody else goes on with it, and there was no answer.
            RunFailed: It failed, was refused or cancelled: now, or before.
        """
        records = await self.records()
        survey = Survey(records)
        if survey.is_over and answer is None and not (retry_failed and survey.status == "failed"):
            return stored_result(self._program, records)
        comparison = Comparison() if cancelling else self.compared(records, survey)
        if answer is not None:
            await self._answer(answer, comparison.renames)
        elif survey.status == "paused" and not await self._has_news(survey):
            return stored_result(self._program, records)
        try:
            journal = await self._taken(records[0].tenant)
        except RunBusy:
            if answer is None:
                raise
            return stored_result(self._program, await self.records(), running=True)
        return await self._held(journal, records, comparison, retry_failed)

    async def _held(
        self, journal: Journal, known: Sequence[Record], comparison: Comparison, retry_failed: bool
    ) -> PipelineResult[Any, Any]:
        """Goes on with the lease; gives it back where there is nothing to go on with after all."""
        handed_over = False
        try:
            records = await self.records()
            survey = Survey(records)
            if survey.is_over and not (retry_failed and survey.status == "failed"):
                return stored_result(self._program, records)
            if len(records) > len(known):
                comparison = self.compared(records, survey)
            journal.subject = survey.origin.subject
            run = self._live(journal, records)
            run.migrations = self._migrations(survey, comparison, len(records))
            run.hidden = hidden_of(self._program.codecs, survey.origin)
            handed_over = True
            return await brought_to_end(
                self._program, run, lambda: self._begin(run, records, survey, comparison, retry_failed)
            )
        finally:
            if not handed_over:
                await self._store.release(journal.lease)

    async def _taken(self, tenant: str | None) -> Journal:
        journal = self._open_journal(self._run_id, tenant)
        journal.lease = await acquired(self._store, self._run_id)
        journal.is_held = True
        journal.written = now()
        return journal

    def _live(self, journal: Journal, records: Sequence[Record]) -> LiveRun:
        journal.earlier, journal.sequence = records, len(records)
        began = self._program.context_type.model_construct()
        start = RunStart(self._run_id, journal.tenant, self._program.label, None, began, True, journal.subject)
        return LiveRun(self._program, journal, start)

    async def _begin(
        self, run: LiveRun, records: Sequence[Record], survey: Survey, comparison: Comparison, retry_failed: bool
    ) -> Any:
        """Stages that the run goes on, and what its inbox has; gives its input."""
        journal, program = run.journal, self._program
        survey.rename(comparison.renames)
        journal.asked = {sequence: one.asked.address for sequence, one in survey.ballots.items()}
        changed = comparison.renames or survey.origin.manifest != program.origin.manifest
        known, origin = survey.origin, NO_ORIGIN
        if changed:
            origin = program.origin.hiding_as(known, known.input_digest)
        event = RunResumed(*journal.head("", now()), origin, retry_failed, dict(comparison.renames))
        journal.stage(event)
        if run.ledger is not None:
            await run.ledger.restore([*records, *journal.staged])
        summary = await self._store.run(self._run_id)
        assert summary is not None
        journal.has_taken(summary.taken)
        mail = await self._store.mail(self._run_id, after=summary.taken)
        taken = take_in(journal, survey.ballots, mail, await self._store.time())
        run.cancelled = taken.cancelled and not survey.is_over  # who cancels what has ended changes nothing
        if run.cancelled:
            return None
        value = past_of(program, run, [*records, *journal.staged])  # not appended before the past was taken in
        await run.begin_resumed(program, value)
        return value

    def compared(self, records: Sequence[Record], survey: Survey) -> Comparison:
        """What the run meets in this program.

        Raises:
            IncompatiblePipeline: Something stands against going on.
        """
        found = self.comparison(records, survey)
        if found.differences:
            raise IncompatiblePipeline(self._run_id, map(str, found.differences))
        for one in found.warnings:
            warning("run.code_changed", run_id=self._run_id, change=one)
        return found

    def comparison(self, records: Sequence[Record], survey: Survey) -> Comparison:
        """As ``compared``, whatever it is."""
        origin, program = survey.origin, self._program
        missing = [name for name in origin.plugins if name not in program.origin.plugins]
        lost = tuple(
            f"plugin '{name}' was required when the run began, and is not required now; install and require it"
            for name in missing
        )
        changes = changes_in(records)
        if not origin.manifest or (origin.manifest == program.origin.manifest and not changes):
            found = Comparison()
        else:
            found = self._compared(records, origin, changes)
        return found._replace(differences=(*found.differences, *lost)) if lost else found  # type: ignore[arg-type]

    def _compared(self, records: Sequence[Record], origin: Origin, changes: Sequence[ScopeChanged]) -> Comparison:
        program, changed = self._program, {}
        if changes:
            from flujo_core.engine.shape import facts_of  # noqa: PLC0415 - few runs change their pipeline

            try:
                changed = facts_of(program, changes)
            except IncompatiblePipeline as error:
                return Comparison(tuple(Difference("", one) for one in error.differences))
        old, new = Manifest.from_json(origin.manifest), Manifest.from_json(program.origin.manifest)
        refuses = program.recovery.refuses_body_changes
        return compare(old, new, fold(map(decode, records)), changed, refuse_body_changes=refuses)

    async def events(self, after: int) -> Sequence[RunEvent]:
        """The run's events after one.

        Raises:
            UnknownRun: There is no such run.
        """
        return list(Story(await self.records(), (), self._program))[after:]

    async def fork(self, fork: Fork) -> None:
        """Begins a run that keeps what is not causally after an address of this one.

        Raises:
            UnknownAddress: Nothing has run there.
            IncompatiblePipeline: The fork could not go on with this program.
            RunExists: The store has a run of the fork's id.
            Veto: A plugin does not let it begin.
        """
        from flujo_core.engine.offshoot import begun_fork, forked  # noqa: PLC0415 - few programs do that

        records = forked(await self.records(), fork)
        self.compared(records, Survey(records))
        hooks = self._program.hooks
        if hooks.authorize is not None:
            about = (fork.run_id, records[0].tenant, self._program.label, "", None)
            await hooks.authorize(Watch(None, hooks.timeout), AuthorizationRequest("start_run", *about))
        await begun_fork(self._program, self._store, records)

    async def replay(self) -> PipelineResult[Any, Any]:
        """What the run has come to, or where it is, from its records alone; checked against what they say of its end.

        Raises:
            ReplayMismatch: They contradict each other.
        """
        from flujo_core.engine.replay import replayed  # noqa: PLC0415 - few programs do that

        records = await self.records()
        return replayed(self._program, records, await self._store.run(self._run_id))

    async def would_meet(self) -> Comparison:
        """What the run would meet in this program if it went on."""
        records = await self.records()
        survey = Survey(records)
        return Comparison() if survey.is_over and survey.status != "failed" else self.comparison(records, survey)

    async def cancel(self) -> PipelineResult[Any, Any]:
        """Posts that the run is to be cancelled; ends it, if nobody else goes on with it."""
        records = await self.records()
        try:
            if Survey(records).is_over:
                return stored_result(self._program, records)
        except RunFailed as failed:
            return failed.result
        await post_cancel(self._store, self._run_id)
        await keeper().look(self._run_id)
        try:
            return await self.go_on(cancelling=True)
        except RunFailed as failed:
            return failed.result
        except RunBusy:
            return stored_result(self._program, await self.records(), running=True)

    async def check_input(self, value: Any, tenant: str | None) -> None:
        """Checks that the run was begun with this input.

        Raises:
            RunExists: It was begun with another one, or for another tenant.
        """
        records = await self.records()
        digest = input_digest(encoded(value, self._program.takes, "the input")[0])
        known = Survey(records[:1]).origin.input_digest
        if records[0].tenant != tenant or (known and known != digest):
            what = "for another tenant" if records[0].tenant != tenant else "with another input"
            raise RunExists(f"run '{self._run_id}' is in the store already, begun {what}; give the new run another id")

    def _migrations(self, survey: Survey, comparison: Comparison, last: int) -> Migrations:
        """What turns recorded outputs into ones of the present versions."""
        manifest = self._program.origin.manifest
        if all(era.manifest == manifest for era in survey.eras):
            return NO_MIGRATIONS
        return Migrations([*survey.eras, Era(last + 1, manifest, comparison.renames)], self._program.nodes)

    async def _has_news(self, survey: Survey) -> bool:
        """Whether a run that waits has anything to go on with: mail, or a question whose time is over."""
        summary = await self._store.run(self._run_id)
        assert summary is not None
        if summary.mail > summary.taken:
            return True
        ends = [one.asked.terms.expires_at for one in survey.ballots.values() if one.asked.terms.expires_at is not None]
        return bool(ends) and min(ends) <= await self._store.time()

    async def _answer(self, answer: Answer, names: Mapping[str, str]) -> None:
        """Posts an answer, in one compare-and-swap.

        Raises:
            AnswerError: It cannot be taken.
            InvalidValue: It does not fit.
            Veto: A plugin does not let it be given.
        """
        verified: bool | None = None
        while True:
            seen, current = await self._with_mail()
            current.rename(names)
            ballot = chosen(current.ballots, current.closed, answer.token, self._run_id)
            check_ballot(ballot, answer.approver)
            hint = self._hint(ballot.asked)
            data, _ = validated_answer(answer.value, hint, f"the answer to '{ballot.asked.address}'")
            if verified is None:
                verified = await self._authorized(ballot.asked, answer)
                check_verified(verified, self._program.recovery.refuses_unverified, ballot.asked.address)
            try:
                said = Said(data, answer.approver, verified)
                if await post_answer(self._expecting(hint, ballot.asked), self._run_id, ballot, said, seen):
                    return
            except UnknownQuestion:
                if answer.token is None:
                    raise AlreadyAnswered(f"the question of '{ballot.asked.address}' is not open any more") from None

    def _expecting(self, hint: Any, asked: QuestionAsked) -> Store:
        """The store; one with value codecs knows what the answer is."""
        if self._program.values is None:
            return self._store
        from flujo_core.engine.typed import expecting  # noqa: PLC0415 - few programs have value codecs

        return expecting(self._store, hint, asked, Survey(self._read[:1]).origin.subject)

    async def _with_mail(self) -> tuple[int, Survey]:
        """The journal with what the inbox says of it; and the number of the last mail."""
        mail = await self._store.mail(self._run_id)
        records = await self.records()
        summary = await self._store.run(self._run_id)
        assert summary is not None
        new = [one for one in mail if one.number > summary.taken]
        return (mail[-1].number if mail else 0), Survey(records).with_mail(new)

    def _hint(self, asked: QuestionAsked) -> Any:
        """The type of an answer."""
        if asked.source == "step":
            return answer_type(self._run_id, finder(self._program, self._read)(asked.address).gives, asked)
        if asked.source == "tool":
            approval = bool | ToolApproval
            return approval if asked.response == response_name(approval) else Any
        return imported(asked.response) or Any

    async def _authorized(self, asked: QuestionAsked, answer: Answer) -> bool:
        """Whether a plugin has confirmed that somebody may answer; False if none has a say.

        Raises:
            Veto: One has said no.
        """
        hooks = self._program.hooks
        if hooks.authorize is None:
            return False
        about = (self._run_id, asked.tenant, self._program.label, asked.address, None, answer.approver)
        return await hooks.authorize(Watch(None, hooks.timeout), AuthorizationRequest("answer", *about))

    async def reissue(self, address: str) -> Question:
        """Gives an open question a new token; the one before is void.

        Raises:
            UnknownQuestion: There is none at that address.
            AlreadyAnswered: It has its answer.
        """
        while True:
            seen, survey = await self._with_mail()
            ballot = next((one for one in survey.ballots.values() if one.asked.address == address), None)
            if ballot is None:
                raise UnknownQuestion(f"run '{self._run_id}' has no open question at '{address}'")
            if ballot.is_answered:
                raise AlreadyAnswered(f"the question of '{address}' has its answer")
            token = await post_token(self._store, self._run_id, ballot, seen)
            if token is not None:
                return question_of(QuestionState(ballot.asked), token)
