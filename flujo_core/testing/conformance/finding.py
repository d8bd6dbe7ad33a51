"""Finding: one thing that is wrong with a plugin. Remark: one that its author may want to know."""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Literal, NamedTuple, TypeAlias

Check: TypeAlias = Literal[
    "loading", "imports", "registrations", "runs", "blocking", "faults", "cancellation", "order"
]  # fmt: skip
"""The names of the checks, in the order in which they are made."""


class Finding(NamedTuple):
    """One thing that is wrong.

    Attributes:
        check: The check that found it.
        what: What was found, where, and what would work.
        when: What was going on, or empty.
    """

    check: Check
    what: str
    when: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.what}" + (f" ({self.when})" if self.when else "")


class Remark(NamedTuple):
    """What is not wrong, and worth knowing.

    Attributes:
        check: The check that came upon it.
        what: What it is.
    """

    check: Check
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def gathered(found: list[Finding]) -> list[Finding]:
    """The findings, each once; what was found several times says so."""
    times: dict[tuple[Check, str], list[str]] = {}
    for one in found:
        times.setdefault((one.check, one.what), []).append(one.when)
    return [Finding(check, what, _whens(whens)) for (check, what), whens in times.items()]


def _whens(whens: list[str]) -> str:
    different = list(dict.fromkeys(whens))
    more = len(different) - 1
    return different[0] + (f"; and {more} more such case{'s' * (more > 1)}" if more else "")


def said(error: BaseException) -> str:
    """What may be told of an error: its type, and where it was raised."""
    place = place_raised(error)
    return type(error).__name__ + (f" at {place}" if place else "")


def place_raised(error: BaseException) -> str:
    """The innermost place that an error went through that is not in Flujo; empty if there is none."""
    place, traceback = "", error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] != "flujo_core":
            place = place_of(traceback.tb_frame.f_code, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place


def place_of(code: CodeType, line: int) -> str:
    """A place in a program: ``plugin.py:12``, with the folder above it."""
    return f"{'/'.join(code.co_filename.replace(chr(92), '/').split('/')[-2:])}:{line}"


def where_in(frame: FrameType | None) -> str:
    """The innermost place of a stack that is not in the standard library or in Flujo; the innermost, if none is."""
    first = "" if frame is None else place_of(frame.f_code, frame.f_lineno)
    while frame is not None:
        if not _is_foreign(frame.f_globals.get("__name__", "")):
            return place_of(frame.f_code, frame.f_lineno)
        frame = frame.f_back
    return first


def _is_foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top == "flujo_core"
