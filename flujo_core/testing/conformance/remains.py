"""What must hold of every trial, whatever happened in it: it ends, and the plugin leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

from flujo_core.testing.conformance.finding import place_raised
from flujo_core.testing.conformance.trial import Seen
from flujo_core.testing.conformance.witness import Witness

DO_NOT_FAIL = "a hook must not fail because another one was not called, or failed"


def flaws(seen: Seen, witness: Witness, plugin: str, *, is_closed: bool = True) -> Iterator[str]:
    """What a plugin did wrong, a sentence each.

    Args:
        seen: What was seen of the trial.
        witness: What was seen of the plugin.
        plugin: Its name.
        is_closed: Whether the plugin could do what it does to end what it began.
    """
    if seen.stuck:
        yield "the run did not come to an end; a hook must end when it is cancelled"
        return
    if (failure := seen.blames(plugin)) is not None:
        yield f"'{failure.hook}' {failure.what}{_place(failure.__cause__)}; {DO_NOT_FAIL}"
    else:
        for hook, raised in witness.failed:
            yield f"'{hook}' raised {type(raised).__name__}{_place(raised)}; {DO_NOT_FAIL}"
    yield from dict.fromkeys(witness.swallowed)
    for task in seen.left if is_closed else ():
        yield f"the task {task} was left behind; end it in 'on_shutdown', and wait until it has ended"
    for error in seen.unheard:
        yield f"nobody heard of {error}, a task; await the task"
    up, down = witness.ended["on_startup"], witness.began["on_shutdown"]
    if up != down and {"on_startup", "on_shutdown"} <= witness.hooks:
        yield f"it was started {up} times, and shut down {down} times"


def _place(error: BaseException | None) -> str:
    """Where an error was raised, in brackets."""
    place = "" if error is None else place_raised(error)
    return f" ({place})" if place else ""
