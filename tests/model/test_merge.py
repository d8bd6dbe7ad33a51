"""How the contexts of branches become one."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_core import ContextConflict, DefinitionError, Merge, PipelineContext
from flujo_core.model.merge import merged


def of(rule: Merge, base: Any) -> type[PipelineContext]:
    return type("State", (PipelineContext,), {"__annotations__": {"field": Annotated[Any, rule]}, "field": base})


def joined(rule: Merge, base: Any, *values: Any) -> Any:
    branches = [(f"fan[{place}]", {"field": value}) for place, value in enumerate(values)]
    return merged(of(rule, base), {"field": base}, branches).get("field", base)


@pytest.mark.parametrize(
    ("rule", "base", "values", "expected"),
    [
        (Merge.append, ["a"], (["a", "b"], ["a"], ["a", "c"]), ["a", "b", "c"]),
        (Merge.union, {1}, ({1, 2}, {1, 3}), {1, 2, 3}),
        (Merge.union, [1], ([1, 2], [1, 2, 3]), [1, 2, 3]),
        (Merge.union, {"a": 1}, ({"a": 1, "b": 2}, {"a": 1, "b": 2}), {"a": 1, "b": 2}),
        (Merge.max, 3, (5, 1), 5), (Merge.max, None, (5, 1), 5), (Merge.min, 3, (5, 4), 3), (Merge.min, None, (5,), 5),
        (Merge(lambda base, values: base + sum(value - base for value in values)), 10, (11, 13), 14),
    ],
)  # fmt: skip
def test_each_reducer_merges_in_order(rule: Merge, base: Any, values: tuple[Any, ...], expected: Any) -> None:
    assert joined(rule, base, *values) == expected


@pytest.mark.parametrize(
    ("rule", "base", "values", "said"),
    [
        (Merge.append, ["a"], (["a", "b"], ["c", "a"]), "'fan[1]' did something else than append"),
        (Merge.append, ["a"], ([],), "'fan[0]' did something else"),
        (Merge.union, {1}, ({2},), "'fan[0]' took something away"),
        (Merge.union, [1], ([2],), "'fan[0]' took something away"),
        (Merge.union, {"a": 1}, ({},), "'fan[0]' changed what was in it"),
        (Merge.union, {}, ({"b": 1}, {"b": 2}), "'fan[0]' and 'fan[1]' gave one key different values"),
        (Merge(lambda base, values: 1 / 0), 1, (2,), "raised ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_breaks_the_rule_is_told_with_who_did(rule: Merge, base: Any, values: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ContextConflict) as conflict:
        joined(rule, base, *values)
    assert said in str(conflict.value) and "'field'" in str(conflict.value)


def test_a_rule_says_what_it_is() -> None:
    def total(base: int, values: list[int]) -> int:
        return sum(values)

    assert repr(Merge.append) == "Merge.append" and repr(Merge(total)) == "Merge(total)"


@given(st.lists(st.integers()), st.lists(st.lists(st.integers()), min_size=1))
def test_appends_of_all_branches_are_there_in_the_order_of_the_branches(base: list[int], more: list[list[int]]) -> None:
    assert joined(Merge.append, base, *([*base, *one] for one in more)) == [
        *base,
        *(item for one in more for item in one),
    ]


def test_a_rule_that_is_no_function_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"a Merge is a function .* not 'str'"):
        Merge("append")  # type: ignore[arg-type]
