"""The cache of one node: what its key is made of, and its entries as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from flujo_core.engine.decide import decide
from flujo_core.engine.frame import MISSING, Frame
from flujo_core.errors import InvalidValue
from flujo_core.log import warning
from flujo_core.model.fingerprint import fingerprint
from flujo_core.model.flow import Node
from flujo_core.model.patch import EMPTY_PATCH, Patch, patch_adapter
from flujo_core.model.policy import Cache
from flujo_core.model.reader import Reader
from flujo_core.model.value import adapter, concrete, encoded
from flujo_core.model.wiring import Source
from flujo_core.store.value_codec import ValueAbout, Values


class Entry(NamedTuple):
    """What a node made of an input.

    Attributes:
        output: Its output.
        patch: Its changes of the context.
    """

    output: Any
    patch: Patch


class NodeCache:
    """The cache of one node.

    Args:
        node: The node; it has a ``Cache``.
        address: Its address, as ``walk`` gives it.
        sources: The named inputs that it and what runs in it take from outside.
    """

    def __init__(self, node: Node[Any, Any], address: str, sources: Sequence[Source]) -> None:
        policy = node.policies.cache
        assert isinstance(policy, Cache)
        self._ttl = policy.ttl
        self._key = None if policy.key is None else Reader(policy.key, f"'key' of the cache of '{node.label}'", {})
        self._identity = f"{address}\0{fingerprint(node)}".encode()
        self._takes = concrete(node.takes)
        self._gives = node.gives
        self._sources = sources
        self._address = address

    def key(self, frame: Frame, value: Any) -> str:
        """The key of an input: a digest, which tells nothing of it.

        Raises:
            InvalidValue: It cannot be made.
        """
        tenant = frame.run.journal.tenant
        parts = [b"" if tenant is None else b"=" + tenant.encode(), self._identity]
        if self._key is None:
            parts.append(self._bytes(value, self._takes))
        else:
            key = decide(self._key, value, frame)
            if not isinstance(key, str) or not key:
                raise InvalidValue(f"{self._key.what} gave {type(key).__name__!r}; a key is text that is not empty")
            parts.append(key.encode())
        for source in self._sources:
            named = frame.find(source)
            parts.append(b"" if named is MISSING else self._bytes(named, source.hint))
        import hashlib  # noqa: PLC0415 - few nodes have a cache

        digest = hashlib.sha256()
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    async def find(self, frame: Frame, key: str) -> Entry | None:
        """The entry of a key, or None."""
        try:
            data = await frame.run.cache.get(key)
            if data is not None and frame.run.values is not None:
                data = await _decoded(frame.run.values, data)
        except Exception as error:
            self._pass_over("get", error)
            return None
        if data is None:
            return None
        try:
            output, patch = data.split(b"\n", 1)
            restored = adapter(self._gives).validate_json(output, by_alias=False, by_name=True)
            return Entry(restored, patch_adapter(frame.run.context_type).decoded(patch))
        except (
            ValueError,
            TypeError,
            AttributeError,
            InvalidValue,
        ):  # it is damaged, or of an earlier type: as if it were not there
            return None

    async def _encoded(self, frame: Frame, values: Values, data: bytes) -> bytes:
        """An entry with its values encoded."""
        from flujo_core.engine.typed import typed, typed_patch  # noqa: PLC0415 - few programs have value codecs
        from flujo_core.store.valued import encoded_entry  # noqa: PLC0415

        run, patch = frame.run, typed_patch(frame.run.context_type)
        subject = "" if run.types is None else run.types.subject
        about = ValueAbout(run.journal.run_id, run.journal.tenant, subject, self._address, "output")
        output = typed(self._gives)
        return await encoded_entry(values, data, about, lambda part: patch if part.kind == "patch" else output)

    async def keep(self, frame: Frame, key: str, entry: Entry) -> None:
        """Keeps an entry.

        Raises:
            InvalidValue: Its output would come back as something else.
        """
        output, _ = encoded(entry.output, self._gives, "its output")
        patch = EMPTY_PATCH if not entry.patch else patch_adapter(frame.run.context_type).encoded(entry.patch)[0]
        data = output + b"\n" + patch
        try:
            if frame.run.values is not None:
                data = await self._encoded(frame, frame.run.values, data)
            await frame.run.cache.put(key, data, ttl=self._ttl)
        except Exception as error:
            self._pass_over("put", error)

    def _pass_over(self, what: str, error: Exception) -> None:
        """Logs that the place of the cache failed: the node then runs as if it had none."""
        warning("cache.failure_passed_over", node=self._address, method=what, failure=type(error).__name__)

    def _bytes(self, value: Any, hint: Any) -> bytes:
        """A value as bytes that no other value has: what would not come back from them is refused."""
        try:
            data, _ = encoded(value, hint, "its input")
        except InvalidValue as error:
            raise InvalidValue("its input cannot be made a key of the cache; give 'Cache(key=...)'") from error
        return f"{type(value).__module__}.{type(value).__qualname__} ".encode() + data


async def _decoded(values: Values, data: bytes) -> bytes:
    from flujo_core.store.valued import decoded_entry  # noqa: PLC0415 - few programs have value codecs

    return await decoded_entry(values, data)
