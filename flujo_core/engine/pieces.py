"""Where the pieces of one step's output go as they come: through the plugins, to listeners, to the next step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from flujo_core.engine.channel import Channel
from flujo_core.engine.frame import owned
from flujo_core.engine.journal import now
from flujo_core.errors import InvalidValue
from flujo_core.model.check import bare, type_name
from flujo_core.model.event import Chunk
from flujo_core.model.value import adapter, flaws

if TYPE_CHECKING:
    from flujo_core.engine.attempt import Execution
    from flujo_core.engine.plan import Yield

WHAT = "a piece of its output"


class Pieces:
    """The pieces of one step.

    Args:
        work: The step's execution.
        channel: Where the next step takes them, or None.
        collects: Whether the whole is needed.

    Attributes:
        collects: Whether the whole is needed.
    """

    __slots__ = ("_attempt", "_channel", "_has_left", "_is_text", "_is_whole", "_item", "_kept", "_work", "collects")

    def __init__(self, work: Execution, channel: Channel | None = None, *, collects: bool = True) -> None:
        self._work = work
        self._channel = channel
        self._item = str if work.plan.item is None else work.plan.item  # of an agent that answers as a whole: its text
        self._is_text = bare(self._item) is str
        self._kept: list[Any] = []
        self._attempt = 0
        self._has_left = False
        self._is_whole = False
        self.collects = collects

    @property
    def _withholds(self) -> bool:
        """Whether no piece leaves before hooks have seen the whole."""
        return self._work.run.hooks.withholds_chunks

    def begin(self, attempt: int) -> None:
        """Begins anew, in another attempt.

        Raises:
            InvalidValue: Pieces of an earlier one have gone into the next step.
        """
        if self._has_left and self._channel is not None:
            raise InvalidValue("pieces of it have left for the next step, and it cannot begin again")
        self._attempt, self._kept, self._is_whole = attempt, [], False

    async def give(self, piece: Any) -> bool:
        """Takes in a piece; False if nobody wants more.

        Raises:
            InvalidValue: It does not fit.
            Veto: A plugin refuses it.
            PluginError: A plugin failed.
        """
        piece = self._checked(piece)
        if self._withholds:
            self._kept.append(piece)
            return True
        if self._work.run.hooks.chunk is not None:
            return await self._transformed(self._chunk(piece))
        return await self._leave(piece)

    async def end(self) -> None:
        """Takes in that there are no more; plugins may let go of what they have held back."""
        self._is_whole = True
        if not self._withholds and self._work.run.hooks.chunk is not None:
            await self._transformed(self._chunk("" if self._is_text else None, last=True))

    async def complete(self, output: Any, said: str) -> None:
        """Takes in what an agent has made in the end, and that there is no more: what of it was not told is told now.

        Args:
            output: What it has made.
            said: The text that it has given.

        Raises:
            InvalidValue: It does not fit.
            Veto: A plugin refuses it.
            PluginError: A plugin failed.
        """
        if not self._is_text:
            await self.give(output)
        elif isinstance(output, str) and output.startswith(said) and output != said:
            await self.give(output[len(said) :])
        await self.end()

    def outcome(self, output: Any) -> Any:
        """What an agent's output is, of which pieces have left as plugins let them."""
        if self._is_text:
            return self.whole()
        seen = self._work.run.hooks.chunk is not None and not self._withholds
        return self._kept[-1] if seen and self._kept else output

    def whole(self) -> Any:
        """What they are together: of those that were taken, where the next step did not want all of them."""
        kept = self._kept
        if self._channel is not None and self._channel.is_left and not self._withholds:
            kept = kept[: self._channel.taken]
        return "".join(kept) if self._is_text else kept

    async def finish(self, made: Yield) -> None:
        """Lets the whole leave, where that has waited for the hooks, and ends the stream.

        Raises:
            StepError: Pieces have gone into the next step, and hooks have put something else in the place of a failed
                output.
        """
        if self._channel is not None and self._has_left and not self._is_whole:
            gone = InvalidValue("it failed when pieces of it had left, and nothing else can stand for the rest")
            raise self._work.failure(gone, made.attempt) from gone
        if not self._has_left and self.collects:
            for piece in pieces_of(made.restored, self._work.plan.gives_item):
                if not await self._leave(piece):
                    break
        if self._channel is not None:
            self._channel.end()

    def _checked(self, piece: Any) -> Any:
        try:
            return adapter(self._item).validator.validate_python(piece)
        except ValidationError as error:
            found = flaws(error, self._item)
            raise InvalidValue(f"{WHAT} is not a '{type_name(self._item)}': {found}") from None

    def _chunk(self, piece: Any, *, last: bool = False) -> Chunk:
        journal, text, item = self._work.run.journal, "", None
        if self._is_text:
            text = piece
        else:
            item = piece
        head = (journal.run_id, journal.tenant, journal.sequence, now(), self._work.address)
        return Chunk(*head, self._attempt, text, item, last)

    async def _transformed(self, chunk: Chunk) -> bool:
        """What the plugins make of a piece; False if nobody wants more."""
        hook = self._work.run.hooks.chunk
        assert hook is not None
        chunk = await hook(self._work.frame.watch, self._work.call, chunk)
        if self._is_text:
            return not chunk.text or await self._leave(self._checked(chunk.text))
        return (chunk.last and chunk.item is None) or await self._leave(self._checked(chunk.item))

    async def _leave(self, piece: Any) -> bool:
        journal = self._work.run.journal
        self._has_left = True
        if self.collects and not self._withholds:
            self._kept.append(piece)
        if journal.listener is not None:
            await journal.listener.put(self._chunk(piece))
        if self._channel is None or await self._channel.put(owned(piece, WHAT) if self.collects else piece):
            return True
        self._is_whole = True  # it is all that was wanted
        return False


def pieces_of(whole: Any, is_one: bool) -> Sequence[Any]:
    """The pieces of what was collected before.

    Args:
        whole: What was collected.
        is_one: Whether it counts as one piece, as text does.
    """
    return (whole,) if is_one else whole
