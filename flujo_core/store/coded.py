"""A store, or a cache, whose payloads go through byte codecs: what they keep is encoded, and what they give is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from flujo_core.errors import CodecError
from flujo_core.model.event import NO_ORIGIN, Origin, RunStarted
from flujo_core.store.byte_codec import About, Codecs, Hidden, about_record, names_in
from flujo_core.store.cache import CacheStore
from flujo_core.store.codec import decode
from flujo_core.store.passing import PassingStore
from flujo_core.store.protocol import Lease, Mail, Record, Store, WatchableStore


def encoded_record(codecs: Codecs, record: Record) -> Record:
    """A record as it is kept."""
    return record._replace(payload=codecs.encoded(record.payload, about_record(record)))


class CodedStore(PassingStore):
    """A store whose payloads go through byte codecs.

    Args:
        kept: The store that keeps them.
        codecs: The codecs.
    """

    def __init__(self, kept: Store, codecs: Codecs) -> None:
        super().__init__(kept)
        self._codecs = codecs

    def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> Awaitable[None]:
        coded = [encoded_record(self._codecs, one) for one in records]
        return self.kept.append(coded, lease, taken=taken, release=release)

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        records, is_secret = await self.kept.read(run_id, after=after), False
        found = []
        for one in records:
            if names_in(one.payload):
                is_secret = self._codecs.encrypting is not None
            elif is_secret:
                what = f"record {one.sequence} of run '{run_id}' is in clear, behind encrypted ones"
                raise CodecError(f"{what}: somebody has changed it")
            found.append(one._replace(payload=self._codecs.decoded(one.payload, about_record(one))))
        return found

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        if mail.voter is not None:
            mail = mail._replace(voter=await self._hidden_voter(mail.run_id, mail.voter))
        payload = self._codecs.encoded(mail.payload, about_mail(mail))
        return await self.kept.post(mail._replace(payload=payload), seen=seen)

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        found = await self.kept.mail(run_id, after=after)
        return [one._replace(payload=self._codecs.decoded(one.payload, about_mail(one))) for one in found]

    async def _hidden_voter(self, run_id: str, voter: str) -> str:
        """Who answers, as the inbox has it, where votes of one voter must be known to be one's."""
        hidden = hidden_of(self._codecs, await self.origin(run_id))
        return voter if hidden is None else hidden.of("voter", voter)

    async def origin(self, run_id: str) -> Origin:
        """What a run was begun with."""
        begun = [decode(one) for one in (await self.read(run_id))[:1]]
        return begun[0].origin if begun and isinstance(begun[0], RunStarted) else NO_ORIGIN


class WatchableCodedStore(CodedStore):
    """As ``CodedStore``, of a store that says at once that a run has mail."""

    def watch(self, heard: Callable[[str], None], /) -> Callable[[], None]:
        assert isinstance(self.kept, WatchableStore)
        return self.kept.watch(heard)


class CodedCache:
    """A cache whose entries go through byte codecs.

    Args:
        kept: The cache that keeps them.
        codecs: The codecs.
    """

    def __init__(self, kept: CacheStore, codecs: Codecs) -> None:
        self._kept = kept
        self._codecs = codecs

    async def get(self, key: str, /) -> bytes | None:
        entry = await self._kept.get(key)
        return None if entry is None else self._codecs.decoded(entry, About("cache", key))

    async def put(self, key: str, entry: bytes, /, *, ttl: float | None = None) -> None:
        await self._kept.put(key, self._codecs.encoded(entry, About("cache", key)), ttl=ttl)


def hidden_of(codecs: Codecs | None, origin: Origin) -> Hidden | None:
    """What hides the names of a run that began with some origin; None where nothing does."""
    if codecs is None or not origin.names_key:
        return None
    return Hidden(codecs, origin.names_key, origin.names_in)


def about_mail(mail: Mail) -> About:
    """What the payload of mail is of."""
    return About(f"run/{mail.run_id}", f"mail/{mail.question}/{mail.kind}/{mail.voter or ''}")
