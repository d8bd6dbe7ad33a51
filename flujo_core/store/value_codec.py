"""Value codecs: what turns the values that a store keeps into other values, and back, knowing what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic_core import PydanticSerializationError, from_json, to_json

from flujo_core.errors import CodecError
from flujo_core.model.slotted import NamedTuple

if TYPE_CHECKING:
    from flujo_core.model.label import LabelledPath

ValueKind: TypeAlias = Literal[
    "input", "output", "context", "patch", "item", "question", "answer", "state", "error", "reason", "feedback",
    "model", "tool", "change",
]  # fmt: skip
"""What a value is: the input of a run, the output of a step or run, the context that a run began with, a change of it,
an item of an async source, the text of a question, an answer (or its default), what is to go on behind a question, the
message of an error, why a run was stopped, what a validator said, what a model said, what a tool gave, and what a step
has asked to change in the pipeline."""

TIMEOUT = 30.0
"""Seconds that one call of one codec may take, unless the configuration says otherwise."""


class ValueAbout(NamedTuple):
    """What a value is of.

    Attributes:
        run_id: The run. Of a cache entry, that which made it.
        tenant: Whose run it is, or None.
        subject: A digest of whom the run's data is about; empty if nobody said.
        address: The address in the run; empty for what is of the whole run.
        kind: What it is.
        labels: Which places in it are sensitive: the paths are those of its JSON, the labels hold for all below.
        hint: Its declared type while it is written, ``Any`` if that is not known; None while it is read.
    """

    run_id: str
    tenant: str | None
    subject: str
    address: str
    kind: ValueKind
    labels: Sequence[LabelledPath] = ()
    hint: Any = None

    def labels_at(self, path: Sequence[str], *, key: bool = False) -> frozenset[str]:
        """The labels that hold at a place in the value.

        Args:
            path: How one gets there: names of fields, keys, and indexes as text; empty for the value itself.
            key: Whether it is of the key that ends the path, and not of what stands under that.
        """
        found = (one.labels for one in self.labels if _holds(one.path, tuple(path), key))
        return frozenset(label for labels in found for label in labels)


def _holds(pattern: Sequence[str], path: Sequence[str], key: bool) -> bool:
    """Whether a place is that of a pattern, or below it."""
    from flujo_core.model.label import ANY_DEPTH, ITEM, KEY  # noqa: PLC0415 - dear to import, and few have value codecs

    if not pattern:
        return True
    first, rest = pattern[0], pattern[1:]
    if first == ANY_DEPTH:
        return any(_holds(rest, path[skipped:], key) for skipped in range(len(path) + 1))
    if not path:
        return False
    is_key = key and len(path) == 1
    if first == KEY:
        return is_key and not rest
    return not is_key and first in (ITEM, path[0]) and _holds(rest, path[1:], key)


@runtime_checkable
class ValueCodec(Protocol):
    """Turns a value that a store keeps into another one, and back: puts tokens in the place of names, say.

    What it gives back must be what it was given, to the last character and in the same order, in any process, for as
    long as the value is kept: each write is checked. Its methods may be called for several runs at once, and for one
    value more than once. They must not block: one that waits is stopped after ``[plugins] hook_timeout``.
    """

    @property
    def name(self) -> str:
        """Stands in what is kept, and must stay: lower case letters, digits, and ``_ . / -``."""
        ...

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        """Another value for one.

        Args:
            value: The value, as JSON: dicts, lists, texts, numbers, True, False. It may be changed in place.
            about: What it is of.

        Returns:
            What is kept, as JSON; what is needed to read it again must be durable by then.

        Raises:
            CodecError: It cannot; nothing is written then. The message holds no value.
        """
        ...

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        """The value that ``encode_value`` was given.

        Args:
            value: What was kept.
            about: What it is of, as when it was written, but without its type.

        Raises:
            CodecError: It cannot be had. The message holds no value.
        """
        ...


@runtime_checkable
class ForgettingCodec(Protocol):
    """A value codec that keeps something of runs elsewhere, and forgets it with them."""

    @property
    def name(self) -> str:
        """As a codec's."""
        ...

    async def forget_run(self, run_id: str, tenant: str | None, /) -> None:
        """Forgets what only a run had. Called when it has been deleted, and more than once if that is tried again.

        Args:
            run_id: The run.
            tenant: Whose run it was, or None.

        Raises:
            CodecError: It cannot. The message holds no value.
        """
        ...

    async def forget_subject(self, subject: str, tenant: str | None, /) -> None:
        """Forgets what is about somebody. Called when all runs about them have been deleted, or there were none.

        Args:
            subject: A digest of whom it is about: ``ValueAbout.subject``.
            tenant: Whose runs they were, or None.

        Raises:
            CodecError: It cannot. The message holds no value.
        """
        ...


