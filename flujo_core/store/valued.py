"""A store whose values go through value codecs; and the same for entries of a cache, and for records taken along.

A payload with such values begins with ``\\x00values:`` and the names of the codecs, and has a line of what is needed to
read it: which of its parts are encoded, their labels, and what its header does not say. The payload itself follows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Any, NamedTuple, Protocol, TypeAlias
from weakref import WeakValueDictionary

from pydantic_core import from_json, to_json

from flujo_core.errors import CodecError
from flujo_core.model.event import NO_ORIGIN, Origin, RunStarted
from flujo_core.model.label import LabelledPath
from flujo_core.store.byte_codec import VALUES_MARK, About, Codecs, about_record, missing, names_in, said
from flujo_core.store.codec import decode
from flujo_core.store.coded import CodedStore, about_mail
from flujo_core.store.parts import CACHE_PARTS, MAIL_PARTS, Part, Sheet, parts_of
from flujo_core.store.protocol import Lease, Mail, Record, Store, WatchableStore
from flujo_core.store.value_codec import ValueAbout, Values


class Typed(NamedTuple):
    """What is known of the type of a value.

    Attributes:
        hint: The type; ``Any`` if that is not known.
        labels: Which places in the value are sensitive.
    """

    hint: Any = Any
    labels: Sequence[LabelledPath] = ()


UNKNOWN = Typed()

TypeOf: TypeAlias = Callable[[Part], Typed]
"""Gives the types of the values in a payload."""


class ValueTypes(Protocol):
    """What is known of the types of the values of one run."""

    @property
    def subject(self) -> str:
        """A digest of whom the run's data is about; empty if nobody said."""
        ...

    def of(self, record: Record, part: Part, /) -> Typed:
        """That of a part of a record."""
        ...


class Untyped:
    """The types of the values of a run of which nothing is known."""

    subject = ""

    def of(self, record: Record, part: Part, /) -> Typed:
        return UNKNOWN


UNTYPED = Untyped()


class Opened(NamedTuple):
    """A payload whose values were encoded.

    Attributes:
        names: The names of the codecs.
        facts: What is needed to read it.
        payload: It, with its values as they were encoded.
    """

    names: Sequence[str]
    facts: dict[str, Any]
    payload: bytes


def opened(data: bytes) -> Opened | None:
    """A payload as it was kept; None if its values were not encoded."""
    names = names_in(data, VALUES_MARK)
    if not names:
        return None
    _, facts, payload = data.split(b"\n", 2)
    return Opened(names, from_json(facts), payload)


class Kept(NamedTuple):
    """A payload that is written.

    Attributes:
        payload: It.
        parts: Which of its parts may be values.
        lines: How many lines it has at most.
        more: What is needed to read it, beside its parts.
    """

    payload: bytes
    parts: tuple[Part, ...]
    lines: int = 3
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed


async def encoded_values(values: Values, kept: Kept, about: ValueAbout, types: TypeOf) -> bytes:
    """A payload with its values encoded.

    Args:
        values: The codecs.
        kept: The payload.
        about: What its values are of, but for their kind, labels and type.
        types: Gives those.

    Raises:
        CodecError: A codec cannot.
    """
    sheet = Sheet(kept.payload, kept.lines)
    encoded = []
    for part, value in sheet.values(kept.parts):
        hint, labels = types(part)
        told = about._replace(kind=part.kind, labels=labels, hint=hint)
        sheet[part] = await values.encoded(value, told)
        encoded.append((part.name, _plain(labels)))
    facts = kept.more | {"parts": encoded} | ({"subject": about.subject} if about.subject else {})
    head = VALUES_MARK + ",".join(values.names).encode()
    return b"\n".join((head, to_json(facts), sheet.payload))


class Place(NamedTuple):
    """Where a payload is read.

    Attributes:
        parts: Which of its parts may be values.
        about: What they are of, told from what the payload says, but for their kind and labels.
        where: What the payload is of, for messages.
        lines: How many lines it has at most.
    """

    parts: Sequence[Part]
    about: Callable[[dict[str, Any]], ValueAbout]
    where: About
    lines: int = 3


async def decoded_values(values: Values, data: bytes, place: Place) -> bytes:
    """A payload with its values as they were before they were encoded.

    Args:
        values: The codecs.
        data: The payload as it was kept.
        place: Where it is.

    Raises:
        CodecError: A codec cannot, or is not there; or the payload was changed.
    """
    if lacking := values.lacks(names_in(data, VALUES_MARK)):
        raise CodecError(missing(place.where, lacking))
    try:
        found = opened(data)
        return data if found is None else await _decoded(values, found, place)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CodecError(f"{said(place.where)} cannot be read: it was changed") from None


async def _decoded(values: Values, found: Opened, place: Place) -> bytes:
    sheet, by_name = Sheet(found.payload, place.lines), {one.name: one for one in place.parts}
    about = place.about(found.facts)._replace(subject=found.facts.get("subject", ""))
    for name, labels in found.facts["parts"]:
        part = by_name[name]
        told = about._replace(kind=part.kind, labels=_labels(labels))
        sheet[part] = await values.decoded(sheet[part], told, found.names)
    return sheet.payload


