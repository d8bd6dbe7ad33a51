"""One run while it goes on: what its parts know of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from flujo_core.engine.failure import Stopped
from flujo_core.engine.journal import Journal
from flujo_core.engine.later import given
from flujo_core.engine.migrations import NO_MIGRATIONS
from flujo_core.engine.past import Edge, Past
from flujo_core.engine.program import Program
from flujo_core.hooks.call import RunStart
from flujo_core.hooks.watchdog import Watch
from flujo_core.model.draft import State, draft
from flujo_core.model.outcome import Stop

if TYPE_CHECKING:
    from flujo_core.engine.design import Design
    from flujo_core.engine.shape import Shape
    from flujo_core.engine.typed import RunTypes
    from flujo_core.store.byte_codec import Hidden


UNWATCHED = Watch(None, 0)
"""What the watchdog sees of a run that calls no hooks: nothing."""


class LiveRun:
    """One run while it goes on."""

    __slots__ = (
        "bare", "cache", "cancelled", "context_type", "edge", "former", "hidden", "hooked", "hooks", "input",
        "journal", "ledger", "max_recoveries", "migrations", "models", "pipeline", "program", "resources", "shape",
        "start", "state", "streams_text", "threads", "types", "values", "watch", "watched",
    )  # fmt: skip

    def __init__(self, program: Program, journal: Journal, start: RunStart) -> None:
        self.journal = journal
        self.pipeline = program.label
        self.hooks = program.hooks
        self.hooked = program.on_steps
        self.watched = program.on_runs
        self.bare = not journal.live and not self.hooked
        self.streams_text = journal.listener is not None and not program.hooks.withholds_chunks
        self.context_type = program.context_type
        self.resources = program.resources
        self.models = program.models
        self.cache = program.cache
        self.input: Any = None
        self.start = start
        self.state: State = {}
        self.threads: dict[str, asyncio.Future[Any]] = {}
        self.edge: Edge | None = None
        self.former: dict[str, str] = {}
        self.migrations = NO_MIGRATIONS
        self.cancelled = False
        self.program = program
        self.ledger = None if program.metering is None else program.metering.ledger(journal)
        self.shape: Shape | None = None
        self.hidden: Hidden | None = None
        self.max_recoveries = program.recovery.most
        self.watch = Watch(asyncio.current_task(), program.hooks.timeout) if program.on_runs else UNWATCHED
        self.values = program.cache_values
        self.types = None if program.values is None else self._known_types()

    def _known_types(self) -> RunTypes | None:
        from flujo_core.engine.typed import known_types  # noqa: PLC0415 - few programs have value codecs

        return known_types(self)

    @property
    def design(self) -> Design | None:
        """What its pipeline is made of, to make parts of it anew; None where it cannot be changed."""
        return self.program.design

    def begin(self, start: RunStart) -> None:
        """Takes the start in as the plugins left it; what they see of its context from now on is a copy.

        Where none will see it, it is let go: a thousand runs that wait are a thousand contexts less.
        """
        if self.hooks.around_run is not None or self.hooks.end is not None:
            self.start = start._replace(context=draft(self.context_type, dict(self.state)))
        else:
            del self.start

    async def begin_resumed(self, program: Program, value: Any) -> None:
        """Tells the plugins that the run goes on; what they change in its input or its context is not used.

        Raises:
            Stopped: One stops it.
            Veto: One refuses it.
            PluginError: One failed.
        """
        hooks, context = self.hooks, draft(self.context_type, dict(self.state))
        if hooks.start is None and hooks.around_run is None and hooks.end is None:
            del self.start
            return
        self.start = self.start._replace(initial_input=given(value), context=context)
        if hooks.start is not None:
            changed = await hooks.start(self.watch, self.start)
            if isinstance(changed, Stop):
                raise Stopped(changed)

    def begin_again(self, past: Past, state: State) -> None:
        """Goes back to its start, with its past beside it."""
        self.state = state
        self.edge = Edge(past)
        self.shape = None
        self.former = {}
