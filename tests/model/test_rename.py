"""Addresses of a run when nodes have got other names."""

from __future__ import annotations

import pytest

from flujo_core.model.rename import renamed

RENAMES = {
    "a": "b",
    "a[*]/x": "b[*]/y",
    "fan[left]/q": "fan[left]/z",
    "a~fallback/f": "b~fallback/g",
    "s": "t",
    "t": "s",
}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a", "b"),
        ("a[1]", "b[1]"),
        ("a#2[3]/x", "b#2[3]/y"),
        ("a[k%2Fv]/x!tool.call_1", "b[k%2Fv]/y!tool.call_1"),
        ("a[1]/x#2~fallback/x", "b[1]/y#2~fallback/x"),
        ("a~fallback", "b~fallback"),
        ("a~fallback/f", "b~fallback/g"),
        ("a[1]/xx", "b[1]/xx"),
        ("fan[left]/q", "fan[left]/z"),
        ("fan#3[left]/q[2]/q", "fan#3[left]/z[2]/q"),
        ("fan[right]/q", "fan[right]/q"),
        ("ab/x", "ab/x"),
        ("q/a", "q/a"),
        ("s/t", "t/t"),
        ("t", "s"),
        ("", ""),
    ],
)
def test_a_name_is_another_one_where_it_is_that_nodes(address: str, expected: str) -> None:
    assert renamed(address, RENAMES) == expected


def test_without_renames_an_address_stays_the_same_object() -> None:
    address = "a/b/c"
    assert renamed(address, {}) is address
