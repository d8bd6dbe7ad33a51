"""What an agent's tools change in the context: each call has its own draft; calls side by side merge as branches do.

Calls that may run side by side make a *segment*: they see the state as it was when the segment began, whichever of them
ends first, and are merged when it has ended, in the order in which the model asked for them. A tool that runs alone is
a segment of its own, so what comes after it sees what it did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import itemgetter
from typing import TYPE_CHECKING

from flujo_core.model.draft import State, draft, own, source, touch, touched
from flujo_core.model.merge import merged
from flujo_core.model.patch import NO_PATCH, Patch, apply, changes, patch_adapter
from flujo_core.model.view import view

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext

_IN_CALLS: ContextVar[dict[ToolDrafts, PipelineContext]] = ContextVar("flujo_tool_drafts")
"""The drafts of the tool calls that the code runs in, by whose they are."""


class ToolCall:
    """A tool call that is under way.

    Args:
        changed: Tells what the call has changed in its draft.

    Attributes:
        patch: What counts of it.
    """

    __slots__ = ("_changed", "patch")

    def __init__(self, changed: Callable[[], Patch] | None = None) -> None:
        self._changed = changed
        self.patch = NO_PATCH

    def commit(self) -> None:
        """What the call has changed counts.

        Raises:
            InvalidValue: A field of the context has a value that does not fit.
        """
        if self._changed is not None:
            self.patch = self._changed()


class ToolDrafts:
    """The drafts of the tool calls of one attempt of an agent step.

    Args:
        attempt: The attempt's own draft: what the calls come to is in it in the end.
        restored: Whether a patch is to be what the journal gives back of it.

    Attributes:
        context: What the agent's dependencies have of the context: in a tool call its draft, elsewhere the attempt's.
    """

    def __init__(self, attempt: PipelineContext, restored: bool) -> None:
        self._attempt = attempt
        self._kind = type(attempt)
        self._fields = patch_adapter(self._kind)
        self._restored = restored
        self._base: State | None = None
        self._began = 0
        self._patches: list[tuple[int, str, Patch]] = []
        self.context = view(self._kind, self)

    def current(self) -> PipelineContext:
        """The draft of the tool call that the code runs in, or the attempt's."""
        return _IN_CALLS.get({}).get(self, self._attempt)

    @contextmanager
    def call(self, place: int, tool: str, alone: bool) -> Iterator[ToolCall]:
        """A tool is called.

        Args:
            place: Its place among the calls that the model asked for at once.
            tool: Its name.
            alone: Whether no other call runs beside it.

        Raises:
            ContextConflict: The calls before it, which have ended, cannot be merged.
        """
        if alone:
            self.join()
        base = self._begun()
        made = draft(self._kind, base)
        under_way = ToolCall(lambda: self._patch(made, base))
        token = _IN_CALLS.set({**_IN_CALLS.get({}), self: made})
        try:
            yield under_way
        finally:
            _IN_CALLS.reset(token)
        if under_way.patch:
            self._patches.append((place, tool, under_way.patch))
        if alone:
            self.join()

    def _begun(self) -> State:
        """What the calls of the segment see; it begins with the first of them."""
        self._began += 1
        if self._base is None:
            self._base = {**(source(self._attempt) or {}), **touched(self._attempt)}
        return self._base

    def _patch(self, made: PipelineContext, base: State) -> Patch:
        """What has been changed in a draft, validated.

        Raises:
            InvalidValue: A field has a value that does not fit.
        """
        found = changes(touched(made), base, self._fields.growing)
        valid = self._fields.validate(found) if found else NO_PATCH
        return self._fields.encoded(valid)[1] if valid and self._restored else valid

    def join(self) -> None:
        """Ends the segment: what its calls changed is in the attempt's draft from here on.

        Raises:
            ContextConflict: Two of them changed one field that has no reducer, or one broke its reducer's rule.
        """
        base, self._base = self._base, None
        ended, self._patches = sorted(self._patches, key=itemgetter(0)), []
        began, self._began = self._began, 0
        if base is None or not ended:
            return
        branches = [(name, _patched(base, patch)) for name, patch in _numbered(ended)]
        if began > 1:
            found = merged(self._kind, base, branches)
        else:  # one after the other, setting a field is setting it
            found = {field: branches[0][1][field] for field in ended[0][2]}
        touch(self._attempt, {field: own(value) for field, value in found.items()})


def _patched(base: State, patch: Patch) -> State:
    state = base.copy()
    apply(state, patch)
    return state


def _numbered(ended: Iterable[tuple[int, str, Patch]]) -> Iterator[tuple[str, Patch]]:
    """The patches with the names of their tools, told apart."""
    counts: Counter[str] = Counter()
    for _, tool, patch in ended:
        counts[tool] += 1
        yield f"{tool}#{counts[tool]}" if counts[tool] > 1 else tool, patch
