"""Each of the twenty attacks that the documentation lists is a test."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parents[2] / "docs" / "explanation" / "audit-log.md"


def test_each_attack_of_the_documentation_is_a_test() -> None:
    rows = [line for line in PAGE.read_text().split("## The attacks")[1].splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 20
    for row in rows:
        file, name = re.findall(r"`(test_\w+\.py)` `(test_\w+)`", row)[0]
        assert f"def {name}(" in (TESTS / file).read_text(), row
