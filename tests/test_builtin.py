"""What comes with the kernel: its stores, by their URLs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flujo_core import ConfigurationError, Lease, MemoryStore, PluginSettings, Record, Store
from flujo_core.builtin import Builtin
from flujo_core.hooks.host import Host

open_store = Host(PluginSettings(allow=()), kernel=Builtin()).open_store


@pytest.mark.parametrize("url", ["", "runs.db", "sqlite://", "sqlite:///", "sqlite:runs.db", "postgres://x", "memory:"])
def test_a_url_that_names_no_store_is_refused_with_examples(url: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///runs"):
        open_store(url)


def test_urls_name_stores(tmp_path: Path) -> None:
    async def keep(store: Store) -> None:
        await store.append(
            [Record("r", None, 1, "run_started", "", "", 0.0, b"{}\nnull\n{}")], Lease("r", 1, "h", 30.0)
        )
        await store.close()

    asyncio.run(keep(open_store("sqlite:///relative.db")))
    asyncio.run(keep(open_store(f"sqlite:///{tmp_path}/sub/absolute.db")))
    assert (Path("relative.db").exists(), (tmp_path / "sub" / "absolute.db").exists()) == (True, True)
    assert isinstance(open_store("memory://"), MemoryStore)


def test_a_memory_store_has_no_name() -> None:
    with pytest.raises(ConfigurationError, match="'memory://x' names no store; write 'memory://'"):
        open_store("memory://x")
