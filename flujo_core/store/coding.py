"""The store that runs see, where there are codecs."""

from __future__ import annotations

from flujo_core.store.byte_codec import Codecs
from flujo_core.store.coded import CodedStore, WatchableCodedStore
from flujo_core.store.protocol import Store, WatchableStore


def coded(store: Store, codecs: Codecs | None) -> Store:
    """A store whose values and payloads go through codecs; without codecs, the store itself."""
    if codecs is None:
        return store
    is_watchable = isinstance(store, WatchableStore)
    if codecs.values is not None:
        from flujo_core.store.valued import ValuedStore, WatchableValuedStore  # noqa: PLC0415 - few have value codecs

        return (WatchableValuedStore if is_watchable else ValuedStore)(store, codecs, codecs.values)
    return (WatchableCodedStore if is_watchable else CodedStore)(store, codecs)
