"""What comes with the kernel, registered as anybody else's: the stores and backends."""

from __future__ import annotations

from typing import ClassVar

from flujo_core.backend.protocol import BackendFactory
from flujo_core.hooks.registry import Registry
from flujo_core.hooks.spec import Plugin
from flujo_core.store.byte_codec import CodecFactory
from flujo_core.store.protocol import StoreFactory
from flujo_core.store.url import memory_store, sqlite_store


class Builtin(Plugin):
    """The kernel's own plugin."""

    name: ClassVar[str] = "flujo"
    inside = ("local", "process")

    def register_stores(self, registry: Registry[StoreFactory], /) -> None:
        registry.add("memory", memory_store)
        registry.add("sqlite", sqlite_store)

    def register_codecs(self, registry: Registry[CodecFactory], /) -> None:
        registry.add("zstd", "flujo_core.store.zstd:ZstdCodec")
        registry.add("aes-gcm", "flujo_core.store.aes:aes_of_environment")

    def register_backends(self, registry: Registry[BackendFactory], /) -> None:
        registry.add("local", "flujo_core.backend.inline:LocalBackend")
        registry.add("process", "flujo_core.backend.process:ProcessPool")
