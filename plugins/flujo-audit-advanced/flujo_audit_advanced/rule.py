"""Rule: which records are kept, how surely, and how much of a value is in them; the first that matches counts."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from flujo_core import ConfigurationError

Mode: TypeAlias = Literal["strict", "batch", "off"]
"""``strict``: what it tells of waits until it is durable, and is refused if it cannot be. ``batch``: nothing waits, and
what was lost is counted. ``off``: it is not kept."""

Level: TypeAlias = Literal["metadata", "digest", "full"]
"""What stands for values: nothing; a keyed digest; that, and where the value is kept, until it is erased."""

INTENTS: Final = (
    "app.started",
    "run.started",
    "run.resumed",
    "run.ending",
    "step.started",
    "model.requested",
    "tool.called",
)
"""The kinds that are written before what they tell of."""

OUTCOMES: Final = (
    "run.opened", "run.continued", "run.paused", "run.ended",
    "step.attempted", "step.completed", "step.failed", "attempt.failed", "segment.restarted",
    "node.started", "node.completed", "node.failed", "item.taken", "loop.decided", "branch.decided",
    "question.asked", "question.answered", "question.lapsed", "question.withdrawn", "vote.cast", "token.reissued",
    "call.completed", "model.answered", "model.failed", "tool.returned", "tool.failed",
    "pipeline.mutated", "agent.reconfigured", "change.refused",
    "budget.reserved", "budget.settled", "budget.refused",
)  # fmt: skip
"""The kinds that are written after it."""

KINDS: Final = frozenset((*INTENTS, *OUTCOMES))


class Rule(NamedTuple):
    """What is done with records of some kinds.

    Attributes:
        kinds: Patterns of kinds: ``step.*``, ``*.failed``.
        mode: How surely they are kept.
        level: What stands in them for values.
    """

    kinds: Sequence[str]
    mode: Mode = "batch"
    level: Level = "digest"


DEFAULTS: Final = (Rule(INTENTS, "strict"), Rule(("*",), "batch"))
"""What holds where no other rule matches: nothing is begun that is not on record."""


class Rules:
    """The rules of a deployment, and behind them ``DEFAULTS``.

    Args:
        given: The rules, of which the first that matches a kind counts.

    Raises:
        ConfigurationError: One matches no kind that there is, or says what cannot be.
    """

    def __init__(self, given: Sequence[Rule] = ()) -> None:
        for one in given:
            _check(one)
        everything = (*given, *DEFAULTS)
        self._of = {kind: next(one for one in everything if _matches(one, kind)) for kind in KINDS}

    def of(self, kind: str) -> Rule:
        """The rule that counts for a kind."""
        return self._of[kind]

    @property
    def is_strict(self) -> bool:
        """Whether nothing is begun that is not on record."""
        return all(self._of[kind].mode == "strict" for kind in INTENTS)

    @property
    def keeps_values(self) -> bool:
        """Whether values are kept of any kind."""
        return any(one.level == "full" and one.mode != "off" for one in self._of.values())


def _matches(rule: Rule, kind: str) -> bool:
    return any(fnmatchcase(kind, pattern) for pattern in rule.kinds)


def _check(rule: Rule) -> None:
    if isinstance(rule.kinds, str):
        raise ConfigurationError(f"'kinds' of a rule of the audit is a list, such as ['{rule.kinds}'], and not a text")
    for pattern in rule.kinds:
        if not any(fnmatchcase(kind, pattern) for kind in KINDS):
            raise ConfigurationError(f"a rule of the audit is for '{pattern}', and there is no such kind of record")
    for name, value, words in (("mode", rule.mode, get_args(Mode)), ("level", rule.level, get_args(Level))):
        if value not in words:
            known = ", ".join(f"'{word}'" for word in words)
            raise ConfigurationError(f"a rule of the audit has the {name} '{value}'; it is one of {known}")
