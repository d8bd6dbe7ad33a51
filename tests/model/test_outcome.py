"""Outcomes: what cannot be asked, and what their reprs do not show."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_core import DefinitionError, PauseForHumanInput


def test_a_question_is_text() -> None:
    question: Any = 1
    with pytest.raises(DefinitionError, match="a question is text, not 'int'"):
        PauseForHumanInput(question, bool)


def test_a_repr_does_not_show_what_is_asked() -> None:
    assert repr(PauseForHumanInput("CANARY?", bool)) == "PauseForHumanInput(...)"
