"""A store that passes everything on is as good as the one behind it."""

from __future__ import annotations

import asyncio

import pytest

from flujo_core import MemoryStore
from flujo_core.store.passing import PassingStore
from flujo_core.testing.stores import STORE_CHECKS, assert_store_conforms


@pytest.mark.parametrize("check", STORE_CHECKS)
def test_a_store_that_passes_everything_on_conforms(check: str) -> None:
    kept = MemoryStore()
    asyncio.run(assert_store_conforms(lambda: PassingStore(kept), only=[check], runs=60))
