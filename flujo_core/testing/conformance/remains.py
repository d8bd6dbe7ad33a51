"""What must hold of every trial, whatever happened in it: it ends, and the plugin leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

from flujo_core.testing.conformance.trial import Seen
from flujo_core.testing.conformance.witness import Witness


def flaws(seen: Seen, witness: Witness) -> Iterator[str]:
    """What the plugin did wrong, a sentence each."""
    if seen.stuck:
        yield "the run did not come to an end; a hook must end when it is cancelled"
        return
    yield from dict.fromkeys(witness.swallowed)
    for task in seen.left:
        yield f"the task {task} was left behind; end it in 'on_shutdown', and wait until it has ended"
    for error in seen.unheard:
        yield f"nobody heard of {error}, a task; await the task"
    up, down = witness.ended["on_startup"], witness.began["on_shutdown"]
    if up != down and {"on_startup", "on_shutdown"} <= witness.hooks:
        yield f"it was started {up} times, and shut down {down} times"
