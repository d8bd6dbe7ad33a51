"""Branch: one of several cases runs, by what a function of the input says (DESIGN 4, SEMANTICS 1, 5)."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Literal

import pytest
from flow_kit import State, Watched, adds, alone, double, fail, kinds, logs, plus, ran, ran_async
from pydantic import BaseModel

from flujo_core import (
    Branch,
    DefinitionError,
    EdgeError,
    InvalidValue,
    Loop,
    NoCase,
    Parallel,
    SignatureError,
    SQLiteStore,
    StepError,
    Stop,
    step,
)


class Colour(Enum):
    RED = "r"
    DARK_BLUE = "b"


def parity(value: int) -> Literal["even", "odd"]:
    return "odd" if value % 2 else "even"


def sign(value: int) -> str:
    return "minus" if value < 0 else "zero" if not value else "plus"


by_parity: Any = Branch("route", on=parity).case("even", double).case("odd", plus)


# ---------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("store", [None, "memory://"])
def test_it_runs_the_case_that_on_names_and_gives_its_output(store: str | None) -> None:
    flujo = alone(by_parity, store=store)
    assert flujo.run(4).output == 8 and flujo.run(5).output == 6


def test_a_body_gets_the_input_of_the_branch() -> None:
    node = plus >> Branch("route", on=parity).case("even", adds("x", 100)).case("odd", adds("y", 1000))
    assert (ran(node, 1).output, ran(node, 2).output) == (102, 1003)


def test_the_default_runs_when_no_case_fits() -> None:
    node = Branch("route", on=sign).case("minus", double).default(plus)
    assert (ran(node, -4).output, ran(node, 4).output) == (-8, 5)


def test_without_a_default_what_no_case_fits_fails_the_run_with_no_case() -> None:
    def secret(value: int) -> str:
        return "CANARY"

    done = ran(Branch("route", on=secret).case("minus", double), 4)
    assert isinstance(done.cause, NoCase) and done.cause.address == "route"
    assert "'route'" in str(done.error) and "CANARY" not in str(done.error)
    assert done.state.nodes["route"].status == "failed"


def test_only_the_case_that_is_taken_runs() -> None:
    done = ran(Branch("route", on=parity).case("even", fail).case("odd", plus >> double), 3)
    assert done.output == 8 and done.addresses("step_started") == ["route[odd]/plus", "route[odd]/double"]


def test_adding_a_case_leaves_the_branch_as_it_is() -> None:
    begun = Branch("route", on=sign).case("minus", double)
    whole = begun.default(plus)
    assert ran(whole, 4).output == 5
    assert isinstance(ran(begun, 4).cause, NoCase)


def test_cases_may_be_numbers_bools_none_and_members_of_an_enum() -> None:
    def colour(value: int) -> Colour:
        return Colour.RED if value else Colour.DARK_BLUE

    def big(value: int) -> bool:
        return value > 10

    def maybe(value: int) -> int | None:
        return value or None

    by_colour = Branch("c", on=colour).case(Colour.RED, plus).case(Colour.DARK_BLUE, double)
    assert ran(by_colour, 1).addresses() == ["c[RED]/plus"]
    assert ran(by_colour, 0).addresses() == ["c[DARK_BLUE]/double"]
    by_size = Branch("b", on=big).case(True, plus).case(False, double)
    assert ran(by_size, 11).addresses() == ["b[True]/plus"]
    by_number = Branch("n", on=maybe).case(1, plus).case(None, double).default(adds("x"))
    assert ran(by_number, 1).addresses() == ["n[1]/plus"]
    assert ran(by_number, 0).addresses() == ["n[None]/double"]
    assert ran(by_number, 7).addresses() == ["n[~default]/x"]


def test_values_that_are_equal_and_not_the_same_are_not_mistaken() -> None:
    """``True == 1`` in Python; a case for 1 is none for True."""

    def on(value: int) -> Any:
        return True

    node = Branch("route", on=on).case(1, plus).default(double)
    assert ran(node, 3).addresses() in (["route[~default]/double"], ["route[1]/plus"])
    with pytest.raises(DefinitionError, match="'route'"):
        Branch("route", on=on).case(1, plus).case(True, double)


def test_an_unhashable_value_of_on_fails_the_node_and_not_the_process() -> None:
    def on(value: int) -> Any:
        return ["CANARY"]

    done = ran(Branch("route", on=on).case("a", plus).default(double), 3)
    assert done.result.status in ("failed", "completed") and "CANARY" not in str(done.error)
    assert done.result.status == "completed" or done.cause.address == "route"


# ---------------------------------------------------------------------------------------------------- on


def test_on_is_asked_once_and_may_take_the_context() -> None:
    asked: list[int] = []

    def by_count(value: int, context: State) -> str:
        asked.append(value)
        return "some" if context.count else "none"

    @step
    async def count(value: int, context: State) -> int:
        context.count += 1
        return value

    node = count >> Branch("route", on=by_count).case("some", plus).case("none", double)
    assert ran(node, 5).output == 6 and asked == [5]


def test_an_on_that_raises_fails_the_branch_as_if_a_leaf_in_it_had() -> None:
    def broken(value: int) -> str:
        raise ValueError("CANARY")

    done = ran(Branch("route", on=broken).case("a", plus), 5)
    assert isinstance(done.cause, StepError) and done.cause.address == "route"
    assert isinstance(done.cause.__cause__, ValueError) and "CANARY" not in str(done.error)


def test_an_on_that_changes_the_context_fails_the_branch() -> None:
    def spoils(value: int, context: State) -> str:
        context.notes.append("x")
        return "a"

    done = ran(Branch("route", on=spoils).case("a", plus))
    assert isinstance(done.cause, InvalidValue) and done.cause.address == "route"
    assert done.context.notes == []


def test_with_a_store_what_on_changes_in_its_input_is_not_seen_by_the_case() -> None:
    """Else a resumed run, which reads the recorded output, would not equal an undisturbed one."""

    @step
    async def make(value: int) -> list[int]:
        return [value]

    def spoils(value: list[int]) -> str:
        value.append(99)
        return "a"

    @step
    async def give(value: list[int]) -> list[int]:
        return value

    assert ran(make >> Branch("route", on=spoils).case("a", give)).output == [1]


# ---------------------------------------------------------------------------------------------------- addresses


def test_each_case_is_a_scope_and_its_name_is_percent_encoded() -> None:
    def on(value: int) -> str:
        return "a/b ~x"

    node = Branch("route", on=on).case("a/b ~x", plus >> double)
    assert ran(node).addresses() == ["route[a%2Fb%20%7Ex]/plus", "route[a%2Fb%20%7Ex]/double"]


def test_a_case_that_is_called_as_the_default_is_addressed_is_another() -> None:
    def on(value: int) -> str:
        return "~default" if value else "x"

    node = Branch("route", on=on).case("~default", plus).default(double)
    assert ran(node, 1).addresses() == ["route[%7Edefault]/plus"]
    assert ran(node, 0).addresses() == ["route[~default]/double"]


def test_two_cases_may_have_steps_of_the_same_name() -> None:
    node = Branch("route", on=parity).case("even", plus).case("odd", plus)
    assert ran(node, 3).addresses() == ["route[odd]/plus"]


# ---------------------------------------------------------------------------------------------------- context


def test_a_case_shares_the_context_around_it() -> None:
    node = logs("a") >> Branch("route", on=parity).case("even", logs("b")).case("odd", logs("c")) >> logs("d")
    done = ran(node, 3)
    assert done.context.log == ["a", "c", "d"] == done.state.context["log"]
    assert done.one("node_started", "route").scopes == ()


def test_what_a_case_had_committed_stays_when_it_then_fails() -> None:
    node = Branch("route", on=parity).case("even", plus).case("odd", logs("c") >> fail)
    assert ran(node, 3).state.context["log"] == ["c"]


# ---------------------------------------------------------------------------------------------------- decisions


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_decision_is_in_the_same_append_as_the_commit_that_it_reads(kind: str, tmp_path: Any) -> None:
    store = Watched(SQLiteStore(tmp_path / "runs.db") if kind == "sqlite" else None)

    async def main() -> None:
        await ran_async(plus >> by_parity >> double.named("last"), 2, store=store)
        await store.close()

    asyncio.run(main())
    batch = kinds(store.batch_of("step_completed", "plus"))
    assert "branch_decided route" in batch and "step_started route[odd]/plus" in batch


def test_the_decision_in_a_loop_and_a_branch_is_in_the_append_of_its_commit() -> None:
    node = Parallel("fan", a=Loop("l", plus >> by_parity, until=bool, max_iterations=1), b=plus)
    done = ran(node, 2)
    assert "branch_decided fan[a]/l[1]/route" in kinds(done.store.batch_of("step_completed", "fan[a]/l[1]/plus"))


def test_its_events_say_what_happened() -> None:
    done = ran(by_parity, 3)
    assert kinds(done.events) == [
        "run_started", "node_started route", "branch_decided route",
        "step_started route[odd]/plus", "step_completed route[odd]/plus", "node_completed route", "run_ended",
    ]  # fmt: skip
    assert done.one("branch_decided", "route").case == "odd" == done.state.nodes["route"].case
    assert done.one("node_started", "route").node == "branch"


# ---------------------------------------------------------------------------------------------------- types


def test_the_output_is_the_union_of_what_its_cases_give_without_those_that_never_do() -> None:
    @step
    async def text(value: int) -> str:
        return "x"

    @step
    async def stops(value: int) -> Stop:
        return Stop("odd")

    @step
    async def of_text(value: str) -> str:
        return value

    with pytest.raises(EdgeError, match=r"'route' gives 'int \| str'.*'of_text'.*'str'"):
        Branch("route", on=sign).case("minus", plus).default(text) >> of_text  # type: ignore[operator]
    node = Branch("route", on=parity).case("odd", stops).case("even", text) >> of_text
    assert ran(node, 2).output == "x"
    assert ran(node, 1).result.status == "stopped"


def test_a_case_may_take_less_than_the_branch_gets_where_on_has_told_them_apart() -> None:
    class Mail(BaseModel):
        text: str

    class Call(BaseModel):
        seconds: int

    def kind(value: Mail | Call) -> Literal["mail", "call"]:
        return "mail" if isinstance(value, Mail) else "call"

    @step
    async def of_mail(mail: Mail) -> str:
        return mail.text

    @step
    async def of_call(call: Call) -> str:
        return str(call.seconds)

    made: Any = Branch("route", on=kind)
    node = made.case("mail", of_mail).case("call", of_call)
    assert alone(node).run(Mail(text="x")).output == "x"
    assert alone(node).run(Call(seconds=5)).output == "5"


# ---------------------------------------------------------------------------------------------------- what it refuses


def test_cases_are_checked_for_completeness_where_on_declares_what_it_gives() -> None:
    def colour(value: int) -> Colour:
        return Colour.RED

    def big(value: int) -> bool:
        return True

    def either(value: int) -> Literal["a", "b"] | None:
        return None

    with pytest.raises(DefinitionError, match=r"'route' has no case for 'odd'.*'parity'"):
        Branch("route", on=parity).case("even", plus).check()
    with pytest.raises(DefinitionError, match="DARK_BLUE"):
        Branch("route", on=colour).case(Colour.RED, plus).check()
    with pytest.raises(DefinitionError, match="False"):
        Branch("route", on=big).case(True, plus).check()
    with pytest.raises(DefinitionError, match="None"):
        Branch("route", on=either).case("a", plus).case("b", plus).check()
    Branch("route", on=parity).case("even", plus).default(double).check()
    Branch("route", on=sign).case("minus", plus).check()


def test_missing_cases_are_found_at_any_depth_and_by_flujo() -> None:
    inner: Any = Branch("route", on=parity).case("even", plus)
    for whole in (
        Parallel("fan", a=inner),
        Loop("l", inner, until=bool, max_iterations=2),
        (plus >> inner).named("scope"),
        plus.policy(fallback=inner),
    ):
        with pytest.raises(DefinitionError, match=r"'route' has no case for 'odd'"):
            alone(whole)


def test_what_cannot_be_is_refused_when_it_is_made() -> None:
    made: Any = Branch("route", on=parity)

    async def awaits(value: int) -> str:
        return ""

    def nothing() -> str:
        return ""

    other: Any = Branch
    with pytest.raises(DefinitionError, match=r"'evn'.*'route'.*did you mean 'even'"):
        made.case("evn", plus)
    with pytest.raises(DefinitionError, match=r"'route' has two cases 'even'"):
        made.case("even", plus).case("even", double)
    with pytest.raises(DefinitionError, match="two defaults"):
        made.default(plus).default(double)
    with pytest.raises(DefinitionError, match=r"default of branch 'route' is never taken"):
        made.case("even", plus).case("odd", plus).default(double).check()
    with pytest.raises(DefinitionError, match=r"case 'even' of branch 'route'"):
        made.case("even", 5)
    with pytest.raises(DefinitionError, match="a case of branch 'route'"):
        made.case(("even",), plus)
    with pytest.raises(DefinitionError, match="'route' has no cases"):
        made.check()
    with pytest.raises(SignatureError, match="'on' of branch 'route' is async"):
        other("route", on=awaits)
    with pytest.raises(SignatureError, match="'on' of branch 'route'"):
        other("route", on=nothing)
    with pytest.raises(SignatureError, match="'on' of branch 'route'"):
        other("route", on="queue")


def test_both_edges_of_a_case_are_checked() -> None:
    @step
    async def of_text(value: str) -> str:
        return value

    @step
    async def words(value: int) -> str:
        return ""

    route: Any = Branch("route", on=sign)
    with pytest.raises(EdgeError, match=r"case 'minus' of branch 'route'.*'int'.*'of_text'.*'str'"):
        route.case("minus", of_text).check()
    with pytest.raises(EdgeError, match=r"'words' gives 'str'.*'route'.*'int'"):
        words >> route.case("minus", plus)