class Values:
    """Value codecs, in the order in which they write.

    Args:
        codecs: At least one; their names differ.
        timeout: Seconds that one call of one of them may take.
    """

    def __init__(self, codecs: Sequence[ValueCodec], timeout: float = TIMEOUT) -> None:
        self._codecs = tuple(codecs)
        self._by_name = {one.name: one for one in codecs}
        self._timeout = timeout
        self.names = tuple(self._by_name)

    async def encoded(self, value: Any, about: ValueAbout) -> Any:
        """What is kept of a value, checked to give that value back.

        Raises:
            CodecError: A codec cannot, is too slow, or would give back something else.
        """
        written = to_json(value)
        for one in self._codecs:
            value = await self._asked(one, one.encode_value, value, about, "written")
        kept = to_json(value)
        restored = await self.decoded(from_json(kept), about._replace(hint=None), self.names)
        if to_json(restored) != written:
            raise CodecError(
                f"{_said(about)} cannot be written: value codec{_quoted(self.names)} would not give it back as it was"
            )
        return from_json(kept)

    async def decoded(self, value: Any, about: ValueAbout, names: Sequence[str]) -> Any:
        """The value that something was kept of.

        Args:
            value: What was kept.
            about: What it is of.
            names: The codecs that it was written with, in order; they are there.

        Raises:
            CodecError: A codec cannot, or is too slow.
        """
        for name in reversed(names):
            codec = self._by_name[name]
            value = await self._asked(codec, codec.decode_value, value, about, "read")
        return value

    def lacks(self, names: Sequence[str]) -> str:
        """The name of a codec that is not among these, or nothing."""
        return next((name for name in reversed(names) if name not in self._by_name), "")

    async def forget_run(self, run_id: str, tenant: str | None) -> None:
        """Lets the codecs forget a run that is deleted.

        Raises:
            CodecError: One cannot, or is too slow.
        """
        failed = f"run '{run_id}' is deleted, and what was kept of it elsewhere is not: "
        for one in self._forgetting:
            await self._done(one.name, partial(one.forget_run, run_id, tenant), failed)

    async def forget_subject(self, subject: str, tenant: str | None) -> None:
        """Lets the codecs forget what is about somebody, whose runs are deleted.

        Raises:
            CodecError: One cannot, or is too slow.
        """
        failed = "the runs are deleted, and what was kept of them elsewhere is not; erase again: "
        for one in self._forgetting:
            await self._done(one.name, partial(one.forget_subject, subject, tenant), failed)

    @property
    def _forgetting(self) -> Sequence[ForgettingCodec]:
        return [one for one in self._codecs if isinstance(one, ForgettingCodec)]

    async def _asked(
        self,
        codec: ValueCodec,
        ask: Callable[[Any, ValueAbout], Awaitable[Any]],
        value: Any,
        about: ValueAbout,
        what: str,
    ) -> Any:
        """What a codec gives, as it would come back from JSON."""
        failed = f"{_said(about)} cannot be {what}: "
        found = await self._done(codec.name, lambda: ask(value, about), failed)
        try:
            return from_json(to_json(found))
        except (PydanticSerializationError, ValueError):
            raise CodecError(f"{failed}value codec '{codec.name}' gave something that is not JSON") from None

    async def _done(self, name: str, ask: Callable[[], Awaitable[Any]], failed: str) -> Any:
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                return await ask()
        except CodecError as error:
            raise type(error)(failed + str(error)) from error
        except Exception as error:  # its text may hold a value, so it is not shown
            late = isinstance(error, TimeoutError) and limit.expired()
            why = f"was not done after {self._timeout:g} s" if late else f"raised {type(error).__name__}"
            raise CodecError(f"{failed}value codec '{name}' {why}") from None


def _said(about: ValueAbout) -> str:
    """What a value is, for messages."""
    place = f" of '{about.address}'" if about.address else ""
    return f"the {about.kind}{place} in run '{about.run_id}'"


def _quoted(names: Sequence[str]) -> str:
    return f"{'s' if len(names) > 1 else ''} " + " and ".join(f"'{one}'" for one in names)