def _plain(labels: Sequence[LabelledPath]) -> list[Any]:
    return [[one.path, one.labels] for one in labels]


def _labels(kept: Sequence[Any]) -> tuple[LabelledPath, ...]:
    return tuple(LabelledPath(tuple(path), tuple(labels)) for path, labels in kept)


async def encoded_record_values(values: Values, record: Record, types: ValueTypes) -> Record:
    """A record with its values encoded."""
    kept = Kept(record.payload, parts_of(record.kind, record.address))
    about = _of_record(record)._replace(subject=types.subject)
    return record._replace(payload=await encoded_values(values, kept, about, lambda part: types.of(record, part)))


async def decoded_record_values(values: Values, record: Record) -> Record:
    """A record with its values as they were before they were encoded."""
    parts = parts_of(record.kind, record.address)
    place = Place(parts, lambda _: _of_record(record), about_record(record))
    return record._replace(payload=await decoded_values(values, record.payload, place))


def _of_record(record: Record) -> ValueAbout:
    return ValueAbout(record.run_id, record.tenant, "", record.address, "state")


class ValuedStore(CodedStore):
    """A store whose values go through value codecs, and its payloads through byte codecs, if there are any.

    Args:
        kept: The store that keeps them.
        codecs: The codecs, value codecs among them.
        values: Those.

    Attributes:
        types: What is known of the types of the values of the runs that this process writes, by their ids.
    """

    def __init__(self, kept: Store, codecs: Codecs, values: Values) -> None:
        super().__init__(kept, codecs)
        self._values = values
        self._expected: ValueAbout | None = None
        self.types: WeakValueDictionary[str, ValueTypes] = WeakValueDictionary()

    def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> Awaitable[None]:
        return self._append(records, lease, taken, release)

    async def _append(self, records: Sequence[Record], lease: Lease, taken: int | None, release: bool) -> None:
        types = self.types.get(lease.run_id, UNTYPED)
        encoded = [await encoded_record_values(self._values, one, types) for one in records]
        await super().append(encoded, lease, taken=taken, release=release)

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        found = await super().read(run_id, after=after)
        return [await decoded_record_values(self._values, one) for one in found]

    async def delete(self, lease: Lease, /) -> None:
        found = await self.run(lease.run_id)
        await super().delete(lease)
        await self._values.forget_run(lease.run_id, None if found is None else found.tenant)

    async def forget_subject(self, subject: str, tenant: str | None) -> None:
        """Lets the value codecs forget what is about somebody: see ``Values.forget_subject``."""
        await self._values.forget_subject(subject, tenant)

    def expecting(self, about: ValueAbout) -> ValuedStore:
        """This store, for one answer of which is known what it is."""
        made = copy(self)
        made._expected = about
        return made

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        if mail.kind == "answer":
            about = self._expected or ValueAbout(mail.run_id, None, "", "", "answer", hint=Any)
            kept = Kept(mail.payload, MAIL_PARTS, 2, {"tenant": about.tenant, "address": about.address})
            payload = await encoded_values(self._values, kept, about, lambda _: Typed(about.hint, about.labels))
            mail = mail._replace(payload=payload)
        return await super().post(mail, seen=seen)

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        found = await super().mail(run_id, after=after)
        return [await self._decoded_mail(one) for one in found]

    async def _decoded_mail(self, mail: Mail) -> Mail:
        def about(facts: dict[str, Any]) -> ValueAbout:
            return ValueAbout(mail.run_id, facts["tenant"], "", facts["address"], "answer")

        place = Place(MAIL_PARTS, about, about_mail(mail), 2)
        return mail._replace(payload=await decoded_values(self._values, mail.payload, place))

    async def origin(self, run_id: str) -> Origin:
        """What a run began with, of which no part is a value."""
        for record in (await super().read(run_id))[:1]:
            found = opened(record.payload)
            event = decode(record if found is None else record._replace(payload=found.payload))
            assert isinstance(event, RunStarted)
            return event.origin
        return NO_ORIGIN


class WatchableValuedStore(ValuedStore):
    """As ``ValuedStore``, of a store that says at once that a run has mail."""

    def watch(self, heard: Callable[[str], None], /) -> Callable[[], None]:
        assert isinstance(self.kept, WatchableStore)
        return self.kept.watch(heard)


async def encoded_entry(values: Values, entry: bytes, about: ValueAbout, types: TypeOf) -> bytes:
    """An entry of a cache with its values encoded.

    Raises:
        CodecError: A codec cannot.
    """
    more = {"run_id": about.run_id, "tenant": about.tenant, "address": about.address}
    return await encoded_values(values, Kept(entry, CACHE_PARTS, 2, more), about, types)


async def decoded_entry(values: Values, entry: bytes) -> bytes:
    """An entry of a cache with its values as they were before they were encoded.

    Raises:
        CodecError: A codec cannot, or is not there.
    """

    def about(facts: dict[str, Any]) -> ValueAbout:
        return ValueAbout(facts["run_id"], facts["tenant"], "", facts["address"], "output")

    return await decoded_values(values, entry, Place(CACHE_PARTS, about, About("cache", "entry"), 2))
