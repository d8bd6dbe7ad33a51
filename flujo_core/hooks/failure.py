"""What it means that a hook went wrong: the run is refused, or the failure is logged, counted and passed over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from flujo_core.config import Policy
from flujo_core.errors import PluginError
from flujo_core.hooks.call import AuthorizationRequest, StepCall
from flujo_core.hooks.watchdog import Watch
from flujo_core.log import warning
from flujo_core.model.check import type_name
from flujo_core.model.outcome import Veto
from flujo_core.model.slotted import NamedTuple

INTERRUPTS = (KeyboardInterrupt, GeneratorExit)
"""What comes out of a hook and is not its doing. All else that it raises is: an exit ends no process."""


class Implementation(NamedTuple):
    """One plugin's implementation of one hook.

    Attributes:
        function: The bound method.
        hook: The hook's name.
        plugin: The plugin's name.
        distribution: What brought the plugin, or None.
        version: That distribution's version, or None.
        policy: What an error in it means.
    """

    function: Callable[..., Any]
    hook: str
    plugin: str
    distribution: str | None
    version: str | None
    policy: Policy = "closed"

    def failed(self, what: str, about: object) -> PluginError:
        """The error that says what this implementation did wrong.

        Args:
            what: What it did: "raised ValueError".
            about: What it was called with.
        """
        return PluginError(
            what,
            plugin=self.plugin,
            distribution=self.distribution,
            version=self.version,
            hook=self.hook,
            step=step_of(about),
        )


class Refusal(Veto):
    """A veto, with who raised it and where."""

    def __init__(self, reason: str, by: Implementation, about: object) -> None:
        step = step_of(about)
        place = f" before step '{step}' was committed" if step else ""
        Exception.__init__(self, f"plugin '{by.plugin}' refused the run in '{by.hook}'{place}: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return Veto, (str(self),)


class Failures:
    """What the failures of one set of plugins mean.

    Attributes:
        passed_over: How often each plugin's failures were passed over, by its name.
    """

    def __init__(self) -> None:
        self.passed_over: Counter[str] = Counter()

    async def tell(self, by: Implementation, watch: Watch, *given: object) -> bool:
        """Calls a hook that answers nothing; False if it failed and that was passed over.

        Args:
            by: The hook.
            watch: What the watchdog sees.
            given: What the hook is called with.
        """
        try:
            answer = await watch.seen(by.function(*given))
        except BaseException as error:
            self.settle(error, by, watch, None)
            return False
        if answer is not None:
            self.fail(by.failed(wrong(answer), None), by)
        return answer is None

    def settle(self, error: BaseException, by: Implementation, watch: Watch, about: object) -> None:
        """Raises what an error in a hook means; returns if it is to be passed over.

        Args:
            error: What the hook raised.
            by: The hook.
            watch: What the watchdog saw of it; a cancellation that is not the watchdog's goes through.
            about: What the hook was called with.
        """
        watch.pending = None
        if isinstance(error, INTERRUPTS):
            raise error
        if watch.expired is not None:
            if not watch.acknowledge():
                raise asyncio.CancelledError from error
            self.fail(by.failed(f"took longer than {watch.timeout:g} s", about), by, error)
        elif isinstance(error, asyncio.CancelledError) and watch.is_cancelled:
            raise error
        elif isinstance(error, Veto):
            raise Refusal(error.reason, by, about) from error
        else:
            self.fail(by.failed(f"raised {type(error).__name__}", about), by, error)

    def fail(self, failure: PluginError, by: Implementation, cause: BaseException | None = None) -> None:
        """Raises a failure, or logs and counts it, as the plugin's policy says."""
        if by.policy == "closed":
            raise failure from cause
        self.pass_over(failure, by)

    def pass_over(self, failure: PluginError | Veto, by: Implementation) -> None:
        """Logs and counts a failure."""
        self.passed_over[by.plugin] += 1
        count = self.passed_over[by.plugin]
        warning("plugin.failure_passed_over", plugin=by.plugin, hook=by.hook, failure=str(failure), count=count)


def step_of(about: object) -> str | None:
    """The address of the step that a hook is called about, or None."""
    return about.address or None if isinstance(about, StepCall | AuthorizationRequest) else None


def wrong(answer: object, *allowed: type, none: bool = True) -> str:
    """What a hook did that gave something that it must not.

    Args:
        answer: What it gave.
        allowed: The classes of what it may give; if it is of the first, it is not whole.
        none: Whether it may give None.
    """
    if allowed and type(answer) is allowed[0]:
        remedy = ": make it with 'replace'" if hasattr(answer, "replace") else ""
        return f"gave back a '{allowed[0].__name__}' that is not whole{remedy}"
    names = [f"'{type_name(one)}'" for one in allowed]
    *most, last = [*names, "None"] if none else names
    what = f"{', '.join(most)} or {last}" if most else last
    return f"gave back {type(answer).__name__!r}, not {what},"
