"""What must hold of a run that was killed and resumed, against one that was left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from kit import Known, Trial

BEGINS = ("start", "call", "pre")
"""The notes of what must not happen again for what was committed."""


def problems(whole: Trial, trial: Trial) -> Iterator[str]:
    """Everything that is not as it must be."""
    yield from trial.trouble
    if trial.outcome is None or trial.after is None:
        return
    if trial.outcome != whole.outcome:
        yield f"unequal: {trial.outcome} instead of {whole.outcome}"
    yield from _of_journal(whole, trial.after)
    for stage, before in trial.befores.items():
        yield from _run_again(before, [one for one in trial.log if one["stage"] >= stage])
    yield from _lost(whole, trial)
    yield from _too_often(whole, trial)
    yield from _of_keys(whole, trial)


def _of_journal(whole: Trial, after: Known) -> Iterator[str]:
    if after.sequences != list(range(1, len(after.sequences) + 1)):
        yield f"gaps: the journal has the records {after.sequences}"
    if after.epochs != sorted(after.epochs):
        yield f"epochs: {after.epochs}"
    assert whole.after
    if whole.outcome and whole.outcome["status"] == "failed":
        return  # how far the siblings of a failure come is a matter of chance
    for what in ("committed", "asked", "ended", "failed"):
        mine, theirs = sorted(getattr(after, what)), sorted(map(_plain, getattr(whole.after, what)))
        if list(map(_plain, mine)) != theirs:
            yield f"journal: {what} {mine} instead of {theirs}"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _run_again(before: Known, later: list[dict[str, Any]]) -> Iterator[str]:
    """What was durable when a stage began, and all the same was called in it or after."""
    over = {*before.committed, *before.asked, *before.ended, *before.calls}
    attempts = {tuple(one) for one in before.failed}
    for one in later:
        if one["what"] in BEGINS and one["address"] in over:
            yield f"committed, and run again: {one}"
        if one["what"] == "start" and (one["address"], one["attempt"]) in attempts:
            yield f"an attempt that had failed was made again: {one}"


def _lost(whole: Trial, trial: Trial) -> Iterator[str]:
    """Whoever was committed has run to its end, in some process."""
    if whole.outcome and whole.outcome["status"] == "failed":
        return
    ended = {one["address"] for one in trial.log if one["what"] == "end"}
    for address in {one["address"] for one in whole.log if one["what"] == "end"}:
        if address not in ended:
            yield f"lost: '{address}' never ran to its end"


def _too_often(whole: Trial, trial: Trial) -> Iterator[str]:
    """A body runs once more for each kill that met it between its begin and its commit, and never else."""
    if whole.outcome and whole.outcome["status"] == "failed":
        return
    most = Counter(one["address"] for one in whole.log if one["what"] == "start")
    for stage, before in trial.befores.items():
        over = {*before.committed, *before.asked, *before.ended}
        begun = {one["address"] for one in trial.log if one["stage"] == stage - 1 and one["what"] == "start"}
        most.update(begun - over)
    for address, times in Counter(one["address"] for one in trial.log if one["what"] == "start").items():
        if times > most[address]:
            yield f"too often: '{address}' began {times} times; {most[address]} are accounted for"


def _of_keys(whole: Trial, trial: Trial) -> Iterator[str]:
    keys = {one["address"]: one["key"] for one in whole.log if one["what"] == "start"}
    if len(set(keys.values())) < len(keys):
        yield f"keys: two steps have the same: {keys}"
    last = 0
    for one in trial.log:
        if one["what"] == "start":
            if one["key"] != keys.get(one["address"], one["key"]):
                yield f"keys: {one} has another key than in the run that was left alone"
            if one["epoch"] < last:
                yield f"epochs: {one} ran under an older lease than one before it"
            last = max(last, one["epoch"])
