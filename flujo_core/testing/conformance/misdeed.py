"""Misdeeds: what a hook may do wrong, and a neighbour that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from flujo_core.config import Policy
from flujo_core.errors import PluginError
from flujo_core.hooks.spec import HOOKS, Plugin
from flujo_core.model.outcome import Veto
from flujo_core.testing.conformance.trial import Seen, current
from flujo_core.testing.conformance.witness import Injected
from flujo_core.testing.stand_in import Method

Deed: TypeAlias = Literal[
    "raises", "raises CancelledError", "hangs", "gives what it must not", "vetoes", "has the run cancelled"
]  # fmt: skip
"""What a hook does."""

FAILURES: tuple[Deed, ...] = ("raises", "raises CancelledError", "hangs", "gives what it must not")
"""Those that are failures of the hook."""

NEIGHBOUR = "flujo-testing-neighbour"


class Misdeed(NamedTuple):
    """What one hook of one plugin does wrong, the first time that it is called.

    Attributes:
        deed: What it does.
        hook: The hook.
        policy: What an error in the plugin means.
    """

    deed: Deed
    hook: str
    policy: Policy

    async def commit(self) -> Any:
        """Does it."""
        if self.deed == "raises":
            raise Injected
        if self.deed == "hangs":
            await asyncio.Event().wait()
        if self.deed == "raises CancelledError":  # as when a task that it waits for was cancelled
            raise asyncio.CancelledError
        if self.deed == "has the run cancelled":
            current().cancel()
            await asyncio.sleep(0)
            return None
        if self.deed == "vetoes":
            raise Veto("a conformance test refuses the run here")
        return object()

    @property
    def is_passed_over(self) -> bool:
        """Whether the run goes on as if the hook were not there."""
        return self.deed in FAILURES and self.policy == "open" and self.hook != "authorize"

    def is_shown_by(self, seen: Seen, plugin: str) -> bool:
        """Whether a trial ended as it must when that plugin did it, under a policy that does not pass it over."""
        cause = seen.cause
        if self.deed == "has the run cancelled":
            return isinstance(seen.error, asyncio.CancelledError)
        if self.hook not in ("on_startup", "on_shutdown") and seen.status != "refused":
            return False
        if self.deed == "vetoes":
            return isinstance(cause, Veto) and f"'{plugin}' refused the run in '{self.hook}'" in str(cause)
        return isinstance(cause, PluginError) and (cause.plugin, cause.hook) == (plugin, self.hook)

    def __str__(self) -> str:
        under = "" if self.deed == "has the run cancelled" else f" under the policy '{self.policy}'"
        return f"{self.deed} in '{self.hook}'{under}"


def misdeeds(hook: str) -> Iterator[Misdeed]:
    """All that a hook may do wrong, under both policies."""
    for deed in get_args(Deed):
        if deed == "has the run cancelled" and HOOKS[hook].kind == "notify":
            continue  # it has a task of its own: where the run would be cancelled is chance
        for policy in get_args(Policy):
            if (
                deed != "has the run cancelled" or policy == "closed"
            ):  # which is no failure, so that no policy is about it
                yield Misdeed(deed, hook, policy)


class Offender:
    """Does a misdeed in the place of a hook's first call.

    Attributes:
        reached: Whether it came to that.
    """

    def __init__(self, misdeed: Misdeed) -> None:
        self.misdeed = misdeed
        self.reached = False

    def around(self, hook: str, method: Method) -> Method:
        """What is called in the place of a hook."""
        if hook != self.misdeed.hook:
            return method

        async def offending(*given: Any) -> Any:
            if self.reached:
                return await method(*given)
            self.reached = True
            return await self.misdeed.commit()

        return offending

    def as_neighbour(self) -> Plugin:
        """A plugin that does nothing but the misdeed."""
        hook = self.misdeed.hook
        return neighbour(**{hook: self.around(hook, passing(hook))})


def neighbour(**methods: Method) -> Plugin:
    """A plugin with these hooks; they are called without ``self``."""
    space: dict[str, Any] = {"name": NEIGHBOUR}
    for hook, method in methods.items():
        space[hook] = _as_method(method)
    made: Plugin = type("Neighbour", (Plugin,), space)()
    return made


def _as_method(function: Method) -> Method:
    async def method(self: Plugin, /, *given: Any) -> Any:
        return await function(*given)

    return method


def passing(hook: str) -> Method:
    """A hook that changes nothing."""

    async def goes_on(about: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
        return await proceed()

    async def gives_none(*given: Any) -> None:
        return None

    return goes_on if HOOKS[hook].kind == "around" else gives_none
