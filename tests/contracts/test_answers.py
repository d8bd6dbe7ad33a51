"""Answers: SEMANTICS 7 and 21, DESIGN section 5: one winner, for ever; who may answer, until when; what a token is."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pytest
from crash_kit import Counted, Passing, T, done, durable, events_in, eventually
from flow_kit import State
from pydantic import BaseModel

from flujo_core import (
    FlujoError,
    MemoryStore,
    Parallel,
    Plugin,
    RunCancelled,
    RunFailed,
    SQLiteStore,
    StepError,
    Store,
    UnknownRun,
    step,
)
from flujo_core.errors import (
    AlreadyAnswered,
    AmbiguousAnswer,
    AnswerError,
    NotAnApprover,
    QuestionExpired,
    UnknownQuestion,
)
from flujo_core.hooks.call import AuthorizationRequest, Decision
from flujo_core.model.human import HumanInput
from flujo_core.model.outcome import Default

SOON = timedelta(milliseconds=60)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")


def asking(ran: Counted, **terms: Any) -> Any:
    return ran.plus("a") >> ran.asks("ask", **terms) >> ran.plus("b", 10)


def fan(ran: Counted, **terms: Any) -> Any:
    return Parallel("fan", a=ran.asks("ask", **terms), b=ran.asks("ask", **terms)) >> ran.total()


async def answer_event(store: Store) -> Any:
    return next(event for event in await events_in(store) if event.kind == "question_answered")


# --------------------------------------------------------------------------------------------------------------- tokens


def test_a_token_is_redeemed_once_for_ever(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        assert (await flujo.resume_async("r", 5, token=token)).output == 15
        for answer in (5, 6):
            with pytest.raises(AlreadyAnswered):
                await flujo.resume_async("r", answer, token=token)
        assert ran["b"] == 1
        await store.close()

    done(main())


def test_of_many_who_answer_at_once_one_wins(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        others = [flujo, *(durable(asking(ran), store) for _ in range(3))]
        calls = [others[n % 4].resume_async("r", n, token=token) for n in range(20)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        kinds = Counter(type(one).__name__ for one in found)
        assert kinds == {"PipelineResult": 1, "AlreadyAnswered": 19}
        (winner,) = (n for n, one in enumerate(found) if not isinstance(one, BaseException))
        assert found[winner].output == winner + 10  # type: ignore[union-attr]
        assert ran == {"a": 1, "ask": 1, "b": 1}
        await store.close()

    done(main())


def test_without_a_token_the_only_question_has_one_winner_too(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        await flujo.run_async(1, run_id="r")
        found = await asyncio.gather(*(flujo.resume_async("r", n) for n in range(10)), return_exceptions=True)
        errors = [one for one in found if isinstance(one, BaseException)]
        assert len(errors) == 9 and all(isinstance(one, AnswerError) for one in errors), errors
        assert ran["b"] == 1
        with pytest.raises(AnswerError):
            await flujo.resume_async("r", 3)
        await store.close()

    done(main())


def test_a_wrong_token_answers_nothing(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        for wrong in ("", "x", token[:-1], token + "x", token.swapcase(), sha256(token.encode()).hexdigest()):
            with pytest.raises(UnknownQuestion):
                await flujo.resume_async("r", 5, token=wrong)
        assert ran["b"] == 0 and not await store.mail("r")
        assert (await flujo.resume_async("r", 5, token=token)).status == "completed"
        await store.close()

    done(main())


def test_a_token_of_another_run_answers_nothing() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        await flujo.run_async(1, run_id="s")
        with pytest.raises(UnknownQuestion):
            await flujo.resume_async("s", 5, token=token)

    done(main())


def test_a_token_is_given_out_once_by_the_call_whose_run_paused(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        assert (await flujo.run_async(1, run_id="r")).questions[0].token
        told = [
            *(await flujo.pending_async()),
            *(await flujo.run_async(1, run_id="r")).questions,
            *(await flujo.resume_async("r")).questions,
        ]
        assert [question.token for question in told] == [None, None, None]
        assert {question.address for question in told} == {"ask"}
        await store.close()

    done(main())


def test_reading_never_voids_a_token(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        await flujo.pending_async()
        await flujo.run_async(1, run_id="r")
        await flujo.resume_async("r")
        assert (await flujo.resume_async("r", 5, token=token)).status == "completed"
        await store.close()

    done(main())


def test_a_new_token_voids_the_one_before(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        tokens = [(await flujo.run_async(1, run_id="r")).questions[0].token]
        for _ in range(2):
            question = await flujo.reissue_async("r", "ask")
            assert question.address == "ask" and question.token and question.token not in tokens
            tokens.append(question.token)
        for old in tokens[:-1]:
            with pytest.raises(UnknownQuestion):
                await flujo.resume_async("r", 5, token=old)
        assert (await flujo.resume_async("r", 5, token=tokens[-1])).status == "completed"
        await store.close()

    done(main())


def test_of_two_who_ask_for_a_new_token_at_once_the_last_one_has_it() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        await flujo.run_async(1, run_id="r")
        asked = [flujo.reissue_async("r", "ask") for _ in range(5)]
        tokens = [one.token for one in await asyncio.gather(*asked)]
        assert len(set(tokens)) == 5
        good = 0
        for token in tokens:
            try:
                good += (await flujo.resume_async("r", 5, token=token)).status == "completed"
            except UnknownQuestion:
                pass
            except AlreadyAnswered:
                raise AssertionError("two tokens are good") from None
        assert good == 1

    done(main())


def test_a_new_token_for_what_is_not_asked_is_refused() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        with pytest.raises(UnknownRun):
            await flujo.reissue_async("r", "ask")
        await flujo.run_async(1, run_id="r")
        for address in ("a", "b", "asks"):
            with pytest.raises(UnknownQuestion):
                await flujo.reissue_async("r", address)
        await flujo.resume_async("r", 5)
        with pytest.raises(AnswerError):
            await flujo.reissue_async("r", "ask")

    done(main())


def test_a_store_has_the_hash_of_a_token_and_never_the_token(tmp_path: Path) -> None:
    ran, store = Counted(), SQLiteStore(tmp_path / "runs.db")

    async def main() -> None:
        flujo = durable(asking(ran), store)
        tokens = [(await flujo.run_async(1, run_id="r")).questions[0].token]
        hashes = [record.token_hash for record in await store.read("r") if record.token_hash]
        tokens.append((await flujo.reissue_async("r", "ask")).token)
        hashes += [mail.token_hash for mail in await store.mail("r")]
        await flujo.resume_async("r", 5, token=tokens[-1])
        assert hashes == [sha256(token.encode()).hexdigest() for token in tokens]
        await store.close()
        kept = b"".join(one.read_bytes() for one in tmp_path.iterdir())
        assert all(token.encode() not in kept for token in tokens)

    done(main())


def test_tokens_are_long_and_not_alike() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        tokens = {(await flujo.run_async(1)).questions[0].token for _ in range(20)}
        assert len(tokens) == 20 and all(len(token) >= 32 for token in tokens), "192 bits are 32 letters of base64"

    done(main())


# ------------------------------------------------------------------------------------------------------- which question


def test_without_a_token_several_open_questions_are_ambiguous() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(fan(ran), store)
        paused = await flujo.run_async(1, run_id="r")
        with pytest.raises(AmbiguousAnswer):
            await flujo.resume_async("r", 5)
        assert not await store.mail("r")
        await flujo.resume_async("r", 5, token=paused.questions[0].token)
        assert (await flujo.resume_async("r", 6)).output == 11, "one is left"

    done(main())


def test_an_answer_to_a_run_that_asks_nothing_is_refused() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(ran.plus("a"), store)
        await flujo.run_async(1, run_id="r")
        with pytest.raises(AnswerError):
            await flujo.resume_async("r", 5)
        with pytest.raises(UnknownRun):
            await flujo.resume_async("other", 5)

    done(main())


def test_pending_lists_the_open_questions_of_a_tenant_the_oldest_first() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        for run_id, tenant in (("r1", "x"), ("r2", "y"), ("r3", "x"), ("r4", None)):
            await flujo.run_async(1, run_id=run_id, tenant=tenant)
        assert [one.run_id for one in await flujo.pending_async()] == ["r1", "r2", "r3", "r4"]
        (first, second) = await flujo.pending_async(tenant="x")
        assert (first.run_id, second.run_id, first.tenant) == ("r1", "r3", "x")
        assert first.text == "How many, after 2?" and first.json_schema["type"] == "integer"
        await flujo.resume_async("r1", 5)
        assert [one.run_id for one in await flujo.pending_async()] == ["r2", "r3", "r4"]

    done(main())


# -------------------------------------------------------------------------------------------------------- valid answers


@pytest.mark.parametrize("wrong", ["many", [1], {"x": 1}, 1.5])
def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays_open(store: Store, wrong: Any) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        with pytest.raises(FlujoError) as refused:
            await flujo.resume_async("r", wrong, token=token)
        assert not isinstance(refused.value, RunFailed) and "many" not in str(refused.value)
        assert not await store.mail("r") and ran["b"] == 0
        assert (await flujo.resume_async("r", 5, token=token)).output == 15
        await store.close()

    done(main())


def test_an_answer_may_be_a_model_or_its_plain_data() -> None:
    class Approval(BaseModel):
        ok: bool
        note: str = ""

    async def main() -> None:
        for answer in (Approval(ok=True, note="x"), {"ok": True, "note": "x"}):
            flujo = durable(HumanInput("approve", Approval, ask="?"), MemoryStore())
            await flujo.run_async(1, run_id="r")
            result = await flujo.resume_async("r", answer)
            assert result.output == Approval(ok=True, note="x") and type(result.output) is Approval

    done(main())


# ------------------------------------------------------------------------------------------------------- who may answer


def test_only_an_approver_may_answer(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran, approvers=["ann", "bob"]), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        for stranger in (None, "", "eve", "Ann"):
            with pytest.raises(NotAnApprover):
                await flujo.resume_async("r", 5, token=token, approver=stranger)
        assert not await store.mail("r")
        assert (await flujo.resume_async("r", 5, token=token, approver="bob")).status == "completed"
        answered = await answer_event(store)
        assert (answered.approver, answered.verified) == ("bob", False), "the caller's string is taken, as unverified"
        await store.close()

    done(main())


class Doorman(Plugin):
    """Confirms who answers; eve is nobody."""

    name: ClassVar[str] = "doorman"

    def __init__(self) -> None:
        self.asked: list[AuthorizationRequest] = []

    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        if request.action != "answer":
            return None
        self.asked.append(request)
        return Decision.deny("nobody") if request.approver == "eve" else Decision.allow()


def test_a_plugin_confirms_who_answers() -> None:
    ran, store, doorman = Counted(), MemoryStore(), Doorman()

    async def main() -> None:
        flujo = durable(asking(ran), store, plugins=[doorman])
        await flujo.run_async(1, run_id="r", tenant="acme")
        with pytest.raises(FlujoError) as refused:
            await flujo.resume_async("r", 5, approver="eve")
        assert not isinstance(refused.value, RunFailed), "an answer is refused, the run is not"
        assert not await store.mail("r") and ran["b"] == 0
        assert (await flujo.resume_async("r", 5, approver="ann")).status == "completed"
        answered = await answer_event(store)
        assert (answered.approver, answered.verified) == ("ann", True)
        assert [(one.approver, one.address, one.tenant, one.run_id) for one in doorman.asked] == [
            ("eve", "ask", "acme", "r"), ("ann", "ask", "acme", "r"),
        ]  # fmt: skip

    done(main())


def test_an_authorize_that_fails_means_no() -> None:
    class Broken(Plugin):
        name: ClassVar[str] = "broken"

        async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
            if request.action == "answer":
                raise ValueError("on purpose")
            return None

    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran), store, plugins=[Broken()])
        await flujo.run_async(1, run_id="r")
        with pytest.raises(FlujoError):
            await flujo.resume_async("r", 5, approver="ann")
        assert not await store.mail("r") and ran["b"] == 0

    done(main())


# --------------------------------------------------------------------------------------------------------------- quorum


def quorum(ran: Counted, needs: int = 2) -> Any:
    return asking(ran, approvers=["ann", "bob", "cy"], quorum=needs)


def test_a_quorum_needs_so_many_who_give_the_same_answer(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(quorum(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        first = await flujo.resume_async("r", 5, token=token, approver="ann")
        assert first.status == "paused" and ran["b"] == 0
        (question,) = await flujo.pending_async()
        assert (question.votes, question.quorum) == (1, 2)
        second = await flujo.resume_async("r", 6, token=token, approver="bob")
        assert second.status == "paused", "another answer is not the same answer"
        result = await flujo.resume_async("r", 5, token=token, approver="cy")
        assert (result.status, result.output) == ("completed", 15)
        assert ran == {"a": 1, "ask": 1, "b": 1}
        await store.close()

    done(main())


def test_a_vote_is_single_use_per_question_and_approver() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(quorum(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        await flujo.resume_async("r", 5, token=token, approver="ann")
        for again in (5, 6):
            with pytest.raises(AlreadyAnswered):
                await flujo.resume_async("r", again, token=token, approver="ann")
        assert ran["b"] == 0
        await flujo.resume_async("r", 5, token=token, approver="bob")
        with pytest.raises(AlreadyAnswered):
            await flujo.resume_async("r", 5, token=token, approver="cy")
        assert ran["b"] == 1

    done(main())


def test_votes_that_are_cast_at_once_all_count() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(quorum(ran, 3), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        votes = [flujo.resume_async("r", 5, token=token, approver=name) for name in ("ann", "bob", "cy")]
        await asyncio.gather(*votes)
        result = await flujo.resume_async("r")
        assert result.output == 15 and ran == {"a": 1, "ask": 1, "b": 1}

    done(main())


# --------------------------------------------------------------------------------------------------------------- expiry


def test_an_answer_that_comes_too_late_is_refused(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran, expires_in=SOON), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        await asyncio.sleep(0.1)
        with pytest.raises(QuestionExpired):
            await flujo.resume_async("r", 5, token=token)
        assert ran["b"] == 0
        await store.close()

    done(main())


def test_a_question_that_nobody_answered_fails_its_step_at_the_next_resume() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran, expires_in=SOON), store)
        await flujo.run_async(1, run_id="r")
        await asyncio.sleep(0.1)
        with pytest.raises(RunFailed) as failed:
            await flujo.resume_async("r")
        assert isinstance(failed.value.__cause__, QuestionExpired) and isinstance(failed.value.__cause__, StepError)
        assert ran["b"] == 0 and not await flujo.pending_async()

    done(main())


def test_a_question_that_nobody_answered_may_stop_the_run() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran, expires_in=SOON, on_expiry="stop"), store)
        await flujo.run_async(1, run_id="r")
        await asyncio.sleep(0.1)
        assert (await flujo.resume_async("r")).status == "stopped" and ran["b"] == 0

    done(main())


def test_a_question_that_nobody_answered_may_have_a_default() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran, expires_in=SOON, on_expiry=Default(7)), store)
        await flujo.run_async(1, run_id="r")
        await asyncio.sleep(0.1)
        result = await flujo.resume_async("r")
        assert result.output == 17
        answered = await answer_event(store)
        assert answered.lapsed and answered.approver is None

    done(main())


def test_recover_enacts_what_has_expired() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(asking(ran, expires_in=SOON, on_expiry=Default(7)), store)
        await flujo.run_async(1, run_id="r")
        await durable(asking(ran), store).run_async(1, run_id="waits")
        await asyncio.sleep(0.1)
        (result,) = await flujo.recover_async()
        assert (result.run_id, result.output) == ("r", 17)
        assert [one.run_id for one in await flujo.pending_async()] == ["waits"]

    done(main())


# ------------------------------------------------------------------------------------------------ while the run goes on


class Slow(Counted):
    """A step that waits for a sign beside one that asks."""

    def __init__(self) -> None:
        super().__init__()
        self.sign = asyncio.Event()

    def beside(self) -> Any:
        @step
        async def slow(value: int, context: State) -> int:
            await self.sign.wait()
            return value

        return Parallel("fan", a=self.asks("ask") >> self.plus("b", 10), b=slow) >> self.total()


def test_an_answer_while_a_sibling_works_is_taken_in_by_who_has_the_lease(store: Store) -> None:
    async def main() -> None:
        ran = Slow()
        running = asyncio.create_task(durable(ran.beside(), store).run_async(1, run_id="r"))
        await eventually(store.questions)
        answered = await durable(ran.beside(), store).resume_async("r", 5)
        assert answered.status == "running" and not running.done()
        with pytest.raises(AlreadyAnswered):
            await durable(ran.beside(), store).resume_async("r", 6)
        ran.sign.set()
        result = await running
        assert (result.status, result.output) == ("completed", 16)
        assert ran == {"fan[a]/ask": 1, "fan[a]/b": 1, "total": 1}
        await store.close()

    done(main())


class Posting(Passing):
    """A store in which somebody answers in the very moment in which the run wants to pause."""

    def __init__(self) -> None:
        super().__init__()
        self.flujo: Any = None
        self.status = ""

    async def around(self, name: str, call: Any) -> T:
        if name == "append" and self.flujo is not None and await self.kept.questions():
            flujo, self.flujo = self.flujo, None
            self.status = (await flujo.resume_async("r", 5)).status
        found: T = await call()
        return found


def test_an_answer_between_the_question_and_the_pause_is_not_lost() -> None:
    ran, store = Counted(), Posting()

    async def main() -> None:
        store.flujo = durable(asking(ran), store.kept)
        result = await durable(asking(ran), store).run_async(1, run_id="r")
        assert store.status == "running"
        assert (result.status, result.output) == ("completed", 15), "the holder looks into the inbox before it pauses"
        assert ran == {"a": 1, "ask": 1, "b": 1}

    done(main())


# --------------------------------------------------------------------------------------------------------------- cancel


def test_a_paused_run_that_is_cancelled_is_cancelled_for_ever(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        flujo = durable(asking(ran), store)
        token = (await flujo.run_async(1, run_id="r")).questions[0].token
        assert (await flujo.cancel_async("r")).status == "cancelled"
        assert not await flujo.pending_async()
        with pytest.raises(AnswerError):
            await flujo.resume_async("r", 5, token=token)
        for call in (flujo.resume_async("r"), flujo.run_async(1, run_id="r")):
            with pytest.raises(RunCancelled) as raised:
                await call
            assert raised.value.result.status == "cancelled"
        assert ran == {"a": 1, "ask": 1}
        events = await events_in(store)
        assert [event.question for event in events if event.kind == "question_withdrawn"]
        await store.close()

    done(main())


def test_a_run_that_goes_on_elsewhere_is_cancelled_by_who_has_its_lease() -> None:
    async def main() -> None:
        ran, store = Slow(), MemoryStore()
        running = asyncio.create_task(durable(ran.beside(), store).run_async(1, run_id="r"))
        await eventually(store.questions)
        assert (await durable(ran.beside(), store).cancel_async("r")).status == "running"
        ran.sign.set()
        with pytest.raises(RunCancelled):
            await running
        summary = await store.run("r")
        assert summary and summary.status == "cancelled" and ran["total"] == 0

    done(main())


@pytest.mark.parametrize("first", ["answer", "cancel"])
def test_the_order_of_the_inbox_decides_between_an_answer_and_a_cancel(first: str) -> None:
    async def main() -> None:
        ran, store = Slow(), MemoryStore()
        running = asyncio.create_task(durable(ran.beside(), store).run_async(1, run_id="r"))
        await eventually(store.questions)
        other = durable(ran.beside(), store)
        if first == "answer":
            assert (await other.resume_async("r", 5)).status == "running"
            await other.cancel_async("r")
        else:
            await other.cancel_async("r")
            with suppress(AnswerError):  # refused at once, or not taken in
                assert (await other.resume_async("r", 5)).status == "running"
        ran.sign.set()
        with pytest.raises(RunCancelled):
            await running
        answered = [event for event in await events_in(store) if event.kind == "question_answered"]
        assert len(answered) == (first == "answer")

    done(main())


def test_cancelling_what_has_ended_changes_nothing() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        flujo = durable(ran.plus("a"), store)
        await flujo.run_async(1, run_id="r")
        before = list(await store.read("r"))
        assert (await flujo.cancel_async("r")).status == "completed"
        assert list(await store.read("r")) == before
        with pytest.raises(UnknownRun):
            await flujo.cancel_async("other")

    done(main())


def test_the_answer_to_a_question_whose_branch_has_ended_is_refused() -> None:
    ran, store = Counted(), MemoryStore()

    async def main() -> None:
        sign = asyncio.Event()

        @step
        async def bad(value: int) -> int:
            await sign.wait()
            raise ValueError("on purpose")

        flujo = durable(Parallel("fan", a=ran.asks("ask"), b=bad), store)
        running = asyncio.create_task(flujo.run_async(1, run_id="r"))
        await eventually(store.questions)
        token = (await flujo.reissue_async("r", "fan[a]/ask")).token
        sign.set()
        with pytest.raises(RunFailed):
            await running
        with pytest.raises(UnknownQuestion):
            await flujo.resume_async("r", 5, token=token)

    done(main())
