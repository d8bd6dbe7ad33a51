"""What a plugin does to the context, kept apart until it has answered: one that fails under ``open`` leaves nothing."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from functools import wraps
from typing import Any

from flujo_core.hooks.call import StepCall
from flujo_core.hooks.failure import Implementation
from flujo_core.model.draft import State, draft, take, touch


def apart(one: Implementation, *answers: type) -> Implementation:
    """The implementation of a step hook, with a draft of its own if its policy is ``open``.

    Args:
        one: The implementation.
        answers: The classes of what it may answer, beside None.
    """
    if one.policy == "closed":
        return one
    function: Callable[..., Any] = one.function

    @wraps(function)
    async def called(call: StepCall, *more: Any) -> Any:
        kind, base, _ = drafting = call.drafting
        before = take(drafting)
        drafting[1] = ChainMap(before, base)
        kept: State = before
        try:
            answer = await function(call, *more)
            if answer is None or isinstance(answer, answers):
                kept = before | take(drafting)
            return answer
        finally:
            drafting[1], drafting[2] = base, None
            if kept:
                drafting[2] = touch(draft(kind, base), kept)

    return one._replace(function=called)
