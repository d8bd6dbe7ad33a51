"""Difference: what stands against a run going on with other code; a sentence that says what was found, and the remedy.

The functions here make these sentences; ``compatibility.py`` knows when they are due.
"""

from __future__ import annotations

from collections.abc import Sequence

from flujo_core.errors import did_you_mean
from flujo_core.model.manifest import Facts
from flujo_core.model.slotted import NamedTuple

GIVE_UP = "or let the run end with the code that it was begun with"


class Difference(NamedTuple):
    """Something that stands against going on.

    Attributes:
        address: The node's address as ``walk`` gives it for the code that the run has; of a new node, for the new code.
        message: What was found, and what would mend it: a sentence.
    """

    address: str
    message: str

    def __str__(self) -> str:
        return self.message


class Passed(NamedTuple):
    """A part of a scope in which nodes must stay where they are.

    Attributes:
        why: Why they must.
        remedy: Where a new one can go.
    """

    why: str
    remedy: str


PASSED = Passed("the run has passed that place", "put it behind all that has begun")


def unfinished(address: str) -> Passed:
    """All of the body of a loop, or map, that has not ended."""
    return Passed(f"'{address}' has not ended, and may be in any place of its body", f"put it behind '{address}'")


def ended(address: str) -> Passed:
    """All of a node that has ended."""
    return Passed(f"'{address}' has ended", f"put it behind '{address}' and all else that has begun")


def gone(one: Facts, heir: Facts | None, others: Sequence[Facts], address: str, passed: Passed) -> Difference:
    """A node that has begun is not there, and ``heir`` seems to be what it is now."""
    found = f"'{address}' is not there any more, and {passed.why}: put it back"
    if heir is not None:
        return Difference(address, f"{found}, or, if it is '{heir.name}' now, say so by 'was=\"{one.name}\"'")
    close = did_you_mean(one.name, [other.name for other in others])
    return Difference(address, found + (close if close.startswith("; did") else ""))


def added(address: str, passed: Passed, *, moved: bool) -> Difference:
    """A node is, or has come, where it would be skipped."""
    if moved:
        return Difference(
            address,
            f"'{address}' now stands before what has begun, and would be skipped, as {passed.why}: put it back",
        )
    return Difference(
        address, f"'{address}' is new in a place where it would be skipped, as {passed.why}: {passed.remedy}, {GIVE_UP}"
    )


def swapped(address: str, other: str, passed: Passed) -> Difference:
    """A node that has begun stands before another that it stood behind."""
    return Difference(
        address,
        f"'{address}' now stands before '{other}', and stood after it; {passed.why}: put them back in that order",
    )


def other_kind(old: Facts, new: Facts, address: str) -> Difference:
    """A node that has begun is of another kind."""
    return Difference(
        address,
        f"'{address}' was of the kind '{old.kind}' and is of the kind '{new.kind}' now, and has begun: make it one"
        f" again, {GIVE_UP}",
    )


def lost(old: Facts, address: str, part: str) -> Difference:
    """A part of a node is not there in which the run is, or was."""
    return Difference(address, f"{old.kind} '{address}' has lost its {part}, in which the run is or was: put it back")


def other_parts(old: Facts, address: str, had: Sequence[str], has: Sequence[str]) -> Difference:
    """A node has other branches or cases."""
    return Difference(
        address,
        f"{old.kind} '{address}' has begun with the parts {_listed(had)}, and has {_listed(has)} now: put them back,"
        f" {GIVE_UP}",
    )


def other_apart(old: Facts, address: str) -> Difference:
    """What is done in a node is kept apart until it succeeds, and was not; or the other way round."""
    change = "has lost its last" if old.apart else "has got its first"
    return Difference(
        address,
        f"{old.kind} '{address}' is under way and {change} retry, timeout, fallback or cache, so that what is done in"
        f" it would belong to another context: leave that as it was, {GIVE_UP}",
    )


def other_version(old: Facts, new: Facts, address: str) -> Difference:
    """An open node has a version that it cannot come to."""
    had, has = (f"version '{one.version}'" if one.version else "no version" for one in (old, new))
    if not new.version:
        return Difference(address, f"'{address}' is under way with {had}, and has {has} now: give it that again")
    remedy = f"say how it goes on, by 'migrations={{\"{old.version}\": ...}}'"
    return Difference(address, f"'{address}' is under way with {had}, and has {has} now: {remedy}, {GIVE_UP}")


def other_fact(old: Facts, address: str, what: str, had: str, has: str) -> Difference:
    """Something of an open node that must not change is not as it was."""
    return Difference(
        address,
        f"'{address}' is under way, and its {what} was {_quoted(had)} and is {_quoted(has)} now: put it back, or give"
        f" it another 'version' and 'migrations={{\"{old.version}\": ...}}'",
    )


def _quoted(said: str) -> str:
    return {"": "a lambda", "-": "not given"}.get(said, f"'{said}'")


def _listed(segments: Sequence[str]) -> str:
    return ", ".join(f"'{one.strip('[]')}'" for one in segments)
